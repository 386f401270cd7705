"""Calls an ONNX deployment with a stock tritonclient: model name = endpoint name, binary tensors as it sends them."""

import json
import sys

import numpy as np
import tritonclient.http as triton

address, endpoint, key, held_out = sys.argv[1:5]
images = json.load(open(held_out))[:20]
client = triton.InferenceServerClient(url=address)
headers = {"Authorization": f"Bearer {key}"}
assert client.is_server_live() and client.is_server_ready()
assert client.get_server_metadata()["name"] == "berth"
index = {(model["name"], model["version"]): model["state"] for model in client.get_model_repository_index(headers=headers)}
assert index[(endpoint, "green")] == "READY", index
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
