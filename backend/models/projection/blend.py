"""Several portraits of one person: each vertex takes its colour from the views that see it best, seams feathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import Anatomy
from .observe import Observation
from .view import View

SHARPNESS = 4
"""Power of a view's merit: high picks the best view, low averages."""
OTHERS = 0.5
"""Merit of every view but the first, whose light and exact fit the avatar keeps where it can."""


def light_gains(anatomy: Anatomy, seen: Sequence[Observation]) -> list[F32]:
    """For each view a smooth field [V, 3] of factors that bring its colours to the first view's light.

    Where both see a vertex the log ratio is measured; elsewhere it is the smoothest continuation.
    """
    count = len(seen[0].weight)
    laplacian = mesh.graph_laplacian(anatomy.edges, count)
    gains = [np.ones((count, 3), np.float32)]
    for other in seen[1:]:
        both = np.minimum(seen[0].weight, other.weight) * (anatomy.body > 0.5)
        both = both * ((seen[0].label * other.label).sum(1) > 0.5)
        ratio = np.log((seen[0].color + 0.02) / (other.color + 0.02))
        average = (both[:, None] * ratio).sum(0) / max(both.sum(), 1e-6)
        matrix = sp.diags(both + 1e-4) + 2.0 * laplacian
        field = mesh.solve_symmetric(matrix, both[:, None] * ratio + 1e-4 * average)
        gains.append(np.exp(np.clip(field, -0.7, 0.7)).astype(np.float32))
    return gains


def blend(views: Sequence[View], seen: Sequence[Observation], gains: Sequence[F32], first_only: NDArray[np.bool_]) -> Observation:
    """One observation from all: colours weighted by trust and resolution, the rest from the first view.

    Args:
        gains: factors [N, 3] of each view at these vertices.
        first_only: [N] what changes with the expression (eyes, mouth) and must not be mixed.
    """
    if len(seen) == 1:
        return seen[0]
    resolution = [view.camera.focal / float(np.median(o.pixels[:, 2])) for view, o in zip(views, seen, strict=True)]
    merit = np.stack([o.weight * min(r / resolution[0], 1.5) for o, r in zip(seen, resolution, strict=True)]) ** SHARPNESS
    merit[1:] *= OTHERS**SHARPNESS * ~first_only
    total = np.maximum(merit.sum(0), 1e-9)
    share = merit / total
    share[0, merit.sum(0) < 1e-9] = 1
    color = np.sum([s[:, None] * np.clip(o.color * g, 0, 1) for s, o, g in zip(share, seen, gains, strict=True)], 0)
    label = np.sum([s[:, None] * o.label for s, o in zip(share, seen, strict=True)], 0)
    best = lambda field: np.where(first_only, getattr(seen[0], field), np.max([getattr(o, field) for o in seen], 0))
    weight = best("weight")
    label_weight = best("label_weight")
    return replace(seen[0], color=color.astype(np.float32), label=label.astype(np.float32), weight=weight, label_weight=label_weight)
