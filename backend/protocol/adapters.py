"""Refinements that an avatar carries: each is a difference to its splats, on or off, so that off gives the original to the bit.

`Avatar.base` holds the levels without any adapter, `Avatar.lods` those that show: base + the differences of all adapters that
are on. The file stores base and differences (float16), so a reader that knows no adapters shows the original.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .avatar import Adapter, Avatar, SplatArrays
from .errors import AvatarFileError

FIELDS = ("position", "rotation", "scale", "opacity", "sh")
MAX_ADAPTERS = 16
_SMALLEST = 1e-6


def difference(base: Sequence[SplatArrays], changed: Sequence[SplatArrays]) -> tuple[dict[str, np.ndarray], ...]:
    """What turns each level into the changed one, float16.

    Raises:
        ValueError: levels, or splats of a level, are not the same in number or binding.
    """
    if len(base) != len(changed):
        raise ValueError(f"{len(changed)} levels for {len(base)}")
    for a, b in zip(base, changed, strict=True):
        if a.sh.shape != b.sh.shape or not np.array_equal(a.face, b.face) or not np.array_equal(a.barycentric, b.barycentric):
            raise ValueError("the changed splats are bound otherwise")
    return tuple(
        {name: (getattr(b, name) - getattr(a, name)).astype(np.float16) for name in FIELDS} for a, b in zip(base, changed, strict=True)
    )


def with_adapters(avatar: Avatar, adapters: Sequence[Adapter]) -> Avatar:
    """The avatar with these adapters instead of its own; none gives the original."""
    base = base_of(avatar)
    if not adapters:
        return replace(avatar, lods=base, adapters=(), base=())
    on = [adapter for adapter in adapters if adapter.enabled]
    lods = tuple(_applied(splats, [adapter.levels[i] for adapter in on]) for i, splats in enumerate(base))
    return replace(avatar, lods=lods, adapters=tuple(adapters), base=base)


def base_of(avatar: Avatar) -> tuple[SplatArrays, ...]:
    """The levels without any adapter."""
    return avatar.base if avatar.adapters else avatar.lods


def add(avatar: Avatar, adapter: Adapter) -> Avatar:
    """The avatar with one more, named apart from the others. Raises AvatarFileError where there are too many."""
    if len(avatar.adapters) >= MAX_ADAPTERS:
        raise AvatarFileError(f"{avatar.name} has {len(avatar.adapters)} adapters already", "remove or merge some")
    taken, name, number = {a.name for a in avatar.adapters}, adapter.name, 2
    while name in taken:
        name, number = f"{adapter.name} {number}", number + 1
    return with_adapters(avatar, (*avatar.adapters, replace(adapter, name=name)))


def switch(avatar: Avatar, name: str, on: bool) -> Avatar:
    """One adapter on or off. Raises AvatarFileError where there is none of that name."""
    find(avatar.adapters, name, avatar.name)
    return with_adapters(avatar, [replace(a, enabled=on) if a.name == name else a for a in avatar.adapters])


def remove(avatar: Avatar, name: str) -> Avatar:
    """Without one adapter. Raises AvatarFileError where there is none of that name."""
    find(avatar.adapters, name, avatar.name)
    return with_adapters(avatar, [a for a in avatar.adapters if a.name != name])


def merge(avatar: Avatar, name: str) -> Avatar:
    """One adapter becomes part of the original and cannot be switched any more; the provenance tells of it.

    Raises AvatarFileError where there is none of that name.
    """
    chosen = find(avatar.adapters, name, avatar.name)
    base = tuple(_applied(splats, [level]) for splats, level in zip(base_of(avatar), chosen.levels, strict=True))
    told = avatar.provenance.get("merged", [])
    entry = {"name": chosen.name, "kind": chosen.kind, "created": chosen.created, **chosen.facts}
    merged = [*(told if isinstance(told, list) else []), entry]
    rest = [a for a in avatar.adapters if a.name != name]
    bare = replace(avatar, lods=base, base=(), adapters=(), provenance={**avatar.provenance, "merged": merged})
    return with_adapters(bare, rest)


def find(adapters: Sequence[Adapter], name: str, avatar: str) -> Adapter:
    """The adapter of that name. Raises AvatarFileError telling which there are."""
    found = next((a for a in adapters if a.name == name), None)
    if found is None:
        there = ", ".join(a.name for a in adapters) or "none"
        raise AvatarFileError(f"{avatar} has no adapter {name!r}", f"it has: {there}")
    return found


def adapter_tensors(index: int, adapter: Adapter) -> dict[str, np.ndarray]:
    """Its arrays as the file names them."""
    return {f"adapter{index}/lod{i}/{name}": a for i, level in enumerate(adapter.levels) for name, a in level.items()}


def adapter_header(adapter: Adapter) -> dict[str, object]:
    """What the file's JSON says of it."""
    return {"name": adapter.name, "kind": adapter.kind, "created": adapter.created, "enabled": adapter.enabled, "facts": adapter.facts}


def read_adapters(header: object, tensors: Mapping[str, np.ndarray], base: Sequence[SplatArrays]) -> tuple[Adapter, ...]:
    """Inverse of both, checked against the levels. Raises KeyError, TypeError or ValueError naming what does not fit."""
    entries = header if isinstance(header, list) else []
    if len(entries) > MAX_ADAPTERS:
        raise ValueError(f"{len(entries)} adapters")
    adapters = tuple(
        Adapter(
            str(entry["name"])[:63], str(entry["kind"])[:63], str(entry["created"])[:63], _truth(entry["enabled"]), _facts(entry["facts"]),
            tuple(_level(f"adapter{i}/lod{k}", tensors, splats) for k, splats in enumerate(base)),
        )
        for i, entry in enumerate(entries)
    )  # fmt: skip
    if len({a.name for a in adapters}) != len(adapters):
        raise ValueError("adapters of one name")
    return adapters


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"an adapter that is {str(value)[:63]!r}, neither on nor off")
    return value


def _facts(value: object) -> dict[str, object]:
    """What is told of an adapter, if JSON can say it: JSON has no NaN, and other readers of the file would stop at it."""
    if not isinstance(value, dict):
        raise ValueError("an adapter's facts are no table")
    json.dumps(value, allow_nan=False)
    return value


def _level(prefix: str, tensors: Mapping[str, np.ndarray], splats: SplatArrays) -> dict[str, np.ndarray]:
    level = {name: tensors[f"{prefix}/{name}"] for name in FIELDS}
    for name, array in level.items():
        if array.dtype != np.float16 or array.shape != getattr(splats, name).shape:
            raise ValueError(f"{prefix}/{name} is {array.dtype} {array.shape}")
        if array.size and not math.isfinite(float(np.abs(array).max())):
            raise ValueError(f"{prefix}/{name} holds NaN or infinity")
    return level


def _applied(splats: SplatArrays, levels: Sequence[Mapping[str, np.ndarray]]) -> SplatArrays:
    """A level with differences added; rotations of unit length, scales positive and opacities in range again."""
    if not levels:
        return splats
    total = {name: getattr(splats, name) + sum(level[name].astype(np.float32) for level in levels) for name in FIELDS}
    length = np.linalg.norm(total["rotation"], axis=1, keepdims=True)
    turned = np.abs(sum(np.abs(level["rotation"].astype(np.float32)) for level in levels)).sum(1, keepdims=True) > 0
    usable = turned & (length > 0.1)
    total["rotation"] = np.where(usable, total["rotation"] / np.maximum(length, 1e-6), splats.rotation)
    total["scale"] = np.maximum(total["scale"], np.minimum(splats.scale, _SMALLEST))
    total["opacity"] = np.clip(total["opacity"], 0, 1)
    return replace(splats, **{name: np.ascontiguousarray(array, np.float32) for name, array in total.items()})
