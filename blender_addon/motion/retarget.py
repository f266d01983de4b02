"""A take's channels on an avatar's controls: by name, with what finds no place told as a share of the motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .arkit import (
    BONE_SHAPES,
    JAW_OPEN_ANGLE,
    LOOK_DOWN_ANGLE,
    LOOK_IN_ANGLE,
    LOOK_OUT_ANGLE,
    LOOK_UP_ANGLE,
    arkit_name,
    shapes_of,
)
from .take import F64, MotionError, Take

PERCENT = 3.0
"""Weights beyond this are meant as percent: no capture gives three times a full expression."""


@dataclass(frozen=True)
class Fitted:
    """Channels [T] of an avatar.

    Attributes:
        arkit: by ARKit's names, for the ARKit layer.
        face: by the rig's own names.
        pose: [T, 3] axis-angle of joints.
        missed: what has no place on this avatar -> share of the whole motion, 0..1.
        warnings: what the user should know.
    """

    arkit: dict[str, F64] = field(default_factory=dict)
    face: dict[str, F64] = field(default_factory=dict)
    pose: dict[str, F64] = field(default_factory=dict)
    missed: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def residual(self) -> float:
        """Share of the motion that has no place, 0..1: root mean squares of what is missed to those of all."""
        return sum(self.missed.values())


def fit_names(take: Take, expressions: Sequence[str], use_arkit_layer: bool = True) -> Fitted:
    """Match names to a rig's.

    Args:
        expressions: the rig's.
        use_arkit_layer: ARKit's shapes go to the ARKit layer; else to the rig's expressions, jaw and eyes themselves.
    Raises:
        MotionError: not one channel of the face, jaw or neck fits.
    """
    take, notes = _as_fractions(take)
    sizes = {name: _size(values) for name, values in (*take.arkit.items(), *take.expressions.items())}
    whole = sum(sizes.values()) or 1.0
    face, unmatched = _match(take.expressions, expressions)
    arkit: dict[str, F64] = {}
    pose = dict(take.pose)
    movable = {shape for name in expressions for shape in shapes_of(name)} | BONE_SHAPES
    unmatched |= {name for name in take.arkit if name not in movable}
    usable = {name: values for name, values in take.arkit.items() if name in movable}
    if use_arkit_layer:
        arkit = usable
    else:
        face |= _on_expressions(usable, expressions)
        pose |= bone_turns({name: values for name, values in usable.items() if name in BONE_SHAPES}, pose)
    if not (arkit or face or pose):
        raise MotionError(f"{take.source}: {_why(take)}", _remedy(take))
    if take.expressions and not face and all(name.startswith("expr") for name in take.expressions):
        notes = (*notes, f"{_why(take)}; jaw, eyes and neck are used")
    return Fitted(arkit, face, pose, {name: sizes[name] / whole for name in sorted(unmatched)}, notes)


def with_gain(fitted: Fitted, gain: float, head: Sequence[float] = (1.0, 1.0, 1.0), limits: tuple[float, float] = (-1.0, 1.5)) -> Fitted:
    """Expressions and jaw times `gain`, the head's nod, turn and tilt times `head`; what leaves the sliders' range is cut, and told."""
    cut = 0
    parts = {}
    for layer in ("arkit", "face"):
        raised = {name: values * gain for name, values in getattr(fitted, layer).items()}
        cut += sum(int(((v < limits[0]) | (v > limits[1])).any()) for v in raised.values())
        parts[layer] = {name: np.clip(values, *limits) for name, values in raised.items()}
    factors = {"jaw": np.full(3, gain), "neck": np.asarray(head, float)}
    pose = {joint: values * factors.get(joint, 1.0) for joint, values in fitted.pose.items()}
    notes = (f"{cut} controls went beyond {limits[0]:g}..{limits[1]:g}: cut there",) if cut else ()
    return replace(fitted, **parts, pose=pose, warnings=(*fitted.warnings, *notes))


def bone_turns(weights: dict[str, F64], pose: dict[str, F64]) -> dict[str, F64]:
    """Joint -> [T, 3] axis-angle of ARKit's jawOpen and eyeLook*, on top of `pose`."""
    if not weights:
        return {}
    count = len(next(iter(weights.values())))
    get = lambda name: weights.get(name, np.zeros(count))
    turns: dict[str, F64] = {}
    if "jawOpen" in weights:
        turns["jaw"] = np.stack([JAW_OPEN_ANGLE * get("jawOpen"), np.zeros(count), np.zeros(count)], -1)
    for joint, side, outward in (("eye_left", "Left", 1.0), ("eye_right", "Right", -1.0)):
        if any(name.endswith(side) for name in weights):
            down = LOOK_DOWN_ANGLE * get(f"eyeLookDown{side}") - LOOK_UP_ANGLE * get(f"eyeLookUp{side}")
            turn = outward * (LOOK_OUT_ANGLE * get(f"eyeLookOut{side}") - LOOK_IN_ANGLE * get(f"eyeLookIn{side}"))
            turns[joint] = np.stack([down, turn, np.zeros(count)], -1)
    return {joint: values + pose.get(joint, 0.0) for joint, values in turns.items()}


def _match(channels: dict[str, F64], expressions: Sequence[str]) -> tuple[dict[str, F64], set[str]]:
    """Channels by the rig's names, and names that it does not have: exact, then ARKit's meaning, then letters alone."""
    letters = {_letters(name): name for name in expressions}
    meanings = {shape: name for name in expressions if (shape := arkit_name(name))}
    found: dict[str, F64] = {}
    unmatched = set()
    for name, values in channels.items():
        place = name if name in expressions else meanings.get(arkit_name(name) or "") or letters.get(_letters(name))
        if place is None:
            unmatched.add(name)
        else:
            found[place] = values
    return found, unmatched


def _on_expressions(weights: dict[str, F64], expressions: Sequence[str]) -> dict[str, F64]:
    found = {}
    for name in expressions:
        sources = [weights[shape] for shape in shapes_of(name) if shape in weights and shape not in BONE_SHAPES]
        if sources:
            found[name] = np.mean(sources, axis=0)
    return found


def _as_fractions(take: Take) -> tuple[Take, tuple[str, ...]]:
    top = max((float(np.abs(values).max()) for values in take.arkit.values()), default=0.0)
    if top <= PERCENT:
        return take, ()
    scaled = {name: values / 100 for name, values in take.arkit.items()}
    return replace(take, arkit=scaled), (f"weights up to {top:.0f}: taken as percent",)


def _why(take: Take) -> str:
    if any(name.startswith("expr") for name in take.expressions):
        return "its expressions are FLAME's coefficients, which mean nothing without FLAME, and this avatar is not on a FLAME rig"
    return "no channel of it has the name of one of this avatar's expressions"


def _remedy(take: Take) -> str:
    if any(name.startswith("expr") for name in take.expressions):
        return "choose a FLAME Map, which `lookalike flame-map` makes from your FLAME file, or track the video with `lookalike track`"
    return "rename the channels to ARKit's names or the avatar's"


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _size(values: F64) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
