"""The order of new vertices and faces decides whether published per-vertex features fit; it must be exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.rig import Rig, smoothed_subdivision_matrix, subdivide, subdivision_matrix

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)


def test_new_vertices_are_ranked_by_sorted_edge():
    faces, edges = subdivide(np.array([[2, 0, 1], [1, 3, 2]], np.int32), 4)
    assert edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    # v0=2 v1=0 v2=1: e0=(0,1)->4, e1=(1,2)->6, e2=(0,2)->5; second: v0=1 v1=3 v2=2: e0=(2,3)->8, e1=(1,2)->6, e2=(1,3)->7
    assert faces.tolist() == [[2, 5, 6], [1, 7, 6], [0, 4, 5], [3, 8, 7], [1, 6, 4], [2, 6, 8], [4, 6, 5], [8, 6, 7]]


def test_closed_mesh_counts():
    faces, count = TETRAHEDRON, 4
    for vertices, triangles in ((10, 16), (34, 64), (130, 256)):
        faces, edges = subdivide(faces, count)
        count += len(edges)
        assert (count, len(faces)) == (vertices, triangles)


def test_torch_gives_what_numpy_gives():
    faces, edges = subdivide(TETRAHEDRON, 4)
    torch_faces, torch_edges = subdivide(torch.from_numpy(TETRAHEDRON), 4)
    assert torch_faces.dtype == torch.int32
    assert np.array_equal(torch_faces.numpy(), faces)
    assert np.array_equal(torch_edges.numpy(), edges)


def test_matrix_puts_vertices_at_midpoints():
    vertices = np.random.default_rng(0).standard_normal((4, 3))
    matrix, faces = subdivision_matrix(TETRAHEDRON, 4, 2)
    first, edges = subdivide(TETRAHEDRON, 4)
    once = np.concatenate([vertices, vertices[edges].mean(1)])
    second, edges = subdivide(first, 10)
    twice = np.concatenate([once, once[edges].mean(1)])
    assert np.abs(matrix @ vertices - twice).max() < 1e-15
    assert np.array_equal(faces, second)
    same, unchanged = subdivision_matrix(TETRAHEDRON, 4, 0)
    assert np.array_equal(same @ vertices, vertices)
    assert np.array_equal(unchanged, TETRAHEDRON)


def test_smoothed_matrix_continues_curvature_where_midpoints_cut_corners():
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], np.int32)
    vertices = np.concatenate([np.eye(3)[[0, 0, 1, 1, 2, 2]] * np.array([1, -1] * 3)[:, None]])
    for _ in range(2):
        matrix, finer = subdivision_matrix(faces, len(vertices), 1)
        vertices, faces = matrix @ vertices, finer
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    error = {}
    for name, make in (("midpoint", subdivision_matrix), ("butterfly", smoothed_subdivision_matrix)):
        matrix, finer = make(faces, len(vertices), 1)
        fine = matrix @ vertices
        assert np.abs(fine[: len(vertices)] - vertices).max() < 1e-15
        assert np.abs(np.asarray(matrix.sum(1)) - 1).max() < 1e-12
        assert np.array_equal(finer, subdivide(faces, len(vertices))[0])
        error[name] = np.abs(np.linalg.norm(fine, axis=1) - 1).mean()
    assert error["butterfly"] < 0.25 * error["midpoint"]


def test_smoothed_matrix_follows_a_boundary_curve(head: Rig):
    """The open neck base stays a level, round curve."""
    matrix, _ = smoothed_subdivision_matrix(head.faces, len(head.template), 1)
    _, edges = subdivide(head.faces, len(head.template))
    on_base = np.isin(edges, head.labels["loop_neck_base"]).all(1)
    new = (matrix @ head.template)[len(head.template) :][on_base]
    assert on_base.sum() >= 72
    assert np.abs(new[:, 1] - head.template[head.labels["loop_neck_base"], 1].mean()).max() < 1e-5


def test_faces_outside_the_mesh_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.3"):
        subdivide(TETRAHEDRON, 3)


def test_parity_with_the_published_meshes(shared, parity_model):
    """5023 / 9976 -> 20018 -> 79936, and the stored order of edges and faces."""
    stored = pytest.importorskip("safetensors.numpy").load_file(shared / "parity" / "omg_sub0.safetensors")
    faces, edges = subdivide(parity_model["f"], 5023)
    assert (5023 + len(edges), len(faces)) == (20018, 39904)
    assert np.array_equal(edges, stored["subdivision.edges1"].astype(np.int64))
    assert np.array_equal(faces[::41], stored["subdivision.faces1.every_41st"])
    _, edges = subdivide(faces, 20018)
    assert 20018 + len(edges) == 79936
    assert np.array_equal(edges[::37], stored["subdivision.edges2.every_37th"])
