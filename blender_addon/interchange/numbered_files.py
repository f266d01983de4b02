"""Which files are frames of one sequence: ``take_0001.ply``, ``take_0002.ply``, ... No bpy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..protocol import AvatarFileError

MOST_FRAMES = 10_000

_NUMBERED = re.compile(r"(.*?)(\d+)$", re.DOTALL)


@dataclass(frozen=True)
class FileSequence:
    """At least two numbered files of one name.

    Attributes:
        name: what they have in common, without separators at its end.
        files: number -> file, in the order of numbers.
        step: the largest step that meets every number: 2 for 1, 3, 7.
    """

    name: str
    files: dict[int, Path]
    step: int

    @property
    def first(self) -> int:
        return next(iter(self.files))

    @property
    def numbers(self) -> range:
        """All numbers that a sequence without gaps would have."""
        return range(self.first, max(self.files) + 1, self.step)

    @property
    def missing(self) -> list[int]:
        return [number for number in self.numbers if number not in self.files]


def find_sequences(paths: Iterable[Path]) -> tuple[list[FileSequence], list[Path]]:
    """The sequences among files, and the files that belong to none.

    Raises:
        AvatarFileError: two files have one number, or the numbers lie so far apart that nearly all would be missing.
    """
    groups: dict[tuple[Path, str, str], list[tuple[int, Path]]] = {}
    single: list[Path] = []
    for path in paths:
        match = _NUMBERED.match(path.stem)
        if match is None or len(match[2]) > 9:
            single.append(path)
        else:
            groups.setdefault((path.parent, match[1], path.suffix.lower()), []).append((int(match[2]), path))
    alone = [files[0][1] for files in groups.values() if len(files) == 1]
    return [_sequence(key[1], sorted(files)) for key, files in groups.items() if len(files) > 1], single + alone


def sequence_beside(path: Path) -> FileSequence:
    """The sequence that a file is one of, from its folder.

    Raises:
        AvatarFileError: its name has no number at the end, there is no other one, or as `find_sequences`.
    """
    match = _NUMBERED.match(path.stem)
    beside = path.parent.iterdir() if match is not None and path.parent.is_dir() else ()
    found, _ = find_sequences(other for other in beside if match is not None and _alike(match[1], path, other))
    for sequence in found:
        if path in sequence.files.values():
            return sequence
    raise AvatarFileError(f"{path.name}: is not one of several numbered files", "name them as name_0001.ply, name_0002.ply")


def _alike(stem: str, path: Path, other: Path) -> bool:
    """Whether a file beside is numbered as `path` is, whose name without number is `stem`: only these can refuse its sequence."""
    match = _NUMBERED.match(other.stem)
    return match is not None and match[1] == stem and other.suffix == path.suffix


def _sequence(stem: str, files: list[tuple[int, Path]]) -> FileSequence:
    numbers = [number for number, _ in files]
    for first, second in pairwise(files):
        if first[0] == second[0]:
            raise AvatarFileError(f"{first[1].name} and {second[1].name}: have the same number", "choose the files of one sequence only")
    step = math.gcd(*(number - numbers[0] for number in numbers))
    found = FileSequence(stem.rstrip("_-. ") or files[0][1].parent.name or "splats", dict(files), step)
    if len(found.numbers) > MOST_FRAMES:
        raise AvatarFileError(
            f"{files[0][1].name} to {files[-1][1].name}: are {len(found.numbers)} frames of at most {MOST_FRAMES}",
            "import them in parts",
        )
    return found
