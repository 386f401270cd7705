#!/usr/bin/env python3
"""One no-op model behind Berth and behind other servers of models: what serve.md describes, with the files it shows.

Every round starts each server alone, with its model and whatever it needs beside itself, on one core; the caller has another.
First requests at fixed moments, for latencies; then as many as 16 connections get answered, for processor time per request,
of every process of the server. The report gives medians with the range, and ratios round by round.

usage: serve.py BERTH --work FOLDER [--venv-azureml DIR] [--venv-mlserver DIR] [--venv-ray DIR] [--rounds N] [--seconds N]
                [--sections json,tensor,grpc] [--only WORD] [--end-by SECONDS] [--all-cores] [--out FILE]

Virtual environments that are not given are made under FOLDER/venvs from the pins of the page. Answers in gRPC are asked for
by h2load, and one of each run by nghttp, to be compared (Debian: nghttp2-client has both); without them those rows are left out.
"""

import argparse
import collections
import ctypes
import gc
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from ports import free_ports

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS = 16
# Callers of a gRPC server at fixed moments: each has a connection of its own.
STAGGERED = 8
# What is asked at fixed moments, a second: below half of what the slowest takes on one core.
RATES = {"json": 32, "tensor": 16, "grpc": 32}
# The longest that a server may take until it answers well.
START_S = 60
SHAPE = (1, 3, 224, 224)


# === processes ===


def adopt_orphans():
    """Makes what servers leave behind ours (PR_SET_CHILD_SUBREAPER), so that it is counted and ended with them."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def family():
    """Lists all processes that descend from this one."""
    parents = {}
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents.setdefault(int(open(f"/proc/{one}/stat").read().rsplit(")", 1)[1].split()[1]), []).append(int(one))
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = list(parents.get(os.getpid(), []))
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_ms():
    """Sums the time on a processor of all threads of all of them, as the kernel's scheduler counts it."""
    spent = 0
    for one in family():
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                spent += int(open(f"/proc/{one}/task/{task}/schedstat").read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return spent / 1e6


def end_all(child):
    """Ends a server as its users do, and whatever is left of it."""
    if child:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            pass
    deadline = time.monotonic() + 20
    while family() and time.monotonic() < deadline:
        for one in family():
            try:
                os.kill(one, signal.SIGKILL)
                os.waitpid(one, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                continue
        time.sleep(0.05)
    if child:
        child.poll()


# === load ===


class Connection:
    """A connection of HTTP/1.1 with at most one request under way."""

    def __init__(self, port, poll):
        self.port, self.poll, self.socket = port, poll, None

    def close(self):
        if self.socket:
            self.poll.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def ask(self, request):
        self.left, self.got, self.whole, self.body_at = memoryview(request), bytearray(), None, 0
        self.request, self.again = request, bool(self.socket)
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", self.port))
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(self.socket, select.EPOLLIN)
        self.write()

    def write(self):
        try:
            while self.left:
                self.left = self.left[self.socket.send(self.left):]
        except BlockingIOError:
            pass
        except ConnectionError:
            if not self.again:
                raise
            # The server closed an idle connection.
            self.close()
            return self.ask(self.request)
        self.poll.modify(self.socket, select.EPOLLIN | (select.EPOLLOUT if self.left else 0))

    def read(self):
        """Reads what is there; true when the answer is complete."""
        try:
            chunk = self.socket.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionError:
            chunk = b""
        if not chunk:
            if not self.again or self.got:
                raise SystemExit(f"an answer was cut: {bytes(self.got[:300])!r}")
            self.close()
            self.ask(self.request)
            return False
        self.got += chunk
        if self.whole is None:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self.got[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise SystemExit(f"a status that is not 200: {bytes(self.got[:600])!r}")
            length = re.search(rb"\r\ncontent-length: *(\d+)", head)
            self.is_last = b"\r\nconnection: close" in head
            self.body_at, self.whole = end + 4, end + 4 + int(length.group(1)) if length else -1
        if self.whole < 0:
            if not self.got.endswith(b"0\r\n\r\n"):
                return False
        elif len(self.got) < self.whole:
            return False
        if self.is_last:
            self.close()
        return True

    def answer(self):
        """Returns the body, without the sizes of its chunks."""
        rest, body = bytes(self.got[self.body_at:]), b""
        if self.whole >= 0:
            return rest
        while rest:
            size, rest = rest.split(b"\r\n", 1)
            body, rest = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        return body


class Http:
    """Asks over HTTP/1.1."""

    def __init__(self, port, path, headers, body, is_right):
        head = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.port, self.request, self.is_right = port, "\r\n".join(head).encode() + b"\r\n\r\n" + body, is_right

    def run(self, connections, seconds, rate=None):
        """Asks for so long: at fixed moments when there is a rate, else whenever a connection is free."""
        poll, times, waiting = select.epoll(), [], collections.deque()
        free = [Connection(self.port, poll) for _ in range(connections)]
        busy, sent, begin = {}, 0, time.perf_counter()
        gc.disable()
        while True:
            now = time.perf_counter()
            is_over = now - begin >= seconds
            while rate and sent < seconds * rate and now - begin >= sent / rate:
                waiting.append(begin + sent / rate)
                sent += 1
            while free and (waiting or not rate and not is_over):
                one = free.pop()
                one.due = waiting.popleft() if rate else now
                one.ask(self.request)
                busy[one.socket.fileno()] = one
            if is_over and not busy and not waiting:
                break
            pause = max(0, begin + sent / rate - now) if rate and sent < seconds * rate else 1
            for fileno, event in poll.poll(pause):
                one = busy.pop(fileno)
                if event & select.EPOLLOUT:
                    one.write()
                if event & ~select.EPOLLOUT and one.read():
                    # An answer after the end was not part of the time.
                    if rate or time.perf_counter() - begin < seconds:
                        times.append(time.perf_counter() - one.due)
                    self.last = one
                    free.append(one)
                else:
                    busy[one.socket.fileno()] = one
        gc.enable()
        [one.close() for one in free]
        if not self.is_right(self.last.answer()):
            raise SystemExit(f"a wrong answer: {self.last.answer()[:300]!r}")
        return times

    def try_once(self):
        self.run(1, 1 / 64, 64)

    def full(self, seconds):
        return len(self.run(CONNECTIONS, seconds))

    def at_rate(self, rate, seconds):
        return self.run(CONNECTIONS, seconds, rate)


class Grpc:
    """Asks over gRPC, with h2load; an answer has `least` bytes of messages or more."""

    def __init__(self, port, path, headers, message, is_right, least, folder):
        self.body, self.is_right, self.least = os.path.join(folder, "message"), is_right, least
        open(self.body, "wb").write(b"\0" + struct.pack(">I", len(message)) + message)
        self.log = os.path.join(folder, "requests-{}.tsv")
        headers = {"content-type": "application/grpc", "te": "trailers", **headers}
        self.flags = ["-d", self.body, *(word for pair in headers.items() for word in ("-H", ": ".join(pair)))]
        self.flags.append(f"http://127.0.0.1:{port}{path}")

    def start(self, *flags):
        return subprocess.Popen(["h2load", "-t1", "-m1", *flags, *self.flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def done(self, child):
        said = child.communicate(timeout=120)[0]
        answers, data = re.search(r"(\d+) succeeded", said), re.search(r"headers .*, [\d.]+\w+ \((\d+)\) data", said)
        count = int(answers.group(1)) if answers else 0
        # A refusal in gRPC is a 200 without a message.
        if child.returncode or not count or int(data.group(1)) < count * self.least:
            raise SystemExit(f"answers are missing or wrong:\n{said}")
        return count

    def try_once(self):
        answer = subprocess.run(["nghttp", *self.flags], capture_output=True, timeout=120).stdout
        if not self.is_right(answer):
            raise SystemExit(f"a wrong answer: {answer[:300]!r}")

    def full(self, seconds):
        return self.done(self.start(f"-D{seconds}", f"-c{CONNECTIONS}"))

    def at_rate(self, rate, seconds):
        logs, children = [self.log.format(place) for place in range(STAGGERED)], []
        begin = time.monotonic()
        for place, log in enumerate(logs):
            if os.path.exists(log):
                os.remove(log)
            time.sleep(max(0, begin + place / rate - time.monotonic()))
            each = rate / STAGGERED
            children.append(self.start("-c1", f"-n{int(each * seconds)}", f"--rps={each}", f"--log-file={log}"))
        [self.done(child) for child in children]
        self.try_once()
        return [int(line.split("\t")[2]) / 1e6 for log in logs for line in open(log)]


def can_ask_grpc():
    return all(map(shutil.which, ("h2load", "nghttp")))


# === servers ===


def configurations():
    """Reads the files of the servers from serve.md: what is shown there is what is measured."""
    page = open(os.path.join(HERE, "serve.md")).read()
    return dict(re.findall(r"^`([\w./-]+)`[^`\n]*:\n\n```\w*\n(.*?)^```", page, re.M | re.S))


def environment(folder, name, given):
    """Returns a virtual environment with the pins of the page."""
    if given:
        return os.path.abspath(given)
    folder = os.path.join(folder, "venvs", name)
    if not os.path.exists(os.path.join(folder, "done")):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pins = os.path.join(folder, "pins.txt")
        open(pins, "w").write(configurations()[f"{name}.txt"])
        subprocess.run([f"{folder}/bin/pip", "install", "-q", "-r", pins], check=True)
        open(os.path.join(folder, "done"), "w").close()
    return folder


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor_request(model, data):
    """An inference request of the Open Inference Protocol with one tensor as raw bytes."""
    shape = b"".join(map(varint, SHAPE))
    tensor = field(1, b"x") + field(2, b"FP32") + field(3, shape)
    return field(1, model) + field(5, tensor) + field(7, data)


class Section:
    """What is asked, and of whom."""

    def __init__(self, key, args, folder):
        self.key, self.folder, self.berth = key, folder, os.path.abspath(args.berth)
        self.work, self.is_applied = os.path.abspath(args.work), False
        self.is_json, self.is_grpc = key == "json", key == "grpc"
        self.data = b"\x00\x00\x80?" * (SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3])
        given = {"ray": args.venv_ray}
        if not self.is_grpc:
            given |= {"azureml": args.venv_azureml, "mlserver": args.venv_mlserver}
        self.venvs = {name: environment(args.work, name, venv) for name, venv in given.items()}
        for name, other in (("uvicorn", "mlserver"), ("ray-fast", "ray"), ("grpcio", "ray")):
            self.venvs[name] = self.venvs.get(other, "")
        for name, text in configurations().items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            venv = self.venvs.get(os.path.basename(name).split(".")[0].removesuffix("-grpc"), "")
            script = "score.py" if self.is_json else "score_raw.py"
            open(path, "w").write(text.replace("VENV", venv).replace("SCRIPT", script))

    def http(self, port, path, headers=()):
        if self.is_json:
            body, kind = b'{"data": [1, 2, 3, 4]}', "application/json"
            is_right = lambda answer: json.loads(answer) == json.loads(body)
        else:
            body, kind = self.data, "application/octet-stream"
            is_right = lambda answer: answer == self.data
        return Http(port, path, {"content-type": kind, **dict(headers)}, body, is_right)

    def oip(self, port, path, headers=()):
        body = b'{"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}'
        is_right = lambda answer: json.loads(answer)["outputs"][0]["data"] == [1, 2, 3, 4]
        return Http(port, path, {"content-type": "application/json", **dict(headers)}, body, is_right)

    def grpc(self, port, headers=()):
        path, message = "/inference.GRPCInferenceService/ModelInfer", tensor_request(b"noop", self.data)
        # An answer has other names than its request.
        return Grpc(port, path, dict(headers), message, lambda answer: self.data in answer, len(self.data), self.folder)

    def small_grpc(self, port, headers=()):
        message = field(1, b"\x00\x00\x80?" * 4)
        is_right = lambda answer: answer[5:] == message
        return Grpc(port, "/noop.Noop/Predict", dict(headers), message, is_right, 5 + len(message), self.folder)

    def command(self, core, name, **ports):
        text = open(os.path.join(self.folder, f"{name}.sh")).read()
        for word, port in ports.items():
            text = re.sub(rf"(?<![A-Z_]){word}\b", str(port), text)
        return ["taskset", "-c", core, "sh", "-c", text]

    def alone(self, name):
        """Returns a server without Berth: how it is started, and who asks it, under its name in the report."""

        def start(core):
            port, grpc, replica = free_ports(3)
            command = self.command(core, name, PORT=port, GRPC=grpc, REPLICA=replica)
            log = open(os.path.join(self.folder, f"{name}.log"), "w")
            child = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
            if self.is_grpc:
                # Behind a proxy that a replica's own port passes by.
                beside = {f"{name}, replica": self.small_grpc(replica)} if name == "ray-fast-grpc" else {}
                return child, {name: self.small_grpc(grpc), **beside}
            if name != "mlserver":
                return child, {name: self.http(port, "/score")}
            return child, {name: self.oip(port, "/v2/models/noop/infer")} if self.is_json else {"mlserver, gRPC": self.grpc(grpc)}

        return start

    def behind(self, core):
        """Starts Berth with every deployment; they are there already when it was started before."""
        # Kept, and with it the environment that Berth built.
        data = os.path.join(self.work, f"berth-{self.key}")
        # One node: a replica on another would be two hops away, which is not what is compared.
        where = ["--api", "127.0.0.1:0", "--ingress", "127.0.0.1:0"]
        command = [self.berth, "dev", "--nodes", "1", "--data-dir", data, *where, "--log", "error"]
        log = open(os.path.join(self.folder, "berth.log"), "w")
        child = subprocess.Popen(["taskset", "-c", core, *command], stdout=subprocess.PIPE, stderr=log, text=True)
        for line in child.stdout:
            if found := re.match(r"ready: api=(\S+) ingress=\S+:(\d+)", line):
                break
        else:
            raise SystemExit("berth dev ended")
        api, port = found.group(1), int(found.group(2))
        run = lambda *words: subprocess.run([self.berth, *words, "--api", api], check=True, capture_output=True, text=True).stdout
        grpc = "mlserver" if self.is_json else "mlserver-grpc"
        names = ["grpcio"] if self.is_grpc else ["azureml", grpc, "uvicorn"]
        if not self.is_applied:
            self.is_applied = True
            [run("apply", "-f", os.path.join(self.folder, "berth", f"{name}.yml"), "--yes", "-q") for name in names]
        show = lambda name: run("endpoint", "get-credentials", name, "--query", "primary_key", "-o", "tsv").strip()
        keys = {name: {"authorization": f"Bearer {show(name)}"} for name in names}
        if self.is_grpc:
            return child, {"Berth, grpcio": self.small_grpc(port, {**keys["grpcio"], "x-berth-endpoint": "grpcio"})}
        asked = {"Berth, azureml": self.http(port, "/e/azureml/score", keys["azureml"])}
        if self.is_json:
            asked["Berth, mlserver"] = self.oip(port, "/e/mlserver/v2/models/noop/infer", keys["mlserver"])
        elif can_ask_grpc():
            asked["Berth, mlserver, gRPC"] = self.grpc(port, {**keys[grpc], "x-berth-endpoint": grpc})
        asked["Berth, uvicorn"] = self.http(port, "/e/uvicorn/score", keys["uvicorn"])
        return child, asked

    def servers(self):
        names = ["azureml", "mlserver", "uvicorn", "ray", "ray-fast"]
        if self.is_grpc:
            names = ["grpcio", "ray-grpc", "ray-fast-grpc"]
        elif not self.is_json and not can_ask_grpc():
            names.remove("mlserver")
        return {"Berth": self.behind, **{name: self.alone(name) for name in names}}


def wait_for(load, name):
    deadline = time.monotonic() + START_S
    while True:
        try:
            return load.try_once()
        except (OSError, SystemExit) as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"{name} does not answer: {error}")
            time.sleep(0.2)


def measure(load, rate, seconds):
    load.full(1)
    at_rest, begin = cpu_ms(), time.monotonic()
    time.sleep(1)
    at_rest = (cpu_ms() - at_rest) / (time.monotonic() - begin) / 10
    times = sorted(load.at_rate(rate, seconds))
    own = lambda: sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    before, begun = cpu_ms(), own()
    count = load.full(seconds)
    return {
        "cpu_ms": (cpu_ms() - before) / count,
        "rate": count / seconds,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
        "at_rest": at_rest,
        "caller": (own() - begun) / seconds * 100,
    }


# === report ===

COLUMNS = [
    ("cpu_ms", "CPU-ms/request"),
    ("rate", "requests/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("at_rest", "at rest, % of core"),
    ("caller", "caller, % of core"),
]
# Whose cost is told as a multiple of whose.
RATIOS = [
    ("Berth, azureml", "azureml"),
    ("Berth, mlserver", "mlserver"),
    ("Berth, mlserver, gRPC", "mlserver, gRPC"),
    ("Berth, uvicorn", "uvicorn"),
    ("ray", "Berth, uvicorn"),
    ("ray-fast", "Berth, uvicorn"),
    ("Berth, grpcio", "grpcio"),
    ("ray-grpc", "Berth, grpcio"),
    ("ray-fast-grpc", "Berth, grpcio"),
    ("ray-fast-grpc", "ray-fast-grpc, replica"),
    ("ray-fast-grpc, replica", "grpcio"),
]


def spread(values, digits=None):
    digits = (2 if max(values) < 10 else 1 if max(values) < 1_000 else 0) if digits is None else digits
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


class Report:
    def __init__(self, out):
        self.text, self.raw, self.out = [], {}, out

    def say(self, line=""):
        print(line, flush=True)
        self.text.append(line)
        if self.out:
            raw = "\n".join(f"raw {key}: {json.dumps(rows)}" for key, rows in self.raw.items())
            open(self.out, "w").write("\n".join(self.text) + "\n\n" + raw + "\n")

    def section(self, key, rows):
        self.raw[key] = rows
        rows = {name: row for name, row in sorted(rows.items()) if row}
        self.say(f"{'server':<24}" + "".join(f"{label:>24}" for _, label in COLUMNS))
        for name, row in rows.items():
            self.say(f"{name:<24}" + "".join(f"{spread([one[column] for one in row]):>24}" for column, _ in COLUMNS))
        for name, other in RATIOS:
            if name in rows and other in rows:
                pairs = list(zip(rows[name], rows[other]))
                cell = lambda column: spread([one[column] / beside[column] for one, beside in pairs])
                more = spread([one["p50_ms"] - beside["p50_ms"] for one, beside in pairs])
                self.say(f"{name} x {other}: CPU {cell('cpu_ms')}, requests/s {cell('rate')}, p50 {more} ms more")


def versions(section):
    for name in sorted({"azureml", "mlserver", "ray"} & section.venvs.keys()):
        said = subprocess.run([f"{section.venvs[name]}/bin/pip", "freeze"], capture_output=True, text=True).stdout
        wanted = ("azureml-inference", "mlserver==", "ray", "uvicorn==", "gunicorn==", "starlette==", "uvloop==", "httptools==")
        wanted += ("grpcio==", "protobuf==")
        yield f"{name}: {' '.join(line for line in said.split() if line.lower().startswith(wanted))}"
    yield subprocess.run([section.berth, "--version"], capture_output=True, text=True).stdout.strip()
    yield f"caller: Python {sys.version.split()[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("berth")
    parser.add_argument("--work", required=True, help="a folder for environments, kept")
    for name in ("azureml", "mlserver", "ray"):
        parser.add_argument(f"--venv-{name}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--sections", default="json,tensor,grpc")
    parser.add_argument("--only", default="", help="servers with this word in their name")
    parser.add_argument("--end-by", type=float, default=float("inf"), help="seconds after which no round would end")
    parser.add_argument("--all-cores", action="store_true", help="servers may use the caller's core, too")
    parser.add_argument("--out")
    args = parser.parse_args()
    adopt_orphans()
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    began = time.monotonic()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    core = ",".join(map(str, cores if args.all_cores else cores[:1]))
    report = Report(args.out)
    where = "all" if args.all_cores else "one"
    report.say(f"{len(cores)} cores; a server and its model on {where}, their caller on the last; load average {os.getloadavg()}")
    for key in args.sections.split(","):
        if key == "grpc" and not can_ask_grpc():
            continue
        with tempfile.TemporaryDirectory() as folder:
            section = Section(key, args, folder)
            if key == args.sections.split(",")[0]:
                [report.say(line) for line in versions(section)]
            rows = collections.defaultdict(list)
            servers = {name: start for name, start in section.servers().items() if args.only in name}
            if "Berth" in servers:
                # Builds the environment.
                child = None
                try:
                    child, asked = section.behind(core)
                    [wait_for(load, name) for name, load in asked.items()]
                finally:
                    end_all(child)
            longest = 0
            for place in range(args.rounds):
                begin = time.monotonic()
                if begin - began + longest > args.end_by:
                    break
                # The other way round every second time.
                for name, start in sorted(servers.items(), reverse=place % 2):
                    child = None
                    try:
                        child, asked = start(core)
                        [wait_for(load, name) for name, load in asked.items()]
                        for name, load in asked.items():
                            rows[name].append(measure(load, RATES[key], args.seconds))
                    finally:
                        end_all(child)
                longest = max(longest, time.monotonic() - begin)
            rounds = max(map(len, rows.values()))
            shape = "x".join(map(str, SHAPE))
            what = {
                "json": "a small JSON body",
                "tensor": f"a tensor of {shape} FP32, {len(section.data)} bytes",
                "grpc": "a message of 18 bytes over gRPC",
            }[key]
            report.say()
            report.say(f"{what}, there and back; {rounds} rounds, load average {os.getloadavg()[0]:.1f}")
            report.say(f"latencies at {RATES[key]} requests a second, the rest as fast as {CONNECTIONS} connections get answers")
            report.section(key, rows)
    report.say(f"load average at the end {os.getloadavg()}")


main()
