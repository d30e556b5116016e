"""Flips labels of an image folder on purpose, asks `inspect --labels` for them, and counts what is found.

usage: label_noise.py PROGRAM FOLDER OUT [--share 0.05] [--seeds 0,1,2] [--cleanlab CACHE]

Of the images of FOLDER/train (one folder a class) a share is given another class at random, whatever its class is; the images stay where they are, an image list
in OUT says what is what. Prints the precision among the first 100 and among as many as were flipped, and the recall by group, of two orders on the same features:
the program's, and cleanlab's (confident learning, `find_label_issues` ranked by self-confidence) on out-of-fold probabilities of logistic regression. "Accused" is
the share of right labels that are listed.
"""

import argparse
import collections
import csv
import json
import pathlib
import random
import struct
import subprocess

import numpy as np

IMAGES = {".jpg", ".jpeg", ".png", ".ppm"}
MANY, FEW = 100, 20


def flipped(folder, share, seed):
    """Rows of path, label and true label, and how many images each class truly has."""
    generator = random.Random(seed)
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    rows = [(path.resolve(), name) for name in classes for path in sorted((folder / name).iterdir()) if path.suffix.lower() in IMAGES]
    chosen = set(generator.sample(range(len(rows)), round(share * len(rows))))
    result = []
    for at, (path, name) in enumerate(rows):
        other = generator.choice([known for known in classes if known != name]) if at in chosen else name
        result.append((path, other, name))
    return result, collections.Counter(name for _, name in rows)


def group(count):
    return "many" if count > MANY else "few" if count < FEW else "medium"


def report(name, order, wrong, truth, counts):
    """Precision and recall of an order of paths."""
    hits = [path in wrong for path in order]
    found = set(order)
    line = {"way": name, "listed": len(order), "wrong": len(wrong)}
    line["precision of first 100"] = round(float(np.mean(hits[:100])), 3) if hits else None
    line["precision of as many as wrong"] = round(sum(hits[: len(wrong)]) / len(wrong), 3)
    for part in ("many", "medium", "few"):
        of_part = {path for path in wrong if group(counts[truth[path]]) == part}
        clean = {path for path in truth if path not in wrong and group(counts[truth[path]]) == part}
        if of_part:
            line[f"recall {part}"] = round(len(of_part & found) / len(of_part), 3)
        if clean:
            line[f"accused {part}"] = round(len(clean & found) / len(clean), 3)
    return line


def read_segment(data):
    """Rows of a file of kept features by the hash of the image's content; core/src/features/segment.rs says what is where."""
    label, view = struct.unpack_from("=II", data, 12)
    number, width = struct.unpack_from("=QQ", data, 24)
    keys = -(-(96 - 8 + 8 + label + view) // 64) * 64
    end = keys + 48 * number
    rows = -(-(end + 32) // 64) * 64
    values = np.frombuffer(data, np.float32, number * width, rows).reshape(number, width)
    return {data[keys + 32 * at : keys + 32 * (at + 1)]: values[at] for at in range(number)}


def features(cache, paths):
    """Rows of the built-in backbone's features, as the program keeps them, by the images' content."""
    from blake3 import blake3

    known = {}
    for segment in pathlib.Path(cache).glob("features/*-plain-*/*.features"):
        found = read_segment(segment.read_bytes())
        known.update({key: row for key, row in found.items() if key not in known})
    return np.stack([known[blake3(path.read_bytes()).digest()] for path in paths])


def cleanlab_order(rows, cache):
    """The order of cleanlab, which knows of a class only how often it is."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = sorted({label for _, label, _ in rows})
    labels = np.array([names.index(label) for _, label, _ in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    probabilities = cross_val_predict(model, features(cache, [path for path, *_ in rows]), labels, cv=3, method="predict_proba")
    issues = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [str(rows[at][0]) for at in issues]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cleanlab", type=pathlib.Path, metavar="CACHE", help="the program's cache folder, to run cleanlab on the same features")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, arguments.seeds.split(",")):
        rows, counts = flipped(arguments.folder / "train", arguments.share, seed)
        truth = {str(path): name for path, _, name in rows}
        wrong = {str(path) for path, label, name in rows if label != name}
        listed = arguments.out / f"{arguments.folder.name}-{seed}.csv"
        with listed.open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["path", "label", "split"])
            table.writerows([path, label, "train"] for path, label, _ in rows)
        done = subprocess.run([arguments.program, "inspect", listed, "--labels", "--json"], check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        (arguments.out / f"{arguments.folder.name}-{seed}.json").write_text(json.dumps(found))
        order = [str(pathlib.Path(doubt["path"])) for doubt in found["doubts"]]
        order = [path if path in truth else str((listed.parent / path).resolve()) for path in order]
        orders = {"counterweight": order}
        if arguments.cleanlab:
            orders["cleanlab"] = cleanlab_order(rows, arguments.cleanlab)
        for way, order in orders.items():
            print(json.dumps({"set": arguments.folder.name, "seed": seed, **report(way, order, wrong, truth, counts)}), flush=True)


if __name__ == "__main__":
    main()
