from berth.api.v1 import mirror_pb2 as _mirror_pb2
from berth.api.v1 import request_pb2 as _request_pb2
from berth.store.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PrefetchState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREFETCH_STATE_UNSPECIFIED: _ClassVar[PrefetchState]
    PREFETCH_STATE_WAITING: _ClassVar[PrefetchState]
    PREFETCH_STATE_FETCHING: _ClassVar[PrefetchState]
    PREFETCH_STATE_CACHED: _ClassVar[PrefetchState]

class Desired(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DESIRED_UNSPECIFIED: _ClassVar[Desired]
    DESIRED_RUN: _ClassVar[Desired]
    DESIRED_DRAIN: _ClassVar[Desired]
    DESIRED_STOP: _ClassVar[Desired]

class LogStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_STREAM_UNSPECIFIED: _ClassVar[LogStream]
    LOG_STREAM_OUTPUT: _ClassVar[LogStream]
    LOG_STREAM_PREPARE: _ClassVar[LogStream]

class RouteRuntime(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_RUNTIME_UNSPECIFIED: _ClassVar[RouteRuntime]
    ROUTE_RUNTIME_PYTHON: _ClassVar[RouteRuntime]
    ROUTE_RUNTIME_ONNX: _ClassVar[RouteRuntime]
    ROUTE_RUNTIME_COMMAND: _ClassVar[RouteRuntime]
PREFETCH_STATE_UNSPECIFIED: PrefetchState
PREFETCH_STATE_WAITING: PrefetchState
PREFETCH_STATE_FETCHING: PrefetchState
PREFETCH_STATE_CACHED: PrefetchState
DESIRED_UNSPECIFIED: Desired
DESIRED_RUN: Desired
DESIRED_DRAIN: Desired
DESIRED_STOP: Desired
LOG_STREAM_UNSPECIFIED: LogStream
LOG_STREAM_OUTPUT: LogStream
LOG_STREAM_PREPARE: LogStream
ROUTE_RUNTIME_UNSPECIFIED: RouteRuntime
ROUTE_RUNTIME_PYTHON: RouteRuntime
ROUTE_RUNTIME_ONNX: RouteRuntime
ROUTE_RUNTIME_COMMAND: RouteRuntime

class FromNode(_message.Message):
    __slots__ = ("hello", "heartbeat", "reports", "log_chunk", "request_found", "mirrors_told")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    LOG_CHUNK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FOUND_FIELD_NUMBER: _ClassVar[int]
    MIRRORS_TOLD_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    reports: ReplicaReports
    log_chunk: LogChunk
    request_found: RequestFound
    mirrors_told: MirrorsTold
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., reports: _Optional[_Union[ReplicaReports, _Mapping]] = ..., log_chunk: _Optional[_Union[LogChunk, _Mapping]] = ..., request_found: _Optional[_Union[RequestFound, _Mapping]] = ..., mirrors_told: _Optional[_Union[MirrorsTold, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("node_id", "profile", "replicas", "term_seen", "revision_seen", "cluster_id", "epoch", "epoch_seen", "takes_over")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TERM_SEEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_SEEN_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_SEEN_FIELD_NUMBER: _ClassVar[int]
    TAKES_OVER_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    profile: _model_pb2.NodeProfile
    replicas: _containers.RepeatedCompositeFieldContainer[_model_pb2.ReplicaReport]
    term_seen: int
    revision_seen: int
    cluster_id: str
    epoch: int
    epoch_seen: int
    takes_over: bool
    def __init__(self, node_id: _Optional[int] = ..., profile: _Optional[_Union[_model_pb2.NodeProfile, _Mapping]] = ..., replicas: _Optional[_Iterable[_Union[_model_pb2.ReplicaReport, _Mapping]]] = ..., term_seen: _Optional[int] = ..., revision_seen: _Optional[int] = ..., cluster_id: _Optional[str] = ..., epoch: _Optional[int] = ..., epoch_seen: _Optional[int] = ..., takes_over: bool = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("epoch", "seq", "acks", "loads", "carried", "usage", "leaving_ms", "devices", "prefetches", "served", "uses", "progress")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    CARRIED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LEAVING_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    PREFETCHES_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    acks: TableAcks
    loads: _containers.RepeatedCompositeFieldContainer[ReplicaLoad]
    carried: _containers.RepeatedScalarFieldContainer[str]
    usage: Usage
    leaving_ms: int
    devices: _containers.RepeatedCompositeFieldContainer[DeviceReport]
    prefetches: _containers.RepeatedCompositeFieldContainer[PrefetchReport]
    served: _containers.RepeatedCompositeFieldContainer[Served]
    uses: _containers.RepeatedCompositeFieldContainer[ReplicaUse]
    progress: _containers.RepeatedCompositeFieldContainer[ReplicaProgress]
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., acks: _Optional[_Union[TableAcks, _Mapping]] = ..., loads: _Optional[_Iterable[_Union[ReplicaLoad, _Mapping]]] = ..., carried: _Optional[_Iterable[str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., leaving_ms: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[DeviceReport, _Mapping]]] = ..., prefetches: _Optional[_Iterable[_Union[PrefetchReport, _Mapping]]] = ..., served: _Optional[_Iterable[_Union[Served, _Mapping]]] = ..., uses: _Optional[_Iterable[_Union[ReplicaUse, _Mapping]]] = ..., progress: _Optional[_Iterable[_Union[ReplicaProgress, _Mapping]]] = ...) -> None: ...

class ReplicaProgress(_message.Message):
    __slots__ = ("replica", "progress")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    replica: int
    progress: PrepareProgress
    def __init__(self, replica: _Optional[int] = ..., progress: _Optional[_Union[PrepareProgress, _Mapping]] = ...) -> None: ...

class PrepareProgress(_message.Message):
    __slots__ = ("what", "detail", "step", "steps", "done", "total", "unit")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    what: str
    detail: str
    step: int
    steps: int
    done: int
    total: int
    unit: str
    def __init__(self, what: _Optional[str] = ..., detail: _Optional[str] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ...) -> None: ...

class Served(_message.Message):
    __slots__ = ("endpoint", "deployment", "requests", "failed", "took", "shed")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TOOK_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    requests: int
    failed: int
    took: _containers.RepeatedScalarFieldContainer[int]
    shed: int
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., requests: _Optional[int] = ..., failed: _Optional[int] = ..., took: _Optional[_Iterable[int]] = ..., shed: _Optional[int] = ...) -> None: ...

class PrefetchReport(_message.Message):
    __slots__ = ("endpoint", "deployment", "generation", "state", "reason", "progress")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    generation: int
    state: PrefetchState
    reason: str
    progress: PrepareProgress
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., generation: _Optional[int] = ..., state: _Optional[_Union[PrefetchState, str]] = ..., reason: _Optional[str] = ..., progress: _Optional[_Union[PrepareProgress, _Mapping]] = ...) -> None: ...

class DeviceReport(_message.Message):
    __slots__ = ("card", "faults", "last_fault", "passing_ms", "silent_ms", "notes", "last_note", "sample")
    CARD_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FAULT_FIELD_NUMBER: _ClassVar[int]
    PASSING_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    LAST_NOTE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    card: str
    faults: int
    last_fault: str
    passing_ms: int
    silent_ms: int
    notes: int
    last_note: str
    sample: DeviceSample
    def __init__(self, card: _Optional[str] = ..., faults: _Optional[int] = ..., last_fault: _Optional[str] = ..., passing_ms: _Optional[int] = ..., silent_ms: _Optional[int] = ..., notes: _Optional[int] = ..., last_note: _Optional[str] = ..., sample: _Optional[_Union[DeviceSample, _Mapping]] = ...) -> None: ...

class DeviceSample(_message.Message):
    __slots__ = ("used_mib", "utilization_percent", "temperature_celsius", "power_milliwatt", "ecc_corrected", "ecc_uncorrected", "processes", "power_limit_milliwatt")
    USED_MIB_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    POWER_MILLIWATT_FIELD_NUMBER: _ClassVar[int]
    ECC_CORRECTED_FIELD_NUMBER: _ClassVar[int]
    ECC_UNCORRECTED_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    POWER_LIMIT_MILLIWATT_FIELD_NUMBER: _ClassVar[int]
    used_mib: int
    utilization_percent: int
    temperature_celsius: int
    power_milliwatt: int
    ecc_corrected: int
    ecc_uncorrected: int
    processes: _containers.RepeatedCompositeFieldContainer[DeviceProcess]
    power_limit_milliwatt: int
    def __init__(self, used_mib: _Optional[int] = ..., utilization_percent: _Optional[int] = ..., temperature_celsius: _Optional[int] = ..., power_milliwatt: _Optional[int] = ..., ecc_corrected: _Optional[int] = ..., ecc_uncorrected: _Optional[int] = ..., processes: _Optional[_Iterable[_Union[DeviceProcess, _Mapping]]] = ..., power_limit_milliwatt: _Optional[int] = ...) -> None: ...

class DeviceProcess(_message.Message):
    __slots__ = ("pid", "used_mib")
    PID_FIELD_NUMBER: _ClassVar[int]
    USED_MIB_FIELD_NUMBER: _ClassVar[int]
    pid: int
    used_mib: int
    def __init__(self, pid: _Optional[int] = ..., used_mib: _Optional[int] = ...) -> None: ...

class TableAcks(_message.Message):
    __slots__ = ("received", "applied", "warm")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    received: int
    applied: int
    warm: int
    def __init__(self, received: _Optional[int] = ..., applied: _Optional[int] = ..., warm: _Optional[int] = ...) -> None: ...

class ReplicaLoad(_message.Message):
    __slots__ = ("replica", "in_flight")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    replica: int
    in_flight: int
    def __init__(self, replica: _Optional[int] = ..., in_flight: _Optional[int] = ...) -> None: ...

class ReplicaUse(_message.Message):
    __slots__ = ("replica", "cpu_milli", "memory_mib", "gpu_milli")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    GPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    replica: int
    cpu_milli: int
    memory_mib: int
    gpu_milli: int
    def __init__(self, replica: _Optional[int] = ..., cpu_milli: _Optional[int] = ..., memory_mib: _Optional[int] = ..., gpu_milli: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("cpu_milli", "memory_mib", "disk_mib")
    CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    DISK_MIB_FIELD_NUMBER: _ClassVar[int]
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    def __init__(self, cpu_milli: _Optional[int] = ..., memory_mib: _Optional[int] = ..., disk_mib: _Optional[int] = ...) -> None: ...

class ReplicaReports(_message.Message):
    __slots__ = ("epoch", "seq", "reports")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    reports: _containers.RepeatedCompositeFieldContainer[_model_pb2.ReplicaReport]
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., reports: _Optional[_Iterable[_Union[_model_pb2.ReplicaReport, _Mapping]]] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("request", "data", "next_offset", "error_code", "error", "end_offset", "times")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    request: int
    data: bytes
    next_offset: int
    error_code: str
    error: str
    end_offset: int
    times: _containers.RepeatedCompositeFieldContainer[LogTime]
    def __init__(self, request: _Optional[int] = ..., data: _Optional[bytes] = ..., next_offset: _Optional[int] = ..., error_code: _Optional[str] = ..., error: _Optional[str] = ..., end_offset: _Optional[int] = ..., times: _Optional[_Iterable[_Union[LogTime, _Mapping]]] = ...) -> None: ...

class LogTime(_message.Message):
    __slots__ = ("until", "at_ms")
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    until: int
    at_ms: int
    def __init__(self, until: _Optional[int] = ..., at_ms: _Optional[int] = ...) -> None: ...

class RequestFound(_message.Message):
    __slots__ = ("question", "report")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    question: int
    report: _request_pb2.RequestReport
    def __init__(self, question: _Optional[int] = ..., report: _Optional[_Union[_request_pb2.RequestReport, _Mapping]] = ...) -> None: ...

class MirrorsTold(_message.Message):
    __slots__ = ("question", "tallies")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    TALLIES_FIELD_NUMBER: _ClassVar[int]
    question: int
    tallies: _containers.RepeatedCompositeFieldContainer[MirrorTally]
    def __init__(self, question: _Optional[int] = ..., tallies: _Optional[_Iterable[_Union[MirrorTally, _Mapping]]] = ...) -> None: ...

class MirrorTally(_message.Message):
    __slots__ = ("mirror", "primary", "mirror_generation", "primary_generation", "rules", "since_ms", "matched", "mismatched", "unjudged", "missed", "primary_took", "mirror_took", "slower_us", "worst")
    class MismatchedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class UnjudgedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class MissedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class PrimaryTookEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    class MirrorTookEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    MIRROR_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_GENERATION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    MISMATCHED_FIELD_NUMBER: _ClassVar[int]
    UNJUDGED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_TOOK_FIELD_NUMBER: _ClassVar[int]
    MIRROR_TOOK_FIELD_NUMBER: _ClassVar[int]
    SLOWER_US_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    mirror: str
    primary: str
    mirror_generation: int
    primary_generation: int
    rules: int
    since_ms: int
    matched: int
    mismatched: _containers.ScalarMap[str, int]
    unjudged: _containers.ScalarMap[str, int]
    missed: _containers.ScalarMap[str, int]
    primary_took: _containers.ScalarMap[int, int]
    mirror_took: _containers.ScalarMap[int, int]
    slower_us: int
    worst: _containers.RepeatedCompositeFieldContainer[_mirror_pb2.MirrorExample]
    def __init__(self, mirror: _Optional[str] = ..., primary: _Optional[str] = ..., mirror_generation: _Optional[int] = ..., primary_generation: _Optional[int] = ..., rules: _Optional[int] = ..., since_ms: _Optional[int] = ..., matched: _Optional[int] = ..., mismatched: _Optional[_Mapping[str, int]] = ..., unjudged: _Optional[_Mapping[str, int]] = ..., missed: _Optional[_Mapping[str, int]] = ..., primary_took: _Optional[_Mapping[int, int]] = ..., mirror_took: _Optional[_Mapping[int, int]] = ..., slower_us: _Optional[int] = ..., worst: _Optional[_Iterable[_Union[_mirror_pb2.MirrorExample, _Mapping]]] = ...) -> None: ...

class ToNode(_message.Message):
    __slots__ = ("welcome", "assignments", "reports_taken", "log_request", "redirect", "refused", "find_request", "tell_mirrors")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_TAKEN_FIELD_NUMBER: _ClassVar[int]
    LOG_REQUEST_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FIND_REQUEST_FIELD_NUMBER: _ClassVar[int]
    TELL_MIRRORS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    assignments: Assignments
    reports_taken: ReportsTaken
    log_request: LogRequest
    redirect: Redirect
    refused: Refused
    find_request: FindRequest
    tell_mirrors: TellMirrors
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., assignments: _Optional[_Union[Assignments, _Mapping]] = ..., reports_taken: _Optional[_Union[ReportsTaken, _Mapping]] = ..., log_request: _Optional[_Union[LogRequest, _Mapping]] = ..., redirect: _Optional[_Union[Redirect, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., find_request: _Optional[_Union[FindRequest, _Mapping]] = ..., tell_mirrors: _Optional[_Union[TellMirrors, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("cluster_id", "term", "epoch", "gate_token", "heartbeat_ms", "coordinators", "node_token")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GATE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    COORDINATORS_FIELD_NUMBER: _ClassVar[int]
    NODE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    term: int
    epoch: int
    gate_token: str
    heartbeat_ms: int
    coordinators: _containers.RepeatedScalarFieldContainer[str]
    node_token: str
    def __init__(self, cluster_id: _Optional[str] = ..., term: _Optional[int] = ..., epoch: _Optional[int] = ..., gate_token: _Optional[str] = ..., heartbeat_ms: _Optional[int] = ..., coordinators: _Optional[_Iterable[str]] = ..., node_token: _Optional[str] = ...) -> None: ...

class Assignments(_message.Message):
    __slots__ = ("term", "epoch", "revision", "replicas", "prefetches")
    TERM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREFETCHES_FIELD_NUMBER: _ClassVar[int]
    term: int
    epoch: int
    revision: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaOrder]
    prefetches: _containers.RepeatedCompositeFieldContainer[PrefetchOrder]
    def __init__(self, term: _Optional[int] = ..., epoch: _Optional[int] = ..., revision: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaOrder, _Mapping]]] = ..., prefetches: _Optional[_Iterable[_Union[PrefetchOrder, _Mapping]]] = ...) -> None: ...

class PrefetchOrder(_message.Message):
    __slots__ = ("endpoint", "deployment", "generation", "spec")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    generation: int
    spec: _model_pb2.DeploymentSpec
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., generation: _Optional[int] = ..., spec: _Optional[_Union[_model_pb2.DeploymentSpec, _Mapping]] = ...) -> None: ...

class ReplicaOrder(_message.Message):
    __slots__ = ("replica", "endpoint", "deployment", "generation", "spec", "devices", "desired", "drain_deadline_ms")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    replica: int
    endpoint: str
    deployment: str
    generation: int
    spec: _model_pb2.DeploymentSpec
    devices: _containers.RepeatedCompositeFieldContainer[_model_pb2.DeviceGrant]
    desired: Desired
    drain_deadline_ms: int
    def __init__(self, replica: _Optional[int] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., generation: _Optional[int] = ..., spec: _Optional[_Union[_model_pb2.DeploymentSpec, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[_model_pb2.DeviceGrant, _Mapping]]] = ..., desired: _Optional[_Union[Desired, str]] = ..., drain_deadline_ms: _Optional[int] = ...) -> None: ...

class ReportsTaken(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("request", "replica", "stream", "tail_lines", "offset", "max_bytes", "since_ms", "within_ms")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TAIL_LINES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    request: int
    replica: int
    stream: LogStream
    tail_lines: int
    offset: int
    max_bytes: int
    since_ms: int
    within_ms: int
    def __init__(self, request: _Optional[int] = ..., replica: _Optional[int] = ..., stream: _Optional[_Union[LogStream, str]] = ..., tail_lines: _Optional[int] = ..., offset: _Optional[int] = ..., max_bytes: _Optional[int] = ..., since_ms: _Optional[int] = ..., within_ms: _Optional[int] = ...) -> None: ...

class FindRequest(_message.Message):
    __slots__ = ("question", "id")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    question: int
    id: str
    def __init__(self, question: _Optional[int] = ..., id: _Optional[str] = ...) -> None: ...

class TellMirrors(_message.Message):
    __slots__ = ("question", "endpoint")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    question: int
    endpoint: str
    def __init__(self, question: _Optional[int] = ..., endpoint: _Optional[str] = ...) -> None: ...

class Redirect(_message.Message):
    __slots__ = ("leader_address",)
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    leader_address: str
    def __init__(self, leader_address: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code", "what", "why")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    code: str
    what: str
    why: str
    def __init__(self, code: _Optional[str] = ..., what: _Optional[str] = ..., why: _Optional[str] = ..., **kwargs) -> None: ...

class WatchTableRequest(_message.Message):
    __slots__ = ("cluster_id", "node_id", "version", "digest")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    node_id: int
    version: int
    digest: bytes
    def __init__(self, cluster_id: _Optional[str] = ..., node_id: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class TableUpdate(_message.Message):
    __slots__ = ("full", "delta", "heartbeat")
    FULL_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    full: TableFull
    delta: TableDelta
    heartbeat: TableHeartbeat
    def __init__(self, full: _Optional[_Union[TableFull, _Mapping]] = ..., delta: _Optional[_Union[TableDelta, _Mapping]] = ..., heartbeat: _Optional[_Union[TableHeartbeat, _Mapping]] = ...) -> None: ...

class TableFull(_message.Message):
    __slots__ = ("table", "digest")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    table: RouteTable
    digest: bytes
    def __init__(self, table: _Optional[_Union[RouteTable, _Mapping]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class TableDelta(_message.Message):
    __slots__ = ("applies_to", "results_in", "changed", "removed", "digest")
    APPLIES_TO_FIELD_NUMBER: _ClassVar[int]
    RESULTS_IN_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    applies_to: int
    results_in: int
    changed: _containers.RepeatedCompositeFieldContainer[EndpointRoute]
    removed: _containers.RepeatedScalarFieldContainer[str]
    digest: bytes
    def __init__(self, applies_to: _Optional[int] = ..., results_in: _Optional[int] = ..., changed: _Optional[_Iterable[_Union[EndpointRoute, _Mapping]]] = ..., removed: _Optional[_Iterable[str]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class TableHeartbeat(_message.Message):
    __slots__ = ("version", "digest", "expected")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: bytes
    expected: _containers.RepeatedCompositeFieldContainer[Expected]
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[bytes] = ..., expected: _Optional[_Iterable[_Union[Expected, _Mapping]]] = ...) -> None: ...

class Expected(_message.Message):
    __slots__ = ("endpoint", "deployment", "within_ms")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    within_ms: int
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., within_ms: _Optional[int] = ...) -> None: ...

class RouteTable(_message.Message):
    __slots__ = ("cluster_id", "version", "endpoints")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    version: int
    endpoints: _containers.RepeatedCompositeFieldContainer[EndpointRoute]
    def __init__(self, cluster_id: _Optional[str] = ..., version: _Optional[int] = ..., endpoints: _Optional[_Iterable[_Union[EndpointRoute, _Mapping]]] = ...) -> None: ...

class EndpointRoute(_message.Message):
    __slots__ = ("name", "revision", "auth_mode", "key_hashes", "max_body_bytes", "idempotent", "split", "mirror", "deployments", "mirror_rules", "hedging", "created_at_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AUTH_MODE_FIELD_NUMBER: _ClassVar[int]
    KEY_HASHES_FIELD_NUMBER: _ClassVar[int]
    MAX_BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    MIRROR_RULES_FIELD_NUMBER: _ClassVar[int]
    HEDGING_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    auth_mode: _model_pb2.AuthMode
    key_hashes: _containers.RepeatedScalarFieldContainer[bytes]
    max_body_bytes: int
    idempotent: bool
    split: _containers.RepeatedCompositeFieldContainer[Share]
    mirror: _containers.RepeatedCompositeFieldContainer[Share]
    deployments: _containers.RepeatedCompositeFieldContainer[DeploymentRoute]
    mirror_rules: _model_pb2.MirrorRules
    hedging: _model_pb2.Hedging
    created_at_ms: int
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., auth_mode: _Optional[_Union[_model_pb2.AuthMode, str]] = ..., key_hashes: _Optional[_Iterable[bytes]] = ..., max_body_bytes: _Optional[int] = ..., idempotent: bool = ..., split: _Optional[_Iterable[_Union[Share, _Mapping]]] = ..., mirror: _Optional[_Iterable[_Union[Share, _Mapping]]] = ..., deployments: _Optional[_Iterable[_Union[DeploymentRoute, _Mapping]]] = ..., mirror_rules: _Optional[_Union[_model_pb2.MirrorRules, _Mapping]] = ..., hedging: _Optional[_Union[_model_pb2.Hedging, _Mapping]] = ..., created_at_ms: _Optional[int] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ("deployment", "percent")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    percent: int
    def __init__(self, deployment: _Optional[str] = ..., percent: _Optional[int] = ...) -> None: ...

class DeploymentRoute(_message.Message):
    __slots__ = ("name", "generation", "runtime", "request_timeout_ms", "max_concurrent_requests_per_instance", "max_queue_wait_ms", "scoring_path", "replicas")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_REQUESTS_PER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    SCORING_PATH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    generation: int
    runtime: RouteRuntime
    request_timeout_ms: int
    max_concurrent_requests_per_instance: int
    max_queue_wait_ms: int
    scoring_path: str
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaRoute]
    def __init__(self, name: _Optional[str] = ..., generation: _Optional[int] = ..., runtime: _Optional[_Union[RouteRuntime, str]] = ..., request_timeout_ms: _Optional[int] = ..., max_concurrent_requests_per_instance: _Optional[int] = ..., max_queue_wait_ms: _Optional[int] = ..., scoring_path: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[ReplicaRoute, _Mapping]]] = ...) -> None: ...

class ReplicaRoute(_message.Message):
    __slots__ = ("id", "node", "epoch", "gate_address", "state", "slots")
    ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GATE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    node: int
    epoch: int
    gate_address: str
    state: _model_pb2.ReplicaState
    slots: int
    def __init__(self, id: _Optional[int] = ..., node: _Optional[int] = ..., epoch: _Optional[int] = ..., gate_address: _Optional[str] = ..., state: _Optional[_Union[_model_pb2.ReplicaState, str]] = ..., slots: _Optional[int] = ...) -> None: ...

class FetchAssetRequest(_message.Message):
    __slots__ = ("digest", "offset")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    offset: int
    def __init__(self, digest: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class AssetChunk(_message.Message):
    __slots__ = ("size_bytes", "data")
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    size_bytes: int
    data: bytes
    def __init__(self, size_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
