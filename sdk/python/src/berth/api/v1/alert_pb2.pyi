from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListAlertsRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class ListAlertsResponse(_message.Message):
    __slots__ = ("alerts", "receivers", "index")
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    RECEIVERS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    alerts: _containers.RepeatedCompositeFieldContainer[AlertStatus]
    receivers: _containers.RepeatedCompositeFieldContainer[AlertReceiver]
    index: int
    def __init__(self, alerts: _Optional[_Iterable[_Union[AlertStatus, _Mapping]]] = ..., receivers: _Optional[_Iterable[_Union[AlertReceiver, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class AlertStatus(_message.Message):
    __slots__ = ("endpoint", "rule", "when", "deployment", "severity", "state", "value", "since_ms", "text", "notify", "told")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    rule: str
    when: str
    deployment: str
    severity: str
    state: str
    value: str
    since_ms: int
    text: str
    notify: _containers.RepeatedScalarFieldContainer[str]
    told: bool
    def __init__(self, endpoint: _Optional[str] = ..., rule: _Optional[str] = ..., when: _Optional[str] = ..., deployment: _Optional[str] = ..., severity: _Optional[str] = ..., state: _Optional[str] = ..., value: _Optional[str] = ..., since_ms: _Optional[int] = ..., text: _Optional[str] = ..., notify: _Optional[_Iterable[str]] = ..., told: bool = ...) -> None: ...

class AlertReceiver(_message.Message):
    __slots__ = ("name", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class TestReceiverRequest(_message.Message):
    __slots__ = ("receiver",)
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    receiver: str
    def __init__(self, receiver: _Optional[str] = ...) -> None: ...

class TestReceiverResponse(_message.Message):
    __slots__ = ("delivered", "why")
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    delivered: bool
    why: str
    def __init__(self, delivered: bool = ..., why: _Optional[str] = ...) -> None: ...
