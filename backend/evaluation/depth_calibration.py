"""Learn what the landmark net's depth lacks, on rendered heads whose depth is known.

``python -m backend.evaluation.depth_calibration HEADS.npz`` renders 900 people of an ICT-FaceKit file with varied
faces, views and lights, and writes `backend/tracking/data/depth_regression.safetensors`, which tracking applies. No head
that `evaluate` measures is among them: all are mixed anew. About half an hour on two cores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.spatial import KDTree

from backend.rig.builtin.landmarks import neutral_landmarks
from backend.splats import interpolate, rasterize_mesh
from backend.tracking.depth import COUNT, TABLE, DepthRegression, upright
from backend.tracking.mediapipe_torch import TorchTracker
from backend.tracking.mesh import SURFACE

from .ict_heads import Head, HeadModel, Shot, load_heads, studio, vertex_normals
from .varied_heads import shoot_varied, varied_head

F64 = NDArray[np.float64]

FACING = 0.4
BARE = 0.95
"""Least cosine towards the camera, and least share of bare skin, at which a pixel's depth is a landmark's."""
OUTLIER = 0.35
"""Distances between the eyes: a landmark farther off lies on another surface than the one that is seen."""
USABLE = 0.15
"""Share of the heads that must show a landmark for it to be learned; the others go with their nearest neighbour."""

COMPONENTS, RIDGE = 100, 450.0
"""More of either fits the rendered heads better (0.88 mm inner face with a ridge of 100, 0.90 with this one) and brings the heads that
two photos of one real person give farther apart (3.3 mm against 3.2, without the regression 2.7)."""
RANK, ROUNDS = 15, 30
"""How hidden landmarks are filled in from the seen ones before the regression."""


@dataclass(frozen=True)
class Samples:
    """What was seen: landmarks [N, 478, 3] upright, missing depth [N, 468] and where it is known [N, 468], distances between the eyes."""

    landmarks: F64
    missing: F64
    known: NDArray[np.bool_]

    def mirrored(self) -> Samples:
        """Each sample and its mirror image."""
        mirror = neutral_landmarks().mirror
        irises = [473, 474, 475, 476, 477, 468, 469, 470, 471, 472]
        flipped = self.landmarks[:, np.concatenate([mirror, irises])] * [-1.0, 1.0, 1.0]
        return Samples(
            np.concatenate([self.landmarks, flipped]),
            np.concatenate([self.missing, self.missing[:, mirror]]),
            np.concatenate([self.known, self.known[:, mirror]]),
        )


@click.command()
@click.argument("heads", type=click.Path(exists=True, dir_okay=False))
@click.option("--count", default=900, show_default=True, help="How many heads.")
@click.option("--first", default=0, show_default=True, help="Seed of the first.")
@click.option("--samples", type=click.Path(dir_okay=False), help="Keep what was measured in this .npz, and go on from it.")
@click.option("--output", default=str(TABLE), show_default=True, type=click.Path(dir_okay=False))
def main(heads: str, count: int, first: int, samples: str | None, output: str) -> None:
    """Render, measure, learn, write."""
    model, tracker = load_heads(heads), TorchTracker(corrected=False)
    seen = _read(samples)
    for seed in track(range(first, first + count), "heads"):
        if str(seed) in seen:
            continue
        measured = sample(model, seed, tracker)
        if measured is not None:
            seen[str(seed)] = measured
        if samples and seed % 20 == 0:
            _write(samples, seen)
    if samples:
        _write(samples, seen)
    rows = np.array(list(seen.values()))
    landmarks, missing = np.split(rows, [COUNT * 3], axis=1)
    learned = learn(Samples(landmarks.reshape(-1, COUNT, 3), np.nan_to_num(missing), ~np.isnan(missing)))
    learned.save(Path(output))
    click.echo(f"learned from {len(rows)} heads: {output}")


def sample(model: HeadModel, seed: int, tracker: TorchTracker) -> F64 | None:
    """[478 * 3 + 468] upright landmarks and their missing depth, NaN where it is not known; None where no face was found."""
    head, view = varied_head(model, seed)
    shot = shoot_varied(head, view)
    faces = tracker.faces(shot.over(studio()))
    if len(faces) != 1:
        return None
    landmarks = faces[0].landmarks.astype(np.float64)
    points, unit = upright(faces[0].landmarks)
    depth, known = true_depth(head, shot, landmarks[:SURFACE, :2])
    middle = depth[known].mean()
    missing = (depth - middle) * shot.camera.intrinsics[0, 0] / middle / unit - points[:SURFACE, 2]
    missing = np.where(known, missing - np.median(missing[known]), np.nan)
    return np.concatenate([points.reshape(-1), np.where(np.abs(missing) < OUTLIER, missing, np.nan)])


def true_depth(head: Head, shot: Shot, pixels: NDArray) -> tuple[F64, NDArray[np.bool_]]:
    """Depth [L] in metres of what the picture shows at pixels [L, 2], and where that is bare skin seen well."""
    model, camera = head.model, shot.camera
    face_id, barycentric, depth = rasterize_mesh(camera.pixels(head.vertices), model.faces, camera.width, camera.height)
    column, row = np.clip(pixels.astype(int), 0, camera.width - 1).T
    bare = (head.hair < 1 - BARE) & (model.on("face") | model.on("head"))
    attributes = np.column_stack([vertex_normals(head.vertices, model.faces), bare]).astype(np.float32)
    seen = interpolate(face_id, barycentric, model.faces, attributes)[row, column]
    facing = -(seen[:, :3] @ camera.world_to_camera[2, :3])
    return depth[row, column].astype(np.float64), (face_id[row, column] >= 0) & (facing > FACING) & (seen[:, 3] > BARE)


def learn(samples: Samples) -> DepthRegression:
    """Ridge regression from the landmarks' principal components to the missing depth, left and right alike."""
    samples = samples.mirrored()
    seen = samples.known.mean(0)
    missing = (samples.missing * samples.known).sum(0) / np.maximum(samples.known.sum(0), 1)
    rest = _filled(samples.missing - missing, samples.known)
    flat = samples.landmarks.reshape(len(samples.landmarks), -1)
    mean = flat.mean(0)
    _, singular, components = np.linalg.svd(flat - mean, full_matrices=False)
    count = min(COMPONENTS, len(flat) // 4)
    components, spread = components[:count], singular[:count] / np.sqrt(len(flat))
    amount = (flat - mean) @ components.T / spread
    weights = np.linalg.solve(amount.T @ amount + RIDGE * np.eye(count), amount.T @ rest)
    source = _neighbours(seen > USABLE)
    return DepthRegression(mean, components, spread, missing[source], weights[:, source])


def _filled(values: F64, known: NDArray[np.bool_]) -> F64:
    """[N, L] with unknown values guessed from the known ones by a low rank, drawn a little to the mean."""
    filled = np.where(known, values, 0.0)
    for _ in range(ROUNDS):
        left, singular, right = np.linalg.svd(filled, full_matrices=False)
        low = (left[:, :RANK] * singular[:RANK]) @ right[:RANK]
        filled = np.where(known, values, 0.9 * low)
    return filled


def _neighbours(usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[468] for each landmark the nearest usable one on a neutral face: itself where it is usable."""
    place = neutral_landmarks().positions
    source = np.arange(len(place))
    source[~usable] = np.flatnonzero(usable)[KDTree(place[usable]).query(place[~usable])[1]]
    return source


def _read(path: str | None) -> dict[str, F64]:
    if path is None or not Path(path).exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write(path: str, seen: dict[str, F64]) -> None:
    partial = Path(path).with_suffix(".part.npz")
    np.savez(partial, allow_pickle=False, **seen)
    os.replace(partial, path)


if __name__ == "__main__":
    main()
