"""The Gaussians that networks of this family put out, as ellipsoids: axes of unit length and standard deviations in metres."""

from __future__ import annotations

import numpy as np
import torch

from backend.protocol.avatar import F32
from backend.protocol.binding import quaternions
from backend.splats.covariance import raw_covariances

from .cameras import METRE
from .gaussian_heads import GaussianAttributes

THINNEST = 1e-5
"""Metres; a smaller standard deviation would be no splat."""


def ellipsoids(attributes: GaussianAttributes) -> tuple[F32, F32]:
    """Rotations [N, 4], unit quaternions, and scales [N, 3] in metres of what is drawn.

    Where the network's quaternions are not of unit length, its Gaussians are R S S R' with an R that is no rotation: axes and
    lengths of that ellipsoid are found anew.
    """
    covariance = raw_covariances(attributes.rotations[0].double(), attributes.scales[0].double()) / METRE**2
    variance, axes = torch.linalg.eigh(covariance)
    mirrored = torch.linalg.det(axes) < 0
    axes = torch.where(mirrored[:, None, None], -axes, axes)
    scale = variance.clamp_min(THINNEST**2).sqrt()
    return quaternions(axes.float().cpu().numpy()), np.ascontiguousarray(scale.cpu().numpy(), np.float32)
