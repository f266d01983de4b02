"""Refined pictures of an avatar: its splats drawn with the network's 32 features and finished by its refiner (paper, sec. 3.4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.models.networks import GaussianAttributes, opencv_camera
from backend.models.networks.photo import network_camera
from backend.protocol.avatar import F32, Avatar
from backend.protocol.errors import RigError
from backend.splats.camera import Camera, orbit_camera
from backend.splats.posed import Posable
from backend.splats.rasterization import rasterization

HEAD, SHOULDERS, CAMERA = "omg.head", "omg.shoulders", "omg.world_to_camera"
"""Names in `Avatar.features`: of the finest level's splats (coarser ones are its first), of the shoulders, and the photo's camera."""


def stored_features(head: GaussianAttributes, shoulders: GaussianAttributes, world_to_camera: F32) -> dict[str, NDArray[np.floating]]:
    """What an avatar file keeps for `refined_features`; half precision: a step of 1 / 2048 of a feature of size 1."""
    half = lambda part: part.colors[0].cpu().numpy().astype(np.float16)
    return {HEAD: half(head), SHOULDERS: half(shoulders), CAMERA: np.asarray(world_to_camera, np.float32)}


def refined_camera(avatar: Avatar, yaw: float, pitch: float, size: int) -> Camera:
    """The photo's camera carried about the head: the lens and framing that the refiner knows.

    Args:
        yaw, pitch: degrees by which the head appears turned, as in `splats.orbit_camera`.

    Raises:
        RigError: an avatar without the network's features.
    """
    world_to_camera = _feature(avatar, CAMERA)
    facing = np.diag([1.0, -1.0, -1.0])
    turn = orbit_camera(yaw, pitch, size).world_to_camera[:3, :3] @ facing
    turned = world_to_camera.copy()
    turned[:3, :3] = turn @ world_to_camera[:3, :3]
    _, lens = opencv_camera(network_camera(turned), size)
    return Camera(turned.astype(np.float32), lens.numpy(), size, size)


def refined_features(
    avatar: Avatar, lod: int, camera: Camera, expression: Mapping[str, float] | None, pose: F32 | None, device: torch.device
) -> Tensor:
    """[1, 32, size, size] features of the posed avatar on black.

    Raises:
        RigError: an avatar without features, or without that level or expression.
    """
    splats = Posable(avatar, lod).pose(expression, pose)
    head = _feature(avatar, HEAD)[: len(avatar.lods[lod])]
    colors = np.concatenate([head, _feature(avatar, SHOULDERS)]).astype(np.float32)
    if len(colors) != len(splats):
        raise RigError(f"{avatar.name}: features of {len(colors)} splats for {len(splats)}", "reconstruct it again: its splats were edited")
    put = lambda array: torch.tensor(array, dtype=torch.float32, device=device)
    image, _, _ = rasterization(
        put(splats.position), put(splats.rotation), put(splats.scale), put(splats.opacity), put(colors),
        put(camera.world_to_camera)[None], put(camera.intrinsics)[None], camera.width, camera.height,
    )  # fmt: skip
    return image.permute(0, 3, 1, 2)


@torch.no_grad()
def refined_picture(refiner: nn.Module, features: Tensor) -> F32:
    """[size, size, 3] 0..1 on black."""
    return np.ascontiguousarray(refiner(features)[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy(), np.float32)


def _feature(avatar: Avatar, name: str) -> NDArray[np.floating]:
    if name not in avatar.features:
        raise RigError(
            f"{avatar.name}: has no features for a refiner", "reconstruct it with --model omg, and keep the file as the backend wrote it"
        )
    return avatar.features[name]
