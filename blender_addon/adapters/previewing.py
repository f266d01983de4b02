"""A refinement under way, seen in the file before it is finished: shown in place, and always taken back.

While `lookalike.preview` of an avatar is a level, that level's splats are a preview. What was there is kept beside
(`keeping`), in the file's own data, so that undo, saving and a crash cannot make a preview the avatar.
"""

from __future__ import annotations

import logging

import bpy
import numpy as np

from ..avatar.bound_splats import BoundSplats
from ..avatar.levels import show_level
from ..avatar.parts import splats_of
from ..protocol import Avatar, AvatarFileError, ProtocolError
from ..protocol.arrays import splats_from_message
from ..protocol.frames import Message
from .gathering import Edited
from .keeping import forget, in_edit_mode, keep, kept_avatar, number, splat_count
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


def keep_again(avatar: bpy.types.Collection, kept: Avatar, data: bytes) -> None:
    """Remember what is kept once more where undo went back to before the work began.

    Args:
        data: `packed(kept)`.
    Raises:
        AvatarFileError: the splats are other ones now.
    """
    if avatar.lookalike.kept:
        return
    counts = [splat_count(obj) - obj.lookalike.shoulders for obj in splats_of(avatar).values()]
    if counts != [len(splats) for splats in kept.lods]:
        raise AvatarFileError(f"{avatar.name}: undo has brought other splats back than were sent", "personalize it again")
    number(avatar)
    keep(avatar, kept, data)


def show_preview(avatar: bpy.types.Collection, kept: Avatar, data: bytes, level: int, bound: BoundSplats) -> None:
    """Put a level of the work under way in the place of the avatar's own; where Detail is automatic, that level is shown.

    Raises:
        AvatarFileError: splats or faces were added or removed since.
    """
    keep_again(avatar, kept, data)
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


def settle(avatar: bpy.types.Collection, over: bool) -> bool:
    """Take a preview back by what the file itself keeps; False where that is impossible now.

    What cannot be taken back stays marked as a preview, with what is kept, so that it can be later.

    Args:
        over: nobody works on the avatar any more: it keeps nothing where it has no adapters. Else only the file is saved.
    """
    if in_edit_mode(avatar):
        return False
    try:
        kept = kept_avatar(avatar)
        end_preview(avatar, kept)
        if over and kept is not None and not kept.adapters:
            forget(avatar)
    except AvatarFileError as error:
        logger.warning("%s", error)
        return False
    return True
