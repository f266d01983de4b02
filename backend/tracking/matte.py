"""The matte: selfie segmentation around the face, sharpened along the picture's edges; and foreground colours.

Sources: guided filter, He et al. 2013 (eq. 14-16 for colour guides); blur fusion, Forte 2021, "Approximate Fast
Foreground Colour Estimation".
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .crops import F32, Square
from .nets import Net
from .portrait import Face

CROP_SCALE = 2.1
CROP_RISE = 0.06
LOOKS = (8.4, 4.2, CROP_SCALE)
NEAR_SIZE, WIDE_SIZE = 768, 512
GUIDE_RADIUS = 0.012
GUIDE_EPSILON = 2e-4
STRETCH = (0.08, 0.84)

OVAL = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
]  # fmt: skip
"""Outline of the face, clockwise from the top of the forehead."""


def portrait_square(face: Face, scale: float = CROP_SCALE) -> Square:
    """The upright region to reconstruct from: `scale` times the landmarks' box, moved up by 6 % to hold the hair."""
    x0, y0, x1, y1 = face.box
    side = scale * max(x1 - x0, y1 - y0)
    return Square((x0 + x1) / 2, (y0 + y1) / 2 - CROP_RISE * side, side)


def person_matte(image: F32, face: Face, net: Net) -> F32:
    """[H, W] float32 0..1: the person whose face is given.

    Around the head the net sees 2.1 times the face; wider looks, from the outside in, add the shoulders and the body.
    Each look's soft edge is moved onto the picture's edges, and what is not connected with the face is removed.
    """
    looks = [portrait_square(face, scale) for scale in LOOKS]
    matte = np.zeros(image.shape[:2], np.float32)
    for square in looks:
        size = int(np.clip(round(square.side), 256, NEAR_SIZE if square is looks[-1] else WIDE_SIZE))
        crop = square.cut(image, size, cv2.BORDER_REPLICATE)
        found = _segment(crop, net)
        hull = _face_hull(square, face, size)
        found = _connected(np.maximum(found, hull), hull)
        fine = np.where(hull > 0, 1, _sharpen(crop, found)).astype(np.float32)
        if square is not looks[0]:
            fine = _blend_at_border(fine, square.cut(matte, size, cv2.BORDER_REPLICATE))
        square.paste(fine, matte)
    return np.clip(matte, 0, 1)


def foreground(image: F32, matte: F32, radius: int) -> F32:
    """Colours of the person without the background that shines through at soft edges (two passes of blur fusion).

    Args:
        image: [H, W, 3].
        matte: [H, W] 0..1.
        radius: of the first pass, pixels; about 8 % of the head's crop.
    Returns:
        [H, W, 3]; the image where the matte is 1, and sensible colours where it is not.
    """
    alpha = matte[..., None]
    front = back = image
    for r in (radius, max(2, radius // 8)):
        share = _box(matte, r)[..., None]
        mean_front = _box(front * alpha, r) / np.maximum(share, 1e-4)
        mean_back = _box(back * (1 - alpha), r) / np.maximum(1 - share, 1e-4)
        front = np.clip(mean_front + alpha * (image - alpha * mean_front - (1 - alpha) * mean_back), 0, 1)
        back = mean_back
    return front.astype(np.float32)


def guided_filter(guide: F32, target: F32, radius: int, epsilon: float) -> F32:
    """Fit `target` [H, W] locally by an affine function of the colour `guide` [H, W, 3] (He et al. 2013, eq. 14-16)."""
    mean = _box(guide, radius)
    mean_target = _box(target, radius)
    covariance = _box(guide * target[..., None], radius) - mean * mean_target[..., None]
    rr, rg, rb, gg, gb, bb = (
        _box(guide[..., i] * guide[..., j], radius) - mean[..., i] * mean[..., j]
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )
    rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
    # Inverse of the symmetric 3x3 by its cofactors: much faster than a batched solve.
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c00 + rg * c01 + rb * c02
    x, y, z = np.moveaxis(covariance, -1, 0)
    slope = np.stack([c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z], -1) / determinant[..., None]
    offset = mean_target - (slope * mean).sum(-1)
    return ((_box(slope, radius) * guide).sum(-1) + _box(offset, radius)).astype(np.float32)


def _segment(crop: F32, net: Net) -> F32:
    """The net's own soft mask at the crop's size."""
    size = net.input_size
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if len(crop) > size else cv2.INTER_LINEAR)
    (mask,) = net(torch.from_numpy(small.transpose(2, 0, 1)[None].copy())).values()
    return np.asarray(cv2.resize(mask.numpy()[0, 0], crop.shape[:2], interpolation=cv2.INTER_LINEAR), np.float32)


def _face_hull(square: Square, face: Face, size: int) -> F32:
    """1 inside the face's outline, less a margin of 1 %: skin is never background."""
    outline = square.from_image(face.landmarks[OVAL, :2], size)
    hull = np.zeros((size, size), np.uint8)
    cv2.fillPoly(hull, [np.round(outline).astype(np.int32)], 1)
    margin = max(1, int(0.01 * size))
    return cv2.erode(hull, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)).astype(np.float32)


def _connected(mask: F32, hull: F32) -> F32:
    """Only the part that hangs together with the face, and a soft margin of 2 % around it."""
    _, labels = cv2.connectedComponents((mask > 0.5).astype(np.uint8))
    inside = labels[hull > 0]
    if not inside.size:
        return mask
    keep = (labels == np.bincount(inside).argmax()).astype(np.uint8)
    margin = max(1, int(0.02 * len(mask)))
    soft = cv2.dilate(keep, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1)))
    return np.asarray(mask * soft, np.float32)


def _sharpen(crop: F32, mask: F32) -> F32:
    """Guided filter near the mask's edge, the plain mask elsewhere."""
    size = len(crop)
    low, span = STRETCH
    fine = (np.clip(guided_filter(crop, mask, max(1, int(size * GUIDE_RADIUS)), GUIDE_EPSILON), 0, 1) - low) / span
    near_edge = (np.abs(cv2.GaussianBlur(mask, (0, 0), size * 0.01) - 0.5) < 0.49).astype(np.float32)
    share = cv2.GaussianBlur(near_edge, (0, 0), size * 0.004)
    return (np.clip(fine, 0, 1) * share + (mask > 0.5) * (1 - share)).astype(np.float32)


def _blend_at_border(inner: F32, outer: F32) -> F32:
    """`inner`, turning into `outer` over the last 6 % before the border, so that shoulders continue across it."""
    size = len(inner)
    at = np.minimum(np.arange(size), np.arange(size)[::-1]) / (0.06 * size)
    share = np.clip(np.minimum(at[:, None], at[None]), 0, 1).astype(np.float32)
    return (inner * share + outer * (1 - share)).astype(np.float32)


def _box(array: NDArray, radius: int) -> F32:
    """Mean over a square window, edges repeated."""
    side = 2 * radius + 1
    return np.asarray(cv2.blur(array, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)
