"""Masks of pixels: how deep inside one a pixel lies, which parts hang together, and colours carried out of one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, I32


def depth_inside(mask: NDArray[np.bool_]) -> F32:
    """[H, W] distance to the nearest pixel outside the mask, pixels; 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def connected_parts(mask: NDArray[np.bool_]) -> I32:
    """[H, W] number of the connected part that each pixel belongs to, 0 outside the mask."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1], np.int32)


def carried_outwards(picture: F32, solid: NDArray[np.bool_]) -> F32:
    """A picture [H, W, C] in which every pixel outside the mask takes the colour of the nearest one inside."""
    if not solid.any():
        return picture
    _, owner = cv2.distanceTransformWithLabels((~solid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owners = np.asarray(owner, np.int32)
    palette = np.zeros((int(owners.max()) + 1, picture.shape[2]), np.float32)
    palette[owners[solid]] = picture[solid]
    return palette[owners]
