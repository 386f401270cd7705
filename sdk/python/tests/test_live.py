"""The SDK against a real cluster of real processes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from berth import (
    AsyncClient,
    BerthError,
    Client,
    InvokeError,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    NotFoundError,
    UnavailableError,
)
from berth.api.v1 import api_pb2 as api
from conftest import DIGITS, Dev

HELD_OUT = json.loads((DIGITS / "held-out.json").read_text())[:20]


def test_arrays_go_in_and_come_out(client: Client, digits: str) -> None:
    rows = np.array([it["data"] for it in HELD_OUT])
    answer = client.infer(digits, rows, outputs=["label"])
    assert set(answer) == {"label"} and answer["label"].dtype == np.int64
    right = int((answer["label"].reshape(-1) == [it["label"] for it in HELD_OUT]).sum())
    assert right >= 17, f"{right} of 20"
    named = client.infer(digits, {"input": rows.astype("float32")}, deployment_name="green")
    np.testing.assert_array_equal(named["label"], answer["label"])


def test_a_file_is_sent_and_its_answer_is_text(client: Client, digits: str) -> None:
    answer = json.loads(client.online_endpoints.invoke(digits, request_file=DIGITS / "sample.json"))
    assert answer is not None
    with pytest.raises(InvokeError) as refused:
        client.online_endpoints.invoke(digits, input_data="{}", deployment_name="nobody")
    assert refused.value.status == 404 and refused.value.code


def test_an_object_is_read_changed_and_put_back(client: Client, digits: str) -> None:
    endpoint = client.online_endpoints.get(digits)
    assert endpoint.provisioning_state == "Succeeded" and endpoint.scoring_uri.endswith("/e/digits/score")
    endpoint.tags = {"team": "vision"}
    again = client.online_endpoints.begin_create_or_update(endpoint).result()
    assert again.tags == {"team": "vision"} and again.traffic == {"green": 100} and again.auth_mode == "key"
    with pytest.raises(BerthError) as stale:
        client.online_endpoints.begin_create_or_update(endpoint, if_revision=endpoint.revision)
    assert stale.value.code == "E_REVISION"
    deployment = client.online_deployments.get("green", digits)
    deployment.instance_count = 1
    changed = client.online_deployments.begin_create_or_update(deployment).result(timeout=60)
    assert (changed.ready, changed.generation) == (1, deployment.generation), "fewer is no new generation"
    assert client.online_deployments.begin_scale("green", digits, 2).result(timeout=60).ready == 2


def test_traffic_mirrors_and_keys(client: Client, digits: str) -> None:
    assert client.online_endpoints.set_mirror_traffic(digits, {"green": 5}).mirror_traffic == {"green": 5}
    assert client.online_endpoints.set_mirror_traffic(digits, {}).mirror_traffic == {}
    with pytest.raises(BerthError) as wrong:
        client.online_endpoints.set_traffic(digits, {"green": 60})
    assert wrong.value.code == "E_TRAFFIC" and wrong.value.problems
    before = client.online_endpoints.get_keys(digits)
    after = client.online_endpoints.begin_regenerate_keys(digits, key_type="secondary").result()
    assert before.primary_key == after.primary_key and before.secondary_key != after.secondary_key
    assert before.primary_key not in repr(before)


def test_logs_events_nodes_and_why(client: Client, digits: str) -> None:
    seen = list(client.events(follow=False))
    assert [it.seq for it in seen] == list(range(seen[0].seq, seen[0].seq + len(seen)))
    assert any(it.kind == "replica.serving" for it in seen)
    following = client.events(seen[-1].seq)
    assert next(following).seq == seen[-1].seq
    following.close()  # type: ignore[attr-defined]
    logs = client.online_deployments
    assert logs.get_logs("green", digits, lines=5) is not None
    timed = logs.get_logs("green", digits, since=timedelta(hours=1), timestamps=True)
    assert all(line.startswith("20") for line in timed.splitlines() if not line.startswith("==>"))
    # The built-in server needs no environment: nothing was written while it was prepared.
    for container in ("storage-initializer", "StorageInitializer"):
        assert "listening" not in logs.get_logs("green", digits, container_type=container)
    with pytest.raises(ValueError, match="storage-initializer"):
        logs.get_logs("green", digits, container_type="sidecar")
    assert all(node.state == "ready" for node in client.nodes.list()) and client.cluster.info().endpoints >= 1
    assert client.replicas(digits)[0].deployment == "green"
    assert client.online_deployments.explain("green", digits).placed >= 1
    node = client.nodes.list()[0].node
    assert client.nodes.cordon(node).cordoned and not client.nodes.cordon(node, False).cordoned
    planned = client.plan(lose=[node], add=["cpu=4,memory=4GiB"])
    assert planned.check_index > 0 and {it.deployment for it in planned.deployments} >= {"green"}
    with pytest.raises(BerthError, match="node-11"):
        client.plan(drain=["node-11"])
    assert client.online_endpoints.mirror_report(digits).endpoint == digits
    report = client.call("Cluster/Check", api.CheckRequest(), api.CheckReport)
    assert report.checked and not report.violations


def test_the_cluster_is_watched(client: Client, dev: Dev, digits: str) -> None:
    (board,) = client.watch(follow=False)
    assert board.endpoints[digits].name == digits and board.deployments[digits, "green"].ready >= 1
    assert {it.deployment for it in board.replicas.values() if it.endpoint == digits} == {"green"}
    assert board.nodes.keys() == {it.node for it in client.nodes.list()} and board.info is not None
    seen = client.watch()
    first = next(seen)
    assert "watched" not in first.endpoints
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint("watched", auth_mode="none")).result()
    made = next(board for board in seen if "watched" in board.endpoints)
    assert made.index > first.index and made.deployments.keys() == first.deployments.keys()
    client.online_endpoints.begin_delete("watched").result(timeout=60)
    assert digits in next(board for board in seen if "watched" not in board.endpoints).endpoints
    seen.close()  # type: ignore[attr-defined]

    async def watch() -> None:
        async with AsyncClient(dev.api) as client:
            async for board in client.watch():
                assert digits in board.endpoints
                return

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_a_whole_life(client: Client, dev: Dev, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = ManagedOnlineEndpoint("life", auth_mode="none")
    client.online_endpoints.begin_create_or_update(endpoint).result()
    model = Model(path=DIGITS / "green" / "model.onnx")
    blue = ManagedOnlineDeployment("blue", "life", model=model, resources={"cpu": 1, "memory": "1GiB"})
    poller = client.online_deployments.begin_create_or_update(blue)
    assert poller.status() in ("Creating", "Succeeded")
    served = poller.result(timeout=60, progress=True)
    assert served.ready == 1 and poller.done() and poller.status() == "Succeeded"
    assert poller.result() is served
    wrong = ManagedOnlineDeployment("huge", "life", model=model, resources={"cpu": 4000, "memory": "1GiB"})
    with pytest.raises(BerthError) as late:
        client.online_deployments.begin_create_or_update(wrong).result(timeout=2)
    assert late.value.code == "E_TIMEOUT" and "cpu" in late.value.why
    client.online_deployments.begin_delete("huge", "life").result(timeout=60)
    endpoint.traffic = {"blue": 100}
    assert client.online_endpoints.begin_create_or_update(endpoint).result().traffic == {"blue": 100}
    client.online_endpoints.begin_delete("life").result(timeout=60)
    with pytest.raises(NotFoundError):
        client.online_endpoints.get("life")
    assert not client.replicas("life")


def test_a_member_that_is_gone_is_passed_over(dev: Dev) -> None:
    with Client(["127.0.0.1:1", dev.api]) as client:
        assert client.cluster.info().nodes == 2
    with Client("127.0.0.1:1", timeout=0.5) as client, pytest.raises(UnavailableError) as error:
        client.cluster.info()
    assert "127.0.0.1:1" in error.value.what and error.value.try_


def test_the_asynchronous_client_does_the_same(dev: Dev, digits: str) -> None:
    async def life() -> None:
        async with AsyncClient(dev.api) as client:
            names = [it.name for it in await client.online_endpoints.list()]
            assert digits in names
            rows = np.array([it["data"] for it in HELD_OUT])
            answers = await asyncio.gather(*(client.infer(digits, rows) for _ in range(2)))
            assert all((it["label"] == answers[0]["label"]).all() for it in answers)
            text = await client.online_endpoints.invoke(digits, request_file=DIGITS / "sample.json")
            assert json.loads(text) is not None
            made = await client.apply(Path(__file__).parent / "files" / "live.yml", timeout=60)
            assert made.endpoints[0].traffic == {"blue": 100} and made.deployments[0].ready == 1
            poller = await client.online_endpoints.begin_delete("aio")
            assert await poller.status() == "Deleting"
            async for event in client.events():
                if event.kind == "endpoint.deleted" and event.endpoint == "aio":
                    break
            await poller.result(timeout=60)
            with pytest.raises(NotFoundError):
                await client.online_endpoints.get("aio")

    asyncio.run(asyncio.wait_for(life(), 120))
