"""Cameras that look at a head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backend.protocol.avatar import F32, Avatar, Driver

# A portrait lens: the vertical field of view of an 85 mm lens on full frame.
_PORTRAIT_FIELD = math.radians(16.1)
# The head's height, crown to chin, as a part of the picture, and how far its middle is above the picture's.
_HEAD_FILLS = 0.58
_ABOVE_MIDDLE = 0.04


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        world_to_camera: [4, 4] OpenCV axes (x right, y down, z forward), metres.
        intrinsics: [3, 3] pixels; pixel centres at +0.5.
        width, height: pixels.
    """

    world_to_camera: F32
    intrinsics: F32
    width: int
    height: int

    @staticmethod
    def of(driver: Driver, size: int | None = None) -> Camera:
        """The camera of a driver, optionally with its longer side resized to `size` pixels."""
        width, height = driver.size
        scale = 1.0 if size is None else size / max(width, height)
        intrinsics = driver.intrinsics.astype(np.float32).copy()
        intrinsics[:2] *= scale
        return Camera(driver.world_to_camera.astype(np.float32), intrinsics, round(width * scale), round(height * scale))

    def pixels(self, points: F32) -> F32:
        """World points [N, 3] to [N, 3]: x, y in pixels and depth in metres."""
        in_camera = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        projected = in_camera @ self.intrinsics.T
        return np.concatenate([projected[:, :2] / projected[:, 2:], in_camera[:, 2:]], 1).astype(np.float32)


def orbit_camera(
    yaw: float, pitch: float, size: int | tuple[int, int], target: tuple[float, float, float] | F32 = (0.0, 0.0, 0.0),
    extent: float = 0.4, field_of_view: float = _PORTRAIT_FIELD,
) -> Camera:  # fmt: skip
    """Look at a point as if the head were turned.

    Args:
        yaw: degrees by which the head appears turned to its own left, which is the right of the picture.
        pitch: degrees by which it appears to look up.
        size: side of a square picture, or (width, height), pixels.
        target: point in the middle of the picture, metres.
        extent: metres that the picture's height spans at the target.
        field_of_view: vertical, radians; it sets the distance, not the framing.
    """
    width, height = (size, size) if isinstance(size, int) else size
    y, p = math.radians(yaw), math.radians(pitch)
    turn_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    turn_x = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    # OpenCV looks along +z with y down: turn the head first, then look at it from the front.
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn_x @ turn_y
    distance = 0.5 * extent / math.tan(0.5 * field_of_view)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = -rotation @ np.asarray(target, float) + [0, 0, distance]
    focal = height / (2 * math.tan(0.5 * field_of_view))
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(world_to_camera.astype(np.float32), intrinsics.astype(np.float32), width, height)


def portrait_camera(avatar: Avatar, yaw: float = 0.0, pitch: float = 0.0, size: int | tuple[int, int] = 512) -> Camera:
    """`orbit_camera` around the avatar's head, framed as a head-and-shoulders portrait."""
    middle, head_height = head_frame(avatar)
    camera = orbit_camera(yaw, pitch, size, middle, head_height / _HEAD_FILLS)
    # Turn about the middle of the head, but place it above the middle of the picture: shoulders are below.
    return _shifted(camera, 0.0, -_ABOVE_MIDDLE * camera.height)


def photo_camera(avatar: Avatar, driver: Driver, size: int = 512) -> Camera:
    """The photo's own camera, zoomed and cropped to a square of `size` pixels that frames the head as `portrait_camera` does."""
    middle, head_height = head_frame(avatar)
    whole = Camera.of(driver)
    x, y, depth = whole.pixels(middle[None])[0]
    zoom = _HEAD_FILLS * size / (head_height * whole.intrinsics[1, 1] / depth)
    intrinsics = whole.intrinsics.copy()
    intrinsics[:2] *= zoom
    camera = Camera(whole.world_to_camera, intrinsics, size, size)
    return _shifted(camera, size / 2 - zoom * float(x), (0.5 - _ABOVE_MIDDLE) * size - zoom * float(y))


def head_frame(avatar: Avatar) -> tuple[F32, float]:
    """Middle [3] and height in metres of the head in its rest pose, chin to crown with the hair."""
    rig = avatar.rig
    points = _or_all(rig.vertices, rig.weights[:, 0] < 0.5)
    low, high = points.min(0), points.max(0)
    if "jaw" in rig.joint_names:
        on_jaw = rig.weights[:, rig.joint_names.index("jaw")] > 0.5
        low[1] = _or_all(rig.vertices, on_jaw)[:, 1].min() if on_jaw.any() else low[1]
    splats = avatar.lods[0]
    if len(splats):
        # Hair rises above the mesh; a percentile keeps one stray splat from moving the camera.
        high[1] = max(high[1], float(np.percentile(splats.position[:, 1], 99.5)))
    return ((low + high) / 2).astype(np.float32), float(high[1] - low[1])


def _or_all(points: F32, chosen: np.ndarray) -> F32:
    return points[chosen] if chosen.any() else points


def _shifted(camera: Camera, right: float, down: float) -> Camera:
    """The picture moved by pixels: a shifted principal point, so perspective stays as it is."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[0, 2] += right
    intrinsics[1, 2] += down
    return Camera(camera.world_to_camera, intrinsics, camera.width, camera.height)
