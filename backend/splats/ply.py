"""An avatar in one pose as a 3D Gaussian splatting .ply or .spz file; the formats themselves are in `backend.protocol.interchange`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from backend.protocol.avatar import F32, Avatar
from backend.protocol.avatar_file import write_atomically
from backend.protocol.interchange import Axes, SplatCloud, encode_ply, encode_spz, read_cloud

from .posed import Posable

read_ply = read_cloud


def write_ply(
    path: str | os.PathLike[str],
    avatar: Avatar,
    lod: int,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
    axes: Axes = "y-down",
) -> None:
    """Write the splats of one level in one pose: binary little endian, log scales, logit opacities, rotation wxyz.

    Args:
        axes: the file's frame, see `interchange.Axes`; a comment in the header says which.

    Raises:
        RigError: no such level, an unknown expression.
        AvatarFileError: the path cannot be written.
    """
    write_atomically(Path(path), encode_ply(SplatCloud.of(Posable(avatar, lod).pose(expression, pose)), axes))


def write_spz(
    path: str | os.PathLike[str],
    avatar: Avatar,
    lod: int,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
    version: int = 3,
) -> None:
    """As `write_ply`, quantised to about a tenth of the size; `version` 2 is read by older programs.

    Raises:
        RigError: no such level, an unknown expression.
        AvatarFileError: the path cannot be written.
    """
    write_atomically(Path(path), encode_spz(SplatCloud.of(Posable(avatar, lod).pose(expression, pose)), version))
