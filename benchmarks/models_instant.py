"""Instant Expressive at the paper's sizes: what a photo costs once, and what a driven frame costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from backend.models.instant import Points

Cost = Callable[[Callable[[], object], int], tuple[float, float]]
Row = Callable[..., dict[str, object]]

FPS = 107.31
"""Frames a second of animation and pose control that the paper states."""


@torch.no_grad()
def rows(device: torch.device, cost: Cost, row: Row) -> list[dict[str, object]]:
    """Rows for benchmarks/models.py: `cost` measures, `row` writes. Random weights, no empty ray left out."""
    from backend.models.instant import InstantAvatar, InstantConfig
    from backend.parity import camera

    network = InstantAvatar(InstantConfig(), 109).eval().to(device)
    view = torch.from_numpy(camera(10, 0, 0, 12.0))[None].to(device)
    image = torch.rand(1, 3, 512, 512, device=device)
    planes, code = network.look(image, view), network.code(image, view)
    once, peak = cost(lambda: network.look(image, view), 2)
    driver, _ = cost(lambda: network.code(image, view), 5)
    found = [
        row("instant: lift a photo to planes (every level)", once, "s", None, ""),
        row("instant: memory for that, peak", peak / 1e6, "MB", None, ""),
        row("instant: motion code of a driver's frame", driver, "s", None, ""),
    ]
    for level in range(network.config.levels + 1):
        kept: list[Points] = []  # the slowest step: what it gives while it is measured is used
        sampled, peak = cost(lambda level=level, kept=kept: kept.append(network.points(planes, code, level)), 1)
        points = kept[-1]
        moved, _ = cost(lambda points=points: network.animate(points, code), 3)
        whole, frame_peak = cost(lambda points=points: network.draw(network.animate(points, network.code(image, view)), view), 3)
        target = 1 / FPS if device.type == "cuda" and level == network.config.levels else None
        told = f"instant lod {level}: "
        found += [
            row(told + "Gaussians, before empty rays are left out", float(points.position.shape[1]), "", None, ""),
            row(told + "sample the rays", sampled, "s", None, ""),
            row(told + "memory for that, peak", peak / 1e6, "MB", None, ""),
            row(told + "move the Gaussians", moved, "s", None, ""),
            row(told + "a driven frame, face to picture", whole, "s", target, ""),
            row(told + "memory for that, peak", frame_peak / 1e6, "MB", None, ""),
        ]
    return found
