"""A line at the bottom of a terminal that says how a wait comes along."""

from __future__ import annotations

import sys
from typing import Optional, TextIO

_WIDTH = 20
# A text that wrapped would be two lines to erase, so the terminal cuts it at its edge.
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"


def bar(done: int, total: int) -> str:
    """Draws `[######--------------] 3/10`."""
    filled = _WIDTH if total == 0 else min(_WIDTH, done * _WIDTH // total)
    return f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done}/{total}"


def wanted(progress: Optional[bool]) -> Optional[Progress]:
    """Returns where a wait is shown: by default on a terminal alone, else as it was asked for."""
    out = sys.stderr
    # A program without a console has none.
    if out is None or progress is False or (progress is None and not out.isatty()):
        return None
    return Progress(out)


class Progress:
    """Redraws one line on a terminal; elsewhere writes a line whenever it changes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = self._out.isatty()
        self._last: str | None = None

    def show(self, text: str | None) -> None:
        """Shows a text in place of the last one; `None` clears it."""
        if text == self._last:
            return
        if self._live:
            self._out.write("\r\x1b[2K" + (f"{_CUT}{text}{_WRAP}" if text else ""))
        elif text is not None:
            self._out.write(text + "\n")
        self._out.flush()
        self._last = text
