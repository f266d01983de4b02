"""Measure how far the landmark net's depth is from true depth, on rendered heads whose depth is known.

``python -m backend.evaluation.depth_calibration HEADS.npz`` writes `backend/tracking/data/depth_calibration.csv`, which tracking
adds to the net's depth. The heads are other ones than those that `evaluate` measures by default.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.splats.mesh_raster import interpolate, rasterize_mesh
from backend.tracking import Face, default_tracker
from backend.tracking.depth import TABLE, mean_error
from backend.tracking.fit import eye_distance
from backend.tracking.matte import OVAL
from backend.tracking.mesh import SURFACE

from .ict_heads import SIZE, Head, head_camera, load_heads, make_head, shoot, studio, vertex_normals

SEEDS = range(100, 124, 2)
"""Even seeds: neutral faces."""

FACING = 0.45
OUTLIER = 0.05
USABLE = 0.7
FINE = 2
SMOOTHING = 0.1
"""Distances between the eyes."""


def main(heads: str) -> None:
    """Measure and write the table."""
    model = load_heads(heads)
    tracker = default_tracker()
    errors = []
    for seed in SEEDS:
        head = make_head(model, seed)
        (face,) = tracker.faces(shoot(head, 0.0).over(studio()))
        errors.append(depth_error(head, face))
        print(f"head {seed}: {np.isfinite(errors[-1]).sum()} landmarks", file=sys.stderr)
    table = np.array(errors)
    usable = np.isfinite(table).mean(0) > USABLE
    median = smoothed(np.nanmedian(np.where(usable, table, 0), 0), usable, face)
    median = (median + median[mirrored(face)]) / 2
    lines = [
        "# Depth that MediaPipe's attention mesh (0.10.21) lacks at each landmark, in distances between the eyes; larger is farther.",
        f"# Median over {len(SEEDS)} frontal renderings of ICT-FaceKit identities (MIT), smoothed, left and right averaged.",
        "# Written by backend/evaluation/depth_calibration.py.",
        "landmark,depth",
        *(f"{i},{v:.4f}" for i, v in enumerate(median)),
    ]
    Path(TABLE).write_text("\n".join(lines) + "\n", encoding="ascii")


def depth_error(head: Head, face: Face) -> NDArray:
    """[468] true minus the net's depth in distances between the eyes, less offset and tilt; NaN where skin is hidden or grazing."""
    camera = head_camera(0.0, SIZE * FINE)
    faces = head.model.faces
    skin = head.model.on("face") | head.model.on("head")
    faces = faces[skin[faces].all(1)]
    pixels = camera.pixels(head.vertices)
    face_id, barycentric, depth = rasterize_mesh(pixels, faces, camera.width, camera.height)
    facing = vertex_normals(head.vertices, head.model.faces) @ [0.0, 0.0, 1.0]
    bald = interpolate(face_id, barycentric, faces, (head.hair < 0.02).astype(np.float32))
    steep = interpolate(face_id, barycentric, faces, facing.astype(np.float32))
    landmarks = face.landmarks[:SURFACE].astype(float)
    column, row = np.clip((landmarks[:, :2] * FINE).astype(int), 0, camera.width - 1).T
    seen = (face_id[row, column] >= 0) & (steep[row, column] > FACING) & (bald[row, column] > 0.99)
    true = np.where(seen, depth[row, column], np.nan)
    mean = np.nanmean(true)
    unit = eye_distance(face)
    measured = landmarks[:, 2] - mean_error(face.landmarks)  # without the correction that this table makes
    error = ((true - mean) * camera.intrinsics[0, 0] / FINE / mean - measured) / unit
    plane = np.column_stack([np.ones(SURFACE), (landmarks[:, :2] - landmarks[:, :2].mean(0)) / unit])
    inner = seen & ~np.isin(np.arange(SURFACE), OVAL)
    rest = error
    for _ in range(5):  # a plane fitted to what lies near it: offset and tilt say nothing about the face
        keep = inner & (np.abs(np.where(seen, rest, np.inf)) < OUTLIER) if rest is not error else inner
        rest = error - plane @ np.linalg.lstsq(plane[keep], error[keep], rcond=None)[0]
    return rest


def smoothed(values: NDArray, usable: NDArray[np.bool_], face: Face) -> NDArray:
    """[468] averaged over their usable neighbours, so that no landmark stands out from the skin around it."""
    xy = face.landmarks[:SURFACE, :2].astype(float) / eye_distance(face)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    weight = np.exp(-0.5 * (distance / SMOOTHING) ** 2) * usable
    return weight @ values / weight.sum(1)


def mirrored(face: Face) -> NDArray[np.int64]:
    """[468] each landmark's partner, from a face seen straight on."""
    xy = face.landmarks[:SURFACE, :2].astype(float)
    middle = xy[[10, 151, 9, 8, 168, 6, 152]].mean(0)[0]
    flipped = np.column_stack([2 * middle - xy[:, 0], xy[:, 1]])
    from scipy.optimize import linear_sum_assignment

    distance = np.linalg.norm(xy[:, None] - flipped[None], axis=2)
    return linear_sum_assignment(distance**2)[1]


if __name__ == "__main__":
    main(sys.argv[1])
