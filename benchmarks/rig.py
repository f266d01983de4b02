"""The built-in head: built against read from its cache, baked for an identity, and posed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

LOAD_TARGET_MS, BUILD_TARGET_S, BAKE_TARGET_MS, POSE_TARGET_MS = 100.0, 10.0, 100.0, 20.0


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py: medians on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("LOOKALIKE_CACHE")
        os.environ["LOOKALIKE_CACHE"] = folder
        try:
            return _measure()
        finally:
            os.environ.pop("LOOKALIKE_CACHE")
            if before is not None:
                os.environ["LOOKALIKE_CACHE"] = before


def _measure() -> list[dict[str, object]]:
    from backend.rig import builtin_head, pose_vertices

    def load() -> None:
        builtin_head.cache_clear()
        builtin_head()

    build = _median(load, 1)
    read = _median(load, 5)
    head = builtin_head()
    baked = head.bake(head.template)
    pose = np.full((5, 3), 0.1, np.float32)
    smile = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "eyeBlinkLeft": 0.5}
    bake = _median(lambda: head.bake(head.template), 5)
    posed = _median(lambda: pose_vertices(baked, smile, pose), 9)
    return [
        _row("build the built-in head", build, "s", BUILD_TARGET_S, f"target {BUILD_TARGET_S:.0f} s"),
        _row("read it from the cache", read * 1e3, "ms", LOAD_TARGET_MS, f"building, {build:.1f} s", build / read),
        _row("bake an identity (eyes seated, lids adapted)", bake * 1e3, "ms", BAKE_TARGET_MS, "target"),
        _row(f"pose {len(head.template)} vertices, NumPy", posed * 1e3, "ms", POSE_TARGET_MS, "target"),
    ]


def _median(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _row(what: str, value: float, unit: str, target: float, against: str, ratio: float | None = None) -> dict[str, object]:
    return {
        "what": what,
        "value": value,
        "unit": unit,
        "target": target,
        "against": against,
        "ratio": target / value if ratio is None else ratio,
    }
