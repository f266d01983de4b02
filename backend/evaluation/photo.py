"""How well an avatar gives back the photo that it was made from: nobody knows the person's true shape, but the input view is known."""

from __future__ import annotations

import numpy as np

from backend.models.projection.view import inner_box
from backend.protocol.avatar import Avatar
from backend.splats import Camera, pose_splats, render_splats
from backend.tracking.portrait import Portrait

from .metrics import psnr, silhouette_iou

SOLID = 0.9
"""Matte above which a pixel is the person's alone."""


def compare_with_photo(avatar: Avatar, portrait: Portrait, lod: int = 1, index: int = 0) -> dict[str, float]:
    """Render the avatar as it was posed in a portrait, in that portrait's camera, and compare.

    Args:
        portrait: one of those the avatar was made from; `index` is its place among them.
        lod: level of detail that is rendered.
    Returns:
        ``psnr``: dB over the person's own pixels. ``silhouette_iou``: of what is drawn and the matte, both cut at one
        half. Both inside the square that the reconstruction used.
    """
    driver = avatar.drivers[index]
    picture, alpha = render_splats(pose_splats(avatar, lod, driver), Camera.of(driver))
    inside = np.zeros(portrait.matte.shape, bool)
    x0, y0, x1, y1 = (max(0, edge) for edge in inner_box(portrait))
    inside[y0:y1, x0:x1] = True
    return {
        "psnr": psnr(picture, portrait.image, inside & (portrait.matte > SOLID)),
        "silhouette_iou": silhouette_iou((alpha > 0.5) & inside, (portrait.matte > 0.5) & inside),
    }
