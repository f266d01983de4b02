"""Covariances from rotations and scales."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def raw_covariances(quats: Float[Tensor, "*b 4"], scales: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """R S S R^T with R from the quaternion (w, x, y, z) *as it is*, never normalised.

    `rasterization` normalises its quaternions, as gsplat does. Networks trained with a rasterizer that does not (GAGAvatar's
    family, quirk Q2: vertex quaternions have a length of about 0.03, so R is close to the identity) are drawn right by passing
    these covariances instead.
    """
    w, x, y, z = quats.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    axes = torch.stack(rows, -1).unflatten(-1, (3, 3)) * scales[..., None, :]
    # Summed in a fixed order, so that radii in whole pixels do not depend on a matrix product's.
    a, b, c = axes.unbind(-1)
    outer = lambda v: v[..., :, None] * v[..., None, :]
    return (outer(a) + outer(b)) + outer(c)
