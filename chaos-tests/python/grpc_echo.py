"""Calls an echo service through the mesh with a stock grpcio client: unary, streaming both ways, metadata, status."""

import sys

import grpc

address, endpoint = sys.argv[1:3]
metadata = [("x-berth-endpoint", endpoint), ("trace-bin", b"\x00\x01")]
identity = {"request_serializer": lambda raw: raw, "response_deserializer": lambda raw: raw}
with grpc.insecure_channel(address) as channel:
    unary = channel.unary_unary("/echo.Echo/Say", **identity)
    reply, call = unary.with_call(b"hello", metadata=metadata, timeout=10)
    assert reply == b"hello", reply
    assert call.code() == grpc.StatusCode.OK, call.code()
    talk = channel.stream_stream("/echo.Echo/Talk", **identity)
    words = [b"one", b"two", b"three" * 10_000]
    assert list(talk(iter(words), metadata=metadata, timeout=10)) == words
    try:
        unary(b"x", metadata=[("x-berth-endpoint", "nobody-there")], timeout=10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("an endpoint that is not there answered")
print("ok")
