"""Streams that survive the loss of a coordinator: where they are, and what becomes of one that broke."""

from __future__ import annotations

import io
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Optional, Union

from ._call import _MAY_RETRY, Members, explain
from ._steps import Failed, Op, Sleep
from .api.v1 import api_pb2 as api

EVENTS = "/berth.api.v1.Watch/Events"
LOGS = "/berth.api.v1.Deployments/Logs"
# Attempts in a row that bring nothing before a stream gives up, and the wait between them: longer than an election.
_ATTEMPTS_MAX = 30
_PAUSE_S = 0.5


class Stream:
    """What all of them share."""

    def __init__(self, members: Members) -> None:
        self.ended = False
        self._members = members
        self._failures = 0

    def broke(self, address: str, failed: Failed) -> Op[None]:
        """Turns to another coordinator after a while, or raises."""
        error = explain(address, failed)
        self._failures += 1
        most = len(self._members.addresses) if error.code == "E_TLS" else _ATTEMPTS_MAX
        if (error.code not in _MAY_RETRY and error.code != "E_TLS") or self._failures >= most:
            raise error
        self._members.leave(address)
        yield Sleep(_PAUSE_S if self._failures > 1 else 0.0)


class Events(Stream):
    """Where a watch is."""

    def __init__(self, members: Members, from_seq: Optional[int], follow: bool) -> None:
        super().__init__(members)
        self._seq = from_seq
        self._follow = follow

    def request(self) -> api.WatchEventsRequest:
        """Asks for what comes next."""
        return api.WatchEventsRequest(from_seq=self._seq, once=not self._follow)

    def take(self, batch: api.EventBatch) -> Iterator[api.Event]:
        """Yields what is new."""
        self._failures = 0
        for event in batch.events:
            self._seq = event.seq + 1
            yield event
        self._seq = batch.next_seq

    def finished(self) -> None:
        """A coordinator that stops ends its streams; a watch that follows goes on elsewhere."""
        if self._follow:
            raise Failed("UNAVAILABLE", "the coordinator ended the watch", b"", True)
        self.ended = True


class Logs(Stream):
    """A log that is read. What was already read is not read again: it ends where it broke."""

    def __init__(self, members: Members) -> None:
        super().__init__(members)
        self.began = False

    def broke(self, address: str, failed: Failed) -> Op[None]:
        if self.began:
            raise explain(address, failed)
        yield from super().broke(address, failed)


# Azure's containers, as its SDK and its REST interface spell them: whether what is meant is the preparation.
_CONTAINERS = {"inferenceserver": False, "storageinitializer": True}


def logs_request(
    endpoint: str,
    deployment: str,
    lines: Optional[int],
    follow: bool,
    previous: bool,
    container_type: Optional[str] = None,
    since: Optional[Union[timedelta, datetime]] = None,
) -> api.LogsRequest:
    """Asks for a deployment's log."""
    container = (container_type or "inference-server").replace("-", "").lower()
    if container not in _CONTAINERS:
        raise ValueError(f"container_type is `{container_type}`, neither `inference-server` nor `storage-initializer`")
    if lines is None:
        lines = 50 if since is None else 0
    return api.LogsRequest(
        endpoint=endpoint,
        deployment=deployment,
        tail_lines=lines,
        # A time without a zone is local, as everywhere in Python.
        since_ms=max(1, round(since.timestamp() * 1000)) if isinstance(since, datetime) else 0,
        within_ms=max(1, round(since.total_seconds() * 1000)) if isinstance(since, timedelta) else 0,
        follow=follow,
        previous=previous,
        prepare=_CONTAINERS[container],
    )


def _timed(data: bytes, times: list[tuple[int, int]]) -> bytes:
    """Begins each line with the time of its last byte; `-` from a node that keeps none."""
    timed, end = [], 0
    for line in io.BytesIO(data):
        end += len(line)
        at = bisect_right(times, (end - 1, sys.maxsize))
        word = "-"
        if at < len(times):
            moment = datetime.fromtimestamp(times[at][1] / 1000, timezone.utc)
            word = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        timed.append(word.encode() + b" " + line)
    return b"".join(timed)


def text_of(parts: Iterable[api.LogLines], timestamps: bool = False) -> str:
    """Joins a log, one replica after the other."""
    logs: dict[str, bytes] = {}
    times: dict[str, list[tuple[int, int]]] = {}
    for part in parts:
        begin = len(logs.get(part.replica, b""))
        times.setdefault(part.replica, []).extend((begin + it.until, it.at_ms) for it in part.times)
        logs[part.replica] = logs.get(part.replica, b"") + part.data
    if timestamps:
        logs = {name: _timed(data, times[name]) for name, data in logs.items()}
    if len(logs) == 1:
        return next(iter(logs.values())).decode(errors="replace")
    whole = [f"==> {name} <==\n{data.decode(errors='replace')}" for name, data in sorted(logs.items())]
    return "\n".join(whole)
