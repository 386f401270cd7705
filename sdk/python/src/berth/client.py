"""The blocking client.

>>> with Client("127.0.0.1:7400") as client:              # doctest: +SKIP
...     client.online_endpoints.invoke("digits", request_file="sample.json")
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from google.protobuf.message import Message
from numpy.typing import NDArray

from . import _ops, _stream
from ._call import believing, secured
from ._ops import WAIT_S, Applied, DeploymentLike, EndpointLike, PathLike
from ._progress import Progress, wanted
from ._steps import Failed, Op
from ._sync import Driver
from .api.v1 import api_pb2 as api
from .api.v1 import board_pb2, mirror_pb2, plan_pb2, request_pb2
from .board import FOLLOW, Board, Following
from .entities import EndpointAuthKeys, ManagedOnlineDeployment, ManagedOnlineEndpoint
from .errors import error_of

T = TypeVar("T")
M = TypeVar("M", bound=Message)

class Poller(Generic[T]):
    """Something that goes on in the cluster. `result` waits for it."""

    def __init__(self, wait: Callable[[float, Optional[Progress]], T], now: Callable[[], str]) -> None:
        self._wait = wait
        self._now = now
        self._result: Optional[T] = None
        self._done = False

    def result(self, timeout: float = WAIT_S, progress: Optional[bool] = None) -> T:
        """Waits and returns what came of it.

        A line on stderr says how it comes along: on a terminal by default, in a pipe with `progress=True` alone, and
        nowhere with `progress=False`.
        """
        if not self._done:
            self._result = self._wait(timeout, wanted(progress))
            self._done = True
        return self._result  # type: ignore[return-value]

    def wait(self, timeout: float = WAIT_S, progress: Optional[bool] = None) -> None:
        """Waits."""
        self.result(timeout, progress)

    def status(self) -> str:
        """Returns Azure's word for how it is now: `Creating`, `Updating`, `Succeeded`, `Failed`, `Deleting`."""
        return "Succeeded" if self._done else self._now()

    def done(self) -> bool:
        """Returns whether there is nothing more to wait for."""
        return self.status() in ("Succeeded", "Failed")


class Client:
    """A client of a Berth cluster: any coordinator takes any call, and the next is asked when one does not answer.

    `addresses` are coordinators, `HOST:PORT`, or `https://HOST:PORT` where they speak TLS: `ca` is then a PEM file with the
    certificate of who signed theirs, `client_cert` and `client_key` what they are shown where they ask for it. `timeout` bounds every call with all its attempts.
    Where nodes speak TLS to callers, `ingress_ca` is a PEM file with the certificate of who signed theirs.
    """

    def __init__(
        self,
        addresses: Union[str, Sequence[str]] = "127.0.0.1:7400",
        timeout: float = 15.0,
        ingress_ca: Optional[PathLike] = None,
        ca: Optional[PathLike] = None,
        client_cert: Optional[PathLike] = None,
        client_key: Optional[PathLike] = None,
    ) -> None:
        self._ctx = _ops.connect(addresses, timeout, ingress_ca)
        self._driver = Driver(believing(ingress_ca), secured(self._ctx.members, ca, client_cert, client_key))
        self.online_endpoints = OnlineEndpoints(self)
        self.online_deployments = OnlineDeployments(self)
        self.nodes = Nodes(self)
        self.cluster = Cluster(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection."""
        self._driver.close()

    def apply(
        self, path: PathLike, *, wait: bool = True, timeout: float = WAIT_S, progress: Optional[bool] = None
    ) -> Applied:
        """Applies a file of endpoints and deployments, as `berth apply -f` does."""
        return self._run(_ops.apply(self._ctx, path, wait, timeout), wanted(progress))

    def infer(
        self,
        endpoint: str,
        inputs: Union[NDArray[Any], Mapping[str, NDArray[Any]]],
        *,
        outputs: Optional[list[str]] = None,
        deployment_name: Optional[str] = None,
        model: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> dict[str, NDArray[Any]]:
        """Sends arrays by the Open Inference Protocol and returns the model's output arrays by name."""
        return self._run(_ops.infer(self._ctx, endpoint, inputs, outputs, deployment_name, model, timeout))

    def events(self, from_seq: Optional[int] = None, *, follow: bool = True) -> Iterator[api.Event]:
        """Yields what happens, without gap, duplicate or reorder; goes on at another coordinator when one is lost.

        From the oldest event kept, or from number `from_seq`. Ends after what there is now unless it follows.
        """
        reading = _stream.Events(self._ctx.members, from_seq, follow)
        while not reading.ended:
            address = self._ctx.members.address()
            request = reading.request()
            try:
                for batch in self._driver.stream(address, _stream.EVENTS, request, api.EventBatch):
                    yield from reading.take(batch)
                reading.finished()
            except Failed as failed:
                self._run(reading.broke(address, failed))

    def watch(self, *, follow: bool = True) -> Iterator[Board]:
        """Yields everything in the cluster as it is, and again whenever something of it changed.

        Endpoints, deployments, replicas, places in reserve, nodes and what deployments answered: what came between two of them is
        in the later one. Ends after the first unless it follows; goes on at another coordinator when one is lost.
        """
        following = Following(self._ctx.members, follow)
        while not following.ended:
            address = self._ctx.members.address()
            request = following.request()
            try:
                for part in self._driver.stream(address, FOLLOW, request, board_pb2.BoardUpdate):
                    yield from following.take(part)
                following.finished()
            except Failed as failed:
                self._run(following.broke(address, failed))

    def replicas(self, endpoint: str = "", deployment: str = "") -> list[api.Replica]:
        """Lists replicas; an empty name stands for all."""
        return self._run(_ops.list_replicas(self._ctx, endpoint, deployment))

    def explain_request(self, request_id: str) -> request_pb2.RequestReport:
        """Tells what became of a request, by the `x-request-id` of its answer or the caller's own id."""
        request = request_pb2.ExplainRequestRequest(id=request_id)
        return self.call("Requests/Explain", request, request_pb2.RequestReport)

    def plan(
        self,
        *,
        lose: Sequence[str] = (),
        drain: Sequence[str] = (),
        spike: Sequence[str] = (),
        add: Sequence[str] = (),
    ) -> plan_pb2.PlanReport:
        """Says what would happen, as `berth plan` does; nothing is changed.

        `lose` and `drain` name nodes, `spike` is `ENDPOINT=5x`, `add` is `3xcpu=16,memory=64GiB`.
        """
        request = plan_pb2.PlanRequest(lose=lose, drain=drain, spike=spike, add=add)
        return self.call("Plans/Plan", request, plan_pb2.PlanReport)

    def call(self, method: str, request: Message, answer: type[M]) -> M:
        """Sends any unary call of `berth.api.v1`, such as `Cluster/Check`, with retries and a request id."""
        answered: M = self._run(_ops.unary(self._ctx, method, request, answer))
        return answered

    def _run(self, op: Op[T], progress: Optional[Progress] = None) -> T:
        return self._driver.run(op, progress)


class OnlineEndpoints:
    """Endpoints, under azure-ai-ml's names."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def begin_create_or_update(
        self, endpoint: EndpointLike, *, if_revision: Optional[int] = None
    ) -> Poller[ManagedOnlineEndpoint]:
        """Creates or changes an endpoint: an object, a mapping, or the path of a YAML file."""
        client = self._client
        made = client._run(_ops.put_endpoint(client._ctx, endpoint, if_revision))
        return Poller(lambda _timeout, _progress: made, lambda: self.get(made.name).provisioning_state)

    def get(self, name: str) -> ManagedOnlineEndpoint:
        """Returns an endpoint."""
        return self._client._run(_ops.get_endpoint(self._client._ctx, name))

    def list(self) -> list[ManagedOnlineEndpoint]:
        """Lists every endpoint."""
        return self._client._run(_ops.list_endpoints(self._client._ctx))

    def begin_delete(self, name: str) -> Poller[None]:
        """Deletes an endpoint with all its deployments."""
        client = self._client
        client._run(_ops.delete_endpoint(client._ctx, name))
        return Poller(
            lambda timeout, progress: client._run(_ops.wait_gone(client._ctx, name, "", timeout), progress),
            lambda: "Deleting",
        )

    def set_traffic(
        self, name: str, traffic: Mapping[str, int], *, if_revision: Optional[int] = None
    ) -> ManagedOnlineEndpoint:
        """Replaces the split: percent per deployment, in total 0 or 100."""
        return self._client._run(_ops.set_traffic(self._client._ctx, name, traffic, None, if_revision))

    def mirror_report(self, name: str) -> mirror_pb2.MirrorReport:
        """Tells how the mirrors' answers compare with those that callers got."""
        request = mirror_pb2.MirrorReportRequest(endpoint=name)
        return self._client.call("Mirrors/Report", request, mirror_pb2.MirrorReport)

    def set_mirror_traffic(
        self, name: str, mirror_traffic: Mapping[str, int], *, if_revision: Optional[int] = None
    ) -> ManagedOnlineEndpoint:
        """Replaces the mirrors: percent of requests that a deployment gets a copy of."""
        return self._client._run(_ops.set_traffic(self._client._ctx, name, None, mirror_traffic, if_revision))

    def invoke(
        self,
        endpoint_name: str,
        *,
        request_file: Optional[PathLike] = None,
        input_data: Union[str, bytes, None] = None,
        deployment_name: Optional[str] = None,
        path: str = "/score",
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> str:
        """Sends a file, or text, to an endpoint and returns the answer as text."""
        content = body_of(request_file, input_data)
        ctx = self._client._ctx
        return self._client._run(
            _ops.invoke(ctx, endpoint_name, content, deployment_name, path, headers or {}, timeout)
        )

    def get_keys(self, name: str) -> EndpointAuthKeys:
        """Returns both keys of an endpoint."""
        return self._client._run(_ops.get_keys(self._client._ctx, name))

    def begin_regenerate_keys(
        self, name: str, *, key_type: str = "primary", key_value: str = ""
    ) -> Poller[EndpointAuthKeys]:
        """Replaces one key of an endpoint."""
        keys = self._client._run(_ops.regenerate_key(self._client._ctx, name, key_type, key_value))
        return Poller(lambda _timeout, _progress: keys, lambda: "Succeeded")


class OnlineDeployments:
    """Deployments, under azure-ai-ml's names."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def begin_create_or_update(
        self, deployment: DeploymentLike, *, if_revision: Optional[int] = None, progress: Optional[bool] = None
    ) -> Poller[ManagedOnlineDeployment]:
        """Uploads what a deployment brings and creates or changes it; the result waits until it serves."""
        client = self._client
        op = _ops.put_deployment(client._ctx, deployment, if_revision)
        made = client._run(op, wanted(progress))
        return self._poller(made)

    def begin_scale(self, name: str, endpoint_name: str, instance_count: int) -> Poller[ManagedOnlineDeployment]:
        """Changes how many instances a deployment has."""
        client = self._client
        made = client._run(_ops.scale_deployment(client._ctx, endpoint_name, name, instance_count))
        return self._poller(made)

    def get(self, name: str, endpoint_name: str) -> ManagedOnlineDeployment:
        """Returns a deployment."""
        return self._client._run(_ops.get_deployment(self._client._ctx, endpoint_name, name))

    def list(self, endpoint_name: str = "") -> list[ManagedOnlineDeployment]:
        """Lists the deployments of an endpoint; of all without a name."""
        return self._client._run(_ops.list_deployments(self._client._ctx, endpoint_name))

    def begin_delete(self, name: str, endpoint_name: str) -> Poller[None]:
        """Deletes a deployment that carries no traffic."""
        client = self._client
        client._run(_ops.delete_deployment(client._ctx, endpoint_name, name))
        return Poller(
            lambda timeout, progress: client._run(
                _ops.wait_gone(client._ctx, endpoint_name, name, timeout), progress
            ),
            lambda: "Deleting",
        )

    def explain(self, name: str, endpoint_name: str) -> api.Verdict:
        """Says why its replicas are where they are, or nowhere."""
        return self._client._run(_ops.explain_deployment(self._client._ctx, endpoint_name, name))

    def get_logs(
        self,
        name: str,
        endpoint_name: str,
        lines: Optional[int] = None,
        *,
        container_type: Optional[str] = None,
        previous: bool = False,
        since: Optional[Union[timedelta, datetime]] = None,
        timestamps: bool = False,
    ) -> str:
        """Returns the last lines that a deployment's replicas wrote: 50, or all `since` a time or for so long.

        `container_type` is Azure's: `inference-server`, or `storage-initializer` for what preparing a replica wrote.
        With `timestamps` each line begins with when it was written, by the clock of its node.
        """
        request = _stream.logs_request(endpoint_name, name, lines, False, previous, container_type, since)
        return _stream.text_of(self._logs(request), timestamps)

    def follow_logs(self, name: str, endpoint_name: str, lines: int = 10) -> Iterator[api.LogLines]:
        """Yields what a deployment's replicas write, as it is written."""
        return self._logs(_stream.logs_request(endpoint_name, name, lines, True, False))

    def _logs(self, request: api.LogsRequest) -> Iterator[api.LogLines]:
        members = self._client._ctx.members
        reading = _stream.Logs(members)
        while not reading.ended:
            address = members.address()
            try:
                for part in self._client._driver.stream(address, _stream.LOGS, request, api.LogLines):
                    reading.began = True
                    yield part
                reading.ended = True
            except Failed as failed:
                self._client._run(reading.broke(address, failed))

    def _poller(self, made: ManagedOnlineDeployment) -> Poller[ManagedOnlineDeployment]:
        client, endpoint, name, generation = self._client, made.endpoint_name, made.name, made.generation

        def wait(timeout: float, progress: Optional[Progress]) -> ManagedOnlineDeployment:
            return client._run(_ops.wait_serving(client._ctx, endpoint, name, generation, timeout), progress)

        return Poller(wait, lambda: self.get(name, endpoint).provisioning_state)


class Nodes:
    """Hosts."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> list[api.Node]:
        """Lists every node."""
        return list(self._client.call("Nodes/List", api.ListNodesRequest(), api.ListNodesResponse).nodes)

    def cordon(self, node: str, cordoned: bool = True) -> api.Node:
        """Places nothing new on a node, or does again."""
        return self._client.call("Nodes/Cordon", api.CordonNodeRequest(node=node, cordoned=cordoned), api.Node)

    def drain(self, node: str, *, within: float = 300.0, reason: str = "", force: bool = False) -> api.Node:
        """Wishes a node empty: others take over first, and what still runs `within` seconds later is cut."""
        request = api.DrainNodeRequest(node=node, within_ms=int(within * 1000), reason=reason, force=force)
        return self._client.call("Nodes/Drain", request, api.Node)

    def cancel_drain(self, node: str) -> api.Node:
        """Withdraws the wish."""
        return self._client.call("Nodes/Drain", api.DrainNodeRequest(node=node, cancel=True), api.Node)


class Cluster:
    """The cluster itself."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def info(self) -> api.ClusterInfo:
        """Returns how the cluster does."""
        return self._client.call("Cluster/Info", api.ClusterInfoRequest(), api.ClusterInfo)

    def members(self) -> list[api.Member]:
        """Lists the coordinators."""
        return list(self._client.call("Cluster/Members", api.ListMembersRequest(), api.ListMembersResponse).members)


def body_of(request_file: Optional[PathLike], input_data: Union[str, bytes, None]) -> bytes:
    """Returns what is sent: a file's content, or a text."""
    if (request_file is None) == (input_data is None):
        raise error_of("E_INVALID", "give either request_file or input_data")
    if request_file is not None:
        try:
            return Path(os.fspath(request_file)).read_bytes()
        except OSError as error:
            raise error_of("E_PATH_MISSING", f"`{request_file}` cannot be read", str(error)) from None
    return input_data.encode() if isinstance(input_data, str) else bytes(input_data or b"")
