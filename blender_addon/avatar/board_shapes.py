"""What an animator clicks beside and before the face: a face, a grid and a target, drawn as thin lines."""

from __future__ import annotations

import bpy
import numpy as np

_WIDTH = 1.5


def dress_board(armature: bpy.types.Object, head: bpy.types.Object) -> None:
    """Give the board's bones their shapes, sized to the head."""
    width = float(head.dimensions.x) or 0.2
    for name, shape, size, palette in (
        ("face", _shape("face", face_lines()), 0.16 * width, "THEME03"),
        ("arkit", _shape("grid", grid_lines()), 0.12 * width, "THEME09"),
        ("gaze", _shape("target", target_lines()), 0.35 * width, "THEME01"),
        ("gaze_left", _shape("dot", ring(0.5)), 0.15 * width, "THEME01"),
        ("gaze_right", _shape("dot", ring(0.5)), 0.15 * width, "THEME01"),
    ):
        bone = armature.pose.bones[name]
        bone.custom_shape = shape
        bone.use_custom_shape_bone_size = False
        bone.custom_shape_scale_xyz = (size, size, size)
        if name.startswith("gaze"):  # these point forward: the drawing, made for bones that point up, is laid across them
            bone.custom_shape_rotation_euler = (np.pi / 2, 0, 0)
        bone.bone.show_wire = True
        if hasattr(bone, "custom_shape_wire_width"):
            bone.custom_shape_wire_width = _WIDTH
        bone.color.palette = palette


Lines = tuple[np.ndarray, np.ndarray]
"""Points [N, 2] across and along the bone, and edges [M, 2]."""


def ring(radius: float, middle: tuple[float, float] = (0.0, 0.0), start: float = 0.0, turn: float = 2 * np.pi, count: int = 32) -> Lines:
    """A circle, or an arc where `turn` is less than a whole one."""
    closed = turn >= 2 * np.pi
    angles = start + turn * np.arange(count) / (count if closed else count - 1)
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + middle
    edges = np.stack([np.arange(count), (np.arange(count) + 1) % count], 1)
    return points, edges if closed else edges[:-1]


def joined(*parts: Lines) -> Lines:
    """Several drawings as one."""
    starts = np.cumsum([0, *(len(points) for points, _ in parts)])
    edges = [edges + start for (_, edges), start in zip(parts, starts, strict=False)]
    return np.concatenate([points for points, _ in parts]), np.concatenate(edges)


def face_lines() -> Lines:
    """A smiling face."""
    smile = ring(0.55, (0, 0.05), 1.15 * np.pi, 0.7 * np.pi, 16)
    return joined(ring(1.0), ring(0.13, (-0.36, 0.3), count=12), ring(0.13, (0.36, 0.3), count=12), smile)


def grid_lines() -> Lines:
    """A board of sliders."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    frame = corners, np.array([(0, 1), (1, 2), (2, 3), (3, 0)])
    sliders = [
        joined((np.array([(x, -0.7), (x, 0.7)]), np.array([(0, 1)])), ring(0.14, (x, y), count=10))
        for x, y in ((-0.5, -0.3), (0, 0.35), (0.5, 0.0))
    ]
    return joined(frame, *sliders)


def target_lines() -> Lines:
    """A ring with a cross, wide enough to lie around both eyes' own rings."""
    cross = np.array([(-1.2, 0), (-0.8, 0), (0.8, 0), (1.2, 0), (0, -1.2), (0, -0.8), (0, 0.8), (0, 1.2)], float)
    return joined(ring(1.0), (cross, np.arange(8).reshape(4, 2)))


def _shape(name: str, lines: Lines) -> bpy.types.Object:
    """A mesh of lines across X and along Y of a bone, shared by all avatars of the file; in no scene."""
    name = f"lookalike.bone.{name}"
    existing = bpy.data.objects.get((name, None)) if name in bpy.data.objects else None
    if existing is not None and existing.type == "MESH":
        return existing
    points, edges = lines
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(x, y, 0.0) for x, y in points.tolist()], edges.tolist(), [])
    return bpy.data.objects.new(name, mesh)
