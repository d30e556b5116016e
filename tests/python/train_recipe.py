"""Trains the `paper` preset's recipe in PyTorch, to set beside a run of `counterweight train` and `counterweight balance`.

usage: train_recipe.py --data DIRECTORY [--model resnet34] [--factor 100] [--epochs 320] [--seed 0] [--device cpu] [--amp] [--compile]

DIRECTORY holds CIFAR-100's train.bin and test.bin. Class i keeps its first floor(500 * (1 / factor)^(i / 99)) images. Weights begin as the
product's do (convolutions Kaiming normal with fan-out, the stem and the classifier PyTorch's layer default), the schedule steps before each
epoch, and stage 2 is the authors': the network stays in training mode, binary cross-entropy of softmax probabilities weighted by class, MaxNorm
once an epoch. Every result is measured after the last epoch on the test split, with and without the mean over mirror images, and printed as one
JSON object. Needs torch and numpy.
"""

import argparse
import json
import math
import time

from bench_train import PLANS, network

CLASSES, SIDE, RECORD = 100, 32, 3074
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
PAD = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", choices=sorted(PLANS), default="resnet34")
    parser.add_argument("--factor", type=float, default=100)
    parser.add_argument("--epochs", type=int, default=320)
    parser.add_argument("--weight-decay", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where PyTorch finds it safe")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    features, classifier, torch = network(arguments.model, CLASSES)
    import numpy
    from torch import nn
    from torch.nn import functional

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    torch.backends.cudnn.benchmark = True
    features, classifier, _ = network(arguments.model, CLASSES)
    device = arguments.device

    def split(name):
        records = numpy.fromfile(f"{arguments.data}/{name}.bin", dtype=numpy.uint8).reshape(-1, RECORD)
        return records[:, 2:].reshape(-1, 3, SIDE, SIDE), records[:, 1].astype(numpy.int64)

    images, labels = split("train")
    kept = [int(500 * (1 / arguments.factor) ** (index / (CLASSES - 1))) for index in range(CLASSES)]
    chosen = numpy.concatenate([numpy.where(labels == index)[0][: kept[index]] for index in range(CLASSES)])
    images, labels = (torch.from_numpy(values[chosen]).to(device) for values in (images, labels))
    test_images, test_labels = (torch.from_numpy(values).to(device) for values in split("test"))
    counts = torch.bincount(labels, minlength=CLASSES).cpu()

    convolutions = [module for module in features.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[1:]:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    model = nn.Sequential(features, classifier).to(device).to(memory_format=torch.channels_last)
    compiled = torch.compile(model) if arguments.compile else model

    def normalised(batch):
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        return ((batch.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def augmented(batch):
        n = len(batch)
        at = lambda *shape: torch.arange(shape[-1], device=device)
        rows, columns = (torch.randint(0, 2 * PAD + 1, (n, 1), device=device) + at(SIDE) for _ in range(2))
        mirrored = torch.rand(n, 1, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        padded = functional.pad(batch, (PAD,) * 4)
        return padded[at(n)[:, None, None, None], at(3)[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]

    def train(run, parameters, epochs, weight_decay, loss_of, after_epoch=lambda: None):
        optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=weight_decay)
        model.train()
        for epoch in range(epochs):
            optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * (epoch + 1) / epochs)) / 2
            for batch in torch.randperm(len(images), device=device).split(64):
                if len(batch) < 2:
                    continue
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(device, dtype=torch.bfloat16, enabled=arguments.amp):
                    logits = run(normalised(augmented(images[batch])))
                loss_of(logits.float(), labels[batch]).backward()
                optimizer.step()
            after_epoch()

    @torch.no_grad()
    def accuracies(mirror):
        model.eval()
        guesses = []
        for batch in test_images.split(500):
            logits = model(normalised(batch))
            guesses.append((logits + model(normalised(batch.flip(3))) if mirror else logits).argmax(1))
        right = (torch.cat(guesses) == test_labels).float().cpu()
        each = torch.stack([right[test_labels.cpu() == index].mean() for index in range(CLASSES)])
        groups = {"all": counts > 0, "many": counts > 100, "medium": (counts >= 20) & (counts <= 100), "few": counts < 20}
        return {name: round(100 * each[chosen].mean().item(), 2) for name, chosen in groups.items() if chosen.any()}

    def report(result):
        line = {"result": result, "seed": arguments.seed, "flip": accuracies(True), "plain": accuracies(False)}
        print(json.dumps(line | {"seconds": round(time.perf_counter() - started, 1)}), flush=True)

    started = time.perf_counter()
    train(compiled, model.parameters(), arguments.epochs, arguments.weight_decay, functional.cross_entropy)
    report("stage 1")

    weight, bias = classifier.weight, classifier.bias
    learned, learned_bias = weight.detach().clone(), bias.detach().clone()
    norms = learned.norm(dim=1, keepdim=True)
    for name, power in (("L2", 1.0), ("tau 1.9", 1.9)):
        with torch.no_grad():
            weight.copy_(learned / norms**power)
        report(name)
    with torch.no_grad():
        weight.copy_(learned)
        bias.copy_(learned_bias)

    features.requires_grad_(False)
    radius = norms.min() + 0.1 * (norms.max() - norms.min())
    # Class-balanced weights (Cui et al., 2019) that add up to the number of classes.
    weights = (1 - 0.9999) / (1 - 0.9999 ** counts.double())
    weights = (weights / weights.sum() * CLASSES).float().to(device)

    def balanced(logits, targets):
        one_hot = functional.one_hot(targets, CLASSES).float()
        return functional.binary_cross_entropy(logits.softmax(1), one_hot, weight=weights[targets][:, None].expand_as(one_hot))

    @torch.no_grad()
    def max_norm():
        weight.mul_((radius / weight.norm(dim=1, keepdim=True)).clamp(max=1))

    train(model, classifier.parameters(), 10, 0.1, balanced, max_norm)
    report("stage 2")


if __name__ == "__main__":
    main()
