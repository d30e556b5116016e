"""Writes HEIC and AVIF images of every kind that tests read into phones/ beside this file, and beside each what Pillow makes of it as PNG: smooth colours with
one sharp edge, 96 × 80.

usage: make_phone_images.py    (needs numpy, Pillow from 11.3 and pillow-heif)
"""

import os
import struct

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

WIDTH, HEIGHT = 96, 80


def box(kind, *content):
    content = b"".join(content)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def boxes(data):
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size], data[at : at + size]
        at += size


def find(data, *kinds):
    for kind in kinds:
        data = next(content for own, content, _ in boxes(data) if own == kind)
        data = data[4:] if kind == b"meta" else data
    return data


def grid(folder, source, name, codec):
    """The image of a file four times, as tiles of one of 150 × 130: phones store photos in tiles."""
    data = open(os.path.join(folder, source), "rb").read()
    properties = {kind: whole for kind, _, whole in boxes(find(data, b"meta", b"iprp", b"ipco"))}
    coded = find(data, b"mdat")
    # A file of one image has one item there, behind whatever else the encoder has put before it.
    coded = coded[-struct.unpack(">I", find(data, b"meta", b"iloc")[-4:])[0] :]
    tiles = [2, 3, 4, 5]
    size = lambda width, height: box(b"ispe", struct.pack(">III", 0, width, height))
    config = properties[b"hvcC" if codec == b"hvc1" else b"av1C"]
    shared = [config, size(WIDTH, HEIGHT), size(150, 130), properties[b"colr"], properties[b"pixi"]]
    of_tile, of_grid = bytes([4, 0x81, 2, 4, 5]), bytes([3, 3, 4, 5])
    associations = struct.pack(">II", 0, 5) + b"".join(
        struct.pack(">H", item) + (of_grid if item == 1 else of_tile) for item in [1, *tiles]
    )
    entry = lambda item, kind: box(b"infe", struct.pack(">IHH4s", 0x02000000, item, 0, kind), b"\0")

    def meta(start):
        places = struct.pack(">IBBH", 0x01000000, 0x44, 0, 5) + struct.pack(">HHHHII", 1, 1, 0, 1, 0, 8)
        places += b"".join(struct.pack(">HHHHII", tile, 0, 0, 1, start, len(coded)) for tile in tiles)
        return box(
            b"meta",
            struct.pack(">I", 0),
            box(b"hdlr", struct.pack(">II4s", 0, 0, b"pict"), bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, 1)),
            box(b"iloc", places),
            box(b"iinf", struct.pack(">IH", 0, 5), entry(1, b"grid"), *[entry(tile, codec) for tile in tiles]),
            box(b"iref", struct.pack(">I", 0), box(b"dimg", struct.pack(">HH4H", 1, 4, *tiles))),
            box(b"iprp", box(b"ipco", *shared), box(b"ipma", associations)),
            box(b"idat", struct.pack(">BBBBHH", 0, 0, 1, 1, 150, 130)),
        )

    start = next(whole for kind, _, whole in boxes(data) if kind == b"ftyp")
    offset = len(start) + len(meta(0)) + 8
    with open(os.path.join(folder, name), "wb") as file:
        file.write(start + meta(offset) + box(b"mdat", coded))


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
    for source, name, codec in [("heic_420.heic", "heic_grid.heic", b"hvc1"), ("avif_420.avif", "avif_grid.avif", b"av01")]:
        grid(folder, source, name, codec)
        seen(name)
    # Ten bits, as newer phones store photos.
    deep = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=(values.clip(0, 255) * 257).astype(np.uint16).tobytes())
    deep.save(os.path.join(folder, "heic_deep.heic"), quality=80)
    seen("heic_deep.heic")


main()
