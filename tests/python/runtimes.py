"""Runs exported models in every runtime that can be had, and compares them.

usage: runtimes.py FOLDER MODEL.onnx|BUNDLE IMAGES LOGITS [--seconds N] [--only NAME,NAME]

IMAGES holds images as bytes, [3, SIDE, SIDE] each; LOGITS the expected logits, little-endian float32, [CLASSES] each.
FOLDER is where runtimes are installed, each into a folder of its own, by pip and npm; what is there already is used. Each
is given batches of 1, 5 and 1 images one after the other by one loaded model, then all images, one batch of 8 after the
other. Prints a line a runtime: the images with the same most probable class, and the largest differences. A runtime that
cannot be installed is said so and left out; --only names those to run. Each has --seconds for a model (900). Exits with 1
if one disagrees or fails, but for what `REFUSED` lists: that is said, and counts as failed if it runs after all, or fails
for another reason. Forms of a model with other inputs are given what their metadata ask for, logits are divided by a
temperature that is inside, and probabilities are the softmax of logits divided by the temperature that lies between; of
float16 and int8 nine of ten images must get the same class, and the line says, too, how far a runtime is from onnxruntime
with the same file. Of a bundle every form is run, and a table of runtimes and forms is printed at the end, in Markdown.
"""

import argparse
import json
import os
import re
import signal
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
# What is known not to run: runtime, form and backbone by how their names begin; what its error says; why.
REFUSED = [
    ("opencv 4", "any-size", "", "isDynamicShape", "it has no free height and width"),
    ("onnx2torch", "int8", "", "operation_type='QuantizeLinear'", "it knows no `QuantizeLinear`"),
]


class Wanted:
    """What a model takes, by its own metadata."""

    def __init__(self, model):
        import onnx

        loaded = onnx.load(model)
        said = {entry.key: entry.value for entry in loaded.metadata_props}
        how = json.loads(said["preprocess"])
        self.form, self.side = said.get("variant", "float32"), json.loads(said["input_size"])[0]
        self.backbone, self.classes = json.loads(said.get("summary", "{}")).get("backbone", ""), len(json.loads(said["class_names"]))
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
    try:
        import numpy as np

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


def called(command, seconds, **how):
    """What a runtime's own process says on its last line, as JSON."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, **how)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {seconds:g} s"}
    try:
        return json.loads(found.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": ending(found.returncode, found.stderr)}


def ending(code, said):
    """How a process ended that gave no answer, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # Below an error's message may be where it was thrown, and node's version.
    errors = [line for line in lines if re.match(r"[\w.: ]*(error|exception)\b.*: ", line, re.IGNORECASE)]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"its process {how} and said {(errors or lines or ['nothing'])[-1]}"


def run_python(where, name, model, images, seconds):
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "found.npz")
        report = called(
            [sys.executable, __file__, "--here", name, model, images, out],
            seconds,
            env={**os.environ, "PYTHONPATH": str(where), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"},
        )
        if "error" not in report:
            with np.load(out) as found:
                report["found"] = [found[output] if output in found else None for output in ("probabilities", "logits")]
    return report


def run_node(folder, kind, model, images, seconds):
    import numpy as np

    wanted = Wanted(model)
    starts = wanted.batches(os.path.getsize(images) // (3 * wanted.side**2))
    how = [wanted.side, json.dumps(starts), int(wanted.is_bytes), int(wanted.is_last)]
    paths = [os.path.abspath(path) for path in (model, images)]
    report = called(["node", "-", kind, *paths, *map(str, how)], seconds, input=NODE_SCRIPT, cwd=folder)
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


def install(folder, only):
    """The runtimes that are there or can be installed, each with what runs a model on images."""
    runtimes = []
    for name, packages in PYTHON.items():
        if name not in only:
            continue
        where = folder / name.replace(" ", "-")
        problem = installed(where, packages)
        if problem:
            print(f"{name}: left out, it cannot be installed: {problem}")
            continue
        runtimes.append((name, lambda *about, where=where, name=name: run_python(where, name, *about)))
    for name, package in NODE.items():
        if name not in only:
            continue
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


def known(name, wanted):
    """What the error of a runtime says that is known to refuse such a model, and why it does."""
    for runtime, form, backbone, error, why in REFUSED:
        if name.startswith(runtime) and wanted.form == form and wanted.backbone.startswith(backbone):
            return error, why
    return None


def said_of(report, form, refusal):
    """Whether a runtime does what it should, the line about it, and what the table says."""
    if "error" in report:
        # The message alone, without where in somebody's sources it was thrown.
        message = " ".join(report["error"].split())
        if refusal and refusal[0] in message:
            return True, f"refused, as known: {refusal[1]}", f"refused: {refusal[1]}"
        return False, f"FAILED: {message[:ERROR]}", "**fails**"
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
    line += "" if agrees else "  DISAGREES"
    line += f"  RUNS, and `REFUSED` says it does not: {refusal[1]}" if refusal else ""
    agrees &= refusal is None
    return agrees, line, cell if agrees else f"**{cell}**"


def runtimes_named(said):
    """The runtimes that are named, in a list."""
    names = [name.strip() for name in said.split(",")]
    unknown = [name for name in names if name not in {**PYTHON, **NODE}]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join({**PYTHON, **NODE})}")
    return names


def expected_logits(logits, images, wanted):
    """The logits expected for all images, [N, CLASSES]. Ends with what is wrong if the files do not belong to the model."""
    import numpy as np

    count, rest = divmod(os.path.getsize(images), 3 * wanted.side**2)
    if rest or not count:
        sys.exit(f"{images} does not hold whole images of {wanted.side} x {wanted.side} pixels")
    values = np.fromfile(logits, "<f4")
    if values.size != count * wanted.classes:
        sys.exit(f"{logits} holds {values.size} values: {count} images of {wanted.classes} classes have {count * wanted.classes}")
    return values.reshape(count, -1)


def main():
    if sys.argv[1:2] == ["--here"]:
        return run_here(*sys.argv[2:])
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("images")
    parser.add_argument("logits")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", type=runtimes_named, default=[*PYTHON, *NODE])
    said = parser.parse_args()
    given, images, logits = said.model, said.images, said.logits
    models = sorted(given.glob("model*.onnx")) if given.is_dir() else [given]
    for path in models + [images, logits] if models else [given / "model.onnx"]:
        if not os.path.isfile(path):
            parser.error(f"there is no {path}")
    # The usual form comes first.
    models = [str(model) for model in sorted(models, key=lambda model: model.name != "model.onnx")]
    runtimes = install(said.folder.absolute(), said.only)
    if not runtimes:
        sys.exit("there is no runtime")
    failed, forms, table = False, [], {name: [] for name, _ in runtimes}
    versions = {}
    for model in models:
        wanted = Wanted(model)
        forms.append(wanted.form)
        expected = expected_logits(logits, images, wanted)
        order = [index for at, size in wanted.batches(len(expected)) for index in range(at, at + size)]
        expected = expected[order] / np.float32(wanted.temperature)
        first = None
        for name, run in runtimes:
            report = run(model, images, said.seconds)
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
            agrees, line, cell = said_of(report, wanted.form, known(name, wanted))
            failed |= not agrees
            table[name].append(cell)
            start = f"{wanted.form}: " if len(models) > 1 else ""
            print(f"{start}{' '.join([name, *report.get('version', '').split()])}: {line}", flush=True)
    if len(models) > 1:
        print("\n| runtime | " + " | ".join(forms) + " |\n| --- |" + " --- |" * len(forms))
        for name, cells in table.items():
            print(f"| {name} {versions.get(name, '')} | " + " | ".join(cells) + " |")
    sys.exit(failed)


if __name__ == "__main__":
    main()
