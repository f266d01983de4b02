"""Colours of pixels: skin, lips, brows, eyes, teeth, hair and cloth, under one soft lamp and the room's light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.procedural import noise
from backend.protocol.avatar import F32

from .anatomy import CLOTH, EYE, SKIN, TEETH, TONGUE
from .person import Person

_SCLERA, _ENAMEL, _GUMS = np.array([0.86, 0.84, 0.82]), np.array([0.88, 0.84, 0.75]), np.array([0.62, 0.26, 0.26])
_IRIS, _PUPIL = 0.50, 0.20
"""Angles at which they end, radians."""


class Surface(NamedTuple):
    """What is known at P pixels: interpolated `Anatomy` fields, unit normals, directions to the camera [P, 3].

    `above` is `hair.growth`; `sheltered` 0..1 is how little of the room's light reaches the place.
    """

    part: NDArray[np.uint8]
    rest: F32
    normal: F32
    to_camera: F32
    lips: F32
    brows: F32
    iris: F32
    cavity: F32
    ear: F32
    above: F32
    sheltered: F32


def paint(surface: Surface, person: Person, chin: float, nose: float) -> F32:
    """[P, 3] display-referred colours.

    Args:
        chin, nose: heights on the template, metres; the beard grows between them.
    """
    albedo = np.empty((len(surface.part), 3), np.float32)
    gloss = np.full(len(albedo), 0.3 * person.light.gloss, np.float32)
    for part, colour in ((SKIN, _skin), (EYE, _eye), (CLOTH, _cloth)):
        at = np.flatnonzero(surface.part == part)
        if len(at):
            albedo[at] = colour(_taken(surface, at), person, chin, nose)
    albedo[surface.part == TEETH] = _ENAMEL
    albedo[surface.part == TONGUE] = _GUMS
    hair = _hair_share(surface)
    at = np.flatnonzero(hair > 0)
    albedo[at] += hair[at, None] * (_strands(surface.rest[at], person) - albedo[at])
    gloss[surface.part == SKIN] = person.light.gloss
    gloss[(surface.part == EYE) | (surface.part == TEETH)] = 0.35
    return _lit(albedo, gloss * (1 - 0.7 * hair), surface, person)


def _taken(surface: Surface, at: NDArray) -> Surface:
    return surface._replace(**{name: getattr(surface, name)[at] for name in surface._fields})


def _soft(distance: NDArray, width: float) -> NDArray:
    """1 well inside (negative distance), 0 outside, over `width` metres."""
    return np.clip(0.5 - distance / width, 0, 1)


def _skin(s: Surface, person: Person, chin: float, nose: float) -> NDArray:
    rest, seed = s.rest, person.noise
    color = np.tile(person.skin, (len(rest), 1))
    color *= (1 + person.blotch * (0.7 * noise(rest, 220, seed % 1013) + 0.5 * noise(rest, 900, seed % 1019)))[:, None]
    x, y, z = rest.T
    front = np.clip((z - 0.02) / 0.02, 0, 1)
    cheek = np.exp(-(((np.abs(x) - 0.038) / 0.02) ** 2 + ((y - nose) / 0.022) ** 2)) * front
    color += (cheek + 0.5 * s.ear)[:, None] * [0.05, -0.025, -0.02]
    if person.freckles > 0:
        spots = np.clip(noise(rest, 1600, seed % 1021) - 1.1, 0, 1) * np.exp(-(((y - nose - 0.01) / 0.03) ** 2)) * front
        color *= 1 - person.freckles * spots[:, None] * [0.4, 0.55, 0.6]
    if person.hair.stubble > 0:
        jaw = np.clip((nose - 0.012 - y) / 0.012, 0, 1) * np.clip((y - chin + 0.022) / 0.012, 0, 1) * np.clip((z - 0.0) / 0.03, 0, 1)
        grain = np.clip(0.75 + 0.35 * noise(rest, 1500, seed % 1031), 0, 1)
        share = person.hair.stubble * jaw * grain
        color += share[:, None] * (0.8 * person.hair.color - color) * 0.8
    lips = _soft(s.lips + 0.0006, 0.0022)
    color += lips[:, None] * (person.lips * (1 + 0.06 * noise(rest, 1200, seed % 1033))[:, None] - color)
    brows = _soft(s.brows - person.hair.brow, 0.0026) * np.clip(0.9 + 0.4 * noise(rest * [0.5, 1.5, 1], 1800, seed % 1039), 0, 1)
    color += brows[:, None] * (0.85 * person.hair.color + 0.02 - color)
    inside = np.clip(s.cavity * 1.5 - 0.25, 0, 1)
    return color + inside[:, None] * (np.array([0.35, 0.13, 0.12]) - color)


def _eye(s: Surface, person: Person, chin: float, nose: float) -> NDArray:
    color = np.tile(_SCLERA, (len(s.rest), 1)) * [1, 0.99, 0.98]
    veins = np.clip((s.iris - 0.8) / 0.6, 0, 1)[:, None]
    color += veins * ([0.80, 0.64, 0.60] - color)
    inside = _soft(s.iris - _IRIS, 0.07)
    ring = 1 - 0.55 * np.clip((s.iris - _IRIS + 0.13) / 0.13, 0, 1)
    color += inside[:, None] * (person.iris * (ring * (1 + 0.12 * noise(s.rest, 3000, person.noise % 1049)))[:, None] - color)
    color += _soft(s.iris - _PUPIL, 0.05)[:, None] * (0.02 - color)
    return color


def _cloth(s: Surface, person: Person, chin: float, nose: float) -> NDArray:
    weave = 1 + 0.05 * noise(s.rest, 1500, person.noise % 1051) + 0.06 * noise(s.rest, 60, person.noise % 1061)
    first, second = person.cloth
    color = np.tile(first, (len(s.rest), 1))
    if person.stripes:
        color[np.sin(2 * np.pi * person.stripes * s.rest[:, 1]) > 0.3] = second
    return color * weave[:, None]


def _hair_share(s: Surface) -> NDArray:
    return np.where(s.part == SKIN, np.clip(0.5 + s.above / 0.006, 0, 1), 0.0)


def _strands(rest: F32, person: Person) -> NDArray:
    """Colour of hair at places: strands along the fall of the hair, clumps, and darker roots of tone."""
    seed, curl = person.noise, person.hair.curl
    across = np.arctan2(rest[:, 0] - person.hair.part, rest[:, 2] + 0.02)
    wave = noise(rest, 90, seed % 1063)
    strand = 0.16 * np.sin(150 * across + (6 + 25 * curl) * wave) + 0.2 * noise(rest * [1, 0.35, 1], 700, seed % 1069) + 0.14 * wave
    return person.hair.color * np.clip(1 + strand, 0.3, 1.8)[:, None]


def _lit(albedo: NDArray, gloss: NDArray, s: Surface, person: Person) -> F32:
    """Wrapped diffuse light, a room brighter from above, one highlight (Blinn)."""
    light = person.light
    normal = s.normal / (np.linalg.norm(s.normal, axis=1, keepdims=True) + 1e-9)
    facing = np.clip((normal @ light.direction + 0.25) / 1.25, 0, 1)
    up = 0.5 + 0.5 * normal[:, 1]
    room = light.ground + up[:, None] * (light.sky - light.ground)
    open_share = (1 - s.sheltered)[:, None]
    half = s.to_camera + light.direction
    half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-9
    glint = gloss * np.clip((normal * half).sum(1), 0, 1) ** 24 + 0.6 * gloss * np.clip((normal * half).sum(1), 0, 1) ** 200
    color = albedo * (room * (0.25 + 0.75 * open_share) + facing[:, None] * light.lamp * open_share) + (glint[:, None] * open_share)
    return np.clip(color, 0, 1).astype(np.float32)
