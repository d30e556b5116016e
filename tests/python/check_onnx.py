"""Checks an exported model with the reference checker and runs it in onnxruntime.

usage: check_onnx.py MODEL IMAGES LOGITS SIDE CLASSES

IMAGES holds images as bytes, [3, SIDE, SIDE] each; LOGITS the expected logits, little-endian float32, [CLASSES] each.
Prints one JSON object; exits with 1 and the reason if anything is not as it should be.
"""

import ast
import json
import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-3


def dims(value):
    """Lengths of the axes; None for one of any length, which has no name either: Ultralytics takes a named one for a file of its own with a fixed image size."""
    return [axis.dim_param or (axis.dim_value if axis.HasField("dim_value") else None) for axis in value.type.tensor_type.shape.dim]


def check_graph(path, side, classes):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [(value.name, dims(value)) for value in model.graph.input] == [("images", [None, 3, side, side])]
    assert [(value.name, dims(value)) for value in model.graph.output] == [
        ("probabilities", [None, classes]),
        ("logits", [None, classes]),
    ]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    names = json.loads(metadata["class_names"])
    assert len(names) == classes, names
    assert ast.literal_eval(metadata["names"]) == dict(enumerate(names)), metadata["names"]
    assert json.loads(metadata["input_size"]) == [side, side]
    assert metadata["task"] == "classify"
    assert isinstance(json.loads(metadata["summary"]), dict)
    return {
        "opset": model.opset_import[0].version,
        "ir": model.ir_version,
        "names": names,
        "temperature": float(metadata.get("probability_temperature", 1)),
    }


def check_values(path, images, expected, temperature):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = {"logits": 0.0, "probabilities": 0.0}
    scale = max(1.0, float(np.abs(expected).max()))
    for batch in (1, 5, len(images)):
        found, probabilities = [], []
        for start in range(0, len(images), batch):
            outputs = session.run(["logits", "probabilities"], {"images": images[start : start + batch]})
            found.append(outputs[0])
            probabilities.append(outputs[1])
        found, probabilities = np.concatenate(found), np.concatenate(probabilities)
        assert found.shape == expected.shape and probabilities.shape == expected.shape
        assert (found.argmax(1) == expected.argmax(1)).all(), "another class is the most probable one"
        powers = np.exp((expected - expected.max(1, keepdims=True)) / temperature)
        softmax = powers / powers.sum(1, keepdims=True)
        worst["logits"] = max(worst["logits"], float(np.abs(found - expected).max()))
        worst["probabilities"] = max(worst["probabilities"], float(np.abs(probabilities - softmax).max()))
    assert worst["logits"] <= TOLERANCE * scale, worst
    assert worst["probabilities"] <= TOLERANCE, worst
    return {**worst, "largest_logit": scale}


def main():
    path, images, logits, side, classes = sys.argv[1:]
    side, classes = int(side), int(classes)
    images = np.fromfile(images, np.uint8).reshape(-1, 3, side, side).astype(np.float32) / 255
    expected = np.fromfile(logits, "<f4").reshape(-1, classes)
    assert len(images) == len(expected) > 5
    report = {"images": len(images), "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    report |= check_graph(path, side, classes)
    report |= check_values(path, images, expected, report["temperature"])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
