"""Writes the JPEGs of every kind that tests of reduced decoding read, into jpeg/ beside this file: smooth colours with one sharp edge, 96 × 80.

usage: make_jpegs.py    (needs numpy and Pillow)
"""

import os

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 80


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jpeg")
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red = 128 + 90 * np.sin(x / 17)
    green = 30 + 2 * y + 40 * (x > 60)
    blue = 128 + 60 * np.cos((x + y) / 23)
    image = Image.fromarray(np.stack([red, green, blue], axis=2).clip(0, 255).astype(np.uint8))

    def save(name, image=image, **options):
        image.save(os.path.join(folder, name + ".jpg"), **{"quality": 92, "subsampling": "4:2:0", **options})

    save("baseline")
    save("sharp_colours", subsampling="4:4:4")
    save("half_colours", subsampling="4:2:2")
    save("progressive", progressive=True)
    save("restarts", restart_marker_blocks=5)
    save("grey", image.convert("L"))
    save("cmyk", image.convert("CMYK"))
    save("rgb", keep_rgb=True, subsampling="4:4:4")
    turned = Image.Exif()
    turned[0x0112] = 6
    save("turned", exif=turned)


main()
