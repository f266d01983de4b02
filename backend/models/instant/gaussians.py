"""Appearance of points to their Gaussians: one perceptron for the neutral and the animated (paper)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import GaussianAttributes

from .config import InstantConfig

REACH = 0.25
"""World units (5 cm) that a Gaussian may lie from its point along each axis: an open jaw moves a chin by 4."""
LARGEST = 2.5
"""Standard deviation that a Gaussian may have, in distances between rays."""
PRIOR, RIM, LEAST, MOST = 6.0, 0.95, -4.0, 2.0
"""Before anything is learned, opacity is that of a ball the size of a head: logit PRIOR (RIM - r), within LEAST..MOST. Ours: from
fog the same rays learn slowly, and from nothing not at all."""


class GaussianDecoder(nn.Module):
    """One perceptron from a point's appearance to position, scale, quaternion, opacity and colour."""

    def __init__(self, config: InstantConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.layers = nn.Sequential(
            nn.Linear(config.basis, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 3 + 3 + 4 + 1 + 3)
        )

    def forward(
        self, appearance: Float[Tensor, "b n c"], points: Float[Tensor, "b n 3"], spacing: float, ball: Float[Tensor, "2 3"]
    ) -> GaussianAttributes:
        """Gaussians; `positions` are their centres [b, n, 3], world units, not distances.

        Args:
            spacing: between neighbouring rays, world units; scales are in it, so that any level of detail covers the surface.
        """
        offset, scale, rotation, opacity, color = self.layers(appearance).split([3, 3, 4, 1, 3], -1)
        upright = rotation.new_tensor([1.0, 0.0, 0.0, 0.0])
        return GaussianAttributes(
            colors=color.sigmoid(),
            opacities=(opacity + ball_logit(points, ball)[..., None]).sigmoid(),
            scales=LARGEST * spacing * (scale - 1).sigmoid(),
            rotations=functional.normalize(rotation + upright, dim=-1),
            positions=points + REACH * offset.tanh(),
        )

    def opacity(
        self, appearance: Float[Tensor, "b n c"], points: Float[Tensor, "b n 3"], ball: Float[Tensor, "2 3"]
    ) -> Float[Tensor, "b n"]:
        """Opacity alone: what rays are sampled by."""
        return (self.layers(appearance)[..., 10] + ball_logit(points, ball)).sigmoid()


def ball_logit(points: Float[Tensor, "*b 3"], ball: Float[Tensor, "2 3"]) -> Float[Tensor, "*b"]:
    """Logit of the opacity that a point begins with."""
    radius = ((points - ball[0]) / ball[1]).norm(dim=-1)
    return (PRIOR * (RIM - radius)).clamp(LEAST, MOST)
