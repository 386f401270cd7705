"""Carries steps out on the caller's thread, and reads streams."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
from google.protobuf.message import Message

from . import _grpc
from ._progress import Progress
from ._steps import Attempt, Blocking, Failed, Http, NotSent, Op, Reply, Send, Show, Step

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Driver:
    """Connections, opened when they are first used. Threads may share it."""

    def __init__(self, verify: ssl.SSLContext | bool = True, secured: Any = None) -> None:
        self._secured = secured
        self._lock = threading.Lock()
        self._channels: dict[str, Any] = {}
        self._http = httpx.Client(verify=verify, limits=httpx.Limits(max_connections=256))

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()
        self._http.close()

    def run(self, op: Op[T], progress: Progress | None = None) -> T:
        """Carries an operation out and returns what it came to."""
        try:
            step = next(op)
            while True:
                try:
                    outcome = self._do(step, progress)
                except Exception as error:
                    step = op.throw(error)
                else:
                    step = op.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            op.close()
            if progress is not None:
                progress.show(None)

    def stream(self, address: str, method: str, request: Message, answer: type[M]) -> Iterator[M]:
        """Reads a stream of answers; leaving it cancels the call."""
        call = self._channel(address).unary_stream(
            method, request_serializer=_grpc.serialize, response_deserializer=answer.FromString
        )(request)
        try:
            yield from call
        except _grpc.RpcError as error:
            raise _grpc.failed(error) from None
        finally:
            call.cancel()

    def _channel(self, address: str) -> Any:
        with self._lock:
            if address not in self._channels:
                self._channels[address] = _grpc.channel(address, self._secured)
            return self._channels[address]

    def _do(self, step: Step, progress: Progress | None) -> Any:
        if isinstance(step, Attempt):
            unary = self._channel(step.address).unary_unary(
                step.method, request_serializer=_grpc.serialize, response_deserializer=step.answer.FromString
            )
            return self._asked(lambda: unary(step.request, timeout=step.timeout_s))
        if isinstance(step, Send):
            streaming = self._channel(step.address).stream_unary(
                step.method, request_serializer=_grpc.serialize, response_deserializer=step.answer.FromString
            )
            return self._asked(lambda: streaming(step.requests(), timeout=step.timeout_s))
        if isinstance(step, Http):
            return self._fetch(step)
        if isinstance(step, Blocking):
            return step.work()
        if isinstance(step, Show):
            if progress is not None:
                progress.show(step.text)
        else:
            time.sleep(step.seconds)
        return None

    @staticmethod
    def _asked(call: Any) -> Any:
        try:
            return call()
        except _grpc.RpcError as error:
            raise _grpc.failed(error) from None

    def _fetch(self, step: Http) -> Reply:
        method = "GET" if step.content is None else "POST"
        timeout = httpx.Timeout(step.timeout_s, connect=min(step.timeout_s, 2.0))
        try:
            answer = self._http.request(
                method, step.url, headers=step.headers, content=step.content, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(str(error) or type(error).__name__) from None
        except httpx.HTTPError as error:
            raise Failed("UNKNOWN", str(error) or type(error).__name__, b"", True) from None
        return Reply(answer.status_code, dict(answer.headers), answer.content)
