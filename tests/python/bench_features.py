"""Times features of torchvision's networks in onnxruntime beside `counterweight bench infer`, in turns, and prints the ratios.

usage: bench_features.py PROGRAM [--models resnet18,resnet50,resnext50] [--batch 16] [--size 224] [--rounds 3]

Weights are random; onnxruntime folds batch norm, as the program does. Needs torch, torchvision, onnx and onnxruntime.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime

NETWORKS = {"resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50", "resnext50": "resnext50_32x4d"}


def session(name, batch, size, folder):
    import torch
    import torchvision

    path = folder / f"{name}.onnx"
    network = getattr(torchvision.models, NETWORKS[name])().eval()
    network.fc = torch.nn.Identity()
    torch.onnx.export(network, (torch.randn(batch, 3, size, size),), path, opset_version=17, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--models", default="resnet18,resnet50,resnext50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    images = np.random.default_rng(0).random((arguments.batch, 3, arguments.size, arguments.size), np.float32)
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            network = session(name, arguments.batch, arguments.size, pathlib.Path(folder))
        given = {network.get_inputs()[0].name: images}
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            network.run(None, given)
            started = time.perf_counter()
            for _ in range(4):
                network.run(None, given)
            theirs.append(4 * arguments.batch / (time.perf_counter() - started))
            command = [arguments.program, "bench", "infer", "--model", name, "--size", str(arguments.size), "--batch", str(arguments.batch)]
            done = subprocess.run([*command, "--device", "cpu", "--json"], check=True, stdout=subprocess.PIPE, text=True)
            ours.append(json.loads(done.stdout.splitlines()[-1])["images_per_s"])
        mine, other = statistics.median(ours), statistics.median(theirs)
        print(json.dumps({"model": name, "ours": round(mine, 1), "onnxruntime": round(other, 1), "ratio": round(mine / other, 2)}), flush=True)


if __name__ == "__main__":
    main()
