"""One photo to three feature planes through the head, and points that read them (paper: three planes of 256 x 256 x 96).

The text does not say what the encoder is made of. Ours: the planes begin as learned tokens that attend to the photo's (Hong et
al. 2024, LRM), are enlarged by convolutions, and the front plane is also given the photo's own feature map and colours, laid
onto the front of a ball the size of a head (after Trevithick et al. 2023, who hand the planes a high-resolution map of the photo).
"""

from __future__ import annotations

import functools
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import FOCAL, DinoFeatures

from .config import EXTENT, InstantConfig

AXES = ((0, 1), (2, 1), (0, 2))
"""Which coordinates are column and row of the front, side and top plane."""

GROUPS = 4
"""Of channels that are brought to unit variance together."""
CONTRAST = 4.0
"""Brings the photo's colours to about unit variance."""


class PlaneLifter(nn.Module):
    """Tokens and map of a photo to planes.

    Args:
        config: its sizes.
        channels: of each plane.
    """

    def __init__(self, config: InstantConfig, channels: int) -> None:
        super().__init__()
        self.grid, self.planes, dim = config.grid, config.planes, config.dim
        self.start = nn.Parameter(torch.randn(3 * self.grid**2, dim))
        self.tokens = nn.Linear(config.token_dim, dim)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(dim, config.heads, config.feedforward, 0.0, batch_first=True, norm_first=True)
            for _ in range(config.layers)
        )
        widths = (dim, dim // 2, dim // 2, dim // 4)
        self.enlarge = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        # Without these, convolutions from nothing flatten the planes until every point of space looks the same.
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for width in widths[1:])
        self.front_norm = nn.GroupNorm(GROUPS, dim)
        self.front = nn.Conv2d(dim + 3, widths[-1], 1)
        self.mix = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.out = nn.Conv2d(widths[-1], channels, 1)

    def forward(
        self, features: DinoFeatures, image: Float[Tensor, "b 3 s s"], camera: Float[Tensor, "b 3 4"], ball: Float[Tensor, "2 3"]
    ) -> Float[Tensor, "b 3 c p p"]:
        """
        Args:
            features: of the photo. image: itself, 0..1.
            camera: of the photo, in the skull's frame.
            ball: middle and half sizes of the head, world units.
        """
        batch, seen = len(features.tokens), self.tokens(features.tokens)
        planes = self.start.expand(batch, -1, -1)
        for layer in self.layers:
            planes = layer(planes, seen)
        texels = planes.reshape(3 * batch, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        for conv, norm in zip(self.enlarge, self.norms, strict=True):
            texels = functional.interpolate(texels, scale_factor=2.0, mode="bilinear", align_corners=False)
            texels = functional.silu(norm(conv(texels)))
        colors = CONTRAST * (functional.interpolate(image, features.map.shape[-2:], mode="bilinear", antialias=True) - 0.5)
        photo = torch.cat([self.front_norm(features.map), colors], 1)
        laid = self.front(lay_on_ball(photo, camera, ball, self.planes))
        texels = texels.unflatten(0, (batch, 3))
        texels = torch.cat([texels[:, :1] + laid[:, None], texels[:, 1:]], 1).flatten(0, 1)
        texels = texels + functional.silu(self.mix(functional.silu(texels)))
        return self.out(texels).unflatten(0, (batch, 3))


def lay_on_ball(
    features: Float[Tensor, "b d h w"], camera: Float[Tensor, "b 3 4"], ball: Float[Tensor, "2 3"], side: int
) -> Float[Tensor, "b d p p"]:
    """The photo's map where the front plane's texels, raised to the front of the head's ball, appear in the photo.

    Texels beside the ball lie on the plane through its middle; what the photo does not show is zero.
    """
    line = ((torch.arange(side, device=ball.device, dtype=ball.dtype) + 0.5) / side * 2 - 1) * EXTENT
    x, y = torch.meshgrid(line, -line, indexing="xy")
    within = (1 - (x / ball[1, 0]).square() - (y / ball[1, 1]).square()).clamp_min(0)
    points = ball[0] + torch.stack([x, y, ball[1, 2] * within.sqrt()], -1).reshape(-1, 3)
    seen = points @ camera[:, :, :3].to(points.dtype) + camera[:, None, :, 3]
    screen = -FOCAL * seen[..., :2] / seen[..., 2:].clamp_min(1e-3)
    place = screen.reshape(len(camera), side, side, 2).to(features.dtype)
    return functional.grid_sample(features, place, mode="bilinear", padding_mode="zeros", align_corners=False)


def read_planes(planes: Float[Tensor, "b 3 c p p"], points: Float[Tensor, "b n 3"], ball: Float[Tensor, "2 3"]) -> Float[Tensor, "b n c"]:
    """Sum over the planes of what each holds at the points' projection; zero outside the cube.

    Args:
        points: world units, in the skull's frame. ball: its middle is the cube's.
    """
    place = (points - ball[0]) / EXTENT
    place = place * place.new_tensor([1.0, -1.0, 1.0])
    read = functools.reduce(
        torch.add,
        (
            functional.grid_sample(planes[:, k], place[:, :, None, list(axes)], mode="bilinear", padding_mode="zeros", align_corners=False)
            for k, axes in enumerate(AXES)
        ),
    )
    return read[..., 0].transpose(1, 2)
