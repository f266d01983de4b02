"""A plain numpy EWA rasterizer with gsplat's semantics: the reference for pictures that a GPU made."""

from __future__ import annotations

import numpy as np


def rotation_matrices(quaternion: np.ndarray) -> np.ndarray:
    """[N, 4] wxyz -> [N, 3, 3]."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def rasterize(
    position: np.ndarray,
    rotation: np.ndarray,
    scale: np.ndarray,
    rgb: np.ndarray,
    opacity: np.ndarray,
    view: np.ndarray,
    projection: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Splats seen through OpenGL matrices (view space looks along -z), all in float64.

    Args:
        position, rotation, scale, rgb, opacity: [N, ...] in world space.
        view, projection: [4, 4] world to view, view to clip.
        size: (width, height).
    Returns:
        [height, width, 4] premultiplied, top row first.
    """
    width, height = size
    centre = position.astype(np.float64) @ view[:3, :3].T + view[:3, 3]
    clip = np.c_[centre, np.ones(len(centre))] @ projection.T
    perspective = projection[3, 3] == 0
    focal = np.array([projection[0, 0] * width / 2, projection[1, 1] * height / 2])
    pixel = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * [width, height]
    jacobian = np.zeros((len(centre), 2, 3))
    depth = -centre[:, 2] if perspective else np.ones(len(centre))
    jacobian[:, 0, 0], jacobian[:, 1, 1] = focal[0] / depth, focal[1] / depth
    if perspective:
        half = 1 / projection[[0, 1], [0, 1]]
        middle = 1 + projection[:2, 2]
        slope = np.clip(centre[:, :2] / depth[:, None], (middle - 2.3) * half, (middle + 0.3) * half)
        jacobian[:, :, 2] = focal * slope / depth[:, None]
    axes = view[:3, :3] @ rotation_matrices(rotation.astype(np.float64)) * scale[:, None, :]
    projected = jacobian @ axes
    covariance = projected @ projected.transpose(0, 2, 1) + 0.3 * np.eye(2)
    inverse = np.linalg.inv(covariance)
    extent = np.minimum(3.33, np.sqrt(np.maximum(2 * np.log(255 * np.maximum(opacity, 1e-6)), 0)))
    reach = np.ceil(extent[:, None] * np.sqrt(covariance[:, [0, 1], [0, 1]]))
    image = np.zeros((height, width, 4))
    colour = np.c_[np.maximum(rgb, 0), np.ones(len(rgb))]
    for i in np.argsort(centre[:, 2], kind="stable"):
        if perspective and depth[i] < 0.01:
            continue
        (x0, y0), (x1, y1) = np.floor(pixel[i] - reach[i]).astype(int), np.ceil(pixel[i] + reach[i]).astype(int) + 1
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        dx, dy = np.meshgrid(np.arange(x0, x1) + 0.5 - pixel[i, 0], np.arange(y0, y1) + 0.5 - pixel[i, 1])
        power = inverse[i, 0, 0] * dx * dx + 2 * inverse[i, 0, 1] * dx * dy + inverse[i, 1, 1] * dy * dy
        alpha = np.minimum(0.999, opacity[i] * np.exp(-0.5 * power))
        alpha[alpha < 1 / 255] = 0
        part = image[y0:y1, x0:x1]
        image[y0:y1, x0:x1] = part * (1 - alpha[..., None]) + alpha[..., None] * colour[i]
    return image[::-1]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of pictures in 0..1."""
    error = float(np.mean((np.asarray(a, np.float64) - b) ** 2))
    return 10 * np.log10(1 / max(error, 1e-12))
