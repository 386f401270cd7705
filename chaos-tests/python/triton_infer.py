"""Calls an ONNX deployment with a stock tritonclient: model name = endpoint name, binary tensors as it sends them."""

import json
import sys

import numpy as np
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, endpoint, key, held_out, chat = sys.argv[1:6]
images = json.load(open(held_out))[:20]
client = triton.InferenceServerClient(url=address)
headers = {"Authorization": f"Bearer {key}"}
assert client.is_server_live() and client.is_server_ready()
assert client.get_server_metadata()["name"] == "berth"
assert client.get_server_metadata(headers=headers)["extensions"] == ["binary_tensor_data", "model_repository"]
assert client.get_server_metadata()["extensions"] == ["model_repository"], "who has no key does not learn of it"
index = {(model["name"], model["version"]): model["state"] for model in client.get_model_repository_index(headers=headers)}
assert index[(endpoint, "green")] == "READY", index
for path in ("index", "any/index"):
    asked = requests.post(f"http://{address}/v2/repository/{path}", json={"ready": True}, headers=headers, timeout=20)
    ready = {(model["name"], model["version"]) for model in asked.json()}
    assert ready == {name for name, state in index.items() if state == "READY"}, ready


def refused(call, word):
    """Checks that a call is refused, and by whom."""
    try:
        call()
    except InferenceServerException as error:
        assert word in str(error), error
    else:
        raise AssertionError("it was taken")


# What is said of a model is for its server, which is none of Triton's and says so.
refused(lambda: client.load_model(endpoint, headers=headers), "no route /v2/repository/models/")
refused(lambda: client.unload_model(endpoint, headers=headers), "no route /v2/repository/models/")
refused(lambda: client.get_trace_settings(endpoint, headers=headers), "no route /v2/models/")
refused(lambda: client.load_model("nobody-there"), "no such endpoint")
refused(lambda: client.get_trace_settings(), "name the endpoint")
refused(lambda: client.get_log_settings(), "name the endpoint")
assert client.is_model_ready(chat), "a server of another protocol is ready when it serves"
assert not client.is_model_ready("nobody-there")
assert client.is_model_ready(endpoint, headers=headers), "the model is not ready"
metadata = client.get_model_metadata(endpoint, headers=headers)
name, datatype = metadata["inputs"][0]["name"], metadata["inputs"][0]["datatype"]
rows = np.array([image["data"] for image in images], dtype=np.float32)
tensor = triton.InferInput(name, list(rows.shape), datatype)
tensor.set_data_from_numpy(rows)
label = next(output["name"] for output in metadata["outputs"] if output["datatype"] == "INT64")
wanted = {"inputs": [tensor], "outputs": [triton.InferRequestedOutput(label)], "headers": headers}
answer = client.infer(endpoint, model_version="green", **wanted)
assert answer.get_response()["model_version"] == "green", "a version that is a deployment is a pin"
answer = client.infer(endpoint, request_compression_algorithm="gzip", **wanted)
predicted = answer.as_numpy(label).reshape(-1).tolist()
right = sum(int(a == image["label"]) for a, image in zip(predicted, images))
assert right >= 17, f"{right} of {len(images)} are right: {predicted}"
print(f"{right} of {len(images)}")
