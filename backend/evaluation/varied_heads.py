"""Heads to learn from: other people, faces, views and lights than those that `evaluate` measures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .ict_heads import HAIRS, LIGHT, SKINS, Head, HeadModel, Shot, grow_hair, make_head, paint, shoot

SMILE, SPEECH, MIXED = "smile", "speech", "mixed"
FACES = ("neutral", SMILE, SPEECH, MIXED)
NOT_MIXED = ("PupilDilate", "eyeBlink")
MIXED_COUNT = 5

YAW, PITCH = 18.0, 8.0
"""Standard deviations of the view, degrees."""
DISTANCES = (0.6, 1.8)
"""Metres."""
LIGHT_SPREAD = 0.25
FRONTAL_SHARE = 1 / 3
HAIR_THICKNESS = (0.008, 0.024)


@dataclass(frozen=True)
class VariedView:
    """Where the camera stands and where the light comes from: degrees, metres, unit vector in the head's frame."""

    yaw: float
    pitch: float
    distance: float
    light: NDArray[np.float64]


def varied_head(model: HeadModel, seed: int) -> tuple[Head, VariedView]:
    """A person, an expression and a view, fixed by the seed."""
    rng = np.random.default_rng([seed, len(FACES)])
    count = len(model.identities)
    mix = rng.normal(0, rng.uniform(0.4, 0.9), count) * (rng.uniform(size=count) < rng.uniform(0.5, 1))
    face = _expression(model, rng)
    hair_color = np.array(HAIRS[rng.integers(len(HAIRS))])
    bald = make_head(replace(model, expressions={}), 0)
    vertices = model.neutral + np.tensordot(mix.astype(np.float32), model.identities, 1) + face
    head = replace(
        bald,
        vertices=grow_hair(vertices, model, bald.hair * rng.uniform(*HAIR_THICKNESS)),
        color=paint(model, int(rng.integers(len(SKINS) * 4)), hair_color),
        hair_color=hair_color.astype(np.float32),
    )
    if rng.uniform() < FRONTAL_SHARE:
        return head, VariedView(0.0, 0.0, float(rng.uniform(*DISTANCES)), LIGHT)
    light = LIGHT + rng.normal(0, LIGHT_SPREAD, 3)
    light *= np.linalg.norm(LIGHT) / np.linalg.norm(light)
    return head, VariedView(float(rng.normal(0, YAW)), float(rng.normal(0, PITCH)), float(rng.uniform(*DISTANCES)), light)


def shoot_varied(head: Head, view: VariedView) -> Shot:
    """The picture of a head in its view."""
    return shoot(head, view.yaw, pitch=view.pitch, distance=view.distance, light=view.light)


def _expression(model: HeadModel, rng: np.random.Generator) -> NDArray:
    """[V, 3] displacement of a random face."""
    weights: dict[str, float] = {}

    def raise_all(prefix: str, low: float, high: float) -> None:
        value = float(rng.uniform(low, high))
        weights.update({name: value for name in model.expressions if name.startswith(prefix)})

    kind = FACES[rng.integers(len(FACES))]
    if kind == SMILE:
        raise_all("mouthSmile", 0.3, 1.0)
        raise_all("cheekSquint", 0.0, 0.6)
        raise_all("mouthUpperUp", 0.0, 0.5)
        raise_all("jawOpen", 0.0, 0.3)
    elif kind == SPEECH:
        raise_all("jawOpen", 0.0, 0.5)
        raise_all("mouthLowerDown", 0.0, 0.5)
    elif kind == MIXED:
        names = [name for name in model.expressions if not name.startswith(NOT_MIXED)]
        for name in rng.permutation(names)[:MIXED_COUNT]:
            weights[str(name)] = float(rng.uniform(0, 0.6))
    total = np.zeros_like(model.neutral)
    for name, weight in weights.items():
        total += np.float32(weight) * model.expressions[name]
    return total
