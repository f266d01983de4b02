"""One input image of a person and what was measured from its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


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
    """

    image: F32
    matte: F32
    face: Face
    name: str
    sha256: str
    focal: float | None = None
