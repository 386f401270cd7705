"""The loop every call goes through, without a network."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import pytest

from berth import BerthError, InvokeError, Problem
from berth._call import Members, call, parse_address
from berth._steps import Attempt, Failed, Sleep
from berth._stream import logs_request, text_of
from berth.api.v1 import api_pb2 as api
from berth.node.v1 import node_pb2
from berth.errors import error_of


def drive(op: Any, outcomes: list[Any]) -> tuple[Any, list[Attempt]]:
    """Answers attempts with `outcomes`, in turn; waits take no time."""
    attempts: list[Attempt] = []
    step = next(op)
    try:
        while True:
            if isinstance(step, Sleep):
                step = op.send(None)
                continue
            attempts.append(step)
            outcome = outcomes[min(len(attempts), len(outcomes)) - 1]
            step = op.throw(outcome) if isinstance(outcome, Exception) else op.send(outcome)
    except StopIteration as stop:
        return stop.value, attempts


def unreachable() -> Failed:
    return Failed("UNAVAILABLE", "connection refused", b"", False)


def test_the_next_member_is_asked_under_the_same_request_id() -> None:
    members = Members(["a:1", "b:1", "c:1"])
    request = api.DeleteEndpointRequest(name="x")
    answer, attempts = drive(
        call(members, "/m", request, api.Mutation), [unreachable(), unreachable(), api.Mutation(revision=7)]
    )
    assert answer.revision == 7
    assert [it.address for it in attempts] == ["a:1", "b:1", "c:1"]
    ids = {it.request.request_id for it in attempts}  # type: ignore[attr-defined]
    assert len(ids) == 1 and len(ids.pop()) == 32 and request.request_id == ""
    assert members.address() == "c:1", "who answered is asked first next time"


def test_a_refusal_is_not_repeated_and_keeps_its_words() -> None:
    detail = api.ErrorDetail(code="E_INVALID", what="the request has a problem", why="w")
    setattr(detail, "try", "t")
    problem = detail.problems.add(field="name", what="is bad")
    setattr(problem, "try", "better")
    with pytest.raises(BerthError) as error:
        drive(call(Members(["a:1"]), "/m", api.GetEndpointRequest(), api.Endpoint),
              [Failed("INVALID_ARGUMENT", "x", detail.SerializeToString(), True)])  # fmt: skip
    assert (error.value.code, error.value.why, error.value.try_) == ("E_INVALID", "w", "t")
    assert error.value.problems == (Problem("name", "is bad", "better"),)
    assert "try: t" in str(error.value) and "better" in str(error.value)


def test_a_call_gives_up_after_its_attempts() -> None:
    with pytest.raises(BerthError) as error:
        drive(call(Members(["a:1", "b:1"]), "/m", api.GetEndpointRequest(), api.Endpoint), [unreachable()])
    assert error.value.code == "E_UNAVAILABLE" and "a:1, b:1" in error.value.what


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7400", "127.0.0.1:7400"), ("http://node-1:80/", "node-1:80"), ("node-1", "node-1:7400"),
        ("[::1]:7400", "[::1]:7400"), ("[::1]", "[::1]:7400"), ("https://node-1", "https://node-1:7400"),
        ("https://[::1]:7443/", "https://[::1]:7443"), ("https://http://node-1", None), ("node-1:0", None),
        ("node-1:", None), ("user@node-1:80", None), ("", None),
    ],
)  # fmt: skip
def test_addresses_are_read_as_people_write_them(text: str, address: Optional[str]) -> None:
    if address is None:
        with pytest.raises(BerthError):
            parse_address(text)
    else:
        assert parse_address(text) == address


def test_errors_survive_a_process_boundary() -> None:
    for error in (error_of("E_NO_LEADER", "w"), InvokeError("E_UPSTREAM", "w", "y", "t", 500, b"b")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("container", "prepare"),
    [
        (None, False),
        ("inference-server", False),
        ("InferenceServer", False),
        ("storage-initializer", True),
        ("StorageInitializer", True),
    ],
)
def test_a_container_is_named_as_azure_spells_it(container: Optional[str], prepare: bool) -> None:
    assert logs_request("fraud", "blue", 5, False, False, container).prepare is prepare


def test_logs_are_asked_for_since_a_time() -> None:
    for lines, since, told in [
        (None, None, (50, 0, 0)),
        (None, timedelta(minutes=2), (0, 0, 120_000)),
        (5, datetime(2026, 1, 31, 14, 2, tzinfo=timezone.utc), (5, 1_769_868_120_000, 0)),
    ]:
        request = logs_request("fraud", "blue", lines, False, False, since=since)
        assert (request.tail_lines, request.since_ms, request.within_ms) == told


def test_a_line_has_the_time_of_its_last_byte() -> None:
    def part(data: bytes, *times: tuple[int, int]) -> api.LogLines:
        marks = [node_pb2.LogTime(until=until, at_ms=at_ms) for until, at_ms in times]
        return api.LogLines(replica="r", data=data, times=marks)

    parts = [part(b"one\ntw", (4, 1_000), (6, 2_000)), part(b"o\r-\nthree", (4, 2_500), (9, 3_000)), part(b"\n")]
    assert text_of(parts, timestamps=True).split("\n") == [
        "1970-01-01T00:00:01.000Z one",
        "1970-01-01T00:00:02.500Z two\r-",
        "- three",
        "",
    ]
    assert text_of(parts) == "one\ntwo\r-\nthree\n"
