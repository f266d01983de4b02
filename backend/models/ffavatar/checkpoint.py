"""Weights in files: what `lookalike train` writes for FFAvatar. There is no released checkpoint of it."""

from __future__ import annotations

from pathlib import Path

import torch

from backend.models.networks import check_state
from backend.protocol.errors import WeightsError
from backend.rig.rig import Rig
from backend.weights.store import read_state

from .config import FFConfig, rig_digest
from .network import FFAvatarNetwork

TRAIN = "train one: lookalike train (docs/training.md); name it with LOOKALIKE_FFAVATAR"


def load_network(path: str | Path, rig: Rig) -> FFAvatarNetwork:
    """A network in evaluation mode on the CPU, for a rig.

    Args:
        path: .safetensors; its tensors tell the sizes, so a file that lost its header is as good.
    Raises:
        WeightsError: missing, unreadable, another model's (names the tensor), or made for another rig.
    """
    path = Path(path)
    state = read_state(path)
    if "sizes" not in state or "rig_digest" not in state:
        raise WeightsError(f"{path.name}: sizes is missing: these are not the weights of an FFAvatar network", TRAIN)
    config = FFConfig.of_tensor(state["sizes"], path.name)
    _check_rig(config, state["rig_digest"], rig, path.name)
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path.name}: {key} holds numbers that are not finite", "take an earlier checkpoint of the training")
    with torch.device("meta"):
        wanted = FFAvatarNetwork(config, rig)
    check_state(wanted, state, path.name)  # before memory is taken for sizes that a file merely states
    network = FFAvatarNetwork(config, rig)
    network.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _check_rig(config: FFConfig, digest: torch.Tensor, rig: Rig, name: str) -> None:
    if config.vertices != len(rig.template):
        raise WeightsError(
            f"{name}: trained on a head of {config.vertices} vertices, {rig.rig_id} has {len(rig.template)}",
            "give that head with --rig: the path of your FLAME file" if config.vertices == 5023 else "choose another rig",
        )
    told = (config.shapes, config.expressions, config.joints)
    own = (rig.shape_basis.shape[2], len(rig.expression_names), len(rig.parents))
    if told != own:
        counts = "{} shape values, {} expressions and {} joints"
        raise WeightsError(f"{name}: trained on a rig of {counts.format(*told)}, {rig.rig_id} has {counts.format(*own)}", "choose that rig")
    if digest.shape != (32,) or not torch.equal(digest, rig_digest(rig)):
        raise WeightsError(f"{name}: trained on a rig with other triangles or expressions than {rig.rig_id}", "choose that rig")
