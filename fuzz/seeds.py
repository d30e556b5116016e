#!/usr/bin/env python3
"""Writes what fuzzing begins with: for every target files of its kind as they should be.

    python fuzz/seeds.py target/release/counterweight fuzz/corpus

What the program writes is taken from the program, images and weights from tests/reference. Needs nothing but Python.
"""

import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "reference"


def parts(files):
    """An input of several files, as the targets take it apart."""
    return b"".join(b"\n=== " + name.encode() + b"\n" + content for name, content in files.items())


def varint(number):
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number, content):
    """A field of a protobuf message: a whole number, or bytes, text or another message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx(metadata, sides=(1, 3, 8, 8), outputs=("logits",)):
    """A network of a convolution, pooling and a linear classifier for three classes."""

    def tensor(name, *shape):
        values = [(at % 7 - 3) / 8 for at in range(math.prod(shape))]
        dims = b"".join(field(1, size) for size in shape)
        return field(5, dims + field(2, 1) + field(8, name) + field(9, struct.pack(f"<{len(values)}f", *values)))

    def ints(name, *numbers):
        return field(5, field(1, name) + b"".join(field(8, number) for number in numbers) + field(20, 7))

    def node(kind, inputs, output, attributes=b""):
        names = b"".join(field(1, name) for name in inputs)
        return field(1, names + field(2, output) + field(3, output) + field(4, kind) + attributes)

    def value(name, shape):
        dims = b"".join(field(1, field(1, size)) for size in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    graph = (
        node("Conv", ["images", "w"], "c", ints("kernel_shape", 3, 3) + ints("strides", 2, 2) + ints("pads", 1, 1, 1, 1))
        + node("Relu", ["c"], "r")
        + node("GlobalAveragePool", ["r"], "p")
        + node("Flatten", ["p"], "features")
        + node("Gemm", ["features", "fc", "bias"], "logits")
        + node("Softmax", ["logits"], "probabilities")
        + field(2, "graph")
        + tensor("w", 4, 3, 3, 3)
        + tensor("fc", 4, 3)
        + tensor("bias", 3)
        + field(11, value("images", sides))
        + b"".join(field(12, value(name, (1, 3))) for name in outputs)
    )
    entries = b"".join(field(14, field(1, key) + field(2, text)) for key, text in metadata.items())
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17)) + entries


def images():
    for path in sorted([*(REFERENCE / "jpeg").iterdir(), *(REFERENCE / "phones").iterdir()]):
        if path.stat().st_size < 60_000:
            yield path.name, path.read_bytes()
    yield "pixels.ppm", b"P6 2 2 255\n" + bytes(range(12))
    yield "text.pgm", b"P2\n3 2\n15\n1 2 3 4 5 6\n"
    yield "pixels.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0) + bytes(range(16))
    gif = "47494638396102000200800100000000ffffff21f90401000001002c000000000200020000020284510 03b"
    yield "pixels.gif", bytes.fromhex(gif.replace(" ", ""))
    yield "pixels.webp", bytes.fromhex("524946461a000000574542505650384c0d0000002f0000001007111111888808fe0700")
    # A TIFF of 2 × 2 grey pixels: tags of size, bits, compression, meaning, place, samples, rows and bytes.
    tags = [(256, 3, 2), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 2), (279, 4, 4)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    yield "pixels.tif", b"II*\0" + struct.pack("<I", 12) + bytes([0, 90, 180, 255]) + directory + bytes(4)


def cifar():
    """CIFAR's files by the name of the form they belong to, two images each."""
    pixels = bytes(at % 256 for at in range(3072))
    names = "".join(f"class{at}\n" for at in range(10)).encode()
    record = {b"data": pixels * 2, b"labels": [0, 3], b"fine_labels": [0, 3], b"filenames": [b"a", b"b"]}
    meta = {b"label_names": [b"a"] * 10, b"fine_label_names": [b"a"] * 100}
    dumped = pickle.dumps(record, protocol=2)
    yield "binary", {"data_batch_1.bin": b"\0" + pixels + b"\3" + pixels, "test_batch.bin": b"\1" + pixels, "batches.meta.txt": names}
    yield "python", {"data_batch_1": dumped, "test_batch": dumped, "batches.meta": pickle.dumps(meta, protocol=2)}
    yield "fine", {"train": dumped, "test": dumped, "meta": pickle.dumps(meta, protocol=2)}


def lists():
    yield "header", "||||\npath,label,split\na/1.ppm,cat,train\na/2.ppm,dog,val\nb/1.ppm,cat,test\n"
    yield "bare", "||||\na/1.ppm 0\na/2.ppm 1\n"
    yield "folders", "||folder||\na/1.ppm\nb/1.ppm\nb/2.ppm\n"
    yield "columns", "comma|file|class|set|site\nfile,class,set,site\n1.ppm,x,train,s1\n2.ppm,y,test,s2\n"
    yield "one-hot", "||||\nimage;MEL;NV\na/1;1.0;0.0\nb/2;0.0;1.0\n"
    yield "quotes", '||||\n"a/1.ppm"\t"a ""b"""\nb/1.ppm\tc\n'
    images = [{"id": at, "file_name": name, "seq_id": "s"} for at, name in enumerate(["a/1.ppm", "a/2.ppm", "b/1.ppm"])]
    annotations = [{"image_id": at, "category_id": at % 2} for at in range(3)]
    categories = [{"id": 0, "name": "owl"}, {"id": 1, "name": "wren"}]
    for name, value in [
        ("coco", {"images": images, "annotations": annotations, "categories": categories}),
        ("records", [{"data": {"image": "a/1.ppm"}, "label": ["owl"]}, {"data": {"image": "b/1.ppm"}, "label": ["wren"]}]),
        ("splits", {"train": [["a/1.ppm", 0, "owl"], ["b/1.ppm", 1, "wren"]], "val": [["b/2.ppm", 1, "wren"]]}),
        ("pairs", {"a/1.ppm": "owl", "b/1.ppm": "wren"}),
        ("members", {"owl": ["a/1.ppm", "a/2.ppm"], "wren": ["b/1.ppm"]}),
    ]:
        yield name, "||||\n" + json.dumps(value)
    yield "lines", '||||\n{"file": "a/1.ppm", "label": "owl"}\n{"file": "b/1.ppm", "label": "wren"}\n'


def run_and_edits(program):
    """A run of the program on a few images, and edits of them."""
    with tempfile.TemporaryDirectory() as folder:
        photos, run = Path(folder, "photos"), Path(folder, "run")
        for name, count in [("a", 12), ("b", 6)]:
            (photos / name).mkdir(parents=True)
            for at in range(count):
                shade = 40 * (name == "b")
                pixels = bytes((at * 31 + place * 7 + shade) % 256 for place in range(16 * 16 * 3))
                (photos / name / f"{at}.ppm").write_bytes(b"P6 16 16 255\n" + pixels)

        def call(*arguments):
            environment = os.environ | {"COUNTERWEIGHT_CACHE": str(Path(folder, "cache"))}
            subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, env=environment)

        call("train", photos, "--run", run, "--preset", "quick", "--set", "stage1.epochs=2", "--device", "cpu")
        call("balance", run, "--balancer", "tau", "--device", "cpu")
        call("evaluate", run, "--split", "test", "--device", "cpu")
        call("edit", photos, "exclude", "a/1.ppm")
        call("edit", photos, "move", "--to", "b", "a/2.ppm")
        call("edit", photos, "undo")
        files = {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.suffix in {".toml", ".jsonl", ".csv", ".json"}}
        files = {name: content for name, content in files.items() if len(content) < 20_000}
        checkpoint = (run / "checkpoints" / "last.safetensors").read_bytes()
        return files, checkpoint, Path(folder, "photos.edits.jsonl").read_bytes()


def seeds(program):
    """Target, name and content of every seed."""
    for name, content in images():
        yield "heif" if content[4:8] == b"ftyp" else "image", name, content
    for name, files in cifar():
        yield "cifar", name, parts(files)
        archive = BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for file, content in files.items():
                entry = tarfile.TarInfo(f"cifar/{file}")
                entry.size = len(content)
                tar.addfile(entry, BytesIO(content))
        # Four zeros choose the bytes as they are.
        yield "archive", name, bytes(4) + archive.getvalue()
    for name, text in lists():
        yield "list", name, text.encode()
    for path in (REFERENCE / "weights").iterdir():
        yield "weights", path.name, path.read_bytes()
    storage = "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQI0\n(I2\nI2\nt(I2\nI1\nttR."
    yield "weights", "pickle", parts({"data.pkl": f"(S'w'\n{storage[:-1]}d.".encode(), "data/0": struct.pack("<4f", 1, 2, 3, 4), "version": b"3\n"})
    preprocess = json.dumps({"size": [8, 8], "crop": "center", "range": [0, 1], "layout": "NCHW", "colour": "RGB", "normalised_inside": True})
    yield "onnx", "plain", onnx({})
    yield "onnx", "named", onnx({"class_names": '["a", "b", "c"]', "preprocess": preprocess, "mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    yield "onnx", "ultralytics", onnx({"names": "{0: 'a', 1: 'b', 2: 'c'}", "imgsz": "[8, 8]", "author": "Ultralytics"}, outputs=("probabilities",))
    yield "onnx", "bytes", onnx({"input_size": "[8, 8]"}, sides=(1, 8, 8, 3))
    config = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "crop_size": {"height": 8, "width": 8}, "do_normalize": True, "rescale_factor": 1 / 255}
    yield "extractor", "config", parts({"model.onnx": onnx({}), "preprocessor_config.json": json.dumps(config).encode()})
    yield "extractor", "metadata", parts({"model.onnx": onnx({"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}, outputs=("features",))})
    yield "features", "over", bytes([0, 60, 0]) + bytes(8)
    files, checkpoint, edits = run_and_edits(program)
    yield "run", "run", parts(files)
    yield "dataset", "dataset", files["dataset.toml"]
    yield "settings", "settings", files["settings.toml"]
    yield "settings", "overrides", b"stage1.epochs=3\nmodel.backbone=resnet20\nbalance.tau=1.5\nmodel.normalisation=imagenet\nbalance.balancers=tau,l2\n"
    yield "edits", "edits", edits
    # What a checkpoint says of itself, with one tensor instead of all.
    length = struct.unpack("<Q", checkpoint[:8])[0]
    header = json.loads(checkpoint[8 : 8 + length])
    header = {"__metadata__": header["__metadata__"], "model.fc.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    yield "checkpoint", "header", parts({"header": json.dumps(header).encode(), "data": bytes(8)})


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, corpus = shutil.which(sys.argv[1]) or sys.exit(f"there is no program {sys.argv[1]}"), Path(sys.argv[2])
    count = 0
    for target, name, content in seeds(os.path.abspath(program)):
        (corpus / target).mkdir(parents=True, exist_ok=True)
        (corpus / target / name).write_bytes(content)
        count += 1
    print(f"{count} files below {corpus}")


if __name__ == "__main__":
    main()
