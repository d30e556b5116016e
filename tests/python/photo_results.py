"""Trains on folders of photos in every way there is, with nothing else set, and writes the table of docs/results.md.

usage: photo_results.py PROGRAM SETS OUT [--only insects,waste] [--ways frozen,scratch,fine-tune] [--seeds 0,1,2] [--minutes 9]

SETS is what photo_sets.py laid out. Every result is a line of OUT/results.jsonl as soon as it is there; what has a line is not measured again, so the same
command goes on where it ended. A way is a training and what balancing makes of it:

frozen      the built-in backbone unchanged, the preset `auto` without its look at training from scratch
scratch     the preset `quick` at 64 pixels
fine-tune   the preset of that name

each evaluated on the test images as trained, balanced as the settings say, and with the balancer tuned where there is something to tune it on.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import time

WAYS = {
    "frozen": ["--preset", "auto", "--set", "stage1.train=classifier"],
    "scratch": ["--preset", "quick", "--set", "model.input_size=64"],
    "fine-tune": ["--preset", "fine-tune"],
}
STEPS = ("as trained", "balanced", "tuned")


def call(*command):
    """Seconds that a command took, and the last line of what it printed as JSON."""
    started = time.perf_counter()
    done = subprocess.run([*map(str, command), "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, json.loads(done.stdout.splitlines()[-1])


def measure(program, folder, run, way, seed):
    train, _ = call(program, "train", folder, "--run", run, *WAYS[way], "--set", f"seed={seed}", "--device", "cpu")
    for step in STEPS:
        seconds = train
        if step != "as trained":
            options = ["--set", "balance.tune_candidates=0"] if step == "balanced" else []
            seconds, _ = call(program, "balance", run, *options, "--device", "cpu")
        checkpoint = ["--checkpoint", "balanced"] if step != "as trained" else []
        _, result = call(program, "evaluate", run, "--split", "test", *checkpoint, "--device", "cpu")
        yield {
            "set": folder.name,
            "way": way,
            "step": step,
            "seed": seed,
            "seconds": round(seconds, 1),
            "balanced": result["balanced_accuracy"],
            **{group: result["groups"].get(group) for group in ("many", "medium", "few")},
            "worst": result["worst_class"]["accuracy"],
        }


def table(lines):
    rows = collections.defaultdict(list)
    for line in lines:
        rows[line["set"], line["way"], line["step"]].append(line)
    print("| | | | balanced | seeds | many | medium | few | worst class | seconds |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (name, way, step), runs in rows.items():
        runs.sort(key=lambda run: run["seed"])

        def mean(key):
            values = [run[key] for run in runs if run[key] is not None]
            return f"{100 * sum(values) / len(values):.1f}" if values else ""

        seeds = " ".join(f"{100 * run['balanced']:.1f}" for run in runs)
        seconds = sum(run["seconds"] for run in runs) / len(runs)
        means = " | ".join(map(mean, ("many", "medium", "few", "worst")))
        print(f"| {name} | {way} | {step} | {mean('balanced')} | {seeds} | {means} | {seconds:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("sets", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", default="insects,waste,groceries")
    parser.add_argument("--ways", default="frozen,scratch,fine-tune")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    notebook = arguments.out / "results.jsonl"
    lines = [json.loads(line) for line in notebook.read_text().splitlines()] if notebook.exists() else []
    end = time.monotonic() + 60 * arguments.minutes
    # All sets of one seed before the next seed: what is there when time is up says the most.
    for way in arguments.ways.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            for name in arguments.only.split(","):
                steps = {line["step"] for line in lines if (line["set"], line["way"], line["seed"]) == (name, way, seed)}
                if steps == set(STEPS) or time.monotonic() > end:
                    continue
                run = arguments.out / f"{name}-{way}-{seed}"
                subprocess.run(["rm", "-rf", run], check=True)
                results = list(measure(arguments.program.resolve(), arguments.sets / name, run, way, seed))
                with notebook.open("a") as out:
                    out.writelines(json.dumps(line) + "\n" for line in results)
                lines += results
                print(json.dumps(results), flush=True)
    table(lines)


if __name__ == "__main__":
    main()
