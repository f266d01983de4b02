"""Projection, tile sorting and blending as NumPy calls: what `rasterization` and the colour solve drive.

Images are planar and padded inside, flat float32 [C, H, stride] with stride = width rounded up to 16;
`as_image` gives the [H, W, C] view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import cpu_kernels as kernels
from .cpu_threads import ranges, run, thread_count

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

TILE = kernels.TILE
# Below this many splats a call is shorter than waking the pool.
_PARALLEL_SPLATS = 4096
# Fixed, so that the sum over splats of a camera's gradient does not depend on the number of threads.
_GRADIENT_CHUNKS = 16
_PROJECTION_FIELDS = ("means2d", "depths", "conics", "compensations", "radii")


@dataclass(frozen=True)
class View:
    """One camera and the options of the projection.

    Attributes:
        view: [4, 4] world to camera, OpenCV axes.
        intrinsics: [3, 3] pixels.
        width, height: pixels.
        eps2d: variance added to both image axes, pixels^2.
        near, far: depth range, same unit as the means.
        radius_clip: splats whose radius is at most this many pixels are skipped.
        antialiased: fade splats by what eps2d enlarges them (Yu et al. 2024, Mip-Splatting).
    """

    view: F32
    intrinsics: F32
    width: int
    height: int
    eps2d: float = 0.3
    near: float = 0.01
    far: float = 1e10
    radius_clip: float = 0.0
    antialiased: bool = False

    @property
    def stride(self) -> int:
        return -(-self.width // TILE) * TILE


@dataclass(frozen=True)
class Projected:
    """Splats on the screen; rows of culled splats are zero.

    Attributes:
        means2d: [N, 2] pixels. depths: [N]. conics: [N, 3] inverse 2D covariance (xx, xy, yy), 1 / pixels^2.
        compensations: [N] factor of the opacity (1 unless antialiased). radii: [N, 2] int32 pixels, 0 when culled.
    """

    means2d: F32
    depths: F32
    conics: F32
    compensations: F32
    radii: I32


@dataclass(frozen=True)
class Tiles:
    """Splats sorted by tile and depth.

    Attributes:
        splats: [N, 10] (columns: `cpu_kernels.X` ...).
        offsets: [tiles + 1] range of each tile in `entries` [hits, 2] (splat, the blocks that it touches as bits).
    """

    splats: F32
    offsets: I32
    entries: I32
    width: int
    height: int

    @property
    def stride(self) -> int:
        return -(-self.width // TILE) * TILE


def project(means: F32, quats: F32, scales: F32, covars: F32, opacities: F32, view: View) -> Projected:
    """Project N splats: means [N, 3], quats [N, 4] wxyz of any length and scales [N, 3], or covars [N, 6] instead
    (xx, xy, xz, yy, yz, zz; [0, 6] where quats and scales are used), opacities [N]. All contiguous float32.
    """
    count = len(means)
    out = Projected(
        np.empty((count, 2), np.float32), np.empty(count, np.float32), np.empty((count, 3), np.float32),
        np.empty(count, np.float32), np.empty((count, 2), np.int32),
    )  # fmt: skip
    outputs = [getattr(out, name) for name in _PROJECTION_FIELDS]
    f32 = np.float32
    options = (f32(view.eps2d), f32(view.near), f32(view.far), f32(view.radius_clip), view.antialiased)
    run(
        kernels.project_forward,
        [
            (a, b, means, quats, scales, covars, opacities, view.view, view.intrinsics, view.width, view.height, *options, *outputs)
            for a, b in ranges(count, _parts(count))
        ],
    )
    return out


def project_backward(geometry: Sequence[F32], view: View, projected: Projected, gradients: Sequence[F32]) -> tuple[F32, F32, F32, F32, F32]:
    """Gradients of means, quats, scales, covars and the view matrix [4, 4] (its last row is zero).

    Args:
        geometry: means, quats, scales, covars as given to `project`.
        gradients: of means2d [N, 2], depths [N], conics [N, 3], compensations [N].
    """
    means, quats, scales, covars = geometry
    grads = [np.empty_like(array) for array in geometry]
    chunks = _GRADIENT_CHUNKS if len(means) >= _PARALLEL_SPLATS else 1
    per_chunk = np.empty((chunks, 12), np.float64)
    p = projected
    run(
        kernels.project_backward,
        [
            (
                chunk, chunks, means, quats, scales, covars, view.view, view.intrinsics, view.width, view.height,
                np.float32(view.eps2d), view.antialiased, p.conics, p.compensations, p.radii,
                *gradients, *grads, per_chunk,
            )
            for chunk in range(chunks)
        ],
    )  # fmt: skip
    v_view = np.zeros((4, 4), np.float32)
    v_view[:3] = per_chunk.sum(0).reshape(3, 4)
    return grads[0], grads[1], grads[2], grads[3], v_view


def sort_into_tiles(
    means2d: F32, conics: F32, opacities: F32, depths: F32, radii: I32, width: int, height: int
) -> Tiles:  # fmt: skip
    """Sort projected splats by depth and list, for every 16 x 16 tile, those whose ellipse of alpha 1/255 meets it."""
    count = len(means2d)
    splats = np.empty((count, 10), np.float32)
    parts = ranges(count, _parts(count))
    run(kernels.pack, [(a, b, means2d, conics, opacities, depths, radii, splats) for a, b in parts])
    order = kernels.depth_order(splats, depths.view(np.uint32))
    drawn = len(order)
    tiles = -(-width // TILE) * -(-height // TILE)
    parts = ranges(drawn, _parts(count))
    counts, offsets = np.zeros((len(parts), tiles), np.int32), np.empty(tiles + 1, np.int32)
    hits = run(kernels.find_hits, [(a, b, splats, order, width, height, counts[i]) for i, (a, b) in enumerate(parts)])
    entries = np.empty((kernels.hit_offsets(counts, offsets), 2), np.int32)
    run(kernels.fill_tiles, [(hits[i], counts[i], entries) for i in range(len(parts))])
    return Tiles(splats, offsets, entries, width, height)


def blend(tiles: Tiles, colors: F32, background: F32, image: F32, final: F32) -> None:
    """Blend colors [N, C] over background [C] into flat planar `image` [C * H * stride] and the transmittance that is
    left into `final` [H * stride].
    """
    workers = _workers()
    run(
        kernels.blend_forward,
        [
            (w, workers, tiles.width, tiles.height, tiles.splats, colors, background, tiles.offsets, tiles.entries, image, final)
            for w in range(workers)
        ],
    )


def blend_backward(tiles: Tiles, colors: F32, image: F32, final: F32, g_image: F32, g_alpha: F32) -> F32:
    """Gradient of every splat, [N, 6 + C]: means2d 2, conics 3, opacity 1, colours C.

    Args:
        image, final: what `blend` wrote.
        g_image, g_alpha: flat planar gradients of the image and of 1 - final; padding must be zero.
    """
    values = kernels.CHANNELS_BEFORE_COLOR + colors.shape[1]
    rows, used = rows_of_sums(tiles, values)
    workers = _workers()
    run(
        kernels.blend_backward,
        [
            (
                w, workers, tiles.width, tiles.height, tiles.splats, colors, tiles.offsets, tiles.entries,
                image, final, g_image, g_alpha, rows, used,
            )
            for w in range(workers)
        ],
    )  # fmt: skip
    total = sum_rows(tiles, rows, used, values)
    gradients = np.empty((len(total), values), np.float32)
    parts = ranges(len(total), _parts(len(total)))
    run(kernels.finish_gradients, [(a, b, tiles.splats, total, gradients) for a, b in parts])
    return gradients


def rows_of_sums(tiles: Tiles, values: int) -> tuple[F32, NDArray[np.uint8]]:
    """A row of `values` sums for every entry, flat and uninitialised, and which rows are in use (none)."""
    hits = len(tiles.entries)
    # A row is read as whole vectors, the last one past its end.
    return np.empty(hits * kernels.row_length(values) + kernels.LANES, np.float32), np.zeros(hits, np.uint8)


def sum_rows(tiles: Tiles, rows: F32, used: NDArray[np.uint8], values: int) -> F32:
    """Add the rows of all entries up to [N, `values` rounded up to 16], in a fixed order; what is past `values` has no meaning."""
    count = len(tiles.splats)
    total = np.zeros((count, -(-values // kernels.LANES) * kernels.LANES), np.float32)
    run(kernels.sum_rows, [(a, b, tiles.entries, rows, used, values, total) for a, b in ranges(count, _parts(count))])
    return total


def empty_planar(channels: int, height: int, stride: int) -> F32:
    """Flat [channels * height * stride], on a cache line, uninitialised."""
    count = channels * height * stride
    scratch = np.empty(count + 16, np.float32)
    offset = (64 - scratch.ctypes.data % 64) % 64 // 4
    return scratch[offset : offset + count]


def as_image(planar: F32, channels: int, height: int, width: int) -> F32:
    """[H, W, C] view of a flat planar image."""
    return planar.reshape(channels, height, -1)[:, :, :width].transpose(1, 2, 0)


def to_planar(image: F32, stride: int) -> F32:
    """[H, W, C] to flat planar with zero padding; a view where the memory already is planar and unpadded."""
    height, width, channels = image.shape
    planar = image.transpose(2, 0, 1)
    if width == stride:
        return np.ascontiguousarray(planar, np.float32).reshape(-1)
    padded = np.zeros((channels, height, stride), np.float32)
    padded[:, :, :width] = planar
    return padded.reshape(-1)


def _parts(count: int) -> int:
    return thread_count() if count >= _PARALLEL_SPLATS else 1


def _workers() -> int:
    """Interleaved shares of the tiles; more than threads, because tiles differ in cost."""
    threads = thread_count()
    return 4 * threads if threads > 1 else 1


def blending_workers() -> int:
    """Shares for other tile kernels."""
    return _workers()
