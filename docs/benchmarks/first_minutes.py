#!/usr/bin/env python3
"""A newcomer's first five minutes, typed by a machine: README's commands one after the other, in a fresh folder with a fresh
home, each with its seconds, its exit code and what it printed.

    ./docs/benchmarks/first_minutes.py BERTH [--out FILE] [--profile NAME]

Blocks of the README that are only shown are left out, and those that need packages are run when BERTH_TEST_WHEELS names a
folder of wheels, which stands in for PyPI. The commands are typed as they stand there, so the usual ports must be free.
Ends with 1 when a command failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the section takes from: a checkout has them, and what the commands write must not land in it.
BESIDE = ["README.md", "examples", "docs"]
# A command that takes longer has lost its newcomer.
LONGEST_S = 180


def commands() -> list[str]:
    """Lists what runs of the section, line by line."""
    section = (ROOT / "README.md").read_text().split("\n## First five minutes\n", 1)[1].split("\n## ", 1)[0]
    marks = {"", "needs: wheels"} if os.environ.get("BERTH_TEST_WHEELS") else {""}
    blocks = re.findall(r"^```sh ?(.*?)\n(.*?)^```$", section, re.M | re.S)
    return [line for mark, text in blocks if mark.strip() in marks for line in text.splitlines() if line.strip()]


def too_long(*_: object) -> None:
    raise SystemExit(f"a command took more than {LONGEST_S} s")


class Shell:
    """A shell that is typed into."""

    def __init__(self, berth: Path, folder: Path, home: Path) -> None:
        more = {"HOME": str(home), "PATH": f"{berth.parent}:{os.environ['PATH']}", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        if wheels := os.environ.get("BERTH_TEST_WHEELS"):
            more["BERTH_PIP_ARGS"] = f"--no-index,--find-links,{wheels}"
        kept = {name: text for name, text in os.environ.items() if not name.startswith("BERTH_")}
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env={**kept, **more}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )

    def type(self, line: str) -> tuple[float, int, list[str]]:
        """Types a line; returns the seconds it took, its exit code and what was printed meanwhile."""
        assert self._bash.stdin and self._bash.stdout
        began = time.monotonic()
        signal.alarm(LONGEST_S)
        self._bash.stdin.write(f"{line}\ncode=$?; echo; echo ended: $code\n")
        self._bash.stdin.flush()
        said: list[str] = []
        for printed in self._bash.stdout:
            if found := re.fullmatch(r"ended: (\d+)\n", printed):
                signal.alarm(0)
                return time.monotonic() - began, int(found.group(1)), [text for text in said if text]
            said.append(printed.rstrip())
        raise SystemExit(f"the shell ended after `{line}`: {said}")

    def end(self) -> None:
        # What a newcomer does with `fg` and ctrl-c, here without a terminal.
        for word in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._bash.pid, word)
                self._bash.wait(timeout=10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("berth")
    parser.add_argument("--out")
    parser.add_argument("--profile", default="release", help="how it was built; only said")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, too_long)
    berth = Path(args.berth).resolve()
    lines, failed, all_s = [f"profile {args.profile}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"], 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place, "berth"), Path(place, "home")
        folder.mkdir()
        home.mkdir()
        for name in BESIDE:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
        named = [(str(folder), "."), (str(home), "~"), (str(berth.parent), "…"), (str(ROOT), "."), (os.environ.get("BERTH_TEST_WHEELS") or "\0", "WHEELS")]
        shell = Shell(berth, folder, home)
        try:
            for command in commands():
                took, code, said = shell.type(command)
                failed, all_s = failed + (code != 0), all_s + took
                lines.append(f"\n$ {command}\n# {took:.1f} s, exit {code}")
                # A cluster's token and an endpoint's keys are nobody's business, also when they are gone.
                lines.extend("  " + re.sub(r"\b[0-9a-f]{64}\b", "TOKEN", text) for text in said)
                for path, word in named:
                    lines[:] = [line.replace(path, word) for line in lines]
                print("\n".join(lines[-1 - len(said) :]), flush=True)
        finally:
            shell.end()
    lines.append(f"\n{all_s:.0f} s in all, {failed} commands failed")
    print(lines[-1])
    if args.out:
        Path(args.out).write_text("\n".join(lines) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
