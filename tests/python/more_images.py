"""Holds what `inspect --more` expects of twice as many images against what twice as many then bring.

usage: more_images.py PROGRAM SETS OUT [--only insects,waste,groceries] [--seeds 0,1,2]

Of each of the rarer half of a set's classes half of the training images are left out, and `inspect --more` says what as many again would bring. Then all are there: what it says of
them as they are. A line for each set and seed, in per cent and as means of those classes:

now, expected      recognised with half of their images, and expected with all of them, by `inspect --more` on the smaller folder
come               recognised with all of them, by `inspect --more` on all
within             classes of which what came lies in the range that was told (it is told to hold for eight of ten)
test               recognised test images, by runs of the smaller folder and of all"""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess


def call(*command):
    done = subprocess.run([*map(str, command), "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def rarer(folder):
    """The rarer half of the classes."""
    counts = {group.name: len(list(group.iterdir())) for group in (folder / "train").iterdir()}
    return set(sorted(counts, key=lambda name: (counts[name], name))[: len(counts) // 2])


def halve(folder, to, seed):
    """A folder with half of the training images of the rarer classes, at least two, and all others."""
    rare = rarer(folder)
    shutil.rmtree(to, ignore_errors=True)
    for split in ("train", "test"):
        for group in sorted((folder / split).iterdir()):
            images = sorted(group.iterdir())
            if split == "train" and group.name in rare:
                images = random.Random(f"{seed} {group.name}").sample(images, max(2, len(images) // 2))
            (to / split / group.name).mkdir(parents=True)
            for image in images:
                shutil.copyfile(image, to / split / group.name / image.name)


def accuracy(program, folder, run, classes):
    shutil.rmtree(run, ignore_errors=True)
    call(program, "train", folder, "--run", run, "--set", "stage1.train=classifier", "--device", "cpu")
    call(program, "balance", run, "--device", "cpu")
    found = call(program, "evaluate", run, "--split", "test", "--device", "cpu")["per_class"]
    return statistics.mean(one["accuracy"] for one in found if one["name"] in classes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("sets", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", default="insects,waste,groceries")
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    program, out = arguments.program.resolve(), arguments.out
    percent = lambda share: round(100 * share, 1)
    for name in arguments.only.split(","):
        folder = arguments.sets / name
        everything = {one["class"]: one for one in call(program, "inspect", folder, "--more", "--device", "cpu")["classes"]}
        rare = rarer(folder)
        all_of_it = accuracy(program, folder, out / "run", rare)
        for seed in map(int, arguments.seeds.split(",")):
            half = out / f"{name}-half"
            halve(folder, half, seed)
            told = call(program, "inspect", half, "--more", "--device", "cpu")["classes"]
            pairs = [(one, everything[one["class"]]["now"]["accuracy"]) for one in told if one["class"] in rare]
            within = [one["with_more"][0]["low"] <= come <= one["with_more"][0]["high"] for one, come in pairs]
            line = {
                "set": name,
                "seed": seed,
                "now": percent(statistics.mean(one["now"]["accuracy"] for one, _ in pairs)),
                "expected": percent(statistics.mean(one["with_more"][0]["accuracy"] for one, _ in pairs)),
                "come": percent(statistics.mean(come for _, come in pairs)),
                "within": f"{sum(within)} of {len(within)}",
                "test": [percent(accuracy(program, half, out / "run", rare)), percent(all_of_it)],
            }
            print(json.dumps(line), flush=True)
            shutil.rmtree(half)


if __name__ == "__main__":
    main()
