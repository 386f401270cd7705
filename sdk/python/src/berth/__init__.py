"""Python SDK of Berth: inference endpoints on plain Linux hosts.

`Client` blocks, `AsyncClient` is awaited; both have the same names, which are azure-ai-ml's where those exist.
"""

from ._objects import load_online_deployment, load_online_endpoint
from ._ops import Applied
from .aio import AsyncClient, AsyncPoller
from .board import Board
from .client import Client, Poller
from .entities import (
    CodeConfiguration,
    EndpointAuthKeys,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    ProbeSettings,
)
from .errors import (
    BerthError,
    ConflictError,
    InvalidError,
    InvokeError,
    NotFoundError,
    Problem,
    UnavailableError,
    WaitTimeoutError,
)

__all__ = [
    "Applied",
    "AsyncClient",
    "AsyncPoller",
    "BerthError",
    "Board",
    "Client",
    "CodeConfiguration",
    "ConflictError",
    "EndpointAuthKeys",
    "Environment",
    "InvalidError",
    "InvokeError",
    "ManagedOnlineDeployment",
    "ManagedOnlineEndpoint",
    "Model",
    "NotFoundError",
    "OnlineRequestSettings",
    "Poller",
    "ProbeSettings",
    "Problem",
    "UnavailableError",
    "WaitTimeoutError",
    "load_online_deployment",
    "load_online_endpoint",
]
