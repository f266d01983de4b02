"""The released rasterizer of GAGAvatar and OMG-Avatar, in its own arithmetic: Kerbl et al. 2023 with many channels.

An own implementation, forward only, for parity with their numbers. It differs from `rasterization` in what follows (quirk G10):
- pixel centres are at integers, and the image's middle at (size - 1) / 2, which is the same picture;
- a Gaussian is drawn in the 16 x 16 tiles that the square of its radius touches and nowhere else, although its alpha there
  can still be above 1/255: tile borders show;
- alpha is capped at 0.99 (gsplat: 0.999); the tangent is clamped to 1.3 times the field of view about the axis;
- Gaussians nearer than 0.2 are culled, whatever the near plane.
Centres come from the view-projection matrix, in the official order of operations, so that radii and tiles agree to the pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import kernel_cache  # noqa: F401 - before Numba, which reads the cache's place at import
from .cpu_threads import ranges, run, thread_count

from numba import njit  # isort: skip

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

TILE = 16
NEAREST = np.float32(0.2)
LOW_PASS = np.float32(0.3)
GUARD = np.float32(1.3)
"""Tangents are clamped to this many half fields of view before the projection is linearised."""


class Footprints(NamedTuple):
    """Gaussians on the screen, in the order of the input.

    Attributes:
        drawn: [N] bool. depth: [N] along the view. xy: [N, 2] pixels, centres at integers.
        cov2d, conic: [N, 3] covariance and its inverse (xx, xy, yy), pixels^2.
        radius: [N] pixels, 0 where not drawn. rect: [N, 4] first and one past the last tile (x0, y0, x1, y1). tiles: [N] how many.
    """

    drawn: NDArray[np.bool_]
    depth: F32
    xy: F32
    cov2d: F32
    conic: F32
    radius: I32
    rect: I32
    tiles: I32


class TileImage(NamedTuple):
    """A picture.

    Attributes:
        image: [H, W, C]. transmittance: [H, W] light left. last: [H, W] 1-based place of the last Gaussian drawn in its tile's list.
    """

    image: F32
    transmittance: F32
    last: I32


def footprints(
    means: F32, covars: F32, view: F32, projection: F32, width: int, height: int, tangent: tuple[float, float]
) -> Footprints:  # fmt: skip
    """Project Gaussians.

    Args:
        means: [N, 3] world. covars: [N, 3, 3] world (`raw_covariances`).
        view, projection: [4, 4] for row vectors, [p, 1] @ matrix; camera x right, y down, z forward (`rasterizer_matrices`).
        tangent: of half the field of view, across and down.
    """
    f32 = np.float32
    points = [(view[0, k] * means[:, 0] + view[1, k] * means[:, 1]) + view[2, k] * means[:, 2] + view[3, k] for k in range(3)]
    clip = [
        (projection[0, k] * means[:, 0] + projection[1, k] * means[:, 1]) + projection[2, k] * means[:, 2] + projection[3, k]
        for k in (0, 1, 3)
    ]
    depth = points[2]
    with np.errstate(all="ignore"):
        w = f32(1) / (clip[2] + f32(1e-7))
        ndc = np.stack([clip[0] * w, clip[1] * w], -1)
        xy = (((ndc.astype(np.float64) + 1) * [width, height] - 1) * 0.5).astype(f32)
        cov2d = _screen_covariance(points, covars, view, width, height, tangent)
        xx, xy_, yy = cov2d.T
        determinant = xx * yy - xy_ * xy_
        conic = np.stack([yy, -xy_, xx], -1) * (f32(1) / determinant)[:, None]
        middle = f32(0.5) * (xx + yy)
        root = np.sqrt(np.maximum(f32(0.1), middle * middle - determinant))
        radius = np.ceil(f32(3) * np.sqrt(np.maximum(middle + root, middle - root)))
    drawn = (depth > NEAREST) & (determinant != 0)
    radius = np.where(drawn, radius, f32(0)).astype(f32)
    rect = _tile_rectangles(np.where(drawn[:, None], xy, 0), radius, width, height)
    tiles = (rect[:, 2] - rect[:, 0]) * (rect[:, 3] - rect[:, 1])
    drawn &= tiles > 0
    zeroed = lambda values: np.where(drawn, values, 0).astype(np.int32)
    return Footprints(drawn, depth, xy, cov2d, conic, zeroed(radius), rect, zeroed(tiles))


def tile_raster(
    prints: Footprints, opacities: F32, colors: F32, width: int, height: int, background: F32 | None = None
) -> TileImage:  # fmt: skip
    """Blend front to back, equal depths in the order of the input.

    Args:
        opacities: [N] 0..1. colors: [N, C]. background: [C], default zeros.
    """
    channels = colors.shape[1]
    behind = np.zeros(channels, np.float32) if background is None else np.ascontiguousarray(background, np.float32)
    order = np.argsort(prints.depth, kind="stable")
    order = order[prints.drawn[order]].astype(np.int32)
    grid = (-(-width // TILE), -(-height // TILE))
    offsets = np.zeros(grid[0] * grid[1] + 1, np.int64)
    _count(order, prints.rect, grid[0], offsets)
    np.cumsum(offsets, out=offsets)
    entries = np.empty(offsets[-1], np.int32)
    _list(order, prints.rect, grid[0], offsets[:-1].copy(), entries)
    image = np.zeros((height, width, channels), np.float32)
    left, last = np.ones((height, width), np.float32), np.zeros((height, width), np.int32)
    contiguous = [np.ascontiguousarray(a, np.float32) for a in (prints.xy, prints.conic, opacities.reshape(-1), colors)]
    rest = (offsets, entries, *contiguous, behind, grid[0], image, left, last)
    run(_blend, [(a, b, *rest) for a, b in ranges(grid[0] * grid[1], 8 * thread_count())])
    return TileImage(image, left, last)


def _product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """[N, 3, 3] matrix products, summed in a fixed order."""
    return (a[..., 0, None] * b[..., 0, None, :] + a[..., 1, None] * b[..., 1, None, :]) + a[..., 2, None] * b[..., 2, None, :]


def _screen_covariance(points: list[F32], covars: F32, view: F32, width: int, height: int, tangent: tuple[float, float]) -> F32:
    """[N, 3] (xx, xy, yy) by the projection linearised at the centre (Zwicker et al. 2001, eq. 25), with the low-pass filter added."""
    f32 = np.float32
    tx, ty = f32(tangent[0]), f32(tangent[1])
    fx, fy = f32(width) / (f32(2) * tx), f32(height) / (f32(2) * ty)
    z = points[2]
    x = np.minimum(GUARD * tx, np.maximum(-GUARD * tx, points[0] / z)) * z
    y = np.minimum(GUARD * ty, np.maximum(-GUARD * ty, points[1] / z)) * z
    jacobian = np.zeros((len(z), 3, 3), f32)
    jacobian[:, 0, 0], jacobian[:, 2, 0] = fx / z, -(fx * x) / (z * z)
    jacobian[:, 1, 1], jacobian[:, 2, 1] = fy / z, -(fy * y) / (z * z)
    to_screen = _product(np.broadcast_to(view[:3, :3], jacobian.shape), jacobian)
    screen = _product(_product(to_screen.transpose(0, 2, 1), covars), to_screen)
    return np.stack([screen[:, 0, 0] + LOW_PASS, screen[:, 1, 0], screen[:, 1, 1] + LOW_PASS], -1).astype(f32, copy=False)


def _tile_rectangles(xy: F32, radius: F32, width: int, height: int) -> I32:
    step = np.float32(TILE)
    across, down = -(-width // TILE), -(-height // TILE)
    within = lambda values, count: np.clip(np.trunc(np.clip(values, -1e9, 1e9)), 0, count).astype(np.int32)
    first = (xy - radius[:, None]) / step
    past = (xy + radius[:, None] + step - np.float32(1)) / step
    columns = [within(first[:, 0], across), within(first[:, 1], down), within(past[:, 0], across), within(past[:, 1], down)]
    return np.stack(columns, -1)


@njit(nogil=True, cache=True)
def _count(order, rect, across, counts):
    for i in order:
        for ty in range(rect[i, 1], rect[i, 3]):
            for tx in range(rect[i, 0], rect[i, 2]):
                counts[ty * across + tx + 1] += 1


@njit(nogil=True, cache=True)
def _list(order, rect, across, place, entries):
    for i in order:
        for ty in range(rect[i, 1], rect[i, 3]):
            for tx in range(rect[i, 0], rect[i, 2]):
                tile = ty * across + tx
                entries[place[tile]] = i
                place[tile] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _blend(first, past, offsets, entries, xy, conic, opacities, colors, background, across, image, left, last):  # noqa: PLR0912
    """Tiles first..past. The Gaussian that would bring a pixel's light below 1e-4 is not drawn and ends the pixel."""
    height, width, channels = image.shape
    faintest, stop, cap = np.float32(1) / np.float32(255), np.float32(1e-4), np.float32(0.99)
    one, half = np.float32(1), np.float32(0.5)
    for tile in range(first, past):
        y0, x0 = tile // across * 16, tile % across * 16
        y1, x1 = min(y0 + 16, height), min(x0 + 16, width)
        live = np.ones((16, 16), np.bool_)
        remaining = (y1 - y0) * (x1 - x0)
        place = 0
        for entry in range(offsets[tile], offsets[tile + 1]):
            if remaining == 0:
                break
            place += 1
            i = entries[entry]
            a, b, c, opacity = conic[i, 0], conic[i, 1], conic[i, 2], opacities[i]
            # Where the exponent is clearly below this, alpha is below 1/255 and the exponential is not needed.
            lowest = np.float32(np.log(faintest / max(opacity, np.float32(1e-30)))) - np.float32(0.01)
            for y in range(y0, y1):
                dy = xy[i, 1] - np.float32(y)
                for x in range(x0, x1):
                    if not live[y - y0, x - x0]:
                        continue
                    dx = xy[i, 0] - np.float32(x)
                    power = -half * (a * dx * dx + c * dy * dy) - b * dx * dy
                    if power > 0 or power < lowest:
                        continue
                    alpha = min(cap, opacity * np.exp(power))
                    if alpha < faintest:
                        continue
                    light = left[y, x]
                    after = light * (one - alpha)
                    if after < stop:
                        live[y - y0, x - x0] = False
                        remaining -= 1
                        continue
                    for k in range(channels):
                        image[y, x, k] += colors[i, k] * alpha * light
                    left[y, x] = after
                    last[y, x] = place
        for y in range(y0, y1):
            for x in range(x0, x1):
                for k in range(channels):
                    image[y, x, k] += left[y, x] * background[k]
