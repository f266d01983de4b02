"""From a configuration's sets to footage, parted by people into what is learned from and what is held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from backend.rig import Rig
from backend.training.config import DataConfig
from backend.training.synthetic import SyntheticHeads, Views

from .gagavatar_track import TrackedLmdb
from .vhap import VhapFolders
from .videos import Videos
from .view import DataError, Footage, View

FIELD_OF_VIEW = 2 * math.degrees(math.atan(1 / 12))
"""Degrees; of the networks' camera, so that drawn heads need no other one."""


class Part:
    """Some people of a source of footage."""

    def __init__(self, footage: Footage, first: int, last: int) -> None:
        self.footage, self.rig, self._first = footage, footage.rig, first
        self.people = footage.people[first:last]

    def frames(self, person: int) -> int:
        return self.footage.frames(self._first + person)

    def view(self, person: int, frame: int) -> View:
        return self.footage.view(self._first + person, frame)


def open_footage(config: DataConfig, rig: Rig, size: int, report: Callable[[str], None] = lambda line: None) -> Footage:
    """The footage of a set; nothing is read yet but lists.

    Raises:
        DataError: it is missing, corrupt, or does not fit the rig. RigError: the rig cannot be drawn.
    """
    path = Path(config.path)
    if config.kind == "synthetic":
        views = Views(config.yaw, config.pitch, around=config.around, field_of_view=(FIELD_OF_VIEW, FIELD_OF_VIEW))
        return SyntheticHeads(rig, config.people, config.frames, size, config.seed, views)
    if config.kind == "vhap":
        return VhapFolders(path, rig, size)
    if config.kind == "gagavatar_track":
        return TrackedLmdb(path, rig, size, config.split)
    return Videos(path, rig, size, config.frames, Path(config.cache) if config.cache else None, report=report)


def parted(footage: Footage, held_out: float, name: str) -> tuple[Footage, Footage]:
    """Footage to learn from, and footage of other people to measure with.

    Raises:
        DataError: fewer than two people.
    """
    count = len(footage.people)
    if count < 2:
        raise DataError(f"{name}: only one person in it; nobody could be held out", "add people")
    kept = min(count - 1, max(1, round(count * (1 - held_out))))
    return Part(footage, 0, kept), Part(footage, kept, count)
