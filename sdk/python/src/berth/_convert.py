"""The API's messages as entities."""

from __future__ import annotations

from .api.v1 import api_pb2 as api
from .entities import ManagedOnlineDeployment, ManagedOnlineEndpoint
from .store.v1 import model_pb2 as store

_AUTH = {store.AUTH_MODE_KEY: "key", store.AUTH_MODE_NONE: "none"}


def endpoint(message: api.Endpoint) -> ManagedOnlineEndpoint:
    """Reads an endpoint."""
    return ManagedOnlineEndpoint(
        name=message.name,
        description=message.spec.description,
        tags=dict(message.spec.tags),
        auth_mode=_AUTH.get(message.spec.auth_mode),
        project=message.project,
        traffic=dict(message.traffic),
        mirror_traffic=dict(message.mirror_traffic),
        max_body_mib=message.spec.max_body_bytes >> 20,
        idempotent=message.spec.idempotent if message.spec.HasField("idempotent") else None,
        provisioning_state=message.provisioning_state,
        scoring_uri=message.scoring_uri,
        scoring_uris=tuple(message.scoring_uris),
        openapi_uri=message.openapi_uri,
        revision=message.revision,
        _spec=message.spec,
    )


def deployment(message: api.Deployment) -> ManagedOnlineDeployment:
    """Reads a deployment. What it is made of (model, code, environment) stays as it is when it is put back."""
    spec = message.spec
    return ManagedOnlineDeployment(
        name=message.name,
        endpoint_name=message.endpoint,
        # A size by its name would be looked up again, over resources that were written out beside it.
        instance_count=spec.instance_count,
        description=spec.description,
        tags=dict(spec.tags),
        environment_variables=dict(spec.environment_variables),
        priority=spec.priority if spec.HasField("priority") else None,
        reserve=spec.reserve,
        provisioning_state=message.provisioning_state,
        reason=message.reason,
        desired=message.desired,
        ready=message.ready,
        generation=message.generation,
        traffic_percent=message.traffic_percent,
        mirror_percent=message.mirror_percent,
        revision=message.revision,
        _spec=spec,
    )
