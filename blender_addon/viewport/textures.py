"""Splat arrays as textures: Blender's Python has no storage buffers, so shaders fetch texels by index."""

from __future__ import annotations

from dataclasses import dataclass

import gpu
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

TEXTURE_WIDTH = 2048
GEOMETRY_TEXELS = 3


@dataclass(frozen=True)
class SplatData:
    """Splats of one object as they are drawn, in its object space.

    Attributes:
        position: [N, 3].
        rotation: [N, 4] wxyz.
        scale: [N, 3] standard deviations, linear.
        appearance: [N, 4] display-referred r, g, b and opacity 0..1.
    """

    position: F32
    rotation: F32
    scale: F32
    appearance: F32

    def __len__(self) -> int:
        return len(self.position)

    def bounds(self) -> tuple[F32, F32]:
        """Lowest and highest corner of the box that holds every splat to three standard deviations."""
        reach = 3.0 * float(self.scale.max(initial=0.0))
        # Contiguous columns: numpy's minimum along the first axis of [N, 3] takes 9 ms for 89k, this 0.3.
        columns = np.ascontiguousarray(self.position.T)
        return columns.min(axis=1) - reach, columns.max(axis=1) + reach


def pack_geometry(splats: SplatData) -> F32:
    """Flat array of whole texture rows as `geometry` in splat.vert.glsl: position, scale x, rotation, scale y, scale z, two spare."""
    floats = 4 * GEOMETRY_TEXELS
    flat = np.zeros(texture_size(len(splats) * GEOMETRY_TEXELS, 4), np.float32)
    packed = flat[: len(splats) * floats].reshape(-1, floats)
    packed[:, :3] = splats.position
    packed[:, 3] = splats.scale[:, 0]
    packed[:, 4:8] = splats.rotation
    packed[:, 8:10] = splats.scale[:, 1:]
    return flat


def texture_size(texels: int, channels: int) -> int:
    """Floats in as many whole rows as hold the texels."""
    return max(1, -(-texels // TEXTURE_WIDTH)) * TEXTURE_WIDTH * channels


def upload(values: F32, channels: int) -> gpu.types.GPUTexture:
    """A new texture of `channels` 32-bit floats a texel that holds the values row by row. Needs a GPU context.

    A ndarray goes into `gpu.types.Buffer` without conversion; a list of 1M floats would take 136 ms.
    """
    size = texture_size(-(-values.size // channels), channels)
    flat = values.reshape(-1)
    if flat.size != size:
        padded = np.zeros(size, np.float32)
        padded[: flat.size] = flat
        flat = padded
    layout = {1: "R32F", 4: "RGBA32F"}[channels]
    return gpu.types.GPUTexture(
        (TEXTURE_WIDTH, size // (TEXTURE_WIDTH * channels)), format=layout, data=gpu.types.Buffer("FLOAT", size, flat)
    )
