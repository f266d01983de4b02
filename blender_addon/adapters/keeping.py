"""What an avatar of the open file keeps of its adapters: on its collection, so that saving, appending and duplicating carry it.

`kept` holds the bytes of a small avatar file: the neutral rig mesh, each level's splats without any adapter and without the
user's edits, and the adapters' differences. `adapters` says the same for the panel, which must not decode megabytes to draw.
Each splat of the head knows its row in there (`ORIGIN`, -1 for one that came from elsewhere), because splats may be removed
or mirrored afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from ..avatar.host import ORIGIN, read_attribute, write_attribute
from ..avatar.parts import head_of, splats_of
from ..protocol import Avatar, AvatarFileError, decode_avatar, encode_avatar
from ..protocol.avatar import I32


@dataclass(frozen=True)
class Listed:
    """An adapter as the panel lists it; `gain` is in dB on what was held out, None where nothing was measured."""

    name: str
    kind: str
    enabled: bool
    facts: dict[str, Any]

    @property
    def gain(self) -> float | None:
        try:
            return float(self.facts["psnr_after"]) - float(self.facts["psnr_before"])
        except (KeyError, TypeError, ValueError):
            return None


def listed(avatar: bpy.types.Collection) -> list[Listed]:
    """The adapters that an avatar has, in order. Budget: 50 microseconds."""
    entries = json.loads(avatar.lookalike.adapters or "[]")
    return [Listed(str(e["name"]), str(e["kind"]), bool(e["enabled"]), dict(e["facts"])) for e in entries]


def has_adapters(avatar: bpy.types.Collection) -> bool:
    """Whether it has any, on or off."""
    return avatar.lookalike.adapters not in ("", "[]")


def kept_avatar(avatar: bpy.types.Collection) -> Avatar | None:
    """What is kept, decoded; None where nothing is.

    Raises:
        AvatarFileError: the file was tampered with.
    """
    data = avatar.lookalike.kept
    return decode_avatar(data, avatar.name) if data else None


def packed(kept: Avatar) -> bytes:
    """The bytes of what is kept; may run in a thread."""
    return encode_avatar(kept)


def bare(avatar: Avatar) -> Avatar:
    """Without what the collection's other data-blocks hold: expressions, shoulders, portraits, facts, and how colours follow the face."""
    vertices = avatar.rig.vertices
    rig = replace(avatar.rig, expressions=np.zeros((0, len(vertices), 3), np.float32), expression_names=())
    shoulders = replace(avatar.shoulders, **{name: getattr(avatar.shoulders, name)[:0] for name in avatar.shoulders.__dataclass_fields__})
    shoulders = replace(shoulders, patterns=None)
    lods, base = ([replace(splats, patterns=None) for splats in levels] for levels in (avatar.lods, avatar.base))
    return Avatar(rig, tuple(lods), shoulders, (), {"name": avatar.name}, adapters=avatar.adapters, base=tuple(base))


def keep(avatar: bpy.types.Collection, kept: Avatar, data: bytes | None = None) -> None:
    """Remember what is kept.

    Args:
        data: `packed(kept)`, where a thread has made it.
    """
    settings = avatar.lookalike
    settings.kept = data if data is not None else packed(kept)
    entries = [{"name": a.name, "kind": a.kind, "enabled": a.enabled, "facts": a.facts} for a in kept.adapters]
    settings.adapters = json.dumps(entries, ensure_ascii=False)


def forget(avatar: bpy.types.Collection) -> None:
    """Keep nothing: an avatar without adapters needs no second copy of itself, and its splats no rows."""
    avatar.lookalike.kept, avatar.lookalike.adapters = b"", "[]"
    for obj in splats_of(avatar).values():
        if ORIGIN in obj.data.attributes:
            obj.data.attributes.remove(obj.data.attributes[ORIGIN])


def number(avatar: bpy.types.Collection) -> None:
    """Let each splat of the head know its row, the shoulders none: what is kept was gathered from the splats as they are."""
    for obj in splats_of(avatar).values():
        rows = np.arange(splat_count(obj), dtype=np.float32)
        rows[len(rows) - obj.lookalike.shoulders :] = -1
        write_attribute(obj.data, ORIGIN, "FLOAT", rows)


def adopt(avatar: bpy.types.Collection, read: Avatar) -> None:
    """Keep the adapters of an avatar file that has just been built."""
    if read.adapters:
        number(avatar)
        keep(avatar, bare(read))


def rows_of(obj: bpy.types.Object, count: int) -> I32:
    """[N] row in a kept level of `count` splats for each splat of the head, -1 where it has none.

    Raises:
        AvatarFileError: the rows are not known and splats were added or removed.
    """
    own = splat_count(obj) - obj.lookalike.shoulders
    if ORIGIN not in obj.data.attributes:
        if own == count:
            return np.arange(count, dtype=np.int32)
        raise AvatarFileError(f"{obj.name}: splats were added or removed that its adapters do not know", "undo that, or import it again")
    rows = read_attribute(obj.data, ORIGIN)[:own]
    known = np.isfinite(rows) & (rows >= 0) & (rows < count)
    return np.where(known, rows, -1).astype(np.int32)


def splat_count(obj: bpy.types.Object) -> int:
    """How many splats an object has, shoulders included."""
    return len(obj.data.attributes["position"].data)


def in_edit_mode(avatar: bpy.types.Collection) -> bool:
    """Whether its rig mesh or a level is in Edit Mode, where Blender holds what is stored in a copy of its own."""
    return any(obj is not None and obj.mode == "EDIT" for obj in (head_of(avatar), *splats_of(avatar).values()))


def check_editable(avatar: bpy.types.Collection) -> None:
    """Raises AvatarFileError where the avatar is linked, in Edit Mode, or has lost a part, so that its splats cannot be changed."""
    head, levels = head_of(avatar), splats_of(avatar)
    if head is None or not levels:
        raise AvatarFileError(f"{avatar.name}: has lost its {'splats' if head else 'rig'}", "undo the deletion or import it again")
    if any(block.library is not None for block in (avatar, *(b for obj in levels.values() for b in (obj, obj.data)))):
        raise AvatarFileError(f"{avatar.name}: is linked from another file", "append it, or do this in the file it comes from")
    if in_edit_mode(avatar):
        raise AvatarFileError(f"{avatar.name}: is in Edit Mode", "leave Edit Mode first")
