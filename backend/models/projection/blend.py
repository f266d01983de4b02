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
from .labels import CLOTH
from .observe import Observation
from .view import View

SHARPNESS = 4
"""Power of a view's merit: high picks the best view, low averages."""
OTHERS = 0.35
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
        matrix = sp.diags(both + 1e-4) + 0.4 * laplacian
        field = mesh.solve_symmetric(matrix, both[:, None] * ratio + 1e-4 * average)
        gains.append(np.exp(np.clip(field, -0.7, 0.7)).astype(np.float32))
    return gains


def shares(views: Sequence[View], seen: Sequence[Observation], first_only: NDArray[np.bool_]) -> F32:
    """[K, N] of each view in each vertex's colour, summing to 1: by trust and resolution; the first view's where none sees it.

    Clothes are the first photo's alone: on another day they are others, and the collar lies elsewhere.

    Args:
        first_only: [N] what changes with the expression (eyes, mouth) and must not be mixed.
    """
    resolution = [view.camera.focal / float(np.median(o.pixels[:, 2])) for view, o in zip(views, seen, strict=True)]
    merit = np.stack([o.weight * min(r / resolution[0], 1.5) for o, r in zip(seen, resolution, strict=True)]) ** SHARPNESS
    dressed = seen[0].label[:, CLOTH] * (seen[0].label_weight > 0.1)
    for index in range(1, len(seen)):
        bare = np.clip(1 - 2 * np.maximum(dressed, seen[index].label[:, CLOTH]), 0, 1)
        clear = np.clip((seen[index].weight - 0.3) / 0.4, 0, 1)  # a glance past a nostril says nothing of the nose
        merit[index] *= OTHERS**SHARPNESS * ~first_only * bare * clear
    total = merit.sum(0)
    share = merit / np.maximum(total, 1e-9)
    share[0, total < 1e-9] = 1
    return share.astype(np.float32)


def blend(seen: Sequence[Observation], gains: Sequence[F32], share: F32) -> Observation:
    """One observation from all: colours, labels and trust by the views' shares [K, N], the rest from the first view.

    Args:
        gains: factors [N, 3] of each view at these vertices.
    """
    if len(seen) == 1:
        return seen[0]
    mix = lambda fields: np.einsum("kn,kn...->n...", share, np.stack(fields)).astype(np.float32)
    color = mix([np.clip(o.color * g, 0, 1) for o, g in zip(seen, gains, strict=True)])
    return replace(
        seen[0],
        color=color,
        label=mix([o.label for o in seen]),
        weight=mix([o.weight for o in seen]),
        label_weight=mix([o.label_weight for o in seen]),
    )
