"""Times torchvision's ImageFolder on a folder of JPEGs, beside `counterweight bench decode`.

usage: bench_decode.py FOLDER [--images N] [--side PIXELS] [--workers N] [--repeats N]

Makes FOLDER if it is not there: N JPEGs of quality 90 in a hundred classes, 80 to 120 pixels a side, smooth random fields with noise, as
photographs are. Then lists it, and decodes every image, resizes it to SIDE and turns it into a tensor of bytes, in N worker processes.
Prints one JSON object. Needs torch, torchvision, numpy and Pillow.
"""

import argparse
import json
import os
import statistics
import sys
import time

import numpy as np
from PIL import Image

CLASSES = 100


def photograph(rng):
    """Light that varies smoothly over the picture, at three scales, and the noise of a sensor."""
    width, height = (int(side) for side in rng.integers(80, 121, 2))
    field = np.zeros((height, width, 3))
    for cells, strength in ((3, 60.0), (8, 35.0), (24, 18.0)):
        coarse = rng.normal(0.0, 1.0, (cells, cells, 3))
        for channel in range(3):
            plane = Image.fromarray(coarse[:, :, channel].astype(np.float32))
            field[:, :, channel] += strength * np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
    # The channels of a photograph mostly rise and fall together.
    field = 0.7 * field.mean(axis=2, keepdims=True) + 0.3 * field
    field += 110.0 + rng.normal(0.0, 4.0, field.shape)
    return Image.fromarray(field.clip(0, 255).astype(np.uint8))


def make(folder, images):
    rng = np.random.default_rng(0)
    for index in range(images):
        path = os.path.join(folder, f"class{index % CLASSES:02}")
        os.makedirs(path, exist_ok=True)
        photograph(rng).save(os.path.join(path, f"{index:06}.jpg"), quality=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if not os.path.isdir(arguments.folder):
        print(f"making {arguments.images} images", file=sys.stderr)
        make(arguments.folder, arguments.images)
    if arguments.repeats < 1:
        return

    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    steps = [transforms.Resize(arguments.side), transforms.CenterCrop(arguments.side), transforms.PILToTensor()]
    listing, decoding = [], []
    for _ in range(arguments.repeats):
        started = time.perf_counter()
        dataset = ImageFolder(arguments.folder, transforms.Compose(steps))
        listing.append(time.perf_counter() - started)
        loader = torch.utils.data.DataLoader(dataset, batch_size=64, num_workers=arguments.workers)
        started = time.perf_counter()
        seen = sum(len(labels) for _, labels in loader)
        decoding.append(time.perf_counter() - started)
        assert seen == len(dataset)
    seconds = statistics.median(decoding)
    both = statistics.median(a + b for a, b in zip(listing, decoding))
    print(
        json.dumps(
            {
                "images": len(dataset),
                "side": arguments.side,
                "workers": arguments.workers,
                "list_s": statistics.median(listing),
                "decode_s": seconds,
                "decode_images_per_s": len(dataset) / seconds,
                "list_and_decode_images_per_s": len(dataset) / both,
            }
        )
    )


if __name__ == "__main__":
    main()
