"""Sets of Gaussians, as attributes of batches in world units: parts of them."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from backend.models.networks import GaussianAttributes


def first(attributes: GaussianAttributes, count: int) -> GaussianAttributes:
    """Those of the first `count` Gaussians: of a coarser level, whose vertices come first."""
    return GaussianAttributes(*(None if part is None else part[:, :count] for part in attributes))  # pyright: ignore[reportArgumentType]


def kept(attributes: GaussianAttributes, mask: Bool[Tensor, " n"]) -> GaussianAttributes:
    """Those that a mask picks."""
    return GaussianAttributes(*(None if part is None else part[:, mask] for part in attributes))  # pyright: ignore[reportArgumentType]


def joined(parts: list[GaussianAttributes]) -> GaussianAttributes:
    """One set after the other, without the distances that only lifted ones have."""
    return GaussianAttributes(*(torch.cat([part[i] for part in parts], dim=1) for i in range(4)))  # pyright: ignore[reportCallIssue, reportArgumentType]
