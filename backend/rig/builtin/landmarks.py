"""MediaPipe's 468 landmarks as the built-in head uses them: neutral positions and the loops and rows they form.

Landmark numbers are facts of the landmark net; sides are the subject's. Loops run once around and are listed for
the left side or the whole; the right side is the mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

COUNT = 468

# Oval from the forehead's middle down the left side to the chin and up the right side.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip

# Inner lip line from the upper middle to the left corner, back under it and round the right corner.
LIPS_INNER = (13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78, 191, 80, 81, 82)
LIPS_OUTER = (0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61, 185, 40, 39, 37)

# Lip rows from outer to inner, each from the middle to the left corner (the corner itself last).
UPPER_LIP_ROWS = (
    (0, 267, 269, 270, 409, 291),
    (11, 302, 303, 304, 408, 306),
    (12, 268, 271, 272, 407, 292),
    (13, 312, 311, 310, 415, 308),
)
LOWER_LIP_ROWS = (
    (17, 314, 405, 321, 375, 291),
    (16, 315, 404, 320, 307, 306),
    (15, 316, 403, 319, 325, 292),
    (14, 317, 402, 318, 324, 308),
)

# Left lid line: outer corner, along the upper lid to the inner corner, back along the lower lid.
EYE_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
UPPER_LID_LEFT = (466, 388, 387, 386, 385, 384, 398)
LOWER_LID_LEFT = (249, 390, 373, 374, 380, 381, 382)
# Rows of landmarks above and below the lid line, outer to inner, nearest row first.
ABOVE_LID_LEFT = ((467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413))
BELOW_LID_LEFT = ((255, 339, 254, 253, 252, 256, 341),)

# Brow, outer to inner: upper and lower edge.
BROW_LEFT_UPPER = (300, 293, 334, 296, 336)
BROW_LEFT_LOWER = (276, 283, 282, 295, 285)

# Middle line of the face from the forehead to the upper lip, and from the lower lip to the chin.
MIDLINE_UPPER = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164, 0, 11, 12, 13)
MIDLINE_LOWER = (14, 15, 16, 17, 18, 200, 199, 175, 152)

NOSE = (1, 2, 4, 5, 19, 94, 168, 6, 197, 195, 327, 326, 294, 278, 98, 97, 64, 48)
FOREHEAD = (10, 151, 9, 108, 337, 69, 299, 67, 297, 109, 338, 103, 332)


@dataclass(frozen=True)
class NeutralLandmarks:
    """Attributes: positions [468, 3] in metres; mirror [468], the left-right partner of each landmark."""

    positions: NDArray[np.float64]
    mirror: NDArray[np.int64]

    def mirrored(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        """The partners of `indices`, in the same order."""
        return tuple(int(self.mirror[i]) for i in indices)


def neutral_landmarks() -> NeutralLandmarks:
    """Read data/neutral_landmarks.csv (its head says where the numbers come from)."""
    text = resources.files("backend.rig.builtin").joinpath("data/neutral_landmarks.csv").read_text("ascii")
    rows = [line.split(",") for line in text.splitlines() if line and line[0].isdigit()]
    table = np.array(rows, np.float64)
    return NeutralLandmarks(table[:, 2:] * 1e-3, table[:, 1].astype(np.int64))
