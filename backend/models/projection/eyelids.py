"""Upper lids that an open eye folds in: skin of the colour around, with lashes along the edge."""

from __future__ import annotations

import cv2
import numpy as np

from backend.protocol.avatar import F32

from .anatomy import LEFT_EYE, RIGHT_EYE
from .regions import depth_inside
from .view import View

LID_SHADE = 0.93
"""Least brightness of upper lids, of the skin's around them."""
LASH_WIDTH = 0.012
"""Within which of the upper lid's edge lashes are looked for, in distances of the irises."""
LASHES = 0.95
"""Share of the lashes in the colour of the lid's edge; skin shows between them."""
LASH_SHADE = (0.12, 0.5)
"""Least and greatest brightness of lashes, of the skin's."""


def eye_opening(view: View, margin: float = 0.0) -> F32:
    """[S, S] 1 between the lids of both eyes and within a margin, in distances of the irises; soft over a pixel."""
    opening = view.polygon(RIGHT_EYE) | view.polygon(LEFT_EYE)
    return np.clip(margin * view.eye_distance + 1 - depth_inside(~opening), 0, 1).astype(np.float32)


def lash_color(view: View, skin: F32) -> F32:
    """[3] of the lashes: the darkest along the edges of the upper lids, within what lashes may be beside that skin."""
    radius = max(1, round(LASH_WIDTH * view.eye_distance))
    darkest = cv2.erode(view.foreground, np.ones((2 * radius + 1,) * 2, np.uint8))
    edge = np.median(view.at(darkest, view.landmarks[[*RIGHT_EYE[1:8], *LEFT_EYE[1:8]], :2]), 0)
    low, high = (share * float(skin.mean()) for share in LASH_SHADE)
    return (edge * np.clip(edge.mean(), low, high) / max(float(edge.mean()), 1e-3)).astype(np.float32)


def closing_lids(color: F32, skin: F32, fold: F32, edge: F32, lashes: F32) -> F32:
    """[N, 3] colours of upper lids as they look when they close.

    What lashes and crease shade on an open eye would be a smear on a closed one, so the fold is no darker than a share of
    the skin around; its edge carries the lashes.

    Args:
        color: [N, 3] as seen. skin: [N, 3] of the skin around, carried on. fold, edge: [N] 0..1. lashes: [3].
    """
    floor = LID_SHADE * skin
    darker = 1 - color.sum(1) / np.maximum(floor.sum(1), 1e-3)
    share = (fold * np.clip(darker / 0.1, 0, 1))[:, None]
    lid = (1 - share) * color + share * floor
    lined = (1 - LASHES) * skin + LASHES * lashes
    return (lid + edge[:, None] * (lined - lid)).astype(np.float32)
