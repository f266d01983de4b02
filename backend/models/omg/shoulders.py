"""What the rig's mesh does not cover: Gaussians on a plane through the head, moved towards or away from the camera (paper, sec. 3.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import GaussianAttributes
from backend.models.networks.gaussian_heads import CHANNELS, LARGEST

from .config import OMGConfig
from .heads import DIRECTION

FAINTEST = 1e-4
"""Opacity of a shoulder Gaussian that is kept."""
NEAR_HALF = 0.5
"""The mesh covers a pixel where its nearest surface lies in the nearer half of its own depth: neck and nape do not."""


class ShoulderBranch(nn.Module):
    """Feature map to Gaussians by convolutions."""

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        width, inner = config.dim + DIRECTION, config.hidden
        self.gaussian_conv = nn.Sequential(
            nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU(),
            nn.Conv2d(inner, CHANNELS + 1 + 3 + 4 + 1, 1),
        )  # fmt: skip
        self.released = config.released

    def forward(
        self, features: Float[Tensor, "b c h w"], direction: Float[Tensor, "b e"], mask: Float[Tensor, "b 1 h w"] | None = None
    ) -> GaussianAttributes:
        """One Gaussian a pixel of the map, row by row; `positions` are distances from the plane along the camera's axis.

        Args:
            features: feature map.
            direction: encoded direction of the source camera.
            mask: 0..1 share of each pixel that is not the head's; multiplies the opacity.
        """
        code = direction[:, :, None, None].expand(-1, -1, *features.shape[2:])
        raw = self.gaussian_conv(torch.cat([features, code], dim=1))
        color, opacity, scale, rotation, distance = raw.split([CHANNELS, 1, 3, 4, 1], dim=1)
        opacity = opacity.sigmoid()
        return GaussianAttributes(
            colors=_rows(self._bounded(color)),
            opacities=_rows(opacity if mask is None else opacity * mask),
            scales=LARGEST * _rows(scale.sigmoid()),
            rotations=_rows(functional.normalize(rotation, dim=1)),
            positions=_rows(distance.sigmoid()),
        )

    def _bounded(self, color: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Red, green and blue brought into 0..1."""
        if self.released:
            # Released: the sigmoid meets the first three *columns* of the map, in all 32 channels; colours stay unbounded.
            return torch.cat([color[..., :3].sigmoid(), color[..., 3:]], dim=-1)
        return torch.cat([color[:, :3].sigmoid(), color[:, 3:]], dim=1)


def outside_mask(
    depth: Float[Tensor, "b h w"], person: Float[Tensor, "b 1 s s"] | None, size: int, released: bool = False
) -> Float[Tensor, "b 1 n n"]:
    """Share of each pixel of the feature map that the shoulders' branch may fill: the person, but for the mesh's nearer half.

    Args:
        depth: the mesh's depth buffer, scaled to 0..1 (`visibility.normalized`).
        person: the matte, 0..1; None is everywhere.
        size: side of the feature map.
    """
    free = 1 - (depth[:, None] < NEAR_HALF).float()
    # Released: the person's mask is multiplied by zero, so the whole background is the shoulders' too.
    if person is not None and not released:
        free = free * functional.interpolate(person, free.shape[-2:], mode="bilinear", antialias=True)
    return functional.interpolate(free, (size, size), mode="bilinear", antialias=True)


def _rows(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    return values.flatten(2).transpose(1, 2)
