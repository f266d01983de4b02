"""Splats follow the rig: at rest exactly, rigidly with a rigid motion, stretched where the mesh is stretched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.protocol.avatar import SplatArrays
from backend.protocol.binding import bind, deform, quaternion_product, quaternions, rotation_matrices, triangle_frames
from tests.synthetic import synthetic_avatar, synthetic_rig, synthetic_splats

RIG = synthetic_rig()
SPLATS = synthetic_splats(RIG, 2)


def random_rotation(seed: int) -> np.ndarray:
    q = np.random.default_rng(seed).normal(size=(1, 4))
    return rotation_matrices(q)[0]


def same_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|cos| of half the angle between quaternions."""
    return np.abs(np.einsum("ni,ni->n", a, b))


def covariance(rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    axes = rotation_matrices(rotation) * scale[:, None]
    return axes @ np.swapaxes(axes, 1, 2)


def test_rest_gives_the_rest_splats():
    for splats in (SPLATS, synthetic_avatar(1).shoulders):
        position, rotation, scale = deform(bind(RIG, splats), RIG.vertices)
        np.testing.assert_allclose(position, splats.position, atol=2e-7)
        np.testing.assert_allclose(scale, splats.scale, rtol=1e-5)
        np.testing.assert_allclose(same_rotation(rotation, splats.rotation), 1, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_rigid_motion_moves_splats_rigidly(seed):
    turn, shift = random_rotation(seed), np.random.default_rng(seed).normal(size=3)
    position, rotation, scale = deform(bind(RIG, SPLATS), (RIG.vertices @ turn.T + shift).astype(np.float32))
    np.testing.assert_allclose(position, SPLATS.position @ turn.T + shift, atol=1e-5)
    np.testing.assert_allclose(scale, SPLATS.scale, rtol=1e-3)
    before, after = covariance(SPLATS.rotation, SPLATS.scale), covariance(rotation, scale)
    np.testing.assert_allclose(after, turn @ before @ turn.T, atol=2e-8)


def test_uniform_growth_grows_splats_alike():
    position, rotation, scale = deform(bind(RIG, SPLATS), RIG.vertices * 2)
    np.testing.assert_allclose(position, SPLATS.position * 2, atol=1e-6)
    np.testing.assert_allclose(scale, SPLATS.scale * 2, rtol=1e-4)
    np.testing.assert_allclose(same_rotation(rotation, SPLATS.rotation), 1, atol=1e-5)


def test_stretch_along_an_axis_of_the_triangle_is_exact():
    """The documented case: a splat whose axes lie along the frame's."""
    corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    weights, expressions = np.full((3, 5), 0.2, np.float32), np.zeros((3, 3, 3), np.float32)
    rig = replace(RIG, vertices=corners, faces=np.int32([[0, 1, 2]]), weights=weights, expressions=expressions)
    splat = SplatArrays(
        np.float32([[0.25, 0.25, 0.1]]), np.float32([[1, 0, 0, 0]]), np.float32([[0.2, 0.3, 0.05]]), np.float32([1]),
        np.zeros((1, 1, 3), np.float32), np.int32([0]), np.full((1, 3), 1 / 3, np.float32),
    )  # fmt: skip
    position, _, scale = deform(bind(rig, splat), corners * np.float32([3, 1, 1]))
    np.testing.assert_allclose(scale, [[0.6, 0.3, 0.05 * np.sqrt(3)]], rtol=1e-5)
    np.testing.assert_allclose(position[0, :2], [0.75, 0.25], atol=1e-6)


def test_expression_carries_only_the_splats_of_its_place():
    moved = RIG.vertices + RIG.expressions[1]
    position, _, _ = deform(bind(RIG, SPLATS), moved)
    distance = np.linalg.norm(position - SPLATS.position, axis=1)
    touched = np.linalg.norm(RIG.expressions[1], axis=1)[RIG.faces[SPLATS.face]].max(1) > 1e-9
    assert distance[touched].max() > 1e-3
    assert distance[~touched].max() < 1e-6


def test_degenerate_triangles_stay_finite():
    flat = RIG.vertices.copy()
    flat[RIG.faces[SPLATS.face[0]]] = flat[RIG.faces[SPLATS.face[0], 0]]
    for array in deform(bind(RIG, SPLATS), flat):
        assert np.isfinite(array).all()
    frames = triangle_frames(np.zeros((1, 3, 3), np.float32))
    assert all(np.isfinite(a).all() for a in (frames.rotation, frames.base, frames.height))


@given(st.integers(0, 10**6))
def test_quaternions_and_matrices_agree(seed):
    q = np.random.default_rng(seed).normal(size=(20, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    np.testing.assert_allclose(same_rotation(quaternions(rotation_matrices(q)), q), 1, atol=1e-6)
    product = rotation_matrices(quaternion_product(q[:10], q[10:]))
    np.testing.assert_allclose(product, rotation_matrices(q[:10]) @ rotation_matrices(q[10:]), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_turns_have_quaternions(axis):
    """Where the trace is -1 and the naive formula divides by zero."""
    q = np.zeros((1, 4))
    q[0, axis + 1] = 1
    np.testing.assert_allclose(same_rotation(quaternions(rotation_matrices(q)), q), 1)
