"""The other side of a rig is found through its triangles, however uneven the face is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.synthetic import synthetic_rig


@pytest.fixture
def mirror_vertices(addon):
    return addon.part("editing.mirror_topology").mirror_vertices


def symmetric_grid(side: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A sheet whose triangulation is mirror-symmetric in x."""
    ticks = np.arange(-side, side + 1)
    x, z = np.meshgrid(ticks, ticks, indexing="ij")
    vertices = np.stack([x.ravel(), 0.0 * x.ravel(), z.ravel()], 1) * 0.01
    index = lambda i, j: (i + side) * (2 * side + 1) + (j + side)
    faces = []
    for i in range(-side, side):
        for j in range(-side, side):
            a, b, c, d = index(i, j), index(i + 1, j), index(i + 1, j + 1), index(i, j + 1)
            faces += [(a, b, c), (a, c, d)] if i >= 0 else [(a, b, d), (b, c, d)]
    return vertices.astype(np.float32), np.array(faces, np.int32)


def test_an_uneven_face_is_mirrored_by_its_topology(mirror_vertices):
    vertices, faces = symmetric_grid()
    exact = mirror_vertices(vertices, faces)
    assert np.allclose(vertices[exact], vertices * [-1, 1, 1])
    uneven = vertices + np.random.default_rng(0).normal(0, 0.003, vertices.shape).astype(np.float32)
    assert np.array_equal(mirror_vertices(uneven, faces), exact)
    assert np.array_equal(exact[exact], np.arange(len(vertices))), "there and back"


def test_an_unsymmetric_mesh_has_no_other_side(mirror_vertices):
    vertices, faces = symmetric_grid()
    cut = faces[: len(faces) - 3]
    assert (mirror_vertices(vertices, cut) == -1).mean() > 0.9


def test_two_eyeballs_are_each_others_mirror(mirror_vertices):
    rig = synthetic_rig(12, 8)
    ball, faces = rig.vertices * 0.1, rig.faces
    other, mirrored = ball * [-1, 1, 1], faces[:, ::-1]
    vertices = np.concatenate([ball + np.float32([0.03, 0, 0]), other - np.float32([0.03, 0, 0])]).astype(np.float32)
    partner = mirror_vertices(vertices, np.concatenate([faces, mirrored + len(ball)]).astype(np.int32))
    assert np.allclose(vertices[partner], vertices * [-1, 1, 1], atol=1e-6)
