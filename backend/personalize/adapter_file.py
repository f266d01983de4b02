"""Adapters as files: safetensors of our own, and LoRAvatar's released layout.

Our file has the tensors ``layer/NAME/a`` and ``layer/NAME/b`` and, where the registers are kept to go on learning,
``registers/KEY``. Its metadata key ``adapter`` is a JSON object: format, name, rank, alpha, the base model's name and digest, the
list of layers, the learning curve.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import WeightsError

from .lora import ALPHA, RANK, Pair, base_digest, check, merge, targets

FORMAT = 1
SUFFIX = ".safetensors"
MAX_BYTES = 1 << 30
MAX_LAYERS = 1 << 12
_PARAMETRIZED = ".parametrizations.weight.0.lora_"
_RELEASED_TABLES = {"head_base_emb": "head_base"}
"""The release turns its bare table into an Embedding of another name; the base model keeps the table."""


@dataclass(frozen=True)
class Adapter:
    """What personalization produces: small factors for one base model.

    Attributes:
        name: what the user sees.
        pairs: factors of each layer.
        rank, alpha: the update is scaled by alpha / rank.
        base: name of the model that it was made from.
        digest: SHA-256 of that model's weights (`lora.base_digest`); "" where the file does not tell (released files).
        registers: state of the Register Module, to go on adapting; None where it was dropped. Never needed to draw.
        facts: JSON-able: learning curve, held-out error before and after, settings.
    """

    name: str
    pairs: dict[str, Pair]
    rank: int = RANK
    alpha: float = ALPHA
    base: str = ""
    digest: str = ""
    registers: dict[str, Tensor] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Of the update."""
        return self.alpha / self.rank

    @property
    def parameters(self) -> int:
        """How many numbers the factors have."""
        return sum(factor.numel() for pair in self.pairs.values() for factor in pair)

    def check_base(self, network: nn.Module) -> None:
        """See that this adapter belongs to that network.

        Raises:
            WeightsError: other layers or shapes, or, where the file tells its base's digest, other weights.
        """
        check(network, self.pairs, self.name)
        if self.digest and self.digest != base_digest(network):
            made = f" '{self.base}'" if self.base else ""
            raise WeightsError(
                f"{self.name}: was made from another base model{made} (weights {self.digest[:12]}...)",
                "load that model, or personalize again",
            )


def encode_adapter(adapter: Adapter) -> bytes:
    """The file's bytes; also what travels and what an avatar can carry."""
    tensors = {f"layer/{layer}/{part}": getattr(pair, part) for layer, pair in adapter.pairs.items() for part in ("a", "b")}
    tensors |= {f"registers/{key}": value for key, value in (adapter.registers or {}).items()}
    header = {
        "format": FORMAT,
        "name": adapter.name,
        "rank": adapter.rank,
        "alpha": adapter.alpha,
        "base": adapter.base,
        "base_sha256": adapter.digest,
        "layers": list(adapter.pairs),
        "facts": adapter.facts,
    }
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    return save(contiguous, metadata={"adapter": json.dumps(header, allow_nan=False)})


def write_adapter(path: str | os.PathLike[str], adapter: Adapter) -> None:
    """Write atomically, ``.safetensors``."""
    write_atomically(Path(path), encode_adapter(adapter))


def read_adapter(path: str | os.PathLike[str]) -> Adapter:
    """Read one of our files, or a LoRAvatar checkpoint (``.pt``, ``.pth``, ``.ckpt``), whose pickle is read without running it.

    Raises:
        WeightsError: missing, truncated, not an adapter, of another version, or inconsistent in itself.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    if size > MAX_BYTES:
        raise WeightsError(f"{path.name}: {size >> 20} MiB is more than an adapter has", "choose an adapter's file")
    if path.suffix.lower() in (".pt", ".pth", ".ckpt"):
        return _released(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {})["adapter"]
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name}: is truncated or not a safetensors file ({error})", "copy the file again") from error
    except KeyError as error:
        raise WeightsError(f"{path.name}: is not an adapter", "choose a file that personalize wrote") from error
    return _decoded(text, tensors, path.name)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _decoded(text: str, tensors: dict[str, Tensor], name: str) -> Adapter:
    try:
        header = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name}: its header cannot be read ({error})", "make the adapter again") from error
    try:
        if header["format"] != FORMAT:
            raise WeightsError(f"{name}: adapter format {header['format']}, this version reads {FORMAT}", "update Lookalike")
        layers = [str(layer) for layer in header["layers"]]
        pairs = {layer: Pair(tensors.pop(f"layer/{layer}/a"), tensors.pop(f"layer/{layer}/b")) for layer in layers}
        registers = {key.removeprefix("registers/"): value for key, value in tensors.items() if key.startswith("registers/")}
        adapter = Adapter(
            name=str(header["name"]),
            pairs=pairs,
            rank=int(header["rank"]),
            alpha=float(header["alpha"]),
            base=str(header["base"]),
            digest=str(header["base_sha256"]),
            registers=registers or None,
            facts=dict(header["facts"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"{name}: its header and its tensors do not fit ({error})", "make the adapter again") from error
    _check_ranks(adapter, name)
    return adapter


def _check_ranks(adapter: Adapter, name: str) -> None:
    if not 1 <= len(adapter.pairs) <= MAX_LAYERS or not 1 <= adapter.rank <= 4096:
        raise WeightsError(f"{name}: rank {adapter.rank} with {len(adapter.pairs)} layers is not an adapter")
    if not math.isfinite(adapter.alpha):
        raise WeightsError(f"{name}: its alpha is {adapter.alpha}", "make the adapter again")
    for layer, (a, b) in adapter.pairs.items():
        fits = a.ndim == b.ndim == 2 and adapter.rank in (a.shape[0], a.shape[1]) and a.is_floating_point() and b.is_floating_point()
        if not fits or adapter.rank not in (b.shape[0], b.shape[1]):
            raise WeightsError(
                f"{name}: rank is {adapter.rank}, but the factors of {layer} are {tuple(a.shape)} and {tuple(b.shape)}", "make it again"
            )
        if not (a.isfinite().all() and b.isfinite().all()):
            raise WeightsError(f"{name}: the factors of {layer} are not finite", "make the adapter again")


def _released(path: Path) -> Adapter:
    from backend.weights.torch_file import read_torch_file

    return from_released(read_torch_file(path), path.name)


def from_released(content: Mapping[str, Any], name: str) -> Adapter:
    """An adapter from LoRAvatar's layout: ``lora_weights`` and ``register_network``.

    Raises:
        WeightsError: one of the two is missing, or a key that no layer has.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("lora_weights"), Mapping):
        raise WeightsError(f"{name}: has no 'lora_weights'; it is not a LoRAvatar file", "choose a LoRAvatar checkpoint")
    factors: dict[str, dict[str, Tensor]] = {}
    for key, value in content["lora_weights"].items():
        layer, found, part = str(key).partition(_PARAMETRIZED)
        if not found or part not in ("A", "B") or not isinstance(value, Tensor):
            raise WeightsError(f"{name}: unknown tensor {key!r} in 'lora_weights'", "choose a LoRAvatar checkpoint")
        factors.setdefault(str(_RELEASED_TABLES.get(layer, layer)), {})[part] = value
    for layer, parts in factors.items():
        if len(parts) != 2:
            raise WeightsError(f"{name}: layer {layer} has only one of its two factors", "copy the file again")
    pairs = {layer: Pair(parts["A"], parts["B"]) for layer, parts in factors.items()}
    registers = content.get("register_network")
    if registers is None:
        registers = {}
    if not isinstance(registers, Mapping) or not all(isinstance(value, Tensor) for value in registers.values()):
        raise WeightsError(f"{name}: its 'register_network' is no dict of tensors", "choose a LoRAvatar checkpoint")
    # The other factor's outer dimension differs from layer to layer; the rank is what all have in common.
    common = set.intersection(*({*pair.a.shape} & {*pair.b.shape} for pair in pairs.values())) if pairs else set()
    if len(common) != 1:
        raise WeightsError(f"{name}: its factors have no rank in common", "copy the file again")
    adapter = Adapter(name=Path(name).stem, pairs=pairs, rank=common.pop(), base="GAGAvatar", registers=dict(registers) or None)
    _check_ranks(adapter, name)
    return adapter


def to_released(adapter: Adapter) -> dict[str, dict[str, Tensor]]:
    """The content of a LoRAvatar file."""
    names = {ours: theirs for theirs, ours in _RELEASED_TABLES.items()}
    weights = {}
    for layer, pair in adapter.pairs.items():
        for part, factor in zip("AB", pair, strict=True):
            weights[f"{names.get(layer, layer)}{_PARAMETRIZED}{part}"] = factor
    return {"lora_weights": weights, "register_network": adapter.registers or {}}


@dataclass(frozen=True)
class AdapterFacts:
    """One line of a list of adapters. `problem` tells why a file cannot be used, "" where it can."""

    path: Path
    name: str
    base: str
    rank: int
    parameters: int
    problem: str = ""


def list_adapters(folder: str | os.PathLike[str]) -> list[AdapterFacts]:
    """The adapters in a folder, by file name; files that are not adapters are passed over, broken ones are listed as such."""
    found = []
    for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
        try:
            adapter = read_adapter(path)
        except WeightsError as error:
            if "not an adapter" not in error.message:
                found.append(AdapterFacts(path, path.stem, "", 0, 0, str(error)))
        else:
            found.append(AdapterFacts(path, adapter.name, adapter.base, adapter.rank, adapter.parameters))
    return found


class AdapterSwitch:
    """Adapters of one network, any one of them merged at a time, or none.

    Merging overwrites weights; the base's are kept aside (as much memory as the adapted layers have), so that switching off gives
    the base again to the bit, and drawing with an adapter costs what drawing without one does.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network, self._adapters = network, dict[str, Adapter]()
        self._digest = base_digest(network)
        self._base = {t.key: t.weight.detach().clone() for t in targets(network)}
        self.active: str | None = None

    @property
    def names(self) -> list[str]:
        """Of the adapters that can be switched on."""
        return list(self._adapters)

    def add(self, adapter: Adapter) -> None:
        """Make an adapter known; one of the same name is replaced (and switched off if it was on).

        Raises:
            WeightsError: it belongs to another model.
        """
        check(self._network, adapter.pairs, adapter.name)
        if adapter.digest and adapter.digest != self._digest:
            raise WeightsError(f"{adapter.name}: was made from another base model", "load that model, or personalize again")
        if self.active == adapter.name:
            self.switch(None)
        self._adapters[adapter.name] = adapter

    @torch.no_grad()
    def switch(self, name: str | None) -> None:
        """Merge one adapter into the base, or none.

        Raises:
            WeightsError: an unknown name.
        """
        if name is not None and name not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise WeightsError(f"no adapter is called '{name}'", f"known are: {known}")
        for target in targets(self._network):
            target.weight.copy_(self._base[target.key])
        if name is not None:
            merge(self._network, self._adapters[name].pairs, self._adapters[name].scale)
        self.active = name
