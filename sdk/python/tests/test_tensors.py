"""Arrays survive the wire."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from berth import BerthError
from berth.tensors import HEADER_LENGTH, decode, encode


def answer_of(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """Turns a request into the answer of a model that returns what it gets."""
    at = int(headers[HEADER_LENGTH])
    head = json.dumps({"outputs": json.loads(body[:at])["inputs"]}).encode()
    return {HEADER_LENGTH: str(len(head))}, head + body[at:]


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=dtype).reshape(2, 3) for dtype in ("uint8", "int16", "int64", "float16", "float32", "float64")]
    + [
        np.array([True, False]),
        np.arange(3, dtype=">i4"),
        np.arange(12, dtype="float32").reshape(3, 4)[:, ::2],
        np.zeros((0, 4), dtype="float32"),
        np.array(2.5),
    ],
)  # fmt: skip
def test_an_array_comes_back_as_it_went(array: NDArray[Any]) -> None:
    back = decode(*answer_of(*encode({"x": array}, None)))["x"]
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


def test_texts_come_back_as_bytes() -> None:
    back = decode(*answer_of(*encode({"x": np.array([["a", "ü"], ["", "long"]])}, None)))["x"]
    assert back.tolist() == [[b"a", "ü".encode()], [b"", b"long"]]


def test_an_answer_in_json_is_read_too() -> None:
    body = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2,1],"data":[1.5,2]}]}'
    np.testing.assert_array_equal(decode({}, body)["y"], np.array([[1.5], [2]], dtype="float32"))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":[1]}]}'])
def test_an_answer_that_is_none_is_an_error_of_the_model(body: bytes) -> None:
    with pytest.raises(BerthError) as error:
        decode({}, body)
    assert error.value.code == "E_UPSTREAM"


def test_a_type_the_protocol_has_not_is_refused() -> None:
    with pytest.raises(BerthError) as error:
        encode({"x": np.array([1 + 2j])}, None)
    assert error.value.code == "E_INVALID" and "`x`" in error.value.what
