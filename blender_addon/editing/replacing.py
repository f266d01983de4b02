"""Putting another set of splats into a splat object, with binding and edits; and removing hidden splats for good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import bpy
import numpy as np

from ..avatar.bound_splats import BoundSplats
from ..avatar.host import ORIGIN, read_attribute, read_splats, splat_data, write_attribute
from ..interchange.cloud_objects import cloud_object, read_cloud_object
from ..protocol import AvatarFileError
from ..protocol.interchange.cloud import change_axes
from ..rendering.preparation import prepare_scenes
from .edits import GAIN, HIDDEN, OWN_OPACITY, SIZE, Edits


def take_bound(bound: BoundSplats, index: np.ndarray) -> BoundSplats:
    """The splats that an index names."""
    return BoundSplats(*(np.ascontiguousarray(getattr(bound, field.name)[index]) for field in fields(bound)))


def join_bound(parts: list[BoundSplats]) -> BoundSplats:
    """Several sets as one."""
    count = max(part.patterns.shape[1] for part in parts)
    same = [replace(part, patterns=np.pad(part.patterns, ((0, 0), (0, count - part.patterns.shape[1]), (0, 0)))) for part in parts]
    return BoundSplats(*(np.concatenate([getattr(part, field.name) for part in same]) for field in fields(BoundSplats)))


def replace_splats(obj: bpy.types.Object, bound: BoundSplats, shoulders: int, states: dict[str, np.ndarray]) -> None:
    """Give a level of an avatar other splats; the last `shoulders` are the shoulders, `states` are attributes of edits."""
    data = splat_data(obj.data.name, bound)
    for name, values in states.items():
        write_attribute(data, name, "FLOAT", values)
    _swap(obj, data)
    obj.lookalike.shoulders = shoulders
    prepare_scenes()


def edit_states(obj: bpy.types.Object) -> dict[str, np.ndarray]:
    """Attributes of the edits that an object has, and the splats' rows where the avatar has adapters."""
    return {name: read_attribute(obj.data, name) for name in (OWN_OPACITY, HIDDEN, GAIN, SIZE, ORIGIN) if name in obj.data.attributes}


def remove_hidden(objects: Iterable[bpy.types.Object]) -> int:
    """Remove what is hidden for good, which makes files smaller and drawing faster. Returns how many splats went.

    Raises:
        AvatarFileError: nothing would be left of an object; nothing is changed then.
    """
    chosen = list(objects)
    keeps = {obj: ~Edits(obj).hidden for obj in chosen}
    empty = next((obj for obj, keep in keeps.items() if not keep.any()), None)
    if empty is not None:
        raise AvatarFileError(f"{empty.name}: all its splats are hidden", "show some, or delete the object")
    return sum(_remove(obj, keep) for obj, keep in keeps.items() if not keep.all())


def _remove(obj: bpy.types.Object, keep: np.ndarray) -> int:
    index = np.flatnonzero(keep)
    states = {name: values[index] for name, values in edit_states(obj).items()}
    if obj.lookalike.role == "CLOUD":
        cloud = change_axes(read_cloud_object(obj).take(index), "z-up", "y-up")
        made = cloud_object(obj.data.name, cloud)
        data = made.data
        bpy.data.objects.remove(made)
        for name, values in states.items():
            write_attribute(data, name, "FLOAT", values)
        _swap(obj, data)
    else:
        shoulders = int(keep[len(keep) - obj.lookalike.shoulders :].sum()) if obj.lookalike.shoulders else 0
        replace_splats(obj, take_bound(read_splats(obj.data), index), shoulders, states)
    return int(len(keep) - len(index))


def _swap(obj: bpy.types.Object, data: bpy.types.ID) -> None:
    old, name = obj.data, obj.data.name
    if type(old) is not type(data):  # a mesh of an older Blender, where this one has splat clouds; objects cannot change their type
        bpy.data.batch_remove([data])
        raise AvatarFileError(
            f"{obj.name}: its splats were stored by an older Blender", "import the avatar again, or edit it in that Blender"
        )
    obj.data = data
    if old.users == 0:
        bpy.data.batch_remove([old])
    data.name = name
