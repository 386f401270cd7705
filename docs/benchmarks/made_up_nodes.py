#!/usr/bin/env python3
"""Nodes that a coordinator takes for real and that run nothing: a large fleet on a small machine.

    ./docs/benchmarks/made_up_nodes.py --api 127.0.0.1:7400 --token-file DATA_DIR/node.token --nodes 100

Each holds a session, says of everything it is ordered to run that it is warm, and acknowledges every route table. So the
coordinator under them is a real one: its Raft, its plans, its boards. The processes and the mesh are not. Needs grpcio, numpy
and the Python package of this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from pathlib import Path
from typing import Awaitable, Callable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "sdk" / "python" / "src"))

import grpc  # noqa: E402
import grpc.aio  # noqa: E402
from berth.node.v1 import node_pb2 as node  # noqa: E402
from berth.store.v1 import model_pb2 as store  # noqa: E402

# What each says it has: room for hundreds of replicas of a tenth of a core.
CAPACITY = store.Resources(cpu_milli=64_000, memory_mib=1 << 18, disk_mib=1 << 20)
# The largest message: a route table of ten thousand replicas.
OPTIONS = [("grpc.max_receive_message_length", 256 << 20)]


class Fleet:
    """Made-up nodes of one coordinator, in a thread of their own."""

    def __init__(self, api: str, token: str, nodes: int) -> None:
        self._api, self._token, self._nodes = api, token.strip(), nodes
        self._version = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    def start(self) -> "Fleet":
        self._thread.start()
        return self

    def join(self) -> None:
        self._thread.join()

    async def _live(self) -> None:
        async with grpc.aio.insecure_channel(self._api, options=OPTIONS) as channel:
            lives = [self._session(channel, at) for at in range(1, self._nodes + 1)]
            await asyncio.gather(self._tables(channel), *lives)

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("berth-node-token", self._token),)

    async def _tables(self, channel: grpc.aio.Channel) -> None:
        """One follows the table for all: what it says is the same."""
        watch = channel.unary_stream(
            "/berth.node.v1.Node/WatchTable", node.WatchTableRequest.SerializeToString, node.TableUpdate.FromString
        )
        async for update in watch(node.WatchTableRequest(node_id=1), metadata=self._metadata):
            kind = update.WhichOneof("update")
            if kind == "full":
                self._version = update.full.table.version
            elif kind == "delta":
                self._version = update.delta.results_in

    async def _session(self, channel: grpc.aio.Channel, at: int) -> None:
        session = channel.stream_stream(
            "/berth.node.v1.Node/Session", node.FromNode.SerializeToString, node.ToNode.FromString
        )
        call, writes = session(metadata=self._metadata), asyncio.Lock()
        profile = store.NodeProfile(
            name=f"made-up-{at}", capacity=CAPACITY, gate_address="127.0.0.1:1", ingress_address=f"127.0.0.1:{at}",
            is_virtual=True, version="made-up",
        )

        async def say(**message: object) -> None:
            # A stream takes one message at a time.
            async with writes:
                await call.write(node.FromNode(**message))

        await say(hello=node.Hello(node_id=at, profile=profile))
        welcome = (await call.read()).welcome
        assert welcome.epoch, f"made-up-{at} was not welcome"
        held: set[int] = set()
        beats = asyncio.create_task(self._beat(say, welcome, held))
        try:
            seq = 0
            while (message := await call.read()) is not grpc.aio.EOF:
                if not message.HasField("assignments"):
                    continue
                reports = self._obeyed(message.assignments, held)
                if reports:
                    seq += 1
                    await say(reports=node.ReplicaReports(epoch=welcome.epoch, seq=seq, reports=reports))
        finally:
            beats.cancel()

    def _obeyed(self, orders: node.Assignments, held: set[int]) -> list[store.ReplicaReport]:
        def report(replica: int, observed: store.Observed) -> store.ReplicaReport:
            return store.ReplicaReport(replica=replica, observed=observed, reason="made up", pid=1, address="127.0.0.1:1")

        runs = {it.replica for it in orders.replicas if it.desired == node.DESIRED_RUN}
        ends = {it.replica for it in orders.replicas if it.desired == node.DESIRED_STOP}
        reports = [report(it, store.OBSERVED_WARM) for it in runs - held]
        reports += [report(it, store.OBSERVED_GONE) for it in ends & held]
        held |= runs
        held -= ends
        return reports

    async def _beat(self, say: Callable[..., Awaitable[None]], welcome: node.Welcome, held: set[int]) -> None:
        seq = 0
        while True:
            seq += 1
            version = self._version
            await say(heartbeat=node.Heartbeat(
                epoch=welcome.epoch,
                seq=seq,
                acks=node.TableAcks(received=version, applied=version, warm=version),
                loads=[node.ReplicaLoad(replica=it, in_flight=(it + seq) % 100 == 0) for it in held],
                usage=node.Usage(cpu_milli=100 * len(held), memory_mib=64 * len(held)),
            ))
            await asyncio.sleep(welcome.heartbeat_ms / 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", default="127.0.0.1:7400")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=100)
    args = parser.parse_args()
    Fleet(args.api, args.token_file.read_text(encoding="utf-8"), args.nodes).start().join()


if __name__ == "__main__":
    main()
