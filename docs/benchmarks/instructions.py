#!/usr/bin/env python3
"""Instructions outside the kernel that a request takes in the mesh and in other proxies, counted by callgrind: what stays the
same however busy a machine and its neighbours are. Times are mesh.py's; how many instructions go into a microsecond differs
between programs. Processors count fewer where they have instructions of their own that callgrind knows nothing of (SHA).

usage: instructions.py MESH_HOP_BINARY [--requests N] [--out FILE]      (Debian: valgrind, nghttp2-client)
"""

import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import mesh
from ports import free_ports

SIZE = 64
WARM_UP = 2_000
CORES = sorted(os.sched_getaffinity(0))


def count(folder, name, port, path, headers, command, load, requests):
    """Counts what `command` takes of `requests`, all of its processes together."""
    out = os.path.join(folder, re.sub(r"\W+", "-", name))
    counting = ["valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no", f"--callgrind-out-file={out}.%p"]
    pid = mesh.start(CORES[0], *counting, *command, cwd=folder)
    mesh.wait_for(port)
    base = mesh.Base(name, port, path, None, headers)
    load.full(base, SIZE, WARM_UP)
    pids = [str(one) for one in mesh.family(pid)]
    control = lambda *words: subprocess.run(["callgrind_control", *words, *pids], capture_output=True, check=True)
    control("-i", "on")
    load.full(base, SIZE, requests)
    control("-i", "off")
    control("-d")
    for one in mesh.family(pid):
        os.kill(one, signal.SIGKILL)
    totals = [line for file in glob.glob(f"{out}.*") for line in open(file) if line.startswith("totals:")]
    return sum(int(line.split()[1]) for line in totals) / requests


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh_hop")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--out")
    args = parser.parse_args()
    binary = os.path.abspath(args.mesh_hop)
    report = mesh.Report(args.out)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        backends = free_ports(mesh.BACKENDS)
        mesh.start(CORES[-1], binary, "--hops", "0", "--backend", ",".join(f"127.0.0.1:{port}" for port in backends))
        [mesh.wait_for(port) for port in backends]
        load = mesh.Load(folder, CORES[-1])
        report.say(f"{subprocess.run(['valgrind', '--version'], capture_output=True, text=True).stdout.strip()}; {args.requests} requests of {SIZE} bytes over 16 connections of 8 streams")
        report.say(f"{'':<28}{'instructions a request':>24}{'x haproxy':>12}")
        first = None
        for name in ("haproxy", "nghttpx"):
            if not shutil.which(name):
                report.say(f"{name}: not installed, left out")
                continue
            [port] = free_ports(1)
            command = mesh.configured(*mesh.PEERS[name][:2], port, folder, backends)
            took = count(folder, name, port, "/bench.Echo/Say", (), command, load, args.requests)
            first = took if name == "haproxy" else first
            report.say(f"{name:<28}{took:>24,.0f}" + (f"{took / first:>12.2f}" if first else ""))
        replicas = ",".join(f"127.0.0.1:{port}" for port in backends)
        for name, features, headers in [
            ("mesh, bare, 1 hop", (), ()),
            ("without telemetry", ("--without-telemetry",), ()),
            ("mesh, all on, 1 hop", ("--key", mesh.KEY, "--split"), mesh.ASKED),
        ]:
            [port] = free_ports(1)
            command = [binary, "--hops", "1", "--ingress", f"127.0.0.1:{port}", "--backend", replicas, *features]
            took = count(folder, name, port, "/e/echo/bench.Echo/Say", headers, command, load, args.requests)
            report.say(f"{name:<28}{took:>24,.0f}" + (f"{took / first:>12.2f}" if first else ""))


if __name__ == "__main__":
    sys.exit(main())
