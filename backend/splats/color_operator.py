"""Rendering with fixed geometry is linear in the colours: the matrix and its transpose, for closed-form solves."""

from __future__ import annotations

import numpy as np

from . import cpu_kernels as kernels
from .cpu_raster import F32, View, as_image, blending_workers, empty_planar, project, rows_of_sums, sort_into_tiles, sum_rows, to_planar
from .cpu_threads import run


class ColorOperator:
    """The [pixels, N] matrix A of blending weights: image = A colors + (1 - alpha) background.

    Projection, sorting and all weights are computed once (as long as one forward pass takes, and 68 bytes
    for every 4 x 4 block of pixels that a splat touches: about 35 MB for a head at 512^2); then A x and A^T y only stream them.
    The weights are exactly those that `rasterization` blends with.

    Attributes:
        alpha: [H, W] what the splats cover.
        count: number of splats N.
        weights: flat [V * 16] of the V blocks, entry by entry; a block's pixels row by row.
        starts: [hits + 1] range of each (tile, splat) entry in them.
        blocks: [V] place of each in its tile of 4 x 4 blocks, row by row.
    """

    def __init__(self, means: F32, quats: F32, scales: F32, opacities: F32, view: View) -> None:
        """Fix the geometry.

        Args:
            means: [N, 3]. quats: [N, 4] wxyz. scales: [N, 3]. opacities: [N].
            view: camera and image size.
        """
        means, quats, scales, opacities, camera, intrinsics = (
            np.require(a, np.float32, ["C", "W"]) for a in (means, quats, scales, opacities, view.view, view.intrinsics)
        )
        self.count, self.width, self.height, self._stride = len(means), view.width, view.height, view.stride
        view = View(camera, intrinsics, view.width, view.height, view.eps2d, view.near, view.far, view.radius_clip, view.antialiased)
        on_screen = project(means, quats, scales, np.zeros((0, 6), np.float32), opacities, view)
        self._tiles = sort_into_tiles(
            on_screen.means2d, on_screen.conics, opacities * on_screen.compensations, on_screen.depths, on_screen.radii,
            view.width, view.height,
        )  # fmt: skip
        entries = len(self._tiles.entries)
        self.starts = np.zeros(entries + 1, np.int64)
        final = empty_planar(1, self.height, self._stride)
        self.weights, self.blocks = np.empty(0, np.float32), np.empty(0, np.uint8)
        self._trace(final, filling=False)
        np.cumsum(self.starts, out=self.starts)
        count = int(self.starts[-1])
        self.weights, self.blocks = empty_planar(1, count, kernels.LANES), np.empty(count, np.uint8)
        self._trace(final, filling=True)
        self.alpha = 1 - final.reshape(self.height, -1)[:, : self.width]

    def forward(self, colors: F32) -> F32:
        """A x: colours [N, C] to an image [H, W, C] without background."""
        colors = np.require(colors, np.float32, ["C", "W"])  # a read-only array would be another type to Numba
        if colors.ndim != 2 or len(colors) != self.count:
            raise ValueError(f"colors must be [{self.count}, C], got {colors.shape}")
        channels, workers, tiles = colors.shape[1], blending_workers(), self._tiles
        image = empty_planar(channels, self.height, self._stride)
        run(
            kernels.apply_weights,
            [
                (w, workers, self.width, self.height, colors, tiles.offsets, tiles.entries, self.starts, self.weights, self.blocks, image)
                for w in range(workers)
            ],
        )
        return as_image(image, channels, self.height, self.width)

    def adjoint(self, image: F32) -> F32:
        """A^T y: an image [H, W, C] to [N, C]; exactly the gradient of ``sum(forward(x) * image)``."""
        return self._transpose(image, squared=False)

    def gram_diagonal(self, pixel_weight: F32) -> F32:
        """diag(A^T W A) for pixel weights [H, W]: [N], the Jacobi preconditioner of the weighted least squares."""
        return self._transpose(pixel_weight[..., None], squared=True)[:, 0]

    def _trace(self, final: F32, filling: bool) -> None:
        workers, tiles = blending_workers(), self._tiles
        run(
            kernels.trace_weights,
            [
                (
                    w, workers, self.width, self.height, tiles.splats, tiles.offsets, tiles.entries,
                    self.starts, self.weights, self.blocks, final, filling,
                )
                for w in range(workers)
            ],
        )  # fmt: skip

    def _transpose(self, image: F32, squared: bool) -> F32:
        if image.shape[:2] != (self.height, self.width) or image.ndim != 3:
            raise ValueError(f"image must be [{self.height}, {self.width}, C], got {image.shape}")
        planar, tiles, workers = to_planar(image, self._stride), self._tiles, blending_workers()
        rows, used = rows_of_sums(tiles, image.shape[2])
        run(
            kernels.transpose_weights,
            [
                (
                    w, workers, self.width, self.height, squared, planar, tiles.offsets, tiles.entries,
                    self.starts, self.weights, self.blocks, rows, used,
                )
                for w in range(workers)
            ],
        )  # fmt: skip
        return np.ascontiguousarray(sum_rows(tiles, rows, used, image.shape[2])[:, : image.shape[2]])
