"""Which faces the refiner is asked for: views, every expression, mixtures; and which of them are set aside for the verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from backend.protocol.avatar import F32, RigArrays
from backend.protocol.color_basis import JOINT_AXIS

YAW, PITCH = 30.0, 12.0
"""Degrees to either side: further round, networks of one portrait invent."""
JAW, OPEN = f"jaw{JOINT_AXIS}", 0.3
"""The jaw's control, and how far it opens, radians."""
NEUTRAL_SHARE, HELD_SHARE = 0.12, 0.25
MIXED = 3
"""Moves in a mixture."""
LEAST = 8
_UNNAMED = re.compile(r"expr\d+")
_UNNAMED_REACH = 1.5
"""FLAME's coefficients have no names and two signs: standard deviations."""


@dataclass(frozen=True)
class Frame:
    """One picture to ask for.

    Attributes:
        yaw, pitch: degrees by which the head appears turned.
        controls: value of each control that is not 0, as in `color_basis`.
        held_out: whether it is kept from learning.
    """

    yaw: float
    pitch: float
    controls: dict[str, float]
    held_out: bool

    @property
    def expression(self) -> dict[str, float]:
        """Value of each named expression."""
        return {name: value for name, value in self.controls.items() if name != JAW}

    def pose(self, rig: RigArrays) -> F32:
        """[J, 3] axis-angle of each joint, radians."""
        pose = np.zeros((len(rig.joints), 3), np.float32)
        if JAW in self.controls:
            pose[rig.joint_names.index("jaw"), 0] = self.controls[JAW]
        return pose


def controls_of(rig: RigArrays) -> tuple[str, ...]:
    """What colours may depend on: every expression, and the jaw's opening."""
    return (*rig.expression_names, *((JAW,) if "jaw" in rig.joint_names else ()))


def plan_frames(rig: RigArrays, count: int, seed: int = 0) -> list[Frame]:
    """So many frames; the same numbers give the same plan.

    A quarter is held out: other views, other mixtures, other strengths. Of the rest an eighth is neutral, the others go through
    every control, one at a time where there are frames enough and several at a time where not, and then through mixtures.

    Raises:
        ValueError: fewer than `LEAST` frames.
    """
    if count < LEAST:
        raise ValueError(f"{count} frames, at least {LEAST} are needed")
    rng = np.random.default_rng(seed)
    controls = controls_of(rig)
    held = max(2, round(HELD_SHARE * count))
    neutral = max(2, round(NEUTRAL_SHARE * (count - held)))
    moved = count - held - neutral
    frames = [Frame(*_view(rng, i / max(neutral - 1, 1)), {}, False) for i in range(neutral)]
    each = max(1, -(-len(controls) // moved))
    order = [str(name) for name in rng.permutation(controls)]
    for i in range(moved):
        chosen = order[i * each : (i + 1) * each]
        values = {name: _strength(rng, name, 1.0) for name in chosen} if chosen else _mixture(rng, controls)
        frames.append(Frame(*_view(rng), values, False))
    frames.append(Frame(*_view(rng), {}, True))
    frames += [Frame(*_view(rng), _mixture(rng, controls), True) for _ in range(held - 1)]
    return frames


def _view(rng: np.random.Generator, across: float | None = None) -> tuple[float, float]:
    """Yaw and pitch, degrees; `across` 0..1 places the yaw."""
    share = rng.uniform(-1, 1) if across is None else 2 * across - 1
    return float(YAW * share), float(rng.uniform(-PITCH, PITCH))


def _mixture(rng: np.random.Generator, controls: tuple[str, ...]) -> dict[str, float]:
    chosen = rng.choice(len(controls), min(MIXED, len(controls)), replace=False)
    return {controls[i]: _strength(rng, controls[i], float(rng.uniform(0.4, 1.0))) for i in chosen}


def _strength(rng: np.random.Generator, name: str, share: float) -> float:
    if name == JAW:
        return OPEN * share
    sign = rng.choice((-_UNNAMED_REACH, _UNNAMED_REACH)) if _UNNAMED.fullmatch(name) else 1.0
    return float(sign * share)
