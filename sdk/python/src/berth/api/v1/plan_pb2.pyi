from berth.api.v1 import api_pb2 as _api_pb2
from berth.store.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlanRequest(_message.Message):
    __slots__ = ("endpoints", "deployments", "traffic", "spike", "add", "drain", "lose")
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    SPIKE_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    LOSE_FIELD_NUMBER: _ClassVar[int]
    endpoints: _containers.RepeatedCompositeFieldContainer[_api_pb2.PutEndpointRequest]
    deployments: _containers.RepeatedCompositeFieldContainer[_api_pb2.PutDeploymentRequest]
    traffic: _containers.RepeatedCompositeFieldContainer[_api_pb2.SetTrafficRequest]
    spike: _containers.RepeatedScalarFieldContainer[str]
    add: _containers.RepeatedScalarFieldContainer[str]
    drain: _containers.RepeatedScalarFieldContainer[str]
    lose: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, endpoints: _Optional[_Iterable[_Union[_api_pb2.PutEndpointRequest, _Mapping]]] = ..., deployments: _Optional[_Iterable[_Union[_api_pb2.PutDeploymentRequest, _Mapping]]] = ..., traffic: _Optional[_Iterable[_Union[_api_pb2.SetTrafficRequest, _Mapping]]] = ..., spike: _Optional[_Iterable[str]] = ..., add: _Optional[_Iterable[str]] = ..., drain: _Optional[_Iterable[str]] = ..., lose: _Optional[_Iterable[str]] = ...) -> None: ...

class PlanReport(_message.Message):
    __slots__ = ("check_index", "changes", "keeps_minimum", "deployments", "endpoints", "drains", "nodes_before", "nodes_after", "rounds", "steps", "steps_dropped", "notes", "asked")
    CHECK_INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    KEEPS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    DRAINS_FIELD_NUMBER: _ClassVar[int]
    NODES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NODES_AFTER_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    check_index: int
    changes: _containers.RepeatedCompositeFieldContainer[ObjectChange]
    keeps_minimum: bool
    deployments: _containers.RepeatedCompositeFieldContainer[DeploymentForecast]
    endpoints: _containers.RepeatedCompositeFieldContainer[EndpointForecast]
    drains: _containers.RepeatedCompositeFieldContainer[DrainForecast]
    nodes_before: NodeTotals
    nodes_after: NodeTotals
    rounds: int
    steps: _containers.RepeatedCompositeFieldContainer[PlannedStep]
    steps_dropped: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    asked: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, check_index: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[ObjectChange, _Mapping]]] = ..., keeps_minimum: bool = ..., deployments: _Optional[_Iterable[_Union[DeploymentForecast, _Mapping]]] = ..., endpoints: _Optional[_Iterable[_Union[EndpointForecast, _Mapping]]] = ..., drains: _Optional[_Iterable[_Union[DrainForecast, _Mapping]]] = ..., nodes_before: _Optional[_Union[NodeTotals, _Mapping]] = ..., nodes_after: _Optional[_Union[NodeTotals, _Mapping]] = ..., rounds: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[PlannedStep, _Mapping]]] = ..., steps_dropped: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ..., asked: _Optional[_Iterable[str]] = ...) -> None: ...

class ObjectChange(_message.Message):
    __slots__ = ("noun", "name", "action", "fields", "needs_new_replicas", "upload_bytes", "revision")
    NOUN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_NEW_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    noun: str
    name: str
    action: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldChange]
    needs_new_replicas: bool
    upload_bytes: int
    revision: int
    def __init__(self, noun: _Optional[str] = ..., name: _Optional[str] = ..., action: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldChange, _Mapping]]] = ..., needs_new_replicas: bool = ..., upload_bytes: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class FieldChange(_message.Message):
    __slots__ = ("field", "old", "new")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OLD_FIELD_NUMBER: _ClassVar[int]
    NEW_FIELD_NUMBER: _ClassVar[int]
    field: str
    old: str
    new: str
    def __init__(self, field: _Optional[str] = ..., old: _Optional[str] = ..., new: _Optional[str] = ...) -> None: ...

class ReplicaCounts(_message.Message):
    __slots__ = ("wanted", "placed", "ready", "updated", "reserve", "held", "minimum")
    WANTED_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    wanted: int
    placed: int
    ready: int
    updated: int
    reserve: int
    held: int
    minimum: int
    def __init__(self, wanted: _Optional[int] = ..., placed: _Optional[int] = ..., ready: _Optional[int] = ..., updated: _Optional[int] = ..., reserve: _Optional[int] = ..., held: _Optional[int] = ..., minimum: _Optional[int] = ...) -> None: ...

class DeploymentForecast(_message.Message):
    __slots__ = ("endpoint", "deployment", "traffic_percent", "before", "after", "lowest_ready", "promised", "below_from", "below_rounds", "fate", "why", "reserve_spent", "verdict")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_PERCENT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LOWEST_READY_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    BELOW_FROM_FIELD_NUMBER: _ClassVar[int]
    BELOW_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SPENT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    traffic_percent: int
    before: ReplicaCounts
    after: ReplicaCounts
    lowest_ready: int
    promised: int
    below_from: int
    below_rounds: int
    fate: str
    why: str
    reserve_spent: _containers.RepeatedScalarFieldContainer[str]
    verdict: _api_pb2.Verdict
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., traffic_percent: _Optional[int] = ..., before: _Optional[_Union[ReplicaCounts, _Mapping]] = ..., after: _Optional[_Union[ReplicaCounts, _Mapping]] = ..., lowest_ready: _Optional[int] = ..., promised: _Optional[int] = ..., below_from: _Optional[int] = ..., below_rounds: _Optional[int] = ..., fate: _Optional[str] = ..., why: _Optional[str] = ..., reserve_spent: _Optional[_Iterable[str]] = ..., verdict: _Optional[_Union[_api_pb2.Verdict, _Mapping]] = ...) -> None: ...

class EndpointForecast(_message.Message):
    __slots__ = ("endpoint", "keeps_minimum", "why")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    KEEPS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    keeps_minimum: bool
    why: str
    def __init__(self, endpoint: _Optional[str] = ..., keeps_minimum: bool = ..., why: _Optional[str] = ...) -> None: ...

class DrainForecast(_message.Message):
    __slots__ = ("node", "empty_in", "replicas_left")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EMPTY_IN_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_LEFT_FIELD_NUMBER: _ClassVar[int]
    node: str
    empty_in: int
    replicas_left: int
    def __init__(self, node: _Optional[str] = ..., empty_in: _Optional[int] = ..., replicas_left: _Optional[int] = ...) -> None: ...

class NodeTotals(_message.Message):
    __slots__ = ("open", "capacity", "held")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    open: int
    capacity: _model_pb2.Resources
    held: _model_pb2.Resources
    def __init__(self, open: _Optional[int] = ..., capacity: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ..., held: _Optional[_Union[_model_pb2.Resources, _Mapping]] = ...) -> None: ...

class PlannedStep(_message.Message):
    __slots__ = ("round", "kind", "endpoint", "deployment", "replica", "node", "reason", "reserve_spent")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SPENT_FIELD_NUMBER: _ClassVar[int]
    round: int
    kind: str
    endpoint: str
    deployment: str
    replica: str
    node: str
    reason: str
    reserve_spent: str
    def __init__(self, round: _Optional[int] = ..., kind: _Optional[str] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., replica: _Optional[str] = ..., node: _Optional[str] = ..., reason: _Optional[str] = ..., reserve_spent: _Optional[str] = ...) -> None: ...
