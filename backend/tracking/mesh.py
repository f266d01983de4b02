"""478 landmarks of one face by MediaPipe's attention mesh (Grishchenko et al. 2020): 468 surface points and 2 x 5 iris points."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from .crops import F32, Square
from .nets import Net

SURFACE = 468
RIGHT_IRIS, LEFT_IRIS = slice(468, 473), slice(473, 478)
"""The subject's right and left iris: centre first, then four points around."""

RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263
"""Outer corners of the subject's eyes."""

MAX_PASSES = 6
SETTLED = np.radians(15.0)

_PARTS = {"output_lips": 0, "output_left_eye": 1, "output_right_eye": 2}  # names as in the net: left of the picture
_IRISES = {"output_left_iris": (RIGHT_IRIS, 1), "output_right_iris": (LEFT_IRIS, 2)}
_CONTOUR = 16  # the first points of an eye's subset are its lids


def landmark_face(image: F32, square: Square, net: Net) -> tuple[F32, float]:
    """Landmarks of the face in a square region; each pass centres the region on the landmarks of the one before.

    Two passes, and more while the region still turns: a head on its side comes level in up to six.

    Args:
        image: [H, W, 3] float32 0..1.
        square: about 1.5 times the face, upright.
    Returns:
        [478, 3] pixels of the image, z in the same unit and smaller nearer; and the net's
        confidence 0..1 that it sees a face, the least of all passes.
    """
    points, presence = _run(image, square, net)
    for _ in range(MAX_PASSES - 1):
        turn = _turn(square, face_square(points))
        square = face_square(points)
        points, again = _run(image, square, net)
        presence = min(presence, again)
        if turn < SETTLED:
            break
    return points.astype(np.float32), presence


def follow_face(image: F32, landmarks: NDArray, net: Net) -> tuple[F32, float]:
    """As `landmark_face` in one pass, around landmarks that are nearly right: the previous frame's."""
    points, presence = _run(image, face_square(landmarks), net)
    return points.astype(np.float32), presence


def _turn(a: Square, b: Square) -> float:
    """Angle between two squares, radians, 0 to pi."""
    return abs((b.angle - a.angle + np.pi) % (2 * np.pi) - np.pi)


def face_square(landmarks: NDArray) -> Square:
    """The region that the landmark net wants: 1.5 times the landmarks' box, level with the eyes."""
    across = landmarks[LEFT_EYE_CORNER, :2] - landmarks[RIGHT_EYE_CORNER, :2]
    angle = float(np.arctan2(across[1], across[0]))
    level = Square(0, 0, 1, angle)
    turned = landmarks[:, :2] @ level.axes
    low, high = turned.min(0), turned.max(0)
    x, y = level.axes @ ((low + high) / 2)
    return Square(float(x), float(y), 1.5 * float((high - low).max()), angle)


def _run(image: F32, square: Square, net: Net) -> tuple[NDArray, float]:
    size = net.input_size
    crop = square.cut(image, size)
    outputs = {k: v.numpy() for k, v in net(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy())).items()}
    points = np.zeros((478, 3))
    points[:SURFACE] = outputs["output_mesh_identity"].reshape(SURFACE, 3)
    subsets = _subsets(net)
    for name, part in _PARTS.items():
        points[subsets[part], :2] = outputs[name].reshape(-1, 2)
    for name, (iris, part) in _IRISES.items():
        points[iris, :2] = outputs[name].reshape(5, 2)
        points[iris, 2] = points[subsets[part][:_CONTOUR], 2].mean()
    points[:, :2] = square.to_image(points[:, :2], size)
    points[:, 2] *= square.side / size
    presence = 1 / (1 + math.exp(-float(outputs["conv_faceflag"].reshape(()))))
    return points, presence


def _subsets(net: Net) -> list[list[int]]:
    """Which landmarks the net refines: lips, right eye, left eye; stored in the net itself."""
    return [o.options["subset_idxs"] for o in net.graph.operators if o.name == "Landmarks2TransformMatrix"]
