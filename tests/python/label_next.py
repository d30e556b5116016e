"""Labels some more images of a pool, those that `suggest` names or as many at random, and counts what `grow` makes of them.

usage: label_next.py PROGRAM FOLDER POOL OUT [--counts 50,100] [--seeds 0,1,2]

FOLDER has train and test folders of classes, POOL class folders that say what its images truly are: the person who labels. What FOLDER holds already is left out by its
content. A line each: the way, how many were labelled, how many of them were of the rarer half of the classes, and balanced accuracy before and after.
"""

import argparse
import csv
import hashlib
import json
import pathlib
import random
import shutil
import subprocess

IMAGES = {".jpg", ".jpeg", ".png", ".ppm"}


def call(*command):
    done = subprocess.run([*map(str, command), "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("pool", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--counts", default="50,100")
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    digest = lambda path: hashlib.sha256(path.read_bytes()).digest()
    known = {digest(path) for path in arguments.folder.glob("*/*/*") if path.suffix.lower() in IMAGES}
    names = {path.name for path in (arguments.folder / "train").iterdir()}
    truth = {}
    for path in sorted(arguments.pool.glob("*/*")):
        if path.suffix.lower() in IMAGES and path.parent.name in names:
            content = digest(path)
            if content not in known:
                known.add(content)
                truth[str(path.resolve())] = path.parent.name
    counts = {name: len(list((arguments.folder / "train" / name).iterdir())) for name in names}
    rare = set(sorted(counts, key=counts.get)[: len(counts) // 2])
    run = arguments.out / "run"
    shutil.rmtree(run, ignore_errors=True)
    call(arguments.program, "train", arguments.folder, "--run", run, "--set", "stage1.train=classifier", "--device", "cpu")
    call(arguments.program, "balance", run, "--device", "cpu")
    for count in map(int, arguments.counts.split(",")):
        ways = {}
        listed = call(arguments.program, "suggest", run, *truth, "--count", count, "--device", "cpu")
        ways["suggest"] = [suggestion["path"] for suggestion in listed["suggestions"]]
        for seed in map(int, arguments.seeds.split(",")):
            ways[f"random {seed}"] = random.Random(seed).sample(sorted(truth), count)
        for way, chosen in ways.items():
            with (arguments.out / "next.csv").open("w", newline="") as out:
                table = csv.writer(out)
                table.writerow(["path", "label"])
                table.writerows([path, truth[path]] for path in chosen)
            grown = arguments.out / "grown"
            shutil.rmtree(grown, ignore_errors=True)
            report = call(arguments.program, "grow", run, arguments.out / "next.csv", "--to", grown, "--device", "cpu")
            before, after = (evaluation["balanced_accuracy"] for evaluation in report["evaluations"])
            line = {"set": arguments.folder.name, "way": way, "labelled": report["added"], "of the rarer half": sum(truth[path] in rare for path in chosen)}
            print(json.dumps({**line, "before": round(before, 4), "after": round(after, 4), "pool": len(truth)}), flush=True)


if __name__ == "__main__":
    main()
