"""Splats of the scene into files of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ..avatar import avatar_arrays, expression_keys
from ..protocol import AvatarFileError, tinted
from ..protocol.avatar_file import write_atomically
from ..protocol.binding import bind, deform
from ..protocol.interchange import Axes, SplatCloud, encode_glb, encode_lam, encode_ply, encode_spz
from .posed import joint_rotations, placed_cloud, posed_cloud, rig_vertices

SPLAT_SUFFIXES = (".ply", ".spz")


def export_splats(
    source: bpy.types.Collection | bpy.types.Object,
    path: str | Path,
    *,
    level: int | None = None,
    axes: Axes = "y-down",
    spz_version: int = 3,
    local: bool = True,
    attached: bool = True,
) -> Path:
    """Write an avatar as it is posed at this frame, or a cloud object, to .ply or .spz, by the path's suffix.

    Args:
        level: of detail; the finest by default.
        axes: the frame of a .ply (a .spz has its own).
        local: relative to the armature, else to the world.
        attached: take clouds that were attached to the avatar along.
    Raises:
        AvatarFileError: another suffix, nothing to write, or the folder cannot be written.
    """
    target = Path(path)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    if isinstance(source, bpy.types.Object):
        cloud = placed_cloud(source, depsgraph, local)
    else:
        cloud = posed_cloud(source, depsgraph, level, attached, local)
    write_atomically(target, encode_splats(target, cloud, axes, spz_version))
    return target


def export_sequence(
    source: bpy.types.Collection | bpy.types.Object, path: str | Path, first: int, last: int, step: int = 1, **options: object
) -> Iterator[Path]:
    """Write one file a frame, as ``name_0001.ply``; yields each, so that a caller can show progress and stop.

    The scene's frame is put back at the end, also where the caller stops early.
    """
    target, scene = Path(path), bpy.context.scene
    if last < first or step < 1:
        raise AvatarFileError(f"frames {first} to {last} by {step} are none", "correct the frame range")
    before = scene.frame_current, scene.frame_subframe
    digits = max(4, len(str(last)))
    try:
        for frame in range(first, last + 1, step):
            scene.frame_set(frame)
            yield export_splats(source, target.with_name(f"{target.stem}_{frame:0{digits}d}{target.suffix}"), **options)
    finally:
        scene.frame_set(before[0], subframe=before[1])


def encode_splats(target: Path, cloud: SplatCloud, axes: Axes, spz_version: int) -> bytes:
    """The bytes of the format that the target's suffix names. Raises AvatarFileError for another one."""
    if target.suffix.lower() == ".ply":
        return encode_ply(cloud, axes)
    if target.suffix.lower() == ".spz":
        return encode_spz(cloud, spz_version)
    raise AvatarFileError(f"{target.name}: the name must end with {' or '.join(SPLAT_SUFFIXES)}", "correct the name")


def export_glb(avatar: bpy.types.Collection, path: str | Path, *, level: int | None = None, posed: bool = False) -> Path:
    """Write rig, expressions and one level of detail to a .glb.

    Args:
        posed: the splats stand as at this frame, and the rig's nodes and weights with them; else all is at rest, and the
            file can be imported as an avatar again.
    Raises:
        AvatarFileError: the avatar has lost a part, or the folder cannot be written.
    """
    target = Path(path).with_suffix(".glb")
    whole = avatar_arrays(avatar)
    chosen = len(whole.lods) - 1 if level is None else level
    if not 0 <= chosen < len(whole.lods):
        raise AvatarFileError(f"{avatar.name}: has no level of detail {chosen}", f"it has 0 to {len(whole.lods) - 1}")
    rest = whole.splats(chosen)
    splats, expression, pose = rest, {}, None
    if posed:
        expression = {key.name: key.value for key in expression_keys(avatar) if key.value and not key.mute}
        pose = joint_rotations(avatar)
        position, rotation, scale = deform(bind(whole.rig, rest), rig_vertices(avatar))
        splats = replace(rest, position=position, rotation=rotation, scale=scale)
        if whole.color_basis is not None:
            splats = tinted(splats, whole.color_basis.weights(whole.rig.joint_names, expression, pose))
    write_atomically(target, encode_glb(whole, splats, rest, expression, pose))
    return target


def export_lam(avatar: bpy.types.Collection, path: str | Path, *, level: int | None = 0) -> Path:
    """Write the zip that LAM's web renderer plays: the neutral head, this person's own shape, ARKit's morph targets.

    Raises:
        AvatarFileError: the avatar has lost a part, or the folder cannot be written.
    """
    target = Path(path).with_suffix(".zip")
    whole = avatar_arrays(avatar)
    splats = whole.splats(min(level if level is not None else len(whole.lods) - 1, len(whole.lods) - 1))
    keep = np.flatnonzero(splats.opacity > 0)
    seen = type(splats)(*(getattr(splats, field)[keep] for field in type(splats).__dataclass_fields__))
    write_atomically(target, encode_lam(whole, seen, target.stem))
    return target
