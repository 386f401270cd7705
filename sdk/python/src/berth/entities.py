"""What users describe: endpoints, deployments and their parts, under azure-ai-ml's names.

A field that is `None` is silent: a new object gets Berth's default, an existing one keeps what it has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Optional, Union

from .store.v1 import model_pb2 as store

PathLike = Union[str, "os.PathLike[str]"]


@dataclass
class Model:
    """A file or folder with a trained model."""

    path: PathLike
    name: Optional[str] = None
    version: Optional[str] = None
    type: Optional[str] = None


@dataclass
class CodeConfiguration:
    """A folder with a scoring script: a file that has `init()` and `run(data)`."""

    code: PathLike
    scoring_script: str


@dataclass
class Environment:
    """What the code needs around it: a conda file, or requirements in pip's syntax."""

    conda_file: Optional[Union[PathLike, dict[str, Any]]] = None
    pip: Optional[list[str]] = None
    python: Optional[str] = None
    image: Optional[str] = None
    name: Optional[str] = None
    inference_config: Optional[dict[str, Any]] = None


@dataclass
class OnlineRequestSettings:
    """How requests are treated."""

    request_timeout_ms: Optional[int] = None
    max_concurrent_requests_per_instance: Optional[int] = None


@dataclass
class ProbeSettings:
    """How often a replica is asked whether it lives; times are whole seconds."""

    initial_delay: Optional[int] = None
    period: Optional[int] = None
    timeout: Optional[int] = None
    success_threshold: Optional[int] = None
    failure_threshold: Optional[int] = None


@dataclass
class ManagedOnlineEndpoint:
    """A stable address with any number of deployments behind it."""

    name: str
    description: Optional[str] = None
    tags: Optional[dict[str, str]] = None
    auth_mode: Optional[str] = None
    project: Optional[str] = None
    traffic: Optional[dict[str, int]] = None
    mirror_traffic: Optional[dict[str, int]] = None
    mirror_settings: Optional[dict[str, Any]] = None
    max_body_mib: Optional[int] = None
    idempotent: Optional[bool] = None
    hedging: Optional[Union[bool, dict[str, Any]]] = None
    alerts: Optional[list[Any]] = None
    # Read-only: what the cluster says.
    provisioning_state: str = field(default="", compare=False)
    scoring_uri: str = field(default="", compare=False)
    scoring_uris: tuple[str, ...] = field(default=(), compare=False)
    openapi_uri: str = field(default="", compare=False)
    revision: int = field(default=0, compare=False)
    _spec: Optional[store.EndpointSpec] = field(default=None, repr=False, compare=False)


@dataclass
class ManagedOnlineDeployment:
    """A model, its environment and its size behind an endpoint."""

    name: str
    endpoint_name: str
    model: Optional[Union[Model, PathLike]] = None
    code_configuration: Optional[CodeConfiguration] = None
    environment: Optional[Union[Environment, PathLike]] = None
    command: Optional[Union[str, list[str]]] = None
    instance_type: Optional[str] = None
    instance_count: Optional[int] = None
    resources: Optional[dict[str, Any]] = None
    description: Optional[str] = None
    tags: Optional[dict[str, str]] = None
    environment_variables: Optional[dict[str, str]] = None
    model_mount_path: Optional[str] = None
    request_settings: Optional[OnlineRequestSettings] = None
    liveness_probe: Optional[ProbeSettings] = None
    readiness_probe: Optional[ProbeSettings] = None
    min_instances: Optional[int] = None
    priority: Optional[int] = None
    spread: Optional[Union[str, dict[str, Any]]] = None
    constraints: Optional[dict[str, str]] = None
    reserve: Optional[bool] = None
    disconnect: Optional[dict[str, Any]] = None
    # Read-only: what the cluster says.
    provisioning_state: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)
    desired: int = field(default=0, compare=False)
    ready: int = field(default=0, compare=False)
    generation: int = field(default=0, compare=False)
    traffic_percent: int = field(default=0, compare=False)
    mirror_percent: int = field(default=0, compare=False)
    revision: int = field(default=0, compare=False)
    _spec: Optional[store.DeploymentSpec] = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class EndpointAuthKeys:
    """Both keys of an endpoint; either opens it."""

    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)


_READ_ONLY = {
    "provisioning_state", "scoring_uri", "scoring_uris", "openapi_uri", "revision", "reason", "desired", "ready", "generation",
    "traffic_percent", "mirror_percent", "_spec",
}  # fmt: skip


def to_mapping(value: Any) -> dict[str, Any]:
    """Writes an entity as a YAML file would describe it; silent fields are left out."""
    found: dict[str, Any] = {}
    for each in fields(value):
        item = getattr(value, each.name)
        if item is None or each.name in _READ_ONLY:
            continue
        found[each.name] = to_mapping(item) if is_dataclass(item) else _plain(item)
    return found


def _plain(item: Any) -> Any:
    # A path is relative to where the program runs, as everywhere in Python.
    return str(Path(item)) if isinstance(item, os.PathLike) else item
