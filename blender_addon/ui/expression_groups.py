"""Expressions by the part of the face that they move, and what they are called there. No bpy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..motion.arkit import split_side

GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("brows", "Brows", ("brow", "forehead")),
    ("gaze", "Gaze", ("eyelook", "gaze")),
    ("eyes", "Eyelids", ("eye", "lid")),
    ("nose_cheeks", "Nose and Cheeks", ("nose", "cheek")),
    ("jaw", "Jaw", ("jaw", "chin")),
    ("lips", "Lips", ("mouthclose", "mouthfunnel", "mouthlower", "mouthpucker", "mouthroll", "mouthshrug", "mouthupper", "lip")),
    ("mouth", "Mouth", ("mouth",)),
    ("tongue", "Tongue", ("tongue",)),
)
"""(identifier, label, prefixes of the expressions' names in small letters, in ARKit's manner); the first that fits counts."""

OTHER = ("other", "Other")

WORDS = {
    "browDown": "Lower", "browInnerUp": "Raise Inner", "browOuterUp": "Raise Outer",
    "eyeBlink": "Blink", "eyeSquint": "Squint", "eyeWide": "Open Wide",
    "eyeLookDown": "Look Down", "eyeLookIn": "Look to the Nose", "eyeLookOut": "Look Outward", "eyeLookUp": "Look Up",
    "cheekPuff": "Puff Cheeks", "cheekSquint": "Raise Cheek", "noseSneer": "Wrinkle Nose",
    "jawForward": "Push Forward", "jawLeft": "Slide Left", "jawOpen": "Open", "jawRight": "Slide Right",
    "lipsParted": "Part Lips", "mouthClose": "Close over Jaw", "mouthFunnel": "Funnel (OH)", "mouthPucker": "Pucker (OO)",
    "mouthLowerDown": "Lower Lip Down", "mouthUpperUp": "Upper Lip Up", "mouthRollLower": "Roll In Lower",
    "mouthRollUpper": "Roll In Upper",
    "mouthShrugLower": "Push Up Lower", "mouthShrugUpper": "Push Up Upper",
    "mouthDimple": "Dimple", "mouthFrown": "Corner Down", "mouthLeft": "Slide Left", "mouthPress": "Press", "mouthRight": "Slide Right",
    "mouthSmile": "Smile", "mouthStretch": "Stretch", "tongueOut": "Stick Out",
}  # fmt: skip
"""What an animator calls ARKit's shapes, within their group."""


def grouped(names: Iterable[str], containing: str = "") -> list[tuple[str, str, list[str]]]:
    """(identifier, label, names) of each group that is not empty; `containing` keeps only names, or words, with that text in them."""
    wanted = containing.replace(" ", "").lower()
    members: dict[str, list[str]] = {}
    for name in names:
        if wanted in name.replace(" ", "").lower() or wanted in readable(name).replace(" ", "").lower():
            members.setdefault(group_of(name), []).append(name)
    labels = [(identifier, label) for identifier, label, _ in GROUPS]
    return [(identifier, label, members[identifier]) for identifier, label in [*labels, OTHER] if identifier in members]


def rows(names: Sequence[str], symmetric: bool) -> list[tuple[str, ...]]:
    """The names of a group as a panel's rows: (one,) or (left, right). Pairs first.

    With `symmetric`, the control of both sides in place of the two."""
    have = set(names)
    shown: list[tuple[str, ...]] = []
    for name in names:
        stem, side = split_side(name)
        partner = name.replace("Left", "Right") if side == "Left" else name.replace("Right", "Left") if side else ""
        paired = partner in have
        if not side:
            is_both = any(f"{name}{end}" in have for end in ("Left", "Right")) or any(f"{name}_{end}" in have for end in "LR")
            shown += [(name,)] if symmetric or not is_both else []
        elif symmetric and stem in have:
            continue
        elif not paired:
            shown.append((name,))
        elif side == "Left":
            shown.append((name, partner))
    return sorted(shown, key=len, reverse=True)


def readable(name: str) -> str:
    """`mouthSmileLeft` -> `Smile Left`: short words within the group; other rigs' names get spaces and capitals only."""
    stem, side = split_side(name)
    if stem in WORDS:
        return f"{WORDS[stem]} {side}".strip()
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", stem.replace("_", " ")).split()
    if len(words) > 1 and group_of(name) not in {OTHER[0], "nose_cheeks", "lips"}:
        words = words[1:]
    return " ".join(word[:1].upper() + word[1:] for word in [*words, side] if word)


def group_label(identifier: str) -> str:
    """What a group is called; "" is the whole face."""
    return next((label for name, label, _ in GROUPS if name == identifier), OTHER[1] if identifier == OTHER[0] else "the face")


def group_of(name: str) -> str:
    """Identifier of the group that an expression belongs to."""
    lower = name.lower()
    return next((identifier for identifier, _, prefixes in GROUPS if lower.startswith(prefixes)), OTHER[0])
