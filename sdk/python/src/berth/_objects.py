"""A file as an object: azure-ai-ml's `load_online_endpoint` and `load_online_deployment`.

What is read is checked as `berth apply` checks it, so that a mistake is told here and not by a later call. A relative path in a
file starts at the file; the object has it whole, because a path in an object starts where the program runs.
"""

from __future__ import annotations

import os
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any, Optional, TypeVar, Union

from ._load import _read_bounded, load_deployment, load_endpoint
from ._tree import Findings, Node, of_python, parse
from .entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, _READ_ONLY
from .errors import Problem, error_of

T = TypeVar("T")
Source = Union[str, "os.PathLike[str]", IO[str], IO[bytes]]
Overrides = Optional[Sequence[Mapping[str, object]]]
_TEXT_BYTES_MAX = 1 << 20
_DEPTH_MAX = 16


def load_online_endpoint(
    source: Source, *, relative_origin: Optional[str] = None, params_override: Overrides = None
) -> ManagedOnlineEndpoint:
    """Reads an endpoint from a YAML file, or from an open one.

    `params_override` replaces fields: `[{"name": "fraud"}, {"traffic.blue": 100}]`. `relative_origin` is unused: an endpoint names no
    files; it is there because azure-ai-ml has it.
    """
    root, _ = _read(source, relative_origin, params_override)
    mapping = _plain(root)
    _tell(load_endpoint(mapping)[1])
    return _built(ManagedOnlineEndpoint, root)


def load_online_deployment(
    source: Source, *, relative_origin: Optional[str] = None, params_override: Overrides = None
) -> ManagedOnlineDeployment:
    """Reads a deployment from a YAML file, or from an open one.

    `params_override` replaces fields: `[{"instance_count": 3}, {"model.path": "model-2"}]`. Relative paths start at the file;
    `relative_origin` is the file they start at instead, for text that comes from no file.
    """
    root, folder = _read(source, relative_origin, params_override)
    _settle(root, folder)
    _tell(load_deployment(_plain(root), folder)[1])
    return _built(ManagedOnlineDeployment, root)


def _read(source: Source, origin: Optional[str], overrides: Overrides) -> tuple[dict[str, Node], Path]:
    """Reads the only document of a source, changed by the overrides, and where its paths start."""
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        try:
            text = _read_bounded(Path(name))
        except (OSError, UnicodeDecodeError) as error:
            what = f"`{name}` cannot be read"
            raise error_of("E_PATH_MISSING", what, str(error), "give the path of a YAML file") from None
    else:
        # A stream of a descriptor has a number for a name.
        named = getattr(source, "name", None)
        name = named if isinstance(named, str) else "the description"
        read = source.read(_TEXT_BYTES_MAX + 1)
        text = read.decode() if isinstance(read, bytes) else read
        if len(text) > _TEXT_BYTES_MAX:
            raise error_of("E_YAML", f"{name} is larger than 1 MiB")
        origin = origin or (named if isinstance(named, str) else None)
    findings = Findings(name)
    documents = [node for node in parse(text, findings) if node.value is not None]
    if not findings.errors and (len(documents) != 1 or not isinstance(documents[0].value, dict)):
        findings.error("E_YAML", None, "", "does not hold one mapping", "`client.apply` takes files of several documents")
    findings.check()
    root = documents[0].value
    assert isinstance(root, dict)
    for override in overrides or ():
        for path, value in override.items():
            _override(root, path, value)
    start = origin or (name if isinstance(source, (str, os.PathLike)) else None)
    return root, Path(os.path.abspath(start)).parent if start else Path.cwd()


def _override(root: dict[str, Node], path: str, value: object) -> None:
    """Puts a value at `a.b.c`; what is missing on the way is made."""
    *way, last = path.split(".")
    at = root
    for name in way[:_DEPTH_MAX]:
        node = at.setdefault(name, Node({}))
        if node.value is None:
            node.value = {}
        if not isinstance(node.value, dict):
            why = f"`{name}` is {node.noun()} and has no fields"
            raise error_of("E_INVALID", f"`{path}` cannot be overridden", why, f"override `{name}` as a whole")
        at = node.value
    at[last] = of_python(value)


def _settle(root: dict[str, Node], folder: Path) -> None:
    """Makes the paths whole that a deployment names."""

    def settle(entries: dict[str, Node], name: str) -> None:
        node = entries.get(name)
        if node is None or not isinstance(node.value, str) or not node.value:
            return
        text = node.value[len("file:") :] if node.value.startswith("file:") else node.value
        text = text[len("//") :] if node.value.startswith("file://") else text
        # What is no path stays, and is refused with its own words.
        if ":" not in text.split("/")[0] and not text.startswith("/subscriptions/"):
            node.value = str(folder / text)

    for name, inner in (("model", "path"), ("code_configuration", "code"), ("environment", "conda_file")):
        node = root.get(name)
        if node is None:
            continue
        if isinstance(node.value, dict):
            settle(node.value, inner)
        elif name == "model" or str(node.value).startswith("file:") or str(node.value).endswith((".yml", ".yaml")):
            settle(root, name)


def _plain(value: Any) -> Any:
    """Reads a tree as Python's own values. Leaves stay texts: what reads them knows what they mean."""
    if isinstance(value, Node):
        return _plain(value.value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _built(kind: type[T], entries: dict[str, Node]) -> T:
    """Makes an object of a mapping that was checked. What objects have no field for is not done, and was told."""
    hints = typing.get_type_hints(kind)
    found: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        node = entries.get(each.name)
        if node is not None and node.value is not None and each.name not in _READ_ONLY:
            found[each.name] = _typed(hints[each.name], node.value)
    if kind in (ManagedOnlineEndpoint, ManagedOnlineDeployment):
        # Names are one in any case.
        found.update({name: found[name].lower() for name in ("name", "endpoint_name") if name in found})
    return kind(**found)


def _typed(hint: Any, value: Any) -> Any:
    """Reads a leaf as its field's type says."""
    kinds = [it for it in typing.get_args(hint) if it is not type(None)] if typing.get_origin(hint) is Union else [hint]
    if isinstance(value, dict):
        for kind in kinds:
            if is_dataclass(kind):
                return _built(typing.cast("type[Any]", kind), value)
            if typing.get_origin(kind) is dict:
                of_item = typing.get_args(kind)[1]
                return {name: _typed(of_item, item.value) for name, item in value.items()}
        return _plain(value)
    if isinstance(value, str):
        if bool in kinds and value.lower() in ("true", "yes", "on", "false", "no", "off"):
            return value.lower() in ("true", "yes", "on")
        if int in kinds and value.isascii() and value.isdigit():
            return int(value)
        return value
    return _plain(value)


def _tell(found: list[Problem]) -> None:
    for problem in found:
        warnings.warn(str(problem), stacklevel=3)
