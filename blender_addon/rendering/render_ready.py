"""Make a shot ready for a farm: everything native, paths relative, every file listed that must be copied.

Below 5.3 an avatar's shot is rendered by Blender's own nodes, drivers and materials, so there are no caches: all of it lies in
the .blend. What would still need Python are drivers with scripted expressions; those are turned into keys. The backend is
never asked for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..avatar.parts import avatar_objects, find_avatars
from ..protocol import LookalikeError
from .preparation import prepare_scenes
from .support import stops_rendering

LIST_NAME = "Lookalike Render Files"
"""Text data-block that holds the list of files."""


@dataclass(frozen=True)
class RenderReady:
    """What was done.

    Attributes:
        blend: the file to hand to the farm.
        files: the other files that it needs, absolute.
        outside: those of them that do not lie in the .blend's folder or below it: their relative paths must stay as they are.
        baked: animated properties that became keys.
    """

    blend: Path
    files: tuple[Path, ...]
    outside: tuple[Path, ...]
    baked: int


def make_render_ready(context: bpy.types.Context, save: bool = True) -> RenderReady:
    """Prepare the open file's scenes, bake what needs Python, make paths relative, list files and save.

    Raises:
        LookalikeError: the file was never saved, a file that it needs is missing, or avatars would be missing from its frames.
    """
    if not bpy.data.filepath:
        raise LookalikeError("The file has no folder yet, so nothing can be relative to it", "save it first")
    scene = context.scene
    if not find_avatars(scene):
        raise LookalikeError(f"The scene {scene.name} shows no avatar", "import or create one first")
    prepare_scenes()
    reasons = stops_rendering(scene)
    if reasons:
        raise LookalikeError(*_sentence(reasons))
    missing = [path for path in external_files() if not path.exists()]
    if missing:
        names = ", ".join(path.name for path in missing[:3])
        raise LookalikeError(
            f"{len(missing)} files of this shot are missing: {names}", "find them with File > External Data, or remove their users"
        )
    baked = sum(bake_scripted_drivers(scene, owner) for owner in _animated(scene))
    bpy.ops.file.make_paths_relative()
    files = tuple(external_files())
    blend = Path(bpy.data.filepath)
    outside = tuple(path for path in files if not path.is_relative_to(blend.parent))
    _write_list(blend, files)
    if save:
        bpy.ops.wm.save_mainfile()
    return RenderReady(blend, files, outside, baked)


def external_files() -> list[Path]:
    """Every file that Blender itself would look for when it renders: textures, libraries, caches, fonts, sounds, sequences."""
    found = {Path(path) for path in bpy.utils.blend_paths(absolute=True, packed=False, local=False)}
    # Of an avatar's own file only the name is remembered: nothing of it is read when frames are rendered.
    sources = {Path(bpy.path.abspath(c.lookalike.source_path, library=c.library)) for c in bpy.data.collections if c.lookalike.source_path}
    return sorted(path for path in found - sources if path != Path(bpy.data.filepath) and not _empty_cache(path))


def _empty_cache(path: Path) -> bool:
    """Whether this is the folder that Blender would use for caches of a particle system, and there are none (see `invisible`)."""
    return path.name.startswith("blendcache_") and not path.exists()


def bake_scripted_drivers(scene: bpy.types.Scene, owner: bpy.types.ID) -> int:
    """Turn drivers of a data-block that need Python into keys on each frame of the scene. Returns how many.

    Farms start Blender without running scripts of files, and such drivers then stand still.
    """
    drivers = [curve for curve in owner.animation_data.drivers if _needs_python(curve.driver)]
    if not drivers:
        return 0
    values: dict[tuple[str, int], list[float]] = {(curve.data_path, curve.array_index): [] for curve in drivers}
    frames = range(scene.frame_start, scene.frame_end + 1)
    current = scene.frame_current
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
    scene.frame_set(current)
    return len(values)


def _needs_python(driver: bpy.types.Driver) -> bool:
    return driver.type == "SCRIPTED" and not driver.is_simple_expression


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


def _animated(scene: bpy.types.Scene) -> Iterator[bpy.types.ID]:
    """Data-blocks of the scene's avatars that may have drivers and can be changed."""
    for collection in find_avatars(scene):
        for obj in avatar_objects(collection):
            for owner in (obj, obj.data, getattr(obj.data, "shape_keys", None)):
                if owner is not None and owner.library is None and owner.animation_data is not None:
                    yield owner


def _write_list(blend: Path, files: tuple[Path, ...]) -> None:
    text = bpy.data.texts.get(LIST_NAME) or bpy.data.texts.new(LIST_NAME)
    text.clear()
    text.write("\n".join(str(path) for path in (blend, *files)) + "\n")


def _sentence(reasons: list[str]) -> tuple[str, str]:
    """Message and remedy of the first reason, and how many more there are."""
    message, _, remedy = reasons[0].partition(": ")
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"The shot would not render right: {message}{more}", remedy
