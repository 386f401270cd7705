"""Trains the two models of the digits example and records what they answer.

    python -m venv .venv && .venv/bin/pip install -r requirements-train.txt
    .venv/bin/python train.py

Writes, beside this file:
  blue/model/model.joblib   a scikit-learn pipeline, served by score.py
  green/model.onnx          a different kind of model, exported to ONNX, served without Python
  held-out.json             the 360 digits neither model has seen, with their true labels
  expected.json             what each model answers for them, by its reference runtime
"""

import json
import pathlib

import joblib
import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20240719
HELD_OUT = 360


def main():
    images, labels = load_digits(return_X_y=True)
    train_x, held_x, train_y, held_y = train_test_split(
        images, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED
    )

    blue = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=SEED))
    blue.fit(train_x, train_y)
    blue_path = HERE / "blue" / "model" / "model.joblib"
    blue_path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(blue, blue_path, compress=3)
    blue_answers = blue.predict(held_x)

    green = make_pipeline(
        MinMaxScaler(), MLPClassifier(hidden_layer_sizes=(96,), max_iter=600, random_state=SEED)
    )
    green.fit(train_x.astype(np.float32), train_y)
    exported = to_onnx(
        green,
        initial_types=[("input", FloatTensorType([None, images.shape[1]]))],
        options={"zipmap": False},
        target_opset={"": 17, "ai.onnx.ml": 3},
        name="digits",
    )
    green_path = HERE / "green" / "model.onnx"
    green_path.parent.mkdir(parents=True, exist_ok=True)
    green_path.write_bytes(exported.SerializeToString())
    session = onnxruntime.InferenceSession(str(green_path), providers=["CPUExecutionProvider"])
    green_answers, green_probabilities = session.run(None, {"input": held_x.astype(np.float32)})

    rows = [{"data": row.astype(int).tolist(), "label": int(label)} for row, label in zip(held_x, held_y)]
    (HERE / "held-out.json").write_text(one_per_line(rows))
    expected = {
        "blue": blue_answers.astype(int).tolist(),
        "green": green_answers.astype(int).tolist(),
        "green_probability": [round(float(row.max()), 6) for row in green_probabilities],
    }
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")

    for name, answers, path in (("blue", blue_answers, blue_path), ("green", green_answers, green_path)):
        accuracy = float((answers == held_y).mean())
        print(f"{name}: {accuracy:.4f} of {len(held_y)} held-out digits, {path.stat().st_size} bytes")


def one_per_line(rows):
    return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n"


if __name__ == "__main__":
    main()
