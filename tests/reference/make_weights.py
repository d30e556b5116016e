#!/usr/bin/env python3
"""Writes weights/: small state dicts in every form that torch.save and safetensors have, with values that the test knows by a formula.

    pip install torch safetensors
    python3 tests/reference/make_weights.py
"""
import argparse
import pathlib

import safetensors.torch
import torch

folder = pathlib.Path(__file__).with_name("weights")
folder.mkdir(exist_ok=True)


def values(*shape):
    """0, 1/8, 2/8, …: exact in every type there is here."""
    count = int(torch.tensor(shape).prod())
    return (torch.arange(count) % 64 / 8).reshape(shape)


def state():
    wide = values(4, 6)
    return {
        "conv.weight": values(2, 3, 2, 2),
        "half.weight": values(5).half(),
        "brain.weight": values(5).bfloat16(),
        "double.weight": values(5).double(),
        "scalar": torch.tensor(0.5),
        "turned.weight": values(3, 4).T,
        "part.weight": wide[1:3, 2:5],
        "same.storage": wide[3],
        "learnt.weight": torch.nn.Parameter(values(2, 2)),
        "norm.num_batches_tracked": torch.tensor(7),
    }


checkpoint = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, name="a"),
    "seed": 2**70,
    "state_dict": state(),
    "optimizer": {"state": {0: {"momentum_buffer": values(2, 2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
}
torch.save(state(), folder / "zip.pth")
torch.save(state(), folder / "older.pth", _use_new_zipfile_serialization=False)
torch.save(checkpoint, folder / "checkpoint.pth")
torch.save(checkpoint, folder / "older-checkpoint.pth", _use_new_zipfile_serialization=False)
torch.save(state(), folder / "protocol4.pth", pickle_protocol=4)
safetensors.torch.save_file({name: tensor.detach().clone().contiguous() for name, tensor in state().items()}, folder / "plain.safetensors")
