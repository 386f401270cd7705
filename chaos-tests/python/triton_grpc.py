"""Stock tritonclient over gRPC: infer, a version as a pin, streams, metadata, the repository index, reflection."""

import json
import queue
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

address, endpoint, key, held_out, talker = sys.argv[1:6]
headers = {"authorization": f"Bearer {key}"}
client = triton.InferenceServerClient(url=address)
assert client.is_server_live() and client.is_server_ready()
assert client.get_server_metadata().name == "berth"
assert client.is_model_ready(endpoint, headers=headers)
metadata = client.get_model_metadata(endpoint, headers=headers)
assert metadata.name == endpoint, metadata
images = json.load(open(held_out))[:20]
rows = np.array([image["data"] for image in images], dtype=np.float32)
tensor = triton.InferInput(metadata.inputs[0].name, list(rows.shape), metadata.inputs[0].datatype)
tensor.set_data_from_numpy(rows)
for version in ("", "green"):
    answer = client.infer(endpoint, [tensor], model_version=version, headers=headers, client_timeout=20)
    right = sum(int(a == image["label"]) for a, image in zip(answer.as_numpy("label").reshape(-1), images))
    assert right >= 17, right

index = {(model.name, model.version): model.state for model in client.get_model_repository_index(headers=headers).models}
assert index[(endpoint, "green")] == "READY" and index[(talker, "one")] == "READY", index
closed = {model.name for model in client.get_model_repository_index().models}
assert endpoint not in closed and talker in closed, "who has no key does not learn of it"
with grpc.insecure_channel(address) as channel:
    asked = service_pb2.RepositoryIndexRequest(ready=True)
    answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).RepositoryIndex(asked, metadata=list(headers.items()))
    ready = {(model.name, model.version) for model in answer.models}
    assert ready == {name for name, state in index.items() if state == "READY"}, ready
for call, word in (
    (lambda: client.get_system_shared_memory_status(), "one host only"),
    (lambda: client.get_trace_settings(), "name the endpoint"),
    (lambda: client.get_log_settings(), "name the endpoint"),
    # What is said of a model is for its server, which has only some of the calls.
    (lambda: client.get_trace_settings(talker), "not implemented!"),
    (lambda: client.load_model(talker), "not implemented!"),
    (lambda: client.unload_model(talker), "not implemented!"),
):
    try:
        call()
    except InferenceServerException as error:
        assert error.status() == "StatusCode.UNIMPLEMENTED" and word in str(error), error
    else:
        raise AssertionError(f"it was taken, instead of: {word}")

answers = queue.Queue()
client.start_stream(callback=lambda result, error: answers.put((result, error)))
for count in (3, 5, 2000):
    wanted = triton.InferInput("count", [1], "INT32")
    wanted.set_data_from_numpy(np.array([count], dtype=np.int32))
    client.async_stream_infer(talker, [wanted], request_id=str(count))
got = [answers.get(timeout=20) for _ in range(9)]
client.stop_stream()
tokens = [(result.get_response().id, int(result.as_numpy("token")[0])) for result, error in got if error is None]
assert tokens == [("3", n) for n in range(3)] + [("5", n) for n in range(5)], tokens
assert "too many" in str(got[8][1]), got[8]

# The names of a service as its server tells them, through the mesh.
channel = grpc.intercept_channel(grpc.insecure_channel(address), *[])


class Named(grpc.StreamStreamClientInterceptor):
    """Says for which endpoint a call is, as any stock tool can with a header."""

    def intercept_stream_stream(self, continuation, details, requests):
        metadata = list(details.metadata or []) + [("x-berth-endpoint", talker)]
        return continuation(details._replace(metadata=metadata), requests)


database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Named()))
assert "inference.GRPCInferenceService" in database.get_services(), database.get_services()
service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
assert "ModelStreamInfer" in [method.name for method in service.methods]
print("ok")
