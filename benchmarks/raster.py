"""CPU rasterizer: against the arithmetic it cannot avoid on this machine, and against plain torch.

The floor is measured here and now: the vector instructions of one row of 16 pixels for every row of a tile that a
splat draws in, on data that stays in the first-level cache, without branches, sorting, tile lists or set-up. It is
what blending these rows would cost if everything else were free (research calls it the issue-limited bound). The
kernels have come to blend blocks of 4 x 4 pixels, of which there are fewer than rows; the goal stays twice the
rows' floor, and the floor of the blocks stands beside it.

docs/rasterizer.md says what was expected of each attempt to reach it, and what it gave.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from backend.splats import ColorOperator, View, rasterization, set_threads
from backend.splats import cpu_kernels as k
from backend.splats.cpu_raster import Tiles, blend, blend_backward, empty_planar, project, sort_into_tiles, to_planar
from backend.splats.cpu_threads import run, thread_count

from numba import njit  # isort: skip

SIZE = 512
COUNTS = (20_018, 88_796)
CHANNELS = 3
REPEATS = 8


def measure() -> list[dict]:
    """Rows for forward and forward + backward at both sizes, on one thread and on all."""
    rows = []
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # thousands of small operations: more threads only wait for each other
    try:
        for count in COUNTS:
            rows += _measure_scene(head_shell(count), f"{count:,} splats, {SIZE}^2")
    finally:
        torch.set_num_threads(torch_threads)
        set_threads(0)
    return rows


def _measure_scene(scene: dict, where: str) -> list[dict]:
    """Blending alone against its floor; the whole call (projection, sorting, blending, autograd) against torch."""
    (vectors, blocks), rows = vectors_of(operator_of(scene)), []
    plain = {backward: best_of(partial(torch_tiles, scene, backward), 1) for backward in (False, True)}
    for threads in sorted({1, thread_count()}):
        set_threads(threads)
        place = f"{where}, {threads} thread{'s' * (threads > 1)}"
        floor = 0.0
        blending = Blending(scene)
        for backward, name in ((False, "forward"), (True, "forward + backward")):
            floor += row_floor(vectors, backward)
            value = best_of(partial(blending.run, backward))
            against = f"2 x row arithmetic alone ({floor:.1f} ms; {floor * blocks / vectors:.1f} ms for as many vectors as it takes)"
            rows.append(_row(f"blend {name}, {place}", value, 2 * floor, against))
            torch_ms = plain[backward]
            value = best_of(partial(render, scene, backward))
            rows.append(_row(f"rasterize {name}, {place}", value, None, f"blending alone in torch eager ({torch_ms:.0f} ms)", torch_ms))
        set_threads(0)
    return rows


class Blending:
    """The tile kernels alone, on splats projected and sorted beforehand."""

    def __init__(self, scene: dict) -> None:
        self.tiles = tiles_of(scene)
        self.colors = scene["colors"].numpy()
        self.background = np.zeros(CHANNELS, np.float32)
        self.image, self.final = empty_planar(CHANNELS, SIZE, SIZE), empty_planar(1, SIZE, SIZE)
        self.g_image = to_planar(scene["cotangent"].numpy(), SIZE)
        self.g_alpha = np.zeros(SIZE * SIZE, np.float32)

    def run(self, backward: bool) -> None:
        blend(self.tiles, self.colors, self.background, self.image, self.final)
        if backward:
            blend_backward(self.tiles, self.colors, self.image, self.final, self.g_image, self.g_alpha)


def tiles_of(scene: dict) -> Tiles:
    """The scene projected and sorted into tiles."""
    arrays = [scene[name].numpy() for name in ("means", "quats", "scales")]
    opacity = scene["opacities"].numpy()
    p = project(*arrays, np.zeros((0, 6), np.float32), opacity, View(scene["view"].numpy(), scene["intrinsics"].numpy(), SIZE, SIZE))
    return sort_into_tiles(p.means2d, p.conics, opacity, p.depths, p.radii, SIZE, SIZE)


def _row(what: str, value: float, target: float | None, against: str, other: float = math.nan) -> dict:
    base = other if target is None else target
    return {"what": what, "value": round(value, 2), "unit": "ms", "target": target and round(target, 2), "against": against,
            "ratio": round(value / base, 4)}  # fmt: skip


def best_of(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest of some calls, in ms, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def head_shell(count: int, seed: int = 0) -> dict:
    """A head-sized ellipsoid of flat, overlapping splats that fills three quarters of the picture's height."""
    rng = np.random.default_rng(seed)
    axes = np.array([0.075, 0.11, 0.095])
    index = np.arange(count) + 0.5
    height, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height * height)
    means = np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], 1) * axes * (1 + 0.01 * rng.standard_normal((count, 1)))
    normal = means / axes**2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # The rotation that brings z to the normal: half way between them.
    quats = np.concatenate([1 + normal[:, 2:], -normal[:, 1:2], normal[:, :1], np.zeros((count, 1))], 1) + 1e-9
    spacing = math.sqrt(0.108 / count)
    scales = spacing * np.array([1.5, 1.5, 0.2]) * np.exp(0.25 * rng.standard_normal((count, 3)))
    focal = 0.74 * SIZE / 0.22
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 1.0
    arrays = {
        "means": means, "quats": quats, "scales": scales, "opacities": rng.uniform(0.3, 0.95, count),
        "colors": rng.uniform(0, 1, (count, CHANNELS)), "view": view,
        "intrinsics": np.array([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]]),
        "cotangent": rng.standard_normal((SIZE, SIZE, CHANNELS)),
    }  # fmt: skip
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in arrays.items()}


def render(scene: dict, backward: bool) -> None:
    """One call, all gradients asked for where `backward`."""
    leaves = [scene[name].detach().requires_grad_(backward) for name in ("means", "quats", "scales", "opacities", "colors")]
    image, _, _ = rasterization(*leaves, scene["view"][None], scene["intrinsics"][None], SIZE, SIZE)
    if backward:
        image.backward(scene["cotangent"][None])


def operator_of(scene: dict) -> ColorOperator:
    arrays = [scene[name].numpy() for name in ("means", "quats", "scales", "opacities")]
    return ColorOperator(*arrays, View(scene["view"].numpy(), scene["intrinsics"].numpy(), SIZE, SIZE))


def vectors_of(operator: ColorOperator) -> tuple[int, int]:
    """How many rows of 16 pixels of a tile the splats draw in, and how many blocks of 4 x 4."""
    drawn = operator.weights.reshape(-1, k.BLOCK, k.BLOCK).any(2)  # [blocks, rows of the block]
    entry = np.repeat(np.arange(len(operator.starts) - 1), np.diff(operator.starts))
    row = operator.blocks[:, None].astype(np.int64) // k.BLOCK * k.BLOCK + np.arange(k.BLOCK)
    return len(np.unique((entry[:, None] * k.TILE + row)[drawn])), len(operator.blocks)


def torch_tiles(scene: dict, backward: bool) -> None:
    """Blending in torch eager, tile by tile, given our sorted tiles for free; gradients of colours and opacities only.

    Less work than ours: no projection, no sort, fewer gradients.
    """
    tiles = tiles_of(scene)
    splats, offsets, order = torch.from_numpy(tiles.splats), tiles.offsets, torch.from_numpy(tiles.entries[:, 0].astype(np.int64))
    colors, opacities = scene["colors"].detach().requires_grad_(backward), scene["opacities"].detach().requires_grad_(backward)
    columns = SIZE // k.TILE
    down, across = torch.meshgrid(torch.arange(k.TILE) + 0.5, torch.arange(k.TILE) + 0.5, indexing="ij")
    with torch.set_grad_enabled(backward):
        for tile in np.flatnonzero(np.diff(offsets)):
            ids = order[offsets[tile] : offsets[tile + 1]]
            own = splats[ids]
            dx = own[:, 0, None] - (tile % columns * k.TILE + across.reshape(-1))
            dy = own[:, 1, None] - (tile // columns * k.TILE + down.reshape(-1))
            exponent = 0.5 * (own[:, 2, None] * dx * dx + own[:, 4, None] * dy * dy) + own[:, 3, None] * dx * dy
            alpha = (opacities[ids, None] * torch.exp(-exponent)).clamp(max=0.999)
            alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
            through = torch.cumprod(1 - alpha, 0)
            weight = alpha * torch.cat([torch.ones_like(through[:1]), through[:-1]]) * (through > 1e-4)
            pixels = weight.T @ colors[ids]
            if backward:
                top, left = int(tile) // columns * k.TILE, int(tile) % columns * k.TILE
                pixels.backward(scene["cotangent"][top : top + k.TILE, left : left + k.TILE].reshape(-1, CHANNELS))


def row_floor(vectors: int, backward: bool) -> float:
    """Milliseconds for the arithmetic of `vectors` rows, shared between the threads in use."""
    threads = thread_count()
    kernel = _backward_rows if backward else _forward_rows
    each = vectors // threads
    work = [(each, np.full(k.TILE * k.TILE * (2 * CHANNELS + 4), 0.5, np.float32), np.float32(0.3)) for _ in range(threads)]
    return best_of(lambda: run(kernel, work))


@njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _forward_rows(count, memory, value):
    """The instructions of one row of the forward pass, `count` times over sixteen independent rows."""
    one, zero, lane = k.broadcast(k.ONE), k.broadcast(k.ZERO), k.pixel_columns()
    low, high, end = k.broadcast(k.ALPHA_MIN), k.broadcast(k.ALPHA_MAX), k.broadcast(k.TRANSMITTANCE_MIN)
    cross, along, opacity, limit = lane * k.broadcast(value), lane, k.broadcast(value), k.broadcast(np.float32(5.5))
    for i in range(count):
        r = i & 15
        dy = value + np.float32(r)
        exponent = k.multiply_add(k.broadcast(dy), cross + k.broadcast(value * dy), along)
        alive = k.greater(k.load(memory, r * 16), zero)
        candidate = k.both(k.at_most(exponent, limit), alive)
        alpha = k.minimum(high, opacity * k.exp_negative(exponent))
        drawn = k.both(k.both(k.at_least(exponent, zero), k.at_least(alpha, low)), candidate)
        alpha = k.select(drawn, alpha, zero)
        before = k.load(memory, 256 + r * 16)
        after, weight = before * (one - alpha), alpha * before
        ended = k.both(drawn, k.at_most(after, end))
        k.store(memory, 256 + r * 16, k.select(ended, before, after))
        for channel in range(CHANNELS):
            at = 512 + (r * CHANNELS + channel) * 16
            k.store(memory, at, k.multiply_add(k.broadcast(value), weight, k.load(memory, at)))


@njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _backward_rows(count, memory, value):
    """The same for the backward pass."""
    one, zero, lane = k.broadcast(k.ONE), k.broadcast(k.ZERO), k.pixel_columns()
    low, high, end = k.broadcast(k.ALPHA_MIN), k.broadcast(k.ALPHA_MAX), k.broadcast(k.TRANSMITTANCE_MIN)
    cross, along, opacity, limit = lane * k.broadcast(value), lane, k.broadcast(value), k.broadcast(np.float32(5.5))
    sum0, sum1, sum2 = zero, zero, zero
    for i in range(count):
        r = i & 15
        dy = value + np.float32(r)
        exponent = k.multiply_add(k.broadcast(dy), cross + k.broadcast(value * dy), along)
        alive = k.greater(k.load(memory, r * 16), zero)
        candidate = k.both(k.at_most(exponent, limit), alive)
        raw = opacity * k.exp_negative(exponent)
        alpha = k.minimum(high, raw)
        drawn = k.both(k.both(k.at_least(exponent, zero), k.at_least(alpha, low)), candidate)
        alpha = k.select(drawn, alpha, zero)
        before = k.load(memory, 256 + r * 16)
        through = one - alpha
        after, weight = before * through, alpha * before
        ended = k.both(drawn, k.at_most(after, end))
        k.store(memory, 256 + r * 16, k.select(ended, before, after))
        own = zero
        for channel in range(CHANNELS):
            gradient = k.load(memory, 512 + (r * CHANNELS + channel) * 16)
            own = k.multiply_add(k.broadcast(value), gradient, own)
            at = 512 + 16 * CHANNELS * 16 + channel * 16
            k.store(memory, at, k.multiply_add(weight, gradient, k.load(memory, at)))
        rest = k.load(memory, 512 + r * 16) - weight * own
        k.store(memory, 512 + r * 16, rest)
        change = k.select(k.both(drawn, k.at_most(raw, high)), zero - raw * (before * own - rest / through), zero)
        sum0 = sum0 + change
        first = change * k.broadcast(dy)
        sum1 = sum1 + first
        sum2 = k.multiply_add(first, k.broadcast(dy), sum2)
    k.store(memory, 0, sum0 + sum1 + sum2)


if __name__ == "__main__":
    for entry in measure():
        print(entry)
