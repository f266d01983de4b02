"""Where splats sit: a mesh that is too dense for a level is thinned out without holes, and without joining what is apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.models.projection import mesh
from backend.models.projection.surface import Surface
from backend.protocol.avatar import RigArrays
from tests.synthetic import synthetic_avatar


def dense_rig() -> RigArrays:
    """The synthetic head's mesh, twice beside each other: two parts that touch nowhere."""
    rig = synthetic_avatar().rig
    beside = rig.vertices + np.float32([0.5 * np.ptp(rig.vertices[:, 0]), 0, 0])
    faces = np.concatenate([rig.faces, rig.faces + len(rig.vertices)])
    return replace(rig, vertices=np.concatenate([rig.vertices, beside]), faces=faces.astype(np.int32))


def test_no_two_neighbours_are_chosen_and_each_other_vertex_has_one():
    rig = dense_rig()
    edges = mesh.edges(rig.faces)
    chosen = mesh.independent_set(edges, len(rig.vertices))
    assert not chosen[edges].all(1).any()
    beside = np.zeros(len(chosen), bool)
    beside[edges[chosen[edges].any(1)].ravel()] = True
    assert (chosen | beside)[np.unique(rig.faces)].all()
    assert np.array_equal(chosen, mesh.independent_set(edges, len(rig.vertices))), "the same every time"


def test_a_thinned_surface_covers_what_the_dense_one_covered():
    rig = dense_rig()
    surface = Surface.of(rig)
    thin = surface.thinned()
    assert 0.15 < len(thin) / len(surface) < 0.4
    area = lambda s: np.linalg.norm(np.cross(*(s.position[s.faces[:, i]] - s.position[s.faces[:, 0]] for i in (1, 2))), axis=1).sum()
    assert abs(area(thin) / area(surface) - 1) < 0.1
    np.testing.assert_allclose(thin.position, thin.sample(rig, rig.vertices), atol=1e-6)
    facing = (thin.normals * (thin.position - _centres(thin, rig))).sum(1)
    assert (facing > 0).mean() > 0.98, "no face is turned over"


def test_parts_stay_apart():
    rig = dense_rig()
    half = len(rig.vertices) // 2
    thin = Surface.of(rig).thinned()
    side = rig.faces[thin.face, 0] >= half
    assert not (side[thin.faces] != side[thin.faces][:, :1]).any()
    assert 0.5 < side.mean() / (1 - side.mean()) < 2


def _centres(surface: Surface, rig: RigArrays) -> np.ndarray:
    half = len(rig.vertices) // 2
    first, second = rig.vertices[:half].mean(0), rig.vertices[half:].mean(0)
    return np.where((rig.faces[surface.face, 0] >= half)[:, None], second, first)
