"""The installed add-on, and the synthetic avatar in an otherwise empty scene, looked at from a fixed place."""

from __future__ import annotations

import sys
from types import ModuleType

import bpy
import driving
from mathutils import Euler

PACKAGE = "bl_ext.user_default.lookalike"


def part(name: str) -> ModuleType:
    """A module of the running add-on, e.g. ``viewport``."""
    __import__(f"{PACKAGE}.{name}")
    return sys.modules[f"{PACKAGE}.{name}"]


def empty_scene() -> None:
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    driving.plain_view()


def import_avatar(name: str = "synthetic") -> bpy.types.Collection:
    """As File > Import does it."""
    before = set(bpy.data.collections)
    with bpy.context.temp_override(window=driving.window(), area=driving.view_area(), region=driving.region()):
        bpy.ops.lookalike.import_avatar(filepath=str(driving.HERE.parent / f"{name}.lookalike"))
    return next(c for c in set(bpy.data.collections) - before if c.lookalike.is_avatar)


def look(turn: float = 0.6, nod: float = 1.4, distance: float = 0.6, centre=(0.0, 0.0, -0.03)) -> None:
    """Orbit to a place: `turn` about the vertical, `nod` from above, radians and metres."""
    region = driving.space().region_3d
    region.view_perspective = "PERSP"
    region.view_rotation = Euler((nod, 0, turn)).to_quaternion()
    region.view_location, region.view_distance = centre, distance


def look_at(head: bpy.types.Object, turn: float = 0.0, distance: float = 0.75) -> None:
    """The face from the front, or `turn` radians from its side."""
    points = [head.matrix_world @ vertex.co for vertex in head.data.vertices]
    middle = [0.5 * (min(p[axis] for p in points) + max(p[axis] for p in points)) for axis in range(3)]
    look(turn, 1.5707963, distance, middle)


def hide_rig(collection: bpy.types.Collection) -> None:
    """Only the splats are to be seen: bones and bounds are lines of Blender's overlay."""
    driving.space().overlay.show_bones = False
    driving.space().overlay.show_extras = False


def view_matrices() -> dict[str, list]:
    region, size = driving.space().region_3d, driving.region()
    return {
        "view": [list(row) for row in region.view_matrix],
        "projection": [list(row) for row in region.window_matrix],
        "size": [size.width, size.height],
    }


def uploads() -> dict[str, int]:
    """The viewport's counters."""
    status = part("viewport").status
    names = ("draws", "geometry_uploads", "appearance_uploads", "order_uploads", "synchronous_sorts", "splats")
    return {name: getattr(status, name) for name in names} | {"last_error": status.last_error}


def settle(seconds: float = 0.6) -> driving.Steps:
    """Redraw until sorts have come back."""
    driving.redraw()
    yield seconds
    driving.redraw()
    yield seconds
