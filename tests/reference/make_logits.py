#!/usr/bin/env python3
"""Writes logits.json: what PyTorch's networks give for weights and images that both sides make by one formula.

    pip install torch torchvision
    python3 tests/reference/make_logits.py

ResNet-34, ResNet-50 and ResNeXt-50 are torchvision's own, with the small stem put in as the authors of weight balancing do; ResNet-32 is the
CIFAR network with 1x1 projections, made of torchvision's blocks. The tests read logits.json; torch is only needed to make it anew.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torchvision
from torchvision.models.resnet import BasicBlock


class Narrow(torch.nn.Module):
    """Three stages of basic blocks, 16-32-64 channels."""

    def __init__(self, blocks, classes):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        channels = 16
        for stage, width in enumerate((16, 32, 64)):
            layer = []
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                downsample = None
                if stride != 1 or channels != width:
                    downsample = torch.nn.Sequential(torch.nn.Conv2d(channels, width, 1, stride, bias=False), torch.nn.BatchNorm2d(width))
                layer.append(BasicBlock(channels, width, stride, downsample))
                channels = width
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*layer))
        self.fc = torch.nn.Linear(64, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def wide(build, classes, small):
    network = build(num_classes=classes)
    if small:
        network.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        network.maxpool = torch.nn.Identity()
    return network


def unit(name, count):
    """Numbers in -0.5..0.5 that look random and need no generator: the same formula stands in the test."""
    seed = sum((i + 1) * b for i, b in enumerate(name.encode()))
    index = np.arange(count, dtype=np.uint64)
    word = ((index + np.uint64(1)) * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503)) % np.uint64(2**32)
    word ^= word >> np.uint64(15)
    word = (word * np.uint64(2246822519)) % np.uint64(2**32)
    word ^= word >> np.uint64(13)
    return word.astype(np.float64) / 2**32 - 0.5


def values(name, shape):
    u = unit(name, math.prod(shape))
    if len(shape) == 4:
        u = u * 2 * math.sqrt(3 * 2 / (shape[0] * shape[2] * shape[3]))
    elif len(shape) == 2:
        u = u * 2 / math.sqrt(shape[1])
    elif name.endswith("running_var") or (name.endswith("weight")):
        u = 1 + 0.4 * u
    else:
        u = 0.2 * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


def case(name, network, side, classes):
    state = network.state_dict()
    network.load_state_dict({k: values(k, v.shape) if v.ndim else v for k, v in state.items()})
    images = torch.from_numpy((4 * unit("images", 3 * 3 * side * side)).astype(np.float32).reshape(3, 3, side, side))
    network.eval()
    with torch.no_grad():
        evaluated = network(images)
    network.train()
    with torch.no_grad():
        trained = network(images)
    after = network.state_dict()
    last = [k for k in after if k.endswith("running_var")][-1]
    floats = lambda tensor: [float(str(v)) for v in tensor.flatten().numpy()]
    return dict(
        network=name,
        input_size=side,
        classes=classes,
        evaluate=floats(evaluated),
        train=floats(trained),
        bn1_running_mean=floats(after["bn1.running_mean"]),
        last_running_var=dict(name=last, values=floats(after[last][:16])),
    )


def main():
    models = torchvision.models
    cases = [
        case("resnet32", Narrow(5, 7), 16, 7),
        case("resnet34", wide(models.resnet34, 5, True), 16, 5),
        case("resnet34-imagenet", wide(models.resnet34, 5, False), 64, 5),
        case("resnet50", wide(models.resnet50, 5, True), 16, 5),
        case("resnext50", wide(models.resnext50_32x4d, 5, True), 16, 5),
    ]
    out = pathlib.Path(__file__).with_name("logits.json")
    out.write_text(json.dumps(dict(torch=torch.__version__.split("+")[0], cases=cases), indent=1) + "\n")
    print(out, out.stat().st_size)


if __name__ == "__main__":
    main()
