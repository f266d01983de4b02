"""Reconstruct heads of known geometry from their frontal picture, and measure shape and turned views."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from backend.protocol.avatar import F32, Avatar, SplatArrays
from backend.protocol.binding import quaternion_product, quaternions
from backend.protocol.errors import FaceError
from backend.rig import pose_vertices
from backend.splats import Camera, interpolate, pose_splats, rasterize_mesh, render_splats

from .ict_heads import SIZE, Head, load_heads, make_head, shoot, studio, vertex_normals
from .metrics import psnr, silhouette_iou, ssim

if TYPE_CHECKING:
    import os

    from backend.models.interface import Reconstructor
    from backend.rig import Rig
    from backend.tracking.portrait import Portrait
    from backend.tracking.tracker import Tracker

# Parts of a rig that the truth's face skin must not be matched to.
_NOT_SKIN = ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "mouth_cavity")
_ICP_STEPS = 25
# Farther than this from any surface point, the distance itself is the error: the plane is another part's.
_PLANE_REACH = 0.006
# Rows below the inner face's lowest pixel that still count as head, in pixels of 768.
_CHIN_MARGIN = 25
_PHOTO_STEPS = 10
_BY_YAW = ("psnr", "ssim", "whole_head_psnr", "silhouette_iou", "psnr_by_surface")


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured.

    Attributes:
        identities: seeds of `make_head`.
        yaws: degrees.
        lod: level of detail that is rendered; None is the finest.
    """

    identities: Sequence[int] = tuple(range(10))
    yaws: Sequence[float] = (0, 15, 30, 45)
    lod: int | None = None


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: NDArray
    translation: NDArray

    def __call__(self, points: NDArray) -> NDArray:
        return self.scale * points @ self.rotation.T + self.translation

    def then(self, other: Similarity) -> Similarity:
        return Similarity(other.scale * self.scale, other.rotation @ self.rotation, other(self.translation))

    def splats(self, splats: SplatArrays) -> SplatArrays:
        """Splats carried along (degree-0 colours; higher bands would have to be rotated)."""
        turn = np.repeat(quaternions(self.rotation[None].astype(np.float32)), len(splats), 0)
        return replace(
            splats,
            position=self(splats.position).astype(np.float32),
            rotation=quaternion_product(turn, splats.rotation).astype(np.float32),
            scale=(splats.scale * self.scale).astype(np.float32),
        )


def evaluate(
    path: str | os.PathLike[str],
    reconstructor: Reconstructor,
    rig: Rig,
    options: EvaluationOptions | None = None,
    tracker: Tracker | None = None,
    report: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Reconstruct each head from its frontal picture through the whole pipeline and measure it.

    Args:
        path: file of heads, see `load_heads`.
        reconstructor, rig: what is measured.
        tracker: measures the portraits; the default one when None.
        report: called after each head with its number, how many there are, and its figures.

    A head that cannot be tracked or reconstructed is one more thing to know of the model: its entry has ``error`` (the
    code), ``message`` and ``remedy`` instead of figures, and the others are measured all the same.

    Returns:
        JSON-able: ``summary`` (means over the heads that were measured), ``heads`` (one entry each: see `measure`),
        ``failed`` (how many could not be), ``options``.

    Raises:
        RigError: the file cannot be used.
        WeightsError: the nets are not installed.
    """
    from backend.models.interface import Silent

    options = options or EvaluationOptions()
    model = load_heads(path)
    entries = []
    for number, seed in enumerate(options.identities):
        started = time.perf_counter()
        head = make_head(model, seed)
        try:
            avatar = reconstructor.reconstruct([_portrait_of(head, seed, tracker)], rig, Silent())
        except FaceError as error:
            entry = {"identity": seed, "error": error.code, "message": error.message, "remedy": error.remedy}
        else:
            seconds = time.perf_counter() - started
            entry = {"identity": seed, "seconds": round(seconds, 2), **measure(head, avatar, options, skin_vertices(rig))}
        entries.append(entry)
        if report is not None:
            report(number + 1, len(options.identities), entry)
    return {
        "summary": summarize(entries),
        "heads": entries,
        "failed": sum("error" in entry for entry in entries),
        "options": {
            "identities": list(options.identities), "yaws": list(options.yaws), "lod": options.lod,
            "model": reconstructor.name, "rig": rig.rig_id, "size": SIZE,
        },
    }  # fmt: skip


def _portrait_of(head: Head, seed: int, tracker: Tracker | None) -> Portrait:
    """The head's frontal picture, tracked as any photo is."""
    from backend.tracking import Photo, make_portrait

    picture = shoot(head, 0).over(studio())
    return make_portrait(Photo(picture, None, hashlib.sha256(picture.tobytes()).hexdigest(), None), f"head-{seed}", tracker=tracker)


def measure(head: Head, avatar: Avatar, options: EvaluationOptions | None = None, skin: NDArray | None = None) -> dict[str, Any]:
    """Compare an avatar, posed as its first driver says, with the head it was made from.

    One picture tells neither size nor distance, so the avatar is brought to the truth by a similarity first. For
    the surface it is the one of iterated closest points over the inner face. For the pictures it is the one that
    brings together what both show at the same pixel of the photo (`align_by_photo`): closest points may slide along
    the surface, which costs a surface nothing and a picture everything. PSNR under the surface's similarity is given
    too, because earlier figures were measured so.

    Args:
        skin: indices of the avatar's rig vertices that are outer surface; all when None.

    Returns:
        ``median_mm`` and ``p90_mm`` (truth's inner-face vertices to the avatar's surface), ``scale``, and by yaw
        ``psnr``, ``ssim`` (inner face), ``whole_head_psnr``, ``silhouette_iou`` (head and hair above the chin) and
        ``psnr_by_surface``.
    """
    options = options or EvaluationOptions()
    vertices = _posed_vertices(avatar)
    surface = _surface(vertices, avatar.rig.faces, skin)
    target = head.vertices[head.inner_face].astype(float)
    by_photo = align_by_photo(avatar, vertices, head)
    by_surface = align(surface[0], target, by_photo)
    errors = surface_errors(surface, target, by_surface) * 1e3
    lod = len(avatar.lods) - 1 if options.lod is None else options.lod
    splats = pose_splats(avatar, lod, avatar.drivers[0] if avatar.drivers else None)
    figures: dict[str, dict[str, float]] = {name: {} for name in _BY_YAW}
    for yaw in options.yaws:
        for name, value in _compare_view(head, yaw, by_photo.splats(splats), by_surface.splats(splats)).items():
            figures[name][f"{yaw:g}"] = value
    return {
        "median_mm": round(float(np.median(errors)), 3),
        "p90_mm": round(float(np.percentile(errors, 90)), 3),
        "scale": round(by_surface.scale, 4),
        **figures,
    }


def _compare_view(head: Head, yaw: float, splats: SplatArrays, splats_by_surface: SplatArrays) -> dict[str, float]:
    """Figures of one view, splats given in the head's frame, over white."""
    shot = shoot(head, yaw)
    truth = shot.over(1.0)
    picture, alpha = render_splats(splats, shot.camera)
    whole, drawn = _head_masks(head, shot.camera, shot.alpha, alpha)
    return {
        "psnr": round(psnr(picture, truth, shot.inner_face), 2),
        "ssim": round(ssim(picture, truth, shot.inner_face), 4),
        "whole_head_psnr": round(psnr(picture, truth, whole | drawn), 2),
        "silhouette_iou": round(silhouette_iou(whole, drawn), 4),
        "psnr_by_surface": round(psnr(render_splats(splats_by_surface, shot.camera)[0], truth, shot.inner_face), 2),
    }


def summarize(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of everything that `measure` returns over the heads that could be measured, and the mean time; empty where none could."""
    entries = [entry for entry in entries if "error" not in entry]
    if not entries:
        return {}
    summary: dict[str, Any] = {key: round(float(np.mean([e[key] for e in entries])), 3) for key in ("median_mm", "p90_mm")}
    for key in _BY_YAW:
        digits = 2 if "psnr" in key else 4
        summary[key] = {yaw: round(float(np.mean([e[key][yaw] for e in entries])), digits) for yaw in entries[0][key]}
    if "seconds" in entries[0]:
        summary["seconds"] = round(float(np.mean([e["seconds"] for e in entries])), 2)
    return summary


def skin_vertices(rig: Rig) -> NDArray:
    """Vertices of a rig that are outer surface: all but eyes, teeth, tongue and mouth cavity."""
    outer = np.ones(len(rig.template), bool)
    for label in _NOT_SKIN:
        outer[rig.labels.get(label, [])] = False
    return np.flatnonzero(outer)


def align(points: NDArray, target: NDArray, start: Similarity) -> Similarity:
    """The similarity that brings points [P, 3] closest to target [T, 3]: closest points, worst tenth left out (Besl and
    McKay 1992, with Umeyama 1991 for each step).
    """
    similarity, tree = start, KDTree(points)
    for _ in range(_ICP_STEPS):
        distance, nearest = closest(tree, target, similarity)
        keep = distance < np.percentile(distance, 90)
        if keep.sum() < 4:
            # Exactly aligned: every distance is the same.
            return similarity
        similarity = similarity.then(fit_similarity(similarity(points[nearest[keep]]), target[keep]))
    return similarity


def closest(tree: KDTree, target: NDArray, similarity: Similarity) -> tuple[NDArray, NDArray]:
    """For each target [T, 3] the distance to the nearest of the tree's points under `similarity`, and its index.

    The targets are brought to the tree's frame instead, so that the tree is built once.
    """
    back = (target - similarity.translation) @ similarity.rotation / similarity.scale
    distance, nearest = tree.query(back)
    return np.asarray(distance) * similarity.scale, np.asarray(nearest)


def fit_similarity(points: NDArray, target: NDArray) -> Similarity:
    """Least squares between paired points (Umeyama 1991, eq. 40-43)."""
    centre, target_centre = points.mean(0), target.mean(0)
    u, singular, vt = np.linalg.svd((target - target_centre).T @ (points - centre))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((singular * signs).sum() / ((points - centre) ** 2).sum())
    return Similarity(scale, rotation, target_centre - scale * rotation @ centre)


def surface_errors(surface: tuple[NDArray, NDArray], target: NDArray, similarity: Similarity) -> NDArray:
    """[T] metres from target points to the surface: to the plane of the nearest surface point, or to that point if it is far."""
    points, normals = surface
    distance, nearest = closest(KDTree(points), target, similarity)
    plane = np.abs(((target - similarity(points[nearest])) * (normals[nearest] @ similarity.rotation.T)).sum(1))
    return np.where(distance < _PLANE_REACH, plane, distance)


def _surface(vertices: NDArray, faces: NDArray, skin: NDArray | None) -> tuple[NDArray, NDArray]:
    """Vertices and triangle centres of the skin, with normals."""
    vertices = vertices.astype(float)
    normals = np.asarray(vertex_normals(vertices, faces))
    outer = np.zeros(len(vertices), bool)
    outer[slice(None) if skin is None else skin] = True
    triangles = faces[outer[faces].all(1)]
    points = np.concatenate([vertices[outer], vertices[triangles].mean(1)])
    return points, np.concatenate([normals[outer], normals[triangles].mean(1)])


def _posed_vertices(avatar: Avatar) -> F32:
    if not avatar.drivers:
        return avatar.rig.vertices
    return pose_vertices(avatar.rig, avatar.drivers[0].expression, avatar.drivers[0].pose)


def align_by_photo(avatar: Avatar, vertices: NDArray, head: Head) -> Similarity:
    """The similarity between the points that avatar and truth show at the same pixel of the photo, inner face only.

    Least squares, worst tenth left out. Without a driver the frames are taken as they are.

    Args:
        vertices: [V, 3] the avatar's rig, posed by its first driver.

    Raises:
        ValueError: the avatar's camera does not see its face where the photo shows one.
    """
    if not avatar.drivers:
        return Similarity(1.0, np.eye(3), np.zeros(3))
    seen, shown = Camera.of(avatar.drivers[0], SIZE), shoot(head, 0)
    points, covered = _points_seen(vertices, avatar.rig.faces, seen)
    target, _ = _points_seen(head.vertices, head.model.faces, shown.camera)
    both = covered & shown.inner_face
    if both.sum() < 100:
        raise ValueError("the avatar's camera does not see its face where the photo shows one")
    points, target = points[both].astype(float), target[both].astype(float)
    similarity = fit_similarity(points, target)
    for _ in range(_PHOTO_STEPS):
        distance = np.linalg.norm(similarity(points) - target, axis=1)
        keep = distance <= np.percentile(distance, 90)
        similarity = fit_similarity(points[keep], target[keep])
    return similarity


def _points_seen(vertices: NDArray, faces: NDArray, camera: Camera) -> tuple[F32, NDArray[np.bool_]]:
    """Surface point [H, W, 3] at every pixel, and where there is one."""
    face_id, barycentric, _ = rasterize_mesh(camera.pixels(vertices), faces, camera.width, camera.height)
    return interpolate(face_id, barycentric, faces, vertices), face_id >= 0


def _head_masks(head: Head, camera: Camera, alpha: F32, drawn: F32) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Truth's and avatar's silhouettes, without what lies below the chin."""
    lowest = camera.pixels(head.vertices[head.inner_face])[:, 1].max() + _CHIN_MARGIN * camera.height / SIZE
    above = np.zeros_like(alpha, bool)
    above[: int(min(lowest, camera.height - 1))] = True
    return (alpha > 0.5) & above, (drawn > 0.5) & above
