"""A refinement under way, seen in the file before it is finished: shown in place, and always taken back.

While `lookalike.preview` of an avatar is a level, that level's splats are a preview. What was there is kept beside
(`keeping`), in the file's own data, so that undo, saving and a crash cannot make a preview the avatar.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import bpy
import numpy as np

from ..avatar.bound_splats import BoundSplats
from ..avatar.levels import show_level
from ..protocol import Avatar, AvatarFileError, ProtocolError
from ..protocol.arrays import splats_from_message
from ..protocol.frames import Message
from .gathering import Edited
from .keeping import forget, kept_avatar
from .showing import bound_level, bound_levels, show_levels

logger = logging.getLogger("lookalike.adapters")


def prepare_preview(message: Message, kept: Avatar, edits: list[Edited]) -> BoundSplats:
    """Splats of a `lod` event, checked, without the user's edits and bound; runs in a thread.

    Raises:
        ProtocolError: they are not the splats that were sent.
    """
    level = message.body.level
    splats, _ = splats_from_message(message, len(kept.rig.faces))
    if not 0 <= level < len(kept.lods) or len(splats) != len(kept.lods[level]) or splats.sh.shape != kept.lods[level].sh.shape:
        raise ProtocolError("the backend sent other splats than it was given", "update the backend")
    if not np.array_equal(splats.face, kept.lods[level].face):
        raise ProtocolError("the backend sent other splats than it was given", "update the backend")
    return bound_level(kept.rig, edits[level].taken_off(splats))


def show_preview(avatar: bpy.types.Collection, kept: Avatar, level: int, bound: BoundSplats) -> None:
    """Put a level of the work under way in the place of the avatar's own; where Detail is automatic, that level is shown."""
    show_levels(avatar, kept.rig, [(level, bound)])
    avatar.lookalike.preview = level
    if avatar.lookalike.lod == "AUTO":
        show_level(avatar, level)


def end_preview(avatar: bpy.types.Collection, kept: Avatar | None = None) -> None:
    """Show the avatar as it is again; the work under way has come to nothing, or another file is saved meanwhile.

    Raises:
        AvatarFileError: splats or faces were added or removed since.
    """
    if avatar.lookalike.preview >= 0:
        kept = kept or kept_avatar(avatar)
        if kept is None:
            raise AvatarFileError(f"{avatar.name}: what it looked like before its preview is lost", "undo, or import it again")
        show_levels(avatar, kept.rig, enumerate(bound_levels(kept)))
        avatar.lookalike.preview = -1


def end_work(avatar: bpy.types.Collection, kept: Avatar) -> None:
    """The work has come to nothing: the avatar is as it was, and keeps nothing where it has no adapters.

    Raises:
        AvatarFileError: splats or faces were added or removed since.
    """
    end_preview(avatar, kept)
    if not kept.adapters:
        forget(avatar)


def settle(busy: Collection[int] = ()) -> None:
    """Take back previews that nobody will finish: undo has brought them back, or the file is about to be saved.

    Args:
        busy: session uids of avatars whose previews may stay.
    """
    for avatar in bpy.data.collections:
        if avatar.lookalike.preview >= 0 and avatar.library is None and avatar.session_uid not in busy:
            try:
                end_preview(avatar)
            except AvatarFileError as error:  # an edit meanwhile has made the preview the avatar
                logger.warning("%s", error)
                avatar.lookalike.preview = -1
