#!/usr/bin/env python3
"""Saves torchvision's ResNets and ResNeXt with random weights in every form there is, and what they give for images that the test makes by a formula: features,
logits, and the gradients of cross-entropy with the running statistics. With --strict, loads what the test saved of them back into torchvision, nothing missing
and nothing left over, and compares the logits.

    python3 torchvision_weights.py FOLDER [--strict]
"""
import json
import pathlib
import sys

import numpy as np
import safetensors.torch
import torch
import torchvision

SIDE, CLASSES = 96, 10
NETWORKS = {"resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50", "resnext50": "resnext50_32x4d"}


def untidy(network):
    """As a trained one, and with branches that do not grow from block to block."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.7, 1.4)
                module.weight.uniform_(0.3, 0.7)
                module.bias.uniform_(-0.1, 0.1)
    return network.eval()


def save(folder, images, seed, name):
    torch.manual_seed(seed)
    network = untidy(getattr(torchvision.models, NETWORKS[name])(num_classes=CLASSES))
    logits = network(images)
    torch.nn.functional.cross_entropy(logits, torch.arange(len(images))).backward()
    gradients = {key: value.grad.contiguous() for key, value in network.named_parameters()}
    safetensors.torch.save_file(gradients, folder / f"{name}-gradients.safetensors")
    with torch.no_grad():
        head, network.fc = network.fc, torch.nn.Identity()
        features = network(images)
        network.fc = head
    state = network.state_dict()
    torch.save(state, folder / f"{name}-zip.pth")
    older = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(older, folder / f"{name}-older.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, folder / f"{name}-plain.safetensors")
    files = [f"{name}-zip.pth", f"{name}-older.pth", f"{name}-plain.safetensors"]
    return {"name": name, "files": files, "features": features.flatten().tolist(), "logits": logits.flatten().tolist()}


def strict(folder, images, expected):
    network = getattr(torchvision.models, NETWORKS[expected["name"]])(num_classes=CLASSES)
    network.load_state_dict(safetensors.torch.load_file(folder / f"{expected['name']}-ours.safetensors"), strict=True)
    with torch.no_grad():
        logits = network.eval()(images).flatten()
    assert torch.equal(logits, torch.tensor(expected["logits"])), expected["name"]


def main():
    folder = pathlib.Path(sys.argv[1])
    waves = np.sin(np.arange(2 * 3 * SIDE * SIDE, dtype=np.float64) * 0.7).astype(np.float32)
    images = torch.from_numpy(waves.reshape(2, 3, SIDE, SIDE))
    if "--strict" in sys.argv:
        for expected in json.loads((folder / "expected.json").read_text())["networks"]:
            strict(folder, images, expected)
        return
    networks = [save(folder, images, seed, name) for seed, name in enumerate(NETWORKS)]
    (folder / "expected.json").write_text(json.dumps({"side": SIDE, "classes": CLASSES, "networks": networks}))


if __name__ == "__main__":
    main()
