"""What an avatar file keeps of its photos, so that another one can be added without looking at the earlier ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.protocol.avatar import F32, Avatar
from backend.protocol.errors import RigError, WeightsError

from .config import FFConfig
from .network import Glimpse
from .rig_estimator import RigEstimate

TOKENS, ESTIMATES, NETWORK = "ffavatar.tokens", "ffavatar.estimates", "ffavatar.network"
"""Names in `Avatar.features`: [P, n, d] tokens of the photos, [P, k] the rig read off each, [16] which network's they are."""


def network_mark(path: Path) -> F32:
    """[16] numbers that tell a weights file by its SHA-256, two bytes each.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    return np.frombuffer(digest, "<u2").astype(np.float32)


def stored(glimpses: Sequence[Glimpse], mark: F32) -> dict[str, NDArray[np.floating]]:
    """What the file keeps, in full precision: added to later, the avatar is what all photos at once give."""
    array = lambda tensor: np.ascontiguousarray(tensor.cpu().numpy(), np.float32)
    return {
        TOKENS: array(torch.cat([glimpse.tokens for glimpse in glimpses])),
        ESTIMATES: array(torch.cat([_flat(glimpse.rig) for glimpse in glimpses])),
        NETWORK: mark,
    }


def remembered(avatar: Avatar, config: FFConfig, mark: F32) -> list[Glimpse]:
    """The glimpses that `stored` put away.

    Raises:
        RigError: an avatar without them, or one of another network.
    """
    if any(name not in avatar.features for name in (TOKENS, ESTIMATES, NETWORK)):
        raise RigError(
            f"{avatar.name}: keeps nothing of its photos that another could be added to",
            "reconstruct it with --model ffavatar, and keep the file as the backend wrote it",
        )
    if not np.array_equal(avatar.features[NETWORK], mark):
        raise RigError(f"{avatar.name}: was made by another network than the one in use", "reconstruct it from all its photos")
    tokens, rows = (np.array(avatar.features[name], np.float32) for name in (TOKENS, ESTIMATES))
    width = config.shapes + 1 + config.expressions + 3 * config.joints + 12
    if tokens.ndim != 3 or tokens.shape[2] != config.dim or rows.shape != (len(tokens), width) or not len(tokens):
        raise RigError(f"{avatar.name}: what it keeps of its photos is damaged", "reconstruct it from all its photos")
    estimates = [_estimate(torch.from_numpy(row)[None], config) for row in rows]
    return [Glimpse(torch.from_numpy(own)[None], estimate) for own, estimate in zip(tokens, estimates, strict=True)]


def moved(glimpse: Glimpse, device: torch.device) -> Glimpse:
    """A glimpse on another device."""
    rig = glimpse.rig
    parts = (part.to(device) for part in (rig.shape, rig.confidence, rig.expression, rig.pose, rig.camera))
    return Glimpse(glimpse.tokens.to(device), RigEstimate(*parts))


def _flat(rig: RigEstimate) -> Tensor:
    return torch.cat([rig.shape, rig.confidence, rig.expression, rig.pose.flatten(1), rig.camera.flatten(1)], 1)


def _estimate(row: Tensor, config: FFConfig) -> RigEstimate:
    shape, confidence, expression, pose, camera = row.split([config.shapes, 1, config.expressions, 3 * config.joints, 12], 1)
    return RigEstimate(shape, confidence, expression, pose.unflatten(1, (-1, 3)), camera.unflatten(1, (3, 4)))
