"""Projection, brush, lasso and the front surface, without Blender's data."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def shapes(addon):
    return addon.part("editing.shapes")


def test_projection_is_blenders(shapes):
    from mathutils import Matrix, Vector

    view = Matrix.LocRotScale(Vector((0.3, -2, 0.5)), Matrix.Rotation(1.4, 3, "X").to_quaternion(), None).inverted()
    window = Matrix(((2, 0, 0.1, 0), (0, 3, -0.2, 0), (0, 0, -1.02, -0.2), (0, 0, -1, 0)))
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (20, 3))
    seen = shapes.PaintView(np.array(view), np.array(window), (800, 600)).project(points)
    for place, pixel, depth in zip(points, seen.pixel, seen.depth, strict=True):
        clip = window @ view @ Vector((*place, 1))
        assert np.allclose(pixel, [(0.5 + 0.5 * clip.x / clip.w) * 800, (0.5 + 0.5 * clip.y / clip.w) * 600], atol=1e-3)
        assert abs(depth + (view @ Vector(place)).z) < 1e-5


def test_what_is_behind_the_viewer_is_not_seen(shapes):
    view, window = np.eye(4), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, -0.2], [0, 0, -1, 0.0]])
    assert shapes.PaintView(view, window, (100, 100)).project(np.float32([[0, 0, 1], [0, 0, -1]])).depth.tolist() == [-1, 1]


def test_brush_is_full_in_its_core_and_nothing_beyond(shapes):
    stroke = shapes.Stroke(np.float32([[0, 0], [100, 0]]), 10, 0.5)
    weights = stroke.weights(np.float32([[50, 0], [50, 4.9], [50, 7.5], [50, 10.1], [109, 0], [111, 0]]))
    assert weights[:2].tolist() == [1, 1]
    assert 0.4 < weights[2] < 0.6
    assert weights[3] == 0
    assert 0 < weights[4] < 0.2
    assert weights[5] == 0


def test_a_dab_is_a_stroke_of_one_point(shapes):
    assert shapes.Stroke(np.float32([[5, 5]]), 3, 1.0).weights(np.float32([[5, 7], [5, 9]])).tolist() == [1, 0]
    assert shapes.Stroke(np.zeros((0, 2), np.float32), 3).weights(np.zeros((4, 2), np.float32)).tolist() == [0] * 4


def test_lasso_may_be_concave(shapes):
    horseshoe = np.float32([[0, 0], [10, 0], [10, 10], [7, 10], [7, 3], [3, 3], [3, 10], [0, 10]])
    inside = shapes.in_lasso(np.float32([[5, 1], [5, 8], [1, 8], [9, 8], [-1, 5]]), horseshoe)
    assert inside.tolist() == [True, False, True, True, False]
    assert not shapes.in_lasso(np.float32([[0, 0]]), np.float32([[0, 0], [1, 1]])).any()


def test_front_hides_what_lies_behind_it(shapes):
    rng = np.random.default_rng(0)
    pixel = rng.uniform(0, 100, (4000, 2)).astype(np.float32)
    depth = np.where(np.arange(4000) % 2, 1.0, 1.1).astype(np.float32)
    seen = shapes.Seen(pixel, depth)
    visible = shapes.Front.of(seen, np.ones(4000, bool)).visible(seen)
    assert visible[depth == 1.0].all()
    assert visible[depth > 1.05].mean() < 0.02
    nothing = shapes.Front.of(seen, np.zeros(4000, bool))
    assert nothing.visible(seen).all(), "where nothing is solid, all is seen"
