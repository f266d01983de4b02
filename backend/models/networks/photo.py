"""A portrait as the network sees it: a square picture of the person on black, and the camera of its fixed long lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backend.models.projection.view import View
from backend.protocol.avatar import F32, Driver
from backend.rig.skinning import rotation_matrices
from backend.tracking.portrait import Portrait

from .cameras import FOCAL, METRE, opencv_camera, to_pytorch3d

F64 = NDArray[np.float64]
STEPS = 20
"""Of Gauss-Newton; five are enough from a start that is a telephoto lens of the same magnification."""


@dataclass(frozen=True)
class Photo:
    """One portrait for the network.

    Attributes:
        image: [1, 3, s, s] the person on black, 0..1.
        person: [1, 1, s, s] the matte.
        camera: [1, 3, 4] [R | T] for row vectors, world units.
        world_to_camera: [4, 4] the same as an OpenCV camera in metres.
        error: how far the rig's vertices lie from where the portrait's own camera shows them, root mean square, shares of the picture:
            what the change of lens costs.
    """

    image: Float[Tensor, "1 3 s s"]
    person: Float[Tensor, "1 1 s s"]
    camera: Float[Tensor, "1 3 4"]
    world_to_camera: F32
    error: float

    @staticmethod
    def of(portrait: Portrait, driver: Driver, posed: F32) -> Photo:
        """Crop the portrait about the head and find the lens's place.

        Args:
            driver: how the rig stands in the portrait.
            posed: [V, 3] its vertices there, metres.
        """
        view = View.of(portrait, driver)
        pixels = view.camera.project(posed)[:, :2]
        screen = (pixels / view.size * 2 - 1).astype(np.float64)
        start = view.camera.world_to_camera.astype(np.float64)
        world_to_camera, error = long_lens(posed.astype(np.float64), screen, start)
        picture = np.clip(view.foreground * view.matte[..., None], 0, 1).astype(np.float32)
        return Photo(
            image=torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous(),
            person=torch.from_numpy(view.matte)[None, None],
            camera=network_camera(world_to_camera)[None],
            world_to_camera=world_to_camera,
            error=error,
        )


def network_camera(world_to_camera: F32) -> Float[Tensor, "3 4"]:
    """An OpenCV camera in metres as the network's [R | T] in world units."""
    scaled = torch.from_numpy(np.array(world_to_camera, np.float32))
    scaled[:3, 3] *= METRE
    return to_pytorch3d(scaled)


def opencv_pose(camera: Float[Tensor, "3 4"]) -> F32:
    """The inverse of `network_camera`."""
    view = opencv_camera(camera.cpu())[0].numpy().copy()
    view[:3, 3] /= METRE
    return view.astype(np.float32)


def long_lens(points: F64, screen: F64, start: F64) -> tuple[F32, float]:
    """Where a camera with a focal length of `FOCAL` half pictures sees points nearly where another lens did (Gauss-Newton).

    Args:
        points: [N, 3] metres.
        screen: [N, 2] x right, y down in -1..1 within the picture.
        start: [4, 4] the other camera, OpenCV; its rotation is a good start.
    Returns:
        world_to_camera [4, 4] in metres; root mean square of the distance left, in pictures.
    """
    rotation = start[:3, :3]
    seen = points @ rotation.T
    middle, spread = seen.mean(0), seen[:, :2].std(0)
    distance = FOCAL * float(np.linalg.norm(spread)) / max(float(np.linalg.norm(screen.std(0))), 1e-6)
    translation = np.append(screen.mean(0) * distance / FOCAL - middle[:2], distance - middle[2])
    for _ in range(STEPS):
        seen = points @ rotation.T + translation
        depth = seen[:, 2:]
        residual = FOCAL * seen[:, :2] / depth - screen
        # d(x / z) = [1, 0, -x/z] / z . d(seen), and d(seen) = d(translation) + d(turn) x (R p).
        slope = np.zeros((len(points), 2, 3))
        slope[:, 0, 0] = slope[:, 1, 1] = FOCAL / depth[:, 0]
        slope[:, :, 2] = -FOCAL * seen[:, :2] / depth**2
        turned = seen - translation
        jacobian = np.concatenate([slope, np.cross(turned[:, None], slope)], 2).reshape(-1, 6)
        step = np.linalg.lstsq(jacobian, -residual.ravel(), rcond=None)[0]
        translation = translation + step[:3]
        rotation = rotation_matrices(step[3:]) @ rotation
        if np.abs(step).max() < 1e-9:
            break
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = rotation, translation
    return world_to_camera.astype(np.float32), float(np.sqrt((residual**2).sum(1).mean()) / 2)
