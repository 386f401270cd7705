"""A line at the bottom of a terminal that says how a wait comes along."""

from __future__ import annotations

import sys
from typing import TextIO

_WIDTH = 20


def bar(done: int, total: int) -> str:
    """Draws `[######--------------] 3/10`."""
    filled = _WIDTH if total == 0 else min(_WIDTH, done * _WIDTH // total)
    return f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done}/{total}"


class Progress:
    """Redraws one line on a terminal; elsewhere writes a line whenever it changes."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._last: str | None = None

    def show(self, text: str | None) -> None:
        """Shows a text in place of the last one; `None` clears it."""
        if text == self._last:
            return
        if self._live:
            self._out.write("\r\x1b[2K" + (text or ""))
        elif text is not None:
            self._out.write(text + "\n")
        self._out.flush()
        self._last = text
