"""Compares a bundle's examples with the program on images of all kinds, made from photos.

usage: image_kinds.py COUNTERWEIGHT BUNDLE PHOTO...

The examples are the bundle's own: Python, JavaScript under node, the web page in Chromium, and what C++ with OpenCV and C++
with libjpeg-turbo and stb_image prepare, which Python's onnxruntime classifies. One whose tools are not here is said to be
left out. npm installs into the folder that the variable PACKAGES names, or into a temporary one; g++ looks where CPATH,
LIBRARY_PATH and LD_RUN_PATH say, too. Prints for each kind the largest difference of any class's probability from the
program's, over all photos; `no` where an example does not read such files, `some` where it does not read some of them, `*`
where a decoder is known to do otherwise. With the variable VERBOSE set each image has a line, too.
Exits with 1 if the program refuses an image, or a difference that is not known is above 0.02.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from browser import Chromium
from PIL import Image, ImageOps, PngImagePlugin

TOLERANCE = 0.02
LARGE = (4000, 3000)
# What decoders do that an example has no say in: by the example and a part of the kind's name.
KNOWN = [
    ("page", "WEBP, EXIF", "Chromium leaves WebP as it lies"),
    ("opencv", "WEBP, EXIF", "OpenCV leaves WebP as it lies"),
    ("page", "GIF with", "Chromium makes what is transparent in a GIF black"),
    ("node", "GIF with", "sharp makes what is transparent in a GIF black"),
    ("opencv", "GIF with", "OpenCV makes what is transparent in a GIF black"),
    ("stb", "GIF with", "stb_image makes what is transparent in a GIF black"),
]
# As many photos are made large; that takes long.
MADE_LARGE = 3

NODE_SCRIPT = """
const classify = process.argv[2];
const files = JSON.parse(require("fs").readFileSync(0));
(async () => {
  const look = await require(classify).load(require("onnxruntime-node"), require("sharp"));
  const all = [];
  for (const file of files) all.push(await look(file, Infinity).catch((error) => String(error)));
  process.stdout.write(JSON.stringify(all));
})();
"""

# The example is taken as it is, but for its `main`: OpenCV before 4.11 does not run every model.
CPP_PROGRAM = """
#include <cstdlib>
#include <fstream>
#define main example_main
#include "CLASSIFY"
#undef main
static const float *start(const std::vector<float> &input) { return input.data(); }
template <typename Mat> const float *start(const Mat &input) { return input.template ptr<float>(); }
int main(int count, char **arguments) {
    for (int index = 3; index < count; ++index) {
        std::ofstream out(std::string(arguments[2]) + "/" + std::to_string(index - 3), std::ios::binary);
        try {
            const int side = std::atoi(arguments[1]);
            const auto input = prepare(arguments[index], side);
            out.write(reinterpret_cast<const char *>(start(input)), std::streamsize(12) * side * side);
        } catch (const std::exception &) {
        }
    }
}
"""


def png16(path, values):
    """A PNG of 16 bits a channel."""
    height, width = values.shape[:2]
    kind = {2: 0, 3: {2: 4, 3: 2, 4: 6}.get(values.shape[-1])}[values.ndim]

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def linear_profile():
    """An ICC profile that says that values are linear, and red and green are wide: it changes colours a lot."""

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve, text = b"curv" + bytes(8), b"text\0\0\0\0none\0\0\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {
        b"desc": name + bytes(-len(name) % 4),
        b"cprt": text,
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.61, 0.311, 0.019),
        b"gXYZ": xyz(0.205, 0.626, 0.061),
        b"bXYZ": xyz(0.149, 0.063, 0.745),
        **{channel + b"TRC": curve for channel in (b"r", b"g", b"b")},
    }
    at, table, content = 132 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", at + len(content), len(value))
        content += value
    head = struct.pack(">I4sI4s4s4s12s4s", at + len(content), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ", struct.pack(">6H", 2024, 1, 1, 0, 0, 0), b"acsp")
    head += bytes(28) + xyz(0.9642, 1, 0.8249)[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + content


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def stored_for(orientation, image):
    """What a camera stores with this orientation, so that it looks like `image`."""
    turns = Image.Transpose
    back = [None, turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM, turns.TRANSPOSE, turns.ROTATE_90, turns.TRANSVERSE, turns.ROTATE_270]
    turn = back[orientation - 1]
    return image if turn is None else image.transpose(turn)


def deep(image, chance):
    """8 bits a channel to 16, with numbers in the lower half as well."""
    values = np.asarray(image).astype(np.int64) * 257
    return np.clip(values + chance.integers(-128, 129, values.shape), 0, 65535).astype(np.uint16)


def grained(image, chance):
    values = np.asarray(image, np.float32) + chance.normal(0, 6, (image.height, image.width, 3)).astype(np.float32)
    return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))


def mosaic(photos):
    """A large photo with much to see, of small ones."""
    whole, (width, height) = Image.new("RGB", LARGE), (LARGE[0] // 8, LARGE[1] // 8)
    for cell in range(64):
        small = ImageOps.fit(photos[(5 * cell + cell // 8) % len(photos)], (width, height))
        whole.paste(small, (cell % 8 * width, cell // 8 * height))
    return whole


def write_kinds(photo, photos, to, large, chance):
    """Writes images of all kinds from a photo; yields kinds with their files."""
    width, height = photo.size

    def saved(name, image, **how):
        image.save(to / name, **how)
        return to / name

    def cut(wide, high):
        left, top = (width - wide) // 2, (height - high) // 2
        return photo.crop((left, top, left + wide, top + high))

    short = min(width, height)
    yield "wide", [saved("wide.png", cut(width, short // 2)), saved("wide.jpg", cut(width, short // 2), quality=92)]
    yield "tall", [saved("tall.png", cut(short // 2, height)), saved("tall.jpg", cut(short // 2, height), quality=92)]
    odd = [(short, short - 53), (short - 88, short - 1), (short - 1, short - 64)]
    yield "odd sides, odd margins", [saved(f"odd{i}.{end}", cut(*sides), **how) for i, sides in enumerate(odd) for end, how in (("png", {}), ("jpg", {"quality": 90}))]
    for orientation in range(1, 9):
        image = stored_for(orientation, photo)
        yield f"JPEG, EXIF orientation {orientation}", [saved(f"exif{orientation}.jpg", image, exif=exif(orientation), quality=92)]
    turned = stored_for(6, photo)
    for end in ("png", "webp", "tiff"):
        yield f"{end.upper()}, EXIF orientation 6", [saved(f"exif6.{end}", turned, exif=exif(6))]
    grey = photo.convert("L")
    yield "grey PNG, 8 bits", [saved("grey.png", grey)]
    yield "grey JPEG", [saved("grey.jpg", grey, quality=92)]
    yield "black and white PNG, 1 bit", [saved("one.png", photo.convert("1"))]
    alpha = Image.fromarray(np.uint8(np.add.outer(np.arange(height), np.arange(width)) % 256))
    alpha.paste(0, (0, 0, width, height // 3))
    see_through = photo.copy()
    see_through.putalpha(alpha)
    yield "grey PNG with alpha", [saved("grey-alpha.png", see_through.convert("LA"))]
    for name, image in (("grey", grey), ("RGB", photo), ("RGBA", see_through)):
        png16(to / f"{name}16.png", deep(image, chance))
        yield f"{name} PNG, 16 bits", [to / f"{name}16.png"]
    yield "grey TIFF, 16 bits", [saved("grey16.tiff", Image.fromarray(deep(grey, chance)))]
    yield "CMYK JPEG", [saved("cmyk.jpg", photo.convert("CMYK"), quality=92)]
    yield "RGB JPEG (not YCbCr)", [saved("rgb.jpg", photo, quality=92, keep_rgb=True)]
    palette = photo.quantize(200)
    yield "palette PNG", [saved("palette.png", palette), saved("palette4.png", photo.quantize(16), bits=4)]
    yield "palette PNG with alpha", [saved("palette-alpha.png", palette, transparency=bytes(range(200))), saved("palette-one.png", palette, transparency=3)]
    yield "RGBA PNG, partly transparent", [saved("alpha.png", see_through)]
    yield "RGB PNG with a transparent colour", [saved("colour-key.png", photo, transparency=photo.getpixel((width // 2, height // 2)))]
    for name, sampling in (("4:2:0", 2), ("4:2:2", 1), ("4:4:4", 0)):
        yield f"JPEG, {name}", [saved(f"sampling{sampling}-{quality}.jpg", photo, subsampling=sampling, quality=quality) for quality in (60, 95)]
    yield "JPEG, progressive", [saved(f"progressive{sampling}.jpg", photo, progressive=True, quality=85, subsampling=sampling) for sampling in (0, 2)]
    profile = linear_profile()
    yield "JPEG with a colour profile", [saved("profile.jpg", photo, icc_profile=profile, quality=92)]
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100000))
    yield "PNG with a colour profile", [saved("profile.png", photo, icc_profile=profile), saved("gamma.png", photo, pnginfo=gamma)]
    exact = ImageOps.fit(photo, (224, 224))
    yield "224 x 224", [saved("exact.png", exact), saved("exact.jpg", exact, quality=92)]
    small = [photo.resize(sides) for sides in ((100, 75), (57, 91), (223, 223))]
    yield "smaller than 224", [saved(f"small{i}.{end}", image, **how) for i, image in enumerate(small) for end, how in (("png", {}), ("jpg", {"quality": 92}))]
    yield "1 pixel high or wide", [saved(f"thin{i}.{end}", photo.resize(sides)) for i, sides in enumerate(((300, 1), (1, 300))) for end in ("png", "jpg")]
    yield "WebP", [saved("lossy.webp", photo, quality=85), saved("lossless.webp", photo, lossless=True)]
    yield "WebP with alpha", [saved("alpha.webp", see_through, lossless=True, exact=True)]
    yield "BMP", [saved("photo.bmp", photo), saved("palette.bmp", palette)]
    yield "TIFF", [saved("photo.tiff", photo), saved("lzw.tiff", photo, compression="tiff_lzw")]
    yield "palette TIFF", [saved("palette.tiff", palette)]
    yield "GIF", [saved("photo.gif", photo)]
    yield "GIF with a transparent colour", [saved("alpha.gif", palette, transparency=7)]
    if not large:
        return
    enlarged = grained(photo.resize(LARGE, Image.LANCZOS), chance)
    for name, image in (("enlarged", enlarged), ("of many photos", mosaic(photos))):
        for sampling in (2, 0):
            file = saved(f"{name[:2]}{sampling}.jpg", image, quality=90, subsampling=sampling)
            yield f"JPEG 4000 x 3000, {name}, {'4:2:0' if sampling else '4:4:4'}", [file]
        # What is made smaller while it is decoded, from other sides.
        middle = image.resize((1600, 1200), Image.LANCZOS)
        yield f"JPEG 1600 x 1200, {name}", [saved(f"{name[:2]}-middle.jpg", middle, quality=90)]
    yield "PNG 4000 x 3000, enlarged", [saved("large.png", enlarged, compress_level=1)]


def by_program(program, bundle, files, count):
    """What the program answers, one dictionary of probabilities a file, or the reason why not."""
    command = [program, "predict", bundle / "model.onnx", *files, "--json", "--top", str(count)]
    found = subprocess.run(command, capture_output=True, text=True)
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    answers = {row["path"]: {top["class"]: top["probability"] for top in row["top"]} for row in rows if "top" in row}
    return [answers.get(str(file), "refused") for file in files], found.stderr.strip()


def by_python(bundle, files):
    sys.path.insert(0, str(bundle / "examples" / "python"))
    from classify import Classifier

    classifier = Classifier()
    answers = []
    for file in files:
        try:
            answers.append(dict(classifier.top(file, len(classifier.labels))))
        except OSError as error:
            answers.append(str(error))
    return answers


def by_label(rows):
    return rows if isinstance(rows, str) else {row["label"]: row["probability"] for row in rows}


def by_node(bundle, packages, files):
    folder = packages / "node"
    folder.mkdir(parents=True, exist_ok=True)
    names = ["onnxruntime-node", "sharp"]
    if not all((folder / "node_modules" / name).is_dir() for name in names):
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder, *names]
        subprocess.run(npm, capture_output=True, check=True)
    script = folder / "kinds.cjs"
    script.write_text(NODE_SCRIPT)
    # The files by standard input: onnxruntime-node 1.30 crashes where the command line is longer than some 32 kB.
    command = ["node", script, bundle / "examples" / "javascript" / "classify.js"]
    found = subprocess.run(command, input=json.dumps(files, default=str), stdout=subprocess.PIPE, text=True, check=True)
    return [by_label(rows) for rows in json.loads(found.stdout)]


def by_page(bundle, packages, files):
    chromium = Chromium(bundle, packages)
    if chromium.problem:
        raise RuntimeError(chromium.problem)
    return [by_label(answer.get("all", answer.get("error"))) for answer in chromium.run(files=files)["files"]]


def opencv_flags():
    flags = subprocess.run(["pkg-config", "--cflags", "opencv4"], capture_output=True, text=True, check=True).stdout.split()
    return [*flags, "-lopencv_dnn", "-lopencv_imgproc", "-lopencv_imgcodecs", "-lopencv_core"]


def by_cpp(example, flags, bundle, folder, files):
    from classify import Classifier

    classifier, here = Classifier(), folder / example
    prepared = here / "prepared"
    prepared.mkdir(parents=True)
    (here / "prepare.cpp").write_text(CPP_PROGRAM.replace("CLASSIFY", str(bundle / "examples" / example / "classify.cpp")))
    subprocess.run(["g++", "-O2", "-std=c++17", "-w", here / "prepare.cpp", "-o", here / "prepare", *flags], check=True)
    subprocess.run([here / "prepare", str(classifier.side), prepared, *files], check=True, stderr=subprocess.DEVNULL)
    answers = []
    for index in range(len(files)):
        values = np.fromfile(prepared / str(index), np.float32)
        if not len(values):
            answers.append("not read")
            continue
        [row] = classifier.session.run(["probabilities"], {"images": values.reshape(1, 3, classifier.side, classifier.side)})[0]
        answers.append(dict(zip(classifier.labels, row.tolist(), strict=True)))
    return answers


def difference(found, expected):
    return max(abs(found[label] - expected[label]) for label in expected)


def report(kinds, expected, answers):
    """Prints the table; whether all agree."""
    right = True
    wide = max(map(len, kinds))
    known_here = set()
    print(" " * wide, *(f"{name:>7}" for name in answers))
    for kind, places in kinds.items():
        cells = []
        for name, rows in answers.items():
            all_of = [(rows[at], expected[at]) for at in places if not isinstance(expected[at], str)]
            differences = [difference(*pair) for pair in all_of if not isinstance(pair[0], str)]
            worst = max(differences, default=0.0)
            reasons = {reason for example, part, reason in KNOWN if example == name and part in kind} if worst > TOLERANCE else set()
            known_here |= reasons
            right &= worst <= TOLERANCE or bool(reasons)
            mark = "" if worst <= TOLERANCE else "*" if reasons else "!"
            word = "no" if not differences else f"{worst:.4f}{mark}" + ("" if len(differences) == len(all_of) else " some")
            cells.append(f"{word:>7}")
        print(f"{kind:{wide}}", *cells)
    if known_here:
        print(f"* known: {'; '.join(sorted(known_here))}")
    return right


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, bundle = sys.argv[1], Path(sys.argv[2]).absolute()
    count = len((bundle / "labels.txt").read_text(encoding="utf-8").splitlines())
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)
        packages = Path(os.environ.get("PACKAGES", folder / "packages")).absolute()
        photos = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in sys.argv[3:]]
        kinds, files, chance = {}, [], np.random.default_rng(1)
        for index, photo in enumerate(photos):
            to = folder / "images" / str(index)
            to.mkdir(parents=True)
            for kind, paths in write_kinds(photo, photos, to, index < MADE_LARGE, chance):
                kinds.setdefault(kind, []).extend(range(len(files), len(files) + len(paths)))
                files += paths
        print(f"{len(files)} images of {len(kinds)} kinds from {len(photos)} photos")
        expected, said = by_program(program, bundle, files, count)
        refused = [file.name for file, answer in zip(files, expected, strict=True) if isinstance(answer, str)]
        if refused:
            print(f"the program refuses {' '.join(sorted(set(refused)))}:\n{said}")
        runs = {
            "python": lambda: by_python(bundle, files),
            "node": lambda: by_node(bundle, packages, files),
            "page": lambda: by_page(bundle, packages, files),
            "opencv": lambda: by_cpp("cpp", opencv_flags(), bundle, folder, files),
            "stb": lambda: by_cpp("cpp-onnxruntime", ["-I/usr/include/stb", "-I/usr/include/onnxruntime", "-lonnxruntime", "-lturbojpeg"], bundle, folder, files),
        }
        answers = {}
        for name, run in runs.items():
            try:
                answers[name] = run()
            except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
                print(f"{name}: left out, {str(error)[-300:]}")
        right = report(kinds, expected, answers)
        if os.environ.get("VERBOSE"):
            for at, file in enumerate(files):
                cells = [rows[at][:60] if isinstance(rows[at], str) else f"{difference(rows[at], expected[at]):.4f}" for rows in answers.values() if not isinstance(expected[at], str)]
                print(file.relative_to(folder), *cells)
        sys.exit(bool(refused) or not right)


if __name__ == "__main__":
    main()
