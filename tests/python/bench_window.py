#!/usr/bin/env python3
"""Times the window on a machine without a graphics card: what it takes of a core while it trains, and how soon a click is seen.

    python tests/python/bench_window.py --ours target/release/counterweight FOLDER

Opens FOLDER, a folder of photos, in the real program on a screen of its own (Xvfb, 1280 x 800), starts training from scratch
and, once epochs go by, clicks pages in the rail in turn: the time from letting go of the button to the first other pixel of
the page's title. Prints one JSON object. Needs Linux, Xvfb, xdotool, and python-xlib from PyPI.
"""

import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

# Where things are in a window of this size.
PATH_FIELD, TO_TRAINING, FROM_SCRATCH, TRAIN = (717, 515), (1178, 40), (946, 102), (1216, 40)
PAGES = {"charts and images": [(86, 349), (86, 135)], "tables": [(86, 397), (86, 493)]}
TITLE = (300, 20, 200, 60)


def do(*arguments):
    subprocess.run(["xdotool", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def click(place):
    do("mousemove", *place, "sleep", 0.2, "click", 1)


def ticks(process):
    """Processor time of every kind of thread, in seconds."""
    found = collections.Counter()
    for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
        text = (thread / "stat").read_text()
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        kind = "window" if thread.name == str(process) else name.rstrip("0123456789-").strip()
        found[kind] += (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")
    return found


def shares(process, seconds):
    before = ticks(process)
    time.sleep(seconds)
    return {kind: round(100 * (after - before[kind]) / seconds, 1) for kind, after in ticks(process).items() if after - before[kind] > 0.001 * seconds}


def latencies(screen, places, clicks, held):
    """Milliseconds from letting go of the button, which is down for so many seconds, to the first other pixel."""
    from Xlib import X
    from Xlib.ext import xtest

    def title():
        return screen.screen().root.get_image(*TITLE, X.ZPixmap, 0xFFFFFFFF).data

    found = []
    for turn in range(clicks + 1):
        x, y = places[turn % 2]
        xtest.fake_input(screen, X.MotionNotify, x=x, y=y)
        screen.sync()
        time.sleep(0.9)
        before = title()
        xtest.fake_input(screen, X.ButtonPress, 1)
        screen.sync()
        time.sleep(held)
        started = time.perf_counter()
        xtest.fake_input(screen, X.ButtonRelease, 1)
        screen.sync()
        while title() == before and time.perf_counter() - started < 3:
            time.sleep(0.001)
        found.append(1000 * (time.perf_counter() - started))
    # The first may have been on its page already.
    found = sorted(found[1:])
    return {"median_ms": round(statistics.median(found)), "nine_tenths_ms": round(found[len(found) * 9 // 10 - 1]), "most_ms": round(found[-1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--ours", default="target/release/counterweight")
    parser.add_argument("--display", default=":98")
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--held", type=float, default=0.08, help="seconds that the button is down: a finger takes some 80 to 100 ms, a touchpad 20")
    arguments = parser.parse_args()
    from Xlib import display

    os.environ["DISPLAY"] = arguments.display
    with tempfile.TemporaryDirectory() as home:
        screen = subprocess.Popen(["Xvfb", arguments.display, "-screen", "0", "1280x800x24"], stderr=subprocess.DEVNULL)
        time.sleep(1)
        environment = os.environ | {"HOME": home, "XDG_RUNTIME_DIR": home, "COUNTERWEIGHT_CACHE": f"{home}/cache"}
        program = subprocess.Popen([os.path.abspath(arguments.ours)], env=environment, cwd=home)
        try:
            time.sleep(5)
            do("search", "--sync", "--name", "Counterweight", "windowfocus")
            click(PATH_FIELD)
            do("type", os.path.abspath(arguments.folder))
            do("key", "Return")
            time.sleep(25)
            for place in (TO_TRAINING, FROM_SCRATCH, TRAIN):
                click(place)
                time.sleep(5)
            # Epochs go by only after the other ways have been looked at.
            time.sleep(40)
            connection = display.Display()
            clicks = {name: latencies(connection, places, arguments.clicks, arguments.held) for name, places in PAGES.items()}
            click(PAGES["charts and images"][1])
            time.sleep(20)
            print(json.dumps({"clicks": clicks, "share_of_a_core": shares(program.pid, 20)}))
        finally:
            program.kill()
            screen.kill()


if __name__ == "__main__":
    main()
