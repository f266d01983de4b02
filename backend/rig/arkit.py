"""ARKit's 52 face shapes (ARFaceAnchor.BlendShapeLocation) as expression values and joint rotations of our rigs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backend.protocol.avatar import F32
from backend.protocol.interchange.arkit_names import ARKIT_NAMES
from backend.protocol.interchange.arkit_targets import JAW_OPEN_ANGLE, LOOK_DOWN_ANGLE, LOOK_IN_ANGLE, LOOK_OUT_ANGLE, LOOK_UP_ANGLE


def arkit_to_driver(weights: Mapping[str, float]) -> tuple[dict[str, float], F32]:
    """ARKit weights (0..1) to expression values and a pose.

    Args:
        weights: name -> weight; missing names are 0; names may be written with a capital or with _L/_R.
    Returns:
        expression: name -> value for a rig with ARKit's names (the built-in head, ICT-FaceKit); zeros left out.
        pose: [5, 3] axis-angle of root, neck, jaw, eye_left, eye_right, radians. The head's own rotation, which ARKit
            reports apart, is not part of it.
    Raises:
        ValueError: a name that ARKit does not have.
    """
    values: dict[str, float] = {}
    for name, value in weights.items():
        values[_canonical(name)] = float(value)
    pose = np.zeros((5, 3), np.float32)
    pose[2, 0] = JAW_OPEN_ANGLE * values.pop("jawOpen", 0.0)
    for joint, side, outward in ((3, "Left", 1.0), (4, "Right", -1.0)):
        up, down = values.pop(f"eyeLookUp{side}", 0.0), values.pop(f"eyeLookDown{side}", 0.0)
        outer, inner = values.pop(f"eyeLookOut{side}", 0.0), values.pop(f"eyeLookIn{side}", 0.0)
        pose[joint, 0] = LOOK_DOWN_ANGLE * down - LOOK_UP_ANGLE * up
        pose[joint, 1] = outward * (LOOK_OUT_ANGLE * outer - LOOK_IN_ANGLE * inner)
    return {name: value for name, value in values.items() if value}, pose


def _canonical(name: str) -> str:
    plain = name[:1].lower() + name[1:]
    for short, long in (("_L", "Left"), ("_R", "Right")):
        plain = plain.removesuffix(short) + long if plain.endswith(short) else plain
    if plain not in ARKIT_NAMES:
        raise ValueError(f"ARKit has no shape '{name}'")
    return plain
