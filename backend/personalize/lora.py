"""Low-rank adaptation of a network's layers: small matrices A and B beside frozen weights, W' = W + (alpha / rank) B A.

Hu et al. 2022, as "Low-Rank Head Avatar Personalization with Registers" uses it (sec. 3.2, B.1): every Linear, Conv2d,
ConvTranspose2d and Embedding of the avatar network gets one, but nothing inside the image encoder. "Image encoder" is
DINOv2 *and* the DPT layers behind it: the paper's text names DINOv2 only, its 4.7 M parameters and the released code mean both.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from backend.protocol.errors import WeightsError

RANK, ALPHA = 32, 1.0
"""As released: the update is scaled by alpha / rank = 1/32."""
LAYER_TYPES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
ENCODERS = ("base_model", "base_dino_model", "percep_loss")
"""Children that are left alone: DINOv2 with DPT (GAGAvatar's and OMG-Avatar's name for it) and the loss's own networks."""
TABLES = ("head_base",)
"""Bare [rows, channels] parameters of the network itself that are tables of embeddings, adapted as an nn.Embedding is."""


class Pair(NamedTuple):
    """The two factors of one layer. Table: a [rows, r], b [r, channels]. Others: a [r, fan_in], b [shape[0], r]."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Target:
    """One adapted weight.

    Attributes:
        layer: the layer's name in the network; a table's own name.
        module, parameter: whose attribute the weight is.
        table: rows are embeddings, so that the factors' roles are exchanged.
    """

    layer: str
    module: nn.Module
    parameter: str
    table: bool

    @property
    def weight(self) -> Tensor:
        """The weight, adapted if factors are attached."""
        return cast(Tensor, getattr(self.module, self.parameter))

    @property
    def key(self) -> str:
        """The weight's key in the network's state_dict."""
        return self.layer if self.layer == self.parameter else f"{self.layer}.{self.parameter}"

    def factor_shapes(self, rank: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of a and b."""
        rows, *rest = self.weight.shape
        return ((rows, rank), (rank, math.prod(rest))) if self.table else ((rank, math.prod(rest)), (rows, rank))


def targets(network: nn.Module, skip: tuple[str, ...] = ENCODERS, tables: tuple[str, ...] = TABLES) -> list[Target]:
    """The weights that an adapter of this network has factors for, in the network's order.

    Weights of other kinds of layers (StyleUNet's modulated convolutions, biases, norms) stay as they are, as released.
    """
    found = [Target(name, network, name, table=True) for name in tables if hasattr(network, name)]
    for name, module in network.named_modules():
        if isinstance(module, LAYER_TYPES) and not (name in skip or name.startswith(tuple(f"{s}." for s in skip))):
            found.append(Target(name, module, "weight", isinstance(module, nn.Embedding)))
    return found


def updated(weight: Tensor, pair: Pair, scale: float, table: bool) -> Tensor:
    """weight + scale * (B A), or A B for a table, reshaped to the weight's shape (eq. 1).

    Training and merging both call this, so a merged weight is the trained one to the bit.
    """
    product = pair.a @ pair.b if table else pair.b @ pair.a
    return weight + product.view(weight.shape) * scale


class LowRank(nn.Module):
    """The parametrization of one weight; its factors are the trainable parameters `lora_A` and `lora_B`."""

    def __init__(self, pair: Pair, scale: float, table: bool, siblings: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.lora_A, self.lora_B = nn.Parameter(pair.a.clone()), nn.Parameter(pair.b.clone())
        self.scale, self.table, self.siblings = scale, table, siblings

    def forward(self, weight: Float[Tensor, ...]) -> Float[Tensor, ...]:
        return updated(weight, self.pair, self.scale, self.table)

    @property
    def pair(self) -> Pair:
        return Pair(self.lora_A, self.lora_B)


def fresh_pairs(network: nn.Module, rank: int = RANK, generator: torch.Generator | None = None) -> dict[str, Pair]:
    """Factors to start from: A uniform in +-1/sqrt(its last dimension), B zero, so that nothing changes yet."""
    pairs = {}
    for target in targets(network):
        shape_a, shape_b = target.factor_shapes(rank)
        a = (torch.rand(shape_a, generator=generator) * 2 - 1) / math.sqrt(shape_a[-1])
        pairs[target.layer] = Pair(a.to(target.weight.device), torch.zeros(shape_b, device=target.weight.device))
    return pairs


def attach(network: nn.Module, pairs: Mapping[str, Pair], scale: float = ALPHA / RANK) -> dict[str, LowRank]:
    """Put trainable factors beside the network's weights and freeze everything else.

    Returns:
        the parametrization of each layer; `detach` removes them.
    Raises:
        WeightsError: factors of another network or rank, or factors that are attached already.
    """
    found = targets(network)
    check(network, pairs)
    if any(parametrize.is_parametrized(t.module, t.parameter) for t in found):
        raise WeightsError("an adapter is being trained on this network already", "wait for it, or load the network again")
    network.requires_grad_(False)
    attached = {}
    for target in found:
        siblings = tuple(target.module._parameters)
        low_rank = LowRank(pairs[target.layer], scale, target.table, siblings).to(target.weight.device)
        attached[target.layer] = low_rank
        parametrize.register_parametrization(target.module, target.parameter, low_rank, unsafe=True)
    return attached


def detach(network: nn.Module) -> None:
    """Take the factors away; the base's weights, keys and their order are then what they were before `attach`."""
    for target in targets(network):
        if parametrize.is_parametrized(target.module, target.parameter):
            _remove(target)


def _remove(target: Target) -> None:
    module = target.module
    siblings = cast(LowRank, cast(nn.ModuleDict, module.parametrizations)[target.parameter].get_submodule("0")).siblings
    parametrize.remove_parametrizations(module, target.parameter, leave_parametrized=False)
    # torch appends the freed parameter behind its siblings; the keys' order is part of what must not change.
    ordered = {name: module._parameters[name] for name in siblings}
    module._parameters.clear()
    module._parameters.update(ordered)


def check(network: nn.Module, pairs: Mapping[str, Pair], name: str = "adapter") -> None:
    """See that the factors belong to this network.

    Raises:
        WeightsError: names the first layer that is missing, unknown, of another rank than the others, or of the wrong shape.
    """
    found = {t.layer: t for t in targets(network)}
    remedy = "use it with the model that it was made from"
    for layer in found.keys() - pairs.keys():
        raise WeightsError(f"{name}: has no factors for the layer {layer}", remedy)
    for layer in pairs.keys() - found.keys():
        raise WeightsError(f"{name}: adapts the layer {layer}, which this model does not have", remedy)
    ranks = {(pair.b if found[layer].table else pair.a).shape[0] for layer, pair in pairs.items()}
    if len(ranks) > 1:
        raise WeightsError(f"{name}: its layers are of different ranks {sorted(ranks)}", "make the adapter again")
    for layer, target in found.items():
        wanted, got = target.factor_shapes(*ranks), (tuple(pairs[layer].a.shape), tuple(pairs[layer].b.shape))
        if wanted != got:
            raise WeightsError(f"{name}: the factors of {layer} are {got[0]} and {got[1]}, not {wanted[0]} and {wanted[1]}", remedy)


@torch.no_grad()
def merge(network: nn.Module, pairs: Mapping[str, Pair], scale: float = ALPHA / RANK) -> None:
    """Add the updates to the weights, in place: the network is then the adapted one without a trace of adapters.

    Same modules, keys, graph and time as the base; the outputs are those of the attached network to the bit.

    Raises:
        WeightsError: factors of another network.
    """
    check(network, pairs)
    for target in targets(network):
        pair = Pair(*(f.to(target.weight) for f in pairs[target.layer]))
        target.weight.copy_(updated(target.weight, pair, scale, target.table))


def base_digest(network: nn.Module) -> str:
    """SHA-256 of the weights that an adapter is made against: names, shapes and bytes, without the losses' own networks.

    Must be asked while nothing is attached or merged.
    """
    digest = hashlib.sha256()
    for key, value in _weights(network):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype}\n".encode())
        flat = value.detach().cpu().reshape(-1).contiguous()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    state = network.state_dict()
    return ((key, state[key]) for key in sorted(state) if not key.startswith("percep_loss."))
