"""What the endpoint answers. `init` runs once per instance, `run` once per request."""

import json
import os


def init():
    """Loads the model: `model: {path: ./model}` in the deployment file puts it below this folder."""
    global model_dir
    model_dir = os.environ.get("AZUREML_MODEL_DIR")


def run(data):
    """Takes the request's body as text and returns anything that JSON can hold."""
    numbers = json.loads(data)["data"]
    return {"sum": sum(numbers)}
