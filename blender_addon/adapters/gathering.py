"""An avatar of the open file with its adapters apart again: what is exported, and what a personalization begins from.

The user's edits (hidden splats, opacity, size) are factors over what is kept. Outside, in a file or at the backend, an avatar
is as it shows: edits are in its splats and in its adapters' differences alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..avatar import avatar_arrays
from ..avatar.frames import splats_from_blender
from ..avatar.host import read_attribute, read_splats
from ..avatar.parts import splats_of
from ..editing.edits import GAIN, HIDDEN, OWN_OPACITY, SIZE
from ..protocol import Avatar, SplatArrays, bind, deform
from ..protocol.adapters import FIELDS, base_of, with_adapters
from ..protocol.avatar import F32, Adapter, RigArrays
from .keeping import bare, keep, kept_avatar, number, rows_of


@dataclass(frozen=True)
class Edited:
    """The user's edits of a level's head: `own` [N] opacity without them, `fade` [N] 0 where hidden, `size` [N]."""

    own: F32
    fade: F32
    size: F32

    @staticmethod
    def of(obj: bpy.types.Object, opacity: F32) -> Edited:
        """Of a splat object whose head shows `opacity` [N]; linked ones too."""
        read = lambda name, default: _values(obj.data, name, default)
        hidden = read(HIDDEN, np.zeros_like(opacity)) > 0.5
        fade = np.where(hidden, np.float32(0), read(GAIN, np.ones_like(opacity)))
        return Edited(read(OWN_OPACITY, opacity), fade.astype(np.float32), read(SIZE, np.ones_like(opacity)))

    def put_on(self, splats: SplatArrays) -> SplatArrays:
        """Splats as they show."""
        opacity = np.clip(splats.opacity * self.fade, 0, 1)
        return replace(splats, opacity=opacity.astype(np.float32), scale=(splats.scale * self.size[:, None]).astype(np.float32))

    def taken_off(self, splats: SplatArrays) -> SplatArrays:
        """Inverse of `put_on`; what is hidden gets its own opacity."""
        opacity = np.where(self.fade > 0, splats.opacity / np.maximum(self.fade, 1e-6), self.own)
        return replace(splats, opacity=np.clip(opacity, 0, 1).astype(np.float32), scale=splats.scale / self.size[:, None])

    def difference_put_on(self, level: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """An adapter's difference to splats as they show."""
        return level | {
            "scale": _half(level["scale"].astype(np.float32) * self.size[:, None]),
            "opacity": _half(level["opacity"].astype(np.float32) * self.fade),
        }

    def difference_taken_off(self, level: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Inverse of `difference_put_on`; what is hidden keeps its opacity."""
        opacity = np.where(self.fade > 0, level["opacity"].astype(np.float32) / np.maximum(self.fade, 1e-6), 0)
        return level | {"scale": _half(level["scale"].astype(np.float32) / self.size[:, None]), "opacity": _half(opacity)}


def whole_avatar(collection: bpy.types.Collection) -> Avatar:
    """The avatar in its own frame as `avatar_arrays` gives it, with its adapters; edits are part of both.

    Adapters that the rig mesh has outgrown (faces were added or removed) are left out: what shows stays.

    Raises:
        AvatarFileError: it has lost a part, or what it keeps was tampered with.
    """
    return _gathered(collection, edited=True)[0]


def begin(collection: bpy.types.Collection) -> tuple[Avatar, Avatar, list[Edited]]:
    """Gather an avatar for a personalization, and remember its state, so that whatever shows meanwhile can be taken back.

    Returns:
        The avatar as it shows, to be sent; the same without edits, which is what is kept; and the edits of each level.
    """
    sent, _ = _gathered(collection, edited=True)
    plain, edits = _gathered(collection, edited=False)
    kept = bare(plain)
    number(collection)
    keep(collection, kept)
    return sent, kept, edits


def hold(collection: bpy.types.Collection) -> Avatar | None:
    """What is kept, with a row for each splat of the head as it lies at rest: before they are bound to other triangles (`renew`).

    None without adapters.
    """
    kept = kept_avatar(collection)
    if kept is None or not kept.adapters:
        return None
    bases, differences = [], []
    for level, obj in enumerate(splats_of(collection).values()):
        bound = read_splats(obj.data)
        sh = np.concatenate([bound.radiance[:, None, :3], bound.harmonics], 1)
        whole = SplatArrays(
            bound.position, bound.rotation, bound.scale, bound.radiance[:, 3].copy(), sh, bound.face, bound.barycentric
        )  # fmt: skip
        count = len(bound) - obj.lookalike.shoulders
        rest = splats_from_blender(SplatArrays(*(getattr(whole, name)[:count] for name in SplatArrays.__dataclass_fields__)))
        rows = rows_of(obj, len(base_of(kept)[level]))
        bases.append(_with_rows(Edited.of(obj, rest.opacity).taken_off(rest), base_of(kept)[level], rows))
        differences.append([_difference_of_rows(adapter, level, rows) for adapter in kept.adapters])
    adapters = [replace(a, levels=tuple(levels[i] for levels in differences)) for i, a in enumerate(kept.adapters)]
    return with_adapters(replace(kept, lods=tuple(bases), adapters=(), base=()), adapters)


def renew(collection: bpy.types.Collection, held: Avatar) -> None:
    """Keep what `hold` returned on the triangles that the splats are bound to now."""
    levels = []
    for obj, splats in zip(splats_of(collection).values(), base_of(held), strict=True):
        bound = read_splats(obj.data)
        levels.append(replace(splats, face=bound.face[: len(splats)], barycentric=bound.barycentric[: len(splats)]))
    rig = avatar_arrays(collection).rig
    number(collection)
    keep(collection, bare(with_adapters(replace(held, rig=rig, lods=tuple(levels), adapters=(), base=()), held.adapters)))


def same_mesh(kept: RigArrays, rig: RigArrays) -> bool:
    """Whether what is kept lies on triangles that are still there."""
    return len(kept.vertices) == len(rig.vertices) and np.array_equal(kept.faces, rig.faces)


def _gathered(collection: bpy.types.Collection, edited: bool) -> tuple[Avatar, list[Edited]]:
    shown, kept = avatar_arrays(collection), kept_avatar(collection)
    objects = list(splats_of(collection).values())
    edits = [Edited.of(obj, splats.opacity) for obj, splats in zip(objects, shown.lods, strict=True)]
    if kept is None or not same_mesh(kept.rig, shown.rig) or len(kept.lods) != len(objects):
        lods = shown.lods if edited else tuple(e.taken_off(s) for e, s in zip(edits, shown.lods, strict=True))
        return replace(shown, lods=lods), edits
    bases, differences = [], []
    for level, (obj, splats, edit) in enumerate(zip(objects, shown.lods, edits, strict=True)):
        own = base_of(kept)[level]
        rows = rows_of(obj, len(own))
        base = _with_rows(edit.taken_off(splats), _carried(own, kept.rig, shown.rig), rows)
        levels = [_difference_of_rows(adapter, level, rows) for adapter in kept.adapters]
        bases.append(edit.put_on(base) if edited else base)
        differences.append([edit.difference_put_on(each) for each in levels] if edited else levels)
    adapters = [replace(a, levels=tuple(levels[i] for levels in differences)) for i, a in enumerate(kept.adapters)]
    return with_adapters(replace(shown, lods=tuple(bases)), adapters), edits


def _with_rows(splats: SplatArrays, kept: SplatArrays, rows: np.ndarray) -> SplatArrays:
    """`splats`, those that have a row replaced by it."""
    known = np.flatnonzero(rows >= 0)
    arrays = {}
    for name in SplatArrays.__dataclass_fields__:
        values, own = np.array(getattr(splats, name)), getattr(kept, name)
        if values.shape[1:] == own.shape[1:]:  # what one of the two has not is not the adapters' business
            values[known] = own[rows[known]]
        arrays[name] = values
    return replace(splats, **arrays)


def _carried(splats: SplatArrays, before: RigArrays, now: RigArrays) -> SplatArrays:
    """Splats on a rig whose neutral vertices were moved since."""
    if np.array_equal(before.vertices, now.vertices):
        return splats
    position, rotation, scale = deform(bind(before, splats), now.vertices)
    return replace(splats, position=position, rotation=rotation, scale=scale)


def _difference_of_rows(adapter: Adapter, level: int, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The adapter's difference for the splats as they are; none for those without a row."""
    known = np.flatnonzero(rows >= 0)
    found = {}
    for name in FIELDS:
        values = adapter.levels[level][name]
        found[name] = np.zeros((len(rows), *values.shape[1:]), np.float16)
        found[name][known] = values[rows[known]]
    return found


def _values(data: bpy.types.ID, name: str, default: F32) -> F32:
    return read_attribute(data, name)[: len(default)] if name in data.attributes else default


def _half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16)
