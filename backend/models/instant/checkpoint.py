"""Weights in files. None are published for this network: a file is what `lookalike train` wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from backend.models.networks import KeptNetwork, check_state
from backend.models.networks.dinov2 import PATCH
from backend.models.omg.encoder import TOKEN_WIDTHS, make_encoder
from backend.protocol.errors import WeightsError
from backend.weights.store import read_state

from .config import LARGEST_LEVEL, SIZE_NAMES, InstantConfig
from .network import InstantAvatar

OWN_WEIGHTS = "LOOKALIKE_INSTANT"
"""Environment variable: path of a trained network."""
TELLING = ("sizes", "rig_codes.gram")
"""Tensors that say how large the network is."""
LARGEST, MOST_LAYERS, MOST_HEADS = 4096, 64, 64
"""Of any size that a file may state, of the transformer's layers, and of its heads."""
TRAIN = "give the model.safetensors or best.safetensors of a run of: lookalike train instant-distill"


def instant_weights() -> Path:
    """The file that LOOKALIKE_INSTANT names, or one that `lookalike models add` kept.

    Raises:
        WeightsError: there is neither; says that none are published and how to train one.
    """
    from backend.weights.store import present

    own = os.environ.get(OWN_WEIGHTS)
    if own:
        return Path(own).expanduser()
    kept = present("instant")
    if kept is not None:
        return kept.path
    raise WeightsError(
        "Instant Expressive has no weights: its authors have published none",
        f"train a network (lookalike train instant-distill; docs/training.md) and name it with the environment variable {OWN_WEIGHTS}",
    )


def _load(path: Path) -> InstantAvatar:
    state = read_state(path)
    for key in TELLING:
        if key not in state:
            raise WeightsError(f"{path.name}: {key} is missing: these are not the weights of Instant Expressive", TRAIN)
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path.name}: {key} holds numbers that are not finite", "use an earlier file of the training")
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    with torch.device("meta"):  # before memory is taken for sizes that a file merely states
        check_state(_network(state, path.name), state, path.name)
    network = _network(state, path.name)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


load_network = KeptNetwork(_load)
"""A network in evaluation mode, from a file of `lookalike train`.

Raises:
    WeightsError: missing, unreadable, another model's, a tensor that is missing, unknown or misshapen (names it), or numbers that
        are not finite.
"""


def _network(state: Mapping[str, Tensor], name: str) -> InstantAvatar:
    """A network of the sizes that its tensors state, with any weights."""
    given = state["sizes"]
    stated: dict[str, int] = dict(zip(SIZE_NAMES, map(int, given), strict=True)) if tuple(given.shape) == (len(SIZE_NAMES),) else {}
    gram = state["rig_codes.gram"]
    encoders = list(TOKEN_WIDTHS)
    if not stated or not _possible(stated, len(encoders)) or gram.ndim != 2 or not len(gram):
        raise WeightsError(f"{name}: sizes is damaged or of another version: no network has these", TRAIN)
    encoder = encoders[stated.pop("encoder")]
    picture = stated.pop("picture")
    config = InstantConfig(**stated, token_dim=TOKEN_WIDTHS[encoder])
    _check_widths(config, state, name)
    return InstantAvatar(config, len(gram) - 1, make_encoder(encoder, config.dim, picture), picture)


def _possible(stated: Mapping[str, int], encoders: int) -> bool:
    """Whether the sizes go with each other: what training demands, see `training.learners.instant.check_sizes`."""
    positive = [value for key, value in stated.items() if key not in ("levels", "encoder")]
    if not 0 <= stated["levels"] <= LARGEST_LEVEL or not 0 <= stated["encoder"] < encoders or min(positive) < 1 or max(positive) > LARGEST:
        return False
    if stated["layers"] > MOST_LAYERS or stated["heads"] > MOST_HEADS:
        return False
    divisible = (("planes", 8), ("rays", 1 << stated["levels"]), ("dim", stated["heads"]), ("dim", 16), ("hidden", 8), ("picture", PATCH))
    return all(stated[key] % divisor == 0 for key, divisor in divisible)


def _check_widths(config: InstantConfig, state: Mapping[str, Tensor], name: str) -> None:
    """That the largest tensors are of the stated sizes, before memory is taken for a network of them.

    Raises:
        WeightsError: names the tensor.
    """
    expected = {
        "lifter.start": (3 * config.grid**2, config.dim),
        f"lifter.layers.{config.layers - 1}.linear1.weight": (config.feedforward, config.dim),
        "decoder.layers.0.weight": (config.hidden, config.basis),
        "fusion.weigh.weight": (config.basis, config.code),
    }
    for key, shape in expected.items():
        found = tuple(state[key].shape) if key in state else None
        if found != shape:
            told = "is missing" if found is None else f"has shape {found}, expected {shape}"
            raise WeightsError(f"{name}: {key} {told}", TRAIN)
