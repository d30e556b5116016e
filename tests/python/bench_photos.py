"""Times Pillow on a folder of photos, beside `counterweight bench decode`.

usage: bench_photos.py FOLDER [--side PIXELS] [--workers N] [--repeats N]

Reads every JPEG below FOLDER and makes a square picture of SIDE pixels of it, with what Pillow has for this: `draft`, which decodes at a half, a
quarter or an eighth of the size, leaving one and a half times SIDE. In one process, or in N worker processes. Prints one JSON object. Needs Pillow.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time

from PIL import Image, ImageOps


def picture(task):
    path, side = task
    with Image.open(path) as image:
        image.draft("RGB", (side * 3 // 2, side * 3 // 2))
        image = ImageOps.exif_transpose(image.convert("RGB"))
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR).tobytes()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    tasks = []
    for folder, _, names in sorted(os.walk(arguments.folder)):
        tasks += [(os.path.join(folder, name), arguments.side) for name in sorted(names) if name.lower().endswith((".jpg", ".jpeg"))]
    seconds = []
    with multiprocessing.Pool(arguments.workers) as pool:
        for _ in range(arguments.repeats):
            started = time.perf_counter()
            # One process works without being asked from another.
            for _ in map(picture, tasks) if arguments.workers == 1 else pool.imap_unordered(picture, tasks):
                pass
            seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    print(json.dumps({"images": len(tasks), "workers": arguments.workers, "seconds": median, "images_per_s": len(tasks) / median}))


if __name__ == "__main__":
    main()
