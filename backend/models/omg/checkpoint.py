"""Weights in files: the released checkpoint, whose FLAME buffers are recognised, and networks trained here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backend.models.networks import StyleUNet
from backend.models.networks.state import check_state
from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import WeightsError
from backend.rig.rig import Rig
from backend.weights.torch_file import read_torch_file

from .config import OMGConfig
from .encoder import ENCODERS, encoder, refiner
from .network import OMGAvatar

TRAINING_ONLY = ("percep_loss.",)
"""Nets of the training's losses, which a checkpoint carries along."""
GEOMETRY = ("flame_model.", "subdivider.")
"""FLAME's own buffers and the subdivided faces: geometry, no weights. FLAME's licence covers them."""
METADATA = "lookalike_omg"
"""Key of the JSON in a file of ours: config and encoder."""
REFINER = "upsampler."
SAME_TEMPLATE = 1e-3
"""Metres that the checkpoint's FLAME may differ from the user's before it is another generation."""


def load_network(path: str | Path, rig: Rig) -> tuple[OMGAvatar, list[str]]:
    """A network in evaluation mode on the CPU, for a rig.

    Args:
        path: the released omg_ckpt.pt, its tensors as .safetensors, or a file of `save_network`.
        rig: the head whose vertices are the queries.
    Returns:
        The network, and what the user should know.
    Raises:
        WeightsError: missing, unreadable, another model's (names the tensor), or trained for another mesh.
    """
    path = Path(path)
    state, meta = _read(path)
    if METADATA in meta:
        network = _own(json.loads(meta[METADATA]), rig, path.name)
        warnings: list[str] = []
    else:
        network, warnings = _released(state, meta, rig, path.name)
        state = {key: value for key, value in state.items() if not key.startswith((*TRAINING_ONLY, *GEOMETRY))}
    check_state(network, state, path.name)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False), warnings


def load_refiner(path: str | Path) -> StyleUNet:
    """Only the refiner of a file that `load_network` reads, for avatars that are there already; evaluation mode, on the CPU.

    Raises:
        WeightsError: as `load_network`.
    """
    path = Path(path)
    state, meta = _read(path)
    config, chosen = OMGConfig(released=True), "dinov2"
    if METADATA in meta:
        config, chosen = _described(json.loads(meta[METADATA]), path.name)
    net = refiner(chosen, config)
    own = {key.removeprefix(REFINER): value for key, value in state.items() if key.startswith(REFINER)}
    check_state(net, own, path.name)
    net.load_state_dict(own, assign=True)
    return net.eval().requires_grad_(False)


def save_network(path: str | Path, network: OMGAvatar, encoder_name: str, about: Mapping[str, str] | None = None) -> None:
    """Write a network trained here as safetensors, atomically.

    Args:
        encoder_name: key of `encoder.ENCODERS` that its encoder is.
        about: more metadata, such as licence and rig.
    """
    facts = {"config": dataclasses.asdict(network.config), "encoder": encoder_name}
    metadata = {METADATA: json.dumps(facts), **(about or {})}
    write_atomically(Path(path), save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, metadata))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and what is said about them: meta_cfg, or a safetensors file's metadata."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{path.name}: not a readable .safetensors ({error})", "download or convert the file again") from error
    content = read_torch_file(path)
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path.name}: holds no state dict", "choose omg_ckpt.pt")
    meta = content.get("meta_cfg", {})
    return dict(state), dict(meta) if isinstance(meta, Mapping) else {}


def _own(facts: Any, rig: Rig, name: str) -> OMGAvatar:
    config, chosen = _described(facts, name)
    _check_vertices(config, rig, name)
    return OMGAvatar(config, rig.faces, *encoder(chosen, config))


def _described(facts: Any, name: str) -> tuple[OMGConfig, str]:
    """Config and encoder of a file of ours."""
    try:
        config, chosen = OMGConfig(**facts["config"]), facts["encoder"]
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{name}: its description is damaged ({error})", "download the file again") from error
    if chosen not in ENCODERS:
        raise WeightsError(f"{name}: made with an encoder named {chosen!r}", "update Lookalike")
    return config, chosen


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
