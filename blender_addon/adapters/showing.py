"""Putting splats of a kept avatar into the objects of the file: in place, so that keys, binding, materials and edits stay.

The kept splats are bound to the rig mesh as it was when they were gathered. The objects' binding knows triangles by the size
that they had at their own rest (`REST`), so lengths in a triangle's frame are divided by the ratio of the two: then

    k' * (centre / m) = k * centre,  m = size when gathered / size at rest,  k and k' the stretch from either.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from ..avatar.binding_nodes import REST
from ..avatar.bound_splats import BoundSplats, bind_splats, rest_inverse
from ..avatar.frames import points_to_blender, splats_to_blender
from ..avatar.host import RADIANCE, read_attribute, read_splats, write_attribute, write_splats
from ..avatar.parts import head_of, splats_of
from ..avatar.rig_objects import rest_mesh
from ..editing.edits import OWN_OPACITY
from ..protocol import Avatar, AvatarFileError, SplatArrays
from ..protocol.avatar import F32, RigArrays
from .gathering import Edited
from .keeping import rows_of


def bound_levels(kept: Avatar) -> list[BoundSplats]:
    """Each level of a kept avatar, bound to its own rig mesh, in Blender's frame; 0.1 s for 89k splats, may run in a thread."""
    return [bound_level(kept.rig, splats) for splats in kept.lods]


def bound_level(rig: RigArrays, splats: SplatArrays) -> BoundSplats:
    """One level of it."""
    return bind_splats(points_to_blender(rig.vertices), rig.faces, splats_to_blender(splats))


def check_mesh(collection: bpy.types.Collection, rig: RigArrays) -> None:
    """Raises AvatarFileError where the rig mesh has other triangles than a kept avatar's."""
    head = head_of(collection)
    vertices, faces = rest_mesh(head) if head is not None else (np.zeros((0, 3)), np.zeros((0, 3)))
    if len(vertices) != len(rig.vertices) or not np.array_equal(faces, rig.faces):
        message = f"{collection.name}: its rig mesh has other faces than its adapters were learned on"
        raise AvatarFileError(message, "undo the edits of its rig mesh")


def show_levels(collection: bpy.types.Collection, rig: RigArrays, levels: Iterable[tuple[int, BoundSplats]]) -> None:
    """Write levels, by their place among those that the avatar has.

    Raises:
        AvatarFileError: splats or faces were added or removed since.
    """
    check_mesh(collection, rig)
    objects, kept_rest = list(splats_of(collection).values()), rest_inverse(points_to_blender(rig.vertices), rig.faces)
    chosen = [(objects[level], bound) for level, bound in levels if level < len(objects)]
    rows = [rows_of(obj, len(bound)) for obj, bound in chosen]  # all, before any is changed
    rest = read_attribute(head_of(collection).data, REST)
    for (obj, bound), index in zip(chosen, rows, strict=True):
        _write(obj, bound, index, rest, kept_rest)


def _write(obj: bpy.types.Object, bound: BoundSplats, rows: np.ndarray, rest: F32, kept_rest: F32) -> None:
    data = obj.data
    now = read_splats(data)
    known = np.flatnonzero(rows >= 0)
    rows = rows[known]
    edits = Edited.of(obj, now.radiance[: len(now) - obj.lookalike.shoulders, 3])
    ratio = _ratio(rest, kept_rest, bound.face[rows])
    size = edits.size[known, None]
    for name, values in (
        ("position", bound.position[rows]),
        ("rotation", _alike(bound.rotation[rows], now.rotation[known])),
        ("scale", bound.scale[rows] * size),
        ("harmonics", bound.harmonics[rows]),
        ("face", bound.face[rows]),
        ("centre", bound.centre[rows] / ratio),
        ("barycentric", bound.barycentric[rows]),
        ("local_rotation", _alike(bound.local_rotation[rows], now.local_rotation[known])),
        ("spread", bound.spread[rows] * size[:, None] ** 2 / ratio[:, None] ** 2),
    ):
        getattr(now, name)[known] = values
    now.radiance[known, :3] = bound.radiance[rows, :3]
    now.radiance[known, 3] = np.clip(bound.radiance[rows, 3] * edits.fade[known], 0, 1)
    write_splats(data, now)
    write_attribute(data, RADIANCE, data.attributes[RADIANCE].data_type, now.radiance)
    if OWN_OPACITY in data.attributes:
        own = read_attribute(data, OWN_OPACITY)
        own[known] = bound.radiance[rows, 3]
        write_attribute(data, OWN_OPACITY, "FLOAT", own)
    data.update_tag()


def _alike(rotation: F32, now: F32) -> F32:
    """[N, 4] of a quaternion and its negative, which turn alike, the one nearer to what is there."""
    return rotation * np.where((rotation * now).sum(1, keepdims=True) < 0, np.float32(-1), np.float32(1))


def _ratio(rest: F32, kept_rest: F32, face: np.ndarray) -> F32:
    """[N, 3] how much larger a splat's triangle was when it was gathered than at the objects' rest."""
    base, height = (rest[face, :2] / kept_rest[face, :2]).T
    return np.stack([base, height, np.sqrt(base * height)], 1)
