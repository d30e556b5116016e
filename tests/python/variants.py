"""Runs every form of a bundle in onnxruntime, as its metadata says images are to be prepared, and compares it with the float32 file.

usage: variants.py BUNDLE [FOLDER]

FOLDER holds images in one folder a class (a test split); without it the ten reference images are used. Prints a line a form: its size, how many images a second
it does beside the float32 file, one at a time in turns, how many images get the same class, the largest difference of probabilities, and with FOLDER the
balanced accuracy and the class that loses most.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

ROUNDS = 3
PIXELS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def prepared(image, how, side):
    """An image as `preprocess` says."""
    image = image.convert("RGB")
    if how["size"] != "inside the graph" and image.size != (side, side):
        across, down = image.size if how.get("fit") == "stretch" else (min(image.size),) * 2
        left, top = (image.width - across) / 2, (image.height - down) / 2
        # First vertically, as the program does; in one call Pillow chooses the order by itself.
        image = image.resize((image.width, side), Image.BILINEAR, box=(0, top, image.width, top + down))
        image = image.resize((side, side), Image.BILINEAR, box=(left, 0, left + across, side))
    values = np.asarray(image)
    if how["layout"] == "NCHW":
        values = values.transpose(2, 0, 1)
    if how["type"] == "float32":
        values = values.astype(np.float32) / 255
    return np.ascontiguousarray(values[None])


class Form:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        said = self.session.get_modelmeta().custom_metadata_map
        self.name = said["variant"]
        self.how = json.loads(said["preprocess"])
        self.side = json.loads(said["input_size"])[0]
        self.labels = json.loads(said["class_names"])
        self.bytes = path.stat().st_size

    def run(self, images):
        rows, seconds = [], 0.0
        for image in images:
            values = prepared(image, self.how, self.side)
            started = time.perf_counter()
            rows.append(self.session.run(["probabilities"], {"images": values})[0][0])
            seconds += time.perf_counter() - started
        return np.array(rows), seconds


def main():
    bundle = Path(sys.argv[1])
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else bundle / "reference"
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PIXELS)
    images = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]
    first = Form(bundle / "model.onnx")
    labels = [first.labels.index(path.parent.name) if path.parent.name in first.labels else -1 for path in paths]
    labels = np.array(labels)
    print(f"onnxruntime {onnxruntime.__version__}, one thread, {len(images)} images")
    for path in sorted(bundle.glob("model*.onnx")):
        form = Form(path)
        speeds = []
        for _ in range(ROUNDS):
            expected, before = first.run(images)
            found, after = form.run(images)
            speeds.append(before / after)
        same = int((found.argmax(1) == expected.argmax(1)).sum())
        line = f"{form.name}: {form.bytes / 1e6:.1f} MB, {sorted(speeds)[len(speeds) // 2]:.2f} x the speed of float32, "
        line += f"{same} of {len(images)} the same, probabilities {np.abs(found - expected).max():.1e}"
        if (labels >= 0).all():
            right = [[(rows.argmax(1) == labels)[labels == c].mean() for c in np.unique(labels)] for rows in (expected, found)]
            lost = np.array(right[0]) - np.array(right[1])
            worst = int(lost.argmax())
            line += f", balanced {100 * np.mean(right[0]):.1f} -> {100 * np.mean(right[1]):.1f}, "
            name = first.labels[np.unique(labels)[worst]]
            line += f"{name} {-100 * lost[worst]:+.1f}" if lost[worst] > 0 else "no class loses"
        print(line)


if __name__ == "__main__":
    main()
