"""Any motion file or folder, known by what is in it, not by its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import cues, flame_folder, json_takes, live_link_csv, tracked_file
from .flame_takes import read_flame
from .npz import read_npz
from .take import MAX_BYTES, MotionError, Take, checked

KINDS = "Live Link Face CSV, ARKit JSON, FLAME .npz, folder or .pkl, or what `lookalike track` writes"


def read_motion(path: str | os.PathLike[str], fps: float = 0.0) -> Take | cues.Cues:
    """A take, or the cues of a lip-sync tool, from a file or a sequence's folder.

    Args:
        fps: frames a second where the user knows better than the file; 0 goes by the file.
    Raises:
        MotionError: missing, unreadable, hostile, or none of the formats; says which and why.
    """
    path = Path(path)
    folder = flame_folder.folder_of(path)
    if folder is not None and (path.is_dir() or path.name == flame_folder.TRANSFORMS or path.parent.name == flame_folder.PARAMETERS):
        return checked(flame_folder.read_folder(folder, fps))
    if path.is_dir():
        raise MotionError(f"{path.name}: a folder without {flame_folder.PARAMETERS}", f"choose one of: {KINDS}")
    data = _bytes(path)
    found = _known(data, path.name, fps)
    return found if isinstance(found, cues.Cues) else checked(found)


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise MotionError(f"{path.name}: {'is empty' if not size else f'{size >> 20} MB is more than a motion can be'}")
        return path.read_bytes()
    except OSError as error:
        raise MotionError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error


def _known(data: bytes, name: str, fps: float) -> Take | cues.Cues:
    if data[:6] == b"\x93NUMPY":
        raise MotionError(f"{name}: one array without names", "save named arrays: numpy.savez(file, expr=expr, jaw_pose=jaw)")
    if data[:4] == b"PK\x03\x04":
        return read_flame(read_npz(data, name), name, "FLAME npz", fps)
    if tracked_file.looks_tracked(data):
        return tracked_file.read_tracked(data, name, fps)
    if data[:1] == b"\x80" or name.lower().endswith((".pkl", ".pickle")):
        return flame_folder.read_tracker_pickle(data, name, fps)
    return _written(_text(data, name), name, fps)


def _written(text: str, name: str, fps: float) -> Take | cues.Cues:
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start in ("{", "["):
        return _json(text, name, fps)
    if start == "<":
        return cues.read_xml(text, name)
    if live_link_csv.looks_like_csv(text):
        return live_link_csv.read_csv(text, name, fps)
    if cues.looks_like_tsv(text):
        return cues.read_tsv(text, name)
    raise MotionError(f"{name}: not a motion that is known here", f"choose one of: {KINDS}")


def _json(text: str, name: str, fps: float) -> Take | cues.Cues:
    try:
        parsed = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise MotionError(f"{name}: not valid JSON ({error})", "export it again") from error
    if isinstance(parsed, dict) and "mouthCues" in parsed:
        return cues.read_json(parsed, name)
    return json_takes.read_json(parsed, name, fps)


def _text(data: bytes, name: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise MotionError(f"{name}: not a motion that is known here", f"choose one of: {KINDS}") from error
