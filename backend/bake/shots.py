"""The refined pictures of a plan, each with its camera, and where the avatar shows in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.models.interface import Listener, Refining
from backend.protocol.avatar import F32, Avatar
from backend.splats.camera import Camera
from backend.splats.posed import Posable
from backend.splats.render import render_splats

from .plan import Frame

BLACK = (0.0, 0.0, 0.0)
SHOWN = 0.02
RIM = 5
"""Pixels about the person that count too, so that nothing grows beyond the outline unseen."""


@dataclass(frozen=True)
class Shot:
    """One refined picture.

    Attributes:
        image: [H, W, 3] display-referred, on black. matte: [H, W] coverage by the avatar as it was.
        counts: [H, W] pixels that are judged: the person and a rim.
        camera: of the picture.
    """

    frame: Frame
    image: F32
    matte: F32
    counts: NDArray[np.bool_]
    camera: Camera


def take_shots(model: Refining, avatar: Avatar, frames: Sequence[Frame], size: int, listener: Listener) -> list[Shot]:
    """Ask the refiner for every frame, of the finest level, at most `size` pixels a side."""
    finest = len(avatar.lods) - 1
    posable = Posable(avatar, finest)
    shots = []
    for i, frame in enumerate(frames):
        listener.progress(i / len(frames), "refine", f"{i + 1} of {len(frames)}")
        pose = frame.pose(avatar.rig)
        picture = model.refine(avatar, finest, frame.yaw, frame.pitch, frame.expression, pose)
        image, camera = reduced(picture, model.refined_camera(avatar, frame.yaw, frame.pitch), size)
        _, matte = render_splats(posable.pose(frame.expression, pose), camera, BLACK)
        person = ((matte > SHOWN) | (image.max(2) > SHOWN)).astype(np.uint8)
        counts = cv2.dilate(person, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
        shots.append(Shot(frame, image, matte, counts, camera))
    return shots


def reduced(picture: F32, camera: Camera, size: int) -> tuple[F32, Camera]:
    """A picture and its camera with `size` pixels a side at most."""
    if size >= max(camera.width, camera.height):
        return np.ascontiguousarray(picture, np.float32), camera
    factor = size / max(camera.width, camera.height)
    width, height = round(camera.width * factor), round(camera.height * factor)
    intrinsics = camera.intrinsics.astype(np.float32).copy()
    intrinsics[0] *= width / camera.width
    intrinsics[1] *= height / camera.height
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, np.float32), Camera(camera.world_to_camera, intrinsics, width, height)


def psnr(avatar: Avatar, level: int, shots: Sequence[Shot], ask: Callable[[], None] = lambda: None) -> float:
    """dB of a level against refined pictures, drawn as `lookalike render` draws it, over the pixels that count.

    `ask` is called before each picture, and may raise to end it.
    """
    posable = Posable(avatar, level)
    error, count = 0.0, 0
    for shot in shots:
        ask()
        drawn = render_splats(posable.pose(shot.frame.expression, shot.frame.pose(avatar.rig)), shot.camera, BLACK)[0]
        difference = (drawn - np.clip(shot.image, 0, 1))[shot.counts].astype(np.float64)
        error, count = error + float((difference**2).sum()), count + difference.size
    return float(-10 * np.log10(max(error / max(count, 1), 1e-12)))
