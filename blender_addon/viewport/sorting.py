"""Back-to-front order of splats, found on a thread of its own so that drawing never waits for it.

Nothing here knows Blender: requests hold plain arrays, and results are collected by whoever draws.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class SortRequest:
    """Which splats to sort for which view.

    Attributes:
        slot: who asks; a newer request of the same slot replaces an older one that has not begun.
        position: [N, 3]; must not change afterwards.
        direction: [3] object-space direction towards the viewer: sorted by position . direction, lowest first.
        generation: version of the positions.
    """

    slot: Hashable
    position: F32
    direction: F32
    generation: int


@dataclass(frozen=True)
class SortResult:
    """`order` [N] float32 holds the splat indices (exact up to 2^24), farthest first."""

    request: SortRequest
    order: F32


def back_to_front(position: F32, direction: F32) -> F32:
    """Indices of the splats [N], farthest first, as float32.

    Keys are quantised to 16 bits, 10 micrometres over a head and shoulders, for which numpy has a radix
    sort: 2 ms instead of 16 for 100k. Equal keys keep their order, so a still picture never flickers.
    """
    depth = position @ direction
    if not len(depth):
        return np.zeros(0, np.float32)
    low, high = float(depth.min()), float(depth.max())
    keys = ((depth - low) * (65535.0 / max(high - low, 1e-20))).astype(np.uint16)
    return np.argsort(keys, kind="stable").astype(np.float32)


class DepthSorter:
    """One worker thread that sorts the newest request of each slot. Safe to call from the main thread only."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._pending: dict[Hashable, SortRequest] = {}
        self._results: dict[Hashable, SortResult] = {}
        self._working = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.finished = 0
        """How many sorts have ended: a change tells the main thread to draw again."""
        self.error: BaseException | None = None

    def submit(self, request: SortRequest) -> None:
        """Queue a request; returns at once. Starts the thread at the first call."""
        with self._condition:
            self._pending[request.slot] = request
            self._stopping = False
            self._condition.notify()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="lookalike-sort", daemon=True)
            self._thread.start()

    def collect(self, slot: Hashable) -> SortResult | None:
        """The newest finished result of a slot, once."""
        with self._condition:
            return self._results.pop(slot, None)

    def busy(self) -> bool:
        """Whether a request is waiting or being sorted."""
        with self._condition:
            return self._working or bool(self._pending)

    def forget(self) -> None:
        """Drop what is queued and what was not collected."""
        with self._condition:
            self._pending.clear()
            self._results.clear()

    def stop(self) -> None:
        """End the thread; it finishes a sort that has begun (milliseconds)."""
        with self._condition:
            self._stopping = True
            self._pending.clear()
            self._results.clear()
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._pending)
                if self._stopping:
                    return
                slot = next(iter(self._pending))
                request = self._pending.pop(slot)
                self._working = True
            order = None
            try:
                order = back_to_front(request.position, request.direction)
            except Exception as error:  # handed to the drawing side, which reports it
                self.error = error
            with self._condition:
                self._working = False
                self.finished += 1
                if order is not None:
                    self._results[slot] = SortResult(request, order)
