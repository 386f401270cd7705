"""A live `berth dev`, once for all tests: BERTH_BINARY names the program."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

import berth.aio
import berth.client
from berth import Client

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[2]
DIGITS = REPOSITORY / "examples" / "digits"
READY_WITHIN_S = 120.0
# The blocking classes, each with its awaited one.
FACES: list[tuple[type[Any], type[Any]]] = [
    (berth.client.Poller, berth.aio.AsyncPoller),
    (berth.client.Client, berth.aio.AsyncClient),
    (berth.client.OnlineEndpoints, berth.aio.OnlineEndpoints),
    (berth.client.OnlineDeployments, berth.aio.OnlineDeployments),
    (berth.client.Nodes, berth.aio.Nodes),
    (berth.client.Cluster, berth.aio.Cluster),
]
# What the tests called themselves: what the package calls of its own is no test of it.
CALLED: set[tuple[type[Any], str]] = set()


def public(face: type[Any]) -> list[str]:
    """The methods of a class that are for everybody."""
    return sorted(name for name, it in vars(face).items() if callable(it) and not name.startswith("_"))


def noted(face: type[Any], name: str) -> Callable[..., Any]:
    """Returns a method that notes who calls it."""
    method = getattr(face, name)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").split(".")[0] != "berth":
            CALLED.add((face, name))
        return method(*args, **kwargs)

    return call


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: runs after all other tests")
    for face in (it for pair in FACES for it in pair):
        for name in public(face):
            setattr(face, name, noted(face, name))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda it: it.get_closest_marker("last") is not None)


@dataclass(frozen=True)
class Dev:
    """A development cluster: its coordinators and one ingress."""

    api: str
    ingress: str


def read_line(process: subprocess.Popen[bytes], within_s: float) -> str:
    """Reads one line of a process, or fails with what it said."""
    assert process.stdout is not None
    until, line = time.monotonic() + within_s, b""
    while not line.endswith(b"\n"):
        left = until - time.monotonic()
        readable, _, _ = select.select([process.stdout], [], [], max(left, 0))
        piece = os.read(process.stdout.fileno(), 4096) if readable else b""
        assert piece, f"berth dev did not get ready: {line!r}"
        line += piece
    return line.decode()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    binary = os.environ.get("BERTH_BINARY")
    if not binary:
        pytest.skip("BERTH_BINARY names no berth program")
    folder = tmp_path_factory.mktemp("dev")
    command = [binary, "--api", "127.0.0.1:0", "-o", "json", "dev", "--data-dir", str(folder), "--ingress", "127.0.0.1:0"]
    with (folder.parent / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        try:
            ready = json.loads(read_line(process, READY_WITHIN_S))
            yield Dev(ready["api"], ready["ingress"])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def client(dev: Dev) -> Iterator[Client]:
    with Client(dev.api) as client:
        yield client


@pytest.fixture(scope="session")
def digits(client: Client) -> str:
    """The digits endpoint with its ONNX deployment, serving."""
    client.online_endpoints.begin_create_or_update(DIGITS / "endpoint.yml").result()
    made = client.online_deployments.begin_create_or_update(DIGITS / "green-deployment.yml")
    made.result(timeout=120)
    client.online_endpoints.set_traffic("digits", {"green": 100})
    return "digits"
