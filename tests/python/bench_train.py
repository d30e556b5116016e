"""Times training and inference in PyTorch beside `counterweight bench`, and prints the ratios.

usage: bench_train.py [--ours PROGRAM] [--model resnet32 | resnext50 | efficientnet-lite0 ...] [--batch 64] [--size 32] [--steps 20] [--rounds 3] [--infer]
                      [--device cuda] [--precision bfloat16] [--compile]

Both sides compute on the same device on random images: a training step is forward, backward and SGD with momentum and weight decay; inference is the
features in evaluation mode, always in float32. PyTorch keeps images channels last, which is its faster way; bfloat16 is its autocast, tf32 its switch
of that name. Ours and theirs take turns, each in a process of its own, so that the most memory it had at once is its own, too. Without --ours only
PyTorch is timed. Prints one JSON object. Needs torch, for resnext50 torchvision, and for efficientnet-lite0 efficientnet-lite-pytorch.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

PLANS = {
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2)),
    "resnet34": ((64, 128, 256, 512), (3, 4, 6, 3)),
    "resnet50": ((64, 128, 256, 512), (3, 4, 6, 3)),
    "resnet20": ((16, 32, 64), (3, 3, 3)),
    "resnet32": ((16, 32, 64), (5, 5, 5)),
    "resnet44": ((16, 32, 64), (7, 7, 7)),
    "resnet56": ((16, 32, 64), (9, 9, 9)),
}
LITE = "efficientnet-lite0"
MODELS = sorted([*PLANS, "resnext50", LITE])
# The first steps compile kernels and try them out.
WARM_UP = 5


def published(name, classes, size):
    """Features and classifier of a network that others have written."""
    import torch
    from torch import nn

    if name == LITE:
        from efficientnet_lite_pytorch import EfficientNet

        model = EfficientNet.from_name(LITE, num_classes=classes, image_size=size)
        # Ours leaves nothing out by chance.
        model._global_params = model._global_params._replace(drop_connect_rate=None)

        class Features(nn.Module):
            def __init__(self):
                super().__init__()
                self.model, model._fc = model, nn.Identity()

            def forward(self, x):
                return self.model.extract_features(x).mean((2, 3))

        return Features(), nn.Linear(1280, classes), torch
    from torchvision.models import resnext50_32x4d

    model = resnext50_32x4d()
    if size <= 64:
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    model.fc = nn.Identity()
    return model, nn.Linear(2048, classes), torch


def network(name, classes=100, size=32):
    if name not in PLANS:
        return published(name, classes, size)
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.around = nn.Identity()
            if stride != 1 or before != after:
                self.around = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            return functional.relu(self.bn2(self.conv2(y)) + self.around(x))

    class Bottleneck(nn.Module):
        def __init__(self, before, width, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
            self.around = nn.Identity()
            if stride != 1 or before != 4 * width:
                self.around = nn.Sequential(nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            y = functional.relu(self.bn2(self.conv2(y)))
            return functional.relu(self.bn3(self.conv3(y)) + self.around(x))

    widths, depths = PLANS[name]
    block, growth = (Bottleneck, 4) if name == "resnet50" else (Block, 1)
    if size <= 64:
        layers = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    else:
        layers = [nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for index in range(depth):
            layers.append(block(before, width, 2 if stage and not index else 1))
            before = width * growth
    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return features, nn.Linear(before, classes), torch


def theirs(arguments):
    features, classifier, torch = network(arguments.model, size=arguments.size)
    # Kilobytes on Linux.
    most_memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    imported = most_memory()
    device = arguments.device
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    model = torch.nn.Sequential(features, classifier).to(device, memory_format=torch.channels_last)
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size).to(device, memory_format=torch.channels_last)
    labels = (torch.arange(arguments.batch) % 100).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-3)

    run = torch.compile(model) if arguments.compile else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=arguments.precision == "bfloat16"):
            logits = run(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    def infer():
        with torch.inference_mode():
            features(images)

    if arguments.infer:
        model.eval()
    times = []
    for index in range(WARM_UP + arguments.steps):
        started = time.perf_counter()
        infer() if arguments.infer else step()
        wait()
        if index >= WARM_UP:
            times.append(time.perf_counter() - started)
    print(
        json.dumps(
            {
                "images_per_s": arguments.batch / statistics.median(times),
                "peak_memory_bytes": most_memory(),
                "before_the_first_step_bytes": imported,
            }
        )
    )


def last_json(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours")
    parser.add_argument("--model", choices=MODELS, default="resnet32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, choices=range(8, 513), metavar="SIDE")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="compile PyTorch's model")
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.theirs:
        return theirs(arguments)
    sizes = ["--model", arguments.model, "--batch", str(arguments.batch), "--size", str(arguments.size), "--steps", str(arguments.steps)]
    sizes += ["--device", arguments.device]
    what = ["--infer"] if arguments.infer else []
    precision = [] if arguments.infer else ["--precision", arguments.precision]
    compiled = ["--compile"] if arguments.compile else []
    found = {"ours": [], "theirs": []}
    for _ in range(arguments.rounds):
        if arguments.ours:
            job = "infer" if arguments.infer else "train"
            found["ours"].append(last_json([arguments.ours, "bench", job, "--json", *sizes, *precision]))
        found["theirs"].append(last_json([sys.executable, __file__, "--theirs", *sizes, *what, *precision, *compiled]))
    middle = lambda side, key: statistics.median(run[key] for run in found[side])
    result = {"model": arguments.model, "batch": arguments.batch, "size": arguments.size, "what": "infer" if arguments.infer else "train"}
    for side in [side for side in found if found[side]]:
        keys = ("images_per_s", "peak_memory_bytes", "before_the_first_step_bytes", "gflop_per_s", "peak_gflop_per_s")
        result[side] = {key: round(middle(side, key), 1) for key in keys if found[side][0].get(key)}
    if arguments.ours:
        result["ratio"] = round(middle("ours", "images_per_s") / middle("theirs", "images_per_s"), 2)
        result["memory_ratio"] = round(middle("ours", "peak_memory_bytes") / middle("theirs", "peak_memory_bytes"), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
