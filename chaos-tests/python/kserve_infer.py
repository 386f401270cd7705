"""KServe's own client: v1 and v2 over HTTP, v2 over gRPC."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

address, endpoint, key, held_out, chat = sys.argv[1:6]
headers = {"Authorization": f"Bearer {key}"}
base = f"http://{address}"
images = json.load(open(held_out))[:20]
rows = np.array([image["data"] for image in images], dtype=np.float32)


def request(binary):
    tensor = InferInput(name="input", shape=list(rows.shape), datatype="FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model_name=endpoint, infer_inputs=[tensor])


def check(answer):
    label = next(output for output in answer.outputs if output.name == "label")
    got = label.as_numpy().reshape(-1).tolist()
    right = sum(int(a == image["label"]) for a, image in zip(got, images))
    assert right >= 17, right


async def main():
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await v2.is_server_live(base) and await v2.is_server_ready(base)
    assert await v2.is_model_ready(base, endpoint, headers=headers)
    for binary in (True, False):
        check(await v2.infer(base, request(binary), model_name=endpoint, headers=dict(headers)))
    assert await v2.is_model_ready(base, chat), "a server of another protocol is ready when it serves"
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    assert await v1.is_model_ready(base, chat)
    answer = await v1.infer(base, {"instances": [[1, 2], [3, 4]]}, model_name=chat)
    assert answer == {"predictions": [3, 7]}, answer
    grpc = InferenceGRPCClient(url=address)
    metadata = [("authorization", f"Bearer {key}")]
    assert await grpc.is_server_live() and await grpc.is_server_ready()
    assert await grpc.is_model_ready(endpoint, headers=metadata)
    check(await grpc.infer(request(True), headers=metadata))


asyncio.run(main())
print("ok")
