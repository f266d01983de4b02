"""One input image of a person and what was measured from its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

DOUBTFUL_SCORE = 0.88
"""People in twenty portraits scored 0.91 and more, a monkey 0.85."""

RIGHT_CHEEK, LEFT_CHEEK = 234, 454
RIGHT_SIDE, LEFT_SIDE = [33, 61, 127, 234], [263, 291, 356, 454]
"""Outer eye corner, mouth corner, temple and cheek of the subject's right and left."""


@dataclass(frozen=True)
class Face:
    """A face found in an image.

    Attributes:
        landmarks: [478, 3] MediaPipe's 468 points and 2 x 5 iris points; x right, y down in pixels of the
            image (centres at +0.5), z in the same unit, smaller is nearer.
        score: detector's confidence 0..1.
        presence: landmark net's confidence 0..1 that this is a face.
    """

    landmarks: F32
    score: float
    presence: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 around the 468 surface landmarks, pixels."""
        xy = self.landmarks[:468, :2]
        (x0, y0), (x1, y1) = xy.min(0), xy.max(0)
        return float(x0), float(y0), float(x1), float(y1)

    @property
    def width(self) -> float:
        """Distance between the cheeks beside the ears, pixels; depth included, so that turning the head hardly changes it."""
        return float(np.linalg.norm(self.landmarks[RIGHT_CHEEK] - self.landmarks[LEFT_CHEEK]))

    @property
    def yaw(self) -> float:
        """How far the head is turned, radians; positive to the subject's left (towards the picture's right)."""
        across = (self.landmarks[LEFT_SIDE] - self.landmarks[RIGHT_SIDE]).astype(np.float64).mean(0)
        return float(np.arctan2(across[2], np.hypot(across[0], across[1])))

    @property
    def doubtful(self) -> bool:
        """Whether the detector is less sure than it is of people: animals, statues, drawings."""
        return self.score < DOUBTFUL_SCORE


@dataclass(frozen=True)
class Portrait:
    """One portrait, ready for a reconstructor.

    Attributes:
        image: [H, W, 3] float32 display-referred sRGB 0..1, upright (EXIF applied).
        matte: [H, W] float32 0..1, the person.
        face: the chosen face.
        name: file name for messages and provenance.
        sha256: of the file's bytes.
        focal: focal length in pixels where EXIF tells it, else None.
        warnings: what the user should know about this portrait, one sentence each.
    """

    image: F32
    matte: F32
    face: Face
    name: str
    sha256: str
    focal: float | None = None
    warnings: tuple[str, ...] = ()
