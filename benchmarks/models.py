"""Levels of detail of OMG-Avatar, FFAvatar, Instant Expressive: what each costs to reconstruct and animate, time and memory, full size.

Random weights: the arithmetic is the same, the pictures are noise. On a GPU where there is one. The mesh has FLAME's counts
and nothing of its data.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from backend.models.networks import GaussianAttributes
    from backend.models.omg import OMGAvatar
    from backend.models.omg.network import Seen

ROOT = Path(__file__).resolve().parents[1]
ONE_SHOT, FPS, FPS_REFINED = 0.2, 300.0, 107.0
"""Targets on an H200-class GPU: seconds for a photo, frames a second at LOD 2 without and with the refiner."""


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py, from a process of its own: its allocator gives memory back at once, so that peaks are the levels'."""
    import json

    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"benchmark models failed:\n{result.stdout}\n{result.stderr}")
    return json.loads(result.stdout.strip().splitlines()[-1])


@torch.no_grad()
def _measure() -> list[dict[str, object]]:
    from backend.models.omg import OMGAvatar, OMGConfig
    from backend.models.omg.gaussians import kept
    from backend.models.omg.posing import PosedHead
    from backend.parity import camera, face_model
    from benchmarks import models_ffavatar, models_instant

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = face_model(b"benchmark")
    network = OMGAvatar(OMGConfig(), model["f"]).eval().to(device)
    head = PosedHead(
        model["v_template"], model["shapedirs"].transpose(2, 0, 1), model["J_regressor"], model["weights"],
        np.array([-1, 0, 1, 1, 1]), model["posedirs"], late_joints=True,
    ).to(device)  # fmt: skip
    coefficients, pose = torch.zeros(1, 400, device=device), torch.zeros(1, 5, 3, device=device)
    image, view = torch.rand(1, 3, 512, 512, device=device), torch.from_numpy(camera(10, 0, 0, 9.6))[None].to(device)
    stand = lambda offsets: head(coefficients, pose, offsets)
    seen = network.look(image, view, stand)
    everywhere = network.shoulders(seen)
    # About the paper's number of shoulder Gaussians, 9,000; random weights keep every pixel.
    some = torch.zeros_like(everywhere.kept)
    some[:: max(1, len(some) // 9000)] = True
    points, beside = everywhere.points[:, some], kept(everywhere.attributes, some)
    del everywhere

    once, _ = _cost(lambda: network.look(image, view, stand), 2)
    rows = [_row("omg: look at a photo (every level)", once, "s", None, "")]
    previous: list[float] = []
    for level in range(3):
        figures = _level(network, seen, points, beside, lambda: stand(seen.offsets), view, level)
        on_gpu = level == 2 and device.type == "cuda"
        targets = (None, None, ONE_SHOT - once, None, 1 / FPS, None, 1 / FPS_REFINED) if on_gpu else (None,) * 7
        for index, ((what, value, unit), target) in enumerate(zip(figures, targets, strict=True)):
            ratio = value / previous[index] if previous else None
            rows.append(_row(f"omg lod {level}: {what}", value, unit, target, f"lod {level - 1}" if previous else "", ratio))
        previous = [value for _, value, _ in figures]
    return rows + models_ffavatar.rows(device, model, _cost, _row) + models_instant.rows(device, _cost, _row)


def _level(
    network: OMGAvatar,
    seen: Seen,
    points: torch.Tensor,
    beside: GaussianAttributes,
    stand: Callable[[], torch.Tensor],
    view: torch.Tensor,
    level: int,
) -> list[tuple[str, float, str]]:
    """What one level costs: (what, value, unit)."""
    from backend.models.omg.gaussians import joined

    reconstruct, peak = _cost(lambda: network.head(seen, level), 2)
    attributes = joined([beside, network.head(seen, level).attributes])
    place = lambda: torch.cat([points, network.levels.subdivide(stand(), level)], 1)
    animate, frame_peak = _cost(lambda: network.draw(place(), attributes, view), 3)
    drawn = network.draw(place(), attributes, view)
    refine, _ = _cost(lambda: network.upsampler(drawn), 1)
    return [
        ("Gaussians, about 9,000 of them shoulders", float(attributes.opacities.shape[1]), ""),
        ("memory that they take", sum(part.nbytes for part in attributes if part is not None) / 1e6, "MB"),
        ("reconstruct the level", reconstruct, "s"),
        ("memory for that, peak", peak / 1e6, "MB"),
        ("animate a frame, 32 channels", animate, "s"),
        ("memory for that, peak", frame_peak / 1e6, "MB"),
        ("animate and refine a frame", animate + refine, "s"),
    ]


def _cost(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds, and peak bytes beyond what was held before (NaN where the system does not tell), of a first run."""
    peak = _peak(call)
    times = []
    for _ in range(repeats):
        _synchronize()
        began = time.perf_counter()
        call()
        _synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times)), peak


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return float(torch.cuda.max_memory_allocated() - before)
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not forget.exists():
        return float("nan")
    forget.write_text("5")  # the kernel's high-water mark starts anew
    before = _kilobytes(status, "VmRSS")
    call()
    return 1024.0 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, field: str) -> float:
    return float(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{field}:")))


def _row(what: str, value: float, unit: str, target: float | None, against: str, ratio: float | None = None) -> dict[str, object]:
    shown = value / target if target is not None else ratio
    return {"what": what, "value": value, "unit": unit, "target": target, "against": against, "ratio": shown}


if __name__ == "__main__":
    import json

    print(json.dumps(_measure()))
