from berth.node.v1 import node_pb2 as _node_pb2
from berth.store.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUT_MODE_UPSERT: _ClassVar[PutMode]
    PUT_MODE_CREATE: _ClassVar[PutMode]
    PUT_MODE_UPDATE: _ClassVar[PutMode]

class KeyType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_TYPE_UNSPECIFIED: _ClassVar[KeyType]
    KEY_TYPE_PRIMARY: _ClassVar[KeyType]
    KEY_TYPE_SECONDARY: _ClassVar[KeyType]
PUT_MODE_UPSERT: PutMode
PUT_MODE_CREATE: PutMode
PUT_MODE_UPDATE: PutMode
KEY_TYPE_UNSPECIFIED: KeyType
KEY_TYPE_PRIMARY: KeyType
KEY_TYPE_SECONDARY: KeyType

class LockUpgradeRequest(_message.Message):
    __slots__ = ("request_id", "holder", "within_ms", "steal")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    STEAL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    holder: str
    within_ms: int
    steal: bool
    def __init__(self, request_id: _Optional[str] = ..., holder: _Optional[str] = ..., within_ms: _Optional[int] = ..., steal: bool = ...) -> None: ...

class GetSettingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetSettingsRequest(_message.Message):
    __slots__ = ("request_id", "change", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    change: _model_pb2.SettingsChange
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., change: _Optional[_Union[_model_pb2.SettingsChange, _Mapping]] = ..., if_revision: _Optional[int] = ...) -> None: ...

class Mutation(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("name", "project", "spec", "traffic", "mirror_traffic", "scoring_uris", "provisioning_state", "created_at_ms", "revision", "scoring_uri", "openapi_uri", "firing")
    class TrafficEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class MirrorTrafficEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    MIRROR_TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    SCORING_URIS_FIELD_NUMBER: _ClassVar[int]
    PROVISIONING_STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SCORING_URI_FIELD_NUMBER: _ClassVar[int]
    OPENAPI_URI_FIELD_NUMBER: _ClassVar[int]
    FIRING_FIELD_NUMBER: _ClassVar[int]
    name: str
    project: str
    spec: _model_pb2.EndpointSpec
    traffic: _containers.ScalarMap[str, int]
    mirror_traffic: _containers.ScalarMap[str, int]
    scoring_uris: _containers.RepeatedScalarFieldContainer[str]
    provisioning_state: str
    created_at_ms: int
    revision: int
    scoring_uri: str
    openapi_uri: str
    firing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., project: _Optional[str] = ..., spec: _Optional[_Union[_model_pb2.EndpointSpec, _Mapping]] = ..., traffic: _Optional[_Mapping[str, int]] = ..., mirror_traffic: _Optional[_Mapping[str, int]] = ..., scoring_uris: _Optional[_Iterable[str]] = ..., provisioning_state: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., revision: _Optional[int] = ..., scoring_uri: _Optional[str] = ..., openapi_uri: _Optional[str] = ..., firing: _Optional[_Iterable[str]] = ...) -> None: ...

class PutEndpointRequest(_message.Message):
    __slots__ = ("request_id", "name", "spec", "mode", "if_revision", "project")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    spec: _model_pb2.EndpointSpec
    mode: PutMode
    if_revision: int
    project: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., spec: _Optional[_Union[_model_pb2.EndpointSpec, _Mapping]] = ..., mode: _Optional[_Union[PutMode, str]] = ..., if_revision: _Optional[int] = ..., project: _Optional[str] = ...) -> None: ...

class GetEndpointRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListEndpointsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEndpointsResponse(_message.Message):
    __slots__ = ("endpoints", "index")
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    index: int
    def __init__(self, endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class DeleteEndpointRequest(_message.Message):
    __slots__ = ("request_id", "name", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...

class SetTrafficRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "split", "mirror", "if_revision", "strict_azure")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_AZURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    split: TrafficMap
    mirror: TrafficMap
    if_revision: int
    strict_azure: bool
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., split: _Optional[_Union[TrafficMap, _Mapping]] = ..., mirror: _Optional[_Union[TrafficMap, _Mapping]] = ..., if_revision: _Optional[int] = ..., strict_azure: bool = ...) -> None: ...

class ShowRoutersRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class EndpointRouters(_message.Message):
    __slots__ = ("version", "behind")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    version: int
    behind: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., behind: _Optional[_Iterable[str]] = ...) -> None: ...

class TrafficMap(_message.Message):
    __slots__ = ("percent",)
    class PercentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    percent: _containers.ScalarMap[str, int]
    def __init__(self, percent: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class EndpointKeys(_message.Message):
    __slots__ = ("primary_key", "secondary_key")
    PRIMARY_KEY_FIELD_NUMBER: _ClassVar[int]
    SECONDARY_KEY_FIELD_NUMBER: _ClassVar[int]
    primary_key: str
    secondary_key: str
    def __init__(self, primary_key: _Optional[str] = ..., secondary_key: _Optional[str] = ...) -> None: ...

class RegenerateKeyRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "key_type", "key_value")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    KEY_TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_VALUE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    key_type: KeyType
    key_value: str
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., key_type: _Optional[_Union[KeyType, str]] = ..., key_value: _Optional[str] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("endpoint", "name", "spec", "generation", "provisioning_state", "reason", "desired", "ready", "updated", "traffic_percent", "mirror_percent", "created_at_ms", "revision", "retry_at_ms", "last_failed_replica", "last_failed_node", "reserve", "yielded", "paused")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PROVISIONING_STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MIRROR_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILED_REPLICA_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILED_NODE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    YIELDED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    name: str
    spec: _model_pb2.DeploymentSpec
    generation: int
    provisioning_state: str
    reason: str
    desired: int
    ready: int
    updated: int
    traffic_percent: int
    mirror_percent: int
    created_at_ms: int
    revision: int
    retry_at_ms: int
    last_failed_replica: str
    last_failed_node: str
    reserve: Reserve
    yielded: _containers.RepeatedCompositeFieldContainer[_model_pb2.Yielded]
    paused: bool
    def __init__(self, endpoint: _Optional[str] = ..., name: _Optional[str] = ..., spec: _Optional[_Union[_model_pb2.DeploymentSpec, _Mapping]] = ..., generation: _Optional[int] = ..., provisioning_state: _Optional[str] = ..., reason: _Optional[str] = ..., desired: _Optional[int] = ..., ready: _Optional[int] = ..., updated: _Optional[int] = ..., traffic_percent: _Optional[int] = ..., mirror_percent: _Optional[int] = ..., created_at_ms: _Optional[int] = ..., revision: _Optional[int] = ..., retry_at_ms: _Optional[int] = ..., last_failed_replica: _Optional[str] = ..., last_failed_node: _Optional[str] = ..., reserve: _Optional[_Union[Reserve, _Mapping]] = ..., yielded: _Optional[_Iterable[_Union[_model_pb2.Yielded, _Mapping]]] = ..., paused: bool = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ("wanted", "held", "in_use", "short_since_ms", "arithmetic", "not_covered", "not_covered_try")
    WANTED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    SHORT_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    NOT_COVERED_FIELD_NUMBER: _ClassVar[int]
    NOT_COVERED_TRY_FIELD_NUMBER: _ClassVar[int]
    wanted: int
    held: int
    in_use: int
    short_since_ms: int
    arithmetic: str
    not_covered: _containers.RepeatedScalarFieldContainer[str]
    not_covered_try: str
    def __init__(self, wanted: _Optional[int] = ..., held: _Optional[int] = ..., in_use: _Optional[int] = ..., short_since_ms: _Optional[int] = ..., arithmetic: _Optional[str] = ..., not_covered: _Optional[_Iterable[str]] = ..., not_covered_try: _Optional[str] = ...) -> None: ...

class PutDeploymentRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "name", "spec", "mode", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    name: str
    spec: _model_pb2.DeploymentSpec
    mode: PutMode
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., name: _Optional[str] = ..., spec: _Optional[_Union[_model_pb2.DeploymentSpec, _Mapping]] = ..., mode: _Optional[_Union[PutMode, str]] = ..., if_revision: _Optional[int] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("endpoint", "name")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    name: str
    def __init__(self, endpoint: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListDeploymentsRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments", "index")
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    index: int
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class ScaleDeploymentRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "name", "instance_count", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    name: str
    instance_count: int
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., name: _Optional[str] = ..., instance_count: _Optional[int] = ..., if_revision: _Optional[int] = ...) -> None: ...

class DeleteDeploymentRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "name", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    name: str
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., name: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...

class PauseDeploymentRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "name", "paused", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    name: str
    paused: bool
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., name: _Optional[str] = ..., paused: bool = ..., if_revision: _Optional[int] = ...) -> None: ...

class RestartDeploymentRequest(_message.Message):
    __slots__ = ("request_id", "endpoint", "name", "if_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    endpoint: str
    name: str
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., name: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...

class ReplaceReplicaRequest(_message.Message):
    __slots__ = ("request_id", "replica", "within_ms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    replica: str
    within_ms: int
    def __init__(self, request_id: _Optional[str] = ..., replica: _Optional[str] = ..., within_ms: _Optional[int] = ...) -> None: ...

class ListGenerationsRequest(_message.Message):
    __slots__ = ("endpoint", "name")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    name: str
    def __init__(self, endpoint: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListGenerationsResponse(_message.Message):
    __slots__ = ("generations", "index")
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    generations: _containers.RepeatedCompositeFieldContainer[DeploymentGeneration]
    index: int
    def __init__(self, generations: _Optional[_Iterable[_Union[DeploymentGeneration, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class DeploymentGeneration(_message.Message):
    __slots__ = ("generation", "spec", "began_ms", "current", "ready")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    BEGAN_MS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    spec: _model_pb2.DeploymentSpec
    began_ms: int
    current: bool
    ready: int
    def __init__(self, generation: _Optional[int] = ..., spec: _Optional[_Union[_model_pb2.DeploymentSpec, _Mapping]] = ..., began_ms: _Optional[int] = ..., current: bool = ..., ready: _Optional[int] = ...) -> None: ...

class ExplainDeploymentRequest(_message.Message):
    __slots__ = ("endpoint", "name")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    name: str
    def __init__(self, endpoint: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("endpoint", "deployment", "desired", "placed", "ready", "nodes_looked_at", "refused_by", "nodes", "nearest", "text", "preemption")
    class RefusedByEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NODES_LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_BY_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEAREST_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PREEMPTION_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    desired: int
    placed: int
    ready: int
    nodes_looked_at: int
    refused_by: _containers.ScalarMap[str, int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeVerdict]
    nearest: str
    text: str
    preemption: str
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., desired: _Optional[int] = ..., placed: _Optional[int] = ..., ready: _Optional[int] = ..., nodes_looked_at: _Optional[int] = ..., refused_by: _Optional[_Mapping[str, int]] = ..., nodes: _Optional[_Iterable[_Union[NodeVerdict, _Mapping]]] = ..., nearest: _Optional[str] = ..., text: _Optional[str] = ..., preemption: _Optional[str] = ...) -> None: ...

class NodeVerdict(_message.Message):
    __slots__ = ("node", "reason", "detail", "count")
    NODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    node: str
    reason: str
    detail: str
    count: int
    def __init__(self, node: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class LogsRequest(_message.Message):
    __slots__ = ("endpoint", "deployment", "replica", "tail_lines", "follow", "prepare", "previous", "since_ms", "within_ms")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    TAIL_LINES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    replica: str
    tail_lines: int
    follow: bool
    prepare: bool
    previous: bool
    since_ms: int
    within_ms: int
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., replica: _Optional[str] = ..., tail_lines: _Optional[int] = ..., follow: bool = ..., prepare: bool = ..., previous: bool = ..., since_ms: _Optional[int] = ..., within_ms: _Optional[int] = ...) -> None: ...

class LogLines(_message.Message):
    __slots__ = ("replica", "node", "data", "times")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    replica: str
    node: str
    data: bytes
    times: _containers.RepeatedCompositeFieldContainer[_node_pb2.LogTime]
    def __init__(self, replica: _Optional[str] = ..., node: _Optional[str] = ..., data: _Optional[bytes] = ..., times: _Optional[_Iterable[_Union[_node_pb2.LogTime, _Mapping]]] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("endpoint", "deployment", "replica", "node", "state", "reason", "pid", "address", "generation", "restarts", "since_ms", "placed_at_ms", "devices", "in_flight", "retry_at_ms", "reserve_spent", "used_cpu_milli", "used_memory_mib", "used_gpu_milli", "progress", "resources")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    PLACED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_MS_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SPENT_FIELD_NUMBER: _ClassVar[int]
    USED_CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    USED_MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    USED_GPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    replica: str
    node: str
    state: str
    reason: str
    pid: int
    address: str
    generation: int
    restarts: int
    since_ms: int
    placed_at_ms: int
    devices: _containers.RepeatedCompositeFieldContainer[_model_pb2.DeviceGrant]
    in_flight: int
    retry_at_ms: int
    reserve_spent: str
    used_cpu_milli: int
    used_memory_mib: int
    used_gpu_milli: int
    progress: _node_pb2.PrepareProgress
    resources: _model_pb2.Resources
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., replica: _Optional[str] = ..., node: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., pid: _Optional[int] = ..., address: _Optional[str] = ..., generation: _Optional[int] = ..., restarts: _Optional[int] = ..., since_ms: _Optional[int] = ..., placed_at_ms: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[_model_pb2.DeviceGrant, _Mapping]]] = ..., in_flight: _Optional[int] = ..., retry_at_ms: _Optional[int] = ..., reserve_spent: _Optional[str] = ..., used_cpu_milli: _Optional[int] = ..., used_memory_mib: _Optional[int] = ..., used_gpu_milli: _Optional[int] = ..., progress: _Optional[_Union[_node_pb2.PrepareProgress, _Mapping]] = ..., resources: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ...) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ("endpoint", "deployment")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ...) -> None: ...

class ListSlotsRequest(_message.Message):
    __slots__ = ("endpoint", "deployment")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ...) -> None: ...

class ListSlotsResponse(_message.Message):
    __slots__ = ("slots", "index")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    index: int
    def __init__(self, slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("endpoint", "deployment", "slot", "node", "state", "why", "reason", "since_ms", "resources", "devices", "progress")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    slot: str
    node: str
    state: str
    why: str
    reason: str
    since_ms: int
    resources: _model_pb2.Resources
    devices: _containers.RepeatedCompositeFieldContainer[_model_pb2.DeviceGrant]
    progress: _node_pb2.PrepareProgress
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., slot: _Optional[str] = ..., node: _Optional[str] = ..., state: _Optional[str] = ..., why: _Optional[str] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., resources: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[_model_pb2.DeviceGrant, _Mapping]]] = ..., progress: _Optional[_Union[_node_pb2.PrepareProgress, _Mapping]] = ...) -> None: ...

class ListReplicasResponse(_message.Message):
    __slots__ = ("replicas", "index")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    index: int
    def __init__(self, replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("node", "id", "state", "epoch", "capacity", "allocated", "used", "cordoned", "is_virtual", "labels", "devices", "ingress_address", "gate_address", "reason", "since_ms", "version", "replicas", "drain", "returns", "hold_ms", "gpus")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    IS_VIRTUAL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    INGRESS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    GATE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    node: str
    id: str
    state: str
    epoch: int
    capacity: _model_pb2.Resources
    allocated: _model_pb2.Resources
    used: _model_pb2.Resources
    cordoned: bool
    is_virtual: bool
    labels: _containers.ScalarMap[str, str]
    devices: _containers.RepeatedCompositeFieldContainer[_model_pb2.Device]
    ingress_address: str
    gate_address: str
    reason: str
    since_ms: int
    version: str
    replicas: int
    drain: NodeDrain
    returns: int
    hold_ms: int
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    def __init__(self, node: _Optional[str] = ..., id: _Optional[str] = ..., state: _Optional[str] = ..., epoch: _Optional[int] = ..., capacity: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ..., allocated: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ..., used: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ..., cordoned: bool = ..., is_virtual: bool = ..., labels: _Optional[_Mapping[str, str]] = ..., devices: _Optional[_Iterable[_Union[_model_pb2.Device, _Mapping]]] = ..., ingress_address: _Optional[str] = ..., gate_address: _Optional[str] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., version: _Optional[str] = ..., replicas: _Optional[int] = ..., drain: _Optional[_Union[NodeDrain, _Mapping]] = ..., returns: _Optional[int] = ..., hold_ms: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ...) -> None: ...

class NodeDrain(_message.Message):
    __slots__ = ("reason", "started_at_ms", "deadline_ms", "force", "by", "finished_at_ms", "moved", "cut_requests", "waits_for")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    CUT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    reason: str
    started_at_ms: int
    deadline_ms: int
    force: bool
    by: str
    finished_at_ms: int
    moved: int
    cut_requests: int
    waits_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[str] = ..., started_at_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., force: bool = ..., by: _Optional[str] = ..., finished_at_ms: _Optional[int] = ..., moved: _Optional[int] = ..., cut_requests: _Optional[int] = ..., waits_for: _Optional[_Iterable[str]] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("uuid", "model", "memory_mib", "driver", "simulated", "state", "reason", "since_ms", "slices", "held_mib", "sample", "silent_ms", "strikes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    HELD_MIB_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    STRIKES_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    model: str
    memory_mib: int
    driver: str
    simulated: bool
    state: str
    reason: str
    since_ms: int
    slices: _containers.RepeatedScalarFieldContainer[str]
    held_mib: int
    sample: _node_pb2.DeviceSample
    silent_ms: int
    strikes: int
    def __init__(self, uuid: _Optional[str] = ..., model: _Optional[str] = ..., memory_mib: _Optional[int] = ..., driver: _Optional[str] = ..., simulated: bool = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., slices: _Optional[_Iterable[str]] = ..., held_mib: _Optional[int] = ..., sample: _Optional[_Union[_node_pb2.DeviceSample, _Mapping]] = ..., silent_ms: _Optional[int] = ..., strikes: _Optional[int] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "index")
    NODES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    index: int
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class CordonNodeRequest(_message.Message):
    __slots__ = ("request_id", "node", "cordoned")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node: str
    cordoned: bool
    def __init__(self, request_id: _Optional[str] = ..., node: _Optional[str] = ..., cordoned: bool = ...) -> None: ...

class DrainNodeRequest(_message.Message):
    __slots__ = ("request_id", "node", "within_ms", "reason", "force", "cancel", "upgrade")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    UPGRADE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node: str
    within_ms: int
    reason: str
    force: bool
    cancel: bool
    upgrade: bool
    def __init__(self, request_id: _Optional[str] = ..., node: _Optional[str] = ..., within_ms: _Optional[int] = ..., reason: _Optional[str] = ..., force: bool = ..., cancel: bool = ..., upgrade: bool = ...) -> None: ...

class ForgetNodeRequest(_message.Message):
    __slots__ = ("request_id", "node")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node: str
    def __init__(self, request_id: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class UploadAssetRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: AssetHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[AssetHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class AssetHeader(_message.Message):
    __slots__ = ("digest", "size_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("digest", "size_bytes", "revision")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    revision: int
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class MissingAssetsRequest(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digests: _Optional[_Iterable[str]] = ...) -> None: ...

class MissingAssetsResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digests: _Optional[_Iterable[str]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("seq", "index", "at_ms", "severity", "kind", "endpoint", "deployment", "replica", "node", "text")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    index: int
    at_ms: int
    severity: str
    kind: str
    endpoint: str
    deployment: str
    replica: str
    node: str
    text: str
    def __init__(self, seq: _Optional[int] = ..., index: _Optional[int] = ..., at_ms: _Optional[int] = ..., severity: _Optional[str] = ..., kind: _Optional[str] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., replica: _Optional[str] = ..., node: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("from_seq", "once")
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    from_seq: int
    once: bool
    def __init__(self, from_seq: _Optional[int] = ..., once: bool = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events", "next_seq")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_seq: int
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_seq: _Optional[int] = ...) -> None: ...

class ClusterInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClusterInfo(_message.Message):
    __slots__ = ("cluster_id", "version", "feature_level", "term", "applied", "leader_address", "table_version", "endpoints", "deployments", "replicas", "nodes", "warnings", "not_covered")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NOT_COVERED_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    version: str
    feature_level: int
    term: int
    applied: int
    leader_address: str
    table_version: int
    endpoints: int
    deployments: int
    replicas: int
    nodes: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    not_covered: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cluster_id: _Optional[str] = ..., version: _Optional[str] = ..., feature_level: _Optional[int] = ..., term: _Optional[int] = ..., applied: _Optional[int] = ..., leader_address: _Optional[str] = ..., table_version: _Optional[int] = ..., endpoints: _Optional[int] = ..., deployments: _Optional[int] = ..., replicas: _Optional[int] = ..., nodes: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., not_covered: _Optional[_Iterable[str]] = ...) -> None: ...

class ListMembersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Member(_message.Message):
    __slots__ = ("id", "address", "voter", "leader")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    voter: bool
    leader: bool
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ..., voter: bool = ..., leader: bool = ...) -> None: ...

class ListMembersResponse(_message.Message):
    __slots__ = ("members", "term")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    term: int
    def __init__(self, members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., term: _Optional[int] = ...) -> None: ...

class AddMemberRequest(_message.Message):
    __slots__ = ("id", "address")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class RemoveMemberRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class TransferLeadershipRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class SaveSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckReport(_message.Message):
    __slots__ = ("index", "objects", "violations", "checked", "need_history")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    NEED_HISTORY_FIELD_NUMBER: _ClassVar[int]
    index: int
    objects: int
    violations: _containers.RepeatedCompositeFieldContainer[Violation]
    checked: _containers.RepeatedScalarFieldContainer[str]
    need_history: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, index: _Optional[int] = ..., objects: _Optional[int] = ..., violations: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., checked: _Optional[_Iterable[str]] = ..., need_history: _Optional[_Iterable[str]] = ...) -> None: ...

class Violation(_message.Message):
    __slots__ = ("invariant", "what")
    INVARIANT_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    invariant: str
    what: str
    def __init__(self, invariant: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("code", "what", "why", "problems")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    code: str
    what: str
    why: str
    problems: _containers.RepeatedCompositeFieldContainer[Problem]
    def __init__(self, code: _Optional[str] = ..., what: _Optional[str] = ..., why: _Optional[str] = ..., problems: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ..., **kwargs) -> None: ...

class Problem(_message.Message):
    __slots__ = ("field", "what")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    field: str
    what: str
    def __init__(self, field: _Optional[str] = ..., what: _Optional[str] = ..., **kwargs) -> None: ...
