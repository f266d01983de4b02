"""An avatar as binary glTF or as LAM's web zip; the formats themselves are in `backend.protocol.interchange`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from backend.protocol import interchange
from backend.protocol.avatar import F32, Avatar
from backend.protocol.avatar_file import write_atomically

from .posed import Posable


def write_glb(
    path: str | os.PathLike[str],
    avatar: Avatar,
    lod: int,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
) -> None:
    """Write one level in one pose, with the rig (see `interchange.encode_glb`).

    Raises:
        RigError: no such level, an unknown expression.
        AvatarFileError: the path cannot be written.
    """
    write_atomically(Path(path), encode_glb(avatar, lod, expression, pose))


def encode_glb(avatar: Avatar, lod: int, expression: Mapping[str, float] | None = None, pose: F32 | None = None) -> bytes:
    """The file's bytes. Raises RigError: no such level, an unknown expression."""
    posable = Posable(avatar, lod)
    return interchange.encode_glb(avatar, posable.pose(expression, pose), posable.rest, expression, pose)


def write_lam(path: str | os.PathLike[str], avatar: Avatar, lod: int) -> None:
    """Write LAM's web zip of one level at rest; the folder inside is called as the file.

    Raises:
        RigError: no such level.
        AvatarFileError: the path cannot be written.
    """
    target = Path(path)
    write_atomically(target, interchange.encode_lam(avatar, Posable(avatar, lod).rest, target.stem))
