"""The data-block that carries splats: attributes on points, and which kind of data-block this Blender offers.

Up to 5.2 it is a Mesh with vertices only: point clouds cannot be filled from Python below 5.1, and a mesh keeps files
readable from 4.2 to 5.2 and back. Where Blender has a Gaussian splat type (5.3), it is that (see `native`). The names of
the drawn attributes are Blender 5.3's own in both cases: position, rotation, scale, radiance:base, radiance:sh_<k>.
"""

from __future__ import annotations

import bpy
import numpy as np

from . import native
from .bound_splats import BoundSplats

RADIANCE = "radiance:base"
FACE = "lookalike:face"
CENTRE = "lookalike:centre"
BARYCENTRIC = "lookalike:barycentric"
LOCAL_ROTATION = "lookalike:rotation"
ORIGIN = "lookalike:origin"
"""The row of what an avatar keeps of its adapters, a whole number as a float; only on avatars that have any (see `adapters`)."""
PATTERN = "lookalike:pattern_"
"""Patterns of colour that follow the face, numbered from 0, in units of the degree-0 harmonics (see `colour_nodes`)."""
LINEAR_SLOPE = tuple(f"lookalike:linear_slope_{channel}" for channel in "rgb")
LINEAR_CURVE = tuple(f"lookalike:linear_curve_{channel}" for channel in "rgb")
"""How the scene-linear colour grows with each displayed channel at each splat's own colour; only where there are patterns."""
SPREAD = ("lookalike:spread_x", "lookalike:spread_y", "lookalike:spread_z")

_VALUE_KEYS = {"FLOAT_VECTOR": "vector", "FLOAT_COLOR": "color", "FLOAT4": "vector"}
_WIDTHS = {"FLOAT_VECTOR": 3, "FLOAT_COLOR": 4, "FLOAT4": 4, "QUATERNION": 4}


def splat_data(name: str, bound: BoundSplats) -> bpy.types.ID:
    """A new data-block holding the rest splats and their binding."""
    if native.available():
        data = native.new_cloud(name, len(bound))
        write_attribute(data, RADIANCE, "FLOAT4", bound.radiance)
    else:
        data = bpy.data.meshes.new(name)
        data.vertices.add(len(bound))
        # FLOAT_COLOR rather than 5.2's FLOAT4: raw floats as well, and the file still opens in 4.2.
        write_attribute(data, RADIANCE, "FLOAT_COLOR", bound.radiance)
        _quieten(data, bound.position)
    write_splats(data, bound)
    data.update_tag()
    return data


def _quieten(mesh: bpy.types.Mesh, position: np.ndarray) -> None:
    """Add one short edge. Blender draws a black dot for every vertex of a mesh without any edge, and none otherwise."""
    if len(position) > 1:
        shortest = int(np.linalg.norm(np.diff(position, axis=0), axis=1).argmin())
        mesh.edges.add(1)
        mesh.edges.foreach_set("vertices", np.array([shortest, shortest + 1], np.int32))


def write_splats(data: bpy.types.ID, bound: BoundSplats) -> None:
    """Write everything but the radiance, whose type depends on the data-block."""
    write_attribute(data, "position", "FLOAT_VECTOR", bound.position)
    write_attribute(data, "rotation", "QUATERNION", bound.rotation)
    write_attribute(data, "scale", "FLOAT_VECTOR", bound.scale)
    for k in range(bound.harmonics.shape[1]):
        write_attribute(data, f"radiance:sh_{k}", "FLOAT_VECTOR", bound.harmonics[:, k])
    write_attribute(data, FACE, "INT", bound.face)
    write_attribute(data, CENTRE, "FLOAT_VECTOR", bound.centre)
    write_attribute(data, BARYCENTRIC, "FLOAT_VECTOR", bound.barycentric)
    write_attribute(data, LOCAL_ROTATION, "QUATERNION", bound.local_rotation)
    for row, name in enumerate(SPREAD):
        write_attribute(data, name, "FLOAT_VECTOR", bound.spread[:, row])
    for k in range(bound.patterns.shape[1]):
        write_attribute(data, f"{PATTERN}{k}", "FLOAT_VECTOR", bound.patterns[:, k])


def pattern_count(data: bpy.types.ID) -> int:
    """How many patterns of colour a data-block's splats have."""
    count = 0
    while f"{PATTERN}{count}" in data.attributes:
        count += 1
    return count


def write_attribute(data: bpy.types.ID, name: str, data_type: str, values: np.ndarray, domain: str = "POINT") -> None:
    """Create or overwrite one attribute with values [N] or [N, C]."""
    attribute = data.attributes.get(name) or data.attributes.new(name, data_type, domain)
    wanted = np.int32 if data_type == "INT" else np.float32
    attribute.data.foreach_set(_VALUE_KEYS.get(data_type, "value"), np.ascontiguousarray(values, wanted).ravel())


def read_splats(data: bpy.types.ID) -> BoundSplats:
    """What `splat_data` wrote. Raises LookupError where an attribute is gone."""
    degrees = 0
    while f"radiance:sh_{degrees}" in data.attributes:
        degrees += 1
    harmonics = [read_attribute(data, f"radiance:sh_{k}") for k in range(degrees)]
    position = read_attribute(data, "position")
    patterns = [read_attribute(data, f"{PATTERN}{k}") for k in range(pattern_count(data))]
    return BoundSplats(
        position=position,
        rotation=read_attribute(data, "rotation"),
        scale=read_attribute(data, "scale"),
        radiance=read_attribute(data, RADIANCE),
        harmonics=np.stack(harmonics, 1) if harmonics else np.zeros((len(position), 0, 3), np.float32),
        face=read_attribute(data, FACE),
        centre=read_attribute(data, CENTRE),
        barycentric=read_attribute(data, BARYCENTRIC),
        local_rotation=read_attribute(data, LOCAL_ROTATION),
        spread=np.stack([read_attribute(data, name) for name in SPREAD], 1),
        patterns=np.stack(patterns, 1) if patterns else None,
    )


def read_attribute(data: bpy.types.ID, name: str) -> np.ndarray:
    """Values of one attribute, [N] or [N, C], float32 or int32. Raises LookupError where there is none."""
    attribute = data.attributes.get(name)
    if attribute is None:
        raise LookupError(f"{data.name}: has no attribute {name!r}")
    width = _WIDTHS.get(attribute.data_type)
    count = len(attribute.data)
    values = np.empty((count, width) if width else count, np.int32 if attribute.data_type == "INT" else np.float32)
    attribute.data.foreach_get(_VALUE_KEYS.get(attribute.data_type, "value"), values.ravel())
    return values
