"""Mouth cues of lip-sync tools: Rhubarb's JSON, TSV and XML. One letter a stretch of time, Hanna-Barbera's shapes A to H and X."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from .take import MotionError

SHAPES = "ABCDEFGHX"
MAX_CUES = 100_000
MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Cue:
    """One mouth shape from `start` to `end`, seconds."""

    start: float
    end: float
    shape: str


@dataclass(frozen=True)
class Cues:
    """What a lip-sync tool heard in a recording.

    Attributes:
        source: file name.
        cues: in time, without overlap.
        sound: the recording's path as the file says, or "".
        warnings: what the user should know.
    """

    source: str
    cues: tuple[Cue, ...]
    sound: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Where the last cue ends."""
        return self.cues[-1].end


def looks_like_tsv(text: str) -> bool:
    """True where the first line is a time and a mouth shape."""
    return re.match(r"\s*\d+(\.\d+)?\t[A-HX]\s*(\n|$)", text) is not None


def read_tsv(text: str, source: str) -> Cues:
    """Rhubarb's default: a start and a shape a line; the last line ends the recording.

    Raises:
        MotionError: a line that is neither.
    """
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        bad = next(row for row in rows if len(row) != 2)
        raise MotionError(f"{source}: a line without a time and a shape: {' '.join(bad)[:40]!r}", "write the cues again")
    starts = [_seconds(row[0], source) for row in rows]
    ends = [*starts[1:], starts[-1]] if starts else []
    return _checked(source, zip(starts, ends, (row[1] for row in rows), strict=True))


def read_json(data: dict[str, Any], source: str) -> Cues:
    """Rhubarb's JSON: {"metadata": {"soundFile": ...}, "mouthCues": [{"start", "end", "value"}, ...]}.

    Raises:
        MotionError: a cue that lacks one of these.
    """
    metadata = data.get("metadata")
    sound = metadata.get("soundFile", "") if isinstance(metadata, dict) else ""
    try:
        rows = [(float(c["start"]), float(c["end"]), c["value"]) for c in data["mouthCues"]]
    except (KeyError, TypeError, ValueError) as error:
        raise MotionError(f"{source}: a mouth cue without start, end and value ({error})", "write the cues again") from error
    return _checked(source, rows, sound if isinstance(sound, str) else "")


def read_xml(text: str, source: str) -> Cues:
    """Rhubarb's XML. Documents with entities or a DTD are refused unread: Rhubarb writes none, and they can grow without bound.

    Raises:
        MotionError: hostile, not XML, or without mouth cues.
    """
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise MotionError(f"{source}: XML with a document type or entities, which no cue file needs", "do not open this file")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no DTD, so no entities
    except ElementTree.ParseError as error:
        raise MotionError(f"{source}: not valid XML ({error})", "write the cues again") from error
    rows = [(_seconds(c.get("start"), source), _seconds(c.get("end"), source), c.text or "") for c in root.iter("mouthCue")]
    return _checked(source, rows, root.findtext("metadata/soundFile") or "")


def _checked(source: str, rows: Any, sound: str = "") -> Cues:
    cues: list[Cue] = []
    unknown = dropped = 0
    for start, end, value in rows:
        shape = str(value).strip().upper()
        if shape not in SHAPES or len(shape) != 1:
            unknown += 1
            shape = "X"
        begin = max(start, cues[-1].end) if cues else start
        if not (0 <= start <= MAX_SECONDS and end <= MAX_SECONDS) or end <= begin:  # the last TSV line has no length
            dropped += start != end
            continue
        cues.append(Cue(begin, end, shape))
        if len(cues) > MAX_CUES:
            raise MotionError(f"{source}: more than {MAX_CUES:,} cues", "cut the recording into parts")
    if not cues:
        raise MotionError(f"{source}: no mouth cues in it", "write the cues again")
    notes = [f"{unknown} unknown mouth shapes: taken as rest"] if unknown else []
    notes += [f"{dropped} cues end before they start: left out"] if dropped else []
    return Cues(source, tuple(cues), sound, tuple(notes))


def _seconds(text: str | None, source: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise MotionError(f"{source}: {text!r} is not a time", "write the cues again") from error
