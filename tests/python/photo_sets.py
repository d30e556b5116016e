"""Lays out the folders of photos that docs/results.md tells of, from clones of the public repositories they are in.

usage: photo_sets.py CLONES OUT

CLONES holds the clones under their repositories' names:

    Rice-Crop-Insects-and-Weed-Dataset   RadheTians, at 1921173, MIT
    Trash-Classification-                congduytran12, at 00212f2, a copy of TrashNet without a licence file
    GroceryStoreDataset                  marcusklasson, at fc80ba9, MIT
    Traffic                              jovanzac, at 4218b16, part of GTSRB, without a licence file

Those that are there become OUT/insects, OUT/waste, OUT/groceries and OUT/signs, each with train/CLASS and test/CLASS of links to the images. Test images are
drawn first and keep their number; of what is left, insects and waste keep n_k = n_max * factor ** (-k / (K - 1)) images of the k-th largest of K classes.
The draw is the same every time.
"""

import collections
import csv
import pathlib
import random
import shutil
import sys

SEED = 0
IMAGES = {".jpg", ".jpeg", ".png", ".ppm"}


def images(folder):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)


def held_out(classes, number, factor, generator):
    """Splits classes of loose images: `number` of each to test, the rest thinned to a tail."""
    test, train = {}, {}
    for name, files in sorted(classes.items()):
        files = files.copy()
        generator.shuffle(files)
        test[name], train[name] = files[:number], files[number:]
    order = sorted(train, key=lambda name: (-len(train[name]), name))
    most = len(train[order[0]])
    for k, name in enumerate(order):
        train[name] = train[name][: round(most * factor ** (-k / (len(order) - 1)))]
    return train, test


def insects(clone, generator):
    folders = (clone / "Rice-Crop-Insects-Dataset-With-Annotation").iterdir()
    classes = {folder.name: images(folder) for folder in folders if folder.is_dir()}
    # Of the two smallest there would be nothing left to learn from.
    return held_out({name: files for name, files in classes.items() if len(files) > 36}, 25, 10, generator)


def waste(clone, generator):
    classes = {folder.name: images(folder) for folder in (clone / "dataset-resized").iterdir() if folder.is_dir()}
    return held_out(classes, 30, 20, generator)


def groceries(clone, _):
    """The 43 coarse classes with their natural counts; the authors' validation images are training images here."""
    root = clone / "dataset"
    with open(root / "classes.csv", newline="") as table:
        names = {int(row["Coarse Class ID (int)"]): row["Coarse Class Name (str)"] for row in csv.DictReader(table)}
    splits = collections.defaultdict(list), collections.defaultdict(list)
    for split, lists in zip(splits, (("train.txt", "val.txt"), ("test.txt",))):
        for line in (line for name in lists for line in (root / name).read_text().splitlines()):
            path, _, coarse = line.split(",")
            split[names[int(coarse)]].append(root / path)
    return splits


def signs(clone, _):
    """Frames of a track (00012_00003.ppm is the third of track 12) stay together: every fifth track is test, of the others every fifth frame is taken."""
    train, test = {}, {}
    for folder in sorted(path for path in (clone / "gtsrb").iterdir() if path.is_dir()):
        tracks = collections.defaultdict(list)
        for path in images(folder):
            tracks[path.stem.split("_")[0]].append(path)
        name = f"sign-{int(folder.name):02}"
        test[name] = [path for k, track in enumerate(tracks.values()) if k % 5 == 4 for path in track[::5]]
        train[name] = [path for k, track in enumerate(tracks.values()) if k % 5 != 4 for path in track[::5]]
    return train, test


def lay_out(out, splits):
    shutil.rmtree(out, ignore_errors=True)
    for split, classes in zip(("train", "test"), splits):
        for name, files in classes.items():
            folder = out / split / name
            folder.mkdir(parents=True)
            for path in files:
                # Two subfolders of a class may hold files of one name.
                link = folder / path.name
                (link if not link.exists() else folder / f"{path.parent.name}-{path.name}").symlink_to(path.resolve())
    counts = sorted((len(files) for files in splits[0].values()), reverse=True)
    test = sum(map(len, splits[1].values()))
    print(f"{out.name}: {sum(counts)} training images of {len(counts)} classes, {counts[0]} to {counts[-1]}; {test} test images")


def main():
    clones, out = map(pathlib.Path, sys.argv[1:])
    for make, repository in (
        (insects, "Rice-Crop-Insects-and-Weed-Dataset"),
        (waste, "Trash-Classification-"),
        (groceries, "GroceryStoreDataset"),
        (signs, "Traffic"),
    ):
        if (clones / repository).is_dir():
            lay_out(out / make.__name__, make(clones / repository, random.Random(SEED)))
        else:
            print(f"{make.__name__}: {clones / repository} is not there")


if __name__ == "__main__":
    main()
