"""YAML, or Python's own values, as a tree whose leaves are texts and know their line.

Every scalar is text: what it means is said by the field that reads it, so that `version: 1.10` stays what was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Optional, Union

import yaml

from .errors import BerthError, Problem, error_of

Value = Union[None, str, "list[Node]", "dict[str, Node]"]


@dataclass
class Node:
    """A value and where it stands; line zero where there is no file."""

    value: Value
    line: int = 0
    column: int = 0

    def noun(self) -> str:
        """Names what it is, for a message."""
        if self.value is None:
            return "nothing"
        return {str: "text", list: "a list"}.get(type(self.value), "a mapping")


@dataclass
class Findings:
    """Everything that is wrong with a file, before anything is refused; and what is understood and not done."""

    file: str
    errors: list[tuple[str, Problem]] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, code: str, node: Node | None, path: str, what: str, try_: str = "") -> None:
        """Notes what is wrong."""
        self.errors.append((code, Problem(self._locate(node, path), what, try_)))

    def warn(self, node: Node | None, path: str, what: str, try_: str = "") -> None:
        """Notes what is understood and not done."""
        self.warnings.append(Problem(self._locate(node, path), what, try_))

    def absorb(self, other: Findings) -> None:
        """Takes over what was found in another file."""
        self.errors += other.errors
        self.warnings += other.warnings

    def check(self) -> list[Problem]:
        """Raises everything that is wrong, or returns the warnings."""
        if not self.errors:
            return self.warnings
        codes = {code for code, _ in self.errors}
        count = len(self.errors)
        what = f"{self.file} has a problem" if count == 1 else f"{self.file} has {count} problems"
        raise error_of(codes.pop() if len(codes) == 1 else "E_INVALID", what, problems=tuple(it for _, it in self.errors))

    def _locate(self, node: Node | None, path: str) -> str:
        where = f"{self.file}:{node.line}:{node.column}" if node is not None and node.line else self.file
        return f"{where} {path}" if path else where


# === reading ===


# Nodes of all documents together: an alias counts as what it stands for, so a file cannot grow by naming itself.
_NODES_MAX = 50_000
_DEPTH_MAX = 64


class _Loader(yaml.SafeLoader):
    """Composes without meaning."""


def parse(text: str, findings: Findings) -> list[Node]:
    """Reads every document of a text."""
    documents = []
    budget = [_NODES_MAX]
    loader = _Loader(text)
    try:
        while loader.check_node():
            document = loader.get_node()
            if document is not None:
                documents.append(_of_yaml(document, findings, frozenset(), budget))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = Node(None, mark.line + 1, mark.column + 1) if mark else None
        findings.error("E_YAML", place, "", error.problem or "is no YAML")
    except yaml.YAMLError as error:
        findings.error("E_YAML", None, "", str(error).splitlines()[0])
    finally:
        loader.dispose()
    return documents


def _of_yaml(node: yaml.Node, findings: Findings, above: frozenset[int], budget: list[int]) -> Node:
    at = Node(None, node.start_mark.line + 1, node.start_mark.column + 1)
    budget[0] -= 1
    if budget[0] < 0 or len(above) > _DEPTH_MAX:
        if budget[0] == -1 or len(above) > _DEPTH_MAX:
            findings.error("E_YAML", at, "", "is larger or deeper than any file people write")
        return at
    if id(node) in above:
        findings.error("E_YAML", at, "", "an alias contains itself")
        return at
    above = above | {id(node)}
    if isinstance(node, yaml.ScalarNode):
        is_null = node.tag == "tag:yaml.org,2002:null"
        at.value = None if is_null and node.style is None else node.value
    elif isinstance(node, yaml.SequenceNode):
        at.value = [_of_yaml(item, findings, above, budget) for item in node.value]
    elif isinstance(node, yaml.MappingNode):
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    of_source = _of_yaml(source, findings, above, budget)
                    for name, item in of_source.value.items() if isinstance(of_source.value, dict) else ():
                        merged.setdefault(name, item)
                continue
            if not isinstance(key, yaml.ScalarNode):
                findings.error("E_YAML", at, "", "a key is no text")
                continue
            if key.value in entries:
                place = Node(None, key.start_mark.line + 1, key.start_mark.column + 1)
                findings.error("E_YAML", place, key.value, "stands here twice")
            entries[key.value] = _of_yaml(value, findings, above, budget)
        # What is written out wins over what is merged in.
        at.value = {**merged, **entries}
    return at


def of_python(value: object) -> Node:
    """Takes Python's own values: what a YAML file would hold."""
    if value is None or isinstance(value, str):
        return Node(value)
    if isinstance(value, bool):
        return Node("true" if value else "false")
    if isinstance(value, (int, float, Path)):
        return Node(str(value))
    if isinstance(value, Mapping):
        return Node({str(key): of_python(item) for key, item in value.items()})
    if isinstance(value, Sequence):
        return Node([of_python(item) for item in value])
    raise TypeError(f"{type(value).__name__} cannot stand in a description")


# === fields ===


def nearest(word: str, known: Sequence[str]) -> str:
    """Suggests what was probably meant."""
    found = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"`{found[0]}`" if found else ""


@dataclass
class Field:
    """One value and the path that leads to it."""

    path: str
    node: Node
    findings: Findings

    def refuse(self, what: str, try_: str = "", code: str = "E_INVALID") -> None:
        """Notes that the value is wrong."""
        self.findings.error(code, self.node, self.path, what, try_)

    def warn(self, what: str, try_: str = "") -> None:
        """Notes that the value is understood and not done."""
        self.findings.warn(self.node, self.path, what, try_)

    def text(self) -> Optional[str]:
        """Reads text; a number or a bool is text too."""
        if isinstance(self.node.value, str):
            return self.node.value
        self.refuse(f"expected text, found {self.node.noun()}")
        return None

    def number(self, low: int, high: int) -> Optional[int]:
        """Reads a whole number."""
        text = self.text()
        if text is None:
            return None
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        self.refuse(f"`{clip(text)}` is not a whole number in range", f"use {low} to {high}")
        return None

    def flag(self) -> Optional[bool]:
        """Reads a bool; quoted ones count."""
        text = self.text()
        if text is None:
            return None
        if text.lower() in ("true", "yes", "on"):
            return True
        if text.lower() in ("false", "no", "off"):
            return False
        self.refuse(f"`{clip(text)}` is neither true nor false", "use true or false")
        return None

    def word(self, *words: str) -> Optional[str]:
        """Reads one word of a list."""
        text = self.text()
        if text is None:
            return None
        for word in words:
            if word.lower() == text.lower():
                return word
        self.refuse(f"`{clip(text)}` is not known here", nearest(text, words) or f"one of {', '.join(words)}")
        return None

    def items(self) -> list[Field]:
        """Reads a list."""
        if isinstance(self.node.value, list):
            return [Field(f"{self.path}[{at}]", node, self.findings) for at, node in enumerate(self.node.value)]
        self.refuse(f"expected a list, found {self.node.noun()}")
        return []

    def texts(self) -> list[str]:
        """Reads a list of texts."""
        return [text for text in (item.text() for item in self.items()) if text is not None]

    def pairs(self) -> list[tuple[str, Field]]:
        """Reads a mapping with free keys."""
        if isinstance(self.node.value, dict):
            return [(key, Field(_join(self.path, key), node, self.findings)) for key, node in self.node.value.items()]
        self.refuse(f"expected a mapping, found {self.node.noun()}")
        return []

    def text_map(self) -> dict[str, str]:
        """Reads a mapping of texts."""
        found = {}
        for key, item in self.pairs():
            text = "" if item.node.value is None else item.text()
            if text is not None:
                found[key] = text
        return found


class Fields:
    """A mapping that is being read; what nobody took is an unknown field."""

    def __init__(self, of: Field) -> None:
        self._of = of
        self._known: list[str] = []
        value = of.node.value
        self._left: dict[str, Node] = dict(value) if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            of.refuse(f"expected a mapping, found {of.node.noun()}")

    def take(self, name: str) -> Optional[Field]:
        """Takes the value of `name`, if it is there and not null."""
        self._known.append(name)
        node = self._left.pop(name, None)
        if node is None or node.value is None:
            return None
        return Field(_join(self._of.path, name), node, self._of.findings)

    def skip(self, names: Sequence[str], what: str) -> None:
        """Takes fields that mean nothing in a file."""
        for name in names:
            found = self.take(name)
            if found:
                found.warn(what)

    def finish(self) -> None:
        """Notes everything that was not taken."""
        for name, node in self._left.items():
            try_ = nearest(name, [known for known in self._known if not known.startswith("$")])
            self._of.findings.error("E_UNKNOWN_FIELD", node, _join(self._of.path, name), "unknown field", try_)


def clip(text: str) -> str:
    """Shortens text for a message."""
    return (text if len(text) <= 60 else text[:60] + "…").replace("\n", " ")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


__all__ = ["BerthError", "Field", "Fields", "Findings", "Node", "clip", "nearest", "of_python", "parse"]
