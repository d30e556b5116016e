"""Checks that the model gives the expected answers for the reference images on this machine.

    pip install onnxruntime pillow numpy
    python check.py
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "examples" / "python"))

from classify import Classifier  # noqa: E402

TOLERANCE = 0.02


def main():
    expected = json.loads((HERE / "reference" / "expected.json").read_text(encoding="utf-8"))
    classifier = Classifier(HERE / "model.onnx")
    failed = 0
    for entry in expected["images"]:
        found = classifier.top(HERE / "reference" / entry["file"], len(classifier.labels))
        by_label = dict(found)
        worst = max(abs(by_label[top["class"]] - top["probability"]) for top in entry["top"])
        same = found[0][0] == entry["top"][0]["class"]
        # Two classes may be as good as equal.
        tie = len(entry["top"]) > 1 and entry["top"][0]["probability"] - entry["top"][1]["probability"] < TOLERANCE
        right = worst <= TOLERANCE and (same or tie)
        failed += not right
        print(f"{entry['file']}: {found[0][0]} {100 * found[0][1]:.1f} %, differs by {worst:.4f}{'' if right else '  WRONG'}")
    print("all as expected" if not failed else f"{failed} of {len(expected['images'])} are not as expected")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
