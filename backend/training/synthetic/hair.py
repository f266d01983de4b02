"""Where a style's hair grows, and the shell that it makes of the head."""

from __future__ import annotations

import numpy as np

from backend.evaluation.ict_heads import vertex_normals
from backend.evaluation.procedural import noise
from backend.protocol.avatar import F32

from .anatomy import Anatomy
from .person import Person

LONG = 0.02
"""Metres below the nape's hairline from which hair hangs freely."""
_SLOPE = 1.05
_RISE = 0.03
"""Metres from the hairline over which the shell comes to its thickness."""


def growth(anatomy: Anatomy, person: Person) -> F32:
    """[V'] distance in metres above the hairline, on the template; negative where nothing grows.

    The line falls from the forehead over the temples to the nape, as in `evaluation.ict_heads`, and lower where hair is long.
    """
    hair, point = person.hair, anatomy.points
    if hair.bald:
        return np.full(len(anatomy.rest), -1, np.float32)
    x, y, z = anatomy.rest.T.astype(float)
    back = np.minimum(z, 0.0)
    temple = np.clip(np.abs(x) / 0.075 - 0.6, 0, 1) * np.clip(z / 0.03, 0, 1)
    line = point["forehead"][1] - 0.002 + hair.hairline + _SLOPE * back + 0.02 * temple
    nape = point["chin"][1] + 0.02 - hair.fall
    above = (y - np.maximum(line, nape)) / np.where(back < 0, np.hypot(1, _SLOPE), 1.0)
    if not hair.covers_ears:
        around = (np.abs(x) > 0.062) & (z < 0.035) & (z > -0.035) & (y > point["nose"][1] - 0.045) & (y < point["eye_corner"][1] + 0.028)
        above = np.where((anatomy.ear > 0.01) | around, np.minimum(above, -0.004), above)
    if hair.fall > LONG:
        curtain = (0.012 if hair.covers_ears else -0.02) - z
        above = np.maximum(above, np.minimum(curtain, y - nape))
    above = above + 0.0015 * noise(anatomy.rest, 250, person.noise % 1000) + hair.ragged * noise(anatomy.rest, 55, person.noise % 1009)
    return np.where(anatomy.outer > 0.5, above, -1).astype(np.float32)


def shell(vertices: F32, anatomy: Anatomy, person: Person, above: F32) -> F32:
    """[V', 3] posed surface with hair lifted along the normals, thinner towards its line and along the parting."""
    hair = person.hair
    if hair.bald:
        return vertices
    full = np.clip(above / _RISE, 0, 1)
    x, _, z = anatomy.rest.T
    thickness = hair.thickness * full * (1 + hair.curl * noise(anatomy.rest, 130, person.noise % 1009))
    thickness = thickness * (1 - 0.45 * np.exp(-(((x - hair.part) / 0.006) ** 2)) * (z > -0.03))
    if hair.fall > LONG:
        # Long hair stands away from the neck, so that its outline does not follow the throat.
        thickness = thickness + 0.018 * np.clip((anatomy.points["nose"][1] - anatomy.rest[:, 1]) / 0.05, 0, 1) * full
    return (vertices + vertex_normals(vertices, anatomy.faces) * thickness[:, None]).astype(np.float32)
