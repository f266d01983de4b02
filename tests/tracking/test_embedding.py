"""Rigs that come without landmarks: found on renders of the template, kept, completed, and good enough to reconstruct with."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.sparse as sp
import trimesh

from backend.models import reconstructor
from backend.models.interface import Silent
from backend.protocol import read_avatar
from backend.protocol.avatar import Avatar
from backend.protocol.errors import RigError
from backend.rig import Rig, builtin_head, load_rig
from backend.splats import Camera, render
from backend.tracking import Portrait, Tracker, with_landmarks
from backend.tracking.embedding import EMBEDDING_FILE
from backend.tracking.fit import prepare
from backend.tracking.matte import OVAL
from backend.tracking.nearest_point import nearest_on_surface
from tests.synthetic import JOINT_NAMES, ellipsoid

ROOT = Path(__file__).parents[2]
INNER = np.setdiff1d(np.arange(468), OVAL)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of its own, so that landmarks are measured here and not read from the user's."""
    builtin_head()
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def bare() -> Rig:
    """The built-in head as if nothing were known of it: neither landmarks nor labels nor symmetry."""
    return replace(builtin_head(), landmarks=None, labels={}, mirror=None)


@pytest.fixture(scope="module")
def found(bare: Rig, tracker: Tracker) -> Rig:
    return with_landmarks(bare, tracker)


class NoTracker:
    """Fails the test that looks at a picture."""

    name = licence = "none"

    def faces(self, image: np.ndarray) -> list:
        raise AssertionError("the landmarks should have come from the cache")

    follow = matte = faces


def places(rig: Rig) -> np.ndarray:
    """[478, 3] of the rig's landmarks, NaN where there is none."""
    assert rig.landmark_embedding is not None
    index, face, barycentric = rig.landmark_embedding
    table = np.full((478, 3), np.nan)
    table[index] = (barycentric[..., None] * rig.template[rig.faces[face]]).sum(1)
    return table


def test_inner_face_is_found_within_two_millimetres(found: Rig):
    """The built-in head's first 468 vertices are the landmarks, so the truth is known."""
    error = np.linalg.norm(places(found)[:468] - found.template[:468], axis=1) * 1e3
    assert np.median(error[INNER]) <= 2.0
    assert np.percentile(error[INNER], 90) <= 4.5
    assert np.median(error[OVAL]) <= 4.0
    assert error.max() < 10


def test_closed_lips_are_told_apart(found: Rig):
    place = places(found)
    assert found.landmark_embedding is not None
    _, face, barycentric = found.landmark_embedding
    jaw = (barycentric * found.weights[found.faces[face], JOINT_NAMES.index("jaw")]).sum(1)
    assert jaw[[82, 13, 312]].max() < 0.2, "the upper lip stays with the skull"
    assert jaw[[87, 14, 317]].min() > 0.8, "the lower lip goes with the jaw"
    edges = [81, 82, 13, 312, 311, 178, 87, 14, 317, 402]
    assert np.linalg.norm(place[edges] - found.template[edges], axis=1).max() < 0.004


def test_irises_lie_on_the_eyeballs_before_their_joints(found: Rig):
    joints = found.joint_regressor @ found.template
    for iris, name in ((468, "eye_right"), (473, "eye_left")):
        ahead = places(found)[iris] - joints[JOINT_NAMES.index(name)]
        assert 0.010 < ahead[2] < 0.014
        assert np.abs(ahead[:2]).max() < 1e-3


def test_symmetric_head_has_symmetric_landmarks(found: Rig):
    place, mirror = places(found)[:468], builtin_head().mirror[:468]
    assert np.abs(place - place[mirror] * [-1, 1, 1]).max() < 1e-4


def test_ears_are_labelled(found: Rig):
    for name in ("ear_left", "ear_right"):
        assert set(found.labels[name]) == set(builtin_head().labels[name])


def test_complete_rig_comes_back_as_it_is():
    head = builtin_head()
    assert with_landmarks(head, NoTracker()) is head


def test_measured_once_for_each_mesh(found: Rig, bare: Rig):
    again = with_landmarks(replace(bare, rig_id="renamed"), NoTracker())
    np.testing.assert_array_equal(places(again), places(found))


def test_damaged_cache_is_measured_again(found: Rig, bare: Rig, tracker: Tracker, cache: Path):
    (file,) = cache.glob("landmarks-*.safetensors")
    good = file.read_bytes()
    file.write_bytes(good[:200])
    np.testing.assert_array_equal(places(with_landmarks(bare, tracker)), places(found))
    assert file.read_bytes() == good


def test_own_embedding_is_kept_and_completed(found: Rig, bare: Rig):
    own = (np.array([4, 33, 263], np.int32), np.array([7, 8, 9], np.int32), np.full((3, 3), 1 / 3, np.float32))
    rig = with_landmarks(replace(bare, landmark_embedding=own), NoTracker())
    expected = places(found)
    expected[own[0]] = bare.template[bare.faces[own[1]]].mean(1)
    np.testing.assert_allclose(places(rig), expected, atol=1e-6)


def test_fit_notices_that_landmarks_changed(found: Rig):
    assert found.landmark_embedding is not None
    index, face, barycentric = found.landmark_embedding
    moved = replace(found, landmark_embedding=(index, np.roll(face, 1), barycentric))
    assert not np.allclose(prepare(found).model.template, prepare(moved).model.template)


def test_no_face_names_the_file_to_give(tracker: Tracker):
    vertices, faces = ellipsoid(48, 32)
    weights = np.zeros((len(vertices), 5), np.float32)
    weights[:, 1] = 1
    rig = Rig(
        vertices, faces, np.zeros((len(vertices), 3, 0), np.float32), np.zeros((0, len(vertices), 3), np.float32), (),
        np.full((5, len(vertices)), 1 / len(vertices), np.float32), JOINT_NAMES, np.array([-1, 0, 1, 1, 1], np.int32),
        weights, "egg", "none",
    )  # fmt: skip
    with pytest.raises(RigError, match="rig egg: no face is recognised") as raised:
        with_landmarks(rig, tracker)
    assert EMBEDDING_FILE in raised.value.remedy


def test_nearest_point_agrees_with_trimesh():
    vertices, faces = ellipsoid(24, 16)
    points = np.random.default_rng(3).normal(0, 0.1, (200, 3))
    face, barycentric = nearest_on_surface(vertices, faces, np.arange(len(faces)), points)
    place = (barycentric[..., None] * vertices[faces[face]]).sum(1)
    _, distance, _ = trimesh.proximity.closest_point_naive(trimesh.Trimesh(vertices, faces, process=False), points)
    np.testing.assert_allclose(np.linalg.norm(place - points, axis=1), distance, atol=1e-6)
    assert barycentric.min() >= 0


def test_ears_of_one_piece_with_the_head_are_labelled(shared: Path, tracker: Tracker):
    rig = with_landmarks(load_rig(shared / "data" / "ict_facekit" / "ict_facekit.npz"), tracker)
    place = places(rig)
    for name, cheek, sign in (("ear_left", 454, 1), ("ear_right", 234, -1)):
        ear = rig.template[rig.labels[name]]
        size = np.ptp(ear, axis=0)
        assert 0.045 < size[1] < 0.085, "as tall as ears are"
        assert 0.02 < size[2] < 0.06
        level = np.abs(rig.template[:, 1] - place[2, 1]) < 0.05
        assert np.abs(ear[:, 0]).max() == np.abs(rig.template[level, 0]).max(), "the widest of the head"
        assert (ear[:, 0] * sign > 0.05).all()
        assert (ear[:, 2] < place[cheek, 2] + 0.012).all(), "behind the cheek"


def inner_face_psnr(avatar: Avatar, portrait: Portrait) -> float:
    """The avatar in its photo's own view against the photo, within the face's outline less a margin; dB."""
    driver, size = avatar.drivers[0], 640
    camera = Camera.of(driver, size)
    rgb, _ = render(avatar, 2, camera, driver.expression, driver.pose, (1, 1, 1))
    photo = cv2.resize(portrait.image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    outline = portrait.face.landmarks[OVAL, :2] * camera.width / portrait.image.shape[1]
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
    inside = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
    assert inside.sum() > 2000
    return float(-10 * np.log10(((rgb - photo)[inside] ** 2).mean()))


def test_ict_reconstructs_a_portrait(shared: Path, portrait: Portrait, tracker: Tracker):
    rig = with_landmarks(load_rig(shared / "data" / "ict_facekit" / "ict_facekit.npz"), tracker)
    avatar = reconstructor("projection").reconstruct([portrait], rig, Silent())
    assert avatar.rig.rig_id == "ict-facekit"
    counts = [len(splats) for splats in avatar.lods]
    for count, (least, most) in zip(counts, ((4000, 9000), (22000, 31000), (70000, 101000)), strict=True):
        assert least <= count <= most, "its mesh is four times as dense as the built-in head's, its levels are not"
    assert inner_face_psnr(avatar, portrait) > 22


def flame_pickle(path: Path) -> Path:
    """The built-in head's geometry as a FLAME file: no inner mouth, nameless expressions, no landmarks."""
    head = builtin_head()
    hidden = np.concatenate([head.labels[name] for name in ("teeth_upper", "teeth_lower", "tongue")])
    kept = np.setdiff1d(np.arange(len(head.template)), hidden)
    number = np.full(len(head.template), -1)
    number[kept] = np.arange(len(kept))
    solid = (number[head.faces] >= 0).all(1) & ~np.isin(head.faces, head.labels["mouth_cavity"]).all(1)
    expressions = np.zeros((len(kept), 3, 100), np.float32)
    expressions[..., : len(head.expression_names)] = head.expression_basis[:, kept].transpose(1, 2, 0)
    model = {
        "v_template": head.template[kept].astype(np.float64),
        "f": number[head.faces[solid]].astype(np.uint32),
        "shapedirs": np.concatenate([head.shape_basis[kept], expressions], -1),
        "posedirs": np.zeros((len(kept), 3, 36), np.float32),
        "J_regressor": sp.csc_matrix(head.joint_regressor[:, kept].astype(np.float64)),
        "weights": head.weights[kept].astype(np.float64),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }
    path.write_bytes(pickle.dumps(model))
    return path


def test_flame_file_reconstructs_from_the_command_line(tmp_path: Path, cache: Path, portrait: Portrait, astronaut_png: Path):
    rig = flame_pickle(tmp_path / "flame2023.pkl")
    environment = os.environ | {"LOOKALIKE_CACHE": str(cache), "LOOKALIKE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "backend", "reconstruct", str(astronaut_png), "--rig", str(rig), "-o", "ada.lookalike", "--json"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["rig"] == "flame-2023"
    avatar = read_avatar(tmp_path / "ada.lookalike")
    assert avatar.rig.expression_names[:100] == tuple(f"expr{i:03d}" for i in range(100))
    assert inner_face_psnr(avatar, portrait) > 22
