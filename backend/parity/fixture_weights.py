"""Deterministic weights: every tensor of a network from its own name and a salt, without any framework's random numbers.

    seed  = first 8 bytes of sha256(key + salt), little-endian
    n     = numpy Generator(PCG64(seed)).standard_normal(shape, float32)
    value = float32(a) + float32(b) * n

where (a, b) follow from the key's last part and the shape, so that activations stay near one through every network.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

GEOMETRY = ("flame_model.", "subdivider.")
"""Keys under these come from the face model, not from the recipe."""

_NAMED = (
    (re.compile("running_mean"), (0.0, 0.1)),
    (re.compile(r"noise\d+"), (0.0, 1.0)),
    (re.compile("gamma"), (0.3, 0.05)),
    (re.compile("cls_token|pos_embed|mask_token"), (0.0, 0.5)),
)
_UNIT_BIAS = re.compile(r"(modulation|(^|\.)condition_scale\.\d+\.2)\.bias$")
_GAINS: tuple[tuple[re.Pattern[str], float], ...] = (
    (re.compile(r"(^|\.)condition_(scale|shift)\.\d+\.2\.weight$"), 0.3),
    (re.compile(r"(^|\.)to_rgb(1|s\.\d+)\."), 0.15),
    (re.compile(r"^base_(dino_)?model\.output_conv\.weight$"), 0.4),
    (re.compile(r"\.(gaussian_conv\.6|\w+_layers\.2)\.weight$"), 1.0),
    (re.compile(r"^(gs_|percep_loss\.|register_network\.)|(^|\.)style_mlp\.|(^|\.)attn\.qkv\."), math.sqrt(2.0)),
)


def generator(name: str, salt: bytes) -> np.random.Generator:
    """The random stream that belongs to `name`."""
    digest = hashlib.sha256(name.encode() + salt).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def normal(name: str, shape: Sequence[int], salt: bytes) -> NDArray[np.float32]:
    """Standard normal numbers of that name."""
    return generator(name, salt).standard_normal(tuple(shape), dtype=np.float32)


def uniform(name: str, shape: Sequence[int], salt: bytes) -> NDArray[np.float64]:
    """Numbers in [0, 1) of that name."""
    return generator(name, salt).random(tuple(shape))


def tensor(key: str, shape: Sequence[int], salt: bytes) -> NDArray[np.float32]:
    """One floating-point tensor of a state dict."""
    n = normal(key, shape, salt)
    if key.rsplit(".", 1)[-1] == "running_var":
        return np.float32(1.0) + np.float32(0.1) * np.abs(n)
    mean, deviation = mean_and_deviation(key, tuple(shape))
    return np.float32(mean) + np.float32(deviation) * n


def mean_and_deviation(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """a and b of the recipe; the first rule that fits."""
    name = key.rsplit(".", 1)[-1]
    for pattern, values in _NAMED:
        if pattern.fullmatch(name):
            return values
    if name.endswith("bias"):
        return (1.0 if _UNIT_BIAS.search(key) else 0.0), 0.05
    return _weight(key, shape) if name.endswith("weight") else (0.0, 1.0)


def _weight(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if len(shape) == 1:
        return (0.2, 0.05) if shape == (1,) else (1.0, 0.05)
    if any(part in key for part in ("constant_input.", "embeddings.", "_emb.")):
        return 0.0, 1.0
    if len(shape) == 5:
        fan = math.prod(shape[2:])
    elif re.search(r"(^|\.)resize_layers\.[01]\.weight$", key):
        fan = shape[0]
    else:
        fan = math.prod(shape[1:])
    gain = next((g for pattern, g in _GAINS if pattern.search(key)), 1.0)
    return 0.0, gain / math.sqrt(fan)


def fill(module: nn.Module, salt: bytes, prefix: str = "") -> None:
    """Overwrite a module's parameters and buffers by the recipe, one at a time; integers become zero.

    Args:
        prefix: what the module's keys begin with in the whole network, e.g. "base_model.".
    """
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if (prefix + key).startswith(GEOMETRY):
                continue
            if value.is_floating_point():
                value.copy_(torch.from_numpy(tensor(prefix + key, value.shape, salt)))
            else:
                value.zero_()
