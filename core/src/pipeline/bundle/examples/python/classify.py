"""Classifies images, or all images of folders, with the model beside this folder.

    pip install onnxruntime pillow numpy
    python classify.py IMAGE|FOLDER...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

# Whether the model sees an image's largest centred square, or all of it, whatever its shape.
CROP = True
MODEL = Path(__file__).resolve().parent.parent.parent / "model.onnx"


def read(path, side):
    """An image file, upright, as 8-bit RGB; alpha is dropped. A large JPEG at a half, a quarter or an eighth of its size."""
    image = Image.open(path)
    if image.mode in ("L", "RGB"):
        image.draft(None, ((3 * side + 1) // 2,) * 2)
    if image.format == "PNG" and image.tile[0][3] in ("RGB;16B", "RGBA;16B"):
        # Of 16 bits a channel Pillow keeps the upper 8; in the other order of bytes it takes the lower ones for them.
        other = Image.open(path)
        other.tile = [(*other.tile[0][:3], other.tile[0][3].replace("16B", "16L"))]
        upper, lower = (np.asarray(ImageOps.exif_transpose(part).convert("RGB"), np.uint32) for part in (image, other))
        return Image.fromarray(((256 * upper + lower + 128) // 257).astype(np.uint8))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # Pillow's own conversion would cut values off instead of scaling them.
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(values.astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


def prepare(path, side):
    """An image file as the model wants it: float32 [3, side, side], RGB in 0..1. The model normalises by itself."""
    image = read(path, side)
    width, height = image.size
    if (width, height) != (side, side):
        # An odd margin is cut by half a pixel on both sides.
        across, down = (min(width, height),) * 2 if CROP else (width, height)
        left, top = (width - across) / 2, (height - down) / 2
        # First vertically, then horizontally, and both round to bytes: the program does the same. In one call Pillow chooses
        # the order by itself.
        image = image.resize((width, side), Image.BILINEAR, box=(0, top, width, top + down))
        image = image.resize((side, side), Image.BILINEAR, box=(left, 0, left + across, side))
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


def images(names):
    """The files that are named, and the images of folders."""
    known = set(Image.registered_extensions())
    for path in map(Path, names):
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in known) if path.is_dir() else [path]


def main(names):
    """Prints what each image shows. The exit code: 0, 3 where some could not be read, 1 where none could."""
    classifier, read, unreadable = Classifier(), 0, 0
    for path in images(names):
        try:
            top = classifier.top(path)
        # What a damaged file makes of its decoder is of many kinds.
        except Exception as error:
            unreadable += 1
            print(f"{path}: {error}", file=sys.stderr)
            continue
        read += 1
        print(path)
        for label, probability in top:
            print(f"  {100 * probability:5.1f} %  {label}")
    return 0 if not unreadable else 3 if read else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
