from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MirrorReportRequest(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    def __init__(self, endpoint: _Optional[str] = ...) -> None: ...

class MirrorReport(_message.Message):
    __slots__ = ("endpoint", "mirrors", "nodes_heard", "nodes")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    MIRRORS_FIELD_NUMBER: _ClassVar[int]
    NODES_HEARD_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    mirrors: _containers.RepeatedCompositeFieldContainer[MirrorVerdict]
    nodes_heard: int
    nodes: int
    def __init__(self, endpoint: _Optional[str] = ..., mirrors: _Optional[_Iterable[_Union[MirrorVerdict, _Mapping]]] = ..., nodes_heard: _Optional[int] = ..., nodes: _Optional[int] = ...) -> None: ...

class MirrorVerdict(_message.Message):
    __slots__ = ("mirror", "primary", "mirror_generation", "primary_generation", "since_ms", "copies", "judged", "matched", "match_percent", "mismatched", "unjudged", "missed", "primary_latency", "mirror_latency", "mean_slower_us", "worst")
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
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    MIRROR_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_GENERATION_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    MATCH_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MISMATCHED_FIELD_NUMBER: _ClassVar[int]
    UNJUDGED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_LATENCY_FIELD_NUMBER: _ClassVar[int]
    MIRROR_LATENCY_FIELD_NUMBER: _ClassVar[int]
    MEAN_SLOWER_US_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    mirror: str
    primary: str
    mirror_generation: int
    primary_generation: int
    since_ms: int
    copies: int
    judged: int
    matched: int
    match_percent: float
    mismatched: _containers.ScalarMap[str, int]
    unjudged: _containers.ScalarMap[str, int]
    missed: _containers.ScalarMap[str, int]
    primary_latency: MirrorLatency
    mirror_latency: MirrorLatency
    mean_slower_us: int
    worst: _containers.RepeatedCompositeFieldContainer[MirrorExample]
    def __init__(self, mirror: _Optional[str] = ..., primary: _Optional[str] = ..., mirror_generation: _Optional[int] = ..., primary_generation: _Optional[int] = ..., since_ms: _Optional[int] = ..., copies: _Optional[int] = ..., judged: _Optional[int] = ..., matched: _Optional[int] = ..., match_percent: _Optional[float] = ..., mismatched: _Optional[_Mapping[str, int]] = ..., unjudged: _Optional[_Mapping[str, int]] = ..., missed: _Optional[_Mapping[str, int]] = ..., primary_latency: _Optional[_Union[MirrorLatency, _Mapping]] = ..., mirror_latency: _Optional[_Union[MirrorLatency, _Mapping]] = ..., mean_slower_us: _Optional[int] = ..., worst: _Optional[_Iterable[_Union[MirrorExample, _Mapping]]] = ...) -> None: ...

class MirrorLatency(_message.Message):
    __slots__ = ("p50_us", "p90_us", "p99_us")
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P90_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    p50_us: int
    p90_us: int
    p99_us: int
    def __init__(self, p50_us: _Optional[int] = ..., p90_us: _Optional[int] = ..., p99_us: _Optional[int] = ...) -> None: ...

class MirrorExample(_message.Message):
    __slots__ = ("request_id", "at_ms", "kind", "place", "expected", "got", "off_ppb", "places")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    OFF_PPB_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    at_ms: int
    kind: str
    place: str
    expected: str
    got: str
    off_ppb: int
    places: int
    def __init__(self, request_id: _Optional[str] = ..., at_ms: _Optional[int] = ..., kind: _Optional[str] = ..., place: _Optional[str] = ..., expected: _Optional[str] = ..., got: _Optional[str] = ..., off_ppb: _Optional[int] = ..., places: _Optional[int] = ...) -> None: ...
