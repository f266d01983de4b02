"""Harmonic embedding of a direction (Mildenhall et al. 2020, NeRF, eq. 4), as PyTorch3D orders it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def harmonic_embedding(vector: Float[Tensor, "*b d"], octaves: int = 4) -> Float[Tensor, "*b e"]:
    """sin(x 2^k), then cos(x 2^k), then x itself: e = d (2 octaves + 1).

    Within sine and cosine the octaves of one component stand together: x1, x2, x4, x8, y1, ... (quirk G4: the networks
    embed the *source* camera's viewing axis, one vector a picture).
    """
    scales = 2.0 ** torch.arange(octaves, dtype=vector.dtype, device=vector.device)
    angles = (vector[..., None] * scales).flatten(-2)
    return torch.cat([angles.sin(), angles.cos(), vector], -1)
