"""Which photo a vertex takes its colour from when there are several of one person."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from backend.models.projection.blend import blend, shares
from backend.models.projection.labels import CLOTH, SKIN
from backend.models.projection.observe import Observation

COUNT = 4
SEEN_BY_FIRST, SEEN_BY_SECOND, DRESSED, EXPRESSIVE = range(COUNT)


def observation(weight: list[float], color: float, label: int = SKIN) -> Observation:
    """One that sees COUNT vertices in one colour."""
    labels = np.tile(np.eye(3, dtype=np.float32)[label], (COUNT, 1))
    trust, yes = np.array(weight, np.float32), np.ones(COUNT, bool)
    pixels = np.ones((COUNT, 3), np.float32)
    return Observation(np.full((COUNT, 3), color, np.float32), labels, trust, trust, ~yes, trust, yes, pixels, trust)


@pytest.fixture
def seen() -> list[Observation]:
    first, second = observation([1, 0.05, 0.5, 0.0], 0.4), observation([0.5, 1, 1, 1], 0.8)
    first.label[DRESSED] = np.eye(3)[CLOTH]
    return [first, second]


@pytest.fixture
def share(seen) -> np.ndarray:
    views = [SimpleNamespace(camera=SimpleNamespace(focal=1000.0))] * 2
    return shares(views, seen, np.arange(COUNT) == EXPRESSIVE)  # type: ignore[arg-type]


def test_every_colour_comes_from_somewhere(share):
    np.testing.assert_allclose(share.sum(0), 1, atol=1e-6)


def test_the_view_that_sees_best_wins(share):
    assert share[0, SEEN_BY_FIRST] > 0.95
    assert share[1, SEEN_BY_SECOND] > 0.95


def test_clothes_and_expressions_are_the_first_photos(share):
    assert share[0, DRESSED] == 1
    assert share[0, EXPRESSIVE] == 1


def test_colours_come_in_the_first_photos_light(seen, share):
    gains = [np.ones((COUNT, 3), np.float32), np.full((COUNT, 3), 0.5, np.float32)]
    np.testing.assert_allclose(blend(seen, gains, share).color, 0.4, atol=1e-6)
