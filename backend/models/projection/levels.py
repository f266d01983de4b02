"""One level of detail: subdivide, project, colour, solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_matrix

from backend.protocol.avatar import F32, RigArrays, SplatArrays
from backend.protocol.binding import bind, deform
from backend.splats import rasterize_mesh

from . import mesh
from .anatomy import Anatomy
from .blend import blend, shares
from .ears import ears_apart
from .eyelids import closing_lids, eye_opening, lash_color
from .fill import Fill
from .gaussians import as_sh, select, surface_splats
from .hair_texture import HairTexture
from .labels import HAIR, SKIN, Labels
from .mouth import MouthPixels
from .observe import Observation, VertexKinds, observe
from .parts import color_parts
from .solve import solve_colors
from .surface import Surface
from .view import View

BUDGETS = (9000, 30000, 100000)
"""Most splats of the head at each level; what plain subdivision leaves goes where the photo has more detail than the mesh."""
MOST_SPLITS = 3
"""How often one face is split beyond its level's subdivision."""
STRAND_LIGHT = (0.6, 0.8)
"""Brightness against the skin around it: a strand's end up to the first, skin from the second on."""
VANISHING = 1 / 255
"""Opacity below which a splat never shows."""
SMOOTHNESS, SHARED_PIXEL_SMOOTHNESS, DAMPING, GRAZING_DAMPING = 0.005, 0.03, 0.05, 2.0
"""Of the colour solve, in units of pixels that a splat covers."""


@dataclass(frozen=True)
class Head:
    """What all levels share.

    Attributes:
        rig: identity-baked, hair included. anatomy: of its topology.
        views, labels, mouths, posed: one a portrait, the most frontal first; posed are rig vertices [V, 3].
        gains: [V, 3] a view (see `blend.light_gains`).
        hair_height: [V] metres, see `raise_hair`. buried: [V] 1 where clothes cover the neck, and below.
        fill: completion over rig vertices. ears: which ears show. skin: [3] typical colour. hair: what unseen hair looks like.
    """

    rig: RigArrays
    anatomy: Anatomy
    views: Sequence[View]
    labels: Sequence[Labels]
    mouths: Sequence[MouthPixels]
    posed: Sequence[F32]
    gains: Sequence[F32]
    hair_height: F32
    buried: F32
    fill: Fill
    ears: dict[str, bool]
    skin: F32
    hair: HairTexture | None


def kinds_on(surface: Surface, rig: RigArrays, anatomy: Anatomy, hair_height: F32) -> VertexKinds:
    """The anatomy's fields at the surface's vertices; `hair_height` [V] in metres."""
    fields = {name: getattr(anatomy, name) for name in VertexKinds.__dataclass_fields__ if name != "raised"}
    fields["raised"] = hair_height / (0.01 * anatomy.unit)
    return VertexKinds(**{name: surface.sample(rig, field) for name, field in fields.items()})


def observe_views(
    surface: Surface,
    kinds: VertexKinds,
    rig: RigArrays,
    views: Sequence[View],
    labels: Sequence[Labels],
    mouths: Sequence[MouthPixels],
    posed: Sequence[F32],
    ears: dict[str, bool],
) -> list[Observation]:
    """Project the surface into every view."""
    spacing = float(np.median(np.linalg.norm(np.diff(surface.position[surface.edges], axis=1)[:, 0], axis=1)))
    return [
        observe(view, label, mouth, surface.posed(rig, vertices), surface.faces, kinds, ears, spacing)
        for view, label, mouth, vertices in zip(views, labels, mouths, posed, strict=True)
    ]


def build_level(head: Head, level: int, shoulders: SplatArrays, report: Callable[[float], None]) -> tuple[SplatArrays, SplatArrays]:
    """Splats of the head at one level, and the shoulders with their colours solved together with it.

    Args:
        report: called with 0..1 several times a second; may raise to cancel.
    """
    surface = _resolved(head, level)
    report(0.15)
    kinds = kinds_on(surface, head.rig, head.anatomy, head.hair_height)
    seen = observe_views(surface, kinds, head.rig, head.views, head.labels, head.mouths, head.posed, head.ears)
    first = seen[0]
    gains = [surface.sample(head.rig, gain) for gain in head.gains]
    share = shares(head.views, seen, kinds.expressive)
    merged = blend(seen, gains, share)
    report(0.3)
    label = surface.sample(head.rig, head.fill.label)
    color = _surface_colors(surface, kinds, merged, label, head)
    opacity = _opacities(surface, kinds, first, label, head)
    report(0.4)
    splats = surface_splats(surface, color, opacity)
    kept = opacity > VANISHING
    evidence = [
        Evidence(
            _free(kinds, o, mouth, own)[kept],
            (DAMPING + GRAZING_DAMPING * np.clip(1 - o.weight / 0.3, 0, 1) * (1 - kinds.inner)).astype(np.float32)[kept],
            _color_smoothness(surface, o)[kept][:, kept],
            gain[kept],
            own[kept],
        )
        for o, mouth, gain, own in zip(seen, head.mouths, gains, share, strict=True)
    ]
    return _solved(head, select(splats, kept), shoulders, evidence, lambda done: report(0.5 + 0.5 * done))


def _free(kinds: VertexKinds, seen: Observation, mouth: MouthPixels, share: F32) -> NDArray[np.bool_]:
    """[N] vertices whose colour is this view's to solve: it shows them, and most of their colour is from there."""
    free = seen.visible & (seen.facing > 0.1) & (share > 0.5) & (kinds.cavity < 0.3) & (kinds.tongue < 0.5)
    free &= ~seen.blocked & (np.maximum(kinds.lid_fold, kinds.lashes) < 0.5)
    return free & ((kinds.teeth < 0.5) | (seen.weight > 0.3) | _within(mouth.not_skin, seen))


def _resolved(head: Head, level: int) -> Surface:
    """The rig's mesh at a level's resolution, whatever the rig's own: subdivided at most `level` times, thinned out if it is too dense."""
    count = lambda surface: int((_presence(surface, head) > VANISHING).sum())
    surface = Surface.of(head.rig)
    for _ in range(level):
        finer = surface.refined()
        if count(finer) > BUDGETS[level]:
            break
        surface = finer
    if count(surface) > BUDGETS[level]:
        while count(surface) > BUDGETS[level]:
            surface = surface.thinned()
        return surface
    return _with_detail(surface, head, BUDGETS[level]) if level > 0 else surface


def _with_detail(surface: Surface, head: Head, budget: int) -> Surface:
    """Split faces beyond the level's subdivision, as often as the photo's detail deserves.

    A face is split while its missing detail exceeds a threshold; each split halves it. The threshold is the least that
    keeps the visible vertices within the budget.
    """
    room = budget - int((_presence(surface, head) > VANISHING).sum())
    merit = _missing_detail(surface, head)
    splits = lambda threshold: np.clip(np.ceil(np.log2(np.maximum(merit, 1e-12) / threshold)), 0, MOST_SPLITS)
    low, high = 1e-6, max(float(merit.max()), 2e-6)
    for _ in range(40):
        middle = np.sqrt(low * high)
        new_vertices = (0.6 * (4 ** splits(middle) - 1)).sum()
        low, high = (low, middle) if new_vertices <= room else (middle, high)
    remaining = splits(high)
    while (remaining > 0).any():
        pick = remaining > 0
        surface = surface.refined(pick)
        remaining = np.concatenate([remaining[~pick], np.repeat(remaining[pick] - 1, 4)])
    return surface


def _missing_detail(surface: Surface, head: Head) -> F32:
    """[F] what a face hides of the first photo: contrast at its scale times its size in pixels; 0 where it is not seen."""
    view = head.views[0]
    posed = surface.posed(head.rig, head.posed[0])
    pixels = view.camera.project(posed)
    corners = pixels[surface.faces][:, :, :2]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    facing = view.camera.facing(posed, surface.normals)[surface.faces].mean(1)
    centre = corners.mean(1)
    gray = view.foreground.mean(-1)
    contrast = np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 0.006 * view.size))
    contrast = cv2.GaussianBlur(contrast, (0, 0), 0.006 * view.size)
    rim = np.abs(view.matte - cv2.GaussianBlur(view.matte, (0, 0), 0.01 * view.size))
    _, _, depth = rasterize_mesh(pixels, surface.faces, view.size, view.size)
    nearest = view.at(np.where(np.isfinite(depth), depth, 0), centre)
    shown = (pixels[surface.faces][:, :, 2].mean(1) < nearest + 0.006) & (facing > -0.1)
    merit = np.sqrt(area) * (view.at(contrast, centre) + 0.3 * view.at(rim, centre) + 0.002) * shown
    merit[(surface.sample(head.rig, head.anatomy.cavity)[surface.faces] > 0.1).any(1)] = 0
    return merit


def _color_smoothness(surface: Surface, seen: Observation) -> csr_matrix:
    """[N, N] for the solve: stronger where neighbours share a pixel, for there the photo cannot tell them apart."""
    a, b = surface.edges.T
    distance = np.linalg.norm(seen.pixels[a, :2] - seen.pixels[b, :2], axis=1)
    weight = SMOOTHNESS + SHARED_PIXEL_SMOOTHNESS * np.clip(1 - distance / 3, 0, 1)
    return mesh.graph_laplacian(surface.edges, len(surface), weight)


def _front_of_eyes(position: F32, anatomy: Anatomy) -> F32:
    """[V] 1 on the front half of each eyeball, 0 behind."""
    front = np.zeros(len(position), np.float32)
    for sign in (0, 1):
        own = (anatomy.eyes > 0.5) & (anatomy.left == sign)
        if own.any():
            ball = position[own]
            low, high = ball.min(0), ball.max(0)
            front[own] = np.clip(((ball[:, 2] - (low[2] + high[2]) / 2) / max((high[2] - low[2]) / 2, 1e-6) + 0.25) / 0.1, 0, 1)
    return front


def _surface_colors(surface: Surface, kinds: VertexKinds, seen: Observation, label: F32, head: Head) -> F32:
    """Seen colours where label and sight agree, filled ones elsewhere, inner parts by their own rules."""
    filled = surface.sample(head.rig, head.fill.blended)
    agreement = np.clip((label * seen.label).sum(1) * 2.5 - 0.75, 0, 1)
    trust = seen.weight * np.maximum(agreement * _like_skin(seen, filled, label), kinds.inner > 0.3)
    filled = _with_strands(filled, surface, label, trust, head)
    color = trust[:, None] * seen.color + (1 - trust[:, None]) * filled
    color = closing_lids(color.astype(np.float32), filled, kinds.lid_fold, kinds.lashes, lash_color(head.views[0], head.skin))
    return color_parts(color.astype(np.float32), surface.position, kinds, head.anatomy, head.rig.vertices, seen, head.views[0], head.skin)


def _like_skin(seen: Observation, filled: F32, label: F32) -> F32:
    """[N] 0 where skin beside the face looks much darker than the skin around it: ends of strands, which would stick to the cheek."""
    light = seen.color.sum(1) / np.maximum(filled.sum(1), 0.05)
    strand = np.clip((STRAND_LIGHT[1] - light) / (STRAND_LIGHT[1] - STRAND_LIGHT[0]), 0, 1)
    return (1 - strand * np.clip(2 * label[:, SKIN] - 0.5, 0, 1)).astype(np.float32)


def _with_strands(filled: F32, surface: Surface, label: F32, trust: F32, head: Head) -> F32:
    """[N, 3] the smooth fill, with the texture of seen hair where hair is not seen."""
    if head.hair is None:
        return filled
    unseen = np.clip(label[:, HAIR] * 1.5 - 0.25, 0, 1) * (1 - trust)
    return np.clip(filled * np.exp(unseen[:, None] * head.hair.at(surface.position, surface.normals)), 0, 1)


def _opacities(surface: Surface, kinds: VertexKinds, seen: Observation, label: F32, head: Head) -> F32:
    """Solid, but soft at the outline by the matte, fading into the shoulders, and nothing where nobody can look."""
    inner_part = (kinds.eyes > 0.3) | (kinds.teeth > 0.3) | (kinds.tongue > 0.3) | (kinds.cavity > 0.3)
    opacity = np.where(label[:, HAIR] > 0.5, 0.97, 0.99)
    rim = np.clip((0.45 - np.abs(seen.facing)) / 0.2, 0, 1) * (kinds.inner < 0.1)
    least = np.where(label[:, HAIR] > 0.5, 0.02, 1)  # skin outside the matte stays: from the side one would see through it
    matte = np.clip(np.where(seen.facing > -0.3, seen.matte, 1), least, 1)
    opacity = opacity * np.where(inner_part, 1, 1 - rim * (1 - matte))
    opening = head.views[0].at(eye_opening(head.views[0]), seen.pixels)
    opacity *= np.where(inner_part, 1, 1 - opening)  # the lids' rims are thicker than a real eye's, which would look smaller behind them
    opacity[_pokes_out(kinds, seen, head)] = 0
    return (opacity * _presence(surface, head)).astype(np.float32)


def _pokes_out(kinds: VertexKinds, seen: Observation, head: Head) -> NDArray[np.bool_]:
    """[N] teeth, tongue and cavity that the fitted pose shows outside the lips: a small mouth around rigid parts."""
    inside = np.maximum(kinds.teeth, np.maximum(kinds.tongue, kinds.cavity)) > 0.5
    return inside & seen.visible & ~_within(head.mouths[0].not_skin, seen)


def _within(mask: NDArray[np.bool_], seen: Observation) -> NDArray[np.bool_]:
    """[N] whether the pixel of each vertex lies in a mask [S, S]."""
    column, row = np.clip(seen.pixels[:, :2].astype(int), 0, len(mask) - 1).T
    return mask[row, column]


def _presence(surface: Surface, head: Head) -> F32:
    """[N] 0 where nobody can look or something else stands: behind the eyes, below the neck, in ears under hair."""
    anatomy, rig = head.anatomy, head.rig
    shown = 1 - surface.sample(rig, head.buried)
    eyes = surface.sample(rig, anatomy.eyes) > 0.5
    shown = np.where(eyes, surface.sample(rig, _front_of_eyes(rig.vertices, anatomy)), shown)
    left = surface.sample(rig, anatomy.left) > 0.5
    for side, own in (("left", left), ("right", ~left)):
        if not head.ears[side] and ears_apart(rig.faces, anatomy):
            shown = np.where((surface.sample(rig, anatomy.ears) > 0.5) & own, 0, shown)
    shown[np.bincount(surface.faces.ravel(), minlength=len(surface)) == 0] = 0
    return shown.astype(np.float32)


@dataclass(frozen=True)
class Evidence:
    """What one view says of N splats' colours: which are its to solve [N], how far they may go [N], what they share with
    neighbours [N, N], their light against the first view's [N, 3] and the view's share in them [N]."""

    free: NDArray[np.bool_]
    damping: F32
    smoothness: csr_matrix
    gain: F32
    share: F32


def _solved(
    head: Head, splats: SplatArrays, shoulders: SplatArrays, evidence: Sequence[Evidence], report: Callable[[float], None]
) -> tuple[SplatArrays, SplatArrays]:
    """Solve the head in each view, most important first, and the shoulders together with it in the first."""
    both = SplatArrays.concatenate([splats, shoulders])
    color, rest, count = both.rgb, len(shoulders), len(evidence)
    for index, (view, posed, own) in enumerate(zip(head.views, head.posed, evidence, strict=True)):
        position, rotation, scale = deform(bind(head.rig, both), posed)
        first = index == 0
        color = solve_colors(
            view, position, rotation, scale, both.opacity, color,
            np.concatenate([own.free, np.full(rest, first)]),
            csr_matrix(block_diag([own.smoothness, csr_matrix((rest, rest))])),
            np.concatenate([own.damping, np.full(rest, DAMPING, np.float32)]),
            lambda done, index=index: report((index + done) / count),
            None if first else np.concatenate([own.gain, np.ones((rest, 3), np.float32)]),
            None if first else np.concatenate([own.share, np.zeros(rest, np.float32)]),
        )  # fmt: skip
    solved = SplatArrays(both.position, both.rotation, both.scale, both.opacity, as_sh(color), both.face, both.barycentric)
    return select(solved, np.arange(len(splats))), select(solved, np.arange(len(splats), len(both)))
