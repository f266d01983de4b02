"""Takes of Epic's Live Link Face app: one row a frame, 52 shapes, head and eye angles, a timecode. Any CSV with ARKit's names is read.

What the angles mean is not documented by Epic. Known, and from what:

- Radians. In six public takes with 11,000 frames (docs/animators.md) the eyes' yaw is -0.60 times the look to the left, a full
  eyeLookOut, and pitch -0.50 to -0.61 times the look up: 35 and 28 to 35 degrees, which is what ARKit's eyes do.
  Fractions of 180 degrees, as Unreal's own ARKit source has them, would be eyes turned by 110.
- Eyes (measured there): yaw positive to the subject's right, pitch positive down.
- Head: all of these takes have head rotation switched off, as the app does unless asked. Yaw positive to the right agrees with the eyes and
  with DAZ Importer, which animators use; pitch positive up and roll positive to the right with DAZ Importer and MeFaMo.
"""

from __future__ import annotations

import csv
import re
from fractions import Fraction

import numpy as np

from .arkit import arkit_name
from .rotations import axis_angles, matrices
from .take import F64, MAX_FRAMES, MotionError, Take, even_times

RATES = (24, 25, 30, 48, 50, 60, 120)
_TIMECODE = re.compile(r"\s*(\d{1,2})[:;](\d{1,2})[:;](\d{1,2})[:;.](\d{1,3})(\.\d+)?\s*")
ANGLES = ("HeadYaw", "HeadPitch", "HeadRoll")
"""Positive: turned to the subject's right, looking up, tilted to the right. Ours nod down, turn left, tilt right."""
EYE_JOINTS = {"eye_left": "LeftEye", "eye_right": "RightEye"}
DEGREES_BEYOND = 3.5
"""No head turns by so many radians: some tools that imitate the app write degrees."""


def looks_like_csv(text: str) -> bool:
    """True where the first line names at least three of ARKit's shapes."""
    return len([name for name in _fields(text.partition("\n")[0]) if arkit_name(name)]) >= 3


def read_csv(text: str, source: str, fps: float = 0.0) -> Take:
    """A take from a CSV's text.

    Args:
        fps: frames a second where the user knows better than the timecode; 0 goes by the timecode, 60 where there is none.
    Raises:
        MotionError: no header with ARKit's names, or no frames.
    """
    if not looks_like_csv(text):
        raise MotionError(f"{source}: its first line does not name ARKit's shapes", "export the take's CSV from Live Link Face")
    lines = text.splitlines()
    header = _fields(lines[0])
    if len(lines) - 1 > MAX_FRAMES:
        raise MotionError(f"{source}: has {len(lines) - 1:,} frames; {MAX_FRAMES:,} can be read", "cut the take into parts")
    rows = [row for row in csv.reader(lines[1:], delimiter=_delimiter(lines[0])) if any(cell.strip() for cell in row)]
    values = np.array([[_number(row[i]) if i < len(row) else np.nan for i in range(len(header))] for row in rows]).reshape(-1, len(header))
    torn = sum(len(row) < len(header) for row in rows)
    arkit = {shape: values[:, i] for i, name in enumerate(header) if (shape := arkit_name(name)) is not None}
    times, rate, notes = _times(header, rows, fps)
    pose, told = _pose(header, values, arkit)
    notes += told
    if torn:
        notes += (f"{torn} rows are shorter than the header: what they lack was interpolated",)
    unknown = sorted(set(header) - {n for n in header if arkit_name(n)} - _KNOWN)
    if unknown:
        notes += (f"not used: {', '.join(unknown[:6])}{'…' if len(unknown) > 6 else ''}",)
    return Take("Live Link Face CSV", source, times, rate, arkit=arkit, pose=pose, warnings=notes)


_EYES = {f"{side}Eye{axis}" for side in ("Left", "Right") for axis in ("Yaw", "Pitch", "Roll")}
"""The eyes' angles, which eyeLook* repeat, clipped to the eye's own range."""
_KNOWN = {"Timecode", "BlendShapeCount", "BlendshapeCount", *ANGLES, *_EYES}


def _pose(header: list[str], values: F64, arkit: dict[str, F64]) -> tuple[dict[str, F64], tuple[str, ...]]:
    """Turns of the neck, and of the eyes where no eyeLook* tells them; notes."""
    columns = {name: values[:, header.index(name)] for name in (*ANGLES, *_EYES) if name in header}
    top = max((float(np.nanmax(np.abs(column), initial=0.0)) for column in columns.values()), default=0.0)
    notes: tuple[str, ...] = ()
    if top > DEGREES_BEYOND:
        columns = {name: np.radians(column) for name, column in columns.items()}
        notes = (f"angles up to {top:.0f}: taken as degrees",)
    pose = {}
    if set(ANGLES) <= columns.keys():
        if any(columns[name].any() for name in ANGLES):
            pose["neck"] = head_turns(*(columns[name] for name in ANGLES))
        else:
            notes += ("the head does not turn in it: the app records that only with Head Rotation switched on",)
    for joint, eye in EYE_JOINTS.items():
        looks = {f"{eye}Yaw", f"{eye}Pitch"} <= columns.keys()
        if looks and not any(name.startswith("eyeLook") for name in arkit):
            still = np.zeros(len(values))
            turn, nod = np.stack([still, -columns[f"{eye}Yaw"], still], -1), np.stack([columns[f"{eye}Pitch"], still, still], -1)
            pose[joint] = axis_angles(matrices(turn) @ matrices(nod))
    return pose, notes


def head_turns(yaw: F64, pitch: F64, roll: F64) -> F64:
    """[T, 3] axis-angle of the app's head angles [T]: turned, then nodded, then tilted. Radians, as the app writes them."""
    still = np.zeros_like(yaw)
    turn, nod, tilt = np.stack([still, -yaw, still], -1), np.stack([-pitch, still, still], -1), np.stack([still, still, roll], -1)
    return axis_angles(matrices(turn) @ matrices(nod) @ matrices(tilt))


def _times(header: list[str], rows: list[list[str]], fps: float) -> tuple[F64, float, tuple[str, ...]]:
    """Times of the rows, their rate, and notes."""
    count = len(rows)
    if fps or "Timecode" not in header:
        rate = fps or 60.0
        return even_times(count, rate), rate, () if fps else ("no timecode: taken as 60 frames a second",)
    column = header.index("Timecode")
    found = [_TIMECODE.fullmatch(row[column]) if column < len(row) else None for row in rows]
    if not count or any(match is None for match in found):
        return even_times(count, 60.0), 60.0, ("unreadable timecodes: taken as 60 frames a second",)
    frames = [int(m[4]) for m in found if m]
    rate = next((r for r in RATES if r > max(frames)), RATES[-1])
    seconds = [Fraction(int(m[1]) * 3600 + int(m[2]) * 60 + int(m[3])) + (int(m[4]) + Fraction(m[5] or 0)) / rate for m in found if m]
    times = np.array([float(s - seconds[0]) for s in seconds])
    times[times < 0] += 86_400  # past midnight
    if (np.diff(times) <= 0).any():
        return even_times(count, rate), float(rate), (f"timecodes do not increase: taken as {rate} frames a second",)
    return times, float(rate), ()


def _fields(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.lstrip("\ufeff").rstrip("\r\n").split(_delimiter(line))]


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
