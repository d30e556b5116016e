"""Runs a bundle's web page, and its model by onnxruntime-web, in Chromium.

usage: browser.py BUNDLE FOLDER [IMAGES LOGITS]

FOLDER is where npm installs onnxruntime-web, of the version that the page names, and puppeteer-core; what is there already
is used. `chromium` is taken from the PATH; where there is none, that is said and nothing is checked. The page is given the
reference images through its file input, with onnxruntime-web beside it and from the content network, whose answers are
made up here; and a broken image, a bundle without a model, and one without onnxruntime-web. Then one loaded session is
given batches of 1, 5 and 1 images, and all images in batches of 8. IMAGES holds images as bytes, [3, SIDE, SIDE] each;
LOGITS the expected logits, little-endian float32, [CLASSES] each; without them the reference images are used and what
onnxruntime makes of them. Exits with 1 if anything is not as it should be.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOLERANCE = 0.02
SECONDS = 120

# Reads a job from standard input and writes what came of it to standard output.
DRIVER = """
const puppeteer = require("puppeteer-core");
const fs = require("fs");
const job = JSON.parse(fs.readFileSync(0));

/** What the page shows for a file, and the probabilities of all classes. */
async function shown(page, file) {
  await page.evaluate(() => {
    document.getElementById("answer").replaceChildren();
    document.getElementById("state").className = "";
  });
  const input = await page.$("#file");
  await input.uploadFile(file);
  await page.waitForFunction(() => document.querySelector("#answer tr, #state.failed"));
  return page.evaluate(async () => {
    const said = document.getElementById("state");
    if (said.className === "failed") return { error: said.textContent };
    const rows = [...document.querySelectorAll("#answer tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
    const { labels } = await ready;
    return { rows, all: await look(document.getElementById("file").files[0], labels.length) };
  });
}

/** The outputs for batches of bytes, by one session. */
async function batches({ model, images, side, starts }) {
  const session = await ort.InferenceSession.create(new Uint8Array(await (await fetch(model)).arrayBuffer()));
  const bytes = new Uint8Array(await (await fetch(images)).arrayBuffer());
  const size = 3 * side * side;
  const out = { probabilities: [], logits: [] };
  for (const [at, count] of starts) {
    const values = Float32Array.from(bytes.subarray(at * size, (at + count) * size), (byte) => byte / 255);
    const found = await session.run({ images: new ort.Tensor("float32", values, [count, 3, side, side]) });
    for (const name of ["probabilities", "logits"]) out[name].push(...found[name].data);
  }
  return out;
}

(async () => {
  const browser = await puppeteer.launch({
    executablePath: job.chromium,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader"],
    protocolTimeout: 1000 * job.seconds,
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(1000 * job.seconds);
    const asked = [];
    await page.setRequestInterception(true);
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (!url.protocol.startsWith("http") || url.hostname === "127.0.0.1") return request.continue();
      asked.push(request.url());
      const file = job.network + "/" + url.pathname.split("/").pop();
      if (!job.network || !fs.existsSync(file)) return request.abort();
      const contentType = { wasm: "application/wasm" }[file.split(".").pop()] ?? "text/javascript";
      request.respond({ body: fs.readFileSync(file), contentType, headers: { "access-control-allow-origin": "*" } });
    });
    await page.goto(job.url);
    const out = { version: await browser.version(), files: [] };
    for (const file of job.files ?? []) {
      out.files.push(await shown(page, file));
      if (job.picture) await page.screenshot({ path: job.picture, fullPage: true });
    }
    if (job.batches) {
      await page.evaluate(() => ready);
      out.batches = await page.evaluate(batches, job.batches);
    }
    process.stdout.write(JSON.stringify({ ...out, asked }));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves a bundle at `/bundle/`, with files beside its page that are not there; at `/plain/` as it is; at `/empty/`
    without its model; and further files by their names."""

    def __init__(self, *arguments, bundle, beside, files, **named):
        self.bundle, self.beside, self.files = bundle, beside, files
        super().__init__(*arguments, **named)

    def translate_path(self, path):
        _, first, *rest = path.split("?")[0].split("/")
        if path in self.files:
            return str(self.files[path])
        file = self.bundle.joinpath(*rest)
        if first in ("bundle", "empty") and not file.exists() and rest[:-1] == ["examples", "javascript"]:
            file = self.beside / rest[-1]
        hidden = first not in ("bundle", "plain", "empty") or (first == "empty" and rest == ["model.onnx"])
        return str(self.bundle / "nothing" if hidden else file) + ("/" if path.endswith("/") else "")

    def log_message(self, *_):
        pass


class Chromium:
    """Chromium, with a server of a bundle that it looks at."""

    def __init__(self, bundle, folder, files=None):
        """`problem` says why it cannot be run, if so."""
        self.folder, self.problem, self.program = Path(folder).absolute() / "browser", None, shutil.which("chromium")
        if not self.program:
            self.problem = "there is no `chromium` on the PATH"
            return
        page = (Path(bundle) / "examples" / "javascript" / "index.html").read_text(encoding="utf-8")
        self.runtime = re.search(r"onnxruntime-web@([\d.]+\d)", page)[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        modules = self.folder / "node_modules"
        about = modules / "onnxruntime-web" / "package.json"
        have = about.exists() and json.loads(about.read_text())["version"] == self.runtime
        if not have or not (modules / "puppeteer-core").is_dir():
            packages = [f"onnxruntime-web@{self.runtime}", "puppeteer-core"]
            command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", self.folder, *packages]
            npm = subprocess.run(command, capture_output=True, text=True)
            if npm.returncode:
                self.problem = f"npm cannot install {' and '.join(packages)}: {npm.stderr.strip().splitlines()[-1:]}"
                return
        self.dist = modules / "onnxruntime-web" / "dist"
        handler = partial(Handler, bundle=Path(bundle).absolute(), beside=self.dist, files=files or {})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def run(self, at="bundle", network=None, **job):
        """What [`DRIVER`] makes of a job."""
        script = self.folder / "drive.cjs"
        script.write_text(DRIVER)
        job = {"chromium": self.program, "seconds": SECONDS, "url": self.url(f"/{at}/examples/javascript/"), "network": network, **job}
        found = subprocess.run(["node", script], input=json.dumps(job, default=str), capture_output=True, text=True, cwd=self.folder)
        if found.returncode:
            raise RuntimeError((found.stderr.strip().splitlines() or ["?"])[-1][:300])
        return json.loads(found.stdout)


def check_page(name, bundle, found):
    """Compares what the page showed for the reference images with what is expected; whether it is right."""
    expected = json.loads((bundle / "reference" / "expected.json").read_text(encoding="utf-8"))["images"]
    worst, same, shown = 0.0, 0, 0
    for entry, answer in zip(expected, found["files"], strict=True):
        if "error" in answer:
            print(f"{name}: {entry['file']}: {answer['error']}  WRONG")
            return False
        by_label = {row["label"]: row["probability"] for row in answer["all"]}
        worst = max([worst, *(abs(by_label[top["class"]] - top["probability"]) for top in entry["top"])])
        same += [label for _, label in answer["rows"]] == [top["class"] for top in entry["top"]]
        # What is shown is rounded to a tenth of a percent.
        shown += all(abs(float(text.split()[0]) / 100 - top["probability"]) <= 0.0005 + TOLERANCE for (text, _), top in zip(answer["rows"], entry["top"], strict=True))
    right = worst <= TOLERANCE and same == shown == len(expected)
    print(f"{name}: {same} of {len(expected)} with the same top {len(expected[0]['top'])}, differs by {worst:.1e}{'' if right else '  WRONG'}")
    return right


def check_said(name, found, words):
    """Whether the page says what it should where something is amiss."""
    said = found["files"][0].get("error", "nothing")
    right = words in said
    print(f"{name}: {said}{'' if right else '  WRONG'}")
    return right


def check_batches(chromium, model, images, logits):
    """Compares batches with the logits expected; whether they agree."""
    import numpy as np
    from runtimes import TOLERANCE, Wanted, compare

    wanted = Wanted(model)
    expected = np.frombuffer(logits.read_bytes(), "<f4").reshape(images.stat().st_size // (3 * wanted.side**2), -1)
    starts = wanted.batches(len(expected))
    found = chromium.run(batches={"model": chromium.url("/bundle/model.onnx"), "images": chromium.url("/images"), "side": wanted.side, "starts": starts})
    expected = expected[[index for at, batch in starts for index in range(at, at + batch)]]
    rows = {name: np.array(found["batches"][name], np.float32).reshape(expected.shape) for name in ("probabilities", "logits")}
    report = compare((rows["probabilities"], rows["logits"]), expected, wanted.softmax)
    agrees = report["same"] == report["of"] and report["probabilities"] <= TOLERANCE and report["logits"] <= TOLERANCE * report["scale"]
    print(
        f"onnxruntime-web {chromium.runtime} in {found['version']}: {report['same']} of {report['of']} the same, "
        f"probabilities {report['probabilities']:.1e}, logits {report['logits']:.1e}{'' if agrees else '  DISAGREES'}"
    )
    return agrees


def write_reference(bundle, images, logits):
    """Writes the reference images as bytes, and the logits that onnxruntime gives them."""
    import numpy as np

    sys.path.insert(0, str(bundle / "examples" / "python"))
    from classify import Classifier, prepare

    classifier = Classifier(bundle / "model.onnx")
    inputs = np.stack([prepare(path, classifier.side) for path in sorted((bundle / "reference").glob("*.png"))])
    images.write_bytes((inputs * 255).round().astype(np.uint8).tobytes())
    logits.write_bytes(np.concatenate([classifier.session.run(["logits"], {"images": row[None]})[0] for row in inputs]).astype("<f4").tobytes())


def main():
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    bundle, folder = Path(sys.argv[1]).absolute(), sys.argv[2]
    with tempfile.TemporaryDirectory() as own:
        images, logits = [Path(own) / name for name in ("images", "logits")] if len(sys.argv) == 3 else map(Path, sys.argv[3:5])
        broken = Path(own) / "broken.jpg"
        broken.write_bytes(b"\xff\xd8\xff\xe0 no image")
        chromium = Chromium(bundle, folder, {"/images": images})
        if chromium.problem:
            print(f"the page and onnxruntime-web in a browser: SKIPPED, {chromium.problem}")
            return
        if len(sys.argv) == 3:
            write_reference(bundle, images, logits)
        names = json.loads((bundle / "reference" / "expected.json").read_text(encoding="utf-8"))["images"]
        references = [bundle / "reference" / entry["file"] for entry in names]
        beside = chromium.run(files=references)
        network = chromium.run("plain", network=chromium.dist, files=references)
        right = [
            check_page(f"the page in {beside['version']}, onnxruntime-web beside it", bundle, beside) and not beside["asked"],
            check_page("the page, onnxruntime-web from the content network", bundle, network) and bool(network["asked"]),
            check_said("a broken image", chromium.run(files=[broken]), "broken.jpg is no image"),
            check_said("without a model", chromium.run("empty", files=references[:1]), "no model.onnx"),
            check_said("without onnxruntime-web", chromium.run("plain", files=references[:1]), "onnxruntime-web is neither"),
            check_batches(chromium, bundle / "model.onnx", images, logits),
        ]
        sys.exit(not all(right))


if __name__ == "__main__":
    main()
