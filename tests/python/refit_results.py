"""What it brings that `make` has the classifier learn from the held-out images, too, on folders with test images of their own beside them.

usage: refit_results.py PROGRAM OUT SET…

Each SET holds `photos`, which `make` is given with nothing else, and `test`, images that it never sees, both with a folder a class. For each the number
that `make` tells, measured on images that it held out itself, is printed beside the balanced accuracy on the test images of the file as it was measured
(`--no-refit`) and of the file that has learned from all of `photos`.
"""

import argparse
import collections
import csv
import json
import pathlib
import subprocess


def balanced(program, model, test):
    """Mean over the classes of the share of their test images that the file recognises."""
    table = model.with_suffix(".csv")
    table.unlink(missing_ok=True)
    subprocess.run([program, "predict", model, test, "--csv", table], check=True, stdout=subprocess.DEVNULL)
    right = collections.defaultdict(list)
    with table.open(newline="") as rows:
        for row in csv.DictReader(rows):
            truth = pathlib.Path(row["path"]).relative_to(test).parent.as_posix()
            right[truth].append(row["class"] == truth)
    return sum(sum(own) / len(own) for own in right.values()) / len(right)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("sets", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| set | images | held out | told | measured | learned from all |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for folder in arguments.sets:
        found = []
        for name, more in (("measured", ["--no-refit"]), ("all", [])):
            model = arguments.out / f"{folder.name}-{name}.onnx"
            command = [arguments.program, "make", folder / "photos", "--out", model, "--device", "cpu", "--json", *more]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            report = json.loads(done.stdout.splitlines()[-1])
            found.append(balanced(arguments.program, model, folder / "test"))
        refit, told = report["export"]["refit"], report["balance"]["balanced_accuracy"]
        shares = " | ".join(f"{100 * share:.1f}" for share in (told, *found))
        print(f"| {folder.name} | {refit['images']} | {refit['held_out']} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
