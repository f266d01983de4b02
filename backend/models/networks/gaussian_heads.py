"""Heads that turn features into Gaussian attributes (GAGAvatar sec. 3.2; names of the released checkpoint)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 32
"""Features that a Gaussian carries in place of a colour; the first three are trained to be RGB."""
LARGEST = 0.05
"""Largest standard deviation, world units (1 cm on FLAME)."""


class GaussianAttributes(NamedTuple):
    """Attributes of N Gaussians, without their centres.

    Attributes:
        colors: [*b, n, 32] features.
        opacities: [*b, n, 1] in 0..1.
        scales: [*b, n, 3] world units.
        rotations: [*b, n, 4] quaternions w, x, y, z; not always of unit length (quirk Q2).
        positions: [*b, n, 1] distance along the lifting direction in 0..1 world units; None for vertices.
    """

    colors: Float[Tensor, "*b n f"]
    opacities: Float[Tensor, "*b n 1"]
    scales: Float[Tensor, "*b n 3"]
    rotations: Float[Tensor, "*b n 4"]
    positions: Float[Tensor, "*b n 1"] | None = None


class LinearGaussians(nn.Module):
    """Features of vertices to attributes; there is no learnt offset, the Gaussians sit on the vertices.

    Args:
        inputs: channels of a vertex's feature.
        direction: channels of the embedded viewing axis.
    """

    def __init__(self, inputs: int = 1024, direction: int = 27, width: int = 256) -> None:
        super().__init__()
        sizes = (inputs, width, width, width, width)
        self.feature_layers = nn.Sequential(
            *(layer for i in range(4) for layer in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()))
        )[:-1]  # fmt: skip
        head = lambda outputs: nn.Sequential(nn.Linear(width + direction, 128), nn.ReLU(), nn.Linear(128, outputs))
        self.color_layers, self.opacity_layers = head(CHANNELS), head(1)
        self.scale_layers, self.rotation_layers = head(3), head(4)

    def forward(self, features: Float[Tensor, "b n c"], direction: Float[Tensor, "b e"]) -> GaussianAttributes:
        """Attributes of every vertex under one embedded direction a picture."""
        features = self.feature_layers(features)
        features = torch.cat([features, direction[:, None].expand(-1, features.shape[1], -1)], -1)
        colors = self.color_layers(features)
        return GaussianAttributes(
            colors=torch.cat([colors[..., :3].sigmoid(), colors[..., 3:]], -1),
            opacities=self.opacity_layers(features).sigmoid(),
            scales=LARGEST * self.scale_layers(features).sigmoid(),
            # Quirk Q2/G2: normalised over the vertices, not over the four components. Each component has unit norm over the mesh,
            # one quaternion has a length of about 0.03, and its "rotation" is close to the identity where nothing normalises it.
            rotations=functional.normalize(self.rotation_layers(features), dim=1),
        )


class ConvGaussians(nn.Module):
    """A dense map to one Gaussian a pixel, lifted from a plane."""

    def __init__(self, inputs: int = 256, direction: int = 27, width: int = 128) -> None:
        super().__init__()
        self.gaussian_conv = nn.Sequential(
            nn.Conv2d(inputs + direction, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, CHANNELS + 1 + 3 + 4 + 1, 1),
        )  # fmt: skip

    def forward(self, features: Float[Tensor, "b c h w"], direction: Float[Tensor, "b e"]) -> GaussianAttributes:
        """Attributes of every pixel, row-major: n = h w."""
        spread = direction[:, :, None, None].expand(-1, -1, *features.shape[-2:])
        raw = self.gaussian_conv(torch.cat([features, spread], 1))
        colors, opacities, scales, rotations, positions = raw.split([CHANNELS, 1, 3, 4, 1], 1)
        # Quirk Q3/G3: the sigmoid meant for RGB falls on the first three *columns* of the image, of all channels. The networks were
        # trained with it, so RGB of lifted Gaussians is not squashed and three columns are.
        colors = torch.cat([colors[..., :3].sigmoid(), colors[..., 3:]], -1)
        flat = lambda image: image.flatten(2).transpose(1, 2)
        return GaussianAttributes(
            colors=flat(colors),
            opacities=flat(opacities).sigmoid(),
            scales=LARGEST * flat(scales).sigmoid(),
            rotations=functional.normalize(flat(rotations), dim=-1),
            positions=flat(positions).sigmoid(),
        )
