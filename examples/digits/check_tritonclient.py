"""Checks that a stock tritonclient over HTTP can use the green deployment, by the endpoint's name.

    python -m venv .venv && .venv/bin/pip install 'tritonclient[http]'
    .venv/bin/python check_tritonclient.py --url 127.0.0.1:7480 --model digits --key KEY

`--key` is the endpoint's key (`berth endpoint get-credentials digits`); leave it out when talking to a bare server.
Prints one line per check and exits with 1 when one fails.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

HERE = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="127.0.0.1:7480", help="host:port of any node's ingress")
    parser.add_argument("--model", default="digits", help="model name, which is the endpoint's")
    parser.add_argument("--version", default="", help="a deployment to pin, such as green")
    parser.add_argument("--key", default="", help="the endpoint's key")
    options = parser.parse_args()

    rows = json.loads((HERE / "held-out.json").read_text())
    images = np.array([row["data"] for row in rows], dtype=np.float32)
    want = np.array(json.loads((HERE / "expected.json").read_text())["green"])
    client = triton.InferenceServerClient(options.url, connection_timeout=30, network_timeout=30)
    failed = []

    def headers():
        # A new one for each call: tritonclient writes its own headers into the dictionary it is given.
        return {"Authorization": f"Bearer {options.key}"} if options.key else {}

    def model():
        return {"model_name": options.model, "model_version": options.version, "headers": headers()}

    def check(name, passed):
        print(("ok    " if passed else "FAILED"), name)
        if not passed:
            failed.append(name)

    def labels(answer):
        return answer.as_numpy("label")

    def image_input(binary=True, value=images):
        tensor = triton.InferInput("input", list(value.shape), "FP32")
        tensor.set_data_from_numpy(value, binary_data=binary)
        return [tensor]

    check("server live", client.is_server_live(headers=headers()))
    check("server ready", client.is_server_ready(headers=headers()))
    check("model ready", client.is_model_ready(**model()))
    metadata = client.get_model_metadata(**model())
    check("metadata names the input", metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 64]}])

    check("defaults (binary both ways)", np.array_equal(labels(client.infer(inputs=image_input(), **model())), want))
    for binary_in in (True, False):
        for binary_out in (True, False):
            outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probabilities")]
            answer = client.infer(inputs=image_input(binary_in), outputs=outputs, request_id="held-out", **model())
            same = np.array_equal(labels(answer), want)
            best = np.array_equal(answer.as_numpy("probabilities").argmax(axis=1), want)
            echoed = answer.get_response()["id"] == "held-out" and answer.get_response()["model_name"] == options.model
            check(f"binary input {binary_in}, binary output {binary_out}", same and best and echoed)
    only = client.infer(inputs=image_input(), outputs=[triton.InferRequestedOutput("label")], **model())
    check("only the requested output", [o["name"] for o in only.get_response()["outputs"]] == ["label"])
    for algorithm in ("gzip", "deflate"):
        answer = client.infer(
            inputs=image_input(),
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
            **model(),
        )
        check(f"{algorithm} request", np.array_equal(labels(answer), want))
    pending = [client.async_infer(inputs=image_input(value=images[i : i + 1]), **model()) for i in range(20)]
    check("20 asynchronous requests", [int(labels(p.get_result())[0]) for p in pending] == want[:20].tolist())
    try:
        client.infer(inputs=image_input(value=images[:, :63].copy()), **model())
        check("a wrong shape is refused", False)
    except InferenceServerException as error:
        check(f"a wrong shape is refused: {error.message()}", "expected FP32 [-1, 64]" in error.message())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
