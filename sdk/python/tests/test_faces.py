"""Both clients, held to the same tests: each public method is called, and what it returns is looked at."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from berth import AsyncClient, BerthError, Client, ManagedOnlineDeployment, ManagedOnlineEndpoint, Model, NotFoundError
from berth.api.v1 import api_pb2 as api
from conftest import CALLED, DIGITS, FACES, TESTS, Dev, public

SCORE = (DIGITS / "sample.json").read_text()
WITHIN_S = 120.0
BOTH = pytest.mark.parametrize("face", [Client, AsyncClient])

# A server that writes down what it is sent.
SCRIBE = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Scribe(BaseHTTPRequestHandler):
    def do_GET(self):
        print("sent", self.rfile.read(int(self.headers.get("content-length", 0))).decode(), flush=True)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_):
        pass

print("the scribe sits", flush=True)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Scribe).serve_forever()
"""


async def got(value: Any) -> Any:
    """What a call came to, whichever client it was made with."""
    return await value if inspect.isawaitable(value) else value


async def items(stream: Any) -> AsyncIterator[Any]:
    """What a stream brings; it is left as the loop over this is."""
    try:
        if isinstance(stream, Iterator):
            for item in stream:
                yield item
        else:
            async for item in stream:
                yield item
    finally:
        await got(stream.close() if isinstance(stream, Iterator) else stream.aclose())


async def first(stream: Any, fits: Callable[[Any], bool]) -> Any:
    """The first item that fits; the stream is closed after it."""
    reading = items(stream)
    try:
        async for item in reading:
            if fits(item):
                return item
        raise AssertionError("the stream ended before")
    finally:
        await reading.aclose()  # type: ignore[attr-defined]


def within(life: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(life, WITHIN_S))


def run(face: Any, dev: Dev, life: Callable[[Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = face(dev.api)
        try:
            await life(client)
        finally:
            await got(client.close())
            # There is nothing left to close.
            await got(client.close())

    within(whole())


@BOTH
def test_a_log_is_followed_as_it_is_written(face: Any, dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "scribe").mkdir()
    (tmp_path / "scribe" / "serve.py").write_text(SCRIBE)
    name = f"scribe-{face.__name__.lower()}"
    described = {
        "name": "blue", "endpoint_name": name, "code_configuration": {"code": str(tmp_path / "scribe")},
        "command": ["python3", "serve.py"], "resources": {"cpu": 1, "memory": "1GiB"}, "instance_count": 1,
    }  # fmt: skip

    async def life(client: Any) -> None:
        made = await got(client.online_endpoints.begin_create_or_update({"name": name, "auth_mode": "none"}))
        await got(made.wait())
        served = await got(client.online_deployments.begin_create_or_update(described))
        assert (await got(served.result(timeout=60))).ready == 1
        (replica,) = await got(client.replicas(name))
        written, text, sent = items(client.online_deployments.follow_logs("blue", name)), b"", False
        async for part in written:
            assert (part.replica, part.node) == (replica.replica, replica.node)
            text += part.data
            if b"sits\n" in text and not sent:
                # Nobody had sent it when the log began to be followed.
                sent = True
                await got(client.online_endpoints.invoke(name, input_data='"later"', deployment_name="blue"))
            if b'sent "later"\n' in text:
                break
        assert b'sent "later"\n' in text, "it ended before"
        await written.aclose()  # type: ignore[attr-defined]
        whole = await got(client.online_deployments.get_logs("blue", name))
        assert whole.index("the scribe sits\n") < whole.index('sent "later"\n')
        assert await got(client.online_deployments.get_logs("blue", name, lines=1)) == whole.splitlines(True)[-1]
        await first(client.online_deployments.follow_logs("blue", name, 1), lambda it: it.data.startswith(b"sent"))
        with pytest.raises(NotFoundError):
            await first(client.online_deployments.follow_logs("nobody", name), lambda _: True)
        await got((await got(client.online_endpoints.begin_delete(name))).result(timeout=60))

    run(face, dev, life)


@BOTH
def test_a_request_is_explained_by_either_id(face: Any, dev: Dev, digits: str) -> None:
    async def life(client: Any) -> None:
        mine = f"mine-{face.__name__}"
        sent = {"headers": {"x-ms-client-request-id": mine}, "deployment_name": "green"}
        await got(client.online_endpoints.invoke(digits, input_data=SCORE, **sent))
        report = await got(client.explain_request(mine))
        assert (report.client_request_id, report.endpoint, report.deployment) == (mine, digits, "green")
        assert (report.method, report.path, report.status) == ("POST", f"/e/{digits}/score", 200)
        assert (report.chosen_by, report.end, report.request_bytes) == ("pin", "whole", len(SCORE.encode()))
        replicas = {it.replica for it in await got(client.replicas(digits, "green"))}
        assert report.attempt_count == 1 and {it.replica for it in report.attempts} <= replicas
        assert (await got(client.explain_request(report.id))).begun_ms == report.begun_ms
        with pytest.raises(NotFoundError):
            await got(client.explain_request("nobody-sent-this"))

    run(face, dev, life)


@BOTH
def test_a_node_is_drained_and_taken_back(face: Any, dev: Dev, digits: str) -> None:
    async def life(client: Any) -> None:
        node = (await got(client.replicas(digits)))[0].node
        wished = await got(client.nodes.drain(node, within=30.5, reason="a new disk"))
        assert (wished.node, wished.drain.reason, wished.drain.by) == (node, "a new disk", "operator")
        assert wished.drain.deadline_ms - wished.drain.started_at_ms == 30_500 and not wished.drain.force
        empty = await first(client.watch(), lambda board: board.nodes[node].drain.finished_at_ms > 0)
        assert empty.nodes[node].drain.moved >= 1
        elsewhere = await got(client.replicas(digits))
        assert elsewhere and node not in {it.node for it in elsewhere if it.state == "serving"}
        back = await got(client.nodes.cancel_drain(node))
        assert back.node == node and not back.HasField("drain")
        forced = await got(client.nodes.drain(node, force=True))
        assert forced.drain.force and forced.drain.deadline_ms - forced.drain.started_at_ms == 300_000
        await got(client.nodes.cancel_drain(node))
        assert not any(it.HasField("drain") for it in await got(client.nodes.list()))
        with pytest.raises(BerthError, match="node-11"):
            await got(client.nodes.drain("node-11"))
        cordoned = await got(client.nodes.cordon(node))
        assert cordoned.cordoned and not (await got(client.nodes.cordon(node, False))).cordoned

    run(face, dev, life)


@BOTH
def test_the_cluster_is_told(face: Any, dev: Dev, digits: str) -> None:
    async def life(client: Any) -> None:
        (member,) = await got(client.cluster.members())
        assert (member.address, member.voter, member.leader) == (dev.api, True, True) and len(member.id) == 16
        info = await got(client.cluster.info())
        assert info.nodes == 2 and info.endpoints >= 1
        seen = [it async for it in items(client.events(follow=False))]
        assert any(it.kind == "replica.serving" for it in seen)
        verdict = await got(client.online_deployments.explain("green", digits))
        assert verdict.placed == verdict.desired >= 1
        planned = await got(client.plan(add=["cpu=4,memory=4GiB"]))
        assert {it.deployment for it in planned.deployments} >= {"green"}
        report = await got(client.call("Cluster/Check", api.CheckRequest(), api.CheckReport))
        assert report.checked and not report.violations

    run(face, dev, life)


@BOTH
def test_an_endpoint_lives_whole(face: Any, dev: Dev, digits: str) -> None:
    async def life(client: Any) -> None:
        name = f"whole-{face.__name__.lower()}"
        endpoints, deployments = client.online_endpoints, client.online_deployments
        made = await got(endpoints.begin_create_or_update(ManagedOnlineEndpoint(name)))
        assert await got(made.status()) == "Succeeded" and await got(made.done())
        assert name in [it.name for it in await got(endpoints.list())]
        blue = ManagedOnlineDeployment(
            "blue", name, model=Model(path=DIGITS / "green" / "model.onnx"), resources={"cpu": 1, "memory": "1GiB"}
        )
        assert (await got((await got(deployments.begin_create_or_update(blue))).result(timeout=60))).ready == 1
        scaled = await got(deployments.begin_scale("blue", name, 2))
        assert (await got(scaled.result(timeout=60))).ready == 2
        assert [(it.name, it.ready) for it in await got(deployments.list(name))] == [("blue", 2)]
        assert (await got(deployments.get("blue", name))).instance_count == 2
        assert (await got(endpoints.set_traffic(name, {"blue": 100}))).traffic == {"blue": 100}
        assert (await got(endpoints.set_mirror_traffic(name, {"blue": 5}))).mirror_traffic == {"blue": 5}
        assert (await got(endpoints.mirror_report(name))).endpoint == name
        keys = await got(endpoints.get_keys(name))
        renewed = await got((await got(endpoints.begin_regenerate_keys(name))).result())
        assert renewed.primary_key != keys.primary_key and renewed.secondary_key == keys.secondary_key
        answer = await got(client.infer(name, np.zeros((3, 64)), deployment_name="blue"))
        assert answer["label"].reshape(-1).shape == (3,)
        emptied = await got(endpoints.set_traffic(name, {}))
        assert not emptied.traffic
        await got(endpoints.set_mirror_traffic(name, {}))
        await got((await got(deployments.begin_delete("blue", name))).result(timeout=60))
        with pytest.raises(NotFoundError):
            await got(deployments.get("blue", name))
        await got((await got(endpoints.begin_delete(name))).result(timeout=60))
        with pytest.raises(NotFoundError):
            await got(endpoints.get(name))
        applied = await got(client.apply(TESTS / "files" / "live.yml", timeout=60))
        assert applied.endpoints[0].traffic == {"blue": 100} and applied.deployments[0].ready == 1
        await got((await got(endpoints.begin_delete("aio"))).result(timeout=60))

    run(face, dev, life)


def test_both_clients_have_the_same_names() -> None:
    for blocking, awaited in FACES:
        assert public(blocking) == public(awaited)
        for name in public(blocking):
            one, other = (list(inspect.signature(getattr(it, name)).parameters.values()) for it in (blocking, awaited))
            assert [(it.name, it.kind, it.default) for it in one] == [(it.name, it.kind, it.default) for it in other], name


@pytest.mark.last
def test_every_public_method_is_called(dev: Dev, request: pytest.FixtureRequest) -> None:
    if not {it.path for it in request.session.items} >= set(TESTS.glob("test_*.py")):
        pytest.skip("only some of the tests run")
    every = {(face, name) for pair in FACES for face in pair for name in public(face)}
    assert not sorted(f"{face.__module__}.{face.__qualname__}.{name}" for face, name in every - CALLED)
