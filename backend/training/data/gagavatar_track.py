"""GAGAvatar_track's output: ``img_lmdb/`` with JPEG frames, a pickle of FLAME parameters by frame, optionally ``dataset.json``.

A frame's key is VIDEO_NUMBER; a video is a person. Pictures are 512 pixels, matted on black; the camera is PyTorch3D's with a
focal length of 12 half-pictures, world units five to a metre, the head's rotation in the camera.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from backend.models.networks import FOCAL, METRE
from backend.protocol.avatar import F32
from backend.protocol.errors import LookalikeError
from backend.protocol.restricted_pickle import Limits, parse_pickle
from backend.rig import Rig
from backend.splats import Camera

from .pictures import decode_rgb, resized
from .view import DataError, View, pose_head

LENGTHS = {"shapecode": (300,), "expcode": (100,), "posecode": (6,), "eyecode": (6,), "transform_matrix": (3, 4)}
PICKLES = ("smoothed.pkl", "optim.pkl", "base.pkl")
"""The best first; base.pkl has EMICA's values without the tracker's camera."""
TABLE = Limits(size=2 << 30)
"""Of the table of frames: about a million, 1.9 to 3.1 KB each."""
BLACK = 6 / 255
"""The matte is not stored: a pixel is the person's unless it is black up to what JPEG leaves, or a hole inside the person."""


class TrackedLmdb:
    """A `Footage` of one GAGAvatar_track folder.

    Args:
        root: with img_lmdb and a pickle. rig: FLAME.
        size: side of the pictures that are given. split: train, val or test of dataset.json; all frames where it is missing.

    Raises:
        DataError: a part is missing, corrupt, or does not fit the rig.
    """

    def __init__(self, root: Path, rig: Rig, size: int, split: str = "train") -> None:
        if rig.shape_basis.shape[2] < LENGTHS["shapecode"][0] or len(rig.expression_names) < LENGTHS["expcode"][0]:
            raise DataError(
                f"{root}: its parameters are FLAME's, the rig is {rig.rig_id}", "set rig in the [data] section to your FLAME file"
            )
        self.rig, self.size, self._path = rig, size, root / "img_lmdb"
        if not (self._path / "data.mdb").is_file():
            raise DataError(f"{self._path}: no LMDB of pictures there", "give the folder that GAGAvatar_track wrote")
        pickles = [root / name for name in PICKLES if (root / name).is_file()]
        if not pickles:
            raise DataError(f"{root}: none of {', '.join(PICKLES)} is there", "give the folder that GAGAvatar_track wrote")
        self._source = pickles[0]
        self._frames = _read_pickle(self._source)
        kept = _split(root / "dataset.json", split)
        people: dict[str, list[str]] = {}
        for key in sorted(self._frames, key=_order):
            if kept is None or key in kept:
                people.setdefault(key.rpartition("_")[0], []).append(key)
        if not people:
            raise DataError(f"{root}: no frame of {split!r} has parameters", "check dataset.json")
        self.people = tuple(people)
        self._keys = list(people.values())

    def frames(self, person: int) -> int:
        return len(self._keys[person])

    def view(self, person: int, frame: int) -> View:
        key = self._keys[person][frame]
        name = f"{self._source.parent.name}: {key}"
        codes = _codes(self._frames[key], name)
        picture = decode_rgb(self._jpeg(key), name)
        if picture.shape[0] != picture.shape[1]:
            raise DataError(f"{name}: a picture of {picture.shape[1]} x {picture.shape[0]}, not a square", "track it again")
        matte = _matte(picture)
        pose = np.zeros((5, 3), np.float32)
        # The tracker keeps neck and, for learning, root at rest: the head's turn is the camera's.
        pose[0], pose[2] = codes["posecode"][:3], codes["posecode"][3:]
        pose[3], pose[4] = codes["eyecode"][:3], codes["eyecode"][3:]
        neutral = (self.rig.template + self.rig.shape_basis[..., :300] @ codes["shapecode"]).astype(np.float32)
        return View(
            resized(picture, self.size), resized(matte, self.size), None, codes["shapecode"], codes["expcode"], pose, neutral,
            pose_head(self.rig, neutral, codes["expcode"], pose), tracked_camera(codes["transform_matrix"], self.size),
            self.people[person], key,
        )  # fmt: skip

    def _jpeg(self, key: str) -> bytes:
        data = _read_lmdb(self._path, key)
        if data is None:
            raise DataError(f"{self._path}: no picture of {key}", "leave the frame out of the pickle, or track it again")
        return data


def tracked_camera(transform: F32, size: int) -> Camera:
    """[R | T] for row vectors (+X left, +Y up, world units) as a camera with OpenCV axes, metres and pixels."""
    flip = np.diag([-1.0, -1.0, 1.0])
    view = np.eye(4)
    view[:3, :3] = flip @ transform[:, :3].T.astype(np.float64)
    view[:3, 3] = flip @ transform[:, 3].astype(np.float64) / METRE
    focal = FOCAL * size / 2
    lens = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Camera(view.astype(np.float32), lens.astype(np.float32), size, size)


_environments: dict[Path, tuple[int, Any]] = {}
"""Folder -> the process that opened it, its environment: a process may have an LMDB open but once, and several sets may share it."""


def _read_lmdb(path: Path, key: str) -> bytes | None:
    """The value of a key, None where there is none.

    Raises:
        DataError: the file cannot be read. LookalikeError: lmdb is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise LookalikeError("reading GAGAvatar_track's pictures needs lmdb", "install lookalike[training]") from error
    folder = path.resolve()
    try:
        process, environment = _environments.get(folder, (0, None))
        if process != os.getpid():
            if environment is not None:
                environment.close()  # a parent's, which does not survive the fork, and stands in the way of an own one
            environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False, max_readers=512)
            _environments[folder] = os.getpid(), environment
        with environment.begin(write=False) as transaction:
            return transaction.get(key.encode())
    except lmdb.Error as error:
        raise DataError(f"{path}: not a readable LMDB ({error})", "copy data.mdb again") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > TABLE.size:
            raise DataError(f"{path}: {path.stat().st_size >> 20} MB is more than can be read", "split the set")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    content = parse_pickle(data, path.name, DataError, limits=TABLE)
    if not isinstance(content, dict) or not all(isinstance(key, str) and isinstance(value, dict) for key, value in content.items()):
        raise DataError(f"{path}: not a table of frames", "give smoothed.pkl or optim.pkl of GAGAvatar_track")
    return content


def _split(path: Path, name: str) -> set[str] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        return set(map(str, content[name]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: has no list {name!r} ({error})", "write train, val and test into it") from error


def _order(key: str) -> tuple[str, int]:
    video, _, number = key.rpartition("_")
    return video, int(number) if number.isdecimal() else 0


def _codes(entry: dict[str, Any], name: str) -> dict[str, F32]:
    codes = {}
    for key, shape in LENGTHS.items():
        if key not in entry:
            raise DataError(f"{name}: {key} is missing", "track it again")
        try:
            array = np.asarray(entry[key], np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: {key} holds no numbers ({error})", "track it again") from error
        if array.size != np.prod(shape) or not np.isfinite(array).all():
            raise DataError(f"{name}: {key} of shape {array.shape} where {shape} finite numbers belong", "track it again")
        codes[key] = array.reshape(shape)
    turn = codes["transform_matrix"][:, :3]
    if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
        raise DataError(f"{name}: transform_matrix holds no rotation", "track it again")
    return codes


def _matte(picture: F32) -> F32:
    solid = (picture.max(-1) > BLACK).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    outside = np.pad(1 - solid, 1, constant_values=1).astype(np.uint8)
    flooded = outside.copy()
    cv2.floodFill(flooded, None, (0, 0), 2)  # pyright: ignore[reportCallIssue, reportArgumentType] - None asks for no mask
    return (flooded[1:-1, 1:-1] != 2).astype(np.float32)
