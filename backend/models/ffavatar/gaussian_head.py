"""A vertex's features to its Gaussian: colour, opacity, size and turn in the rig's rest pose."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import GaussianAttributes, harmonic_embedding

OCTAVES = 6
CODE = 3 * (2 * OCTAVES + 1)
"""Numbers of a position's code."""
UNIT = 0.1
"""Metres; the finest octave then has a wavelength of two centimetres."""
SOLID = 2.0
"""Logit of the opacity at the start: a surface, not fog."""


def position_code(points: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b e"]:
    """Sines and cosines of places on the rest mesh, metres."""
    return harmonic_embedding(points / UNIT, OCTAVES)


class GaussianHead(nn.Module):
    """Features and place of vertices to Gaussians. There is no refiner: the colours are what is seen, in Blender too.

    Args:
        dim: channels of the features. largest: greatest standard deviation, world units.
    """

    def __init__(self, dim: int, hidden: int, largest: float) -> None:
        super().__init__()
        self.largest = largest
        self.layers = nn.Sequential(
            nn.Linear(dim + CODE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3 + 1 + 3 + 4)
        )

    def forward(self, features: Float[Tensor, "b n d"], code: Float[Tensor, "n e"]) -> GaussianAttributes:
        raw = self.layers(torch.cat([features, code.expand(len(features), -1, -1)], -1))
        color, opacity, scale, turn = raw.split([3, 1, 3, 4], -1)
        upright = turn + turn.new_tensor([1.0, 0, 0, 0])
        return GaussianAttributes(
            colors=color.sigmoid(),
            opacities=(opacity + SOLID).sigmoid(),
            scales=self.largest * scale.sigmoid(),
            rotations=functional.normalize(upright, dim=-1),
        )


class OffsetHead(nn.Module):
    """Features of vertices to displacements in the rest pose, metres; none at the start.

    Args:
        reach: greatest displacement along each axis.
    """

    def __init__(self, dim: int, hidden: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        last = self.layers[2]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)

    def forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n 3"]:
        return self.reach * self.layers(features).tanh()
