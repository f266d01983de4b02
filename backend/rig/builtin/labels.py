"""Named vertex sets of the built-in head's skin. Every vertex of the rig is in exactly one of them or in one of the parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .refinement import Refinement
from .sculpting import Sculptor

SKIN_LABELS = ("skin", "lips", "lids", "mouth_cavity", "neck", "scalp")


def control_labels(s: Sculptor) -> NDArray[np.int64]:
    """[C] index into SKIN_LABELS."""
    cage = s.cage
    label = np.zeros(len(cage.vertices), np.int64)
    label[list(s.lips)] = SKIN_LABELS.index("lips")
    label[list(s.eyes)] = SKIN_LABELS.index("lids")
    label[cage.sack] = SKIN_LABELS.index("mouth_cavity")
    skull = cage.skull.ravel()
    _, y, z = cage.vertices[skull].T
    hairline = np.interp(-z, [0.035, 0.095], [0.052, -0.048])  # from the forehead down to the nape
    label[skull[y > hairline]] = SKIN_LABELS.index("scalp")
    label[skull[(y < -0.118) | ((y <= -0.048) & (z < -0.075))]] = SKIN_LABELS.index("neck")
    return label


def refined_labels(control: NDArray[np.int64], refine: Refinement) -> dict[str, NDArray[np.int64]]:
    """Label -> vertices at LOD 0. A new vertex takes what both ends share, else the more inward of the two."""
    inward = [SKIN_LABELS.index(n) for n in ("mouth_cavity", "lids", "neck", "skin", "scalp", "lips")]
    rank = np.empty(len(SKIN_LABELS), np.int64)
    rank[inward] = np.arange(len(inward))
    ends = control[refine.edges]
    first = rank[ends[:, 0]] <= rank[ends[:, 1]]
    new = np.where(first, ends[:, 0], ends[:, 1])
    touches_line = (ends == SKIN_LABELS.index("lids")).any(1) & (ends == SKIN_LABELS.index("skin")).any(1)
    new[touches_line] = SKIN_LABELS.index("skin")
    label = np.concatenate([control, new])
    return {name: np.flatnonzero(label == i) for i, name in enumerate(SKIN_LABELS)}
