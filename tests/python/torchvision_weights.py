#!/usr/bin/env python3
"""Saves torchvision's ResNets with random weights in every form there is, and what they give for images that the test makes by a formula.

    python3 torchvision_weights.py FOLDER
"""
import json
import pathlib
import sys

import numpy as np
import safetensors.torch
import torch
import torchvision

SIDE, CLASSES = 96, 10
folder = pathlib.Path(sys.argv[1])
images = torch.from_numpy(np.sin(np.arange(2 * 3 * SIDE * SIDE, dtype=np.float64) * 0.7).astype(np.float32).reshape(2, 3, SIDE, SIDE))
expected = []
for seed, name in enumerate(("resnet18", "resnet34", "resnet50")):
    torch.manual_seed(seed)
    network = getattr(torchvision.models, name)(num_classes=CLASSES)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                # As untidy as a trained one's, and with branches that do not grow from block to block.
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.7, 1.4)
                module.weight.uniform_(0.3, 0.7)
                module.bias.uniform_(-0.1, 0.1)
        network.eval()
        logits = network(images)
        head, network.fc = network.fc, torch.nn.Identity()
        features = network(images)
        network.fc = head
    state = network.state_dict()
    torch.save(state, folder / f"{name}-zip.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / f"{name}-older.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, folder / f"{name}-plain.safetensors")
    files = [f"{name}-zip.pth", f"{name}-older.pth", f"{name}-plain.safetensors"]
    expected.append({"name": name, "files": files, "features": features.flatten().tolist(), "logits": logits.flatten().tolist()})
(folder / "expected.json").write_text(json.dumps({"side": SIDE, "classes": CLASSES, "networks": expected}))
