#!/usr/bin/env python3
"""One mesh hop and two, beside a direct connection and haproxy, in one interleaved run.

Closed loop throughout: many streams for CPU per request (the primary figure, read from /proc), one request at a time for
added latency, which says what a hop costs an idle mesh and nothing about queues. Every
round runs every base once, in turn, so that a noisy minute hits all of them; the report gives medians with the range.
Needs h2load (Debian: nghttp2-client) and haproxy.

usage: mesh.py MESH_HOP_BINARY [--before OLDER_BINARY] [--rounds N] [--requests N] [--out FILE]
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind 127.0.0.1:{port} proto h2
    default_backend out
backend out
    server one 127.0.0.1:{backend} proto h2
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(port):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def cpu_seconds(pid, threads):
    """Sums the CPU time of a process's threads whose name begins with `threads`."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        name, fields = open(f"/proc/{pid}/task/{task}/stat").read().split("(", 1)[1].rsplit(")", 1)
        if name.startswith(threads):
            fields = fields.split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def h2load(port, path, *flags):
    """Runs h2load with a gRPC-shaped unary call of 136 bytes and reads its summary."""
    with tempfile.NamedTemporaryFile("wb") as body:
        body.write(b"\0" + (131).to_bytes(4, "big") + b"x" * 131)
        body.flush()
        command = ["h2load", "-t1", *flags, "-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers",
                   f"http://127.0.0.1:{port}{path}"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    done = int(re.search(r"(\d+) succeeded", out).group(1))
    failed = int(re.search(r"(\d+) failed", out).group(1))
    statuses = re.search(r"status codes: (\d+) 2xx", out)
    rate = float(re.search(r"([\d.]+) req/s", out).group(1))
    scale = {"us": 1, "ms": 1e3, "s": 1e6}
    times = re.search(r"time for request:\s+(\S+?)(us|ms|s)\s+(\S+?)(us|ms|s)\s+(\S+?)(us|ms|s)", out)
    mean = float(times.group(5)) * scale[times.group(6)]
    if failed or int(statuses.group(1)) != done:
        sys.exit(f"answers are missing or wrong:\n{out}")
    return done, rate, mean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh_hop")
    parser.add_argument("--before", help="an older build, measured in the same rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--out")
    args = parser.parse_args()
    backend, haproxy_port, one, two, behind_one, behind_two, before, behind_before = free_ports(8)
    children = []

    def start(*command):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children.append(child)
        return child.pid

    with tempfile.TemporaryDirectory() as folder:
        try:
            start(args.mesh_hop, "--hops", "0", "--backend", f"127.0.0.1:{backend}", "--cores", "1")
            wait_for(backend)
            config = os.path.join(folder, "haproxy.cfg")
            open(config, "w").write(HAPROXY.format(port=haproxy_port, backend=backend))
            haproxy = start("haproxy", "-db", "-f", config)
            def mesh(hops, port, behind, binary=args.mesh_hop):
                ends = ["--ingress", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{behind}"]
                return start(binary, "--hops", str(hops), *ends, "--cores", "1")

            # Each has an echo backend of its own, in threads of its own that are not counted.
            mesh_one, mesh_two = mesh(1, one, behind_one), mesh(2, two, behind_two)
            for port in (haproxy_port, one, two):
                wait_for(port)
            bases = {
                "direct": (backend, "/bench.Echo/Say", None),
                "haproxy": (haproxy_port, "/bench.Echo/Say", (haproxy, "")),
                "mesh, one hop": (one, "/e/echo/bench.Echo/Say", (mesh_one, "mesh-")),
                "mesh, two hops": (two, "/e/echo/bench.Echo/Say", (mesh_two, "mesh-")),
            }
            if args.before:
                older = mesh(1, before, behind_before, args.before)
                wait_for(before)
                bases["before, one hop"] = (before, "/e/echo/bench.Echo/Say", (older, "mesh-"))
            rows = {name: {"cpu_us": [], "rate": [], "mean_us": []} for name in bases}
            for name, (port, path, _) in bases.items():
                h2load(port, path, "-n", "5000", "-c", "16", "-m", "8")
            for _ in range(args.rounds):
                for name, (port, path, counted) in bases.items():
                    before = cpu_seconds(*counted) if counted else 0
                    done, rate, _ = h2load(port, path, "-n", str(args.requests), "-c", "16", "-m", "8")
                    after = cpu_seconds(*counted) if counted else 0
                    rows[name]["cpu_us"].append((after - before) * 1e6 / done)
                    rows[name]["rate"].append(rate)
                    # One request at a time: the latency that a hop adds, without queueing behind other requests.
                    _, _, mean = h2load(port, path, "-n", "3000", "-c", "1", "-m", "1")
                    rows[name]["mean_us"].append(mean)
        finally:
            for child in children:
                child.send_signal(signal.SIGKILL)
                child.wait()
    median = {name: {key: statistics.median(values) for key, values in row.items()} for name, row in rows.items()}
    lines = [f"{'base':<16} {'CPU-us/request':>22} {'x haproxy':>10} {'req/s':>9} {'latency us':>11} {'added us':>9}"]
    for name, row in rows.items():
        mid = median[name]
        spread = f"{mid['cpu_us']:.1f} ({min(row['cpu_us']):.1f}-{max(row['cpu_us']):.1f})"
        ratio = mid["cpu_us"] / median["haproxy"]["cpu_us"]
        added = mid["mean_us"] - median["direct"]["mean_us"]
        cells = ("-", "-") if name == "direct" else (spread, f"{ratio:.2f}")
        lines.append(f"{name:<16} {cells[0]:>22} {cells[1]:>10} {mid['rate']:>9.0f} {mid['mean_us']:>11.0f} {added:>9.0f}")
    text = "\n".join(lines)
    print(text)
    if args.out:
        with open(args.out, "w") as out:
            out.write(text + "\n\nraw: " + json.dumps(rows) + "\n")


main()
