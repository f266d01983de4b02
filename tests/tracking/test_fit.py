"""A fit finds back what it is shown: known heads, a real portrait, several photos of one person."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from backend.protocol import RigError
from backend.rig import Rig, builtin_head, pose_vertices
from backend.tracking import Face, Portrait, fit, load_portrait
from backend.tracking.fit import fit_faces, prepare
from backend.tracking.rotation import axis_angle, left_jacobian, rotation_between, rotation_matrix

SIZE = (512, 512)
CAMERA = np.array([[1800.0, 0, 250], [0, 1800, 260], [0, 0, 1]])


@pytest.fixture(scope="module")
def rig() -> Rig:
    return builtin_head()


def seen(rig: Rig, shape, expression: dict[str, float], pose, turn) -> Face:
    """The exact landmarks of a known head: what a perfect tracker would say."""
    vertices = (rig.template + rig.shape_basis @ np.asarray(shape)).astype(np.float32)
    posed = pose_vertices(rig.bake(vertices), expression, np.asarray(pose, np.float32)).astype(np.float64)
    view = rotation_matrix(np.asarray(turn, np.float64)) @ np.diag([1.0, -1.0, -1.0])
    camera = posed @ view.T + [0.01, 0.02, 1.2]
    pixels = camera @ CAMERA.T
    points = np.zeros((478, 3))
    known = np.flatnonzero(rig.landmarks >= 0)
    vertex = rig.landmarks[known]
    points[known, :2] = pixels[vertex, :2] / pixels[vertex, 2:]
    depth = camera[vertex, 2]
    points[known, 2] = (depth - depth.mean()) * CAMERA[0, 0] / depth.mean()
    return Face(points.astype(np.float32), 0.95, 1.0)


def known_shape(rig: Rig, seed: int) -> np.ndarray:
    """A symmetric, moderate identity."""
    shape = np.random.default_rng(seed).normal(0, 0.5, rig.shape_basis.shape[2])
    shape[60:] = 0
    odd = np.abs(rig.shape_basis - rig.shape_basis[rig.mirror] * np.array([-1, 1, 1])[:, None]).sum((0, 1)) > 1e-3
    return np.where(odd, 0, shape)


def landmark_error(rig: Rig, a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of two heads at the landmarks after the best similarity, mm."""
    ids = rig.landmarks[:468]
    x, y = a[ids].astype(np.float64), b[ids].astype(np.float64)
    mx, my = x.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd((y - my).T @ (x - mx))
    scale = s.sum() / ((x - mx) ** 2).sum()
    return float(np.linalg.norm(scale * (x - mx) @ (u @ vt).T + my - y, axis=1).mean() * 1e3)


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.1, 0.35, 0.05), (-0.15, -0.2, 0.4)])
def test_a_known_head_is_found_again(rig, turn):
    shape = known_shape(rig, 3)
    truth = rig.template + rig.shape_basis @ shape
    result = fit_faces([seen(rig, shape, {}, np.zeros((5, 3)), turn)], [CAMERA], [SIZE], rig)
    assert result.residual_mm[0] < 0.2
    assert landmark_error(rig, result.vertices, truth) < 0.3
    expected = rotation_matrix(np.array(turn, float)) @ np.diag([1.0, -1.0, -1.0])
    assert np.degrees(np.linalg.norm(axis_angle(expected.T @ result.drivers[0].world_to_camera[:3, :3].astype(float)))) < 2


def test_an_expression_is_recognised_and_taken_out_of_the_neutral_face(rig):
    shown = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "eyeBlinkLeft": 0.7, "eyeBlinkRight": 0.7}
    result = fit_faces([seen(rig, np.zeros(rig.shape_basis.shape[2]), shown, np.zeros((5, 3)), (0, 0, 0))], [CAMERA], [SIZE], rig)
    found = result.drivers[0].expression
    for name, value in shown.items():
        assert found[name] == pytest.approx(value, abs=0.3)
    assert max(abs(v) for k, v in found.items() if k not in shown) < 0.4
    assert landmark_error(rig, result.vertices, rig.template) < 0.9


def test_an_open_jaw_is_told_from_a_long_face(rig):
    pose = np.zeros((5, 3))
    pose[2, 0] = 0.2
    result = fit_faces([seen(rig, np.zeros(rig.shape_basis.shape[2]), {}, pose, (0, 0, 0))], [CAMERA], [SIZE], rig)
    assert 0.08 < result.drivers[0].pose[2, 0] < 0.3


def test_landmarks_lie_where_they_were_seen(rig, portrait):
    result = fit([portrait], rig)
    driver = result.drivers[0]
    posed = pose_vertices(rig.bake(result.vertices + result.corrections[0]), driver.expression, driver.pose)[rig.landmarks[:468]]
    camera = posed @ driver.world_to_camera[:3, :3].T + driver.world_to_camera[:3, 3]
    pixels = camera @ driver.intrinsics.T
    error = np.linalg.norm(pixels[:, :2] / pixels[:, 2:] - portrait.face.landmarks[:468, :2], axis=1)
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.5  # the eyes are seated anew by the rig


def test_the_astronaut_is_fitted_within_a_millimetre_and_smiles(rig, portrait):
    result = fit([portrait], rig)
    assert result.residual_mm[0] < 1.0
    assert result.residual_px[0] < 0.8
    driver = result.drivers[0]
    assert min(driver.expression["mouthSmileLeft"], driver.expression["mouthSmileRight"]) > 0.4
    assert max(driver.expression["eyeBlinkLeft"], driver.expression["eyeBlinkRight"]) < 0.4
    assert driver.size == (512, 512)
    assert 0.6 < driver.world_to_camera[2, 3] < 2
    head = result.vertices[:, 1].max() - result.vertices[:, 1].min()
    assert 0.2 < head < 0.45


def test_the_irises_are_where_they_were_seen(rig, portrait):
    result = fit([portrait], rig)
    driver = result.drivers[0]
    posed = pose_vertices(rig.bake(result.vertices), driver.expression, driver.pose)
    for iris in (468, 473):
        camera = driver.world_to_camera[:3, :3] @ posed[rig.landmarks[iris]] + driver.world_to_camera[:3, 3]
        pixel = driver.intrinsics @ camera
        assert np.linalg.norm(pixel[:2] / pixel[2] - portrait.face.landmarks[iris, :2]) < 1.5


def test_gaze_turns_the_eyes(rig):
    pose = np.zeros((5, 3))
    pose[3, 1] = pose[4, 1] = 0.3
    result = fit_faces([seen(rig, np.zeros(rig.shape_basis.shape[2]), {}, pose, (0, 0, 0))], [CAMERA], [SIZE], rig)
    np.testing.assert_allclose(result.drivers[0].pose[3:5, 1], 0.3, atol=0.08)


def test_what_was_not_seen_keeps_the_templates_shape(rig, portrait):
    result = fit([portrait], rig)
    crown = rig.template[:, 1] > np.percentile(rig.template[:, 1], 97)
    assert np.linalg.norm(result.vertices - rig.template, axis=1)[crown].mean() < 0.012


def test_the_same_photo_gives_the_same_head(rig, portrait):
    first = fit([portrait], rig)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: fit([portrait], rig), range(4)):
            np.testing.assert_array_equal(other.vertices, first.vertices)
            assert other.drivers[0].expression == first.drivers[0].expression


def test_more_photos_of_a_head_do_not_hurt(rig):
    shape = known_shape(rig, 5)
    truth = rig.template + rig.shape_basis @ shape
    rng = np.random.default_rng(0)

    def noisy(turn, drift: float) -> Face:
        face = seen(rig, shape, {}, np.zeros((5, 3)), turn)
        landmarks = face.landmarks + rng.normal(0, 0.5, face.landmarks.shape).astype(np.float32)
        landmarks[:, 0] += drift * np.sin(landmarks[:, 1] / 20)  # landmarks that slide as the head turns
        return replace(face, landmarks=landmarks)

    faces = [noisy((0, 0, 0), 0.0), noisy((0, 0.05, 0), 0.0), noisy((0, 0.7, 0), 4.0)]
    one, two, three = (landmark_error(rig, fit_faces(faces[:n], [CAMERA] * n, [SIZE] * n, rig).vertices, truth) for n in (1, 2, 3))
    assert two < one
    assert three < 1.1 * one


def test_two_photos_of_one_person_share_a_head(rig, shared_portraits, tracker):
    portraits: list[Portrait] = [load_portrait(p, tracker=tracker) for p in shared_portraits]
    result = fit(portraits, rig)
    assert result.reference == 0  # the frontal one
    assert len(result.drivers) == len(result.corrections) == 2
    assert max(result.residual_mm) < 1.5
    alone = fit(portraits[:1], rig)
    assert landmark_error(rig, result.vertices, alone.vertices) < 1.5


def test_a_rig_that_only_interpolates_its_landmarks_is_fitted(rig):
    face_of = {int(v): (f, k) for f, triangle in enumerate(rig.faces) for k, v in enumerate(triangle)}
    known = np.flatnonzero(rig.landmarks[:468] >= 0)
    face, corner = np.array([face_of[int(v)] for v in rig.landmarks[known]]).T
    embedding = (known.astype(np.int32), face.astype(np.int32), np.eye(3, dtype=np.float32)[corner])
    embedded = replace(rig, landmarks=None, landmark_embedding=embedding)
    shape = known_shape(rig, 3)
    seen_face = seen(rig, shape, {}, np.zeros((5, 3)), (0, 0.1, 0))
    a = fit_faces([seen_face], [CAMERA], [SIZE], rig)
    b = fit_faces([seen_face], [CAMERA], [SIZE], embedded)
    assert landmark_error(rig, a.vertices, b.vertices) < 0.05


def test_a_rig_without_landmarks_is_refused(rig):
    with pytest.raises(RigError, match="no landmarks are known"):
        prepare(replace(rig, landmarks=None, template=rig.template + 1))


def test_rotations_invert_and_differentiate():
    rng = np.random.default_rng(0)
    for _ in range(20):
        v = rng.normal(0, 0.8, 3)
        np.testing.assert_allclose(axis_angle(rotation_matrix(v)), v, atol=1e-9)
        d = rng.normal(0, 1e-6, 3)
        left = rotation_matrix(left_jacobian(v) @ d) @ rotation_matrix(v)
        np.testing.assert_allclose(rotation_matrix(v + d), left, atol=1e-10)
        a, b = rng.normal(size=3), rng.normal(size=3)
        turned = rotation_matrix(rotation_between(a, b)) @ a
        np.testing.assert_allclose(turned / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-9)


def test_derivatives_of_the_landmark_model_are_right(rig):
    model = prepare(rig).model
    rng = np.random.default_rng(1)
    shape, expression = rng.normal(0, 0.5, model.shape.shape[2]), rng.uniform(0, 0.5, model.expression.shape[2])
    jaw = np.array([0.2, 0.03, -0.02])
    step = 1e-6
    for derivative, which in ((model.by_shape(jaw), 0), (model.by_expression(jaw), 1), (model.by_jaw(shape, expression, jaw), 2)):
        for k in (0, derivative.shape[2] - 1):
            moved = [shape.copy(), expression.copy(), jaw.copy()]
            moved[which][k] += step
            numeric = (model.evaluate(*moved) - model.evaluate(shape, expression, jaw)) / step
            np.testing.assert_allclose(derivative[:, :, k], numeric, atol=1e-6)
