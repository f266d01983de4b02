"""A pool of threads for kernels that release the GIL, which survives a fork and concurrent callers.

Numba's own ``parallel=True`` dies in both cases: its OpenMP layer kills a forked child, its workqueue layer
aborts on concurrent calls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class _Pool:
    """Threads made at the first call that needs them."""

    def __init__(self) -> None:
        self.threads = 0
        self.forget()

    def forget(self) -> None:
        """In a forked child no pool thread exists, and a thread that was not copied may have held the lock."""
        self.lock, self.executor = threading.Lock(), None

    def submit(self, kernel: Callable[..., Result], calls: list[tuple]) -> list[Result]:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(thread_count(), thread_name_prefix="lookalike-raster")
            futures = [self.executor.submit(kernel, *call) for call in calls]
        return [future.result() for future in futures]

    def resize(self, threads: int) -> None:
        with self.lock:
            if self.executor is not None:
                # What was submitted still finishes: callers hold its futures.
                self.executor.shutdown(wait=False)
                self.executor = None
            self.threads = max(0, threads)


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def thread_count() -> int:
    """Threads in use; the cores this process may use, unless `set_threads` said otherwise."""
    if _pool.threads:
        return _pool.threads
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def set_threads(count: int) -> None:
    """Use `count` threads from now on; 0 means all usable cores. Results do not depend on it."""
    _pool.resize(count)


def run(kernel: Callable[..., Result], arguments: Iterable[tuple]) -> list[Result]:
    """Call `kernel(*args)` for each of `arguments`, on the pool where there is more than one, results in order."""
    calls = list(arguments)
    if len(calls) == 1 or thread_count() == 1:
        return [kernel(*call) for call in calls]
    return _pool.submit(kernel, calls)


def ranges(count: int, parts: int) -> list[tuple[int, int]]:
    """Split 0..count into at most `parts` ranges of equal size; at least one, which may be empty."""
    parts = max(1, min(parts, count))
    return [(i * count // parts, (i + 1) * count // parts) for i in range(parts)]
