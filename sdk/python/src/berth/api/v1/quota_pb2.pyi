from berth.api.v1 import api_pb2 as _api_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShowQuotaRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class SetQuotaRequest(_message.Message):
    __slots__ = ("request_id", "project", "limits_milli", "unlimited", "if_revision")
    class LimitsMilliEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_MILLI_FIELD_NUMBER: _ClassVar[int]
    UNLIMITED_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    project: str
    limits_milli: _containers.ScalarMap[str, int]
    unlimited: _containers.RepeatedScalarFieldContainer[str]
    if_revision: int
    def __init__(self, request_id: _Optional[str] = ..., project: _Optional[str] = ..., limits_milli: _Optional[_Mapping[str, int]] = ..., unlimited: _Optional[_Iterable[str]] = ..., if_revision: _Optional[int] = ...) -> None: ...

class LendQuotaRequest(_message.Message):
    __slots__ = ("request_id", "project", "family", "milli", "within_ms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    MILLI_FIELD_NUMBER: _ClassVar[int]
    WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    project: str
    family: str
    milli: int
    within_ms: int
    def __init__(self, request_id: _Optional[str] = ..., project: _Optional[str] = ..., family: _Optional[str] = ..., milli: _Optional[int] = ..., within_ms: _Optional[int] = ...) -> None: ...

class ReturnLoanRequest(_message.Message):
    __slots__ = ("request_id", "loan")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LOAN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    loan: str
    def __init__(self, request_id: _Optional[str] = ..., loan: _Optional[str] = ...) -> None: ...

class QuotaReport(_message.Message):
    __slots__ = ("quotas", "pool", "loans", "index")
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    LOANS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    pool: _containers.RepeatedCompositeFieldContainer[Pool]
    loans: _containers.RepeatedCompositeFieldContainer[Loan]
    index: int
    def __init__(self, quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., pool: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., loans: _Optional[_Iterable[_Union[Loan, _Mapping]]] = ..., index: _Optional[int] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("project", "family", "unit", "used_milli", "reserve_milli", "limit_milli", "lent_milli", "free_milli", "over_milli", "over_since_ms", "revision")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    USED_MILLI_FIELD_NUMBER: _ClassVar[int]
    RESERVE_MILLI_FIELD_NUMBER: _ClassVar[int]
    LIMIT_MILLI_FIELD_NUMBER: _ClassVar[int]
    LENT_MILLI_FIELD_NUMBER: _ClassVar[int]
    FREE_MILLI_FIELD_NUMBER: _ClassVar[int]
    OVER_MILLI_FIELD_NUMBER: _ClassVar[int]
    OVER_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    project: str
    family: str
    unit: str
    used_milli: int
    reserve_milli: int
    limit_milli: int
    lent_milli: int
    free_milli: int
    over_milli: int
    over_since_ms: int
    revision: int
    def __init__(self, project: _Optional[str] = ..., family: _Optional[str] = ..., unit: _Optional[str] = ..., used_milli: _Optional[int] = ..., reserve_milli: _Optional[int] = ..., limit_milli: _Optional[int] = ..., lent_milli: _Optional[int] = ..., free_milli: _Optional[int] = ..., over_milli: _Optional[int] = ..., over_since_ms: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("family", "unit", "milli", "lent_milli")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MILLI_FIELD_NUMBER: _ClassVar[int]
    LENT_MILLI_FIELD_NUMBER: _ClassVar[int]
    family: str
    unit: str
    milli: int
    lent_milli: int
    def __init__(self, family: _Optional[str] = ..., unit: _Optional[str] = ..., milli: _Optional[int] = ..., lent_milli: _Optional[int] = ...) -> None: ...

class Loan(_message.Message):
    __slots__ = ("loan", "project", "family", "unit", "milli", "lent_at_ms", "expires_at_ms")
    LOAN_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MILLI_FIELD_NUMBER: _ClassVar[int]
    LENT_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    loan: str
    project: str
    family: str
    unit: str
    milli: int
    lent_at_ms: int
    expires_at_ms: int
    def __init__(self, loan: _Optional[str] = ..., project: _Optional[str] = ..., family: _Optional[str] = ..., unit: _Optional[str] = ..., milli: _Optional[int] = ..., lent_at_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...
