#!/usr/bin/env python3
"""Writes augment_values.json: what Pillow computes for the image operations of `core` (and Python's colorsys for the hue).

    pip install pillow==13.0.0
    python3 tests/reference/make_augment_values.py

Pixels are hexadecimal: rows from the top, red, green, blue. The tests read the JSON; Pillow is only needed to make it anew.
"""
import colorsys
import json
import math
import pathlib
import random

from PIL import Image, ImageEnhance, ImageOps

SIDE = 20
FILL = (70, 120, 180)
BILINEAR = Image.Resampling.BILINEAR


def picture(width, height, seed):
    """Slopes with noise in the left half, flat patches in the right, no channel reaching 0 or 255."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            if x < width // 2:
                pixel = (20 + 8 * x + rng.randrange(40), 230 - 7 * y - rng.randrange(30), 30 + (x * y) % 160)
            else:
                pixel = ((37 * (x // 3) + 11 * (y // 4)) % 200 + 25, 60 + 5 * (y // 4), 200 - 6 * (x // 3))
            image.putpixel((x, y), tuple(min(250, max(5, value)) for value in pixel))
    return image


def turn_hue(image, turns):
    turned = image.copy()
    for y in range(image.height):
        for x in range(image.width):
            h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in image.getpixel((x, y))))
            turned.putpixel((x, y), tuple(math.floor(255 * value + 0.5) for value in colorsys.hsv_to_rgb((h + turns) % 1, s, v)))
    return turned


def affine(image, *coefficients):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, BILINEAR, fillcolor=FILL)


OPERATIONS = {
    "brightness": (lambda i, v: ImageEnhance.Brightness(i).enhance(v), [0.1, 0.73, 1.3, 1.9]),
    "contrast": (lambda i, v: ImageEnhance.Contrast(i).enhance(v), [0.1, 0.73, 1.3, 1.9]),
    "saturation": (lambda i, v: ImageEnhance.Color(i).enhance(v), [0.1, 0.73, 1.3, 1.9]),
    "sharpness": (lambda i, v: ImageEnhance.Sharpness(i).enhance(v), [0.1, 0.73, 1.3, 1.9]),
    "hue": (turn_hue, [-0.25, -0.07, 0.11, 0.5]),
    "posterize": (lambda i, v: ImageOps.posterize(i, v), [1, 4, 7]),
    "solarize": (lambda i, v: ImageOps.solarize(i, v), [0, 127.5, 200]),
    "autocontrast": (lambda i, v: ImageOps.autocontrast(i), [0]),
    "equalize": (lambda i, v: ImageOps.equalize(i), [0]),
    "shear_x": (lambda i, v: affine(i, 1, v, 0, 0, 1, 0), [-0.3, 0.17]),
    "shear_y": (lambda i, v: affine(i, 1, 0, 0, v, 1, 0), [-0.3, 0.17]),
    "translate_x": (lambda i, v: affine(i, 1, 0, -v, 0, 1, 0), [-5, 3]),
    "rotate": (lambda i, v: i.rotate(v, BILINEAR, fillcolor=FILL), [-30, 8.5]),
}

image = picture(SIDE, SIDE, 1)
cases = [
    {"operation": name, "value": value, "pixels": operation(image, value).tobytes().hex()}
    for name, (operation, values) in OPERATIONS.items()
    for value in values
]
resized = []
for width, height, side in [(34, 25, 16), (15, 32, 8), (8, 8, 12), (60, 20, 7)]:
    whole = picture(width, height, width)
    cut = min(width, height)
    left, top = (width - cut) / 2, (height - cut) / 2
    small = whole.resize((side, side), BILINEAR, box=(left, top, left + cut, top + cut))
    resized.append({"width": width, "height": height, "side": side, "from": whole.tobytes().hex(), "pixels": small.tobytes().hex()})

values = {"side": SIDE, "fill": FILL, "image": image.tobytes().hex(), "cases": cases, "resized": resized}
path = pathlib.Path(__file__).with_name("augment_values.json")
path.write_text(json.dumps(values, indent=1) + "\n")
