"""Weights of splats carried to the other side of the head: by nearest mirrored rest position."""

from __future__ import annotations

import numpy as np
from mathutils.kdtree import KDTree

from ..protocol.avatar import F32


def mirrored_weights(rest: F32, weights: F32) -> F32:
    """[N] weight that each splat gets from those on the other side (x -> -x at rest), found within 4 mm."""
    source = np.flatnonzero(weights > 0)
    carried = np.zeros(len(weights), np.float32)
    if not len(source):
        return carried
    tree = KDTree(len(source))
    for i, place in zip(source.tolist(), (rest[source] * np.float32([-1, 1, 1])).tolist(), strict=True):
        tree.insert(place, i)
    tree.balance()
    low, high = rest[source].min(0) - 0.004, rest[source].max(0) + 0.004
    low[0], high[0] = -high[0], -low[0]
    near = np.flatnonzero(((rest >= low) & (rest <= high)).all(1))
    for i, place in zip(near.tolist(), rest[near].tolist(), strict=True):
        _, index, distance = tree.find(place)
        if distance < 0.004:
            carried[i] = weights[index]
    return carried
