from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequestRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RequestReport(_message.Message):
    __slots__ = ("id", "client_request_id", "node", "begun_ms", "method", "path", "protocol", "user_agent", "endpoint", "deployment", "table_version", "chosen_by", "share_percent", "ticket", "candidates", "drawn", "attempts", "attempt_count", "mirrors", "status", "model_status", "refusal_code", "refusal", "gate_reason", "request_bytes", "response_bytes", "head_us", "total_us", "end", "mirror_verdicts", "replay", "grpc_status")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_MS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_BY_FIELD_NUMBER: _ClassVar[int]
    SHARE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIRRORS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_STATUS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_CODE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    GATE_REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAD_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MIRROR_VERDICTS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    GRPC_STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    client_request_id: str
    node: str
    begun_ms: int
    method: str
    path: str
    protocol: str
    user_agent: str
    endpoint: str
    deployment: str
    table_version: int
    chosen_by: str
    share_percent: int
    ticket: int
    candidates: int
    drawn: _containers.RepeatedCompositeFieldContainer[DrawnReplica]
    attempts: _containers.RepeatedCompositeFieldContainer[RequestAttempt]
    attempt_count: int
    mirrors: _containers.RepeatedScalarFieldContainer[str]
    status: int
    model_status: int
    refusal_code: str
    refusal: str
    gate_reason: str
    request_bytes: int
    response_bytes: int
    head_us: int
    total_us: int
    end: str
    mirror_verdicts: _containers.RepeatedScalarFieldContainer[str]
    replay: str
    grpc_status: int
    def __init__(self, id: _Optional[str] = ..., client_request_id: _Optional[str] = ..., node: _Optional[str] = ..., begun_ms: _Optional[int] = ..., method: _Optional[str] = ..., path: _Optional[str] = ..., protocol: _Optional[str] = ..., user_agent: _Optional[str] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., table_version: _Optional[int] = ..., chosen_by: _Optional[str] = ..., share_percent: _Optional[int] = ..., ticket: _Optional[int] = ..., candidates: _Optional[int] = ..., drawn: _Optional[_Iterable[_Union[DrawnReplica, _Mapping]]] = ..., attempts: _Optional[_Iterable[_Union[RequestAttempt, _Mapping]]] = ..., attempt_count: _Optional[int] = ..., mirrors: _Optional[_Iterable[str]] = ..., status: _Optional[int] = ..., model_status: _Optional[int] = ..., refusal_code: _Optional[str] = ..., refusal: _Optional[str] = ..., gate_reason: _Optional[str] = ..., request_bytes: _Optional[int] = ..., response_bytes: _Optional[int] = ..., head_us: _Optional[int] = ..., total_us: _Optional[int] = ..., end: _Optional[str] = ..., mirror_verdicts: _Optional[_Iterable[str]] = ..., replay: _Optional[str] = ..., grpc_status: _Optional[int] = ...) -> None: ...

class DrawnReplica(_message.Message):
    __slots__ = ("replica", "outstanding", "capacity_milli", "latency_us", "remote")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_MILLI_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    replica: str
    outstanding: int
    capacity_milli: int
    latency_us: int
    remote: bool
    def __init__(self, replica: _Optional[str] = ..., outstanding: _Optional[int] = ..., capacity_milli: _Optional[int] = ..., latency_us: _Optional[int] = ..., remote: bool = ...) -> None: ...

class RequestAttempt(_message.Message):
    __slots__ = ("replica", "after_us", "took_us", "queued_ms", "status", "failure", "hedge")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    AFTER_US_FIELD_NUMBER: _ClassVar[int]
    TOOK_US_FIELD_NUMBER: _ClassVar[int]
    QUEUED_MS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    HEDGE_FIELD_NUMBER: _ClassVar[int]
    replica: str
    after_us: int
    took_us: int
    queued_ms: int
    status: int
    failure: str
    hedge: bool
    def __init__(self, replica: _Optional[str] = ..., after_us: _Optional[int] = ..., took_us: _Optional[int] = ..., queued_ms: _Optional[int] = ..., status: _Optional[int] = ..., failure: _Optional[str] = ..., hedge: bool = ...) -> None: ...
