"""Every operation, decided here once for both clients."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from . import _convert, tensors
from ._archive import Packed, pack
from ._call import Members, call, parse_address, send
from ._load import DeploymentFile, EndpointFile, load_deployment, load_endpoint, load_file
from ._progress import bar
from ._steps import Blocking, Failed, Http, NotSent, Op, Reply, Show, Sleep
from .api.v1 import api_pb2 as api
from .entities import EndpointAuthKeys, ManagedOnlineDeployment, ManagedOnlineEndpoint, to_mapping
from .errors import BerthError, InvokeError, NotFoundError, Problem, error_of
from .store.v1 import model_pb2 as store

PathLike = Union[str, "os.PathLike[str]"]
EndpointLike = Union[ManagedOnlineEndpoint, Mapping[str, object], PathLike]
DeploymentLike = Union[ManagedOnlineDeployment, Mapping[str, object], PathLike]

# How often something that is waited for is looked at; only what is shown depends on it.
_LOOK_AGAIN_S = 0.3
# What any upload may take before its size is looked at, and the slowest connection it waits for.
_UPLOAD_BASE_S, _UPLOAD_BYTES_PER_S = 60.0, 1 << 20
# How long is waited unless somebody says otherwise: a Python environment may be built on the way.
WAIT_S = 900.0
# The longest a deployment may let a request take, and a little.
_INVOKE_S = 185.0
# How long what was learned of an endpoint (its nodes and key) is used before it is asked again.
_ROUTE_S = 30.0


@dataclass
class Route:
    """Where an endpoint is called, and with which key."""

    nodes: list[str]
    key: str
    until: float


@dataclass
class Context:
    """What operations share."""

    members: Members
    routes: dict[str, Route] = field(default_factory=dict)
    warn: Any = None
    turn: int = 0
    # How nodes are called: `https` where their certificates can be checked.
    scheme: str = "http"


def tell(problem: Problem) -> None:
    """Passes on what a file says and Berth does not do."""
    warnings.warn(str(problem), stacklevel=2)


def connect(addresses: Union[str, Sequence[str]], timeout: float, ingress_ca: Optional[PathLike] = None) -> Context:
    """Reads what a client is given: where the coordinators are, and how long a call may take."""
    texts = addresses.split(",") if isinstance(addresses, str) else list(addresses)
    if not texts:
        raise error_of("E_INVALID", "no coordinator is named", "", "give at least one HOST:PORT")
    scheme = "http" if ingress_ca is None else "https"
    return Context(Members([parse_address(text) for text in texts], timeout), warn=tell, scheme=scheme)


def unary(ctx: Context, method: str, request: Message, answer: type[Any], deadline_s: Optional[float] = None) -> Op[Any]:
    """Sends one call of `berth.api.v1`."""
    return call(ctx.members, f"/berth.api.v1.{method}", request, answer, deadline_s)


# === endpoints ===


def get_endpoint(ctx: Context, name: str) -> Op[ManagedOnlineEndpoint]:
    message = yield from unary(ctx, "Endpoints/Get", api.GetEndpointRequest(name=name), api.Endpoint)
    return _convert.endpoint(message)


def list_endpoints(ctx: Context) -> Op[list[ManagedOnlineEndpoint]]:
    answer = yield from unary(ctx, "Endpoints/List", api.ListEndpointsRequest(), api.ListEndpointsResponse)
    return [_convert.endpoint(message) for message in answer.endpoints]


def put_endpoint(ctx: Context, what: EndpointLike, if_revision: Optional[int]) -> Op[ManagedOnlineEndpoint]:
    """Creates or changes an endpoint; traffic that it names is set after it."""
    base = what._spec if isinstance(what, ManagedOnlineEndpoint) else None
    file = yield Blocking(lambda: _endpoint_file(ctx, what, base))
    return (yield from _put_endpoint_file(ctx, file, if_revision, True))


def _put_endpoint_file(
    ctx: Context, file: EndpointFile, if_revision: Optional[int], with_traffic: bool
) -> Op[ManagedOnlineEndpoint]:
    request = api.PutEndpointRequest(name=file.name, spec=file.spec, if_revision=if_revision, project=file.project)
    message = yield from unary(ctx, "Endpoints/Put", request, api.Endpoint)
    split, mirror = file.traffic, file.mirror
    changed = (split is not None and split != dict(message.traffic)) or (
        mirror is not None and mirror != dict(message.mirror_traffic)
    )
    if with_traffic and changed:
        return (yield from set_traffic(ctx, file.name, split, mirror, None))
    return _convert.endpoint(message)


def _endpoint_file(ctx: Context, what: EndpointLike, base: Optional[store.EndpointSpec]) -> EndpointFile:
    if isinstance(what, (str, os.PathLike)):
        loaded = load_file(what)
        _tell(ctx, loaded.warnings)
        if len(loaded.endpoints) != 1 or loaded.deployments:
            raise error_of("E_INVALID", f"{what} does not describe one endpoint", "", "`client.apply` takes any file")
        return loaded.endpoints[0]
    mapping = to_mapping(what) if isinstance(what, ManagedOnlineEndpoint) else what
    file, warnings = load_endpoint(mapping, base)
    _tell(ctx, warnings)
    return file


def set_traffic(
    ctx: Context,
    name: str,
    split: Optional[Mapping[str, int]],
    mirror: Optional[Mapping[str, int]],
    if_revision: Optional[int],
) -> Op[ManagedOnlineEndpoint]:
    """Replaces the split, the mirrors, or both."""
    request = api.SetTrafficRequest(endpoint=name, if_revision=if_revision)
    if split is not None:
        request.split.CopyFrom(api.TrafficMap(percent=dict(split)))
    if mirror is not None:
        request.mirror.CopyFrom(api.TrafficMap(percent=dict(mirror)))
    message = yield from unary(ctx, "Endpoints/SetTraffic", request, api.Endpoint)
    return _convert.endpoint(message)


def delete_endpoint(ctx: Context, name: str) -> Op[None]:
    ctx.routes.pop(name, None)
    yield from unary(ctx, "Endpoints/Delete", api.DeleteEndpointRequest(name=name), api.Mutation)


def get_keys(ctx: Context, name: str) -> Op[EndpointAuthKeys]:
    answer = yield from unary(ctx, "Endpoints/ListKeys", api.ListKeysRequest(endpoint=name), api.EndpointKeys)
    return EndpointAuthKeys(answer.primary_key, answer.secondary_key)


def regenerate_key(ctx: Context, name: str, key_type: str, value: str) -> Op[EndpointAuthKeys]:
    kinds = {"primary": api.KEY_TYPE_PRIMARY, "secondary": api.KEY_TYPE_SECONDARY}
    if key_type.lower() not in kinds:
        raise error_of("E_INVALID", f"`{key_type}` is no key", "", "primary or secondary")
    request = api.RegenerateKeyRequest(endpoint=name, key_type=kinds[key_type.lower()], key_value=value)
    answer = yield from unary(ctx, "Endpoints/RegenerateKey", request, api.EndpointKeys)
    ctx.routes.pop(name, None)
    return EndpointAuthKeys(answer.primary_key, answer.secondary_key)


# === deployments ===


def get_deployment(ctx: Context, endpoint: str, name: str) -> Op[ManagedOnlineDeployment]:
    request = api.GetDeploymentRequest(endpoint=endpoint, name=name)
    message = yield from unary(ctx, "Deployments/Get", request, api.Deployment)
    return _convert.deployment(message)


def list_deployments(ctx: Context, endpoint: str) -> Op[list[ManagedOnlineDeployment]]:
    request = api.ListDeploymentsRequest(endpoint=endpoint)
    answer = yield from unary(ctx, "Deployments/List", request, api.ListDeploymentsResponse)
    return [_convert.deployment(message) for message in answer.deployments]


def put_deployment(ctx: Context, what: DeploymentLike, if_revision: Optional[int]) -> Op[ManagedOnlineDeployment]:
    """Uploads what a deployment refers to and creates or changes it."""
    base = what._spec if isinstance(what, ManagedOnlineDeployment) else None
    file = yield Blocking(lambda: _deployment_file(ctx, what, base))
    return (yield from _put_deployment_file(ctx, file, if_revision))


def _put_deployment_file(
    ctx: Context, file: DeploymentFile, if_revision: Optional[int]
) -> Op[ManagedOnlineDeployment]:
    # What would be refused is refused before anything large is uploaded.
    yield from get_endpoint(ctx, file.endpoint)
    if file.model is not None:
        file.spec.model.asset.CopyFrom((yield from upload(ctx, file.model)))
    if file.code is not None:
        file.spec.code.asset.CopyFrom((yield from upload(ctx, file.code)))
    request = api.PutDeploymentRequest(
        endpoint=file.endpoint, name=file.name, spec=file.spec, if_revision=if_revision
    )
    message = yield from unary(ctx, "Deployments/Put", request, api.Deployment)
    return _convert.deployment(message)


def _deployment_file(ctx: Context, what: DeploymentLike, base: Optional[store.DeploymentSpec]) -> DeploymentFile:
    if isinstance(what, (str, os.PathLike)):
        loaded = load_file(what)
        _tell(ctx, loaded.warnings)
        if len(loaded.deployments) != 1 or loaded.endpoints:
            raise error_of("E_INVALID", f"{what} does not describe one deployment", "", "`client.apply` takes any file")
        return loaded.deployments[0]
    mapping = to_mapping(what) if isinstance(what, ManagedOnlineDeployment) else what
    file, warnings = load_deployment(mapping, Path("."), base)
    _tell(ctx, warnings)
    return file


def scale_deployment(ctx: Context, endpoint: str, name: str, count: int) -> Op[ManagedOnlineDeployment]:
    request = api.ScaleDeploymentRequest(endpoint=endpoint, name=name, instance_count=count)
    message = yield from unary(ctx, "Deployments/Scale", request, api.Deployment)
    return _convert.deployment(message)


def delete_deployment(ctx: Context, endpoint: str, name: str) -> Op[None]:
    request = api.DeleteDeploymentRequest(endpoint=endpoint, name=name)
    yield from unary(ctx, "Deployments/Delete", request, api.Mutation)


def explain_deployment(ctx: Context, endpoint: str, name: str) -> Op[api.Verdict]:
    request = api.ExplainDeploymentRequest(endpoint=endpoint, name=name)
    verdict: api.Verdict = yield from unary(ctx, "Deployments/Explain", request, api.Verdict)
    return verdict


def list_replicas(ctx: Context, endpoint: str, deployment: str) -> Op[list[api.Replica]]:
    request = api.ListReplicasRequest(endpoint=endpoint, deployment=deployment)
    answer = yield from unary(ctx, "Replicas/List", request, api.ListReplicasResponse)
    return list(answer.replicas)


def upload(ctx: Context, path: Path) -> Op[store.AssetRef]:
    """Uploads a file or folder unless the cluster holds its bytes already."""
    yield Show(f"reading {path}")
    packed: Packed = yield Blocking(lambda: pack(path))
    digest = packed.asset.digest.hex()
    request = api.MissingAssetsRequest(digests=[digest])
    missing = yield from unary(ctx, "Assets/Missing", request, api.MissingAssetsResponse)
    if missing.digests:
        size = packed.asset.size_bytes
        yield Show(f"uploading {path} ({size:,} bytes)")

        def messages() -> Iterator[Message]:
            yield api.UploadAssetRequest(header=api.AssetHeader(digest=digest, size_bytes=size))
            for piece in packed.pieces():
                yield api.UploadAssetRequest(data=piece)

        within = _UPLOAD_BASE_S + size / _UPLOAD_BYTES_PER_S
        yield from send(ctx.members, "/berth.api.v1.Assets/Upload", messages, api.Asset, within)
    return packed.asset


# === waiting ===


def wait_serving(ctx: Context, endpoint: str, name: str, generation: int, within_s: float) -> Op[ManagedOnlineDeployment]:
    """Waits until a generation serves with all its instances, or cannot."""
    until = time.monotonic() + within_s
    while True:
        found = yield from get_deployment(ctx, endpoint, name)
        if found.generation >= generation:
            if found.provisioning_state == "Succeeded":
                yield Show(None)
                return found
            if found.provisioning_state == "Failed":
                raise BerthError(
                    "E_REPLICA_START", f"{endpoint}/{name} does not come up", found.reason,
                    f"read its log: berth logs {endpoint}/{name} --previous",
                )  # fmt: skip
        replicas = yield from list_replicas(ctx, endpoint, name)
        states: dict[str, int] = {}
        for replica in replicas:
            states[replica.state] = states.get(replica.state, 0) + 1
        words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        line = f"{endpoint}/{name} {bar(found.ready, found.desired)} {words or 'no replica placed yet'}"
        yield Show(line)
        if time.monotonic() >= until:
            verdict = yield from explain_deployment(ctx, endpoint, name)
            why = found.reason or words
            if verdict.placed < verdict.desired:
                why = verdict.text
            raise error_of("E_TIMEOUT", f"{endpoint}/{name} does not serve after {within_s:.0f} s", why, verdict.nearest)
        yield Sleep(min(_LOOK_AGAIN_S, max(until - time.monotonic(), 0)))


def wait_gone(ctx: Context, endpoint: str, name: str, within_s: float) -> Op[None]:
    """Waits until a deleted deployment, or a whole endpoint when `name` is empty, has left nothing behind."""
    until = time.monotonic() + within_s
    while True:
        try:
            if name:
                yield from get_deployment(ctx, endpoint, name)
            else:
                yield from get_endpoint(ctx, endpoint)
        except NotFoundError:
            replicas = yield from list_replicas(ctx, endpoint, name)
            if not replicas:
                return None
        yield Show(f"{endpoint}/{name}".rstrip("/") + " ends its replicas")
        if time.monotonic() >= until:
            raise error_of("E_TIMEOUT", f"{endpoint}/{name} has not ended after {within_s:.0f} s")
        yield Sleep(_LOOK_AGAIN_S)


@dataclass(frozen=True)
class Applied:
    """What a file came to."""

    endpoints: list[ManagedOnlineEndpoint]
    deployments: list[ManagedOnlineDeployment]


def apply(ctx: Context, path: PathLike, wait: bool, within_s: float) -> Op[Applied]:
    """Applies whatever a file describes, in the order that works: endpoints, deployments, then traffic."""
    loaded = yield Blocking(lambda: load_file(path))
    _tell(ctx, loaded.warnings)
    endpoints, deployments = [], []
    for file in loaded.endpoints:
        endpoints.append((yield from _put_endpoint_file(ctx, file, None, False)))
    for file in loaded.deployments:
        deployments.append((yield from _put_deployment_file(ctx, file, None)))
    if wait:
        for at, one in enumerate(deployments):
            deployments[at] = yield from wait_serving(ctx, one.endpoint_name, one.name, one.generation, within_s)
    for at, file in enumerate(loaded.endpoints):
        if file.traffic is not None or file.mirror is not None:
            endpoints[at] = yield from set_traffic(ctx, file.name, file.traffic, file.mirror, None)
    return Applied(endpoints, deployments)


# === calling ===


def _route(ctx: Context, endpoint: str) -> Op[Route]:
    known = ctx.routes.get(endpoint)
    if known is not None and known.until > time.monotonic():
        return known
    found = yield from get_endpoint(ctx, endpoint)
    answer = yield from unary(ctx, "Nodes/List", api.ListNodesRequest(), api.ListNodesResponse)
    nodes = [node.ingress_address for node in answer.nodes if node.state != "lost" and node.ingress_address]
    if not nodes:
        raise error_of("E_UNAVAILABLE", "no node is ready to take the call", "", "look at `berth node ls`")
    key = ""
    if found.auth_mode != "none":
        key = (yield from get_keys(ctx, endpoint)).primary_key
    route = Route(nodes, key, time.monotonic() + _ROUTE_S)
    ctx.routes[endpoint] = route
    return route


def request(
    ctx: Context, endpoint: str, path: str, content: Optional[bytes], headers: Mapping[str, str], timeout_s: Optional[float]
) -> Op[Reply]:
    """Sends one request to an endpoint through any node; a node that cannot be reached is left for the next."""
    route = yield from _route(ctx, endpoint)
    until = time.monotonic() + (timeout_s or _INVOKE_S)
    sent = dict(headers)
    if route.key:
        sent["authorization"] = f"Bearer {route.key}"
    why = ""
    for _ in range(len(route.nodes)):
        ctx.turn += 1
        node = route.nodes[ctx.turn % len(route.nodes)]
        url = f"{ctx.scheme}://{node}/e/{endpoint}{path}"
        try:
            reply: Reply = yield Http(url, sent, content, max(until - time.monotonic(), 0.001))
        except NotSent as error:
            why = f"{node}: {error}"
            continue
        except Failed as failed:
            what = f"the request to `{endpoint}` broke off"
            raise error_of("E_OUTCOME_UNKNOWN", what, failed.message, "send it again if it may run twice") from None
        if reply.status == 401:
            # The key was changed by somebody else; the next call learns the new one.
            ctx.routes.pop(endpoint, None)
        return reply
    ctx.routes.pop(endpoint, None)
    raise error_of("E_UNAVAILABLE", "no node could be reached", why, "look at `berth node ls`")


def _checked(endpoint: str, reply: Reply) -> bytes:
    if reply.status < 400:
        return reply.body
    code, what, why, try_ = "E_UPSTREAM", f"`{endpoint}` answered {reply.status}", "", ""
    try:
        said = json.loads(reply.body)
        error = said.get("error", said) if isinstance(said, dict) else {}
        if isinstance(error, dict):
            code = str(error.get("code") or code)
            what = str(error.get("message") or error.get("what") or what)
            why, try_ = str(error.get("why") or ""), str(error.get("try") or "")
        elif isinstance(error, str):
            why = error
    except ValueError:
        why = reply.body[:500].decode(errors="replace")
    raise InvokeError(code, what, why, try_, reply.status, reply.body)


def invoke(
    ctx: Context, endpoint: str, content: bytes, deployment: Optional[str], path: str, headers: Mapping[str, str],
    timeout_s: Optional[float],
) -> Op[str]:  # fmt: skip
    """Sends JSON and returns the model's answer as text."""
    sent = {"content-type": "application/json", **headers, **_pin(deployment)}
    reply = yield from request(ctx, endpoint, path, content, sent, timeout_s)
    return _checked(endpoint, reply).decode()


def infer(
    ctx: Context,
    endpoint: str,
    inputs: Union[NDArray[Any], Mapping[str, NDArray[Any]]],
    outputs: Optional[list[str]],
    deployment: Optional[str],
    model: Optional[str],
    timeout_s: Optional[float],
) -> Op[dict[str, NDArray[Any]]]:
    """Sends arrays and returns arrays. One array without a name is the model's only input."""
    path = f"/v2/models/{model or endpoint}"
    if not isinstance(inputs, Mapping):
        reply = yield from request(ctx, endpoint, path, None, _pin(deployment), timeout_s)
        described = json.loads(_checked(endpoint, reply)).get("inputs", [])
        if len(described) != 1:
            names = ", ".join(it["name"] for it in described)
            raise error_of("E_INVALID", f"the model has {len(described)} inputs", names, "give arrays by name")
        array = np.asarray(inputs)
        wanted = tensors._DATATYPES.get(described[0]["datatype"])
        # NumPy's own default is double; a model of floats means the same numbers.
        if wanted and array.dtype.kind in "fiu" and np.can_cast(array.dtype, wanted, "same_kind"):
            array = array.astype(wanted, copy=False)
        inputs = {described[0]["name"]: array}
    headers, body = tensors.encode(inputs, outputs)
    reply = yield from request(ctx, endpoint, f"{path}/infer", body, {**headers, **_pin(deployment)}, timeout_s)
    return tensors.decode(reply.headers, _checked(endpoint, reply))


def _pin(deployment: Optional[str]) -> dict[str, str]:
    return {"azureml-model-deployment": deployment} if deployment else {}


def _tell(ctx: Context, warnings: list[Problem]) -> None:
    if ctx.warn is not None:
        for warning in warnings:
            ctx.warn(warning)
