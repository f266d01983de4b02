"""Diffuse light of a scene on an avatar's surface, for the viewport: what EEVEE and Cycles compute themselves in final frames.

Lambert's law with Blender's units (intern/cycles/scene/light.cpp): a sun of strength E gives E W/m2; a point or spot light of
P watts has the intensity P / 4 pi; an area light the radiance P / 4 A. No shadows, and no light from meshes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector

from ..avatar.host import LOCAL_ROTATION, read_attribute
from ..protocol.avatar import F32
from ..protocol.binding import quaternion_product
from .look import to_display, to_linear
from .quads import LOCAL_NORMAL

_DOWN = Vector((0, 0, -1))


@dataclass(frozen=True)
class Lamp:
    """One light: `light` is its colour times E (sun), P / 4 pi (point, spot) or P / 4 (area); `towards` points out of it."""

    kind: str
    place: tuple[float, float, float]
    towards: tuple[float, float, float]
    light: tuple[float, float, float]
    cone: float = -1.0
    blend: float = 0.0


@dataclass(frozen=True)
class Lighting:
    """All light of a scene. `world` is its radiance, equal from everywhere."""

    lamps: tuple[Lamp, ...]
    world: tuple[float, float, float]


def scene_lighting(depsgraph: bpy.types.Depsgraph) -> Lighting:
    """The lights that shine in a view layer, and the world's colour (0.02 ms a light)."""
    scene = depsgraph.scene
    lamps = (
        _lamp(obj.evaluated_get(depsgraph))
        for obj in scene.objects
        if obj.type == "LIGHT" and obj.visible_get(view_layer=depsgraph.view_layer)
    )
    return Lighting(tuple(lamps), _world(scene.world))


def relit(display: F32, strength: float, normals: F32, positions: F32, lighting: Lighting) -> F32:
    """Display-referred colours [N, 3], their own light replaced in part by that of the scene.

    Args:
        normals, positions: [N, 3] in world space, normals of unit length.
    """
    light = np.tile(np.float32(lighting.world), (len(positions), 1))
    for lamp in lighting.lamps:
        light += _received(lamp, normals, positions)[:, None] * np.float32(lamp.light) / np.float32(np.pi)
    own = to_linear(display)
    return to_display(own * (1 - strength + strength * light))


def splat_normals(obj: bpy.types.Object, rotation: F32) -> F32 | None:
    """[N, 3] normals of the rig at the posed splats, in the object's space; None where the splats do not know them."""
    if LOCAL_NORMAL not in obj.data.attributes:
        return None
    local = read_attribute(obj.data, LOCAL_ROTATION) * np.float32([1, -1, -1, -1])
    turn = quaternion_product(rotation, local)
    normal = read_attribute(obj.data, LOCAL_NORMAL)
    twice = 2 * np.cross(turn[:, 1:], normal)
    return normal + turn[:, :1] * twice + np.cross(turn[:, 1:], twice)


def signature(lighting: Lighting, matrix: object) -> Hashable:
    """Changes when the light on an avatar changes."""
    return lighting, tuple(tuple(row) for row in matrix)


def _lamp(obj: bpy.types.Object) -> Lamp:
    light, matrix = obj.data, obj.matrix_world
    towards = tuple((matrix.to_3x3() @ _DOWN).normalized())
    power = light.energy * 2.0 ** getattr(light, "exposure", 0.0)
    power /= {"SUN": 1.0, "AREA": 4.0}.get(light.type, 4 * np.pi)
    colour = tuple(channel * float(power) for channel in light.color)
    if light.type == "SPOT":
        return Lamp("SPOT", tuple(matrix.translation), towards, colour, float(np.cos(light.spot_size / 2)), light.spot_blend)
    return Lamp(light.type, tuple(matrix.translation), towards, colour)


def _received(lamp: Lamp, normals: F32, positions: F32) -> F32:
    """[N] how much of a lamp's light falls on each splat: the cosine, the distance and the lamp's own shape."""
    out = np.float32(lamp.towards)
    if lamp.kind == "SUN":
        return np.maximum(normals @ -out, 0.0)
    way = np.float32(lamp.place) - positions
    squared = np.maximum(np.einsum("nc,nc->n", way, way), 1e-6)
    way /= np.sqrt(squared)[:, None]
    received = np.maximum(np.einsum("nc,nc->n", normals, way), 0.0) / squared
    leaving = -(way @ out)
    if lamp.kind == "AREA":
        received *= np.maximum(leaving, 0.0)
    elif lamp.kind == "SPOT":
        edge = max((1 - lamp.cone) * lamp.blend, 1e-6)
        inside = np.clip((leaving - lamp.cone) / edge, 0.0, 1.0)
        received *= inside * inside * (3 - 2 * inside)
    return received


def _world(world: bpy.types.World | None) -> tuple[float, float, float]:
    """The world's radiance where it is one colour; its grey average cannot be had from a texture, so that counts as its colour."""
    if world is None:
        return (0.0, 0.0, 0.0)
    background = next((n for n in world.node_tree.nodes if n.type == "BACKGROUND"), None) if world.node_tree else None
    if background is None:
        return tuple(world.color)
    strength = background.inputs["Strength"].default_value
    return tuple(channel * strength for channel in background.inputs["Color"].default_value[:3])
