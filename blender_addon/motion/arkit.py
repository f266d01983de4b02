"""ARKit's 52 face shapes (ARFaceAnchor.BlendShapeLocation), and names that mean them in other conventions. No bpy, no numpy."""

from __future__ import annotations

import re
from collections.abc import Iterable

JAW_OPEN_ANGLE = 0.36
"""Jaw rotation for jawOpen = 1, radians; as in backend/rig/arkit.py."""
LOOK_UP_ANGLE, LOOK_DOWN_ANGLE, LOOK_IN_ANGLE, LOOK_OUT_ANGLE = 0.4712389, 0.5235988, 0.6108652, 0.6108652
"""Eye rotations for eyeLook* = 1, radians: 27, 30, 35 and 35 degrees."""

SIDED = ("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint",
         "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp",
         "noseSneer")  # fmt: skip
WHOLE = ("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft",
         "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut")  # fmt: skip

ARKIT_NAMES: tuple[str, ...] = tuple(sorted([*WHOLE, *(f"{stem}{side}" for stem in SIDED for side in ("Left", "Right"))]))
"""The 52 names."""

BONE_SHAPES = frozenset({"jawOpen", *(name for name in ARKIT_NAMES if name.startswith("eyeLook"))})
"""Shapes that turn a bone on our rigs instead of moving a shape key."""

_SIDES = {"l": "Left", "left": "Left", "r": "Right", "right": "Right"}
_BY_LETTERS = {name.lower(): name for name in ARKIT_NAMES}


def arkit_name(name: str) -> str | None:
    """The ARKit shape that `name` means, or None: `EyeBlinkLeft`, `eyeBlink_L`, `eye-blink.left`, `blendShape1.jawOpen`, `LeftEyeBlink`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", re.split(r"[.:|](?=\w{3})", name)[-1])
    lower = [word.lower() for word in words]
    for candidate in _spellings(lower):
        if candidate in _BY_LETTERS:
            return _BY_LETTERS[candidate]
    return None


def _spellings(words: list[str]) -> Iterable[str]:
    """The letters of a name as written, then with the side spelled out and moved to its end."""
    yield "".join(words)
    if len(words) < 2:
        return
    for side, rest in ((words[-1], words[:-1]), (words[0], words[1:])):
        if side in _SIDES:
            yield "".join(rest) + _SIDES[side].lower()


def split_side(name: str) -> tuple[str, str]:
    """(stem, side) of an expression's name: `mouthSmileLeft` -> `mouthSmile`, `Left`. Side is "" for what has none.

    `jawLeft` and `mouthLeft` are motions to the left, not left halves: they are whole.
    """
    for side in ("Left", "Right"):
        if name.endswith(side) and name not in WHOLE:
            return name.removesuffix(side), side
    found = re.fullmatch(r"(.+)[_.]([LR])", name)
    return (found[1], _SIDES[found[2].lower()]) if found else (name, "")


def shapes_of(expression: str) -> tuple[str, ...]:
    """ARKit shapes that move an expression: the one it is called after, or both sides of one that has no sides on this rig."""
    shape = arkit_name(expression)
    if shape is not None:
        return (shape,)
    stem, side = split_side(expression)
    both = [found for end in ("Left", "Right") if (found := arkit_name(f"{stem}{end}"))]
    return tuple(both) if not side and len(both) == 2 else ()
