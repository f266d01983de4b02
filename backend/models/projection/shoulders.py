"""What the matte shows beyond the rig: shoulders, clothes, long hair, as a relief that bulges like a body."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from backend.protocol.avatar import F32, RigArrays, SplatArrays
from backend.protocol.binding import quaternions
from backend.splats import rasterize_mesh

from .anatomy import Anatomy
from .gaussians import as_sh
from .labels import HAIR, SKIN, Labels, collar_rows
from .regions import carried_outwards, connected_parts, depth_inside
from .view import BORDER, View

BUDGET = 9000
FRONT_SHARE = 0.87
"""Of the budget; the rest closes the body from behind, coarsely."""
BULGE = 0.075
"""Metres between the relief's rim and its middle."""
OVERLAP, FLAT_OVERLAP = 0.62, 0.7
"""Standard deviation of a disc over its cell's side, in detail and in flat parts: there blur does not show, gaps do."""
BEHIND_NECK = 0.008
"""Metres that the relief keeps behind the neck's surface."""


@dataclass(frozen=True)
class _Relief:
    """Pixel maps [S, S] of the view: where splats go, how opaque but for the fade at its border, which is no detail to split
    cells for, their depth in metres and their colour [S, S, 3]."""

    region: NDArray[np.bool_]
    opacity: F32
    depth: F32
    color: F32


def build_shoulders(view: View, labels: Labels, posed: F32, rig: RigArrays, anatomy: Anatomy, buried: F32) -> SplatArrays:
    """Splats [<= 9000] for the person's pixels that the head's mesh leaves free, and a margin below the mesh.

    Args:
        posed: [V, 3] rig vertices as in the view. buried: [V] 1 where the mesh gives way to the shoulders.
    """
    relief = _relief(view, labels, posed, rig, anatomy, buried)
    if not relief.region.any():
        return _empty()
    front = _sample(view, relief, int(BUDGET * FRONT_SHARE), back=False)
    back = _sample(view, relief, BUDGET - int(BUDGET * FRONT_SHARE), back=True)
    hair = labels.probability[..., HAIR]
    splats = [_bound(part, view.at(hair, view.camera.project(part.position)) > 0.5, rig, anatomy) for part in (front, back)]
    return SplatArrays.concatenate(splats)


def _relief(view: View, labels: Labels, posed: F32, rig: RigArrays, anatomy: Anatomy, buried: F32) -> _Relief:
    size, width, chin = view.size, view.face_width, view.landmarks[152, 1]
    pixels = view.camera.project(posed)
    _, _, whole_depth = rasterize_mesh(pixels, rig.faces, size, size)
    _, _, head_depth = rasterize_mesh(pixels, rig.faces[(buried[rig.faces] < 0.5).all(1)], size, size)
    head = np.isfinite(head_depth)
    rows = np.arange(size)[:, None]
    free = (view.matte > 0.15) & ~head & view.inside
    free = _connected_below(free, int(min(chin + 0.1 * width, size - 1)))
    under_chin = head & (rows > chin + 0.12 * width)
    away = depth_inside(~head)
    beside = _ramp(away, 0.05 * width, 0.12 * width)
    below = _ramp(rows, chin - 0.30 * width, chin - 0.05 * width)
    thick = cv2.dilate((depth_inside(free | under_chin) > 0.025 * width).astype(np.uint8), _disc(0.03 * width)) > 0
    share = (np.maximum(below, beside) * thick).astype(np.float32)
    collar = np.minimum(collar_rows(view, labels), chin + 0.25 * width)[None]
    broad = cv2.morphologyEx(free.astype(np.uint8), cv2.MORPH_OPEN, _disc(0.05 * width)) > 0  # bare shoulders, not a strip beside the neck
    neck_rim = (labels.probability[..., SKIN] > 0.5) & (away < 0.06 * width) & (rows < collar + 0.03 * width) & ~broad
    body = free & (share > 0.02) & ~neck_rim
    under = head & (rows > chin) & (cv2.dilate((body & (rows > chin - 0.1 * width)).astype(np.uint8), _disc(0.16 * width)) > 0)
    under = (under | under_chin) & view.inside
    region = body | under
    opacity = np.where(under, 1, np.clip((view.matte - 0.3) / 0.6, 0, 1) * share)
    color = _continued_color(view, body, under, width)
    depth = _body_depth(view, posed, anatomy, region | head, head_depth, whole_depth, under, width)
    return _Relief(region, opacity.astype(np.float32), depth, color)


def _connected_below(free: NDArray[np.bool_], row: int) -> NDArray[np.bool_]:
    """Parts of a mask that reach below a row: the body, not a hand or a hat's tip above."""
    parts = connected_parts(free)
    wanted = np.unique(parts[row:])
    return np.isin(parts, wanted[wanted > 0])


def _border_fade(view: View) -> F32:
    """[S, S] soft end at the crop's sides and bottom instead of a cut."""
    size = view.size
    ramp = _ramp(np.arange(size), 0, BORDER * size)
    sides = np.minimum(ramp, ramp[::-1])
    return np.minimum(sides[None, :], ramp[::-1][:, None]).astype(np.float32)


def _continued_color(view: View, body: NDArray[np.bool_], under: NDArray[np.bool_], width: float) -> F32:
    """The body's colours, carried on smoothly under the head."""
    core = cv2.erode((body & (view.matte > 0.9)).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2) > 0
    core = core if core.sum() > 50 else body
    spread = carried_outwards(view.foreground, core)
    spread = cv2.GaussianBlur(spread, (0, 0), max(1.0, 0.05 * width))
    return np.where(under[..., None], spread, view.foreground).astype(np.float32)


def _body_depth(
    view: View,
    posed: F32,
    anatomy: Anatomy,
    person: NDArray,
    head_depth: F32,
    whole_depth: F32,
    under: NDArray,
    width: float,
) -> F32:
    """[S, S] metres from the camera: inflated about the neck's depth, smooth, always behind the neck's surface."""
    size = view.size
    base = anatomy.base > 0.5
    column = posed[base] if base.any() else posed[anatomy.neck > 0.5]
    column = column if len(column) else posed
    middle = float(view.camera.project(column)[:, 2].mean())
    reach = 0.9 * width
    padded = np.pad(person | (view.matte > 0.5), ((0, int(reach)), (int(reach), int(reach))), mode="edge")
    distance = np.minimum(depth_inside(padded), reach)[:size, int(reach) : int(reach) + size]
    distance = cv2.GaussianBlur(distance.astype(np.float32), (0, 0), 0.06 * width)
    depth = middle + 0.02 * anatomy.unit - (np.sqrt(distance / reach) * BULGE - 0.5 * BULGE) * anatomy.unit
    limit = np.where(np.isfinite(head_depth), head_depth + BEHIND_NECK * anatomy.unit, -np.inf)
    depth = np.where(under, np.clip(depth + 0.03, limit, limit + 0.027), depth)
    dressed_neck = np.isfinite(whole_depth) & ~np.isfinite(head_depth)
    depth = np.where(dressed_neck, whole_depth, depth)
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 0.03 * width)
    return np.maximum(depth, np.where(under, limit, -np.inf)).astype(np.float32)


@dataclass(frozen=True)
class _Placed:
    """Splats [N] in the model frame, not yet bound."""

    position: F32
    axes: F32
    scale: F32
    opacity: F32
    color: F32


def _sample(view: View, relief: _Relief, budget: int, back: bool) -> _Placed:
    """A regular grid over the relief, its discs lying in the surface; the back is the front mirrored in depth, dimmed."""
    pixels, step = _cells(view, relief, budget, uniform=back)
    smooth = _matched_color(relief.color, step, view, pixels)
    depth_map = relief.depth
    if back:
        depth_map = cv2.GaussianBlur(relief.depth, (0, 0), float(step.mean()))
        smooth = 0.75 * smooth
    depth = view.at(depth_map, pixels)
    metres = step * depth / view.camera.focal
    slope = [view.at(g, pixels) * view.camera.focal / depth for g in (np.gradient(depth_map, axis=1), np.gradient(depth_map, axis=0))]
    slope = np.clip(np.stack(slope, 1), -2.5, 2.5)
    one, zero = np.ones(len(pixels)), np.zeros(len(pixels))
    along_x = np.stack([one, zero, slope[:, 0]], 1)
    along_y = np.stack([zero, one, slope[:, 1]], 1)
    stretch = np.stack([np.linalg.norm(along_x, axis=1), np.linalg.norm(along_y, axis=1)], 1)
    first = along_x / stretch[:, :1]
    normal = np.cross(along_x, along_y)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    axes = np.stack([first, np.cross(normal, first), normal], 2)
    position = view.camera.unproject(np.concatenate([pixels, depth[:, None]], 1))
    if back:  # along the camera's axis, so that the back is as wide as the front; thin above the shoulders' line
        rear = float(np.percentile(relief.depth[relief.region], 98))
        torso = _ramp(pixels[:, 1], view.landmarks[152, 1] + 0.15 * view.face_width, view.landmarks[152, 1] + 0.4 * view.face_width)
        thickness = np.maximum(2 * (rear - depth) * torso, 0.01)
        position = position + view.camera.world_to_camera[2, :3] * thickness[:, None]
    return _Placed(
        position=position.astype(np.float32),
        axes=np.einsum("ji,njk->nik", view.camera.world_to_camera[:3, :3], axes).astype(np.float32),
        scale=np.concatenate([stretch * metres[:, None] * _overlap(step)[:, None], 0.15 * metres[:, None]], 1).astype(np.float32),
        opacity=np.clip(view.at(relief.opacity * _border_fade(view), pixels), 0, 0.97).astype(np.float32),
        color=np.clip(smooth, 0, 1).astype(np.float32),
    )


def _overlap(side: F32) -> F32:
    """[N] of each cell: the finest cells lie in detail, the coarsest in flat parts."""
    coarseness = np.clip(np.log2(side / max(float(side.min()), 1e-6)) / 2, 0, 1)
    return (OVERLAP + (FLAT_OVERLAP - OVERLAP) * coarseness).astype(np.float32)


def _cells(view: View, relief: _Relief, budget: int, uniform: bool) -> tuple[F32, F32]:
    """A quadtree over the region: cells are split while they hide detail, or all alike.

    Returns:
        centres: [N, 2] x, y in pixels, at most `budget`; side: [N] pixels.
    """
    gray = relief.color.mean(-1)
    detail = cv2.GaussianBlur(np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 0.006 * view.size)), (0, 0), 0.006 * view.size)
    rim = np.abs(relief.opacity - cv2.GaussianBlur(relief.opacity, (0, 0), 0.01 * view.size))
    worth = np.ones_like(gray) if uniform else detail + 0.3 * rim + 0.008
    area = float(relief.region.sum())
    coarse = max(1.0, np.sqrt(area / budget)) * (1.0 if uniform else 3.0)
    ticks = np.arange(coarse / 2, view.size, coarse)
    x, y = (g.ravel() for g in np.meshgrid(ticks, ticks))
    kernel = max(3, int(coarse)) | 1
    touched = cv2.dilate(relief.region.astype(np.uint8), np.ones((kernel, kernel), np.uint8)) > 0
    low, high = 1e-6, 1e4
    cells = None
    for _ in range(24):
        threshold = np.sqrt(low * high)
        tried = _split_cells(view, x, y, coarse, worth, touched, relief.region, threshold if not uniform else np.inf)
        if len(tried[0]) <= budget or uniform:
            cells, high = tried, threshold
        else:
            low = threshold
        if uniform:
            break
    centres, side = cells if cells is not None else tried
    pick = np.round(np.linspace(0, len(side) - 1, min(budget, len(side)))).astype(int)
    return centres[pick].astype(np.float32), side[pick].astype(np.float32)


def _split_cells(view, x, y, coarse, worth, touched, region, threshold) -> tuple[NDArray, NDArray]:
    """Split cells whose worth times side exceeds the threshold, down to one pixel; keep those in the region."""
    done_x, done_y, done_side, side = [], [], [], coarse
    while len(x):
        cell = np.clip(y.astype(int), 0, view.size - 1), np.clip(x.astype(int), 0, view.size - 1)
        wanted = touched[cell]
        x, y = x[wanted], y[wanted]
        cell = cell[0][wanted], cell[1][wanted]
        split = (worth[cell] * side > threshold) & (side > 1.2)
        keep = ~split & region[cell]
        done_x.append(x[keep])
        done_y.append(y[keep])
        done_side.append(np.full(keep.sum(), side))
        x, y, side = x[split], y[split], side / 2
        x, y = np.concatenate([x - side / 2, x + side / 2] * 2), np.repeat(np.concatenate([y - side / 2, y + side / 2]), 1)
        y = np.concatenate([y[: len(y) // 2], y[: len(y) // 2], y[len(y) // 2 :], y[len(y) // 2 :]])
    return np.stack([np.concatenate(done_x), np.concatenate(done_y)], 1), np.concatenate(done_side)


def _matched_color(picture: F32, side: F32, view: View, pixels: F32) -> F32:
    """[N, 3] colours smoothed as wide as each cell."""
    out = np.empty((len(pixels), 3), np.float32)
    for value in np.unique(side):
        own = side == value
        smooth = cv2.GaussianBlur(picture, (0, 0), 0.35 * float(value)) if value > 1.5 else picture
        out[own] = view.at(smooth, pixels[own])
    return out


def _bound(placed: _Placed, hair: NDArray[np.bool_], rig: RigArrays, anatomy: Anatomy) -> SplatArrays:
    """Bind hair beside the head to the nearest triangle of scalp or neck, the rest to the still base of the neck."""
    root = rig.weights[:, 0][rig.faces].min(1)
    still = np.flatnonzero(root > min(0.9999, root.max() - 1e-6))  # a triangle that tilts a little moves far splats a lot
    centres = rig.vertices[rig.faces].mean(1)
    still_top = rig.vertices[rig.faces[still], 1].max()
    skin = (np.minimum(anatomy.body, 1 - anatomy.face)[rig.faces] > 0.5).all(1)
    carriers = np.flatnonzero(skin)
    nearest_still = still[KDTree(centres[still]).query(placed.position)[1]]
    face = nearest_still
    if len(carriers):
        nearest = carriers[KDTree(centres[carriers]).query(placed.position)[1]]
        chin = rig.vertices[anatomy.landmark[152], 1] if anatomy.landmark[152] >= 0 else still_top + 0.07 * anatomy.unit
        face = np.where(hair & (placed.position[:, 1] > chin - 0.02 * anatomy.unit), nearest, nearest_still)
    return SplatArrays(
        position=placed.position, rotation=quaternions(placed.axes), scale=placed.scale, opacity=placed.opacity,
        sh=as_sh(placed.color), face=face.astype(np.int32), barycentric=np.full((len(face), 3), 1 / 3, np.float32),
    )  # fmt: skip


def _empty() -> SplatArrays:
    z = np.zeros((0, 3), np.float32)
    return SplatArrays(z, np.zeros((0, 4), np.float32), z, z[:, 0], z[:, None], np.zeros(0, np.int32), z)


def _ramp(values: NDArray, low: float, high: float) -> NDArray:
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _disc(radius: float) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(radius)) + 1,) * 2).astype(np.uint8)
