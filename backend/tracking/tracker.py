"""What a tracker is, and the choice of a face: measuring faces in a picture, whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from backend.protocol.errors import FaceError

from .portrait import F32, Face

MIN_WIDTH = 40.0
MAX_YAW = 60.0


class Tracker(Protocol):
    """A way to find faces and to separate the person from the background. Must be safe to call from several threads.

    Attributes:
        name: for provenance.
        licence: SPDX id, or words, of code and weights together.
    """

    name: str
    licence: str

    def faces(self, image: F32) -> list[Face]:
        """Every face in [H, W, 3] float32 0..1, left to right; empty where there is none."""
        ...

    def follow(self, image: F32, face: Face) -> Face | None:
        """The same face in the next frame of a video; None where it is lost."""
        ...

    def matte(self, image: F32, face: Face) -> F32:
        """[H, W] float32 0..1: how much of each pixel is the person whose face is given."""
        ...


def default_tracker() -> Tracker:
    """MediaPipe's nets in plain torch.

    Raises:
        WeightsError: the nets are not installed.
    """
    from .mediapipe_torch import TorchTracker

    return TorchTracker()


class FaceChoiceError(FaceError):
    """Several faces and no choice between them.

    Attributes:
        faces: what there is to choose from, left to right; ``choice`` is an index into it.
    """

    def __init__(self, message: str, remedy: str, faces: Sequence[Face]) -> None:
        super().__init__(message, remedy)
        self.faces = tuple(faces)


def describe_faces(error: FaceChoiceError, name: str, index: int) -> None:
    """Add what a program needs to offer the choice: whose faces, their boxes in pixels, left to right."""
    found = [{"box": [round(x, 1) for x in face.box], "score": round(float(face.score), 3)} for face in error.faces]
    error.data.update(portrait=name, index=index, faces=found)


def choose_face(faces: Sequence[Face], name: str, choice: int | None = None) -> Face:
    """The face to use: the only one, or the one chosen by its index from the left.

    Args:
        faces: left to right.
        name: the picture's, for messages.
        choice: index from the left, or None where the user has not chosen.
    Raises:
        FaceChoiceError: several faces and no choice, or a choice that does not exist.
        FaceError: no face, one too small, or one turned too far.
    """
    if not faces:
        raise FaceError(f"{name}: no face found", "use a photo where the face is in focus and seen from the front")
    if choice is None and len(faces) > 1:
        options = " or ".join(f"--face {i}" for i in range(len(faces)))
        raise FaceChoiceError(f"{name}: {_count(len(faces))} faces found ({_places(faces)})", f"choose one with {options}", faces)
    if choice is not None and not 0 <= choice < len(faces):
        found = f"{_count(len(faces))} face{'s' * (len(faces) > 1)} found ({_places(faces)})"
        raise FaceChoiceError(f"{name}: there is no face {choice}: {found}", "faces are counted from the left, the first is 0", faces)
    face = faces[choice or 0]
    check_face(face, name)
    return face


def check_face(face: Face, name: str) -> None:
    """Whether a face can be reconstructed at all.

    Raises:
        FaceError: fewer than `MIN_WIDTH` pixels across, or turned by more than `MAX_YAW` degrees.
    """
    if face.width < MIN_WIDTH:
        message = f"{name}: the face is {face.width:.0f} pixels across, at least {MIN_WIDTH:.0f} are needed"
        raise FaceError(message, "use a larger photo or one taken closer")
    yaw = np.degrees(face.yaw)
    if abs(yaw) > MAX_YAW:
        side = "left" if yaw > 0 else "right"
        message = f"{name}: the face is turned {abs(yaw):.0f} degrees to its {side}, at most {MAX_YAW:.0f} can be used"
        raise FaceError(message, "use a photo seen from the front")


def _count(n: int) -> str:
    return ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")[n] if n < 10 else str(n)


def _places(faces: Sequence[Face]) -> str:
    return ", ".join(f"{i}: x {f.box[0]:.0f}-{f.box[2]:.0f}, y {f.box[1]:.0f}-{f.box[3]:.0f}" for i, f in enumerate(faces))
