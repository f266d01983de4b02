"""What is done to an avatar's adapters in the file, none of which needs the backend: learned, switched, merged, removed, saved, loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..avatar.bound_splats import BoundSplats
from ..protocol import Avatar, AvatarFileError, decode_avatar
from ..protocol.adapter_file import read_adapter_file, write_adapter_file
from ..protocol.adapters import add, base_of, find, merge, remove, switch, with_adapters
from ..rendering.preparation import prepare_scenes
from .gathering import Edited, begin
from .keeping import bare, check_editable, forget, keep, kept_avatar, packed
from .showing import bound_levels, show_levels


@dataclass(frozen=True)
class Learned:
    """The result of a personalization, ready to be shown: what is kept from now on, its bytes, and its levels, bound."""

    kept: Avatar
    data: bytes
    levels: list[BoundSplats]


def prepare_learned(data: bytes, kept: Avatar, edits: list[Edited]) -> Learned:
    """The new adapter of an avatar file that the backend sent, without the user's edits; runs in a thread.

    Raises:
        AvatarFileError: it is not the avatar that was sent with one more adapter.
    """
    refined = decode_avatar(data, kept.name)
    if len(refined.adapters) != len(kept.adapters) + 1:
        raise AvatarFileError(f"{kept.name}: the backend sent no adapter", "update the backend")
    new = refined.adapters[-1]
    if [len(level["opacity"]) for level in new.levels] != [len(splats) for splats in kept.lods]:
        raise AvatarFileError(f"{kept.name}: the backend's adapter is of other splats than it was given", "update the backend")
    shown = {adapter.name: adapter.enabled for adapter in refined.adapters}
    before = [replace(adapter, enabled=shown.get(adapter.name, adapter.enabled)) for adapter in kept.adapters]
    levels = tuple(edit.difference_taken_off(level) for edit, level in zip(edits, new.levels, strict=True))
    grown = bare(add(with_adapters(kept, before), replace(new, levels=levels)))
    return Learned(grown, packed(grown), bound_levels(grown))


def learn(avatar: bpy.types.Collection, learned: Learned) -> str:
    """Show and keep what was learned; returns the adapter's name.

    Raises:
        AvatarFileError: splats or faces were added or removed while it was learned, or the avatar is linked.
    """
    check_editable(avatar)
    show_levels(avatar, learned.kept.rig, enumerate(learned.levels))
    avatar.lookalike.preview = -1
    keep(avatar, learned.kept, learned.data)
    prepare_scenes()
    return learned.kept.adapters[-1].name


def switch_adapter(avatar: bpy.types.Collection, name: str, on: bool) -> None:
    """One adapter on or off; all off is the avatar as it was, to the bit.

    Raises:
        AvatarFileError: there is none of that name, or splats or faces were added or removed since, or the avatar is linked.
    """
    _change(avatar, switch(_kept(avatar, name), name, on))


def merge_adapter(avatar: bpy.types.Collection, name: str) -> None:
    """Make one adapter part of the avatar for good; its provenance tells of it. Raises as `switch_adapter`."""
    merged = merge(_kept(avatar, name), name)
    _change(avatar, merged)
    facts = json.loads(avatar.lookalike.provenance or "{}") or {"name": avatar.lookalike.label}
    told = merged.provenance["merged"]
    facts["merged"] = [*facts.get("merged", []), *(told if isinstance(told, list) else [])]
    avatar.lookalike.provenance = json.dumps(facts, ensure_ascii=False)


def remove_adapter(avatar: bpy.types.Collection, name: str) -> None:
    """Take one adapter out of the avatar. Raises as `switch_adapter`."""
    _change(avatar, remove(_kept(avatar, name), name))


def save_adapter(avatar: bpy.types.Collection, name: str, path: Path) -> None:
    """Write one adapter to a .safetensors file of its own; it stays in the avatar too.

    Raises:
        AvatarFileError: there is none of that name, or the folder cannot be written.
    """
    kept = _kept(avatar, name)
    write_adapter_file(path, find(kept.adapters, name, avatar.name), base_of(kept))


def load_adapter(avatar: bpy.types.Collection, path: Path) -> str:
    """Add an adapter from a file to the avatar that it was saved from; returns its name.

    Raises:
        AvatarFileError: the file is missing, corrupt or of another avatar; nothing is changed then.
    """
    check_editable(avatar)
    kept = kept_avatar(avatar)
    if kept is None:
        _, kept, _ = begin(avatar)
    try:
        grown = add(kept, read_adapter_file(path, base_of(kept), avatar.name))
        _change(avatar, bare(grown))
    except AvatarFileError:
        if not kept.adapters:
            forget(avatar)
        raise
    return grown.adapters[-1].name


def _kept(avatar: bpy.types.Collection, name: str) -> Avatar:
    kept = kept_avatar(avatar)
    find(kept.adapters if kept is not None else (), name, avatar.name)
    assert kept is not None
    return kept


def _change(avatar: bpy.types.Collection, kept: Avatar) -> None:
    """Show and keep an avatar's adapters in another state."""
    check_editable(avatar)
    show_levels(avatar, kept.rig, enumerate(bound_levels(kept)))
    if kept.adapters:
        keep(avatar, bare(kept))
    else:
        forget(avatar)
    prepare_scenes()
