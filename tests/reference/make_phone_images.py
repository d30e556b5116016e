"""Writes HEIC and AVIF images of every kind that tests read into phones/ beside this file, and beside each what Pillow makes of it as PNG: smooth colours with
one sharp edge, 96 × 80.

usage: make_phone_images.py    (needs numpy, Pillow from 11.3 and pillow-heif)
"""

import os

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

WIDTH, HEIGHT = 96, 80


def main():
    pillow_heif.register_heif_opener()
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "phones")
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red = 128 + 90 * np.sin(x / 17)
    green = 30 + 2 * y + 40 * (x > 60)
    blue = 128 + 60 * np.cos((x + y) / 23)
    values = np.stack([red, green, blue], axis=2)
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))

    def seen(name):
        path = os.path.join(folder, name)
        ImageOps.exif_transpose(Image.open(path)).convert("RGB").save(os.path.splitext(path)[0] + ".png")

    def save(name, image=image, **options):
        image.save(os.path.join(folder, name), **{"quality": 80, **options})
        seen(name)

    turned = Image.Exif()
    turned[0x0112] = 6
    mirrored = Image.Exif()
    mirrored[0x0112] = 5
    for subsampling in ["420", "422", "444"]:
        steps = ":".join(subsampling)
        save(f"avif_{subsampling}.avif", subsampling=steps)
        save(f"heic_{subsampling}.heic", chroma=subsampling)
    save("avif_grey.avif", image.convert("L"))
    save("avif_narrow.avif", range="limited")
    save("avif_turned.avif", exif=turned)
    save("avif_mirrored.avif", exif=mirrored)
    save("heic_turned.heic", exif=turned)
    save("heic_alpha.heic", Image.merge("RGBA", [*image.split(), image.split()[0]]))
    # Ten bits, as newer phones store photos.
    deep = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=(values.clip(0, 255) * 257).astype(np.uint16).tobytes())
    deep.save(os.path.join(folder, "heic_deep.heic"), quality=80)
    seen("heic_deep.heic")


main()
