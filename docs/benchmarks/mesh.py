#!/usr/bin/env python3
"""The mesh beside other proxies, in one interleaved run: what mesh.md describes and whose configurations are read from it.

Every round runs every base once, in turn, so that a noisy minute hits all of them; the report gives medians with the range,
and ratios to haproxy round by round. Proxies run on one core, their caller and the backends on another. Peers that are not
installed are left out, and the report says which. Needs h2load (Debian: nghttp2-client).

usage: mesh.py MESH_HOP_BINARY [--pingora BINARY] [--before OLDER_BINARY] [--rounds N]
               [--sections full,rate,latency,tax,telemetry,tls,large,mirror] [--seconds N] [--mirror-rounds N] [--out FILE]
       mesh.py MESH_HOP_BINARY --train     (loads for a build that counts what it does; nothing is measured)
"""

import argparse
import atexit
import bisect
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter

from ports import free_ports

HERE = os.path.dirname(os.path.abspath(__file__))
KEY = "a-key-of-the-endpoint"
# Headers that callers of an endpoint with every feature send beside those of gRPC.
ASKED = ["-H", f"authorization: Bearer {KEY}", "-H", "x-request-timeout-ms: 30000"]
DEADLINE = ASKED[2:]
CONNECTIONS = 16
# Requests a second at which CPU per request is measured in an open loop.
RATE = 10_000
# Where the configurations of the peers are in mesh.md, and how each is started. Each runs in the foreground.
PEERS = {
    "haproxy": ("haproxy.cfg", ["haproxy", "-db", "-f", "{config}"], ["haproxy", "-v"]),
    "nghttpx": ("nghttpx.conf", ["nghttpx", "--conf={config}"], ["nghttpx", "--version"]),
    "nginx": ("nginx.conf", ["nginx", "-p", "{folder}", "-c", "{config}"], ["nginx", "-v"]),
    "caddy": ("Caddyfile", ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"], ["caddy", "version"]),
}
BACKENDS = 4
# nginx with its own `mirror`.
NGINX_MIRROR = "nginx_mirror.conf"


class Base:
    """Something that requests are sent to."""

    def __init__(self, name, port, path, pid=None, headers=(), scheme="http"):
        self.name, self.port, self.path, self.pid, self.headers, self.scheme = name, port, path, pid, list(headers), scheme


# === processes ===

children = []


@atexit.register
def end_all():
    for child in children:
        if child.poll() is not None:
            continue
        # A child that is killed does not end its own.
        for one in family(child.pid):
            os.kill(one, signal.SIGKILL)
        child.wait()


def start(core, *command, **more):
    """Starts a process of one core in a group of its own, which ends with this one."""
    more = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **more}
    child = subprocess.Popen(["taskset", "-c", str(core), *command], **more)
    children.append(child)
    return child.pid


def wait_for(port):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def family(pid):
    """Lists a process and its descendants: some proxies do their work in a child."""
    parents = {}
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents.setdefault(int(open(f"/proc/{one}/stat").read().rsplit(")", 1)[1].split()[1]), []).append(int(one))
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_us(pid):
    """Sums the time on a processor of all threads of a process and its descendants, in the kernel's own nanoseconds."""
    spent = 0
    for one in family(pid):
        for task in os.listdir(f"/proc/{one}/task"):
            spent += int(open(f"/proc/{one}/task/{task}/schedstat").read().split()[0])
    return spent / 1e3


def machine_time():
    """The time that a hypervisor gave to others while this machine had work, and all time, in the kernel's ticks."""
    ticks = [int(number) for number in open("/proc/stat").readline().split()[1:]]
    return ticks[7], sum(ticks[:8])


# === the machine's stops ===

# A watcher that sleeps for so long and wakes up so much later was not run: nor was anybody else on its core.
WATCH_EVERY_US, STOPPED_US = 300, 600
# How long after a stop its work may still be waited behind.
AFTER_STOP_US = 2_000
WATCHER = """
import sys, time
last = time.time_ns()
while True:
    time.sleep({every} / 1e6)
    now = time.time_ns()
    if now - last > {stopped} * 1000:
        print(last // 1000, now // 1000, flush=True)
    last = now
""".format(every=WATCH_EVERY_US, stopped=STOPPED_US)


class Stops:
    """Notes when a core stood still: a virtual machine is not run all the time, and a p99 is made of that. A watcher on each core
    that nothing here may interrupt wakes up every now and then; where it could not, nobody could."""

    def __init__(self, folder, cores):
        self.files = [os.path.join(folder, f"stops-{core}") for core in cores]
        for core, file in zip(cores, self.files):
            start(core, "chrt", "--fifo", "50", sys.executable, "-c", WATCHER, stdout=open(file, "w"))

    def since(self, begin):
        """Lists the stops that ended after a moment, in microseconds since 1970, with what waited behind them, in order."""
        found = []
        for file in self.files:
            for line in open(file):
                stopped, went_on = map(int, line.split())
                if went_on >= begin:
                    found.append((stopped, went_on + AFTER_STOP_US))
        return sorted(found)


def undisturbed(rows, stops):
    """Lists how long each request took during which, and shortly before which, no core stood still."""
    ends = []
    for _, end in stops:
        ends.append(max(end, ends[-1] if ends else end))
    begins = [begin for begin, _ in stops]
    kept = []
    for row in rows:
        begun, took = int(row[0]), int(row[2])
        # Stops that began before the request ended: the last of their ends tells whether one of them reached into it.
        before = bisect.bisect_right(begins, begun + took)
        if not before or ends[before - 1] < begun:
            kept.append(took)
    return kept


# === load ===


class Load:
    """Runs h2load on the callers' core."""

    def __init__(self, folder, core):
        self.folder, self.core, self.stops = folder, core, None

    def body(self, size):
        """A gRPC message of `size` bytes with its prefix."""
        path = os.path.join(self.folder, f"body-{size}")
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(b"\0" + size.to_bytes(4, "big") + b"x" * size)
        return path

    def run(self, base, size, *flags):
        log = os.path.join(self.folder, "requests.tsv")
        if os.path.exists(log):
            os.remove(log)
        before = cpu_us(base.pid) if base.pid else 0
        command = ["taskset", "-c", str(self.core), "h2load", "-t1", *flags, "-d", self.body(size), f"--log-file={log}"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", *base.headers]
        done = subprocess.run([*command, f"{base.scheme}://127.0.0.1:{base.port}{base.path}"], capture_output=True, text=True, timeout=300)
        spent = cpu_us(base.pid) - before if base.pid else 0
        succeeded = re.search(r"(\d+) succeeded, (\d+) failed", done.stdout)
        if done.returncode or not succeeded or int(succeeded.group(2)):
            sys.exit(f"{base.name}: answers are missing or wrong:\n{done.stdout}{done.stderr}")
        rows = [line.split("\t") for line in open(log)]
        if any(row[1] != "200" for row in rows):
            sys.exit(f"{base.name}: a status that is not 200")
        times = [int(row[2]) for row in rows]
        if self.stops:
            times = undisturbed(rows, self.stops.since(min(int(row[0]) for row in rows)))
        times.sort()
        if not times:
            sys.exit(f"{base.name}: a core stood still all the time")
        begun = [int(row[0]) for row in rows]
        took = max(at + int(row[2]) for at, row in zip(begun, rows)) - min(begun)
        return {
            "cpu_us": spent / len(rows),
            "rate": len(rows) * 1e6 / took,
            "p50_us": times[len(times) // 2],
            "p99_us": times[len(times) * 99 // 100],
            "left_out": 1 - len(times) / len(rows),
            "times": Counter(times),
        }

    def full(self, base, size, requests):
        """As many requests as the proxy takes: closed loop, 16 connections of 8 streams."""
        return self.run(base, size, "-n", str(requests), "-c", str(CONNECTIONS), "-m", "8")

    def at_rate(self, base, size, rate, seconds, *flags):
        """Requests at fixed moments, however many are unanswered (up to a hundred per connection). Connections that were
        made together ask together."""
        each = max(1, rate // CONNECTIONS)
        total = each * CONNECTIONS * seconds
        return self.run(base, size, "-n", str(total), "-c", str(CONNECTIONS), "-m", "100", f"--rps={each}", *flags)

    def evenly(self, base, size, seconds):
        """A thousand requests a second, one after the other: connections are made a millisecond apart, and each asks every
        sixteen."""
        return self.at_rate(base, size, 1_000, seconds, "--rate=1", "--rate-period=1ms")


# === bases ===


def configurations():
    """Reads the peers' configurations from mesh.md: what is shown there is what is measured."""
    page = open(os.path.join(HERE, "mesh.md")).read()
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w*\n(.*?)^```", page, re.M | re.S))


def with_tls(file, text):
    """Puts what speaks TLS in the place of what does not, as the table in mesh.md says."""
    page = open(os.path.join(HERE, "mesh.md")).read()
    [(plain, lines)] = re.findall(rf"^\| `{re.escape(file)}` \| `(.*?)` \| (.*) \|$", page, re.M)
    assert plain in text, f"{file} has no {plain}"
    return text.replace(plain, "\n".join(re.findall(r"`(.*?)`", lines)))


def certificate(folder):
    """Makes a certificate for the proxies: on its own, and with its key in one file, as haproxy has it."""
    cert, key = (os.path.join(folder, name) for name in ("cert.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    with open(os.path.join(folder, "both.pem"), "w") as both:
        both.write(open(cert).read() + open(key).read())


def configured(file, command, port, folder, backends, mirror=None, tls=False):
    """Writes the configuration of a peer; returns what starts it."""
    text = configurations()[file]
    text = (with_tls(file, text) if tls else text).replace("PORT", str(port)).replace("FOLDER", folder).replace("MIRROR", f"127.0.0.1:{mirror}")
    for place, backend in enumerate(backends, 1):
        text = text.replace(f"BACKEND{place}", f"127.0.0.1:{backend}").replace(f"PEER{place}", f"127.0.0.1,{backend}")
    config = os.path.join(folder, file)
    open(config, "w").write(text)
    return [word.format(config=config, folder=folder) for word in command]


def start_peers(folder, core, backends, tls=False):
    """Starts what is installed; returns the bases and a line per peer."""
    bases, lines = [], []
    for name, (file, command, version) in PEERS.items():
        if not shutil.which(command[0]):
            lines.append(f"{name}: not installed, left out")
            continue
        [port] = free_ports(1)
        said = subprocess.run(version, capture_output=True, text=True)
        lines.append(f"{name}: {(said.stdout + said.stderr).strip().splitlines()[0]}")
        command = configured(file, command, port, folder, backends, tls=tls)
        pid = start(core, *command, env={**os.environ, "HOME": folder, "GOMAXPROCS": "1"})
        wait_for(port)
        bases.append(Base(name, port, "/bench.Echo/Say", pid, scheme="https" if tls else "http"))
    return bases, lines


def start_pingora(binary, core, backends):
    """Starts the proxy in `pingora/`, whose source is its configuration; returns it and its line."""
    [port] = free_ports(1)
    pid = start(core, binary, f"127.0.0.1:{port}", *(f"127.0.0.1:{backend}" for backend in backends))
    wait_for(port)
    with open(os.path.join(HERE, "pingora", "Cargo.lock")) as lock:
        version = re.search(r'name = "pingora"\nversion = "(.*)"', lock.read()).group(1)
    return Base("pingora", port, "/bench.Echo/Say", pid), f"pingora: {version}"


def start_nginx_mirror(name, core, backends, mirror):
    """Starts nginx with a mirror of everything."""
    [port] = free_ports(1)
    folder = tempfile.mkdtemp(dir=tempfile.gettempdir())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    pid = start(core, *configured(NGINX_MIRROR, PEERS["nginx"][1], port, folder, backends, mirror))
    wait_for(port)
    return Base(name, port, "/bench.Echo/Say", pid)


class Meshes:
    """Starts meshes of one core."""

    def __init__(self, binary, folder, core, backends):
        self.binary, self.folder, self.core = binary, folder, core
        self.backends = ",".join(f"127.0.0.1:{port}" for port in backends)

    def __call__(self, name, hops, *features, headers=()):
        [port] = free_ports(1)
        command = [self.binary, "--hops", str(hops), "--ingress", f"127.0.0.1:{port}", "--backend", self.backends]
        pid = start(self.core, *command, *features)
        wait_for(port)
        return Base(name, port, "/e/echo/bench.Echo/Say", pid, headers, "https" if "--tls" in features else "http")

    def all_on(self, hops):
        return self(f"mesh, all on, {hops} hop{'s' * (hops > 1)}", hops, "--key", KEY, "--split", headers=ASKED)


def train(binary):
    """Puts a build that counts what it does under the loads that are measured, and lets it write down what it counted."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        backends = free_ports(BACKENDS)
        start(cores[-1], binary, "--hops", "0", "--backend", ",".join(f"127.0.0.1:{port}" for port in backends))
        [wait_for(port) for port in backends]
        mesh, load = Meshes(binary, folder, cores[0], backends), Load(folder, cores[-1])
        for base in [mesh("mesh, bare, 1 hop", 1), mesh.all_on(1), mesh.all_on(2)]:
            for size in (64, 1_024):
                load.full(base, size, 60_000)
            load.run(base, 2_000_000, "-n", "60", "-c", "4", "-m", "1")
            load.run(base, 64, "--h1", "-n", "20000", "-c", str(CONNECTIONS))
            # It writes when it ends by itself.
            os.kill(base.pid, signal.SIGTERM)
            [child.wait(timeout=30) for child in children if child.pid == base.pid]


def unanswered(measure, base):
    """Tells how many requests of a measurement failed, where one may."""
    try:
        measure(base)
    except SystemExit as error:
        failed = re.search(r"requests: (\d+) total.* (\d+) failed", str(error))
        return f"{base.name}: {failed.group(2)} of {failed.group(1)} requests failed" if failed else str(error)
    return f"{base.name}: every request was answered"


# === report ===


class Report:
    def __init__(self, out):
        self.out, self.raw, self.text = out, {}, []
        self.dice = random.Random(0)

    def say(self, line=""):
        print(line, flush=True)
        self.text.append(line)
        if self.out:
            with open(self.out, "w") as file:
                raw = "\n".join(f"raw {name}: {json.dumps(rows)}" for name, rows in self.raw.items())
                file.write("\n".join(self.text) + "\n" + (f"\n{raw}\n" if raw else ""))

    def section(self, key, title, columns, bases, rounds, against, measure, together=False):
        """Measures every base in every round and tells the medians; `against` names the base that ratios are to."""
        if not bases:
            return self.say(f"\n{title}: nobody can")
        rows = self.raw[key] = {base.name: [] for base in bases}
        before, times = machine_time(), {base.name: [] for base in bases}
        for _ in range(rounds):
            for base in bases:
                row = measure(base)
                times[base.name].append(row.pop("times"))
                rows[base.name].append(row)
        against = against if against in rows else bases[0].name
        self.say()
        stolen, all_time = (now - then for now, then in zip(machine_time(), before))
        self.say(f"{title}; {rounds} rounds, load average {os.getloadavg()[0]:.1f}, {100 * stolen / all_time:.1f} % of the time taken by other machines")
        heads = [f"{label:>22}" for _, label in columns]
        self.say(f"{'base':<28}{''.join(heads)}{'x ' + against:>22}")
        for name, row in rows.items():
            cells = [spread([one[column] for one in row]) for column, _ in columns]
            first = columns[0][0]
            ratios = [one[first] / other[first] for one, other in zip(row, rows[against]) if other[first]]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "-"
            self.say(f"{name:<28}{''.join(f'{cell:>22}' for cell in cells)}{ratio:>22}")
        left_out = {name: 100 * statistics.mean(one["left_out"] for one in row) for name, row in rows.items()}
        if any(left_out.values()):
            each = ", ".join(f"{name} {share:.1f}" for name, share in left_out.items())
            self.say(f"left out, because a core stood still meanwhile, % of the requests: {each}")
        if together:
            self.together(key, times, against)
        return rows

    def together(self, key, times, against):
        """Tells the latencies of all rounds together, and between what nine tenths of their ratios lie when rounds are drawn anew:
        a p99 of one second is its ten worst requests, and one stop of the machine."""
        points = [50, 90, 95, 99, 99.5]
        self.say("all rounds together, us       " + "".join(f"{f'p{point:g}':>8}" for point in points) + f"{'p99 x ' + against:>36}")
        self.raw[f"{key}, all rounds"] = kept = {}
        for name, rounds in times.items():
            kept[name] = [quantile(rounds, point) for point in points]
            drawn = sorted(self.drawn(rounds) / self.drawn(times[against]) for _ in range(200))
            ratio = quantile(rounds, 99) / quantile(times[against], 99)
            said = f"{ratio:.2f} ({drawn[10]:.2f}-{drawn[189]:.2f})" if name != against else ""
            self.say(f"{name:<30}{''.join(f'{value:>8}' for value in kept[name])}{said:>36}")

    def drawn(self, rounds):
        return quantile(self.dice.choices(rounds, k=len(rounds)), 99)


def quantile(rounds, percent):
    """The latency that so many of all requests of some rounds stayed below."""
    times = sum(rounds, Counter())
    left = times.total() * percent / 100
    for time_us in sorted(times):
        left -= times[time_us]
        if left < 0:
            return time_us
    return max(times)


def spread(values):
    digits = 0 if min(values) >= 100 else 1
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh_hop")
    parser.add_argument("--pingora", help="the binary of the crate in pingora/; left out without it")
    parser.add_argument("--train", action="store_true", help="run the loads once, for a build that counts what it does")
    parser.add_argument("--before", help="an older build, measured in the same rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="how long a round of one base at a fixed rate takes")
    parser.add_argument("--mirror-rounds", type=int, default=30, help="rounds of a second beside each mirror")
    parser.add_argument("--requests", type=int, default=40_000, help="requests of a round of one base at its full rate")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything that is started")
    parser.add_argument("--sections", default="full,rate,latency,tax,telemetry,tls,large,mirror")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.train:
        return train(args.mesh_hop)
    sections, rounds, seconds = args.sections.split(","), args.rounds, args.seconds
    os.nice(args.nice)
    cores = sorted(os.sched_getaffinity(0))
    proxy_core, other_core = cores[0], cores[-1]
    report = Report(args.out)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        backends = free_ports(BACKENDS)
        echo = [args.mesh_hop, "--hops", "0", "--backend", ",".join(f"127.0.0.1:{port}" for port in backends)]
        start(other_core, *echo)
        [wait_for(port) for port in backends]
        direct = Base("direct", backends[0], "/bench.Echo/Say")
        peers, lines = start_peers(folder, proxy_core, backends)
        if args.pingora:
            peer, line = start_pingora(args.pingora, proxy_core, backends)
            peers.append(peer)
            lines.append(line)
        mesh = Meshes(args.mesh_hop, folder, proxy_core, backends)
        load = Load(folder, other_core)
        report.say(f"{len(cores)} cores; proxies on one, their caller and {BACKENDS} backends on another; load average {os.getloadavg()}")
        [report.say(line) for line in lines]
        if {"latency", "mirror"} & set(sections):
            stops = Stops(folder, cores)
        ours = [mesh("mesh, bare, 1 hop", 1), mesh.all_on(1), mesh.all_on(2)]
        if args.before:
            ours.append(Meshes(args.before, folder, proxy_core, backends)("before, bare, 1 hop", 1))
        bases = [*peers, *ours]
        for base in [direct, *bases]:
            load.full(base, 136, 5_000)
        cpu, rate = ("cpu_us", "CPU-us/request"), ("rate", "requests/s")
        p50, p99 = ("p50_us", "p50 us"), ("p99_us", "p99 us")
        peak = {}
        if "full" in sections:
            for size in (64, 1_024):
                title = f"as many as it takes, {size} bytes: 16 connections of 8 streams"
                measure = lambda base: load.full(base, size, args.requests)
                rows = report.section(f"full {size}", title, [cpu, rate], bases, rounds, "haproxy", measure)
            peak = {name: statistics.median(one["rate"] for one in row) for name, row in rows.items()}
        if "rate" in sections:
            # Whoever was not asked before is taken to be able.
            able = [base for base in bases if peak.get(base.name, RATE) >= RATE * 1.2]
            measure = lambda base: load.at_rate(base, 136, RATE, seconds)
            report.section("rate", f"{RATE:,} requests a second, 136 bytes, whoever can take more", [cpu, p50, p99], able, rounds, "haproxy", measure)
        if "latency" in sections:
            load.stops = stops
            half = int(min(peak.values(), default=RATE) / 2)
            title = f"{half} requests a second, half of what the slowest takes, 136 bytes"
            measure = lambda base: load.at_rate(base, 136, half, seconds)
            rows = report.section("latency", title, [p50, p99], [direct, *bases], rounds, "direct", measure, together=True)
            report.say("added over direct, median of rounds, us:")
            for base in bases:
                added = [
                    statistics.median(one[key] - other[key] for one, other in zip(rows[base.name], rows["direct"]))
                    for key in ("p50_us", "p99_us")
                ]
                report.say(f"    {base.name:<24} p50 {added[0]:>6.0f}   p99 {added[1]:>6.0f}")
            load.stops = None
        if "tax" in sections:
            # What everything costs is told to a mesh that counts nothing, and what features cost beside what always is on.
            taxed = [
                mesh("without telemetry", 1, "--without-telemetry"),
                ours[0],
                mesh("mesh, keys", 1, "--key", KEY, headers=ASKED[:2]),
                mesh("mesh, split", 1, "--split"),
                mesh("mesh, deadlines", 1, headers=DEADLINE),
                ours[1],
                mesh("mesh, access log", 1, "--access-log", os.path.join(folder, "access.log")),
            ]
            measure = lambda base: load.full(base, 136, args.requests)
            rows = report.section("tax", "what features cost, 136 bytes", [cpu, rate], taxed, rounds, taxed[0].name, measure)
            bare, full = rows[ours[0].name], rows[ours[1].name]
            over_bare = [one["cpu_us"] / other["cpu_us"] for one, other in zip(full, bare)]
            report.say(f"{ours[1].name} over {ours[0].name}: {statistics.median(over_bare):.2f} ({min(over_bare):.2f}-{max(over_bare):.2f})")
        if "telemetry" in sections:
            [collector] = free_ports(1)
            start(other_core, args.mesh_hop, "--collector", f"127.0.0.1:{collector}")
            wait_for(collector)
            told = [
                mesh("without telemetry", 1, "--without-telemetry"),
                ours[0],
                mesh("mesh, bare, and traces", 1, "--traces", f"127.0.0.1:{collector}"),
            ]
            measure = lambda base: load.full(base, 136, args.requests)
            title = "what counting, recording and traces of 1 % cost, 136 bytes"
            report.section("telemetry", title, [cpu, rate], told, rounds, told[0].name, measure)
        if "tls" in sections:
            # Beside the same without, whose configurations are elsewhere: nobody's folder is written over.
            with tempfile.TemporaryDirectory() as secret:
                os.chmod(secret, 0o755)
                certificate(secret)
                secured, _ = start_peers(secret, proxy_core, backends, tls=True)
                told = ["--tls", secret, "--key", KEY, "--split"]
                secured += [mesh(f"mesh, all on, {hops} hop{'s' * (hops > 1)}", hops, *told, headers=ASKED) for hops in (1, 2)]
                for size in (64, 1_024):
                    measure = lambda base: load.full(base, size, args.requests)
                    title = f"TLS to the proxy, as many as it takes, {size} bytes: 16 connections of 8 streams"
                    report.section(f"tls {size}", title, [cpu, rate], secured, rounds, "haproxy", measure)
        if "large" in sections:
            title = "bodies of 10 MB there and back: 4 connections of 1 stream"
            measure = lambda base: load.run(base, 10_000_000, "-n", "40", "-c", "4", "-m", "1")
            report.section("large", title, [cpu, rate, p50], [*bases], max(3, rounds), "haproxy", measure, together=True)
        if "mirror" in sections:
            healthy, dead, slow, wrong = free_ports(4)
            for port, more in {healthy: [], slow: ["--slow-ms", "200"], wrong: ["--wrong-permille", "10"]}.items():
                # What the target of a mirror computes is not what a caller pays: it gives way to the caller on their core.
                start(other_core, "chrt", "--idle", "0", args.mesh_hop, "--hops", "0", "--backend", f"127.0.0.1:{port}", *more)
                wait_for(port)
            # It takes connections, and nobody ever reads a byte of them.
            stalled = socket.socket()
            stalled.bind(("127.0.0.1", 0))
            stalled.listen(1_024)
            mirrors = {"healthy": healthy, "dead": dead, "stalled": stalled.getsockname()[1], "slow (200 ms)": slow, "1 % wrong": wrong}
            copied = [mesh(f"mirror is {name}", 1, "--mirror", f"127.0.0.1:{port}") for name, port in mirrors.items()]
            # What two that are the same differ by is what this machine cannot tell apart.
            copied.insert(0, mesh("mesh, bare, another", 1))
            columns, rounds = [p99, p50, cpu], args.mirror_rounds
            load.stops = stops
            # Seconds of one base between seconds of the others: the machine stops for milliseconds now and then, and a p99
            # of more would be of that alone.
            second = lambda base: load.evenly(base, 136, 1)
            burst = lambda base: load.at_rate(base, 136, 1_000, 1)
            title = "every request copied to a mirror, 1,000 requests a second, 136 bytes"
            report.section("mirror", title, columns, [ours[0], *copied], rounds, ours[0].name, second, together=True)
            report.section("mirror, bursts", f"{title}, sixteen at a time", columns, [ours[0], *copied], rounds, ours[0].name, burst, together=True)
            nginx = [peer for peer in peers if peer.name == "nginx"]
            if nginx:
                copied = [start_nginx_mirror(f"nginx, mirror is {name}", proxy_core, backends, mirrors[name]) for name in ("healthy", "dead")]
                report.section("mirror of nginx", title, columns, [*nginx, *copied], rounds, "nginx", second, together=True)
                report.section("mirror of nginx, bursts", f"{title}, sixteen at a time", columns, [*nginx, *copied], rounds, "nginx", burst, together=True)
                # It holds a request until its copy is answered, so its callers' streams run out: nothing to compare a p99 with.
                report.say(unanswered(second, start_nginx_mirror("nginx, mirror is stalled", proxy_core, backends, mirrors["stalled"])))
    report.say(f"load average at the end {os.getloadavg()}")


if __name__ == "__main__":
    main()
