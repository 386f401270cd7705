#!/usr/bin/env python3
"""What the operator's surface costs and how fast it is: the command line, `berth dev`, the screen.

    ./docs/benchmarks/surface.py BERTH [--out FILE] [--profile NAME]

Everything runs as a user runs it: real processes, the screen in a pseudo-terminal of 120x40. Ten thousand replicas come
twice: from a coordinator that only tells a board, which changes as it is told to, and from a real one that holds them on
made-up nodes. Both need grpcio and numpy, and are left out without them. `--only PART` leaves the other parts out. The first answer of a
Python model takes its packages from the folder of wheels that BERTH_TEST_WHEELS names, as a warm cache has them, and is left
out without one.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from concurrent import futures
from pathlib import Path
from typing import Callable, Optional

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


class Report:
    """Prints lines and keeps them."""

    def __init__(self, path: Optional[str]) -> None:
        self._file = open(path, "w", encoding="utf-8") if path else None

    def __call__(self, line: str) -> None:
        print(line, flush=True)
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()


def spread(values: list[float], unit: str) -> str:
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return f"p50 {at(0.5):.1f} {unit}, p95 {at(0.95):.1f} {unit}, worst {ordered[-1]:.1f} {unit} of {len(ordered)}"


def cpu_s(pid: int) -> float:
    """Returns the processor time a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Screen:
    """The operator's screen in a terminal nobody looks at."""

    def __init__(self, berth: str, api: str, view: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
            os.execv(berth, [berth, "tui", view, "--api", api])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def read(self, seconds: float, until: Optional[Callable[[str], bool]] = None) -> tuple[str, bool]:
        """Reads what is drawn, for so long or until it is enough."""
        text, end = "", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._fd], [], [], left)
            if ready:
                text += os.read(self._fd, 1 << 16).decode("utf-8", "replace")
                if until and until(text):
                    return text, True
        return text, False

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def start_up(berth: str, report: Report) -> None:
    for words in (["--version"], ["error", "E_TRAFFIC"], ["get", "--help"]):
        took, cpu = [], []
        for _ in range(30):
            began = time.perf_counter()
            child = subprocess.Popen([berth, *words], stdout=subprocess.DEVNULL)
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
            took.append((time.perf_counter() - began) * 1e3)
            cpu.append((usage.ru_utime + usage.ru_stime) * 1e3)
        report(f"start-up  berth {' '.join(words)}: {spread(took, 'ms')}; processor {statistics.median(cpu):.1f} ms")


def dev(berth: str, folder: Path, **more: str) -> tuple[subprocess.Popen[str], str]:
    command = [berth, "dev", "--data-dir", str(folder / "data"), "--api", "127.0.0.1:0", "--ingress", "127.0.0.1:0"]
    child = subprocess.Popen([*command, "--log", "error"], stdout=subprocess.PIPE, text=True, env={**os.environ, **more})
    assert child.stdout
    for line in child.stdout:
        found = re.match(r"ready: api=(\S+)", line)
        if found:
            return child, found.group(1)
    raise SystemExit("berth dev ended")


def first_answer(berth: str, folder: Path, file: str, what: str, report: Report, **more: str) -> tuple[subprocess.Popen[str], str]:
    digits = ROOT / "examples" / "digits"
    began = time.perf_counter()
    child, api = dev(berth, folder, **more)
    ready = time.perf_counter() - began
    run = lambda *words: subprocess.run(
        [berth, *words, "--api", api, "--quiet"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=digits
    )
    run("endpoint", "create", "-f", "endpoint.yml")
    run("deployment", "create", "-f", file, "--all-traffic")
    run("invoke", "digits", "-f", "sample.json")
    report(f"berth dev to `ready`: {ready:.2f} s; to the first answer of {what}: {time.perf_counter() - began:.2f} s")
    return child, api


def python_answer(berth: str, report: Report) -> None:
    wheels = os.environ.get("BERTH_TEST_WHEELS")
    if not wheels:
        report("berth dev to the first answer of a Python model: left out, BERTH_TEST_WHEELS names no folder of wheels")
        return
    with tempfile.TemporaryDirectory() as folder:
        what, pip_args = "a Python model, warm cache", f"--no-index,--find-links,{wheels}"
        child, _ = first_answer(berth, Path(folder), "blue-deployment.yml", what, report, BERTH_PIP_ARGS=pip_args)
        child.terminate()
        child.wait(60)


def latency(berth: str, api: str, report: Report) -> None:
    """From a change that is sent to a coordinator until the screen has drawn it."""

    def cordon(cordoned: bool) -> float:
        body = json.dumps({"node": "node-1", "cordoned": cordoned}).encode()
        url, kind = f"http://{api}/api/v1/nodes/cordon", {"content-type": "application/json"}
        sent = time.perf_counter()
        urllib.request.urlopen(urllib.request.Request(url, body, kind), timeout=10).read()
        return sent

    screen = Screen(berth, api, "nodes")
    try:
        assert screen.read(20, lambda text: "node-1" in text)[1], "the screen shows the nodes"
        screen.read(1.0)
        took, committed = [], []
        for _ in range(40):
            sent = cordon(True)
            committed.append((time.perf_counter() - sent) * 1e3)
            # The state word before it stays, so only what is new is drawn.
            if screen.read(5, lambda text: "cordoned" in text)[1]:
                took.append((time.perf_counter() - sent) * 1e3)
            cordon(False)
            screen.read(0.4)
        assert len(took) == 40, f"{len(took)} of 40 were drawn"
        report(f"screen    a change until it is drawn: {spread(took, 'ms')}; of which until it was acknowledged: p50 {statistics.median(committed):.1f} ms")
    finally:
        screen.close()


def processor(screen: Screen, seconds: float) -> float:
    """Returns the share of one core that a screen takes."""
    before, began = cpu_s(screen.pid), time.perf_counter()
    screen.read(seconds)
    return 100 * (cpu_s(screen.pid) - before) / (time.perf_counter() - began)


def idle(berth: str, api: str, report: Report) -> None:
    for view in ("dashboard", "replicas"):
        screen = Screen(berth, api, view)
        screen.read(3)
        report(f"screen    idle, {view}: {processor(screen, 30):.2f} % of a core")
        screen.close()


def ten_thousand(berth: str, report: Report) -> None:
    sys.path.insert(0, str(ROOT / "sdk" / "python" / "src"))
    try:
        import grpc
        from berth.api.v1 import api_pb2 as api
        from berth.api.v1 import board_pb2 as board
    except ImportError as missing:
        report(f"screen    10,000 replicas: left out, {missing}")
        return

    def replica(n: int, in_flight: int = 0) -> "api.Replica":
        return api.Replica(
            endpoint="fraud", deployment=f"d{n % 20}", replica=f"{n:016x}", node=f"node-{n % 500}", state="serving",
            generation=1, since_ms=1, in_flight=in_flight,
        )

    pace = {"hz": 0.0}

    def follow(_request: object, context: "grpc.ServicerContext"):  # type: ignore[no-untyped-def]
        whole = [replica(n) for n in range(10_000)]
        nodes = [api.Node(node=f"node-{n}", state="ready") for n in range(500)]
        info = api.ClusterInfo(cluster_id="measured", leader_address="127.0.0.1:1", table_version=1)
        for at in range(0, len(whole), 500):
            yield board.BoardUpdate(whole=at == 0, more=at + 500 < len(whole), info=info, replicas=whole[at : at + 500], nodes=nodes if at == 0 else [], point_ms=2000)
        turn = 0
        while context.is_active():
            time.sleep(1 / pace["hz"] if pace["hz"] else 1)
            turn += 1
            changed = [replica((turn * 37 + n) % 10_000, in_flight=turn % 7) for n in range(100)] if pace["hz"] else []
            yield board.BoardUpdate(index=turn, replicas=changed, point_ms=2000)

    def events(_request: object, context: "grpc.ServicerContext"):  # type: ignore[no-untyped-def]
        while context.is_active():
            time.sleep(1)
            yield api.EventBatch()

    def stream(answer: Callable[..., object]) -> object:
        return grpc.unary_stream_rpc_method_handler(answer, None, lambda message: message.SerializeToString())

    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("berth.api.v1.Boards", {"Follow": stream(follow)}),
        grpc.method_handlers_generic_handler("berth.api.v1.Watch", {"Events": stream(events)}),
    ))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    screen = Screen(berth, f"127.0.0.1:{port}", "replicas")
    try:
        assert screen.read(30, lambda text: "10000" in text)[1], "the screen shows them"
        screen.read(3)
        report(f"screen    10,000 replicas, nothing happens: {processor(screen, 20):.2f} % of a core")
        pace["hz"] = 5.0
        screen.read(2)
        report(f"screen    10,000 replicas, 500 of them change every second: {processor(screen, 20):.2f} % of a core")
        pace["hz"] = 0.0
        screen.read(2)
        report(f"screen    10,000 replicas, a page down until it is drawn: {spread(pages_down(screen), 'ms')}")
    finally:
        screen.close()
        server.stop(None)


def pages_down(screen: Screen) -> list[float]:
    """Scrolls, and returns how long each page took until it began to be drawn."""
    took = []
    for _ in range(60):
        began = time.perf_counter()
        screen.press("\x06")
        if screen.read(2, lambda text: "\x1b[" in text)[1]:
            took.append((time.perf_counter() - began) * 1e3)
        screen.read(0.1)
    return took


def ten_thousand_held(berth: str, report: Report) -> None:
    """The same over a real coordinator that holds them on a hundred made-up nodes."""
    # In a process of its own: gRPC and a fork for a screen do not go together.
    made_up = [sys.executable, str(ROOT / "docs" / "benchmarks" / "made_up_nodes.py")]
    if subprocess.run([*made_up, "--help"], capture_output=True).returncode != 0:
        report("coordinator with 10,000 replicas: left out, `made_up_nodes.py --help` fails: grpcio or numpy is missing")
        return
    with tempfile.TemporaryDirectory() as folder:
        words = ["coordinator", "--data-dir", folder, "--api", "127.0.0.1:0", "--bootstrap-expect", "1", "--log", "info"]
        with open(Path(folder) / "log", "w", encoding="utf-8") as log:
            child = subprocess.Popen([berth, *words], stdout=log, stderr=subprocess.STDOUT)
        nodes = None
        try:
            api = logged(Path(folder) / "log", r"coordinator listens address=(\S+)")
            logged(Path(folder) / "log", "(this member leads)")
            nodes = subprocess.Popen([*made_up, "--api", api, "--token-file", f"{folder}/node.token", "--nodes", "100"])
            file = Path(folder) / "fleet.yml"
            deployment = "endpoint_name: fraud\nname: d-{:02}\ncommand: [sleep, inf]\ninstance_count: 500\nreserve: false\nresources: {{cpu: 0.1, memory: 64MiB}}\n"
            file.write_text("---\n".join(["name: fraud\n", *map(deployment.format, range(20))]), encoding="utf-8")
            ask = lambda *more: subprocess.run([berth, *more, "--api", api], capture_output=True, text=True)
            wait(lambda: ask("get", "nodes", "-o", "name").stdout.count("\n") == 100, "the nodes are there")
            began = time.perf_counter()
            applied = ask("apply", "-f", str(file), "--yes", "--no-wait")
            assert applied.returncode == 0, applied.stderr
            wait(lambda: ask("get", "deployments").stdout.count(" 500/500 ") == 20, "all serve")
            report(f"coordinator with 100 made-up nodes: 10,000 replicas serve {time.perf_counter() - began:.1f} s after `apply`")
            screen = Screen(berth, api, "replicas")
            try:
                assert screen.read(30, lambda text: "10000" in text)[1], "the screen shows them"
                screen.read(3)
                before, share = cpu_s(child.pid), processor(screen, 20)
                told = (cpu_s(child.pid) - before) / 20 * 100
                report(f"screen    10,000 replicas of a coordinator, 200 of them change every second: {share:.2f} % of a core; the coordinator {told:.0f} %")
                report(f"screen    10,000 replicas of a coordinator, a page down until it is drawn: {spread(pages_down(screen), 'ms')}")
            finally:
                screen.close()
            assert nodes.poll() is None, "the nodes are there to the end"
        finally:
            if nodes:
                nodes.kill()
                nodes.wait(60)
            child.terminate()
            child.wait(60)


def wait(holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def logged(log: Path, pattern: str) -> str:
    """Returns what a log says, once it does."""
    found: list[str] = []
    wait(lambda: bool(found.extend(re.findall(pattern, log.read_text(encoding="utf-8"))) or found), pattern)
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("berth")
    parser.add_argument("--out")
    parser.add_argument("--profile", default="release", help="how it was built; only said")
    parser.add_argument("--only", choices=["told", "held"], help="one of the two parts with ten thousand replicas")
    args = parser.parse_args()
    berth = str(Path(args.berth).resolve())
    report = Report(args.out)
    load = lambda: f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    report(f"profile {args.profile}, {os.path.getsize(berth) >> 20} MiB, {load()}")
    if args.only:
        {"told": ten_thousand, "held": ten_thousand_held}[args.only](berth, report)
        return
    start_up(berth, report)
    with tempfile.TemporaryDirectory() as folder:
        child, api = first_answer(berth, Path(folder), "green-deployment.yml", "an ONNX model", report)
        try:
            latency(berth, api, report)
            idle(berth, api, report)
        finally:
            child.terminate()
            child.wait(60)
    python_answer(berth, report)
    ten_thousand(berth, report)
    ten_thousand_held(berth, report)
    report(f"at the end: {load()}")


if __name__ == "__main__":
    main()
