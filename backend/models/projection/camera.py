"""A pinhole camera in OpenCV's convention, as a driver carries it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, Driver


@dataclass(frozen=True)
class Camera:
    """Where a picture was taken from and what it shows.

    Attributes:
        intrinsics: [3, 3] pixels, pixel centres at +0.5.
        world_to_camera: [4, 4] model frame to camera (x right, y down, z forward), metres.
        width, height: of the picture, pixels.
    """

    intrinsics: F32
    world_to_camera: F32
    width: int
    height: int

    @staticmethod
    def of_driver(driver: Driver) -> Camera:
        """The camera of one source portrait."""
        return Camera(driver.intrinsics, driver.world_to_camera, *driver.size)

    @property
    def focal(self) -> float:
        """Horizontal focal length, pixels."""
        return float(self.intrinsics[0, 0])

    @property
    def position(self) -> F32:
        """[3] centre of projection in the model frame, metres."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return (-rotation.T @ translation).astype(np.float32)

    def project(self, points: NDArray) -> F32:
        """[N, 3] model-frame points to x, y in pixels and depth in metres."""
        local = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        pixels = local @ self.intrinsics.T
        return np.concatenate([pixels[:, :2] / pixels[:, 2:], local[:, 2:]], 1).astype(np.float32)

    def unproject(self, pixels: NDArray) -> F32:
        """Inverse of `project`: [N, 3] x, y in pixels and depth in metres to the model frame."""
        rays = np.concatenate([pixels[:, :2], np.ones((len(pixels), 1))], 1) @ np.linalg.inv(self.intrinsics).T
        local = rays * pixels[:, 2:]
        return ((local - self.world_to_camera[:3, 3]) @ self.world_to_camera[:3, :3]).astype(np.float32)

    def facing(self, points: NDArray, normals: NDArray) -> F32:
        """[N] cosine between each normal and the direction to the camera: 1 frontal, 0 grazing, < 0 turned away."""
        ray = self.position - points
        return ((ray * normals).sum(1) / np.maximum(np.linalg.norm(ray, axis=1), 1e-9)).astype(np.float32)

    def cropped(self, box: tuple[float, float, float, float], size: int) -> Camera:
        """The camera that sees only `box` (x0, y0, x1, y1, square) of this picture, at `size` pixels a side."""
        zoom = size / (box[2] - box[0])
        shift = np.array([[zoom, 0, -box[0] * zoom], [0, zoom, -box[1] * zoom], [0, 0, 1]])
        return replace(self, intrinsics=(shift @ self.intrinsics).astype(np.float32), width=size, height=size)
