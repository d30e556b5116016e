"""Times stage 2 in PyTorch, beside `counterweight bench stage2`.

usage: bench_stage2.py [--threads N] [--repeats N]

Ten epochs of batch 64 on 10,847 samples of 512 features in a hundred classes, SGD with momentum and weight decay, MaxNorm after each epoch, with the
class-balanced loss and with the authors' form of it. Prints one JSON object. Needs torch.
"""

import argparse
import json
import statistics
import time

import torch
from torch.nn import functional

CLASSES, FEATURES, BATCH, EPOCHS = 100, 512, 64, 10


def example():
    torch.manual_seed(0)
    counts = [int(500 * 0.01 ** (k / (CLASSES - 1)) + 1e-9) for k in range(CLASSES)]
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    centres = torch.rand(CLASSES, FEATURES) - 0.5
    features = (centres[labels] + 2 * torch.rand(len(labels), FEATURES) - 1).clamp_min(0)
    effective = torch.tensor([(1 - 0.9999) / (1 - 0.9999**count) for count in counts])
    return features, labels, effective * CLASSES / effective.sum()


def train(features, labels, weights, bce):
    torch.manual_seed(1)
    layer = torch.nn.Linear(FEATURES, CLASSES)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    with torch.no_grad():
        norms = layer.weight.norm(dim=1)
        radius = norms.min() + 0.1 * (norms.max() - norms.min())
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels))
        for rows in order.split(BATCH):
            target = labels[rows]
            logits = layer(features[rows])
            if bce:
                truth = functional.one_hot(target, CLASSES).float()
                scale = weights[target].unsqueeze(1).expand(-1, CLASSES)
                loss = functional.binary_cross_entropy(logits.softmax(1), truth, scale)
            else:
                loss = (weights[target] * functional.cross_entropy(logits, target, reduction="none")).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            layer.weight.mul_((radius / layer.weight.norm(dim=1, keepdim=True)).clamp_max(1.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = example()
    report = {"samples": len(data[1]), "threads": arguments.threads}
    for name, bce in (("class-balanced", False), ("class-balanced-bce", True)):
        times = []
        for _ in range(arguments.repeats + 1):
            started = time.perf_counter()
            train(*data, bce)
            times.append(time.perf_counter() - started)
        report[name] = statistics.median(times[1:])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
