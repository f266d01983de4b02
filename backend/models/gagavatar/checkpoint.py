"""GAGAvatar.pt, or its tensors as safetensors, into the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backend.models.networks import KeptNetwork, StyleUNet, check_state
from backend.protocol.errors import WeightsError
from backend.weights.store import read_state, weights_path

from .network import GAGAvatarNetwork

MODEL = "gagavatar"
"""Name in the catalogue of weights."""
PERCEPTUAL, REFINER = "percep_loss.", "upsampler."


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
    network = GAGAvatarNetwork(perceptual)
    network.load_state_dict(_checked(state, path.name), assign=True)
    return network.eval().requires_grad_(False)


def _refiner(path: Path) -> StyleUNet:
    state = _part(path, REFINER)
    with torch.device("meta"):
        check_state(StyleUNet(), state, path.name)
    net = StyleUNet()
    net.load_state_dict(_checked(state, path.name), assign=True)
    return net.eval().requires_grad_(False)


load_refiner = KeptNetwork(_refiner)
"""Only the refiner of a file that `load_network` reads, for avatars that are there already."""


def _part(path: Path, prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin so, without it; of a .safetensors file only these are read."""
    if path.suffix != ".safetensors":
        return {key.removeprefix(prefix): value for key, value in read_state(path).items() if key.startswith(prefix)}
    try:
        with safe_open(path, "pt") as file:
            return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name}: not a readable .safetensors ({error})", "add the checkpoint again") from error


def _checked(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors in single precision, after a look at their values."""
    for key, value in state.items():
        if not value.is_floating_point():
            raise WeightsError(f"{name}: {key} holds {value.dtype} where numbers with a fraction belong", "choose the checkpoint itself")
        if not torch.isfinite(value).all():
            raise WeightsError(f"{name}: {key} holds numbers that are not finite", "download the file again")
    return {key: value.float() for key, value in state.items()}
