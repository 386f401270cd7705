"""The committed messages are what the protos say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


def test_the_committed_messages_are_current(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    spec = importlib.util.spec_from_file_location("generate", PACKAGE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    made = {path.relative_to(tmp_path) for path in module.generate(tmp_path)}
    committed = {path.relative_to(PACKAGE / "src") for path in PACKAGE.glob("src/berth/*/v1/*_pb2.py*")}
    assert committed <= made, f"no longer in the protos: {committed - made}"
    for path in sorted(made):
        text = (PACKAGE / "src" / path).read_text()
        assert text == (tmp_path / path).read_text(), f"{path} is stale: run `python generate.py`"
