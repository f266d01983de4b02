"""Weights in files: the released checkpoint, whose FLAME buffers are recognised, and networks trained here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backend.models.networks import KeptNetwork, StyleUNet, check_state
from backend.protocol.errors import WeightsError
from backend.rig.rig import Rig
from backend.weights.torch_file import read_torch_file

from .config import OMGConfig
from .encoder import REFINERS, TOKEN_WIDTHS, make_encoder, make_refiner
from .network import OMGAvatar

TRAINING_ONLY = ("percep_loss.",)
"""Nets of the training's losses, which a checkpoint carries along."""
GEOMETRY = ("flame_model.", "subdivider.")
"""FLAME's own buffers and the subdivided faces: geometry, no weights. FLAME's licence covers them."""
MODEL, OMG = "lookalike_model", "omg"
"""In the header of what `lookalike train` writes, beside the training's configuration."""
LARGEST = 4096
"""Of any size that a header may state."""
REFINER = "upsampler."
SAME_TEMPLATE = 1e-3
"""Metres that the checkpoint's FLAME may differ from the user's before it is another generation."""


def load_network(path: str | Path, rig: Rig) -> tuple[OMGAvatar, list[str]]:
    """A network in evaluation mode on the CPU, for a rig.

    Args:
        path: the released omg_ckpt.pt, its tensors as .safetensors, or what `lookalike train` wrote.
        rig: the head whose vertices are the queries.
    Returns:
        The network, and what the user should know.
    Raises:
        WeightsError: missing, unreadable, another model's (names the tensor), or trained for another mesh.
    """
    path = Path(path)
    state, meta = _read(path)
    if meta.get(MODEL) == OMG:
        network, warnings = _trained(state, meta, rig, path.name), []
    else:
        network, warnings = _released(state, meta, rig, path.name)
        state = {key: value for key, value in state.items() if not key.startswith((*TRAINING_ONLY, *GEOMETRY))}
    check_state(network, state, path.name)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False), warnings


def _refiner(path: Path) -> StyleUNet:
    state, meta = _read(path, REFINER)
    sizes = _sizes(meta, path.name) if meta.get(MODEL) == OMG else {"refiner": "paper", "size": OMGConfig.size}
    net = make_refiner(sizes["refiner"], sizes["size"])
    own = {key.removeprefix(REFINER): value for key, value in state.items()}
    check_state(net, own, path.name)
    net.load_state_dict(own, assign=True)
    return net.eval().requires_grad_(False)


load_refiner = KeptNetwork(_refiner)
"""Only the refiner of a file that `load_network` reads, for avatars that are there already."""


def _read(path: Path, part: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors whose names begin with `part`, in float32, and what is said about them: meta_cfg, or a safetensors file's metadata."""
    if path.suffix == ".safetensors":
        state, meta = _read_safetensors(path, part)
    else:
        content = read_torch_file(path)
        inner = content.get("model", content) if isinstance(content, Mapping) else None
        if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
            raise WeightsError(f"{path.name}: holds no state dict", "choose omg_ckpt.pt")
        state = {str(key): value for key, value in inner.items() if str(key).startswith(part)}
        meta = content.get("meta_cfg", {})
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path.name}: {key} holds numbers that are not finite", "download the file again")
    whole = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return whole, dict(meta) if isinstance(meta, Mapping) else {}


def _read_safetensors(path: Path, part: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            names = [key for key in file.keys() if key.startswith(part)]  # noqa: SIM118 - not a dict
            return {key: file.get_tensor(key) for key in names}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name}: not a readable .safetensors ({error})", "download or convert the file again") from error


def _trained(state: Mapping[str, Tensor], meta: Mapping[str, Any], rig: Rig, name: str) -> OMGAvatar:
    """A network of `lookalike train`: its header says what its tensors do not."""
    sizes = _sizes(meta, name)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    config = replace(
        OMGConfig.of_checkpoint({}, shapes),
        released=False,
        heads=sizes["heads"],
        size=sizes["size"],
        token_dim=TOKEN_WIDTHS[sizes["encoder"]],
        hidden=shapes.get("gs_generator_offset.offset_layers.0.bias", (1,))[0],
        feedforward=shapes.get("transformer.decoder.layers.0.linear1.bias", (1,))[0],
    )
    if config.dim % config.heads:
        raise WeightsError(f"{name}: {config.heads} attention heads do not divide {config.dim} channels", "train the network again")
    _check_vertices(config, rig, name)
    encoder = make_encoder(sizes["encoder"], config.dim, sizes["picture"])
    return OMGAvatar(config, rig.faces, encoder, make_refiner(sizes["refiner"], config.size), sizes["picture"])


def _sizes(meta: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the training's configuration in a file's header says of the network."""
    try:
        config = json.loads(meta["config"])
        sizes = {field: config["model"][field] for field in ("heads", "picture", "encoder", "refiner")} | {"size": config["size"]}
        numbers = [sizes[field] for field in ("heads", "picture", "size")]
        known = sizes["encoder"] in TOKEN_WIDTHS and sizes["size"] in REFINERS[sizes["refiner"]]
        if not known or not all(type(n) is int and 0 < n <= LARGEST for n in numbers):
            raise ValueError("sizes that no network has")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{name}: its description is damaged or of a newer version ({error})", "update Lookalike") from error
    return sizes


def _released(state: Mapping[str, Tensor], meta: Mapping[str, Any], rig: Rig, name: str) -> tuple[OMGAvatar, list[str]]:
    config = OMGConfig.of_checkpoint(meta, {key: tuple(value.shape) for key, value in state.items()})
    _check_vertices(config, rig, name)
    warnings = _check_geometry(state, rig, name)
    network = OMGAvatar(config, rig.faces)
    table = state.get("subdivider._subdivided_faces")
    if table is not None:
        network.levels.check_table(table.numpy())
    return network, warnings


def _check_vertices(config: OMGConfig, rig: Rig, name: str) -> None:
    if config.vertices != len(rig.template):
        raise WeightsError(
            f"{name}: trained on a head of {config.vertices} vertices, {rig.rig_id} has {len(rig.template)}",
            "give that head with --rig: the path of your FLAME file" if config.vertices == 5023 else "choose another rig",
        )


def _check_geometry(state: Mapping[str, Tensor], rig: Rig, name: str) -> list[str]:
    """That the checkpoint's own FLAME is the rig; warnings where it is another generation of it."""
    faces, template = state.get("flame_model.faces_tensor"), state.get("flame_model.v_template")
    if faces is not None and not np.array_equal(faces.numpy(), rig.faces):
        raise WeightsError(f"{name}: flame_model.faces_tensor is not the mesh of {rig.rig_id}", "give the FLAME file with --rig")
    if template is None or tuple(template.shape) != rig.template.shape:
        return []
    apart = float((template - torch.from_numpy(rig.template)).norm(dim=1).max())
    if apart > SAME_TEMPLATE:
        return [f"{name} was trained on another generation of FLAME than {rig.rig_id} (up to {apart * 1000:.1f} mm apart)"]
    return []
