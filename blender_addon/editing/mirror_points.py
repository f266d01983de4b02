"""Weights of splats carried to the other side of the head: by nearest mirrored rest position."""

from __future__ import annotations

import numpy as np
from mathutils.kdtree import KDTree

from ..protocol.avatar import F32

MARGIN = 0.006
"""Metres about the weighted splats in which unweighted ones are looked at too, so that the other side gets the same outline."""


def mirrored_weights(rest: F32, weights: F32) -> F32:
    """[N] weight of the splat that lies nearest to each one's mirror image (x -> -x at rest). 4 microseconds a splat near by."""
    carried = np.zeros(len(weights), np.float32)
    if not weights.any():
        return carried
    low, high = rest[weights > 0].min(0) - MARGIN, rest[weights > 0].max(0) + MARGIN
    source = np.flatnonzero(((rest >= low) & (rest <= high)).all(1))
    tree = KDTree(len(source))
    for i, place in zip(source.tolist(), rest[source].tolist(), strict=True):
        tree.insert(place, i)
    tree.balance()
    there = rest * np.float32([-1, 1, 1])
    near = np.flatnonzero(((there >= low) & (there <= high)).all(1))
    for i, place in zip(near.tolist(), there[near].tolist(), strict=True):
        carried[i] = weights[tree.find(place)[1]]
    return carried
