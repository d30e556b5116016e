"""Times `counterweight predict` of a folder beside onnxruntime with a pool of threads that does the same: decode, crop, resize, classify, write a table.

usage: bench_predict.py PROGRAM MODEL.onnx FOLDER [ROUNDS]

Both find the files in the operating system's cache, after one run each that is not timed. Rounds in turns; prints images a second, medians, and their ratio.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

PIXELS = {".png", ".jpg", ".jpeg"}
BATCH = 16


def prepared(path, side):
    image = Image.open(path)
    # JPEGs are decoded no larger than needed.
    image.draft("RGB", (side, side))
    image = ImageOps.exif_transpose(image).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    image = image.resize((side, side), Image.BILINEAR, box=(left, top, left + short, top + short))
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


def with_onnxruntime(session, side, paths, table):
    """Each thread decodes and classifies batches; the session itself uses one thread a call."""

    def work(batch):
        rows = session.run(["probabilities"], {"images": np.stack([prepared(path, side) for path in batch])})[0]
        return list(zip(batch, rows.argmax(1), rows.max(1), strict=True))

    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    with ThreadPoolExecutor(cpu_count()) as pool, open(table, "w", newline="") as out:
        writer = csv.writer(out)
        for rows in pool.map(work, batches):
            writer.writerows((str(path), int(label), float(probability)) for path, label, probability in rows)


def main():
    program, model, folder = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PIXELS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    side = json.loads(session.get_modelmeta().custom_metadata_map["input_size"])[0]
    seconds = {"ours": [], "onnxruntime": []}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(rounds + 1):
            started = time.perf_counter()
            table = Path(scratch) / f"ours{turn}.csv"
            subprocess.run([program, "predict", model, folder, "--csv", table], check=True, capture_output=True)
            ours = time.perf_counter() - started
            started = time.perf_counter()
            with_onnxruntime(session, side, paths, Path(scratch) / "theirs.csv")
            theirs = time.perf_counter() - started
            if turn:
                seconds["ours"].append(ours)
                seconds["onnxruntime"].append(theirs)
    rates = {name: len(paths) / statistics.median(times) for name, times in seconds.items()}
    print(f"{len(paths)} images, {cpu_count()} threads: {rates['ours']:.0f} images/s, onnxruntime {rates['onnxruntime']:.0f}, ratio {rates['ours'] / rates['onnxruntime']:.2f}")


if __name__ == "__main__":
    main()
