"""Measures on a GPU what docs/performance.md and docs/results.md tell of one, in pieces that fit into short visits.

usage: measure_gpu.py PROGRAM OUT [--device cuda] [--minutes 9] [--only devices,speed,...] [--data CIFAR-100]
                      [--set KEY=VALUE ...] [--quick]

PROGRAM is `counterweight`, built with --features cuda where the device is. Every result is a line of OUT/results.jsonl as soon as it is there; what has
a line is not measured again, so the same command goes on where the last one ended. The pieces, in this order:

devices   what the program finds, and what the card reaches in one large product of bfloat16 matrices (PyTorch)
sample    the built-in sample trained and balanced on the CPU and on the device, float32 and bfloat16
speed     training steps beside PyTorch (autocast, compiled, channels last), in turns: bench_train.py
profile   the kernels of a training step, by time
paper     with --data: the `paper` preset with and without weight decay, and its balancers; after the last epoch, and once with a twentieth of
          the images held out to pick the epoch (balancers then start from that one). A training that is out of time goes on next time

OUT/tables.md is written again at the end. Needs torch; --quick makes everything tiny, to try the script.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
PIECES = ("devices", "sample", "speed", "profile", "paper")
# A step is left out that would probably not fit into the time that is left.
LEAST_SECONDS = 20


class OutOfTime(Exception):
    pass


class Notebook:
    """Results by name, each written down once."""

    def __init__(self, folder):
        self.path = folder / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.results = {line["name"]: line for line in map(json.loads, lines)}

    def once(self, name, measure):
        if name in self.results:
            return
        started = time.perf_counter()
        try:
            result = measure()
        except subprocess.CalledProcessError as error:
            # Said, and tried again next time.
            print(json.dumps({"name": name, "failed": (error.stderr or error.stdout or str(error))[-600:]}), flush=True)
            return
        line = {"name": name, "seconds": round(time.perf_counter() - started, 1), **result}
        self.results[name] = line
        with self.path.open("a") as out:
            out.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


class Measurement:
    def __init__(self, arguments):
        self.program = str(pathlib.Path(arguments.program).resolve())
        self.out = pathlib.Path(arguments.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.device, self.quick, self.data = arguments.device, arguments.quick, arguments.data
        self.changes = [part for change in arguments.set for part in ("--set", change)]
        self.end = time.monotonic() + 60 * arguments.minutes
        self.notebook = Notebook(self.out)

    def left(self):
        left = self.end - time.monotonic()
        if left < LEAST_SECONDS:
            raise OutOfTime
        return left

    def ours(self, *command, environment=None):
        """The last JSON document that the program prints."""
        return json.loads(self.run([self.program, *command, "--json"], environment).splitlines()[-1])

    def run(self, command, environment=None):
        done = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            printed, errors = done.communicate(timeout=self.left())
        except subprocess.TimeoutExpired:
            # A training writes a checkpoint every epoch and goes on from there.
            os.killpg(done.pid, signal.SIGTERM)
            done.communicate()
            raise OutOfTime from None
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, printed, errors)
        return printed

    # The pieces.

    def devices(self):
        self.notebook.once("devices", lambda: {"devices": self.ours("devices")})
        self.notebook.once("card", self.card)

    def card(self):
        side = 256 if self.quick else 8192
        code = (
            "import json, statistics, sys, time, torch; device, side = sys.argv[1], int(sys.argv[2])\n"
            "a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))\n"
            "wait = torch.cuda.synchronize if device.startswith('cuda') else (lambda: None)\n"
            "times = []\n"
            "for _ in range(13):\n"
            "    wait(); started = time.perf_counter(); a @ b; wait(); times.append(time.perf_counter() - started)\n"
            "name = torch.cuda.get_device_name() if device.startswith('cuda') else device\n"
            "print(json.dumps({'card': name, 'torch': torch.__version__, 'tflop_per_s': 2 * side**3 / statistics.median(times[3:]) / 1e12}))"
        )
        return json.loads(self.run([sys.executable, "-c", code, self.torch_device(), side]))

    def torch_device(self):
        return "cuda" if self.device.startswith("cuda") else "cpu"

    def sample(self):
        demo = self.out / "demo"
        if not (demo / "dataset.toml").exists():
            self.ours("demo", "--out", demo, "--device", "cpu")
        for device, precision in (("cpu", "float32"), (self.device, "float32"), (self.device, "bfloat16")):
            for seed in (0, 1, 2):
                if self.quick and (seed or precision == "bfloat16"):
                    continue
                self.notebook.once(f"sample {device} {precision} {seed}", lambda: self.train_sample(demo, device, precision, seed))

    def train_sample(self, demo, device, precision, seed):
        run = self.out / f"sample-{device.replace(':', '-')}-{precision}-{seed}"
        epochs = ["--set", "stage1.epochs=2"] if self.quick else []
        settings = ["--settings", demo / "run" / "settings.toml", "--set", f"seed={seed}", "--set", f"stage1.precision={precision}", *epochs]
        begun = ["--resume"] if run.exists() else []
        started = time.perf_counter()
        trained = self.ours("train", demo / "dataset.toml", "--run", run, "--device", device, *settings, *begun)
        seconds = round(time.perf_counter() - started, 1)
        balanced = self.ours("balance", run, "--device", device)
        return {"stage1": trained["balanced_accuracy"], "balanced": balanced["balanced_accuracy"], "train_seconds": seconds}

    def speed(self):
        cases = [("resnet34", 32, batch, precision) for precision in ("bfloat16", "tf32", "float32") for batch in (64, 256, 1024)]
        cases.insert(3, ("resnet50", 224, 64, "bfloat16"))
        if self.quick:
            cases = [("resnet20", 32, 8, "float32")]
        for model, size, batch, precision in cases:
            name = f"speed {model} {size} {batch} {precision}"
            self.notebook.once(name, lambda: self.beside_pytorch(model, size, batch, precision))

    def beside_pytorch(self, model, size, batch, precision):
        steps, rounds = (2, 1) if self.quick else (20, 3)
        command = [sys.executable, HERE / "bench_train.py", "--ours", self.program, "--device", self.device, "--model", model, "--size", size]
        command += ["--batch", batch, "--precision", precision, "--steps", steps, "--rounds", rounds]
        return json.loads(self.run(command if self.quick else [*command, "--compile"]).splitlines()[-1])

    def profile(self):
        if not self.device.startswith("cuda"):
            return
        for batch, precision in ((64, "bfloat16"), (1024, "bfloat16"), (256, "float32")):
            self.notebook.once(f"profile {batch} {precision}", lambda: self.kernels(batch, precision))

    def kernels(self, batch, precision):
        log = self.out / f"profile-{batch}-{precision}.log"
        environment = {"CUBECL_DEBUG_LOG": str(log), "CUBECL_DEBUG_OPTION": "profile"}
        timed = ["bench", "--device", self.device, "--model", "resnet34", "--batch", batch, "--precision", precision, "--steps", "10"]
        self.ours(*timed, environment=environment)
        # The last table is that of the last step. A kernel's name ends in a number of how it was made.
        table = log.read_text(errors="replace").rsplit("| Name ", 1)[-1]
        microseconds, launches = {}, {}
        for name, duration, unit, count in re.findall(r"\| (.+?)_[0-9a-f]+ *\| *([\d.]+)(ns|µs|ms|s) *\| *(\d+) ", table):
            scale = {"ns": 1e-3, "µs": 1, "ms": 1e3, "s": 1e6}[unit]
            microseconds[name] = microseconds.get(name, 0) + float(duration) * scale
            launches[name] = launches.get(name, 0) + int(count)
        longest = sorted(microseconds, key=microseconds.get, reverse=True)
        kernels = [{"kernel": name, "microseconds": round(microseconds[name], 1), "launches": launches[name]} for name in longest]
        return {"log": log.name, "kernels": kernels}

    def paper(self):
        if not self.data:
            return
        # Factor, λ, and the share of the training images held out to pick the epoch.
        cases = [(100, "5e-3", 0), (100, "0", 0), (100, "5e-3", 0.05), (50, "5e-3", 0), (10, "5e-3", 0)]
        for factor, decay, held_out in [cases[0], cases[2]] if self.quick else cases:
            name = f"paper {factor} {decay}" + (" picked" if held_out else "")
            self.notebook.once(name, lambda: self.train_paper(self.out / name.replace(" ", "-"), factor, decay, held_out))

    def train_paper(self, run, factor, decay, held_out):
        dataset_file = self.out / f"c100-{factor}-{held_out}.toml"
        if not dataset_file.exists():
            self.ours("build", self.data, "--factor", factor, "--validation", held_out, "--out", dataset_file)
        tiny = ["--set", "model.backbone=resnet20", "--set", "stage1.epochs=2", "--set", "balance.epochs=1"] if self.quick else []
        settings = ["--preset", "paper", "--set", f"stage1.weight_decay={decay}", *tiny, *self.changes]
        begun = ["--resume"] if run.exists() else settings
        # A training that was stopped has a checkpoint of its last whole epoch.
        self.ours("train", dataset_file, "--run", run, "--device", self.device, *begun)
        epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rows = {"stage 1, last epoch": self.accuracies(run, "last")}
        if held_out:
            rows["stage 1, picked on validation"] = self.accuracies(run, "best")
        ways = {"L2": ["--balancer", "l2"], "tau 1.9": ["--balancer", "tau", "--set", "balance.tau=1.9"], "stage 2": []}
        for name, way in ways.items() if decay != "0" else ():
            self.ours("balance", run, "--device", self.device, *way)
            rows[name] = self.accuracies(run, "balanced")
        stage1 = [epoch for epoch in epochs if epoch["stage"] == 1]
        return {
            "rows": rows,
            "train_seconds": round(sum(epoch["seconds"] for epoch in stage1), 1),
            "images_per_s": round(statistics.median(epoch["images_per_s"] for epoch in stage1)),
            "settings": self.changes[1::2],
        }

    def accuracies(self, run, checkpoint):
        command = ["evaluate", run, "--split", "test", "--checkpoint", checkpoint, "--device", self.device]
        found = {}
        for name, flip in (("plain", []), ("flip", ["--flip"])):
            scores = self.ours(*command, *flip)
            groups = {"all": scores["balanced_accuracy"], **scores["groups"]}
            found[name] = {group: round(100 * accuracy, 2) for group, accuracy in groups.items()}
        return found

    def tables(self):
        results = self.notebook.results
        named = lambda start: [line for name, line in results.items() if name.startswith(start)]
        text = []

        def table(title, head, rows):
            if rows:
                text.extend([f"## {title}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"])
                text.extend(f"| {' | '.join(map(str, row))} |" for row in rows)
                text.append("")

        card = results.get("card")
        table("Card", ["card", "PyTorch", "bfloat16 product, TFLOP/s"], [[card["card"], card["torch"], round(card["tflop_per_s"], 1)]] if card else [])
        speeds = [
            [line["model"], line["size"], line["batch"], line["name"].split()[-1], *(line[side]["images_per_s"] for side in ("ours", "theirs"))]
            + [line["ratio"], round(line["ours"].get("gflop_per_s", 0) / 1000, 1)]
            for line in named("speed ")
        ]
        table("Training step", ["network", "input", "batch", "precision", "ours, images/s", "PyTorch", "ratio", "ours, TFLOP/s"], speeds)
        for line in named("profile "):
            whole = sum(kernel["microseconds"] for kernel in line["kernels"])
            rows = [[*kernel.values(), f"{100 * kernel['microseconds'] / whole:.0f} %"] for kernel in line["kernels"][:12]]
            table(f"Kernels of a step, batch {line['name'][8:]}", ["kernel", "µs", "launches", "share"], rows)
        percent = lambda share: round(100 * share, 1)
        samples = [[line["name"][7:], percent(line["stage1"]), percent(line["balanced"]), line["train_seconds"]] for line in named("sample ")]
        table("Sample", ["device, precision, seed", "stage 1", "balanced", "seconds"], samples)
        papers = [
            [line["name"][6:], row, *(f"{plain} ({mirrored})" for plain, mirrored in zip(scores["plain"].values(), scores["flip"].values()))]
            for line in named("paper ")
            for row, scores in line["rows"].items()
        ]
        table("Paper, per cent (with mirror images)", ["factor, λ", "", "all", "many", "medium", "few"], papers)
        (self.out / "tables.md").write_text("\n".join(text))
        print("\n".join(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--only", default=",".join(PIECES), help="pieces, separated by commas")
    parser.add_argument("--data", help="CIFAR-100, a folder or its archive")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting to change in `paper`")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(PIECES):
        parser.error(f"no such piece: {', '.join(sorted(unknown))}; there are {', '.join(PIECES)}")
    measurement = Measurement(arguments)
    try:
        for piece in PIECES:
            if piece in chosen:
                getattr(measurement, piece)()
    except OutOfTime:
        print(json.dumps({"out_of_time": "the same command goes on from here"}), flush=True)
    measurement.tables()


if __name__ == "__main__":
    main()
