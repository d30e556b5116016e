"""Runs an exported model in every runtime that can be had, and compares them.

usage: runtimes.py FOLDER MODEL.onnx IMAGES LOGITS

IMAGES holds images as bytes, [3, SIDE, SIDE] each; LOGITS the expected logits, little-endian float32, [CLASSES] each.
FOLDER is where runtimes are installed, each into a folder of its own, by pip and npm; what is there already is used. Each
is given batches of 1, 5 and 1 images one after the other by one loaded model, then all images, one batch of 8 after the
other. Prints a line a runtime: the images with the same most probable class, and the largest differences. A runtime that
cannot be installed is said so and left out. Exits with 1 if one disagrees. Forms of a model with other inputs are given
what their metadata ask for; of float16 and int8 nine of ten images must get the same class.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

TOLERANCE = 1e-3
# What pip installs, and what else has to be there for it to be imported.
PYTHON = {
    "onnxruntime": ["onnxruntime"],
    "opencv 4.11": ["opencv-python-headless==4.11.0.86"],
    "opencv 4.12": ["opencv-python-headless==4.12.0.88"],
    "opencv 4": ["opencv-python-headless<5"],
    "opencv 5": ["opencv-python-headless>=5"],
    "openvino": ["openvino"],
    "onnx2torch": ["onnx2torch", "torch", "torchvision"],
    "ultralytics": ["ultralytics", "torch", "onnxruntime"],
}
NODE = {"onnxruntime-web": "onnxruntime-web", "onnxruntime-node": "onnxruntime-node"}
BATCHES = (1, 5, 1)
AT_ONCE = 8
# Forms that round, and the share of images whose class they must keep.
COARSE = {"float16", "int8"}
KEPT = 0.9


class Wanted:
    """What a model takes, by its own metadata."""

    def __init__(self, model):
        import onnx

        loaded = onnx.load(model)
        said = {entry.key: entry.value for entry in loaded.metadata_props}
        how = json.loads(said["preprocess"])
        self.form, self.side = said.get("variant", "float32"), json.loads(said["input_size"])[0]
        self.is_bytes, self.is_last = how["type"] == "uint8", how["layout"] == "NHWC"
        self.takes_one = loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1

    def batches(self, count):
        sizes = (1, 1, 1) if self.takes_one else BATCHES
        step = 1 if self.takes_one else AT_ONCE
        starts = [(sum(sizes[:index]), size) for index, size in enumerate(sizes)]
        return starts + [(at, min(step, count - at)) for at in range(0, count, step)]

    def values(self, images):
        """Bytes, [N, 3, side, side], as the model takes them."""
        import numpy as np

        images = images if self.is_bytes else images.astype(np.float32) / 255
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1) if self.is_last else images)


def onnxruntime(model):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return onnxruntime.__version__, lambda x: session.run(["probabilities", "logits"], {"images": x})


def opencv(model):
    import cv2

    net = cv2.dnn.readNetFromONNX(model)

    names = net.getUnconnectedOutLayersNames()

    def run(x):
        net.setInput(x)
        if len(names) == 1:
            return net.forward(), None
        probabilities, logits = net.forward(["probabilities", "logits"])
        return probabilities, logits

    return cv2.__version__, run


def openvino(model):
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(x):
        result = compiled({"images": x})
        return result["probabilities"], result["logits"]

    return openvino.__version__, run


def onnx2torch(model):
    import onnx
    import onnx2torch
    import torch

    module = onnx2torch.convert(model).eval()
    names = [value.name for value in onnx.load(model).graph.output]

    def run(x):
        with torch.no_grad():
            found = dict(zip(names, module(torch.from_numpy(x)), strict=True))
        return found["probabilities"].numpy(), found["logits"].numpy()

    return torch.__version__, run


def ultralytics(model):
    """As `YOLO(file, task="classify")` runs it: its own reading of images is not used, so that the same values go in."""
    import torch
    from ultralytics import YOLO, __version__
    from ultralytics.nn.autobackend import AutoBackend

    loaded = YOLO(model, task="classify")
    backend = AutoBackend(model, device=torch.device("cpu"))
    assert len(loaded.names if isinstance(loaded.names, dict) else backend.names) == len(backend.names)

    def run(x):
        found = backend(torch.from_numpy(x))
        found = found[0] if isinstance(found, (list, tuple)) else found
        return found.cpu().numpy(), None

    return __version__, run


RUNNERS = {"onnxruntime": onnxruntime, "openvino": openvino, "onnx2torch": onnx2torch, "ultralytics": ultralytics}


def compare(found_probabilities, found_logits, expected):
    import numpy as np

    powers = np.exp(expected - expected.max(1, keepdims=True))
    softmax = powers / powers.sum(1, keepdims=True)
    same = int((found_probabilities.argmax(1) == expected.argmax(1)).sum())
    report = {
        "same": same,
        "of": len(expected),
        "probabilities": float(np.abs(found_probabilities - softmax).max()),
    }
    if found_logits is not None:
        report["logits"] = float(np.abs(found_logits - expected).max())
    report["scale"] = max(1.0, float(np.abs(expected).max()))
    return report


def run_here(name, model, images, logits):
    """Runs one runtime in this process."""
    import numpy as np

    wanted = Wanted(model)
    images = np.fromfile(images, np.uint8).reshape(-1, 3, wanted.side, wanted.side)
    expected = np.fromfile(logits, "<f4").reshape(len(images), -1)
    version, run = RUNNERS.get(name, opencv)(model)
    rows, order = [], []
    for at, batch in wanted.batches(len(images)):
        rows.append(run(wanted.values(images[at : at + batch])))
        order += range(at, at + batch)
    probabilities = np.concatenate([np.asarray(row[0]).reshape(-1, expected.shape[1]) for row in rows])
    found = None
    if rows[0][1] is not None:
        found = np.concatenate([np.asarray(row[1]).reshape(-1, expected.shape[1]) for row in rows])
    print(json.dumps({"version": version, **compare(probabilities, found, expected[order])}))


NODE_SCRIPT = """
const [kind, model, images, side, batches, bytesIn, last] = process.argv.slice(2);
const fs = require("fs");
const ort = require(kind);
(async () => {
  const session = await ort.InferenceSession.create(kind === "onnxruntime-web" ? new Uint8Array(fs.readFileSync(model)) : model);
  const bytes = fs.readFileSync(images);
  const size = 3 * side * side;
  const about = fs.readFileSync("node_modules/" + kind + "/package.json");
  const out = { version: JSON.parse(about).version, probabilities: [], logits: [] };
  for (const [at, count] of JSON.parse(batches)) {
    let some = bytes.subarray(at * size, (at + count) * size);
    if (+last) {
      const plane = side * side;
      some = Uint8Array.from(some, (_, to) => some[Math.floor(to / size) * size + (to % 3) * plane + Math.floor((to % size) / 3)]);
    }
    const values = +bytesIn ? Uint8Array.from(some) : Float32Array.from(some, (byte) => byte / 255);
    const shape = +last ? [count, +side, +side, 3] : [count, 3, +side, +side];
    const found = await session.run({ images: new ort.Tensor(+bytesIn ? "uint8" : "float32", values, shape) });
    for (const name of ["probabilities", "logits"]) out[name].push(...found[name].data);
  }
  process.stdout.write(JSON.stringify(out));
})().catch((error) => { console.error(String(error)); process.exit(1); });
"""


def run_node(folder, kind, model, images, logits):
    import numpy as np
    wanted = Wanted(model)
    count = os.path.getsize(images) // (3 * wanted.side**2)
    starts = wanted.batches(count)
    script = folder / "run.cjs"
    script.write_text(NODE_SCRIPT)
    found = subprocess.run(
        ["node", script, kind, os.path.abspath(model), os.path.abspath(images), str(wanted.side), json.dumps(starts), *map(str, map(int, (wanted.is_bytes, wanted.is_last)))],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if found.returncode:
        return {"error": (found.stderr.strip().splitlines() or ["?"])[-1][:200]}
    found = json.loads(found.stdout)
    expected = np.fromfile(logits, "<f4").reshape(count, -1)
    expected = expected[[index for at, batch in starts for index in range(at, at + batch)]]
    rows = {name: np.array(found[name], np.float32).reshape(expected.shape) for name in ("probabilities", "logits")}
    return {"version": found["version"], **compare(rows["probabilities"], rows["logits"], expected)}


def installed(folder, packages):
    """Installs packages into a folder, unless it is there. What the interpreter has itself is used from there."""
    if folder.is_dir():
        return None
    missing = [package for package in packages if package != "torch" or not has("torch")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *missing]
    found = subprocess.run(command, capture_output=True, text=True)
    return None if found.returncode == 0 else (found.stderr.strip().splitlines() or ["pip failed"])[-1][:200]


def has(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0


def main():
    if sys.argv[1] == "--here":
        return run_here(*sys.argv[2:])
    folder, model, images, logits = Path(sys.argv[1]).absolute(), *sys.argv[2:5]
    failed = False
    reports = []
    for name, packages in PYTHON.items():
        where = folder / name.replace(" ", "-")
        problem = installed(where, packages)
        if problem:
            print(f"{name}: left out, it cannot be installed: {problem}")
            continue
        found = subprocess.run(
            [sys.executable, __file__, "--here", name, model, images, logits],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(where), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"},
        )
        report = (
            json.loads(found.stdout.strip().splitlines()[-1])
            if found.returncode == 0
            else {"error": (found.stderr.strip().splitlines() or ["?"])[-1][:300]}
        )
        reports.append((name, report))
    for name, package in NODE.items():
        where = folder / "node"
        where.mkdir(parents=True, exist_ok=True)
        if not (where / "node_modules" / package).is_dir():
            npm = subprocess.run(
                ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", where, package],
                capture_output=True,
                text=True,
            )
            if npm.returncode:
                print(f"{name}: left out, it cannot be installed: {npm.stderr.strip().splitlines()[-1:]}")
                continue
        reports.append((name, run_node(where, package, model, images, logits)))
    form = Wanted(model).form
    for name, report in reports:
        if "error" in report:
            failed = True
            print(f"{name}: FAILED: {report['error']}")
            continue
        agrees = (
            report["same"] >= KEPT * report["of"]
            if form in COARSE
            else report["same"] == report["of"]
            and report["probabilities"] <= TOLERANCE
            and report.get("logits", 0.0) <= TOLERANCE * report["scale"]
        )
        failed |= not agrees
        print(
            f"{name} {report['version']}: {report['same']} of {report['of']} the same, probabilities {report['probabilities']:.1e}, "
            f"logits {report.get('logits', float('nan')):.1e}{'' if agrees else '  DISAGREES'}"
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
