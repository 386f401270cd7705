"""Scoring script of the blue deployment: an ordinary Azure Machine Learning one.

init() runs once when an instance starts, run() once per request with the body as text.
"""

import json
import os

import joblib
import numpy as np


def init():
    global model
    # The deployment's model path is ./blue/model, so its folder name appears under AZUREML_MODEL_DIR.
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "model.joblib"))


def run(raw_data):
    rows = np.asarray(json.loads(raw_data)["data"], dtype=float)
    probabilities = model.predict_proba(rows)
    return {
        "predictions": model.classes_[probabilities.argmax(axis=1)].tolist(),
        "confidence": probabilities.max(axis=1).round(4).tolist(),
    }
