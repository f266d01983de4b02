"""The depth buffer that projection and evaluation look through."""

import numpy as np
import pytest

from backend.splats.mesh_raster import interpolate, rasterize_mesh, triangle_corners
from tests.synthetic import ellipsoid

SIZE, FOCAL = 160, 700.0


def _project(vertices):
    z = 1.0 - vertices[:, 2]
    return np.stack([SIZE / 2 + FOCAL * vertices[:, 0] / z, SIZE / 2 - FOCAL * vertices[:, 1] / z, z], 1).astype(np.float32)


def test_pixel_centres_are_at_one_half():
    corners = np.float32([[0.5, 0.5, 1], [3.5, 0.5, 1], [0.5, 3.5, 1]])
    face_id, barycentric, depth = rasterize_mesh(corners, np.int32([[0, 1, 2]]), 6, 5)
    assert face_id.shape == (5, 6)
    expected = np.add.outer(np.arange(5), np.arange(6)) <= 3
    assert np.array_equal(face_id == 0, expected)
    assert np.allclose(barycentric[0, 0], [1, 0, 0])
    assert np.allclose(barycentric[3, 0], [0, 0, 1])
    assert np.all(np.isinf(depth[~expected]))
    assert np.allclose(depth[expected], 1)


def test_interpolation_is_perspective_correct():
    vertices, faces = ellipsoid(40, 30)
    face_id, barycentric, depth = rasterize_mesh(_project(vertices), faces, SIZE, SIZE)
    found = face_id >= 0
    surface = interpolate(face_id, barycentric, faces, vertices)[found]
    rows, columns = np.nonzero(found)
    pixels = _project(surface)
    assert np.abs(pixels[:, 0] - columns - 0.5).max() < 1e-3
    assert np.abs(pixels[:, 1] - rows - 0.5).max() < 1e-3
    assert np.abs(pixels[:, 2] - depth[found]).max() < 1e-6
    assert surface[:, 2].min() > -0.02, "only the near side of the ellipsoid may show"


def test_shared_edges_leave_no_holes_and_back_faces_never_win():
    vertices, faces = ellipsoid(64, 48)
    both = rasterize_mesh(_project(vertices), faces, SIZE, SIZE)[0]
    front = rasterize_mesh(_project(vertices), faces, SIZE, SIZE, cull_back=True)[0]
    assert np.array_equal(both, front)
    rows = np.arange(SIZE)
    for row in rows[(both >= 0).any(1)]:
        filled = np.flatnonzero(both[row] >= 0)
        assert len(filled) == filled[-1] - filled[0] + 1, f"hole in row {row}"


def test_nearer_triangle_hides_and_far_side_shows_through_orthographic_depth():
    corners = np.float32([[0, 0, 2], [8, 0, 2], [0, 8, 2], [0, 0, 1], [8, 0, 3], [0, 8, 3]])
    face_id, _, depth = rasterize_mesh(corners, np.int32([[0, 1, 2], [3, 4, 5]]), 8, 8, perspective=False)
    assert face_id[0, 0] == 1
    assert face_id[0, 6] == 0
    assert np.isclose(depth[0, 0], 1 + 2 * (0.5 + 0.5) / 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0])
def test_triangles_behind_the_camera_or_broken_are_dropped(bad):
    corners = np.float32([[0, 0, 1], [8, 0, 1], [0, 8, bad]])
    face_id, _, _ = rasterize_mesh(corners, np.int32([[0, 1, 2]]), 8, 8)
    if not np.isposinf(bad):
        assert (face_id == -1).all()
    corners[2] = [bad if not np.isfinite(bad) else 1e30, 8, 1]
    rasterize_mesh(corners, np.int32([[0, 1, 2]]), 8, 8)


def test_faces_outside_the_vertices_are_refused():
    with pytest.raises(ValueError, match="outside"):
        rasterize_mesh(np.ones((3, 3), np.float32), np.int32([[0, 1, 3]]), 4, 4)


def test_attributes_that_jump_at_edges():
    corners = np.float32([[0, 0, 1], [8, 0, 1], [0, 8, 1], [8, 8, 1]])
    faces = np.int32([[0, 1, 2], [1, 3, 2]])
    face_id, barycentric, _ = rasterize_mesh(corners, faces, 8, 8)
    own, values = triangle_corners(faces, np.float32([[1], [2], [3], [4]]))
    values[:3], values[3:] = 10, 20
    image = interpolate(face_id, barycentric, own, values)
    assert set(np.unique(image)) == {10, 20}
    assert interpolate(face_id, barycentric, faces, np.arange(4)).shape == (8, 8)
