"""Finding avatars and their parts in a file. Parts are found by what they are and what they follow, never by name.

An avatar's objects: its armature, the head skinned to that armature, the splats bound to that head. Copies that a user
made with Shift-D lie in the same collection until `adopt_copies` gives them their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .binding_nodes import bound_rig


def find_avatars(scene: bpy.types.Scene) -> list[bpy.types.Collection]:
    """Avatar collections in a scene, in the outliner's order; then those that are only instanced (File > Link does that)."""
    found = [c for c in scene.collection.children_recursive if c.lookalike.is_avatar]
    instanced = (o.instance_collection for o in scene.objects if o.instance_type == "COLLECTION")
    return list(dict.fromkeys([*found, *(c for c in instanced if c is not None and c.lookalike.is_avatar)]))


def avatar_of(obj: bpy.types.Object | None) -> bpy.types.Collection | None:
    """The avatar collection that an object is a part of, or that it instances; or None."""
    if obj is None:
        return None
    if obj.instance_type == "COLLECTION" and obj.instance_collection is not None and obj.instance_collection.lookalike.is_avatar:
        return obj.instance_collection
    return next((c for c in obj.users_collection if c.lookalike.is_avatar), None)


def active_avatar(context: bpy.types.Context) -> bpy.types.Collection | None:
    """The avatar that the user works on: of the active object, else of a selected one, else the active collection, else the only one."""
    selected = getattr(context, "selected_objects", None) or []
    for obj in (context.view_layer.objects.active, *selected):
        avatar = avatar_of(obj)
        if avatar is not None:
            return avatar
    layer_collection = context.view_layer.active_layer_collection
    if layer_collection is not None and layer_collection.collection.lookalike.is_avatar:
        return layer_collection.collection
    avatars = find_avatars(context.scene)
    return avatars[0] if len(avatars) == 1 else None


def armature_of(collection: bpy.types.Collection) -> bpy.types.Object | None:
    """The avatar's armature."""
    return next(_with_role(collection, "ARMATURE"), None)


def head_of(collection: bpy.types.Collection) -> bpy.types.Object | None:
    """The avatar's rig mesh: the head that follows its armature."""
    armature = armature_of(collection)
    heads = list(_with_role(collection, "HEAD"))
    return next((h for h in heads if h.parent == armature), heads[0] if heads else None)


def splats_of(collection: bpy.types.Collection) -> dict[int, bpy.types.Object]:
    """The avatar's splat objects by level of detail: those that follow its head."""
    head = head_of(collection)
    found = {o.lookalike.level: o for o in _with_role(collection, "SPLATS") if bound_rig(o) == head}
    return dict(sorted(found.items()))


def avatar_objects(collection: bpy.types.Collection) -> list[bpy.types.Object]:
    """Armature, head and splats, as many as exist."""
    fixed = [armature_of(collection), head_of(collection)]
    return [o for o in fixed if o is not None] + list(splats_of(collection).values())


def _with_role(collection: bpy.types.Collection, role: str) -> Iterator[bpy.types.Object]:
    return (o for o in collection.objects if o.lookalike.role == role)
