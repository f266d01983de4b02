"""GAGAvatar.pt, or its tensors as safetensors, into the network."""

from __future__ import annotations

from pathlib import Path

import torch

from backend.models.networks import check_state
from backend.protocol.errors import WeightsError
from backend.weights.store import read_state, weights_path

from .network import GAGAvatarNetwork

MODEL = "gagavatar"
"""Name in the catalogue of weights."""
PERCEPTUAL = "percep_loss."


def gagavatar_weights() -> Path:
    """The checkpoint in the models folder.

    Raises:
        WeightsError: it is not there; says where to get it and what to type.
    """
    return weights_path(MODEL)


def load_network(path: str | Path, perceptual: bool = False) -> GAGAvatarNetwork:
    """The network in evaluation mode on the CPU, loaded strictly.

    Args:
        path: GAGAvatar.pt (read without running its pickle) or the same tensors as .safetensors.
        perceptual: with the training loss's nets. Without, the checkpoint's may be there or not.
    Raises:
        WeightsError: missing, unreadable, hostile, another model's or another shape (names the tensor), or not finite.
    """
    path = Path(path)
    state = read_state(path)
    if not perceptual:
        state = {key: value for key, value in state.items() if not key.startswith(PERCEPTUAL)}
    with torch.device("meta"):  # a wrong file is told before memory is taken for the right one
        check_state(GAGAvatarNetwork(perceptual), state, path.name)
    for key, value in state.items():
        if not value.is_floating_point():
            raise WeightsError(
                f"{path.name}: {key} holds {value.dtype} where numbers with a fraction belong", "choose the checkpoint itself"
            )
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path.name}: {key} holds numbers that are not finite", "download the file again")
    network = GAGAvatarNetwork(perceptual)
    network.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)
