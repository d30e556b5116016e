#!/usr/bin/env python3
"""Kills commands at random moments and looks whether the next one ends where an undisturbed one does.

    python tests/python/kills.py --ours target/release/counterweight --work /tmp/kills --minutes 30

Every command begins with the files that the ones before it left. It is killed (SIGKILL) at a moment drawn evenly from its
usual time, up to three times, then run to its end; `train` is gone on with by --resume. What it leaves must be, file by
file, what it leaves undisturbed: bytes, apart from times in logs and results. Nothing unfinished may lie about then. Prints
a line a failure and a table as JSON at the end. Needs numpy and Pillow.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# What says how long something took, or when.
TIMES = {"seconds", "images_per_s", "expected_s", "estimate"}


# What a command makes that it refuses to make again.
ONCE = {"grow": "grown/settings.toml"}


def photos(folder, seed=0, share=1):
    """Three classes of noisy stripes, 60, 30 and 12 images, or this part of so many."""
    import numpy
    from PIL import Image

    noise = numpy.random.default_rng(seed)
    for name, count, way in [("across", 60, 0), ("down", 30, 1), ("dots", 12, 2)]:
        (folder / name).mkdir(parents=True)
        for index in range(count // share):
            y, x = numpy.mgrid[0:32, 0:32]
            wave = [(y + index) % 8 < 4, (x + index) % 8 < 4, ((x + index) % 8 < 4) & ((y + index) % 8 < 4)][way]
            pixels = wave[..., None] * 160 + noise.integers(0, 90, (32, 32, 3))
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{index:03}.png")


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    return value


def content(path):
    """What of a file has to be the same."""
    data = path.read_bytes()
    if path.suffix == ".json":
        return without_times(json.loads(data))
    if path.suffix == ".jsonl" and path.name == "metrics.jsonl":
        return [without_times(json.loads(line)) for line in data.splitlines()]
    if path.name == "metrics.csv":
        lines = [line.split(",") for line in data.decode().splitlines()]
        kept = [at for at, name in enumerate(lines[0]) if name not in TIMES]
        return [[line[at] for at in kept] for line in lines]
    if path.suffix == ".csv" or path.name == "sorted.jsonl":
        # Rows come as threads end, and one may stand there twice: it is written before what it says is done.
        return sorted(set(data.splitlines()))
    return data


def tree(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        # Kept features only spare work, and what was chosen speaks of how long it would have taken here.
        if path.is_file() and path.name not in (".lock", "log.txt", "choices.json") and path.parent.name != "features":
            found[name] = content(path)
    return found


class Campaign:
    def __init__(self, program, work, seed, cache):
        self.program, self.root = str(program), work
        self.work = work / "work"
        self.random = random.Random(seed)
        self.environment = {**os.environ, "COUNTERWEIGHT_CACHE": str(cache)}

    def commands(self):
        work = self.work
        at = lambda name: str(work / name)
        cpu = ["--device", "cpu"]
        train = ["--run", at("run"), *cpu]
        quick = ["--preset", "quick", "--set", "stage1.epochs=4", "--set", "input_size=16"]
        return [
            ("build", ["build", at("photos"), "--out", at("set.toml"), "--factor", "5"], None),
            ("build --write-images", ["build", at("photos"), "--out", at("set2.toml"), "--write-images", at("images")], None),
            ("train", ["train", at("set.toml"), *train, *quick], ["train", at("set.toml"), *train, *quick, "--resume"]),
            ("evaluate", ["evaluate", at("run"), *cpu], None),
            ("tune", ["tune", at("run"), "--candidates", "40", *cpu], None),
            ("balance", ["balance", at("run"), "--tuned", *cpu], None),
            ("export", ["export", at("run"), "--out", at("model.onnx")], None),
            ("export --bundle", ["export", at("run"), "--bundle", at("bundle")], None),
            ("predict --csv", ["predict", at("model.onnx"), at("photos"), "--csv", at("table.csv")],
             ["predict", at("model.onnx"), at("photos"), "--csv", at("table.csv"), "--resume"]),
            ("predict --sort-into", ["predict", at("model.onnx"), at("photos"), "--sort-into", at("sorted"), "--by", "copy"],
             ["predict", at("model.onnx"), at("photos"), "--sort-into", at("sorted"), "--by", "copy", "--resume"]),
            ("make", ["make", at("photos"), "--out", at("made.onnx"), *quick, *cpu], None),
            ("grow", ["grow", at("run"), at("more"), "--to", at("grown"), *cpu], None),
            ("sweep", ["sweep", at("set.toml"), "--over", "stage1.weight_decay=1e-4,1e-2", "--out", at("decay"), *quick, *cpu], None),
        ]

    def start(self, arguments):
        return subprocess.Popen(
            [self.program, *arguments], env=self.environment, cwd=self.root,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )

    def whole(self, arguments):
        process = self.start(arguments)
        _, words = process.communicate()
        return process.returncode, words.decode(errors="replace")

    def put(self, saved):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(saved, self.work, symlinks=True)

    def prepare(self):
        photos(self.work / "photos")
        photos(self.work / "more", seed=1, share=4)
        steps = []
        for number, (name, first, again) in enumerate(self.commands()):
            before = self.root / f"before-{number}"
            shutil.copytree(self.work, before, symlinks=True)
            took = []
            for _ in range(2):
                self.put(before)
                started = time.monotonic()
                code, words = self.whole(first)
                took.append(time.monotonic() - started)
                if code != 0:
                    sys.exit(f"{name} fails undisturbed: {words}")
            after = tree(self.work)
            self.put(before)
            self.whole(first)
            if tree(self.work) != after:
                differ = [key for key in after if tree(self.work).get(key) != after[key]]
                sys.exit(f"{name} is not the same twice: {differ[:5]}")
            steps.append({"name": name, "first": first, "again": again or first, "before": before, "after": after,
                          "seconds": min(took), "kills": 0, "rounds": 0, "failures": 0})
        return steps

    def round(self, step):
        self.put(step["before"])
        arguments, kills = step["first"], 0
        for _ in range(self.random.choice([1, 1, 2, 3])):
            process = self.start(arguments)
            try:
                process.wait(self.random.uniform(0, step["seconds"] * 1.05))
            except subprocess.TimeoutExpired:
                # The processes that run models with it, as well: all of them lose power at once.
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            process.communicate()
            arguments = step["again"]
        if kills == 0:
            arguments = step["again"]
        has = (self.work / "run/settings.toml").exists()
        if step["name"] == "train" and not has:
            arguments = step["first"]
        # An export or a build that was finished before the kill is made once more.
        once = ONCE.get(step["name"])
        is_made = once is not None and (self.work / once).exists()
        code, words = (0, "") if is_made else self.whole(arguments)
        step["kills"] += kills
        step["rounds"] += 1
        problem = None
        if code != 0:
            problem = f"exit code {code}: {words.strip()[-400:]}"
        else:
            found = tree(self.work)
            left = [str(path) for path in self.work.rglob(".counterweight-*")]
            differ = [key for key in step["after"] if found.get(key) != step["after"][key]]
            more = [key for key in found if key not in step["after"]]
            if left or differ or more:
                problem = f"left {left[:3]}, differ {differ[:3]}, more {more[:3]}"
        if problem:
            step["failures"] += 1
            print(f"{step['name']}: {problem}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", type=Path, default=Path("target/release/counterweight"))
    parser.add_argument("--work", type=Path, required=True, help="a new folder")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one command's name")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True)
    campaign = Campaign(options.ours.resolve(), work, options.seed, work / "cache")
    steps = campaign.prepare()
    chosen = [step for step in steps if options.only in (None, step["name"])]
    ends = time.monotonic() + 60 * options.minutes
    while time.monotonic() < ends:
        for step in chosen:
            campaign.round(step)
    keys = ("name", "rounds", "kills", "failures")
    print(json.dumps([{key: step[key] for key in keys} for step in chosen], indent=1))
    sys.exit(any(step["failures"] for step in chosen))


if __name__ == "__main__":
    main()
