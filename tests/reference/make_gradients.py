#!/usr/bin/env python3
"""Writes gradients.json: gradients of whole networks by PyTorch in double precision, for weights and images that both sides make by one formula.

    pip install torch torchvision efficientnet-lite-pytorch
    python3 tests/reference/make_gradients.py

The loss is cross-entropy. Batch norm uses the batch's statistics, or the running ones as constants. Of every few parameters the file has the length of the
gradient and some of its values.
"""
import json
import pathlib

import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet

from make_logits import unit, values, wide

CLASSES = 5
BATCH = 4
# Parameters from one that is written down to the next, and values of each.
EVERY = 13
FEW = 4


def lite(side):
    model = EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES, image_size=side)
    # Nothing is left out by chance.
    model._dropout.p = 0.0
    model._global_params = model._global_params._replace(drop_connect_rate=None)
    return model, lambda name: ".".join(part.removeprefix("_") for part in name.split("."))


def resnext(_side):
    return wide(torchvision.models.resnext50_32x4d, CLASSES, True), lambda name: name


def case(name, build, side, frozen):
    model, ours = build(side)
    state = model.state_dict()
    model.load_state_dict({key: values(ours(key), value.shape) if value.ndim else value for key, value in state.items()})
    model = model.double().train(not frozen)
    images = torch.from_numpy((4 * unit("images", BATCH * 3 * side * side)).reshape(BATCH, 3, side, side)).float().double()
    logits = model(images)
    torch.nn.functional.cross_entropy(logits, torch.arange(BATCH) % CLASSES).backward()
    # Batch norm takes away what some biases before it add.
    parameters = [(key, parameter) for key, parameter in model.named_parameters() if parameter.grad.norm() > 1e-9]
    chosen = [parameters[0], *parameters[1::EVERY], parameters[-1]]
    few = lambda tensor: [float(f"{value:.7g}") for value in tensor.flatten()[:: max(1, tensor.numel() // FEW)][:FEW].tolist()]
    return {
        "network": name,
        "input_size": side,
        "frozen": frozen,
        "logits": [float(f"{value:.7g}") for value in logits.flatten().tolist()],
        "gradients": {ours(key): [float(f"{parameter.grad.norm().item():.7g}"), *few(parameter.grad)] for key, parameter in chosen},
    }


def main():
    cases = [
        case(name, build, side, frozen)
        for name, build, side in [("efficientnet-lite0", lite, 64), ("resnext50", resnext, 16)]
        for frozen in (False, True)
    ]
    out = pathlib.Path(__file__).with_name("gradients.json")
    out.write_text(json.dumps({"batch": BATCH, "classes": CLASSES, "cases": cases}) + "\n")
    print(out, out.stat().st_size)


if __name__ == "__main__":
    main()
