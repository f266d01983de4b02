"""Drivers that need Python as keys on every frame, for good or only while a copy of the file is saved.

Farms start Blender without running scripts of files, and such drivers then stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import bpy


def bake_scripted_drivers(scene: bpy.types.Scene, owner: bpy.types.ID) -> int:
    """Turn drivers of a data-block that need Python into keys on each frame of the scene. Returns how many."""
    drivers = _scripted(owner)
    if not drivers:
        return 0
    values: dict[tuple[str, int], list[float]] = {(curve.data_path, curve.array_index): [] for curve in drivers}
    frames = range(scene.frame_start, scene.frame_end + 1)
    current = scene.frame_current, scene.frame_subframe
    for frame in frames:
        scene.frame_set(frame)
        evaluated = owner.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for (path, index), taken in values.items():
            value = evaluated.path_resolve(path)
            taken.append(float(value if isinstance(value, int | float) else value[index]))
    for (path, index), taken in values.items():
        is_array = not isinstance(owner.path_resolve(path), int | float)
        owner.driver_remove(path, *((index,) if is_array else ()))
        _key(owner, path, index if is_array else None, frames, taken)
    scene.frame_set(current[0], subframe=current[1])
    return len(values)


@contextmanager
def drivers_kept(owners: Iterable[bpy.types.ID]) -> Iterator[None]:
    """Give data-blocks their scripted drivers and their action back at the end: what is keyed inside goes into a copy of the action."""
    keeper = bpy.data.objects.new("lookalike.drivers", None)  # has no user, so no file holds it
    kept = [_keep(owner, keeper) for owner in owners if _scripted(owner)]
    try:
        yield
    finally:
        for give_back in kept:
            give_back()
        bpy.data.objects.remove(keeper)


def _keep(owner: bpy.types.ID, keeper: bpy.types.Object) -> Callable[[], None]:
    animation, held = owner.animation_data, keeper.animation_data_create().drivers
    drivers = [held.from_existing(src_driver=curve) for curve in _scripted(owner)]
    action, slot = animation.action, getattr(animation, "action_slot", None)
    if action is not None:
        animation.action = action.copy()
        if slot is not None:
            animation.action_slot = animation.action.slots[slot.identifier]

    def give_back() -> None:
        baked, animation.action = animation.action, action
        if slot is not None:
            animation.action_slot = slot
        if baked is not None and baked != action:
            bpy.data.actions.remove(baked)
        for driver in drivers:
            animation.drivers.from_existing(src_driver=driver)

    return give_back


def _scripted(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    curves = owner.animation_data.drivers if owner.animation_data is not None else ()
    return [curve for curve in curves if curve.driver.type == "SCRIPTED" and not curve.driver.is_simple_expression]


def _key(owner: bpy.types.ID, path: str, index: int | None, frames: range, values: list[float]) -> None:
    """Set what a path of `owner` names to each value, and key it there."""
    read, write = _place(owner, path)
    for frame, value in zip(frames, values, strict=True):
        if index is None:
            write(type(read())(value))
            owner.keyframe_insert(path, frame=frame)
        else:
            read()[index] = value
            owner.keyframe_insert(path, index=index, frame=frame)


def _place(owner: bpy.types.ID, path: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """How to read and how to write the property at a path, which may be a custom one of the data-block or of a bone."""
    if path.endswith('"]'):
        parent, _, quoted = path.rpartition('["')
        holder, name = owner.path_resolve(parent) if parent else owner, bpy.utils.unescape_identifier(quoted[:-2])
        return lambda: holder[name], lambda value: holder.__setitem__(name, value)
    parent, _, name = path.rpartition(".")
    holder = owner.path_resolve(parent) if parent else owner
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value)
