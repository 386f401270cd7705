"""The one module that names grpcio, which has no types."""

from __future__ import annotations

from typing import Any, Optional

import grpc
import grpc.aio
from google.protobuf.message import Message

from ._steps import Failed

RpcError = grpc.RpcError

_OPTIONS = [
    # Silence after which a connection is asked whether it lives: a partition drops packets without a word.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # The largest answer: a list of a hundred thousand replicas.
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    # Retries are ours, across members and with one deadline.
    ("grpc.enable_retries", 0),
    # A member that was away is tried again soon.
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


_HTTPS = "https://"


def credentials(ca: bytes, key: Optional[bytes], cert: Optional[bytes]) -> Any:
    """Makes what TLS is spoken with: whom to believe, and what to show."""
    return grpc.ssl_channel_credentials(ca, key, cert)


def channel(address: str, secured: Any = None) -> Any:
    """Opens a connection for threads, over TLS where the address says so."""
    if address.startswith(_HTTPS):
        return grpc.secure_channel(address[len(_HTTPS) :], secured, options=_OPTIONS)
    return grpc.insecure_channel(address, options=_OPTIONS)


def aio_channel(address: str, secured: Any = None) -> Any:
    """Opens a connection for an event loop, over TLS where the address says so."""
    if address.startswith(_HTTPS):
        return grpc.aio.secure_channel(address[len(_HTTPS) :], secured, options=_OPTIONS)
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def serialize(message: Message) -> bytes:
    """Encodes a message."""
    return message.SerializeToString()


def failed(error: Any) -> Failed:
    """Takes what a call failed with off the wire."""
    details = b""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = value
    status: str = error.code().name
    # Nobody but the transport says UNAVAILABLE without details.
    reached = bool(details) or status != "UNAVAILABLE"
    return Failed(status, error.details() or status, details, reached)
