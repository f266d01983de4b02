"""Small perceptrons from a vertex's features to its Gaussian, and to its displacement (paper, eq. 1 and 7)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import GaussianAttributes
from backend.models.networks.gaussian_heads import CHANNELS, LARGEST

from .config import OMGConfig

DIRECTION = 27
"""Values of the source camera's encoded direction: sines and cosines of four octaves, and the vector itself."""
LARGEST_OFFSET = 0.05
"""Metres that a vertex may be displaced along each axis."""


class AttributeHead(nn.Module):
    """Fused features of the vertices that one level adds to their Gaussians' attributes."""

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        width = config.dim + DIRECTION
        self.color_layers = _perceptron(width, config.hidden, CHANNELS)
        self.opacity_layers = _perceptron(width, config.hidden, 1)
        self.scale_layers = _perceptron(width, config.hidden, 3)
        self.rotation_layers = _perceptron(width, config.hidden, 4)
        if config.released:
            self.offset_layers = _perceptron(width, config.hidden, 3)  # Released: weights that nothing reads.
        self.released = config.released

    def forward(self, features: Float[Tensor, "b n d"], direction: Float[Tensor, "b e"]) -> GaussianAttributes:
        """
        Args:
            features: fused features.
            direction: encoded direction of the source camera.
        """
        seen = with_direction(features, direction)
        color = self.color_layers(seen)
        # Released: quaternions are normalised over the *vertices* of the level, each component by itself; one is then about 0.03 long.
        axis = 1 if self.released else -1
        return GaussianAttributes(
            colors=torch.cat([color[..., :3].sigmoid(), color[..., 3:]], dim=-1),
            opacities=self.opacity_layers(seen).sigmoid(),
            scales=LARGEST * self.scale_layers(seen).sigmoid(),
            rotations=functional.normalize(self.rotation_layers(seen), dim=axis),
        )


class OffsetHead(nn.Module):
    """Global features to displacements of the rig's vertices in its rest pose, metres."""

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        self.offset_layers = _perceptron(config.dim + DIRECTION, config.hidden, 3)

    def forward(self, features: Float[Tensor, "b v d"], direction: Float[Tensor, "b e"]) -> Float[Tensor, "b v 3"]:
        return LARGEST_OFFSET * self.offset_layers(with_direction(features, direction)).tanh()


def with_direction(features: Float[Tensor, "b n d"], direction: Float[Tensor, "b e"]) -> Float[Tensor, "b n f"]:
    """The direction's code appended to every vertex's features."""
    return torch.cat([features, direction[:, None].expand(-1, features.shape[1], -1)], dim=-1)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
