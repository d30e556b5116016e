#!/usr/bin/env python3
"""Writes values.json: what PyTorch computes for the losses, balancers, optimiser, schedule and metrics of `core`.

    pip install torch numpy
    python3 tests/reference/make_values.py

Everything is float32 unless a name says otherwise. The tests read values.json; torch is only needed to make it anew.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(20220619)
torch.use_deterministic_algorithms(True)


def numbers(tensor):
    """Nested lists of the shortest decimals that give back the same float32 (or float64) numbers."""
    if isinstance(tensor, torch.Tensor):
        tensor = tensor.detach().numpy()
    kind = np.float64 if tensor.dtype == np.float64 else np.float32
    return json.loads(json.dumps(np.vectorize(lambda x: float(str(kind(x))), otypes=[object])(tensor).tolist()))


def class_balanced_weights(counts, beta):
    weights = (1 - beta) / (1 - beta ** np.array(counts, dtype=np.float64))
    return torch.tensor(weights / weights.sum() * len(counts))


def loss_values(logits, labels, counts, beta, tau, smoothing):
    """Every classifier loss: its value and its gradient with respect to the logits."""
    weights = class_balanced_weights(counts, beta).to(logits.dtype)
    n = torch.tensor(counts, dtype=torch.float64)
    log_count = n.log().to(logits.dtype)
    log_prior = (n / n.sum()).log().to(logits.dtype)

    def bce(z):
        one_hot = F.one_hot(labels, len(counts)).to(z.dtype)
        one_hot = one_hot * (1 - smoothing_now) + smoothing_now / len(counts)
        return F.binary_cross_entropy(z.softmax(1), one_hot, weight=weights[labels][:, None].expand_as(one_hot))

    def ce(z):
        return F.cross_entropy(z, labels, label_smoothing=smoothing_now)

    def weighted(z):
        return (weights[labels] * F.cross_entropy(z, labels, reduction="none", label_smoothing=smoothing_now)).mean()

    losses = {
        "cross-entropy": ce,
        "class-balanced": weighted,
        "class-balanced-bce": bce,
        "balanced-softmax": lambda z: ce(z + log_count),
        "logit-adjusted": lambda z: ce(z + tau * log_prior),
    }
    cases = []
    for smoothing_now in (0.0, smoothing):
        for name, loss in losses.items():
            z = logits.clone().requires_grad_(True)
            value = loss(z)
            value.backward()
            cases.append({"loss": name, "label_smoothing": smoothing_now, "value": value.item(), "gradient": numbers(z.grad)})
    return {
        "classes": len(counts), "counts": counts, "beta": beta, "logit_adjustment": tau,
        "class_weights": numbers(class_balanced_weights(counts, beta)),
        "logits": numbers(logits), "labels": labels.tolist(), "cases": cases,
    }


def losses():
    counts = [500, 231, 107, 49, 23, 10, 5]
    logits = torch.randn(9, 7) * 3
    labels = torch.tensor([0, 6, 3, 3, 1, 5, 2, 4, 0])
    ordinary = loss_values(logits, labels, counts, 0.9999, 1.3, 0.1)
    # So confident that every probability saturates: the logarithm's clamp at -100 decides. In float64, where softmax keeps 1e-16.
    extreme = torch.tensor([[120.0, 0.0, -30.0], [-150.0, 10.0, 9.0], [3.0, 2.0, 1.0], [0.0, 200.0, 0.0], [0.0, 25.0, 1.0]], dtype=torch.float64)
    saturated = loss_values(extreme, torch.tensor([0, 0, 2, 1, 0]), [50, 20, 4], 0.99, 0.5, 0.2)
    return {"ordinary": ordinary, "saturated_float64": saturated}


def normalisers():
    weight = torch.randn(6, 5) * torch.tensor([2.0, 1.5, 1.0, 0.7, 0.4, 0.2])[:, None]
    norms = weight.norm(dim=1)
    radius = norms.min() + 0.1 * (norms.max() - norms.min())
    projected = weight * torch.clamp(radius / norms, max=1.0)[:, None]
    assert torch.allclose(projected, weight.renorm(2, 0, radius.item()), atol=1e-6)
    tau = 1.9
    return {
        "classes": 6, "features": 5, "weight": numbers(weight), "norms": numbers(norms), "delta": 0.1, "radius": radius.item(),
        "max_norm": numbers(projected), "l2": numbers(F.normalize(weight, dim=1)),
        "tau": tau, "tau_normalised": numbers(weight / norms[:, None] ** tau),
    }


def sgd():
    parameter = torch.nn.Parameter(torch.randn(7))
    start = numbers(parameter)
    optimiser = torch.optim.SGD([parameter], lr=0.05, momentum=0.9, weight_decay=0.1)
    steps = []
    for _ in range(5):
        parameter.grad = torch.randn(7)
        gradient = numbers(parameter.grad)
        optimiser.step()
        steps.append({"gradient": gradient, "after": numbers(parameter)})
    return {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1, "start": start, "steps": steps}


def schedules():
    def rates(make, epochs):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
        scheduler = make(optimiser)
        found = []
        for _ in range(epochs):
            # The authors' loop: the schedule steps before the epoch, and the optimiser inside it.
            optimiser.step()
            scheduler.step()
            found.append(optimiser.param_groups[0]["lr"])
        return found

    def rates_step(milestones, epochs):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones)
        found = []
        for _ in range(epochs):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        return found

    return {
        "base": 0.01,
        "cosine_320": rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 320, eta_min=0), 320),
        "cosine_10": rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10, eta_min=0), 10),
        "milestones": [4, 7],
        "step_10": rates_step([4, 7], 10),
    }


def stage2():
    """The whole of stage 2 with one step an epoch, so that no order of samples enters: BCE form, weight decay, MaxNorm after every epoch."""
    classes, dim, counts, epochs = 4, 6, [12, 6, 4, 2], 10
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    features = torch.relu(torch.randn(len(labels), dim) + F.one_hot(labels, dim) * 2.0)
    layer = torch.nn.Linear(dim, classes)
    with torch.no_grad():
        layer.weight *= torch.tensor([4.0, 2.5, 1.5, 1.0])[:, None]
    start = {"weight": numbers(layer.weight), "bias": numbers(layer.bias)}
    weights = class_balanced_weights(counts, 0.9999).float()
    one_hot = F.one_hot(labels, classes).float()
    norms = layer.weight.detach().norm(dim=1)
    radius = norms.min() + 0.1 * (norms.max() - norms.min())
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs, eta_min=0)
    history = []
    for _ in range(epochs):
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()
        loss = F.binary_cross_entropy(layer(features).softmax(1), one_hot, weight=weights[labels][:, None].expand_as(one_hot))
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            layer.weight.mul_(torch.clamp(radius / layer.weight.norm(dim=1), max=1.0)[:, None])
        optimiser.zero_grad()
        history.append({"loss": loss.item(), "norms": numbers(layer.weight.norm(dim=1))})
    return {
        "classes": classes, "dim": dim, "counts": counts, "beta": 0.9999, "learning_rate": 0.5, "momentum": 0.9, "weight_decay": 0.1,
        "delta": 0.1, "radius": radius.item(), "epochs": epochs, "features": numbers(features), "labels": labels.tolist(),
        "start": start, "history": history, "end": {"weight": numbers(layer.weight), "bias": numbers(layer.bias)},
    }


def evaluation():
    classes = 6
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor([17, 13, 11, 9, 6, 4]))
    logits = torch.randn(len(labels), classes) * 1.5 + F.one_hot(labels, classes) * 1.5
    train_counts = [300, 150, 80, 40, 15, 6]
    predicted = logits.argmax(1)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for truth, guess in zip(labels, predicted):
        confusion[truth, guess] += 1
    per_class = confusion.diag() / confusion.sum(1)
    confidence, _ = logits.double().softmax(1).max(1)
    correct = (predicted == labels).double()
    edges = torch.linspace(0, 1, 16, dtype=torch.float64)
    ece = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            ece += inside.double().mean().item() * abs(correct[inside].mean().item() - confidence[inside].mean().item())
    f1 = 2 * confusion.diag() / (confusion.sum(0) + confusion.sum(1))
    return {
        "classes": classes, "logits": numbers(logits), "labels": labels.tolist(), "train_counts": train_counts,
        "confusion": confusion.tolist(), "top1": correct.mean().item(),
        "top5": (logits.topk(5, 1).indices == labels[:, None]).any(1).double().mean().item(),
        "balanced_accuracy": per_class.mean().item(),
        "many": per_class[:2].mean().item(), "medium": per_class[2:4].mean().item(), "few": per_class[4:].mean().item(),
        "macro_f1": f1.mean().item(), "ece": ece, "loss": F.cross_entropy(logits, labels).item(),
    }


values = {
    "made_with": {"torch": torch.__version__.split("+")[0], "script": "make_values.py"},
    "losses": losses(), "normalisers": normalisers(), "sgd": sgd(), "schedules": schedules(), "stage2": stage2(), "evaluation": evaluation(),
}
path = pathlib.Path(__file__).with_name("values.json")
path.write_text(json.dumps(values, separators=(",", ":")) + "\n")
print(f"{path}: {path.stat().st_size} bytes")
