"""What an operation asks of the world, one step at a time.

Operations are generators that yield steps and are sent what came of them: they decide everything and do nothing, so that
the blocking and the asynchronous client share them. `_sync` and `_async` carry the steps out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Callable, TypeVar, Union

from google.protobuf.message import Message

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One try of a unary call at one member. Raises `Failed` when it fails."""

    address: str
    method: str
    request: Message
    answer: type[Message]
    timeout_s: float


@dataclass(frozen=True)
class Send:
    """One try of a call that streams requests. `requests` makes them anew."""

    address: str
    method: str
    requests: Callable[[], Iterator[Message]]
    answer: type[Message]
    timeout_s: float


@dataclass(frozen=True)
class Http:
    """One HTTP request to a node. Raises `NotSent` when it was certainly not delivered, `Failed` when nobody knows."""

    url: str
    headers: dict[str, str]
    content: bytes | None
    timeout_s: float


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Sleep:
    """A wait."""

    seconds: float


@dataclass(frozen=True)
class Show:
    """Something a person who waits should see; `None` clears it."""

    text: str | None


@dataclass(frozen=True)
class Blocking:
    """Work that blocks: reading and hashing files. The asynchronous client does it on a thread."""

    work: Callable[[], Any]


Step = Union[Attempt, Send, Http, Sleep, Show, Blocking]
Op = Generator[Step, Any, T]


class Failed(Exception):
    """An attempt that failed: with the member's own error, or the transport's words."""

    def __init__(self, status: str, message: str, details: bytes, reached: bool) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.reached = reached


class NotSent(Exception):
    """A request that reached nobody."""
