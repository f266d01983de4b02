"""FLAME's coefficients as a rig's named expressions, by the map that `lookalike flame-map` makes from the user's FLAME file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .flame_takes import flame_name
from .npz import read_npz
from .take import F64, MAX_BYTES, MotionError, Take

FORMAT = 1
STEPS = 400
LIMIT = 1.5
RIDGE = 5e-3
"""Weight of an expression's own cost, in metres: keeps expressions that landmarks hardly see from growing."""


@dataclass(frozen=True)
class FlameMap:
    """As backend/tracking/flame_map.py: how landmarks move [3 L, C] by coefficients and [3 L, E] by expressions, metres."""

    source: F64
    target: F64
    prior: F64
    one_sided: np.ndarray
    names: tuple[str, ...]
    rig_id: str


def read_flame_map(data: bytes, name: str) -> FlameMap:
    """A map from its file's bytes.

    Raises:
        MotionError: not a map, or of another version.
    """
    arrays = read_npz(data, name)
    try:
        facts = json.loads(bytes(arrays["flame_map"].astype(np.uint8)))
        names = tuple(map(str, facts["expression_names"]))
        source, target = (arrays[key].astype(np.float64) for key in ("source", "target"))
        count = len(source)
        if facts["format"] != FORMAT or source.shape[:2] != (count, 3) or target.shape != (count, 3, len(names)):
            raise ValueError("its arrays do not fit each other, or its format is not known here")
        prior, one_sided = arrays["prior"].astype(np.float64), arrays["one_sided"].astype(bool)
        if not (len(prior) == len(one_sided) == len(names)) or not all(np.isfinite(a).all() for a in (source, target, prior)):
            raise ValueError("it holds values that are not numbers")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise MotionError(f"{name}: not a map of FLAME ({error})", "make it by `lookalike flame-map`") from error
    flat = [array.reshape(3 * count, -1) for array in (source, target)]
    return FlameMap(flat[0], flat[1], prior, one_sided, names, str(facts["rig_id"]))


def read_flame_map_file(path: str | os.PathLike[str]) -> FlameMap:
    """As `read_flame_map`, from a file.

    Raises:
        MotionError: also where it is missing or too large.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MotionError(f"{path.name}: too large for a map of FLAME", "make it by `lookalike flame-map`")
        return read_flame_map(path.read_bytes(), path.name)
    except OSError as error:
        raise MotionError(f"{path.name}: cannot be read ({error.strerror})", "make it by `lookalike flame-map`") from error


def with_named_expressions(take: Take, flame: FlameMap, rig_id: str = "") -> Take:
    """The take with FLAME's coefficients replaced by the map's expressions, and a note of what they cannot show.

    `rig_id` is the avatar's: a map that was made for another rig is told.

    Each frame's expressions e minimise |target e - source c|^2 + ridge e' prior e, those that have no other side from 0 on
    (projected gradient with Nesterov's momentum; Beck and Teboulle 2009), all frames at once.
    """
    count = flame.source.shape[1]
    have = [take.expressions.get(flame_name(i)) for i in range(count)]
    if all(values is None for values in have):
        return take
    coefficients = np.stack([np.zeros(len(take)) if values is None else values for values in have], 1)
    wanted = coefficients @ flame.source.T
    solved = _bounded_least_squares(flame, wanted)
    missed, whole = (float(np.sqrt(np.mean(np.square(values)))) for values in (wanted - solved @ flame.target.T, wanted))
    others = {name: values for name, values in take.expressions.items() if not name.startswith("expr")}
    named = {name: solved[:, i] for i, name in enumerate(flame.names)}
    share = missed / max(whole, 1e-12)
    note = f"FLAME's expressions solved on {flame.rig_id}: {share:.0%} of their motion is left, {1e3 * missed:.2f} mm root mean square"
    beyond = len([name for name in take.expressions if name.startswith("expr") and int(name[4:] or 0) >= count])
    notes = (note, f"{beyond} coefficients beyond the map's {count}: not used") if beyond else (note,)
    if rig_id and rig_id != flame.rig_id:
        notes = (f"the map is for {flame.rig_id}, this avatar is on {rig_id}: expressions of the same name are used", *notes)
    return replace(take, expressions={**others, **named}, warnings=(*take.warnings, *notes))


def _bounded_least_squares(flame: FlameMap, wanted: F64) -> F64:
    """[T, E] expressions for landmark motions [T, 3 L]."""
    gram = flame.target.T @ flame.target + np.diag(RIDGE**2 * flame.prior)
    linear = wanted @ flame.target
    step = 1.0 / float(np.linalg.eigvalsh(gram)[-1])
    low = np.where(flame.one_sided, 0.0, -LIMIT)
    values = previous = np.zeros_like(linear)
    momentum = 1.0
    for _ in range(STEPS):
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = values + (momentum - 1) / following * (values - previous)
        previous, momentum = values, following
        values = np.clip(ahead - step * (ahead @ gram - linear), low, LIMIT)
    return values
