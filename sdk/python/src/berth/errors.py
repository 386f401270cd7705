"""Errors: what went wrong, why, and what to try, under a stable code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One of several things that are wrong with what was sent."""

    field: str
    what: str
    try_: str = ""

    def __str__(self) -> str:
        text = f"{self.field}: {self.what}" if self.field else self.what
        return f"{text} (try: {self.try_})" if self.try_ else text


class BerthError(Exception):
    """A refusal or a failure. `code` is a stable word such as `E_NO_CAPACITY`; `berth error CODE` explains it."""

    def __init__(
        self, code: str, what: str, why: str = "", try_: str = "", problems: tuple[Problem, ...] = ()
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.try_ = try_
        self.problems = problems

    def __str__(self) -> str:
        lines = [f"{self.what} [{self.code}]"]
        lines += [f"  {problem}" for problem in self.problems]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.try_:
            lines.append(f"  try: {self.try_}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type[BerthError], tuple[object, ...]]:
        return (type(self), (self.code, self.what, self.why, self.try_, self.problems))


class NotFoundError(BerthError):
    """What was asked for does not exist."""


class ConflictError(BerthError):
    """It exists already, or has changed since it was read."""


class InvalidError(BerthError):
    """What was sent cannot be; `problems` says everything that is wrong with it."""


class UnavailableError(BerthError):
    """Nobody could answer; the same call may succeed later."""


class WaitTimeoutError(BerthError):
    """It did not come in time."""


class InvokeError(BerthError):
    """A model or the mesh answered a request with a failure; `status` and `body` are what it said."""

    def __init__(self, code: str, what: str, why: str, try_: str, status: int, body: bytes) -> None:
        super().__init__(code, what, why, try_)
        self.status = status
        self.body = body

    def __reduce__(self) -> tuple[type[BerthError], tuple[object, ...]]:
        return (type(self), (self.code, self.what, self.why, self.try_, self.status, self.body))


_CONFLICTS = {
    "E_ALREADY_EXISTS", "E_NODE_NAME_TAKEN", "E_REVISION", "E_CARRIES_TRAFFIC", "E_STALE", "E_MINIMUM", "E_TRANSITION",
    "E_REQUEST_ID_REUSED", "E_FOREIGN_CLUSTER",
}  # fmt: skip
_INVALID = {
    "E_INVALID", "E_YAML", "E_UNKNOWN_FIELD", "E_PATH_MISSING", "E_TRAFFIC", "E_UNCONFIRMED", "E_ENVIRONMENT",
    "E_MODEL_UNREADABLE",
}  # fmt: skip
_UNAVAILABLE = {"E_NO_LEADER", "E_UNAVAILABLE", "E_NOT_READY", "E_FEATURE_LEVEL"}


def error_of(
    code: str, what: str, why: str = "", try_: str = "", problems: tuple[Problem, ...] = ()
) -> BerthError:
    """Makes the error class that fits a code."""
    if code.endswith("_NOT_FOUND"):
        return NotFoundError(code, what, why, try_, problems)
    if code in _CONFLICTS:
        return ConflictError(code, what, why, try_, problems)
    if code in _INVALID:
        return InvalidError(code, what, why, try_, problems)
    if code in _UNAVAILABLE:
        return UnavailableError(code, what, why, try_, problems)
    if code in ("E_TIMEOUT", "E_OUTCOME_UNKNOWN"):
        return WaitTimeoutError(code, what, why, try_, problems)
    return BerthError(code, what, why, try_, problems)
