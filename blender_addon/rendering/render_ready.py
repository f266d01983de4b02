"""Make a shot ready for a farm: everything native, paths relative, every file listed that must be copied.

Below 5.3 an avatar's shot is rendered by Blender's own nodes, drivers and materials, so there are no caches: all of it lies in
the .blend. What would still need Python are drivers with scripted expressions; those are turned into keys. The backend is
never asked for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bpy

from ..avatar.parts import avatar_objects, find_avatars
from ..protocol import LookalikeError
from .baked_drivers import bake_scripted_drivers, drivers_kept
from .preparation import prepare_scenes
from .support import stops_rendering

LIST_NAME = "Lookalike Render Files"
"""Text data-block that holds the list of files."""

SUFFIX = "_render"
"""End of the name of the copy that a farm gets."""

Into = Literal["COPY", "FILE", "OPEN"]


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


def make_render_ready(context: bpy.types.Context, into: Into = "COPY") -> RenderReady:
    """Prepare the open file's scenes, bake what needs Python, make paths relative, list files and save.

    Args:
        into: "COPY" saves a copy beside the file, ``NAME_render.blend``: neither the file nor the drivers of the open one change.
            "FILE" saves the file itself; "OPEN" changes the open file and leaves saving to the user.
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
    blend = copy_of(Path(bpy.data.filepath)) if into == "COPY" else Path(bpy.data.filepath)
    bpy.ops.file.make_paths_relative()
    files = tuple(external_files())
    _write_list(blend, files)
    owners = list(_animated(scene))
    with drivers_kept(owners) if into == "COPY" else nullcontext():
        baked = sum(bake_scripted_drivers(scene, owner) for owner in owners)
        if into == "COPY":
            bpy.ops.wm.save_as_mainfile(filepath=str(blend), copy=True)
        elif into == "FILE":
            bpy.ops.wm.save_mainfile()
    outside = tuple(path for path in files if not path.is_relative_to(blend.parent))
    return RenderReady(blend, files, outside, baked)


def copy_of(blend: Path) -> Path:
    """Where the copy of a .blend for the farm goes: beside it, so that relative paths hold."""
    return blend.with_name(f"{blend.stem}{SUFFIX}.blend")


def external_files() -> list[Path]:
    """Every file that Blender itself would look for when it renders: textures, libraries, caches, fonts, sounds, sequences."""
    found = {Path(path) for path in bpy.utils.blend_paths(absolute=True, packed=False, local=False)}
    # Of an avatar's own file only the name is remembered: nothing of it is read when frames are rendered.
    sources = {Path(bpy.path.abspath(c.lookalike.source_path, library=c.library)) for c in bpy.data.collections if c.lookalike.source_path}
    return sorted(path for path in found - sources if path != Path(bpy.data.filepath) and not _empty_cache(path))


def _empty_cache(path: Path) -> bool:
    """Whether this is the folder that Blender would use for caches of a particle system, and there are none (see `invisible`)."""
    return path.name.startswith("blendcache_") and not path.exists()


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
