"""NumPy arrays in the Open Inference Protocol over HTTP, with their bytes beside the JSON, as Triton's clients send them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from .errors import error_of

HEADER_LENGTH = "inference-header-content-length"

_DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DATATYPES.items()}


def encode(inputs: Mapping[str, NDArray[Any]], outputs: Optional[list[str]]) -> tuple[dict[str, str], bytes]:
    """Writes a request: its headers and its body."""
    described, parts = [], []
    for name, array in inputs.items():
        datatype, raw = _raw(name, np.asarray(array))
        described.append(
            {
                "name": name,
                "shape": list(np.asarray(array).shape),
                "datatype": datatype,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        parts.append(raw)
    request: dict[str, Any] = {"inputs": described}
    if outputs is None:
        request["parameters"] = {"binary_data_output": True}
    else:
        request["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    head = json.dumps(request, separators=(",", ":")).encode()
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return headers, head + b"".join(parts)


def decode(headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    """Reads an answer, whether its tensors are JSON or bytes beside it."""
    length = headers.get(HEADER_LENGTH)
    at = len(body) if length is None else int(length)
    try:
        outputs = json.loads(body[:at])["outputs"]
        arrays = {}
        for output in outputs:
            size = output.get("parameters", {}).get("binary_data_size")
            shape = tuple(output["shape"])
            if size is None:
                arrays[output["name"]] = _from_json(output["datatype"], output["data"], shape)
            else:
                arrays[output["name"]] = _from_bytes(output["datatype"], body[at : at + size], shape)
                at += size
        return arrays
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise error_of("E_UPSTREAM", "the model's answer is not one of the Open Inference Protocol", str(error)) from None


def _raw(name: str, array: NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype.kind in "OSU":
        items = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1).tolist()]
        return "BYTES", b"".join(struct.pack("<I", len(item)) + item for item in items)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    datatype = _NAMES.get(np.dtype(array.dtype.newbyteorder("=")))
    if datatype is None:
        raise error_of(
            "E_INVALID", f"input `{name}` has the type {array.dtype}", "the protocol has no such datatype",
            f"one of {', '.join(_DATATYPES.values())}, or text",
        )  # fmt: skip
    return datatype, np.ascontiguousarray(little).tobytes()


def _from_json(datatype: str, data: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    dtype: Any = object if datatype == "BYTES" else _DATATYPES[datatype]
    array: NDArray[Any] = np.array(data, dtype=dtype).reshape(shape)
    return array


def _from_bytes(datatype: str, raw: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    if datatype != "BYTES":
        dtype = np.dtype(_DATATYPES[datatype]).newbyteorder("<")
        return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()
    items, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        items.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    array = np.empty(len(items), dtype=object)
    array[:] = items
    shaped: NDArray[Any] = array.reshape(shape)
    return shaped
