#!/usr/bin/env python3
"""Writes activation.json: class activation maps (Zhou et al., 2016) as PyTorch computes them, of networks and images that both sides make
by one formula.

    pip install torch torchvision efficientnet-lite-pytorch safetensors
    python3 tests/reference/make_activation.py

A map is the last feature map, taken by a hook before the pooling, times the class's weights. Images are bytes, normalised by mean 0.5 and
standard deviation 0.25. The tests read activation.json; torch is only needed to make it anew.
"""
import json
import pathlib

import numpy as np
import torch
import torchvision

import make_lite_logits as lite
from make_logits import unit, values, wide

HERE = pathlib.Path(__file__).parent


def images(side):
    data = np.floor((unit("photo", 3 * side * side) + 0.5) * 256).clip(0, 255).reshape(1, 3, side, side)
    return torch.from_numpy(((data / 255 - 0.5) / 0.25).astype(np.float32))


def case(name, network, layer, weight, bias, side):
    kept = []
    handle = layer.register_forward_hook(lambda module, given, output: kept.append(output))
    logits = network(images(side))
    handle.remove()
    last = kept[0]
    if name.startswith("efficientnet"):
        # The package's activation stands behind the batch norm, in the function that calls it.
        last = network.extract_features(images(side))
    maps = torch.einsum("kf,fhw->khw", weight, last[0])
    assert torch.allclose(maps.mean((1, 2)) + bias, logits[0], atol=1e-3), (maps.mean((1, 2)) + bias, logits)
    return dict(
        network=name,
        input_size=side,
        classes=len(bias),
        height=maps.shape[1],
        width=maps.shape[2],
        logits=logits[0].tolist(),
        maps=maps.flatten().tolist(),
    )


def main():
    torch.set_grad_enabled(False)
    models = torchvision.models
    cases = []
    for name, network, side in [
        ("resnet34-imagenet", wide(models.resnet34, 5, False), 96),
        ("resnet50", wide(models.resnet50, 5, True), 24),
        ("resnext50", wide(models.resnext50_32x4d, 5, True), 24),
    ]:
        network.load_state_dict({k: values(k, v.shape) if v.ndim else v for k, v in network.state_dict().items()})
        network.eval()
        cases.append(case(name, network, network.layer4, network.fc.weight, network.fc.bias, side))
    for side in (224, 75):
        network = lite.network(side)
        cases.append(case("efficientnet-lite0", network, network._bn1, network._fc.weight, network._fc.bias, side))
    out = HERE / "activation.json"
    out.write_text(json.dumps(dict(torch=torch.__version__.split("+")[0], cases=cases)) + "\n")
    print(out, out.stat().st_size)


if __name__ == "__main__":
    main()
