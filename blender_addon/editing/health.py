"""What is wrong with an avatar that a user should know of, as a panel shows it. Budget of `problems`: 100 microseconds."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import bpy

from ..avatar import armature_of, head_of, native, splats_of
from ..avatar.binding_nodes import CHANGES_VERTICES, MODIFIER_NAME, get_input
from ..protocol import FORMAT_VERSION

_LOOK_AGAIN = 5.0
_files: dict[str, tuple[float, bool]] = {}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: "newer", "older", "edited", "modifier", "binding", "rig", "splats" or "file".
        text: what is wrong, in a sentence for the panel.
        operator: idname of what mends it, or "".
    """

    kind: str
    text: str
    operator: str = ""


def problems(avatar: bpy.types.Collection) -> list[Problem]:
    """What is wrong with an avatar, the most serious first; empty where all is well."""
    found = []
    if avatar.lookalike.format_version > FORMAT_VERSION:
        found.append(Problem("newer", "Made by a newer Lookalike: it plays, but update the add-on before you edit or export it"))
    head, levels = head_of(avatar), splats_of(avatar)
    if armature_of(avatar) is None or head is None:
        return [*found, Problem("rig", "It has lost its armature or rig mesh: undo, or import the avatar again")]
    if not levels:
        found.append(Problem("splats", "It has lost its splats or their binding: undo, or import the avatar again"))
    if any(_unlike(obj, head) for obj in levels.values()):
        found.append(Problem("edited", "Vertices of the rig mesh were added or removed, so the splats stand still", "lookalike.rebind"))
    if native.available() and any(obj.type == "MESH" for obj in levels.values()):
        found.append(Problem("older", "Its splats were stored by an older Blender, which had none of its own", "lookalike.make_native"))
    changing = [m.name for m in head.modifiers if m.type in CHANGES_VERTICES and m.show_viewport]
    if changing:
        found.append(
            Problem("modifier", f"The modifier {changing[0]} changes the rig mesh's vertices, so the splats stand still: turn it off")
        )
    if any(not obj.modifiers[MODIFIER_NAME].show_viewport for obj in levels.values() if MODIFIER_NAME in obj.modifiers):
        found.append(Problem("binding", "The binding modifier of its splats is turned off in the viewport"))
    if avatar.lookalike.source_path and not _is_there(avatar):
        name = bpy.path.basename(avatar.lookalike.source_path)
        found.append(
            Problem(
                "file",
                f"{name} is gone. Nothing in this .blend needs it; export the avatar to have a file again",
                "lookalike.export_avatar",
            )
        )
    return found


def _unlike(obj: bpy.types.Object, head: bpy.types.Object) -> bool:
    """Whether the rig mesh has another number of vertices or faces than the splats were bound to."""
    modifier = obj.modifiers[MODIFIER_NAME]
    expected = (get_input(modifier, "Vertices"), get_input(modifier, "Faces"))
    return expected != (len(head.data.vertices), len(head.data.polygons))


def _is_there(avatar: bpy.types.Collection) -> bool:
    """Whether the avatar's file exists, asked at most every few seconds: a share may be slow."""
    path = bpy.path.abspath(avatar.lookalike.source_path, library=avatar.library)
    asked, there = _files.get(path, (0.0, True))
    if time.monotonic() - asked > _LOOK_AGAIN or not asked:
        there = os.path.exists(path)
        _files[path] = (time.monotonic(), there)
    return there
