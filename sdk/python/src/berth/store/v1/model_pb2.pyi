from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTH_MODE_UNSPECIFIED: _ClassVar[AuthMode]
    AUTH_MODE_KEY: _ClassVar[AuthMode]
    AUTH_MODE_NONE: _ClassVar[AuthMode]

class AlertSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_SEVERITY_UNSPECIFIED: _ClassVar[AlertSeverity]
    ALERT_SEVERITY_WARNING: _ClassVar[AlertSeverity]
    ALERT_SEVERITY_CRITICAL: _ClassVar[AlertSeverity]

class AlertState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_STATE_UNSPECIFIED: _ClassVar[AlertState]
    ALERT_STATE_FIRING: _ClassVar[AlertState]
    ALERT_STATE_RESOLVED: _ClassVar[AlertState]

class AssetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSET_KIND_UNSPECIFIED: _ClassVar[AssetKind]
    ASSET_KIND_FILE: _ClassVar[AssetKind]
    ASSET_KIND_FOLDER: _ClassVar[AssetKind]

class ModelType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_TYPE_UNSPECIFIED: _ClassVar[ModelType]
    MODEL_TYPE_CUSTOM_MODEL: _ClassVar[ModelType]
    MODEL_TYPE_MLFLOW_MODEL: _ClassVar[ModelType]
    MODEL_TYPE_TRITON_MODEL: _ClassVar[ModelType]

class SpreadBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPREAD_BY_UNSPECIFIED: _ClassVar[SpreadBy]
    SPREAD_BY_NODE: _ClassVar[SpreadBy]
    SPREAD_BY_RACK: _ClassVar[SpreadBy]
    SPREAD_BY_ZONE: _ClassVar[SpreadBy]
    SPREAD_BY_NONE: _ClassVar[SpreadBy]

class Reconcile(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECONCILE_UNSPECIFIED: _ClassVar[Reconcile]
    RECONCILE_KEEP_SERVING: _ClassVar[Reconcile]
    RECONCILE_KEEP_ORIGINAL: _ClassVar[Reconcile]
    RECONCILE_KEEP_REPLACEMENT: _ClassVar[Reconcile]

class DeviceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_STATE_UNSPECIFIED: _ClassVar[DeviceState]
    DEVICE_STATE_HEALTHY: _ClassVar[DeviceState]
    DEVICE_STATE_UNKNOWN: _ClassVar[DeviceState]
    DEVICE_STATE_PROBATION: _ClassVar[DeviceState]
    DEVICE_STATE_FAILED: _ClassVar[DeviceState]

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNSPECIFIED: _ClassVar[ReplicaState]
    REPLICA_STATE_PLACED: _ClassVar[ReplicaState]
    REPLICA_STATE_PREPARING: _ClassVar[ReplicaState]
    REPLICA_STATE_STARTING: _ClassVar[ReplicaState]
    REPLICA_STATE_WARM: _ClassVar[ReplicaState]
    REPLICA_STATE_SERVING: _ClassVar[ReplicaState]
    REPLICA_STATE_DRAINING: _ClassVar[ReplicaState]
    REPLICA_STATE_STOPPED: _ClassVar[ReplicaState]
    REPLICA_STATE_FAILED: _ClassVar[ReplicaState]

class NodeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_STATE_UNSPECIFIED: _ClassVar[NodeState]
    NODE_STATE_READY: _ClassVar[NodeState]
    NODE_STATE_SUSPECT: _ClassVar[NodeState]
    NODE_STATE_LOST: _ClassVar[NodeState]

class DrainBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAIN_BY_UNSPECIFIED: _ClassVar[DrainBy]
    DRAIN_BY_OPERATOR: _ClassVar[DrainBy]
    DRAIN_BY_AGENT: _ClassVar[DrainBy]
    DRAIN_BY_UPGRADE: _ClassVar[DrainBy]

class Observed(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBSERVED_UNSPECIFIED: _ClassVar[Observed]
    OBSERVED_PREPARING: _ClassVar[Observed]
    OBSERVED_STARTING: _ClassVar[Observed]
    OBSERVED_WARM: _ClassVar[Observed]
    OBSERVED_FAILED: _ClassVar[Observed]
    OBSERVED_GONE: _ClassVar[Observed]
AUTH_MODE_UNSPECIFIED: AuthMode
AUTH_MODE_KEY: AuthMode
AUTH_MODE_NONE: AuthMode
ALERT_SEVERITY_UNSPECIFIED: AlertSeverity
ALERT_SEVERITY_WARNING: AlertSeverity
ALERT_SEVERITY_CRITICAL: AlertSeverity
ALERT_STATE_UNSPECIFIED: AlertState
ALERT_STATE_FIRING: AlertState
ALERT_STATE_RESOLVED: AlertState
ASSET_KIND_UNSPECIFIED: AssetKind
ASSET_KIND_FILE: AssetKind
ASSET_KIND_FOLDER: AssetKind
MODEL_TYPE_UNSPECIFIED: ModelType
MODEL_TYPE_CUSTOM_MODEL: ModelType
MODEL_TYPE_MLFLOW_MODEL: ModelType
MODEL_TYPE_TRITON_MODEL: ModelType
SPREAD_BY_UNSPECIFIED: SpreadBy
SPREAD_BY_NODE: SpreadBy
SPREAD_BY_RACK: SpreadBy
SPREAD_BY_ZONE: SpreadBy
SPREAD_BY_NONE: SpreadBy
RECONCILE_UNSPECIFIED: Reconcile
RECONCILE_KEEP_SERVING: Reconcile
RECONCILE_KEEP_ORIGINAL: Reconcile
RECONCILE_KEEP_REPLACEMENT: Reconcile
DEVICE_STATE_UNSPECIFIED: DeviceState
DEVICE_STATE_HEALTHY: DeviceState
DEVICE_STATE_UNKNOWN: DeviceState
DEVICE_STATE_PROBATION: DeviceState
DEVICE_STATE_FAILED: DeviceState
REPLICA_STATE_UNSPECIFIED: ReplicaState
REPLICA_STATE_PLACED: ReplicaState
REPLICA_STATE_PREPARING: ReplicaState
REPLICA_STATE_STARTING: ReplicaState
REPLICA_STATE_WARM: ReplicaState
REPLICA_STATE_SERVING: ReplicaState
REPLICA_STATE_DRAINING: ReplicaState
REPLICA_STATE_STOPPED: ReplicaState
REPLICA_STATE_FAILED: ReplicaState
NODE_STATE_UNSPECIFIED: NodeState
NODE_STATE_READY: NodeState
NODE_STATE_SUSPECT: NodeState
NODE_STATE_LOST: NodeState
DRAIN_BY_UNSPECIFIED: DrainBy
DRAIN_BY_OPERATOR: DrainBy
DRAIN_BY_AGENT: DrainBy
DRAIN_BY_UPGRADE: DrainBy
OBSERVED_UNSPECIFIED: Observed
OBSERVED_PREPARING: Observed
OBSERVED_STARTING: Observed
OBSERVED_WARM: Observed
OBSERVED_FAILED: Observed
OBSERVED_GONE: Observed

class Resources(_message.Message):
    __slots__ = ("cpu_milli", "memory_mib", "disk_mib", "gpus")
    CPU_MILLI_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    DISK_MIB_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    gpus: int
    def __init__(self, cpu_milli: _Optional[int] = ..., memory_mib: _Optional[int] = ..., disk_mib: _Optional[int] = ..., gpus: _Optional[int] = ...) -> None: ...

class EndpointSpec(_message.Message):
    __slots__ = ("description", "tags", "auth_mode", "max_body_bytes", "idempotent", "mirror_rules", "hedging", "alerts")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    AUTH_MODE_FIELD_NUMBER: _ClassVar[int]
    MAX_BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    MIRROR_RULES_FIELD_NUMBER: _ClassVar[int]
    HEDGING_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    description: str
    tags: _containers.ScalarMap[str, str]
    auth_mode: AuthMode
    max_body_bytes: int
    idempotent: bool
    mirror_rules: MirrorRules
    hedging: Hedging
    alerts: _containers.RepeatedCompositeFieldContainer[AlertRule]
    def __init__(self, description: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., auth_mode: _Optional[_Union[AuthMode, str]] = ..., max_body_bytes: _Optional[int] = ..., idempotent: bool = ..., mirror_rules: _Optional[_Union[MirrorRules, _Mapping]] = ..., hedging: _Optional[_Union[Hedging, _Mapping]] = ..., alerts: _Optional[_Iterable[_Union[AlertRule, _Mapping]]] = ...) -> None: ...

class Hedging(_message.Message):
    __slots__ = ("delay_ms", "percentile_permille", "budget_percent")
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_PERCENT_FIELD_NUMBER: _ClassVar[int]
    delay_ms: int
    percentile_permille: int
    budget_percent: int
    def __init__(self, delay_ms: _Optional[int] = ..., percentile_permille: _Optional[int] = ..., budget_percent: _Optional[int] = ...) -> None: ...

class AlertRule(_message.Message):
    __slots__ = ("name", "when", "deployment", "severity", "notify", "min_requests")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    MIN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    when: str
    deployment: str
    severity: AlertSeverity
    notify: _containers.RepeatedScalarFieldContainer[str]
    min_requests: int
    def __init__(self, name: _Optional[str] = ..., when: _Optional[str] = ..., deployment: _Optional[str] = ..., severity: _Optional[_Union[AlertSeverity, str]] = ..., notify: _Optional[_Iterable[str]] = ..., min_requests: _Optional[int] = ...) -> None: ...

class Alert(_message.Message):
    __slots__ = ("endpoint", "rule", "state", "fired_at_ms", "since_ms", "value", "text", "revision", "told")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FIRED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    rule: AlertRule
    state: AlertState
    fired_at_ms: int
    since_ms: int
    value: int
    text: str
    revision: int
    told: bool
    def __init__(self, endpoint: _Optional[str] = ..., rule: _Optional[_Union[AlertRule, _Mapping]] = ..., state: _Optional[_Union[AlertState, str]] = ..., fired_at_ms: _Optional[int] = ..., since_ms: _Optional[int] = ..., value: _Optional[int] = ..., text: _Optional[str] = ..., revision: _Optional[int] = ..., told: bool = ...) -> None: ...

class MirrorRules(_message.Message):
    __slots__ = ("skip_compare", "rtol_ppb", "atol_ppb", "ignore", "redact", "pinned")
    SKIP_COMPARE_FIELD_NUMBER: _ClassVar[int]
    RTOL_PPB_FIELD_NUMBER: _ClassVar[int]
    ATOL_PPB_FIELD_NUMBER: _ClassVar[int]
    IGNORE_FIELD_NUMBER: _ClassVar[int]
    REDACT_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    skip_compare: bool
    rtol_ppb: int
    atol_ppb: int
    ignore: _containers.RepeatedScalarFieldContainer[str]
    redact: bool
    pinned: bool
    def __init__(self, skip_compare: bool = ..., rtol_ppb: _Optional[int] = ..., atol_ppb: _Optional[int] = ..., ignore: _Optional[_Iterable[str]] = ..., redact: bool = ..., pinned: bool = ...) -> None: ...

class SealedKey(_message.Message):
    __slots__ = ("cluster_key_id", "nonce", "ciphertext", "hash")
    CLUSTER_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    cluster_key_id: int
    nonce: bytes
    ciphertext: bytes
    hash: bytes
    def __init__(self, cluster_key_id: _Optional[int] = ..., nonce: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ..., hash: _Optional[bytes] = ...) -> None: ...

class EndpointKeys(_message.Message):
    __slots__ = ("primary", "secondary")
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    SECONDARY_FIELD_NUMBER: _ClassVar[int]
    primary: SealedKey
    secondary: SealedKey
    def __init__(self, primary: _Optional[_Union[SealedKey, _Mapping]] = ..., secondary: _Optional[_Union[SealedKey, _Mapping]] = ...) -> None: ...

class Traffic(_message.Message):
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

class Endpoint(_message.Message):
    __slots__ = ("name", "project", "spec", "keys", "traffic", "mirror", "created_at_ms", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    project: str
    spec: EndpointSpec
    keys: EndpointKeys
    traffic: Traffic
    mirror: Traffic
    created_at_ms: int
    revision: int
    def __init__(self, name: _Optional[str] = ..., project: _Optional[str] = ..., spec: _Optional[_Union[EndpointSpec, _Mapping]] = ..., keys: _Optional[_Union[EndpointKeys, _Mapping]] = ..., traffic: _Optional[_Union[Traffic, _Mapping]] = ..., mirror: _Optional[_Union[Traffic, _Mapping]] = ..., created_at_ms: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class AssetRef(_message.Message):
    __slots__ = ("digest", "kind", "name", "size_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    kind: AssetKind
    name: str
    size_bytes: int
    def __init__(self, digest: _Optional[bytes] = ..., kind: _Optional[_Union[AssetKind, str]] = ..., name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("digest", "size_bytes", "committed_at_ms", "revision", "holders")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    size_bytes: int
    committed_at_ms: int
    revision: int
    holders: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, digest: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., committed_at_ms: _Optional[int] = ..., revision: _Optional[int] = ..., holders: _Optional[_Iterable[int]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "model_type", "asset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    model_type: ModelType
    asset: AssetRef
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., model_type: _Optional[_Union[ModelType, str]] = ..., asset: _Optional[_Union[AssetRef, _Mapping]] = ...) -> None: ...

class Code(_message.Message):
    __slots__ = ("asset", "scoring_script")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    SCORING_SCRIPT_FIELD_NUMBER: _ClassVar[int]
    asset: AssetRef
    scoring_script: str
    def __init__(self, asset: _Optional[_Union[AssetRef, _Mapping]] = ..., scoring_script: _Optional[str] = ...) -> None: ...

class HttpRoute(_message.Message):
    __slots__ = ("path", "port")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    path: str
    port: int
    def __init__(self, path: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("name", "image", "pip", "liveness_route", "readiness_route", "scoring_route", "python")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PIP_FIELD_NUMBER: _ClassVar[int]
    LIVENESS_ROUTE_FIELD_NUMBER: _ClassVar[int]
    READINESS_ROUTE_FIELD_NUMBER: _ClassVar[int]
    SCORING_ROUTE_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    name: str
    image: str
    pip: _containers.RepeatedScalarFieldContainer[str]
    liveness_route: HttpRoute
    readiness_route: HttpRoute
    scoring_route: HttpRoute
    python: str
    def __init__(self, name: _Optional[str] = ..., image: _Optional[str] = ..., pip: _Optional[_Iterable[str]] = ..., liveness_route: _Optional[_Union[HttpRoute, _Mapping]] = ..., readiness_route: _Optional[_Union[HttpRoute, _Mapping]] = ..., scoring_route: _Optional[_Union[HttpRoute, _Mapping]] = ..., python: _Optional[str] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("python", "onnx", "command")
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    ONNX_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    python: PythonRuntime
    onnx: OnnxRuntime
    command: CommandRuntime
    def __init__(self, python: _Optional[_Union[PythonRuntime, _Mapping]] = ..., onnx: _Optional[_Union[OnnxRuntime, _Mapping]] = ..., command: _Optional[_Union[CommandRuntime, _Mapping]] = ...) -> None: ...

class PythonRuntime(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OnnxRuntime(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CommandRuntime(_message.Message):
    __slots__ = ("argv",)
    ARGV_FIELD_NUMBER: _ClassVar[int]
    argv: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, argv: _Optional[_Iterable[str]] = ...) -> None: ...

class GpuAsk(_message.Message):
    __slots__ = ("whole", "memory", "mig")
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MIG_FIELD_NUMBER: _ClassVar[int]
    whole: WholeGpus
    memory: GpuMemory
    mig: MigSlices
    def __init__(self, whole: _Optional[_Union[WholeGpus, _Mapping]] = ..., memory: _Optional[_Union[GpuMemory, _Mapping]] = ..., mig: _Optional[_Union[MigSlices, _Mapping]] = ...) -> None: ...

class WholeGpus(_message.Message):
    __slots__ = ("count", "model", "memory_mib_min")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_MIN_FIELD_NUMBER: _ClassVar[int]
    count: int
    model: str
    memory_mib_min: int
    def __init__(self, count: _Optional[int] = ..., model: _Optional[str] = ..., memory_mib_min: _Optional[int] = ...) -> None: ...

class GpuMemory(_message.Message):
    __slots__ = ("mib", "model")
    MIB_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    mib: int
    model: str
    def __init__(self, mib: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class MigSlices(_message.Message):
    __slots__ = ("profile", "count")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    profile: str
    count: int
    def __init__(self, profile: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class RequestSettings(_message.Message):
    __slots__ = ("request_timeout_ms", "max_concurrent_requests_per_instance", "max_queue_wait_ms")
    REQUEST_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_REQUESTS_PER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    request_timeout_ms: int
    max_concurrent_requests_per_instance: int
    max_queue_wait_ms: int
    def __init__(self, request_timeout_ms: _Optional[int] = ..., max_concurrent_requests_per_instance: _Optional[int] = ..., max_queue_wait_ms: _Optional[int] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("initial_delay_ms", "period_ms", "timeout_ms", "success_threshold", "failure_threshold")
    INITIAL_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_MS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FAILURE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    initial_delay_ms: int
    period_ms: int
    timeout_ms: int
    success_threshold: int
    failure_threshold: int
    def __init__(self, initial_delay_ms: _Optional[int] = ..., period_ms: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., success_threshold: _Optional[int] = ..., failure_threshold: _Optional[int] = ...) -> None: ...

class DeploymentSpec(_message.Message):
    __slots__ = ("description", "tags", "runtime", "model", "model_mount_path", "code", "environment", "environment_variables", "instance_type", "resources", "gpu", "instance_count", "request_settings", "liveness_probe", "readiness_probe", "reserve", "disconnect", "priority", "min_instances", "spread", "label_rules")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class EnvironmentVariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelRulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: LabelRule
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[LabelRule, _Mapping]] = ...) -> None: ...
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_MOUNT_PATH_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_VARIABLES_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    LIVENESS_PROBE_FIELD_NUMBER: _ClassVar[int]
    READINESS_PROBE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    LABEL_RULES_FIELD_NUMBER: _ClassVar[int]
    description: str
    tags: _containers.ScalarMap[str, str]
    runtime: Runtime
    model: Model
    model_mount_path: str
    code: Code
    environment: Environment
    environment_variables: _containers.ScalarMap[str, str]
    instance_type: str
    resources: Resources
    gpu: GpuAsk
    instance_count: int
    request_settings: RequestSettings
    liveness_probe: Probe
    readiness_probe: Probe
    reserve: bool
    disconnect: Disconnect
    priority: int
    min_instances: int
    spread: Spread
    label_rules: _containers.MessageMap[str, LabelRule]
    def __init__(self, description: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., runtime: _Optional[_Union[Runtime, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., model_mount_path: _Optional[str] = ..., code: _Optional[_Union[Code, _Mapping]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., environment_variables: _Optional[_Mapping[str, str]] = ..., instance_type: _Optional[str] = ..., resources: _Optional[_Union[Resources, _Mapping]] = ..., gpu: _Optional[_Union[GpuAsk, _Mapping]] = ..., instance_count: _Optional[int] = ..., request_settings: _Optional[_Union[RequestSettings, _Mapping]] = ..., liveness_probe: _Optional[_Union[Probe, _Mapping]] = ..., readiness_probe: _Optional[_Union[Probe, _Mapping]] = ..., reserve: bool = ..., disconnect: _Optional[_Union[Disconnect, _Mapping]] = ..., priority: _Optional[int] = ..., min_instances: _Optional[int] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ..., label_rules: _Optional[_Mapping[str, LabelRule]] = ...) -> None: ...

class LabelRule(_message.Message):
    __slots__ = ("values",)
    NOT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ..., **kwargs) -> None: ...

class Spread(_message.Message):
    __slots__ = ("by", "max_per_domain")
    BY_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    by: SpreadBy
    max_per_domain: int
    def __init__(self, by: _Optional[_Union[SpreadBy, str]] = ..., max_per_domain: _Optional[int] = ...) -> None: ...

class Disconnect(_message.Message):
    __slots__ = ("lost_after_ms", "replace", "stop_on_client_after_ms", "reconcile")
    LOST_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    STOP_ON_CLIENT_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_FIELD_NUMBER: _ClassVar[int]
    lost_after_ms: int
    replace: bool
    stop_on_client_after_ms: int
    reconcile: Reconcile
    def __init__(self, lost_after_ms: _Optional[int] = ..., replace: bool = ..., stop_on_client_after_ms: _Optional[int] = ..., reconcile: _Optional[_Union[Reconcile, str]] = ...) -> None: ...

class OldSpec(_message.Message):
    __slots__ = ("generation", "spec", "began_ms")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    BEGAN_MS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    spec: DeploymentSpec
    began_ms: int
    def __init__(self, generation: _Optional[int] = ..., spec: _Optional[_Union[DeploymentSpec, _Mapping]] = ..., began_ms: _Optional[int] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("endpoint", "name", "spec", "generation", "old_specs", "created_at_ms", "generation_at_ms", "deleting", "failures", "last_failure", "retry_at_ms", "served_generation", "room_made_for", "stand_in_failures", "stand_in_retry_at_ms", "revision", "last_failed", "reserve_short_since_ms", "yielded", "paused", "started_in_ms")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OLD_SPECS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DELETING_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOM_MADE_FOR_FIELD_NUMBER: _ClassVar[int]
    STAND_IN_FAILURES_FIELD_NUMBER: _ClassVar[int]
    STAND_IN_RETRY_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILED_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SHORT_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    YIELDED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    STARTED_IN_MS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    name: str
    spec: DeploymentSpec
    generation: int
    old_specs: _containers.RepeatedCompositeFieldContainer[OldSpec]
    created_at_ms: int
    generation_at_ms: int
    deleting: bool
    failures: int
    last_failure: str
    retry_at_ms: int
    served_generation: int
    room_made_for: int
    stand_in_failures: int
    stand_in_retry_at_ms: int
    revision: int
    last_failed: FailedReplica
    reserve_short_since_ms: int
    yielded: _containers.RepeatedCompositeFieldContainer[Yielded]
    paused: bool
    started_in_ms: int
    def __init__(self, endpoint: _Optional[str] = ..., name: _Optional[str] = ..., spec: _Optional[_Union[DeploymentSpec, _Mapping]] = ..., generation: _Optional[int] = ..., old_specs: _Optional[_Iterable[_Union[OldSpec, _Mapping]]] = ..., created_at_ms: _Optional[int] = ..., generation_at_ms: _Optional[int] = ..., deleting: bool = ..., failures: _Optional[int] = ..., last_failure: _Optional[str] = ..., retry_at_ms: _Optional[int] = ..., served_generation: _Optional[int] = ..., room_made_for: _Optional[int] = ..., stand_in_failures: _Optional[int] = ..., stand_in_retry_at_ms: _Optional[int] = ..., revision: _Optional[int] = ..., last_failed: _Optional[_Union[FailedReplica, _Mapping]] = ..., reserve_short_since_ms: _Optional[int] = ..., yielded: _Optional[_Iterable[_Union[Yielded, _Mapping]]] = ..., paused: bool = ..., started_in_ms: _Optional[int] = ...) -> None: ...

class Yielded(_message.Message):
    __slots__ = ("endpoint", "deployment", "count")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    count: int
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class DeploymentRef(_message.Message):
    __slots__ = ("endpoint", "deployment")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    deployment: str
    def __init__(self, endpoint: _Optional[str] = ..., deployment: _Optional[str] = ...) -> None: ...

class FailedReplica(_message.Message):
    __slots__ = ("replica", "node")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    replica: int
    node: int
    def __init__(self, replica: _Optional[int] = ..., node: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("uuid", "model", "memory_mib", "mig_profile", "healthy", "card", "driver", "simulated")
    UUID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    MIG_PROFILE_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    model: str
    memory_mib: int
    mig_profile: str
    healthy: bool
    card: str
    driver: str
    simulated: bool
    def __init__(self, uuid: _Optional[str] = ..., model: _Optional[str] = ..., memory_mib: _Optional[int] = ..., mig_profile: _Optional[str] = ..., healthy: bool = ..., card: _Optional[str] = ..., driver: _Optional[str] = ..., simulated: bool = ...) -> None: ...

class DeviceCondition(_message.Message):
    __slots__ = ("state", "reason", "since_ms", "strikes", "epoch", "faults")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    STRIKES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    state: DeviceState
    reason: str
    since_ms: int
    strikes: int
    epoch: int
    faults: int
    def __init__(self, state: _Optional[_Union[DeviceState, str]] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., strikes: _Optional[int] = ..., epoch: _Optional[int] = ..., faults: _Optional[int] = ...) -> None: ...

class DeviceGrant(_message.Message):
    __slots__ = ("uuid", "memory_mib")
    UUID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    memory_mib: int
    def __init__(self, uuid: _Optional[str] = ..., memory_mib: _Optional[int] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("id", "endpoint", "deployment", "generation", "node", "resources", "devices", "state", "reason", "lost", "restarts", "pid", "address", "placed_at_ms", "since_ms", "drain_deadline_ms", "revision", "retry_at_ms", "replaces", "reserve_spent", "made_room_for")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PLACED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SPENT_FIELD_NUMBER: _ClassVar[int]
    MADE_ROOM_FOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    endpoint: str
    deployment: str
    generation: int
    node: int
    resources: Resources
    devices: _containers.RepeatedCompositeFieldContainer[DeviceGrant]
    state: ReplicaState
    reason: str
    lost: bool
    restarts: int
    pid: int
    address: str
    placed_at_ms: int
    since_ms: int
    drain_deadline_ms: int
    revision: int
    retry_at_ms: int
    replaces: int
    reserve_spent: ReserveSpend
    made_room_for: DeploymentRef
    def __init__(self, id: _Optional[int] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., generation: _Optional[int] = ..., node: _Optional[int] = ..., resources: _Optional[_Union[Resources, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[DeviceGrant, _Mapping]]] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., reason: _Optional[str] = ..., lost: bool = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., address: _Optional[str] = ..., placed_at_ms: _Optional[int] = ..., since_ms: _Optional[int] = ..., drain_deadline_ms: _Optional[int] = ..., revision: _Optional[int] = ..., retry_at_ms: _Optional[int] = ..., replaces: _Optional[int] = ..., reserve_spent: _Optional[_Union[ReserveSpend, _Mapping]] = ..., made_room_for: _Optional[_Union[DeploymentRef, _Mapping]] = ...) -> None: ...

class ReserveSlot(_message.Message):
    __slots__ = ("id", "endpoint", "deployment", "node", "resources", "devices", "reason", "since_ms", "revision")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: int
    endpoint: str
    deployment: str
    node: int
    resources: Resources
    devices: _containers.RepeatedCompositeFieldContainer[DeviceGrant]
    reason: str
    since_ms: int
    revision: int
    def __init__(self, id: _Optional[int] = ..., endpoint: _Optional[str] = ..., deployment: _Optional[str] = ..., node: _Optional[int] = ..., resources: _Optional[_Union[Resources, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[DeviceGrant, _Mapping]]] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class ReserveSpend(_message.Message):
    __slots__ = ("slot", "rolling_update", "recovery", "drain", "agent_upgrade")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    ROLLING_UPDATE_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    AGENT_UPGRADE_FIELD_NUMBER: _ClassVar[int]
    slot: int
    rolling_update: int
    recovery: str
    drain: str
    agent_upgrade: str
    def __init__(self, slot: _Optional[int] = ..., rolling_update: _Optional[int] = ..., recovery: _Optional[str] = ..., drain: _Optional[str] = ..., agent_upgrade: _Optional[str] = ...) -> None: ...

class NodeDrain(_message.Message):
    __slots__ = ("reason", "started_at_ms", "deadline_ms", "force", "by", "finished_at_ms", "moved", "cut_requests")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    CUT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    started_at_ms: int
    deadline_ms: int
    force: bool
    by: DrainBy
    finished_at_ms: int
    moved: int
    cut_requests: int
    def __init__(self, reason: _Optional[str] = ..., started_at_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., force: bool = ..., by: _Optional[_Union[DrainBy, str]] = ..., finished_at_ms: _Optional[int] = ..., moved: _Optional[int] = ..., cut_requests: _Optional[int] = ...) -> None: ...

class NodeProfile(_message.Message):
    __slots__ = ("name", "labels", "capacity", "devices", "gate_address", "ingress_address", "is_virtual", "version")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    GATE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INGRESS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    IS_VIRTUAL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.ScalarMap[str, str]
    capacity: Resources
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    gate_address: str
    ingress_address: str
    is_virtual: bool
    version: str
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., capacity: _Optional[_Union[Resources, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., gate_address: _Optional[str] = ..., ingress_address: _Optional[str] = ..., is_virtual: bool = ..., version: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "epoch", "profile", "state", "cordoned", "reason", "since_ms", "revision", "drain", "returns", "returned_at_ms", "overfull", "devices")
    class DevicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DeviceCondition
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DeviceCondition, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    RETURNED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    OVERFULL_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    id: int
    epoch: int
    profile: NodeProfile
    state: NodeState
    cordoned: bool
    reason: str
    since_ms: int
    revision: int
    drain: NodeDrain
    returns: int
    returned_at_ms: int
    overfull: bool
    devices: _containers.MessageMap[str, DeviceCondition]
    def __init__(self, id: _Optional[int] = ..., epoch: _Optional[int] = ..., profile: _Optional[_Union[NodeProfile, _Mapping]] = ..., state: _Optional[_Union[NodeState, str]] = ..., cordoned: bool = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., revision: _Optional[int] = ..., drain: _Optional[_Union[NodeDrain, _Mapping]] = ..., returns: _Optional[int] = ..., returned_at_ms: _Optional[int] = ..., overfull: bool = ..., devices: _Optional[_Mapping[str, DeviceCondition]] = ...) -> None: ...

class Quotas(_message.Message):
    __slots__ = ("projects", "pool_milli", "loans", "pool_revision")
    class PoolMilliEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    POOL_MILLI_FIELD_NUMBER: _ClassVar[int]
    LOANS_FIELD_NUMBER: _ClassVar[int]
    POOL_REVISION_FIELD_NUMBER: _ClassVar[int]
    projects: _containers.RepeatedCompositeFieldContainer[ProjectQuota]
    pool_milli: _containers.ScalarMap[str, int]
    loans: _containers.RepeatedCompositeFieldContainer[Loan]
    pool_revision: int
    def __init__(self, projects: _Optional[_Iterable[_Union[ProjectQuota, _Mapping]]] = ..., pool_milli: _Optional[_Mapping[str, int]] = ..., loans: _Optional[_Iterable[_Union[Loan, _Mapping]]] = ..., pool_revision: _Optional[int] = ...) -> None: ...

class ProjectQuota(_message.Message):
    __slots__ = ("project", "limits_milli", "over_since_ms", "revision")
    class LimitsMilliEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class OverSinceMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_MILLI_FIELD_NUMBER: _ClassVar[int]
    OVER_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    project: str
    limits_milli: _containers.ScalarMap[str, int]
    over_since_ms: _containers.ScalarMap[str, int]
    revision: int
    def __init__(self, project: _Optional[str] = ..., limits_milli: _Optional[_Mapping[str, int]] = ..., over_since_ms: _Optional[_Mapping[str, int]] = ..., revision: _Optional[int] = ...) -> None: ...

class Loan(_message.Message):
    __slots__ = ("id", "project", "family", "milli", "lent_at_ms", "expires_at_ms", "revision")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    MILLI_FIELD_NUMBER: _ClassVar[int]
    LENT_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: int
    project: str
    family: str
    milli: int
    lent_at_ms: int
    expires_at_ms: int
    revision: int
    def __init__(self, id: _Optional[int] = ..., project: _Optional[str] = ..., family: _Optional[str] = ..., milli: _Optional[int] = ..., lent_at_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class UpgradeLock(_message.Message):
    __slots__ = ("holder", "taken_at_ms", "expires_at_ms")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    TAKEN_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    holder: str
    taken_at_ms: int
    expires_at_ms: int
    def __init__(self, holder: _Optional[str] = ..., taken_at_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class Settings(_message.Message):
    __slots__ = ("suspect_after_ms", "lost_after_ms", "restart_grace_ms", "brake_percent", "brake_floor", "brake_window_ms", "revision", "device_silent_ms", "device_probation_ms", "device_strikes_max", "device_failed_ms", "returns_free", "returns_window_ms", "return_hold_ms", "return_hold_max_ms")
    SUSPECT_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    LOST_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    RESTART_GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    BRAKE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    BRAKE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    BRAKE_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PROBATION_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STRIKES_MAX_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FAILED_MS_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FREE_FIELD_NUMBER: _ClassVar[int]
    RETURNS_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    RETURN_HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    RETURN_HOLD_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    suspect_after_ms: int
    lost_after_ms: int
    restart_grace_ms: int
    brake_percent: int
    brake_floor: int
    brake_window_ms: int
    revision: int
    device_silent_ms: int
    device_probation_ms: int
    device_strikes_max: int
    device_failed_ms: int
    returns_free: int
    returns_window_ms: int
    return_hold_ms: int
    return_hold_max_ms: int
    def __init__(self, suspect_after_ms: _Optional[int] = ..., lost_after_ms: _Optional[int] = ..., restart_grace_ms: _Optional[int] = ..., brake_percent: _Optional[int] = ..., brake_floor: _Optional[int] = ..., brake_window_ms: _Optional[int] = ..., revision: _Optional[int] = ..., device_silent_ms: _Optional[int] = ..., device_probation_ms: _Optional[int] = ..., device_strikes_max: _Optional[int] = ..., device_failed_ms: _Optional[int] = ..., returns_free: _Optional[int] = ..., returns_window_ms: _Optional[int] = ..., return_hold_ms: _Optional[int] = ..., return_hold_max_ms: _Optional[int] = ...) -> None: ...

class SettingsChange(_message.Message):
    __slots__ = ("suspect_after_ms", "lost_after_ms", "restart_grace_ms", "brake_percent", "brake_floor", "brake_window_ms", "reset", "device_silent_ms", "device_probation_ms", "device_strikes_max", "device_failed_ms", "returns_free", "returns_window_ms", "return_hold_ms", "return_hold_max_ms")
    SUSPECT_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    LOST_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    RESTART_GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    BRAKE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    BRAKE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    BRAKE_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PROBATION_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STRIKES_MAX_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FAILED_MS_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FREE_FIELD_NUMBER: _ClassVar[int]
    RETURNS_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    RETURN_HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    RETURN_HOLD_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    suspect_after_ms: int
    lost_after_ms: int
    restart_grace_ms: int
    brake_percent: int
    brake_floor: int
    brake_window_ms: int
    reset: bool
    device_silent_ms: int
    device_probation_ms: int
    device_strikes_max: int
    device_failed_ms: int
    returns_free: int
    returns_window_ms: int
    return_hold_ms: int
    return_hold_max_ms: int
    def __init__(self, suspect_after_ms: _Optional[int] = ..., lost_after_ms: _Optional[int] = ..., restart_grace_ms: _Optional[int] = ..., brake_percent: _Optional[int] = ..., brake_floor: _Optional[int] = ..., brake_window_ms: _Optional[int] = ..., reset: bool = ..., device_silent_ms: _Optional[int] = ..., device_probation_ms: _Optional[int] = ..., device_strikes_max: _Optional[int] = ..., device_failed_ms: _Optional[int] = ..., returns_free: _Optional[int] = ..., returns_window_ms: _Optional[int] = ..., return_hold_ms: _Optional[int] = ..., return_hold_max_ms: _Optional[int] = ...) -> None: ...

class ReplicaReport(_message.Message):
    __slots__ = ("replica", "observed", "reason", "permanent", "restarts", "pid", "address", "retry_in_ms")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RETRY_IN_MS_FIELD_NUMBER: _ClassVar[int]
    replica: int
    observed: Observed
    reason: str
    permanent: bool
    restarts: int
    pid: int
    address: str
    retry_in_ms: int
    def __init__(self, replica: _Optional[int] = ..., observed: _Optional[_Union[Observed, str]] = ..., reason: _Optional[str] = ..., permanent: bool = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., address: _Optional[str] = ..., retry_in_ms: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
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
