"""The cluster as it is now, followed: the whole first, then what changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Optional

from ._call import Members
from ._steps import Failed
from ._stream import Stream
from .api.v1 import api_pb2 as api
from .api.v1 import board_pb2

FOLLOW = "/berth.api.v1.Boards/Follow"
# Parts of one look that wait for its last: more than the largest cluster has, so that a broken peer fills no memory.
_PARTS_MAX = 10_000


@dataclass(frozen=True)
class Board:
    """Everything in the cluster at one moment. A newer one is another object."""

    index: int = 0
    info: Optional[api.ClusterInfo] = None
    members: tuple[api.Member, ...] = ()
    endpoints: dict[str, api.Endpoint] = field(default_factory=dict)
    # By endpoint and name.
    deployments: dict[tuple[str, str], api.Deployment] = field(default_factory=dict)
    # By id, as places in reserve are.
    replicas: dict[str, api.Replica] = field(default_factory=dict)
    slots: dict[str, api.Slot] = field(default_factory=dict)
    nodes: dict[str, api.Node] = field(default_factory=dict)
    # What deployments answered since the look before; the whole has what is kept.
    loads: tuple[board_pb2.DeploymentLoad, ...] = ()

    def after(self, parts: list[board_pb2.BoardUpdate]) -> Board:
        """Returns the board that the parts of one look make of this one."""
        old = Board() if any(part.whole for part in parts) else self
        endpoints, deployments, replicas = dict(old.endpoints), dict(old.deployments), dict(old.replicas)
        slots, nodes = dict(old.slots), dict(old.nodes)
        info, members = old.info, old.members
        for part in parts:
            # What is gone first: a name may have come back within one look.
            for gone in part.gone:
                if gone.replica:
                    replicas.pop(gone.replica, None)
                elif gone.slot:
                    slots.pop(gone.slot, None)
                elif gone.node:
                    nodes.pop(gone.node, None)
                elif gone.deployment:
                    deployments.pop((gone.endpoint, gone.deployment), None)
                else:
                    endpoints.pop(gone.endpoint, None)
            endpoints.update((it.name, it) for it in part.endpoints)
            deployments.update(((it.endpoint, it.name), it) for it in part.deployments)
            replicas.update((it.replica, it) for it in part.replicas)
            slots.update((it.slot, it) for it in part.slots)
            nodes.update((it.node, it) for it in part.nodes)
            info = part.info if part.HasField("info") else info
            members = tuple(part.members.members) if part.HasField("members") else members
        loads = tuple(load for part in parts for load in part.loads)
        known = replace(old, index=parts[-1].index, info=info, members=members, loads=loads)
        return replace(known, endpoints=endpoints, deployments=deployments, replicas=replicas, slots=slots, nodes=nodes)


class Following(Stream):
    """Where following is."""

    def __init__(self, members: Members, follow: bool) -> None:
        super().__init__(members)
        self._follow = follow
        self._board = Board()
        self._parts: list[board_pb2.BoardUpdate] = []

    def request(self) -> board_pb2.FollowBoardRequest:
        """Asks for the whole and what changes then."""
        self._parts = []
        return board_pb2.FollowBoardRequest(once=not self._follow)

    def take(self, part: board_pb2.BoardUpdate) -> Iterator[Board]:
        """Yields the board once a look is whole."""
        self._failures = 0
        self._parts.append(part)
        if len(self._parts) > _PARTS_MAX:
            raise Failed("UNAVAILABLE", "the coordinator's look has no end", b"", True)
        if not part.more:
            parts, self._parts = self._parts, []
            self._board = self._board.after(parts)
            yield self._board

    def finished(self) -> None:
        """A leadership that ends, ends its streams; who follows begins anew with the whole."""
        if self._follow:
            raise Failed("UNAVAILABLE", "the coordinator ended the board", b"", True)
        self.ended = True
