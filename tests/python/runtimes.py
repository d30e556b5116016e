"""Runs exported models in every runtime that can be had, and compares them.

usage: runtimes.py FOLDER MODEL.onnx|BUNDLE IMAGES LOGITS

IMAGES holds images as bytes, [3, SIDE, SIDE] each; LOGITS the expected logits, little-endian float32, [CLASSES] each.
FOLDER is where runtimes are installed, each into a folder of its own, by pip and npm; what is there already is used. Each
is given batches of 1, 5 and 1 images one after the other by one loaded model, then all images, one batch of 8 after the
other. Prints a line a runtime: the images with the same most probable class, and the largest differences. A runtime that
cannot be installed is said so and left out. Exits with 1 if one disagrees. Forms of a model with other inputs are given
what their metadata ask for, logits are divided by a temperature that is inside, and probabilities are the softmax of
logits divided by the temperature that lies between; of float16 and int8 nine of ten images must get the same class, and
the line says, too, how far a runtime is from onnxruntime with the same file. Of a bundle every form is run, and a table
of runtimes and forms is printed at the end, in Markdown.
"""

import json
import os
import subprocess
import sys
import tempfile
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
SECONDS = 900
ERROR = 400


class Wanted:
    """What a model takes, by its own metadata."""

    def __init__(self, model):
        import onnx

        loaded = onnx.load(model)
        said = {entry.key: entry.value for entry in loaded.metadata_props}
        how = json.loads(said["preprocess"])
        self.form, self.side = said.get("variant", "float32"), json.loads(said["input_size"])[0]
        self.is_bytes, self.is_last = how["type"] == "uint8", how["layout"] == "NHWC"
        self.temperature = float(said.get("temperature_inside", 1))
        self.softmax = float(said.get("probability_temperature", 1))
        self.takes_one = loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1

    def batches(self, count):
        sizes = (1,) * sum(BATCHES) if self.takes_one else BATCHES
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


def compare(found, expected, temperature):
    """The probabilities and, where there are any, the logits that were found, beside the logits expected."""
    import numpy as np

    powers = np.exp((expected - expected.max(1, keepdims=True)) / temperature)
    softmax = powers / powers.sum(1, keepdims=True)
    probabilities, logits = found
    report = {
        "same": int((probabilities.argmax(1) == expected.argmax(1)).sum()),
        "of": len(expected),
        "probabilities": float(np.abs(probabilities - softmax).max()),
    }
    if logits is not None:
        report["logits"] = float(np.abs(logits - expected).max())
    report["scale"] = max(1.0, float(np.abs(expected).max()))
    return report


def run_here(name, model, images, out):
    """Runs one runtime in this process. Writes what it finds to a file."""
    import numpy as np

    try:
        wanted = Wanted(model)
        images = np.fromfile(images, np.uint8).reshape(-1, 3, wanted.side, wanted.side)
        version, run = RUNNERS.get(name, opencv)(model)
        rows = [run(wanted.values(images[at : at + batch])) for at, batch in wanted.batches(len(images))]
        named = {}
        for index, output in enumerate(("probabilities", "logits")):
            if rows[0][index] is not None:
                values = [np.asarray(row[index]) for row in rows]
                named[output] = np.concatenate([value.reshape(-1, value.shape[-1]) for value in values])
        np.savez(out, **named)
        print(json.dumps({"version": version}))
    except Exception as error:  # Whatever a runtime throws is what is to be said of it.
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


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
})().catch((error) => { console.log(JSON.stringify({ error: String(error) })); process.exit(1); });
"""


def called(command, **how):
    """What a runtime's own process says on its last line, as JSON."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **how)
    except subprocess.TimeoutExpired:
        return {"error": f"nothing in {SECONDS} s"}
    try:
        return json.loads(found.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = found.stderr.strip().splitlines() or ["nothing"]
        return {"error": f"ended with {found.returncode}, said: {said[-1]}"}


def run_python(where, name, model, images):
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "found.npz")
        report = called(
            [sys.executable, __file__, "--here", name, model, images, out],
            env={**os.environ, "PYTHONPATH": str(where), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"},
        )
        if "error" not in report:
            with np.load(out) as found:
                report["found"] = [found[output] if output in found else None for output in ("probabilities", "logits")]
    return report


def run_node(folder, kind, model, images):
    import numpy as np

    wanted = Wanted(model)
    starts = wanted.batches(os.path.getsize(images) // (3 * wanted.side**2))
    script = folder / "run.cjs"
    script.write_text(NODE_SCRIPT)
    how = [wanted.side, json.dumps(starts), int(wanted.is_bytes), int(wanted.is_last)]
    paths = [os.path.abspath(path) for path in (model, images)]
    report = called(["node", script, kind, *paths, *map(str, how)], cwd=folder)
    if "error" not in report:
        rows = sum(count for _, count in starts)
        report["found"] = [np.array(report.pop(name), np.float32).reshape(rows, -1) for name in ("probabilities", "logits")]
    return report


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


def install(folder):
    """The runtimes that are there or can be installed, each with what runs a model on images."""
    runtimes = []
    for name, packages in PYTHON.items():
        where = folder / name.replace(" ", "-")
        problem = installed(where, packages)
        if problem:
            print(f"{name}: left out, it cannot be installed: {problem}")
            continue
        runtimes.append((name, lambda *about, where=where, name=name: run_python(where, name, *about)))
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
        runtimes.append((name, lambda *about, where=where, package=package: run_node(where, package, *about)))
    return runtimes


def said_of(report, form):
    """Whether a runtime agrees, the line about it, and what the table says."""
    if "error" in report:
        # The message alone, without where in somebody's sources it was thrown.
        message = " ".join(report["error"].split())
        return False, f"FAILED: {message[:ERROR]}", "fails"
    limit = TOLERANCE * report["scale"]
    if form in COARSE:
        agrees = report["same"] >= KEPT * report["of"]
    else:
        agrees = report["same"] == report["of"] and report["probabilities"] <= TOLERANCE and report.get("logits", 0.0) <= limit
    logits = f", logits {report['logits']:.1e}" if "logits" in report else ""
    beside = f"; from onnxruntime {report['beside']:.1e}" if "beside" in report else ""
    line = f"{report['same']} of {report['of']} answers the same, probabilities {report['probabilities']:.1e}{logits}{beside}"
    largest = f"{report['logits']:.1e}" if "logits" in report else f"probabilities {report['probabilities']:.1e}"
    cell = f"{report['same']}, {largest}" + (f" ({report['beside']:.1e})" if "beside" in report else "")
    return agrees, line + ("" if agrees else "  DISAGREES"), cell if agrees else f"**{cell}**"


def main():
    if sys.argv[1] == "--here":
        return run_here(*sys.argv[2:])
    import numpy as np

    folder, given, images, logits = Path(sys.argv[1]).absolute(), Path(sys.argv[2]), *sys.argv[3:5]
    models = sorted(given.glob("model*.onnx")) if given.is_dir() else [given]
    # The usual form comes first.
    models = [str(model) for model in sorted(models, key=lambda model: model.name != "model.onnx")]
    runtimes = install(folder)
    failed, forms, table = False, [], {name: [] for name, _ in runtimes}
    versions = {}
    for model in models:
        wanted = Wanted(model)
        forms.append(wanted.form)
        expected = np.fromfile(logits, "<f4").reshape(os.path.getsize(images) // (3 * wanted.side**2), -1)
        order = [index for at, size in wanted.batches(len(expected)) for index in range(at, at + size)]
        expected = expected[order] / np.float32(wanted.temperature)
        first = None
        for name, run in runtimes:
            report = run(model, images)
            found = report.pop("found", None)
            if found is not None:
                versions[name] = report["version"]
                report.update(compare(found, expected, wanted.softmax))
                if name == "onnxruntime":
                    first = found
                elif wanted.form in COARSE and first is not None:
                    # Logits, or probabilities where a runtime gives no others.
                    which = 0 if found[1] is None else 1
                    report["beside"] = float(np.abs(found[which] - first[which]).max())
            agrees, line, cell = said_of(report, wanted.form)
            failed |= not agrees
            table[name].append(cell)
            start = f"{wanted.form}: " if len(models) > 1 else ""
            print(f"{start}{name} {report.get('version', '')}: {line}", flush=True)
    if len(models) > 1:
        print("\n| runtime | " + " | ".join(forms) + " |\n| --- |" + " --- |" * len(forms))
        for name, cells in table.items():
            print(f"| {name} {versions.get(name, '')} | " + " | ".join(cells) + " |")
    sys.exit(failed)


if __name__ == "__main__":
    main()
