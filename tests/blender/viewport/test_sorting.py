"""Order of drawing: right, stable, and never waited for."""

from __future__ import annotations

import time

import numpy as np
import pytest


@pytest.fixture
def sorter(part):
    sorter = part("viewport.sorting").DepthSorter()
    yield sorter
    sorter.stop()


def wait(sorter) -> None:
    end = time.monotonic() + 5
    while sorter.busy() and time.monotonic() < end:
        time.sleep(0.002)
    assert not sorter.busy()


def test_farthest_comes_first(part) -> None:
    position = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    direction = np.float32([0.6, 0.0, 0.8])
    order = part("viewport.sorting").back_to_front(position, direction)
    depth = (position @ direction)[order.astype(int)]
    span = depth.max() - depth.min()
    assert sorted(order.astype(int)) == list(range(5000))
    assert np.diff(depth).min() >= -span / 65000, "within one step of the quantised key"


def test_flat_and_empty_sets_sort(part) -> None:
    back_to_front = part("viewport.sorting").back_to_front
    assert len(back_to_front(np.zeros((0, 3), np.float32), np.float32([0, 0, 1]))) == 0
    assert back_to_front(np.ones((4, 3), np.float32), np.float32([0, 0, 1])).tolist() == [0, 1, 2, 3]


def test_only_the_newest_request_of_a_slot_survives(part, sorter) -> None:
    request = part("viewport.sorting").SortRequest
    big = np.random.default_rng(0).normal(size=(200_000, 3)).astype(np.float32)
    started = time.perf_counter()
    sorter.submit(request("other", big, np.float32([1, 0, 0]), 0))
    for generation in range(50):
        sorter.submit(request("mine", big[:100], np.float32([0, 0, 1]), generation))
    assert time.perf_counter() - started < 0.05, "submitting does not wait"
    wait(sorter)
    assert sorter.collect("mine").request.generation == 49
    assert sorter.collect("mine") is None, "collected once"
    assert sorter.finished < 51, "superseded requests are not sorted"


def test_thread_ends_and_starts_again(part, sorter) -> None:
    request = part("viewport.sorting").SortRequest("slot", np.eye(3, dtype=np.float32), np.float32([0, 0, 1]), 0)
    sorter.submit(request)
    wait(sorter)
    sorter.stop()
    sorter.submit(request)
    wait(sorter)
    assert sorter.collect("slot").order.tolist() == [0, 1, 2]


def test_a_failing_sort_is_reported_not_lost(part, sorter) -> None:
    sorter.submit(part("viewport.sorting").SortRequest("slot", np.zeros((3, 2), np.float32), np.float32([0, 0, 1]), 0))
    wait(sorter)
    assert isinstance(sorter.error, ValueError)
