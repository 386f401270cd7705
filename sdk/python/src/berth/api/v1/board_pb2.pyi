from berth.api.v1 import api_pb2 as _api_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowBoardRequest(_message.Message):
    __slots__ = ("once",)
    ONCE_FIELD_NUMBER: _ClassVar[int]
    once: bool
    def __init__(self, once: bool = ...) -> None: ...

class BoardUpdate(_message.Message):
    __slots__ = ("index", "whole", "more", "info", "members", "endpoints", "deployments", "replicas", "slots", "nodes", "loads", "gone", "newest_point", "point_ms", "cards")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_POINT_FIELD_NUMBER: _ClassVar[int]
    POINT_MS_FIELD_NUMBER: _ClassVar[int]
    CARDS_FIELD_NUMBER: _ClassVar[int]
    index: int
    whole: bool
    more: bool
    info: _api_pb2.ClusterInfo
    members: _api_pb2.ListMembersResponse
    endpoints: _containers.RepeatedCompositeFieldContainer[_api_pb2.Endpoint]
    deployments: _containers.RepeatedCompositeFieldContainer[_api_pb2.Deployment]
    replicas: _containers.RepeatedCompositeFieldContainer[_api_pb2.Replica]
    slots: _containers.RepeatedCompositeFieldContainer[_api_pb2.Slot]
    nodes: _containers.RepeatedCompositeFieldContainer[_api_pb2.Node]
    loads: _containers.RepeatedCompositeFieldContainer[DeploymentLoad]
    gone: _containers.RepeatedCompositeFieldContainer[Gone]
    newest_point: int
    point_ms: int
    cards: _containers.RepeatedCompositeFieldContainer[CardLoad]
    def __init__(self, index: _Optional[int] = ..., whole: bool = ..., more: bool = ..., info: _Optional[_Union[_api_pb2.ClusterInfo, _Mapping]] = ..., members: _Optional[_Union[_api_pb2.ListMembersResponse, _Mapping]] = ..., endpoints: _Optional[_Iterable[_Union[_api_pb2.Endpoint, _Mapping]]] = ..., deployments: _Optional[_Iterable[_Union[_api_pb2.Deployment, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[_api_pb2.Replica, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[_api_pb2.Slot, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[_api_pb2.Node, _Mapping]]] = ..., loads: _Optional[_Iterable[_Union[DeploymentLoad, _Mapping]]] = ..., gone: _Optional[_Iterable[_Union[Gone, _Mapping]]] = ..., newest_point: _Optional[int] = ..., point_ms: _Optional[int] = ..., cards: _Optional[_Iterable[_Union[CardLoad, _Mapping]]] = ...) -> None: ...

class Gone(_message.Message):
    __slots__ = ("endpoint", "deployment", "replica", "slot", "node")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    replica: str
    slot: str
    node: str
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., replica: _Optional[str] = ..., slot: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class DeploymentLoad(_message.Message):
    __slots__ = ("endpoint", "deployment", "points")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    points: _containers.RepeatedCompositeFieldContainer[LoadPoint]
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., points: _Optional[_Iterable[_Union[LoadPoint, _Mapping]]] = ...) -> None: ...

class CardLoad(_message.Message):
    __slots__ = ("node", "uuid", "points")
    NODE_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    node: str
    uuid: str
    points: _containers.RepeatedCompositeFieldContainer[CardPoint]
    def __init__(self, node: _Optional[str] = ..., uuid: _Optional[str] = ..., points: _Optional[_Iterable[_Union[CardPoint, _Mapping]]] = ...) -> None: ...

class CardPoint(_message.Message):
    __slots__ = ("number", "utilization_percent", "used_mib", "temperature_celsius", "power_milliwatt")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    USED_MIB_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    POWER_MILLIWATT_FIELD_NUMBER: _ClassVar[int]
    number: int
    utilization_percent: int
    used_mib: int
    temperature_celsius: int
    power_milliwatt: int
    def __init__(self, number: _Optional[int] = ..., utilization_percent: _Optional[int] = ..., used_mib: _Optional[int] = ..., temperature_celsius: _Optional[int] = ..., power_milliwatt: _Optional[int] = ...) -> None: ...

class LoadPoint(_message.Message):
    __slots__ = ("number", "requests", "failed", "p50_us", "p95_us")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P95_US_FIELD_NUMBER: _ClassVar[int]
    number: int
    requests: int
    failed: int
    p50_us: int
    p95_us: int
    def __init__(self, number: _Optional[int] = ..., requests: _Optional[int] = ..., failed: _Optional[int] = ..., p50_us: _Optional[int] = ..., p95_us: _Optional[int] = ...) -> None: ...
