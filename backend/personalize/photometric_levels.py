"""The other levels of detail follow the one that was refined: its shape, and its splats' changes from the nearest ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import KDTree

from .photometric_splats import Cloud, Unknowns

NEIGHBOURS = 4
OWN = ("shift", "turn", "stretch", "fade", "tint")


def transfer(source: Cloud, unknowns: Unknowns) -> Callable[[Cloud], list[Unknowns]]:
    """Candidates for another level's start: the shape alone, and with it the splats' own changes from their nearest neighbours.

    Colours of a finer level already show what a coarser one lacks, so the second is not always the better one.
    """

    def candidates(cloud: Cloud) -> list[Unknowns]:
        count = len(cloud.rest)
        bare = Unknowns(**{
            name: torch.zeros((count, *getattr(unknowns, name).shape[1:]), device=cloud.device) if name in OWN else getattr(unknowns, name)
            for name in Unknowns.__dataclass_fields__
        })  # fmt: skip
        free = np.flatnonzero(source.freedom.color[: source.head] > 0)
        if not len(free):
            return [bare]
        k = min(NEIGHBOURS, len(free))
        distance, near = KDTree(source.rest.position[free]).query(cloud.rest.position, k=k)
        weight = 1 / (np.asarray(distance).reshape(count, k) + 1e-4)
        weight = torch.tensor((weight / weight.sum(1, keepdims=True)).astype(np.float32), device=cloud.device)
        rows = torch.tensor(free[np.asarray(near).reshape(count, k)], device=cloud.device)
        # Shift and turn are told in the splat's own axes, which differ between levels.
        own = {name: (getattr(unknowns, name)[rows] * weight.reshape(count, k, *[1] * (getattr(unknowns, name).dim() - 1))).sum(1)
               for name in ("stretch", "fade", "tint")}  # fmt: skip
        return [bare, Unknowns(**{**{name: getattr(bare, name) for name in Unknowns.__dataclass_fields__}, **own})]

    return candidates
