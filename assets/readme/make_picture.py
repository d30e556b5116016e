#!/usr/bin/env python3
"""Draws demo.png from what `counterweight demo` leaves.

    pip install matplotlib
    python3 assets/readme/make_picture.py counterweight-demo/run/results/balance.json
"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

report = json.loads(pathlib.Path(sys.argv[1]).read_text())
before, after = report["before"]["per_class"], report["per_class"]
names = [c["name"].split("_")[-1] for c in after]
counts = [c["train_count"] for c in after]
place = range(len(names))

# Okabe and Ito's colours: told apart by everybody.
TAIL, BEFORE, AFTER, INK = "#0072B2", "#B8BDC4", "#D55E00", "#2B2F36"
plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), dpi=120, layout="constrained")


def pairs(axis, left, right):
    axis.bar([i - 0.2 for i in place], left, 0.4, color=BEFORE, label="before")
    axis.bar([i + 0.2 for i in place], right, 0.4, color=AFTER, label="after")


axes[0].bar(place, counts, 0.7, color=TAIL)
for i, count in enumerate(counts):
    axes[0].annotate(str(count), (i, count), (0, 3), textcoords="offset points", ha="center", fontsize=9)
axes[0].set_title("training images", loc="left", fontweight="bold")
pairs(axes[1], report["norms_before"], report["norms_after"])
axes[1].axhline(report["radius"]["radius"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
axes[1].annotate("MaxNorm radius", (len(names) - 0.5, report["radius"]["radius"]), (0, 4), textcoords="offset points", ha="right", fontsize=9)
axes[1].set_title("class weight norm", loc="left", fontweight="bold")
pairs(axes[2], [100 * c["accuracy"] for c in before], [100 * c["accuracy"] for c in after])
axes[2].set_title("test accuracy, %", loc="left", fontweight="bold")
axes[2].set_ylim(0, 105)
handles, labels = axes[2].get_legend_handles_labels()
figure.legend(handles, ["before balancing", "after balancing"], frameon=False, ncols=2, loc="outside lower right")
for axis in axes:
    axis.set_xticks(list(place), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#9AA0A8")
    axis.tick_params(length=0)
out = pathlib.Path(__file__).with_name("demo.png")
figure.savefig(out)
print(out)
