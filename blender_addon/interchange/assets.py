"""Avatars in the asset browser: the collection marked as an asset, with a picture of the head."""

from __future__ import annotations

import json

import bpy
import numpy as np
from bpy.types import Operator

from ..operators.base import OnAvatar
from ..operators.reporting import reported

SIZE = 256
"""Pixels of the preview's sides."""
HEAD_VIEW, FACE_VIEW = -25.0, -10.0
"""Degrees about the vertical: a whole head from half left, a face almost from the front."""
FACE_MARGIN = 1.25
"""How much more than the moving part of the face is seen."""
HOLE = 6.0
"""Pixels of depth between a surface and what is seen through a hole in it."""
FACE_SHARE = 0.5
"""A vertex belongs to the face where an expression moves it by this share of what it moves any."""


class LOOKALIKE_OT_mark_asset(OnAvatar, Operator):
    """Make the avatar an asset, with a picture of its head, so that it can be dragged into scenes from the asset browser"""

    bl_idname = "lookalike.mark_asset"
    bl_label = "Mark Avatar as Asset"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        mark_asset(avatar)
        return self.tell("{name} is an asset of this file; save it in an asset library's folder", name=avatar.name)


def mark_asset(avatar: bpy.types.Collection) -> None:
    """Mark an avatar's collection as an asset; description and author come from its provenance.

    Raises:
        AvatarFileError: it is linked, or has lost its splats.
    """
    from ..protocol import AvatarFileError

    if avatar.library is not None:
        raise AvatarFileError(f"{avatar.name}: is linked", "mark it in its own file")
    avatar.asset_mark()
    facts = json.loads(avatar.lookalike.provenance or "{}")
    about = avatar.asset_data
    about.description = "Gaussian head avatar" + (f", {facts['model']}" if facts.get("model") else "")
    about.license = str(facts.get("consent", ""))[:1000]
    for tag in ("lookalike", "avatar", "head"):
        about.tags.new(tag, skip_if_exists=True)
    set_preview(avatar, avatar)


def set_preview(block: bpy.types.ID, avatar: bpy.types.Collection, face: bool = False) -> None:
    """Give a data-block a picture of the avatar as it stands, for the asset browser; `face` comes nearer and sees it from the front.

    Raises:
        AvatarFileError: the avatar has lost its splats.
    """
    picture = head_picture(avatar, face=face)
    preview = block.preview_ensure()
    preview.image_size = (SIZE, SIZE)
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(picture[::-1]).ravel())


def head_picture(avatar: bpy.types.Collection, size: int = SIZE, face: bool = False) -> np.ndarray:
    """[size, size, 4] straight alpha, top row first: the head from half left, or the face, each splat a disc, back to front.

    Drawn in numpy, so that it works in background and on every Blender. About 0.4 s.
    """
    from .posed import posed_cloud

    depsgraph = bpy.context.evaluated_depsgraph_get()
    cloud = posed_cloud(avatar, depsgraph)
    angle = np.radians(FACE_VIEW if face else HEAD_VIEW)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    fine = 2 * size
    place = cloud.position @ turn.T
    shown = _face_points(avatar) @ turn.T if face else place
    low, high = np.percentile(shown, 0.5, axis=0), np.percentile(shown, 99.5, axis=0)
    span = float(max(high[0] - low[0], high[1] - low[1], 1e-6)) * (FACE_MARGIN if face else 1.04)
    pixel = ((place[:, :2] - (low + high)[:2] / 2) / span + 0.5) * fine
    radius = np.clip(1.5 * np.sort(cloud.scale, axis=1)[:, 1] / span * fine, 0.7, 6)
    rgb = np.clip(cloud.sh[:, 0] * 0.28209479177387814 + 0.5, 0, 1)
    picture = np.zeros((fine, fine, 4), np.float32)
    order = np.argsort(place[:, 2], kind="stable")
    order = order[cloud.opacity[order] > 0.3]
    reach = int(np.ceil(radius.max(initial=1)))
    steps = [(dx, dy) for dx in range(-reach, reach + 1) for dy in range(-reach, reach + 1)]
    depth = np.full((fine, fine), -np.inf, np.float32)
    column, row = pixel[order].astype(int).T
    for dx, dy in steps:
        inside = (radius[order] ** 2 >= dx * dx + dy * dy) & (column + dx >= 0) & (column + dx < fine) & (row + dy >= 0) & (row + dy < fine)
        chosen = order[inside]
        x, y, z = column[inside] + dx, fine - 1 - row[inside] - dy, place[chosen, 2].astype(np.float32)
        np.maximum.at(depth, (y, x), z)
        front = z >= depth[y, x]
        picture[y[front], x[front], :3] = rgb[chosen[front]]
        picture[y[front], x[front], 3] = 1
    _close_holes(picture, depth, HOLE * span / fine)
    return picture.reshape(size, 2, size, 2, 4).mean((1, 3))


def _close_holes(picture: np.ndarray, depth: np.ndarray, gap: float) -> None:
    """Where most neighbours lie nearer than a pixel by more than `gap`, it shows what is behind the surface: it gets their mean."""
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    for _ in range(2):
        nearer = np.stack([np.roll(depth, shift, (0, 1)) > depth + gap for shift in shifts]).astype(np.float32)
        count = nearer.sum(0)
        hole = count >= 5
        colors = np.stack([np.roll(picture, shift, (0, 1)) for shift in shifts])
        depths = np.stack([np.where(near > 0, np.roll(depth, shift, (0, 1)), 0) for near, shift in zip(nearer, shifts, strict=True)])
        picture[hole] = ((colors * nearer[..., None]).sum(0)[hole]) / count[hole][:, None]
        depth[hole] = depths.sum(0)[hole] / count[hole]


def _face_points(avatar: bpy.types.Collection) -> np.ndarray:
    """[N, 3] rest vertices of the rig mesh that expressions move, in the avatar's frame: brows to chin."""
    from ..avatar import expression_keys, head_of, rest_mesh
    from ..avatar.frames import points_from_blender

    head = head_of(avatar)
    rest = rest_mesh(head)[0]
    moved = np.zeros(len(rest), np.float32)
    values = np.empty((len(rest), 3), np.float32)
    for key in expression_keys(head):
        key.data.foreach_get("co", values.ravel())
        distance = np.linalg.norm(values - rest, axis=1)
        moved = np.maximum(moved, distance / max(float(distance.max(initial=0)), 1e-9))
    chosen = moved > FACE_SHARE
    return points_from_blender(rest[chosen] if chosen.any() else rest)


CLASSES = (LOOKALIKE_OT_mark_asset,)
