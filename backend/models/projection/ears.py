"""Is an ear visible in the photo, or covered by hair? Decided in the picture: too few ear vertices face the camera."""

from __future__ import annotations

import numpy as np

from backend.protocol.avatar import F32, I32

from .anatomy import SKIN_SAMPLES, Anatomy
from .labels import colour_features
from .regions import depth_inside
from .view import View

SUNK, SUNK_DEPTH = 0.7, 0.02
"""How far a covered ear shrinks, as a share, and how deep it goes into the head, metres."""
TURNED = 0.17
"""Sine of the yaw from which the far ear hides behind the face."""


def visible_ears(view: View) -> dict[str, bool]:
    """Whether "left" and "right" (the subject's) ears show.

    An ear shows where enough skin-coloured person lies beside the face's rim between the eyes and the nose's base; the
    ear of a side that is turned away is taken to be as the other.
    """
    marks = view.landmarks[:, :2]
    sample = np.clip(marks[list(SKIN_SAMPLES)].astype(int), 0, view.size - 1)
    skin = colour_features(view.foreground[sample[:, 1], sample[:, 0]])
    centre = np.median(skin, 0)
    precision = np.linalg.inv(np.cov(skin.T) + 0.02 * np.eye(3))
    width = view.face_width
    top = int(np.clip(marks[[33, 263], 1].mean(), 0, view.size - 1))
    bottom = int(np.clip(marks[[98, 327], 1].mean() + 0.05 * width, top + 1, view.size))
    found = {}
    for side, rim, sign in (("right", 234, -1), ("left", 454, 1)):
        outwards = (np.arange(view.size) + 0.5 - marks[rim, 0]) * sign
        columns = (outwards > 0.01 * width) & (outwards < 0.22 * width)
        band = view.matte[top:bottom, columns] > 0.9
        difference = colour_features(view.foreground[top:bottom, columns][band]) - centre
        distance = np.einsum("ni,ij,nj->n", difference, precision, difference)
        area = band.sum() / ((bottom - top) * width)
        found[side] = bool(area > 0.025 and (distance < 9).mean() > 0.5)
    turn = float(view.camera.world_to_camera[2, 0])
    if abs(turn) > TURNED:
        hidden, shown = ("left", "right") if turn > 0 else ("right", "left")
        found[hidden] = found[shown]
    return found


def ears_apart(faces: I32, anatomy: Anatomy) -> bool:
    """Whether the ears are pieces of their own. Where they are part of the head's skin (FLAME, ICT), hiding one would leave a hole."""
    ear = anatomy.ears[faces] > 0.5
    return bool((ear.all(1) | ~ear.any(1)).all())


def tuck_ears(neutral: F32, faces: I32, posed: F32, anatomy: Anatomy, view: View, ears: dict[str, bool]) -> F32:
    """Displacement [V, 3] that lays visible ears back until their outline stays inside the matte, and sinks covered ones.

    A visible ear's vertices move towards the head in proportion to how far they stand out, so it stays attached. One that
    hair covers has no splats; its mesh must not stand before those of the hair either.
    """
    move = np.zeros_like(neutral)
    outside = depth_inside(view.matte < 0.5)
    for side, sign in (("left", 1), ("right", -1)):
        own = np.flatnonzero((anatomy.ears > 0.5) & (anatomy.left == (sign > 0)))
        if len(own) == 0:
            continue
        if not ears[side]:
            if ears_apart(faces, anatomy):
                move[own] = SUNK * (neutral[own].mean(0) - neutral[own])
                move[own, 0] -= sign * SUNK_DEPTH * anatomy.unit
            continue
        pixels = view.camera.project(posed[own])
        excess = np.percentile(view.at(outside, pixels), 97) * pixels[:, 2].mean() / view.camera.focal
        stand = neutral[own, 0] * sign
        reach = max(float(np.ptp(stand)), 1e-4)
        share = (stand - stand.min()) / reach
        move[own, 0] = -sign * share * min(float(excess), 0.85 * reach)
        move[own, 2] -= 0.5 * share * min(float(excess), 0.85 * reach)
    return move
