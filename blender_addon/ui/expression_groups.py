"""Expressions by the part of the face that they move, and their names as a person reads them. No bpy."""

from __future__ import annotations

import re
from collections.abc import Iterable

GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("brows", "Brows", ("brow", "forehead")),
    ("eyes", "Eyes", ("eye", "lid", "gaze")),
    ("nose_cheeks", "Nose and Cheeks", ("nose", "cheek")),
    ("jaw", "Jaw", ("jaw", "chin")),
    ("mouth", "Mouth", ("mouth", "lip")),
    ("tongue", "Tongue", ("tongue",)),
)
"""(identifier, label, prefixes of the expressions' names, in ARKit's manner)."""

OTHER = ("other", "Other")


def grouped(names: Iterable[str], containing: str = "") -> list[tuple[str, str, list[str]]]:
    """(identifier, label, names) of each group that is not empty; `containing` keeps only names with that text in them."""
    wanted = containing.replace(" ", "").lower()
    members: dict[str, list[str]] = {}
    for name in names:
        if wanted in name.replace(" ", "").lower():
            members.setdefault(_group(name), []).append(name)
    labels = [(identifier, label) for identifier, label, _ in GROUPS]
    return [(identifier, label, members[identifier]) for identifier, label in [*labels, OTHER] if identifier in members]


def readable(name: str) -> str:
    """`mouthSmileLeft` -> `Smile Left` is what fits a slider in the group Mouth; other names get spaces and capitals only."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.replace("_", " ")).split()
    if len(words) > 1 and _group(name) not in {OTHER[0], "nose_cheeks"}:
        words = words[1:]
    return " ".join(word[:1].upper() + word[1:] for word in words)


def _group(name: str) -> str:
    lower = name.lower()
    return next((identifier for identifier, _, prefixes in GROUPS if lower.startswith(prefixes)), OTHER[0])
