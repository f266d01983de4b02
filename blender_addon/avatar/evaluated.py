"""Read the splats that Blender has evaluated for the current frame, as fast as RNA allows: for drawing and export.

This is on the viewport's critical path. Budget: 3 ms for 89k splats, measured in tests/blender/avatar/test_evaluated.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from ..protocol.avatar import F32, SH_C0
from .colour_nodes import follows_face
from .frame_sequence import plays
from .host import RADIANCE, read_attribute


def splat_objects(objects: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """The splat objects among `objects`, e.g. ``view_layer.objects`` or ``scene.objects``; hidden ones too.

    Levels of avatars, and clouds without a rig (imported splat files).
    """
    return [o for o in objects if o.lookalike.role in {"SPLATS", "CLOUD"} and o.data is not None]


def read_evaluated(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> dict[str, F32]:
    """Splats of `obj` as evaluated in `depsgraph`, in the object's own space (multiply by ``matrix_world`` to place them).

    Returns:
        position [N, 3] metres, rotation [N, 4] wxyz, scale [N, 3] metres, rgb [N, 3] display-referred and unclamped,
        opacity [N]: float32, fresh arrays.
    Raises:
        LookupError: the object is not evaluated there (hidden), or its splats were edited away.
    """
    return read_pose(obj, depsgraph) | read_appearance(shown_data(obj, depsgraph))


def read_pose(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> dict[str, F32]:
    """What moves: position, rotation and scale, as `read_evaluated` gives them."""
    data = obj.evaluated_get(depsgraph).data
    if data == obj.data:  # what Blender gives for an object that it did not evaluate: the splats at rest
        raise LookupError(f"{obj.name}: is not evaluated, probably hidden")
    return {name: read_attribute(data, name) for name in ("position", "rotation", "scale")}


def shown_data(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.ID:
    """The data-block that has the colours which an object shows: its own, or the evaluated one where they change by themselves."""
    return obj.evaluated_get(depsgraph).data if changes_colour(obj) else obj.data


def changes_colour(obj: bpy.types.Object) -> bool:
    """Whether colours change from frame to frame: those of a sequence, or such as follow the face."""
    return plays(obj) or follows_face(obj)


def read_appearance(data: bpy.types.ID) -> dict[str, F32]:
    """What does not move with the rig: rgb and opacity of a data-block. Read once and keep until the data changes."""
    radiance = read_attribute(data, RADIANCE)
    return {"rgb": radiance[:, :3] * np.float32(SH_C0) + np.float32(0.5), "opacity": np.ascontiguousarray(radiance[:, 3])}
