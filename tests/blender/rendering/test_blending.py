"""Colours fitted to blending in linear light."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def fitted(part):
    """Splats of two colours that overlap, or one colour, fitted: display colours and the result."""

    def fit(display: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        count = len(display)
        position = (rng.random((count, 3)) * [0.1, 0.1, 0.0]).astype(np.float32)
        scale = np.full((count, 3), 0.004, np.float32)
        linear = part("rendering.look").to_linear
        return part("rendering.blending").for_linear_light(display, np.full(count, 0.9, np.float32), position, scale, linear)

    return fit


def test_one_colour_stays(fitted, part) -> None:
    display = np.tile(np.float32([0.7, 0.4, 0.2]), (500, 1))
    np.testing.assert_allclose(fitted(display), part("rendering.look").to_linear(display), atol=1e-5)


def test_mean_in_linear_light_is_that_of_display_space(fitted, part) -> None:
    display = np.repeat(np.where(np.random.default_rng(1).random((4000, 1)) < 0.5, 0.2, 0.8).astype(np.float32), 3, axis=1)
    to_linear, to_display = part("rendering.look").to_linear, part("rendering.look").to_display
    shown = to_display(fitted(display).mean(axis=0))
    wrong = to_display(to_linear(display).mean(axis=0))
    wanted = display.mean(axis=0)
    assert np.abs(wrong - wanted).min() > 0.05, "without fitting it would be brighter"
    assert np.abs(shown - wanted).max() < 0.5 * np.abs(wrong - wanted).min()


def test_splats_far_apart_stay_what_they_are(part) -> None:
    """A stray splat at the end of the world asks for no table of the world's cells."""
    position = np.float32([[0, 0, 0], [0.01, 0, 0], [500, 900, 700]])
    display, size = np.float32([[0.2, 0.2, 0.2], [0.2, 0.2, 0.2], [0.9, 0.1, 0.5]]), np.full((3, 3), 0.004, np.float32)
    linear = part("rendering.look").to_linear
    result = part("rendering.blending").for_linear_light(display, np.ones(3, np.float32), position, size, linear)
    np.testing.assert_allclose(result, linear(display), atol=1e-5)


def test_nothing_gives_nothing(fitted) -> None:
    assert fitted(np.zeros((0, 3), np.float32)).shape == (0, 3)
