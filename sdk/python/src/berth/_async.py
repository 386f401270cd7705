"""Carries steps out on an event loop, and reads streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx
from google.protobuf.message import Message

from . import _grpc
from ._progress import Progress
from ._steps import Attempt, Blocking, Failed, Http, NotSent, Op, Reply, Send, Show, Step

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Driver:
    """Connections of one event loop, opened when they are first used."""

    def __init__(self, verify: ssl.SSLContext | bool = True, secured: Any = None) -> None:
        self._secured = secured
        self._verify = verify
        self._channels: dict[str, Any] = {}
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Closes every connection."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def run(self, op: Op[T], progress: Progress | None = None) -> T:
        """Carries an operation out and returns what it came to."""
        try:
            step = next(op)
            while True:
                try:
                    outcome = await self._do(step, progress)
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

    async def stream(self, address: str, method: str, request: Message, answer: type[M]) -> AsyncIterator[M]:
        """Reads a stream of answers; leaving it cancels the call."""
        call = self._channel(address).unary_stream(
            method, request_serializer=_grpc.serialize, response_deserializer=answer.FromString
        )(request)
        try:
            async for message in call:
                yield message
        except _grpc.RpcError as error:
            raise _grpc.failed(error) from None
        finally:
            call.cancel()

    def _channel(self, address: str) -> Any:
        if address not in self._channels:
            self._channels[address] = _grpc.aio_channel(address, self._secured)
        return self._channels[address]

    async def _do(self, step: Step, progress: Progress | None) -> Any:
        if isinstance(step, Attempt):
            unary = self._channel(step.address).unary_unary(
                step.method, request_serializer=_grpc.serialize, response_deserializer=step.answer.FromString
            )
            return await self._asked(unary(step.request, timeout=step.timeout_s))
        if isinstance(step, Send):
            streaming = self._channel(step.address).stream_unary(
                step.method, request_serializer=_grpc.serialize, response_deserializer=step.answer.FromString
            )
            return await self._asked(streaming(self._requests(step), timeout=step.timeout_s))
        if isinstance(step, Http):
            return await self._fetch(step)
        if isinstance(step, Blocking):
            return await asyncio.get_running_loop().run_in_executor(None, step.work)
        if isinstance(step, Show):
            if progress is not None:
                progress.show(step.text)
        else:
            await asyncio.sleep(step.seconds)
        return None

    @staticmethod
    async def _requests(step: Send) -> AsyncIterator[Message]:
        """Reads files on a thread, no faster than they are sent."""
        requests, loop = step.requests(), asyncio.get_running_loop()
        while True:
            request = await loop.run_in_executor(None, next, requests, None)
            if request is None:
                return
            yield request

    @staticmethod
    async def _asked(call: Any) -> Any:
        try:
            return await call
        except _grpc.RpcError as error:
            raise _grpc.failed(error) from None

    async def _fetch(self, step: Http) -> Reply:
        if self._http is None:
            self._http = httpx.AsyncClient(verify=self._verify, limits=httpx.Limits(max_connections=256))
        method = "GET" if step.content is None else "POST"
        timeout = httpx.Timeout(step.timeout_s, connect=min(step.timeout_s, 2.0))
        try:
            answer = await self._http.request(
                method, step.url, headers=step.headers, content=step.content, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(str(error) or type(error).__name__) from None
        except httpx.HTTPError as error:
            raise Failed("UNKNOWN", str(error) or type(error).__name__, b"", True) from None
        return Reply(answer.status_code, dict(answer.headers), answer.content)
