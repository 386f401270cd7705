"""A wait is drawn for who looks at a terminal, and for nobody else."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from berth import Client
from berth._progress import Progress, bar, wanted
from berth._steps import Op, Show
from berth._sync import Driver
from conftest import Dev

SCALES = """
import sys
from berth import Client
with Client(sys.argv[1]) as client:
    poller = client.online_deployments.begin_scale("green", "digits", int(sys.argv[2]))
    print(poller.result(timeout=60).ready)
"""


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "total", "drawn"),
    [
        (0, 3, "[--------------------] 0/3"),
        (3, 10, "[######--------------] 3/10"),
        (3, 3, "[####################] 3/3"),
        (4, 3, "[####################] 4/3"),
        (0, 0, "[####################] 0/0"),
    ],
)
def test_a_bar_shows_its_share(done: int, total: int, drawn: str) -> None:
    assert bar(done, total) == drawn


@pytest.mark.parametrize(
    ("out", "progress", "shown"),
    [
        (Terminal(), None, True),
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), None, False),
        (io.StringIO(), True, True),
        (io.StringIO(), False, False),
        (None, None, False),
        (None, True, False),
    ],
)
def test_who_asks_for_nothing_sees_it_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, out: io.StringIO | None, progress: bool | None, shown: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", out)
    assert (wanted(progress) is not None) is shown


def test_a_line_is_drawn_over_and_taken_away_and_a_pipe_gets_what_changes() -> None:
    def steps() -> Op[int]:
        for text in ("one", "one", "two"):
            yield Show(text)
        return 7

    driver = Driver()
    live, pipe = Terminal(), io.StringIO()
    assert driver.run(steps(), Progress(live)) == 7 and driver.run(steps(), Progress(pipe)) == 7
    driver.close()
    erase = "\r\x1b[2K"
    assert live.getvalue() == f"{erase}\x1b[?7lone\x1b[?7h{erase}\x1b[?7ltwo\x1b[?7h{erase}"
    assert pipe.getvalue() == "one\ntwo\n"


def scaled(dev: Dev, instances: int, stderr: int) -> None:
    """Scales in a process of its own, whose stderr is what is given."""
    command = [sys.executable, "-c", SCALES, dev.api, str(instances)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, timeout=120)
    assert (ended.returncode, ended.stdout.decode().strip()) == (0, str(instances))


def drawn(controller: int) -> str:
    """Reads what was written to a terminal whose last writer is gone."""
    text = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            piece = b""
        if not piece:
            return text.decode()
        text += piece


def test_a_wait_is_drawn_in_a_real_terminal_and_not_in_a_pipe(dev: Dev, client: Client, digits: str) -> None:
    before = client.online_deployments.get("green", digits).instance_count
    controller, terminal = os.openpty()
    try:
        scaled(dev, before + 1, terminal)
        os.close(terminal)
        shown = drawn(controller)
    finally:
        os.close(controller)
    assert "digits/green [" in shown and f"] {before}/{before + 1}" in shown, shown
    assert shown.endswith("\r\x1b[2K"), "it is taken away"
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        try:
            scaled(dev, before + 2, writing)
        finally:
            os.close(writing)
        assert pipe.read() == b""
    client.online_deployments.begin_scale("green", digits, before).result(timeout=60)
