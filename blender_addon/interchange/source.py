"""What an operator on splats works on: the active splat cloud, or an avatar."""

from __future__ import annotations

import bpy

from .. import api


def splat_source(context: bpy.types.Context, name: str = "") -> bpy.types.Collection | bpy.types.Object:
    """The avatar or cloud object called `name`; without a name the active cloud where one is selected, else the active avatar.

    Raises:
        LookupError, LookalikeError: there is none.
    """
    named = context.scene.objects.get(name) if name else None
    if named is not None and named.lookalike.role == "CLOUD":
        return named
    active = context.active_object
    if not name and active is not None and active.lookalike.role == "CLOUD" and active.select_get():
        return active
    return api.avatar(name)


def has_source(context: bpy.types.Context) -> bool:
    """Whether there is something with splats. For `poll`."""
    active = context.active_object
    return bool(api.avatars(context.scene)) or (active is not None and active.lookalike.role == "CLOUD")
