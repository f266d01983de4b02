"""Multi-View Query-Former: one query a vertex of the rig, which looks at the tokens of all photos.

Blocks alternate attention among the queries and from the queries to the tokens. The photos' tokens do not change each other: that
is what makes the result independent of the photos' order, lets their number be free, and lets a photo be added later at the price
of its own encoding (the tokens of the earlier ones are as they were).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.protocol.avatar import F32

from . import coarse_grid
from .attention import AlternatingBlock
from .coarse_grid import CoarseGrid
from .config import FFConfig
from .gaussian_head import CODE, position_code


class QueryFormer(nn.Module):
    """Tokens of any number of photos to features of the vertices.

    Args:
        places: [Q, 3] metres, where the queries stand on the canonical head (and bust).
    """

    def __init__(self, config: FFConfig, places: F32) -> None:
        super().__init__()
        points = torch.from_numpy(np.ascontiguousarray(places, np.float32))
        self.register_buffer("code", position_code(points), persistent=False)
        self.register_buffer("anchors", _anchors(places, config.anchors), persistent=False)
        self.place = nn.Sequential(nn.Linear(CODE, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim))
        # What a place alone does not tell: an eyeball lies as near to its lid as skin to skin.
        self.own = nn.Parameter(torch.zeros(len(points), config.dim))
        self.blocks = nn.ModuleList(AlternatingBlock(config.dim, config.heads, config.feedforward) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.person = nn.Sequential(CoarseGrid(config.dim), nn.Linear(coarse_grid.WIDTH, config.dim))

    def forward(self, photos: Sequence[Float[Tensor, "b n d"]]) -> Float[Tensor, "b q d"]:
        """
        Args:
            photos: tokens of each photo, in any order.
        """
        # Every query starts with what the photos show on the whole, so that attention is left to find what is where.
        person = torch.stack([self.person(tokens) for tokens in photos]).mean(0)
        queries = self.place(self.get_buffer("code")) + self.own + person[:, None]
        anchors, tokens = self.anchors if isinstance(self.anchors, Tensor) else None, torch.cat(list(photos), 1)
        for block in self.blocks:
            queries = block(queries, tokens, anchors)
        return self.norm(queries)


def _anchors(points: F32, count: int) -> Tensor | None:
    """Indices of `count` points, each the farthest from those before (Gonzalez 1985); None where all are meant."""
    if not 0 < count < len(points):
        return None
    chosen = [0]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen)
