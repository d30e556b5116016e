"""Builds and runs every example of a bundle whose tools are here, and compares the answers with those expected.

usage: examples.py BUNDLE [WORK] [--onnxruntime DIR] [--rust]

The bundle is copied to an empty folder below WORK (a temporary one without it), and its ten reference images are classified there by each example, as its
header says it is built and run. What Python and node need is installed into WORK by pip and npm, unless it is there already. Below DIR are onnxruntime's
headers, its library, and `stb_image.h`; what is missing there is looked for in the system, as libjpeg-turbo is (g++ heeds CPATH, LIBRARY_PATH and
LD_LIBRARY_PATH), and the library in Python's onnxruntime. Rust takes many minutes to build and is run with --rust alone. Prints a line an example: the images
with the same five classes in the same order, and the largest difference of probabilities (examples print a tenth of a percent). What cannot be run is said
and left out. Exits with 1 if one disagrees.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 0.02
SECONDS = 1800
PYTHON = {"onnxruntime": "onnxruntime", "PIL": "pillow", "numpy": "numpy"}
NODE = ["onnxruntime-node", "sharp"]
OPENCV = (4, 11)


class LeftOut(Exception):
    """Why an example is not run."""


class Place:
    """The copy of a bundle, and what is installed for it."""

    def __init__(self, bundle, work, onnxruntime):
        self.work = work
        self.bundle = Path(tempfile.mkdtemp(prefix="bundle-", dir=work)) / "bundle"
        shutil.copytree(bundle, self.bundle)
        self.onnxruntime = onnxruntime
        self.expected = json.loads((self.bundle / "reference" / "expected.json").read_text(encoding="utf-8"))["images"]
        self.images = [f"../../reference/{entry['file']}" for entry in self.expected]

    def python(self):
        """The environment in which Python finds what it needs."""
        missing = [package for module, package in PYTHON.items() if not importlib.util.find_spec(module)]
        where = self.work / "python"
        if missing and not where.is_dir():
            install(sys.executable, "-m", "pip", "install", "--quiet", "--target", where, *missing)
        return {**os.environ, "PYTHONPATH": str(where)} if missing else dict(os.environ)

    def below(self, folders, pattern):
        """The first file of that name below one of these folders."""
        found = [path for folder in folders if folder for path in sorted(Path(folder).rglob(pattern)) if path.is_file()]
        return found[0] if found else None


def command(*words, cwd=None, env=None):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, env=env, timeout=SECONDS)


def install(*words, cwd=None):
    found = command(*words, cwd=cwd)
    if found.returncode:
        lines = (found.stderr.strip() or found.stdout.strip()).splitlines()
        raise LeftOut(f"what it needs cannot be installed: {(lines or ['?'])[-1][:200]}")


def needed(*programs):
    for program in programs:
        if not shutil.which(program):
            raise LeftOut(f"there is no {program}")


def build(*words, cwd):
    found = command(*words, cwd=cwd)
    if found.returncode:
        errors = [line for line in found.stderr.splitlines() if "error" in line] or found.stderr.splitlines() or ["?"]
        raise RuntimeError(f"it cannot be built: {errors[0][:200]}")


def python(place, folder):
    return command(sys.executable, "classify.py", *place.images, cwd=folder, env=place.python())


def javascript(place, folder):
    needed("node", "npm")
    where = place.work / "node"
    where.mkdir(exist_ok=True)
    if not all((where / "node_modules" / package).is_dir() for package in NODE):
        install("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", where, *NODE)
    env = {**os.environ, "NODE_PATH": str(where / "node_modules")}
    return command("node", "classify.js", *place.images, cwd=folder, env=env)


def cpp(place, folder):
    needed("g++", "pkg-config")
    versions = {name: command("pkg-config", "--modversion", name).stdout.strip() for name in ("opencv4", "opencv5")}
    name, version = next(((name, version) for name, version in versions.items() if version), (None, None))
    if not version:
        raise LeftOut("pkg-config knows neither opencv4 nor opencv5")
    if tuple(map(int, version.split(".")[:2])) < OPENCV:
        raise LeftOut(f"OpenCV is {version} here, and {'.'.join(map(str, OPENCV))} is needed")
    flags = command("pkg-config", "--cflags", "--libs", name).stdout.split()
    build("g++", "-O2", "-std=c++17", "classify.cpp", "-o", "classify", *flags, cwd=folder)
    return command("./classify", "../..", *place.images, cwd=folder)


def cpp_onnxruntime(place, folder):
    needed("g++")
    own = [place.onnxruntime]
    header = place.below([*own, "/usr/include/onnxruntime", "/usr/local/include"], "onnxruntime_cxx_api.h")
    stb = place.below([*own, "/usr/include/stb", "/usr/local/include"], "stb_image.h")
    for what, found in {"onnxruntime_cxx_api.h": header, "stb_image.h": stb}.items():
        if not found:
            raise LeftOut(f"there is no {what}")
    library = place.below([*own, "/usr/lib", "/usr/local/lib"], "libonnxruntime.so*")
    if not library:
        script = "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent)"
        wheel = command(sys.executable, "-c", script, env=place.python()).stdout.strip()
        library = place.below([wheel], "libonnxruntime.so*")
    if not library:
        raise LeftOut("there is no libonnxruntime.so")
    # A wheel has the library under its full name alone.
    linked = folder / "lib"
    linked.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (linked / name).symlink_to(library.resolve())
    flags = [f"-I{header.parent}", f"-I{stb.parent}", f"-L{linked}", "-lonnxruntime", f"-Wl,-rpath,{linked}"]
    if command("g++", "-xc++", "-fsyntax-only", "-include", "turbojpeg.h", os.devnull).returncode:
        raise LeftOut("there is no turbojpeg.h")
    flags.append("-lturbojpeg")
    build("g++", "-O2", "-std=c++17", "classify.cpp", "-o", "classify", *flags, cwd=folder)
    return command("./classify", "../..", *place.images, cwd=folder)


def csharp(place, folder):
    needed("dotnet")
    if not command("dotnet", "--list-sdks").stdout.strip():
        raise LeftOut("dotnet has no SDK")
    install("dotnet", "restore", cwd=folder)
    return command("dotnet", "run", "-c", "Release", "--no-restore", "--", "../..", *place.images, cwd=folder)


def rust(place, folder):
    needed("cargo")
    install("cargo", "fetch", "--quiet", cwd=folder)
    env = {"CARGO_TARGET_DIR": str(place.work / "rust"), **os.environ}
    return command("cargo", "run", "--release", "--quiet", "-j1", "--", *place.images, cwd=folder, env=env)


EXAMPLES = {
    "python": python,
    "javascript": javascript,
    "cpp": cpp,
    "cpp-onnxruntime": cpp_onnxruntime,
    "csharp": csharp,
    "rust": rust,
}


def answers(place, printed):
    """What an example prints: a line with the path, then a line a class, the most probable first. What tools say in between is passed over."""
    found = []
    for line in printed.splitlines():
        if line in place.images:
            found.append([])
        elif found and (answer := re.fullmatch(r" +([\d.]+) %  (.+)", line)):
            found[-1].append((answer[2], float(answer[1]) / 100))
    return found


def compare(place, printed):
    found = answers(place, printed)
    if len(found) != len(place.expected) or not all(found):
        raise RuntimeError(f"it answers for {sum(map(bool, found))} of {len(place.expected)} images")
    same, worst = 0, 0.0
    for entry, row in zip(place.expected, found, strict=True):
        same += [label for label, _ in row] == [top["class"] for top in entry["top"]]
        # A class that is not among the five is at most as probable as the last of them.
        by_label, least = dict(row), row[-1][1]
        worst = max(worst, *(abs(by_label.get(top["class"], least) - top["probability"]) for top in entry["top"]))
    return same, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--onnxruntime", type=Path)
    parser.add_argument("--rust", action="store_true")
    said = parser.parse_args()
    work = (said.work or Path(tempfile.mkdtemp(prefix="examples-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    place = Place(said.bundle, work, said.onnxruntime and said.onnxruntime.absolute())
    failed = False
    try:
        there = {path.name for path in (place.bundle / "examples").iterdir()}
        for unknown in sorted(there - set(EXAMPLES)):
            failed = True
            print(f"{unknown}: FAILED: this script does not know it")
        for name, run in EXAMPLES.items():
            try:
                if name not in there:
                    raise LeftOut("the bundle has none")
                if name == "rust" and not said.rust:
                    raise LeftOut("--rust is not given")
                found = run(place, place.bundle / "examples" / name)
                if found.returncode:
                    raise RuntimeError((found.stderr.strip().splitlines() or [f"ends with {found.returncode}"])[-1][:300])
                same, worst = compare(place, found.stdout)
                agrees = worst <= TOLERANCE
                failed |= not agrees
                print(f"{name}: {same} of {len(place.images)} the same, probabilities {worst:.1e}{'' if agrees else '  DISAGREES'}")
            except LeftOut as reason:
                print(f"{name}: left out, {reason}")
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                failed = True
                print(f"{name}: FAILED: {error}")
    finally:
        shutil.rmtree(place.bundle.parent if said.work else work)
    sys.exit(failed)


if __name__ == "__main__":
    main()
