"""Conda files as pip requirements: Berth brings no conda, and most files use it only to get a Python and pip."""

from __future__ import annotations

import re
from typing import Optional

from ._tree import Field, Fields, clip

_RENAMED = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch", "tensorflow-gpu": "tensorflow",
    "py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost", "py-opencv": "opencv-python", "opencv": "opencv-python",
    "matplotlib-base": "matplotlib", "msgpack-python": "msgpack", "pytables": "tables",
    "python-flatbuffers": "flatbuffers", "importlib_metadata": "importlib-metadata", "ruamel_yaml": "ruamel.yaml",
}  # fmt: skip
_NOT_PYTHON = {
    "cudatoolkit", "cudnn", "pytorch-cuda", "pytorch-mutex", "cpuonly", "mkl", "libgcc", "libgcc-ng", "libstdcxx-ng",
    "libffi", "openssl", "ca-certificates", "gcc", "gxx", "git", "curl", "wget", "libgfortran", "libopenblas", "blas",
    "nccl", "openjdk", "r-base",
}  # fmt: skip


def read(field: Field) -> tuple[Optional[str], list[str]]:
    """Reads the Python a file was written for, and its requirements in pip's syntax."""
    python: Optional[str] = None
    requirements: list[str] = []
    fields = Fields(field)
    for name in ("name", "prefix", "channels"):
        fields.take(name)
    variables = fields.take("variables")
    if variables:
        variables.warn("variables of a conda file are not set", "use environment_variables")
    dependencies = fields.take("dependencies")
    fields.finish()
    from_index: list[tuple[Field, str]] = []
    left_out: list[tuple[Field, str]] = []
    for item in dependencies.items() if dependencies else []:
        if isinstance(item.node.value, dict):
            inner = Fields(item)
            pip = inner.take("pip")
            requirements += pip.texts() if pip else []
            inner.finish()
        elif isinstance(item.node.value, str):
            split = _name_and_version(item.node.value)
            if split is None:
                item.refuse(f"`{clip(item.node.value)}` names no package", "such as `numpy=1.26`")
                continue
            name, version = split
            if name == "python":
                python = _python(version) or python
            elif name == "pip" or (name in ("setuptools", "wheel") and not version):
                continue
            elif name in _NOT_PYTHON:
                left_out.append((item, name))
            else:
                renamed = _RENAMED.get(name, name)
                requirements.append(renamed + _specifier(version))
                from_index.append((item, name if renamed == name else f"{name} (as {renamed})"))
        else:
            item.refuse(f"expected a package, found {item.node.noun()}")
    _warn(from_index, "conda is not run; pip's index gives")
    _warn(left_out, "conda is not run; these are no Python packages and are left to the node:")
    return python, requirements


def _warn(named: list[tuple[Field, str]], what: str) -> None:
    if named:
        names = [name for _, name in named[:6]] + ([f"{len(named) - 6} more"] if len(named) > 6 else [])
        named[0][0].warn(f"{what} {', '.join(names)}")


def _name_and_version(text: str) -> Optional[tuple[str, str]]:
    text = text.rpartition("::")[2].strip()
    match = re.match(r"[A-Za-z0-9_.-]*", text)
    name = match.group() if match else ""
    rest = text[len(name) :].strip()
    words = rest.split()
    version = f"=={words[0]}" if words and words[0][0] in "0123456789" else "".join(words)
    if not name or (version and version[0] not in "=<>!~"):
        return None
    return name.lower(), version


def _python(version: str) -> Optional[str]:
    match = re.match(r"=+([0-9]+)[.=*]([0-9]+)(?:[.=*]|$)", version)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def _specifier(version: str) -> str:
    if version.startswith("==") or not version.startswith("="):
        return version
    exact, build, _ = version[1:].partition("=")
    if exact in ("", "*"):
        return ""
    return f"=={exact}" if exact.endswith("*") or build else f"=={exact}.*"
