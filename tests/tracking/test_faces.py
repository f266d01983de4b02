"""Faces are found where people are, counted, and refused with a reason where they cannot be used."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from backend.protocol import FaceError, WeightsError
from backend.tracking import FaceChoiceError, choose_face, load_portrait
from backend.tracking.matte import foreground
from backend.tracking.mediapipe_task import TaskTracker

# MediaPipe 0.10.21's own FaceMesh(refine_landmarks=True) on skimage's astronaut, pixels: landmark -> x, y.
MEDIAPIPE = {
    1: (223.45, 130.02), 10: (226.26, 71.69), 13: (223.48, 143.24), 33: (195.21, 100.92), 61: (201.81, 139.22), 152: (221.27, 177.44),
    234: (179.37, 109.95), 263: (255.76, 104.28), 291: (244.99, 140.99), 454: (270.22, 115.46), 468: (203.48, 101.10),
    473: (246.59, 103.47),
}  # fmt: skip


def scaled(image: np.ndarray, width: float, canvas: int = 512) -> np.ndarray:
    """The astronaut with a face `width` pixels wide on a plain canvas."""
    small = cv2.resize(image, None, fx=width / 92, fy=width / 92, interpolation=cv2.INTER_AREA)
    result = np.full((canvas, canvas, 3), 0.5, np.float32)
    result[: len(small), : small.shape[1]] = small
    return result


def test_two_faces_side_by_side_ask_which(tracker, astronaut):
    faces = tracker.faces(np.concatenate([astronaut, astronaut], 1))
    assert len(faces) == 2
    assert faces[0].box[2] < 512 < faces[1].box[0]
    with pytest.raises(FaceChoiceError) as caught:
        choose_face(faces, "photo.jpg")
    message = str(caught.value)
    assert message.startswith("photo.jpg: two faces found (0: x 1")
    assert message.endswith("; choose one with --face 0 or --face 1")
    assert caught.value.faces == tuple(faces)
    assert choose_face(faces, "photo.jpg", 1) is faces[1]


def test_a_choice_that_does_not_exist_is_an_error(tracker, astronaut):
    faces = tracker.faces(astronaut)
    for choice in (1, -1):
        with pytest.raises(FaceChoiceError, match=f"there is no face {choice}: one face found"):
            choose_face(faces, "photo.jpg", choice)


def test_a_picture_without_a_face(tracker):
    for picture in (data.coffee(), data.rocket(), np.zeros((300, 200, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)):
        faces = tracker.faces(picture.astype(np.float32) / 255)
        assert faces == []
        with pytest.raises(FaceError, match=r"^coffee.jpg: no face found; use a photo"):
            choose_face(faces, "coffee.jpg")


def test_a_tiny_face_is_refused_with_its_size(tracker, astronaut):
    with pytest.raises(FaceError, match=r"the face is (19|20|21) pixels across, at least 40 are needed; use a larger photo"):
        choose_face(tracker.faces(scaled(astronaut, 20)), "photo.jpg")


@pytest.mark.parametrize("width", [45, 60])
def test_small_faces_in_large_pictures_are_found(tracker, astronaut, width):
    face = choose_face(tracker.faces(scaled(astronaut, width, 2048)), "photo.jpg")
    assert face.width == pytest.approx(width, rel=0.08)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_pictures_lying_on_their_side_are_found(tracker, astronaut, turns):
    faces = tracker.faces(np.rot90(astronaut, turns).copy())
    assert len(faces) == 1
    across = faces[0].landmarks[263, :2] - faces[0].landmarks[33, :2]
    assert np.degrees(np.arctan2(*across[::-1])) % 360 == pytest.approx((-90 * turns) % 360, abs=8)


def test_gray_and_dark_pictures_are_found(tracker, astronaut):
    gray = np.repeat(astronaut.mean(2, keepdims=True), 3, 2)
    for picture in (gray, astronaut * 0.25, np.clip(astronaut * 1.8, 0, 1)):
        assert len(tracker.faces(picture.astype(np.float32))) == 1


def test_landmarks_agree_with_mediapipe(tracker, astronaut):
    face = tracker.faces(astronaut)[0]
    index = list(MEDIAPIPE)
    error = np.linalg.norm(face.landmarks[index, :2] - np.array([MEDIAPIPE[i] for i in index]), axis=1)
    assert error.mean() < 1.0  # of a face of 92 pixels; MediaPipe itself moves by as much when its crop is moved
    assert error.max() < 2.5


def test_landmarks_are_where_they_belong(tracker, astronaut):
    """Relations that hold on any face seen from the front; x grows towards the subject's left."""
    face = tracker.faces(astronaut)[0]
    x, y, z = face.landmarks.T
    assert x[33] < x[133] < x[362] < x[263]
    assert x[33] < x[468] < x[133]
    assert x[362] < x[473] < x[263]
    assert y[10] < y[159] < y[1] < y[13] <= y[14] < y[152]
    assert z[1] < z[33]
    assert z[1] < z[454]
    assert face.presence > 0.99
    assert not face.doubtful
    assert abs(np.degrees(face.yaw)) < 5


def test_threads_share_one_tracker_and_agree(tracker, astronaut):
    alone = tracker.faces(astronaut)[0].landmarks
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: tracker.faces(astronaut)[0].landmarks, range(8)))
    for landmarks in results:
        np.testing.assert_array_equal(landmarks, alone)


def test_a_doubtful_face_is_used_with_a_warning(tracker, tmp_path):
    path = tmp_path / "cat.png"
    cat = Image.fromarray(data.chelsea())
    cat.resize((cat.width * 2, cat.height * 2)).save(path)
    try:
        portrait = load_portrait(path, tracker=tracker)
    except FaceError as error:  # the nets may also not take a cat for a person at all
        assert "cat.png" in str(error)  # noqa: PT017
        return
    assert "may not be a person" in portrait.warnings[0]


def test_a_face_in_profile_is_refused_with_its_angle(tracker, astronaut):
    face = tracker.faces(astronaut)[0]
    for side, sign in (("left", 1), ("right", -1)):
        angle = sign * np.radians(70)
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        turned = replace(face, landmarks=(face.landmarks @ turn.T).astype(np.float32))
        with pytest.raises(FaceError, match=rf"the face is turned \d\d degrees to its {side}, at most 60 can be used"):
            choose_face([turned], "photo.jpg")


def test_the_official_package_is_asked_for_when_it_is_missing(tmp_path):
    installed = importlib.util.find_spec("mediapipe") is not None
    with pytest.raises(WeightsError, match="no such file" if installed else "package is not installed; pip install mediapipe"):
        TaskTracker(tmp_path / "face_landmarker.task")


def test_matte_holds_the_person_and_not_the_background(tracker, astronaut):
    face = tracker.faces(astronaut)[0]
    matte = tracker.matte(astronaut, face)
    assert matte.shape == astronaut.shape[:2]
    assert matte.dtype == np.float32
    assert matte.min() >= 0
    assert matte.max() <= 1
    x, y = face.landmarks[:468, 0].astype(int), face.landmarks[:468, 1].astype(int)
    assert matte[y, x].mean() > 0.99
    assert matte[30:60, 215:235].min() > 0.9  # hair
    assert matte[400:480, 150:250].mean() > 0.9  # chest
    assert matte[20:120, 20:120].max() < 0.1  # flag
    assert matte[20:120, 330:420].max() < 0.1  # shuttle


def test_foreground_removes_the_background_from_soft_edges():
    red, green = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.8, 0.1])
    alpha = np.clip(np.linspace(-10, 11, 200), 0, 1)[None].repeat(60, 0).astype(np.float32)
    mixed = (alpha[..., None] * red + (1 - alpha[..., None]) * green).astype(np.float32)
    colours = foreground(mixed, alpha, 16)
    soft = (alpha > 0.3) & (alpha < 0.99)
    assert np.abs(colours[soft] - red).mean() < 0.35 * np.abs(mixed[soft] - red).mean()
    np.testing.assert_allclose(colours[alpha == 1], mixed[alpha == 1], atol=1e-5)
