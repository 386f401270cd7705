"""A board is what the parts of its looks make of it."""

from __future__ import annotations

import pytest

from berth._call import Members
from berth._steps import Failed
from berth.api.v1 import api_pb2 as api
from berth.api.v1 import board_pb2
from berth.board import Board, Following

Update = board_pb2.BoardUpdate


def test_what_changed_changes_and_the_rest_stays() -> None:
    fraud, blue = api.Endpoint(name="fraud"), api.Deployment(endpoint="fraud", name="blue")
    whole = Update(
        index=7,
        whole=True,
        endpoints=[fraud, api.Endpoint(name="old")],
        deployments=[blue],
        replicas=[api.Replica(replica="r1"), api.Replica(replica="r2")],
        nodes=[api.Node(node="n1")],
        slots=[api.Slot(slot="s1")],
        info=api.ClusterInfo(version="1"),
        members=api.ListMembersResponse(members=[api.Member(id="m1")]),
    )
    first = Board().after([whole])
    gone = [
        board_pb2.Gone(endpoint="old"),
        board_pb2.Gone(replica="r1"),
        board_pb2.Gone(slot="s1"),
        board_pb2.Gone(endpoint="fraud", deployment="blue"),
        board_pb2.Gone(node="n1"),
    ]
    # A node that came back under its name within the look is there.
    second = first.after([Update(index=9, gone=gone, nodes=[api.Node(node="n1", state="ready")])])
    assert (second.index, list(second.endpoints), list(second.replicas)) == (9, ["fraud"], ["r2"])
    assert not second.deployments and not second.slots and second.nodes["n1"].state == "ready"
    assert second.info == first.info and [it.id for it in second.members] == ["m1"]
    assert first.deployments == {("fraud", "blue"): blue}, "an older one stays as it was"
    third = second.after([Update(index=10, whole=True, endpoints=[fraud])])
    assert list(third.endpoints) == ["fraud"] and not third.replicas and third.info is None


def test_a_look_is_shown_once_all_of_it_came() -> None:
    following = Following(Members([], 1.0), True)
    following.request()
    part = Update(index=1, whole=True, more=True, endpoints=[api.Endpoint(name="fraud")])
    assert not list(following.take(part))
    (board,) = following.take(Update(index=1, replicas=[api.Replica(replica="r1")]))
    assert "fraud" in board.endpoints and "r1" in board.replicas
    # What was cut off in the middle of a look is forgotten: the next stream begins with the whole.
    assert not list(following.take(Update(index=2, more=True, replicas=[api.Replica(replica="r9")])))
    following.request()
    (board,) = following.take(Update(index=3, whole=True))
    assert not board.replicas
    with pytest.raises(Failed):
        following.finished()
