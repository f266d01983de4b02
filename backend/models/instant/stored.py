"""What an avatar file keeps of the network's own head, so that it can be driven again without the photo."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from backend.protocol.avatar import F32, Avatar
from backend.protocol.errors import RigError

from .network import Points

CAMERA = "instant.world_to_camera"
"""Name in `Avatar.features`: the photo's camera in the skull's frame, metres, OpenCV axes."""
CODE = "instant.code"
"""The photo's own motion code."""
FIELDS = ("position", "appearance", "basis")


def stored_points(points: Points, level: int) -> dict[str, NDArray[np.floating]]:
    """Arrays for `Avatar.features`, of a batch of one; half precision but for positions."""
    found: dict[str, NDArray[np.floating]] = {_name(level, "spacing"): np.array([points.spacing], np.float32)}
    for field in FIELDS:
        kind = np.float32 if field == "position" else np.float16
        found[_name(level, field)] = getattr(points, field)[0].cpu().numpy().astype(kind)
    return found


def read_points(avatar: Avatar, level: int, basis: int, device: torch.device) -> Points:
    """The inverse of `stored_points`.

    Args:
        basis: channels of the network that shall animate them.

    Raises:
        RigError: an avatar of another model, without that level, or of a network of another width.
    """
    if not 0 <= level < len(avatar.lods):
        raise RigError(f"{avatar.name}: no level of detail {level}", f"choose 0 to {len(avatar.lods) - 1}")
    arrays = [feature(avatar, _name(level, field)) for field in FIELDS]
    if arrays[1].ndim != 2 or arrays[1].shape[1] != basis or arrays[2].shape != arrays[1].shape or arrays[0].shape != (len(arrays[1]), 3):
        raise RigError(
            f"{avatar.name}: was made by a network of {arrays[1].shape[-1]} channels, the one that LOOKALIKE_INSTANT names has {basis}",
            "name the network that made it, or reconstruct it again",
        )
    position, appearance, own = (torch.from_numpy(array.astype(np.float32)).to(device)[None] for array in arrays)
    spacing = float(feature(avatar, _name(level, "spacing")).reshape(-1)[0])
    return Points(position, appearance, own, torch.ones_like(position[..., 0]), spacing)


def photo_camera(avatar: Avatar) -> F32:
    """[4, 4] the photo's camera.

    Raises:
        RigError: an avatar of another model.
    """
    return np.array(feature(avatar, CAMERA), np.float32)


def feature(avatar: Avatar, name: str) -> NDArray[np.floating]:
    if name not in avatar.features:
        raise RigError(
            f"{avatar.name}: has nothing of Instant Expressive in it",
            "reconstruct it with --model instant, and keep the file as the backend wrote it",
        )
    return avatar.features[name]


def _name(level: int, field: str) -> str:
    return f"instant.lod{level}.{field}"
