"""The one loop every call goes through: members in turn, one deadline, one request id."""

from __future__ import annotations

import os
import random
import ssl
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, Union

from google.protobuf.message import Message

from . import _grpc
from ._steps import Attempt, Failed, Op, Send, Sleep, Step
from .api.v1 import api_pb2 as api
from .errors import BerthError, Problem, error_of

# The first wait is short, because another member usually answers at once; an election is over by the longest.
_FIRST_WAIT_S = 0.025
_LONGEST_WAIT_S = 1.0
_ATTEMPTS_MAX = 20
_HTTPS = "https://"

PathLike = Union[str, "os.PathLike[str]"]
M = TypeVar("M", bound=Message)


@dataclass
class Members:
    """Coordinators, and which of them answered last. Any of them takes any call and hands a change to the leader."""

    addresses: list[str]
    deadline_s: float = 15.0
    attempt_s: float = 5.0
    current: int = field(default=0)

    def address(self) -> str:
        """Returns the member to ask now."""
        return self.addresses[self.current % len(self.addresses)]

    def leave(self, address: str) -> None:
        """Turns to the next member, unless another call already did."""
        if self.address() == address:
            self.current = (self.current + 1) % len(self.addresses)


def believing(ca: Optional[PathLike]) -> Union[ssl.SSLContext, bool]:
    """Reads whose certificates are believed; the usual ones where nobody is named."""
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=os.fspath(ca))
    except (OSError, ssl.SSLError) as error:
        raise error_of("E_CERTIFICATE", f"the certificates `{os.fspath(ca)}` cannot be used", str(error), "name a PEM file") from None


def secured(members: Members, ca: Optional[PathLike], cert: Optional[PathLike], key: Optional[PathLike]) -> Any:
    """Reads what TLS is spoken with to coordinators; nothing where none of them speaks it."""
    over_tls = [address for address in members.addresses if address.startswith(_HTTPS)]
    if not over_tls:
        if ca is not None:
            raise error_of("E_INVALID", "`ca` is given, and no coordinator would be called over TLS", "", "write https://HOST:PORT")
        return None
    if ca is None:
        raise error_of("E_TLS", f"{over_tls[0]} is called over TLS, and nobody is believed", "", "name the authority that signed the coordinators' certificates as `ca`")
    if (cert is None) != (key is None):
        raise error_of("E_INVALID", "a certificate and its key go together", "", "name `client_cert` and `client_key`")
    # grpcio takes any bytes and fails with the first call: the files are read by who says what is wrong with them.
    context = believing(ca)
    if cert is not None and key is not None and isinstance(context, ssl.SSLContext):
        try:
            context.load_cert_chain(os.fspath(cert), os.fspath(key))
        except (OSError, ssl.SSLError) as error:
            raise error_of("E_CERTIFICATE", f"the certificate `{os.fspath(cert)}` cannot be used", str(error), "name a certificate and the key it was made for") from None
    read = [None if path is None else Path(path).read_bytes() for path in (ca, key, cert)]
    return _grpc.credentials(read[0] or b"", read[1], read[2])


def parse_address(text: str) -> str:
    """Reads `host:port` or `host`, either behind `https://` for TLS or behind `http://`."""
    bare = text.strip()
    scheme = _HTTPS if bare.startswith(_HTTPS) else ""
    bare = bare[len(scheme or "http://") :] if bare.startswith((_HTTPS, "http://")) else bare
    bare = bare.rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or (bare.startswith("[") and bare.endswith("]")):
        host, port = bare, "7400"
    if not host or "@" in host or "/" in bare or " " in bare or not port.isdigit() or not 0 < int(port) < 65536:
        raise error_of("E_INVALID", f"`{text}` is not an address", "", "write HOST:PORT")
    return f"{scheme}{host}:{port}"


def request_id() -> str:
    """Mints a request id: a retry under the same one is applied once."""
    return uuid.uuid4().hex


_CODES = {
    "INVALID_ARGUMENT": "E_INVALID", "OUT_OF_RANGE": "E_INVALID", "NOT_FOUND": "E_ROUTE_NOT_FOUND",
    "UNIMPLEMENTED": "E_ROUTE_NOT_FOUND", "ALREADY_EXISTS": "E_ALREADY_EXISTS", "FAILED_PRECONDITION": "E_TRANSITION",
    "ABORTED": "E_TRANSITION", "UNAUTHENTICATED": "E_UNAUTHENTICATED", "PERMISSION_DENIED": "E_FORBIDDEN",
    "RESOURCE_EXHAUSTED": "E_LIMIT", "DEADLINE_EXCEEDED": "E_OUTCOME_UNKNOWN", "CANCELLED": "E_OUTCOME_UNKNOWN",
    "UNAVAILABLE": "E_UNAVAILABLE", "UNKNOWN": "E_UNAVAILABLE",
}  # fmt: skip
_MAY_RETRY = {"E_NO_LEADER", "E_UNAVAILABLE", "E_NOT_READY", "E_FEATURE_LEVEL", "E_TIMEOUT", "E_OUTCOME_UNKNOWN"}


_SHOW_ONE = "where callers need a certificate, show one that its authority signed: `client_cert` and `client_key`"


def explain(address: str, failed: Failed) -> BerthError:
    """Turns a failed attempt into an error: the member's own, where it sent one."""
    if failed.details:
        detail = api.ErrorDetail.FromString(failed.details)
        problems = tuple(Problem(it.field, it.what, getattr(it, "try")) for it in detail.problems)
        return error_of(detail.code, detail.what, detail.why, getattr(detail, "try"), problems)
    if not failed.reached and "(TSI_" in failed.message:
        return _distrusted(address, failed.message)
    if not failed.reached and "this port speaks TLS" in failed.message:
        return error_of("E_TLS", f"{address}: TLS is spoken there, and was not spoken to it", "", "write https://HOST:PORT, and name whom to believe as `ca`")
    if not failed.reached:
        # Some ends hang up on who shows no certificate without a word, as one does that is about to end.
        hung_up = address.startswith(_HTTPS) and "Socket closed" in failed.message
        return error_of("E_UNAVAILABLE", f"{address} cannot be reached", failed.message, _SHOW_ONE if hung_up else "")
    return error_of(_CODES.get(failed.status, "E_INTERNAL"), failed.message)


def _distrusted(address: str, message: str) -> BerthError:
    """Puts into words why TLS was not agreed on; the library has them in one line of its own."""
    if "WRONG_VERSION_NUMBER" in message:
        return error_of("E_TLS", f"{address} speaks no TLS", "what it answered is not TLS", "write its address without `https://`, or give it a certificate")
    if "CERTIFICATE_VERIFY_FAILED" in message or "ostname" in message:
        return error_of("E_TLS", f"the certificate of {address} is not believed", message, "name the authority that signed it as `ca`, and call it by a name in it")
    # A refusal that comes after the handshake is a record that does not fit, to this library.
    return error_of("E_TLS", f"{address} and this end do not agree on TLS", message, _SHOW_ONE)


def call(members: Members, method: str, request: Message, answer: type[M], deadline_s: float | None = None) -> Op[M]:
    """Sends a request until it is answered, refused, or out of patience. A mutation without a request id gets one."""
    if "request_id" in request.DESCRIPTOR.fields_by_name and not getattr(request, "request_id"):
        named = type(request)()
        named.CopyFrom(request)
        setattr(named, "request_id", request_id())
        request = named
    within = members.deadline_s if deadline_s is None else deadline_s
    # A caller who is patient for a long answer is so for each attempt.
    each = max(members.attempt_s, deadline_s or 0)
    return _loop(members, within, each, lambda address, left: Attempt(address, method, request, answer, left))


def send(
    members: Members, method: str, requests: Callable[[], Iterator[Message]], answer: type[M], deadline_s: float
) -> Op[M]:
    """As `call`, with a stream of requests made anew for each attempt."""
    return _loop(members, deadline_s, deadline_s, lambda address, left: Send(address, method, requests, answer, left))


def _loop(members: Members, deadline_s: float, attempt_s: float, step: Callable[[str, float], Step]) -> Op[Any]:
    until = time.monotonic() + deadline_s
    wait, last, distrusted = _FIRST_WAIT_S, None, 0
    for _ in range(_ATTEMPTS_MAX):
        left = until - time.monotonic()
        if left <= 0:
            break
        address = members.address()
        try:
            answer = yield step(address, min(left, attempt_s))
            return answer
        except Failed as failed:
            error = explain(address, failed)
        # One whose certificate is not believed will not be believed later, but another may be.
        distrusted += error.code == "E_TLS"
        if error.code not in _MAY_RETRY and not (error.code == "E_TLS" and distrusted < len(members.addresses)):
            raise error
        last = error
        members.leave(address)
        # Half of it by chance: callers who failed together do not come back together.
        pause = min(wait * (0.5 + random.random() / 2), max(until - time.monotonic(), 0))
        wait = min(wait * 2, _LONGEST_WAIT_S)
        yield Sleep(pause)
    if last is None:
        raise error_of("E_TIMEOUT", "the deadline passed before the call was sent")
    if last.code != "E_UNAVAILABLE":
        raise last
    where = ", ".join(members.addresses)
    try_ = last.try_ or "start one with `berth dev`"
    raise error_of("E_UNAVAILABLE", f"no coordinator answered at {where}", last.why or last.what, try_)
