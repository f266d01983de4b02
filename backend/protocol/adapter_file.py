"""One adapter as a file of its own, beside the avatar that it belongs to: safetensors, bounded, written atomically.

Tensors are the avatar file's, ``adapter0/lod<k>/<field>``. The metadata key ``lookalike_adapter`` holds one JSON object: the
format, what the avatar file says of an adapter, and for each level how many splats it changes and a digest of the triangles
that they are bound to, by which an adapter of another avatar is told.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from .adapters import adapter_header, adapter_tensors, read_adapters
from .avatar import Adapter, SplatArrays
from .avatar_file import MAX_BYTES, MAX_HEADER_BYTES, write_atomically
from .errors import AvatarFileError

ADAPTER_FORMAT = 1
_KEY = "lookalike_adapter"


def write_adapter_file(path: str | os.PathLike[str], adapter: Adapter, base: Sequence[SplatArrays]) -> None:
    """Write one adapter of an avatar whose levels without any adapter are `base`.

    Raises:
        AvatarFileError: the folder cannot be written.
    """
    header = {"format": ADAPTER_FORMAT, "adapter": adapter_header(adapter), "levels": _levels(base)}
    arrays = {name: np.ascontiguousarray(array) for name, array in adapter_tensors(0, adapter).items()}
    write_atomically(Path(path), save(arrays, metadata={_KEY: json.dumps(header, allow_nan=False)}))


def read_adapter_file(path: str | os.PathLike[str], base: Sequence[SplatArrays], avatar: str) -> Adapter:
    """Inverse of `write_adapter_file`, for the avatar called `avatar`.

    Raises:
        AvatarFileError: missing, corrupt, of a newer version, or of another avatar.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AvatarFileError(f"{path.name}: too large for an adapter", "choose a file that was saved from an avatar")
        data = path.read_bytes()
    except OSError as error:
        raise AvatarFileError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    header = _header(data, path.name)
    if header.get("levels") != _levels(base):
        raise AvatarFileError(
            f"{path.name}: belongs to another avatar than {avatar}, or splats were removed since",
            "use it with the avatar that it was saved from",
        )
    try:
        return read_adapters([header["adapter"]], load(data), base)[0]
    except Exception as error:  # safetensors raises its own family; with what `read_adapters` raises all mean one thing
        raise AvatarFileError(f"{path.name}: not a valid adapter ({error})", "save it again") from error


def _header(data: bytes, name: str) -> dict:
    """The JSON metadata, after checking the frame of the file; no tensor is touched."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > min(MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError("truncated")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        version = int(header["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, struct.error) as error:
        raise AvatarFileError(f"{name}: not an adapter of an avatar", "choose a file that was saved from an avatar") from error
    if version != ADAPTER_FORMAT:
        raise AvatarFileError(f"{name}: format version {version}, this software reads {ADAPTER_FORMAT}", "update Lookalike")
    return header


def _levels(base: Sequence[SplatArrays]) -> list[dict[str, object]]:
    """What tells one avatar from another: whole numbers, which survive every change of frame."""
    digest = lambda splats: sha256(np.ascontiguousarray(splats.face, "<i4").tobytes()).hexdigest()
    return [{"splats": len(splats), "faces": digest(splats)} for splats in base]
