"""Pictures of an avatar: one view, a turntable, a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from backend.protocol.avatar import F32, Avatar, SplatArrays

from .camera import Camera, portrait_camera
from .posed import Posable
from .rasterization import rasterization

Color = Sequence[float]
WHITE = (1.0, 1.0, 1.0)


def render(
    avatar: Avatar,
    lod: int,
    camera: Camera,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
    background: Color | F32 = WHITE,
    antialias: bool = False,
) -> tuple[F32, F32]:
    """One picture, display-referred sRGB.

    Args:
        lod: level of detail.
        camera: see `portrait_camera`.
        expression: value of each named expression.
        pose: [J, 3] axis-angle, radians.
        background: one colour [3], or a picture [H, W, 3].
        antialias: fade splats smaller than a pixel instead of growing them; for pictures smaller than the photo.

    Returns:
        rgb [H, W, 3] in 0..1 over the background, alpha [H, W].
    """
    return render_splats(Posable(avatar, lod).pose(expression, pose), camera, background, antialias)


def render_splats(splats: SplatArrays, camera: Camera, background: Color | F32 = WHITE, antialias: bool = False) -> tuple[F32, F32]:
    """`render` of splats that are already posed."""
    degree = int(np.sqrt(splats.sh.shape[1])) - 1
    colors = splats.sh if degree else np.maximum(splats.rgb, 0)
    with torch.no_grad():
        image, alpha, _ = rasterization(
            torch.tensor(splats.position), torch.tensor(splats.rotation), torch.tensor(splats.scale), torch.tensor(splats.opacity),
            torch.tensor(colors), torch.tensor(camera.world_to_camera)[None], torch.tensor(camera.intrinsics)[None],
            camera.width, camera.height, sh_degree=degree or None, rasterize_mode="antialiased" if antialias else "classic",
        )  # fmt: skip
    coverage = alpha[0].numpy()
    picture = image[0].numpy() + (1 - coverage) * np.asarray(background, np.float32)
    return np.ascontiguousarray(np.clip(picture, 0, 1), np.float32), np.ascontiguousarray(coverage[..., 0])


def turntable(
    avatar: Avatar, lod: int, size: int = 512, frames: int = 72, reach: float = 45.0, background: Color = WHITE
) -> Iterator[F32]:  # fmt: skip
    """Pictures [size, size, 3] of the head swinging once through +-`reach` degrees; 360 or more goes all round."""
    splats = Posable(avatar, lod).pose()
    for i in range(frames):
        phase = 2 * np.pi * i / frames
        yaw = 360.0 * i / frames if reach >= 360 else reach * np.sin(phase)
        yield render_splats(splats, portrait_camera(avatar, float(yaw), 0.0, size), background)[0]
