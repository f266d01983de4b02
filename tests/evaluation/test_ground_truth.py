"""The harness that measures reconstructions, measured itself: the truth must score as the truth, a fault as a fault."""

from dataclasses import replace

import numpy as np
import pytest

from backend.evaluation import EvaluationOptions, load_heads, make_head, measure, shoot
from backend.evaluation.ground_truth import Similarity, align, fit_similarity, skin_vertices, summarize, surface_errors
from backend.evaluation.ict_heads import SIZE, VERTICES, head_camera, shade, vertex_normals
from backend.protocol.avatar import SH_C0, Avatar, Driver, RigArrays, SplatArrays
from backend.protocol.binding import quaternions, triangle_frames
from backend.protocol.errors import RigError
from backend.rig.rig import Rig
from tests.synthetic import ellipsoid


@pytest.fixture(scope="module")
def model(shared):
    return load_heads(shared / "data" / "ict_facekit" / "ict_facekit.npz")


@pytest.fixture(scope="module")
def head(model):
    return make_head(model, 1)


def _turn(angle, axis=1):
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[i, i], matrix[j, j], matrix[i, j], matrix[j, i] = c, c, -s, s
    return matrix


def truth_as_avatar(head, similarity=None, deform=None):
    """The head itself as an avatar: its mesh as rig, one flat splat a triangle in the colours of its own rendering.

    `similarity` places it in another frame, `deform` moves its vertices: what a reconstruction might get wrong.
    """
    vertices = head.vertices if deform is None else deform(head.vertices)
    faces = head.model.faces
    used = ~(head.model.on("mouth_socket") | head.model.on("gums"))[faces].any(1)
    triangles = np.flatnonzero(used).astype(np.int32)
    corners = vertices[faces[triangles]]
    frames = triangle_frames(corners)
    normals = vertex_normals(head.vertices, faces)
    at_centre = [a[faces[triangles]].mean(1) for a in (head.color, normals, head.model.neutral, head.hair[:, None])]
    colors = shade(np.column_stack([*at_centre, at_centre[3]]).astype(np.float32), head.hair_color)
    position = corners.mean(1)
    scale = np.stack([frames.base * 0.55, frames.height * 0.55, np.full(len(position), 2e-4)], 1)
    splats = SplatArrays(
        position, quaternions(frames.rotation), scale.astype(np.float32), np.full(len(position), 0.95, np.float32),
        ((colors - 0.5) / SH_C0)[:, None].astype(np.float32), triangles, np.full((len(position), 3), 1 / 3, np.float32),
    )  # fmt: skip
    camera = head_camera(0)
    view = camera.world_to_camera.astype(float)
    if similarity is not None:
        splats, vertices = similarity.splats(splats), similarity(vertices).astype(np.float32)
        # The same pictures from the new frame: undo the similarity before the camera; a pinhole does not see scale.
        rotation = view[:3, :3] @ similarity.rotation.T
        view[:3, 3] = similarity.scale * view[:3, 3] - rotation @ similarity.translation
        view[:3, :3] = rotation
    weights = np.zeros((VERTICES, 1), np.float32)
    weights[:] = 1
    rig = RigArrays(
        vertices, faces, np.zeros((1, 3), np.float32), np.array([-1], np.int32), weights, np.zeros((0, VERTICES, 3), np.float32),
        ("root",), (), "truth",
    )  # fmt: skip
    driver = Driver({}, np.zeros((1, 3), np.float32), view.astype(np.float32), camera.intrinsics, (SIZE, SIZE))
    empty = SplatArrays(*(getattr(splats, f)[:0] for f in SplatArrays.__dataclass_fields__))
    return Avatar(rig, (splats,), empty, (driver,), {"name": "truth"})


def test_heads_are_reproducible_and_differ(model, head):
    again = make_head(model, 1)
    other = make_head(model, 2)
    assert np.array_equal(head.vertices, again.vertices)
    assert np.array_equal(head.color, again.color)
    assert np.abs(head.vertices - other.vertices).max() > 0.003
    assert 4000 < len(head.inner_face) < 6000
    smile = np.abs(head.vertices - make_head(replace(model, expressions={}), 1).vertices).max()
    assert smile > 0.004, "odd seeds smile"


def test_turned_head_looks_to_the_right_of_the_picture_whole(head):
    front, turned = shoot(head, 0, 192), shoot(head, 45, 192)
    nose = head.vertices[4777][None]
    assert abs(front.camera.pixels(nose)[0, 0] - 96) < 3
    assert turned.camera.pixels(nose)[0, 0] > 120
    assert not front.alpha[0].any(), "the crown is in the picture"
    assert front.alpha[60:90, 90:100].all()
    assert 0.08 < front.inner_face.mean() < 0.25
    assert np.allclose(front.over(0.25)[0, 0], 0.25)


def test_the_truth_itself_scores_as_the_truth(head):
    result = measure(head, truth_as_avatar(head), EvaluationOptions(yaws=(0, 30)))
    assert result["median_mm"] < 0.02
    assert result["p90_mm"] < 0.05
    assert result["scale"] == pytest.approx(1, abs=2e-3)
    for yaw in ("0", "30"):
        assert result["psnr"][yaw] > 28
        assert result["ssim"][yaw] > 0.85
        assert result["silhouette_iou"][yaw] > 0.96


def test_size_and_place_do_not_count(head):
    elsewhere = Similarity(0.8, _turn(0.3) @ _turn(0.1, 0), np.array([0.05, -0.3, 0.2]))
    here = measure(head, truth_as_avatar(head), EvaluationOptions(yaws=(0,)))
    there = measure(head, truth_as_avatar(head, elsewhere), EvaluationOptions(yaws=(0,)))
    assert there["median_mm"] < 0.02
    assert there["scale"] == pytest.approx(1 / 0.8, rel=2e-3)
    assert there["psnr"]["0"] == pytest.approx(here["psnr"]["0"], abs=0.3)


def test_a_pushed_nose_and_a_shifted_texture_are_found(head):
    nose = head.model.neutral[4777]

    def push(vertices):
        near = np.exp(-((np.linalg.norm(head.model.neutral - nose, axis=1) / 0.03) ** 2))
        return vertices + (near[:, None] * [0, 0, 0.008]).astype(np.float32)

    fine = measure(head, truth_as_avatar(head), EvaluationOptions(yaws=(0, 45)))
    pushed = measure(head, truth_as_avatar(head, deform=push), EvaluationOptions(yaws=(0, 45)))
    assert pushed["median_mm"] > fine["median_mm"] + 0.2
    assert pushed["p90_mm"] > 1.5
    assert pushed["psnr"]["45"] < fine["psnr"]["45"] - 2
    good = truth_as_avatar(head)
    rolled = replace(good.lods[0], sh=np.roll(good.lods[0].sh, 40, 0))
    assert measure(head, replace(good, lods=(rolled,)), EvaluationOptions(yaws=(0,)))["psnr"]["0"] < fine["psnr"]["0"] - 1


def test_summary_is_the_mean_over_heads():
    entry = {
        "median_mm": 1.0,
        "p90_mm": 3.0,
        "seconds": 2.0,
        **{k: {"0": 20.0} for k in ("psnr", "ssim", "whole_head_psnr", "silhouette_iou", "psnr_by_surface")},
    }
    other = {**entry, "median_mm": 0.5, "psnr": {"0": 30.0}}
    summary = summarize([entry, other])
    assert summary["median_mm"] == 0.75
    assert summary["psnr"] == {"0": 25.0}
    assert summary["seconds"] == 2.0
    assert summarize([entry, {"identity": 7, "error": "face", "message": "no face found", "remedy": ""}, other]) == summary
    assert summarize([]) == {}


# ------------------------------------------------------------------------------------- without the shared data


def test_alignment_recovers_a_similarity():
    vertices = ellipsoid(60, 44)[0].astype(float)
    vertices[:, 2] += 0.2 * vertices[:, 0] ** 2 / 0.075  # break the symmetry
    wanted = Similarity(1.15, _turn(0.15) @ _turn(-0.1, 2), np.array([0.01, -0.02, 0.005]))
    paired = fit_similarity(vertices, wanted(vertices))
    assert paired.scale == pytest.approx(1.15)
    assert np.allclose(paired.rotation, wanted.rotation)
    rough = Similarity(1.1, _turn(0.12) @ _turn(-0.08, 2), np.array([0.008, -0.018, 0.004]))
    found = align(vertices, wanted(vertices)[::2], rough)
    assert np.abs(found(vertices) - wanted(vertices)).max() < 2e-3


def test_surface_error_is_the_distance_to_the_plane_near_and_to_the_point_far():
    points, normals = np.zeros((1, 3)), np.array([[0.0, 0, 1]])
    target = np.array([[0.004, 0, 0.001], [0.02, 0, 0.001]])
    errors = surface_errors((points, normals), target, Similarity(1.0, np.eye(3), np.zeros(3)))
    assert errors == pytest.approx([0.001, np.hypot(0.02, 0.001)])


def test_eyes_and_teeth_are_not_skin():
    vertices, faces = ellipsoid(8, 6)
    count = len(vertices)
    nothing = np.zeros((count, 3, 0), np.float32)
    rig = Rig(
        vertices, faces, nothing, np.zeros((0, count, 3), np.float32), (), np.zeros((1, count), np.float32), ("root",),
        np.array([-1], np.int32), np.ones((count, 1), np.float32), "x", "MIT",
        labels={"eye_left": np.array([0, 1], np.int32), "lips": np.array([3], np.int32)},
    )  # fmt: skip
    outer = skin_vertices(rig)
    assert 0 not in outer
    assert 3 in outer
    assert len(outer) == count - 2


@pytest.mark.parametrize("broken", ["missing", "text", "no arrays", "few vertices", "faces outside", "pickle"])
def test_files_that_are_not_heads_are_refused(tmp_path, broken):
    path = tmp_path / "heads.npz"
    arrays = {
        "neutral": np.zeros((VERTICES, 3), np.float32),
        "faces": np.zeros((10, 4), np.int32),
        "identity_deltas": np.zeros((2, VERTICES, 3), np.float16),
        "expression_deltas": np.zeros((3, VERTICES, 3), np.float16),
    }
    if broken == "text":
        path.write_text("no heads")
    elif broken == "no arrays":
        np.savez(path, other=np.zeros(3))
    elif broken != "missing":
        if broken == "few vertices":
            arrays["neutral"] = arrays["neutral"][:50]
        if broken == "faces outside":
            arrays["faces"] = arrays["faces"] + VERTICES
        if broken == "pickle":
            arrays["neutral"] = np.array([{"a": 1}], dtype=object)
        np.savez(path, **arrays)
    with pytest.raises(RigError, match=r"heads\.npz"):
        load_heads(path)
