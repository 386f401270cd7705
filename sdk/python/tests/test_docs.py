"""Every example of the README runs, in order, against a live cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import REPOSITORY, Dev

README = Path(__file__).resolve().parents[1] / "README.md"


def test_every_example_runs(dev: Dev, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block.replace("127.0.0.1:7400", dev.api), str(README), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "E_DEPLOYMENT_NOT_FOUND" in printed and "deployment.created" in printed
    assert "(3," in printed, "an array of three rows came back"
    assert "digits 2 digits-2" in printed and "numbers blue 1/1" in printed
