"""What an animator clicks: rings around neck and jaw, discs before the eyes, instead of octahedra inside the head."""

from __future__ import annotations

import bpy
import numpy as np

from ..protocol import RigArrays

_SEGMENTS = 64
_LINE_WIDTH = 1.5
_COLOURS = {"root": "THEME09", "neck": "THEME04", "jaw": "THEME03", "eye_left": "THEME01", "eye_right": "THEME01"}


def dress_bones(obj: bpy.types.Object, rig: RigArrays) -> None:
    """Give the five standard bones a shape outside the head's surface; other bones keep Blender's own."""
    width = float(np.ptp(rig.vertices[:, 0]))
    circle = circle_shape()
    # Fraction along the bone, and radius in metres: bone shapes are scaled by the bone's length otherwise.
    rings = {"root": (0.0, 0.9 * width), "neck": (0.0, 0.55 * width), "jaw": (1.1, 0.25 * width)}
    eyes = [rig.joint_names.index(name) for name in ("eye_left", "eye_right")]
    apart = float(np.linalg.norm(np.subtract(*rig.joints[eyes])))
    rings |= {"eye_left": (1.0, 0.28 * apart), "eye_right": (1.0, 0.28 * apart)}
    for name, (along, radius) in rings.items():
        bone = obj.pose.bones[name]
        bone.custom_shape = circle
        bone.use_custom_shape_bone_size = False
        bone.custom_shape_scale_xyz = (radius, radius, radius)
        bone.custom_shape_translation = (0, along * bone.bone.length, 0)
        bone.bone.show_wire = True
        if hasattr(bone, "custom_shape_wire_width"):
            bone.custom_shape_wire_width = _LINE_WIDTH
        bone.color.palette = _COLOURS[name]


def circle_shape() -> bpy.types.Object:
    """A unit circle in the plane across a bone, shared by all avatars of the file; in no scene."""
    name = "lookalike.bone.circle"
    existing = bpy.data.objects.get((name, None)) if name in bpy.data.objects else None
    if existing is not None and existing.type == "MESH":
        return existing
    angles = 2 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    points = np.stack([np.cos(angles), np.zeros(_SEGMENTS), np.sin(angles)], 1)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points.tolist(), [(i, (i + 1) % _SEGMENTS) for i in range(_SEGMENTS)], [])
    return bpy.data.objects.new(name, mesh)
