"""Classifies images with the model beside this folder.

    pip install onnxruntime pillow numpy
    python classify.py IMAGE...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MODEL = Path(__file__).resolve().parent.parent.parent / "model.onnx"


def prepare(path, side):
    """An image file as the model wants it: float32 [3, side, side], RGB in 0..1. The model normalises by itself."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):
        # 16 bits a pixel: Pillow's own conversion would cut values off instead of scaling them.
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(values.astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")
    image = image.convert("RGB")
    width, height = image.size
    if (width, height) != (side, side):
        # The largest centred square; an odd margin is cut by half a pixel on both sides.
        square = min(width, height)
        left, top = (width - square) / 2, (height - square) / 2
        # On its side: Pillow begins horizontally, the program vertically, and both round to bytes in between.
        image = image.transpose(Image.Transpose.TRANSPOSE)
        image = image.resize((side, side), Image.BILINEAR, box=(top, left, top + square, left + square))
        image = image.transpose(Image.Transpose.TRANSPOSE)
    return np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255)


class Classifier:
    def __init__(self, model=MODEL):
        self.session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        said = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(said["class_names"])
        self.side = json.loads(said["input_size"])[0]

    def probabilities(self, paths):
        images = np.stack([prepare(path, self.side) for path in paths])
        return self.session.run(["probabilities"], {"images": images})[0]

    def top(self, path, count=5):
        [row] = self.probabilities([path])
        return [(self.labels[index], float(row[index])) for index in np.argsort(-row, kind="stable")[:count]]


if __name__ == "__main__":
    classifier = Classifier()
    for path in sys.argv[1:]:
        print(path)
        for label, probability in classifier.top(path):
            print(f"  {100 * probability:5.1f} %  {label}")
