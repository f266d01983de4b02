"""Read a static splat file, whichever of the known formats it is."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import AvatarFileError
from .cloud import Axes, SplatCloud
from .gltf_reader import decode_glb
from .ply import decode_ply
from .spz import decode_spz

MAX_BYTES = 1 << 31
SUFFIXES = (".ply", ".spz", ".glb")


def read_bytes(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """A file's bytes and its name, after its size was checked.

    Raises:
        AvatarFileError: it cannot be read, or is larger than any file of these kinds.
    """
    source = Path(path)
    try:
        size = source.stat().st_size
        if size > MAX_BYTES:
            raise AvatarFileError(f"{source.name}: {size >> 20} MiB is more than a splat file may have")
        return source.read_bytes(), source.name
    except OSError as error:
        raise AvatarFileError(f"{source}: cannot be read ({error.strerror})", "check the path") from error


def read_cloud(path: str | os.PathLike[str], axes: Axes = "y-up") -> SplatCloud:
    """The splats of a .ply, .spz or .glb file in the avatar's frame; the content decides, not the name.

    Args:
        axes: frame of a .ply that does not say its own.
    Raises:
        AvatarFileError: none of these, or a bad one.
    """
    data, name = read_bytes(path)
    if data.startswith(b"ply"):
        return decode_ply(data, name, axes)
    if data.startswith((b"\x1f\x8b", b"NGSP")):
        return decode_spz(data, name)
    if data.startswith(b"glTF"):
        return decode_glb(data, name)
    raise AvatarFileError(f"{name}: not a splat file of a known kind", "choose a .ply, .spz or .glb file")
