"""What users do with whole avatars: duplicate, delete, rename, select, frame; and giving Shift-D copies their own collection."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
from mathutils import Euler, Vector

from ..rendering.shadow import caster_of
from . import parts
from .binding_nodes import bound_rig, get_input, set_input
from .build import BlenderAvatar, fitting_name

_BEFORE_THE_FACE = Euler((1.45, 0.0, 0.4))
"""A view's rotation that looks at a face that looks along -Y: a little from above, a little from the side."""


def duplicate_avatar(collection: bpy.types.Collection) -> BlenderAvatar:
    """Copy an avatar with its data, shape keys and actions; the copy follows its own rig.

    Other objects in the collection (hair cards, glasses, lights) are copied along.
    """
    copies = {obj: _copied(obj) for obj in collection.objects}
    home = collection.copy()
    for obj in list(home.objects):
        home.objects.unlink(obj)
    for child in list(home.children):
        home.children.unlink(child)
    for obj in copies.values():
        home.objects.link(obj)
        _repoint(obj, copies)
    for parent in _parents(collection) or [bpy.context.scene.collection]:
        parent.children.link(home)
    return BlenderAvatar(home.session_uid)


def delete_avatar(collection: bpy.types.Collection) -> None:
    """Remove an avatar's collection, objects and the data that nothing else uses. Actions stay for the user to keep or purge."""
    objects = list(collection.objects)
    data = {obj.data for obj in objects if obj.data is not None}
    bpy.data.batch_remove([*objects, collection])
    bpy.data.batch_remove([block for block in data if block.users == 0])


def rename_avatar(collection: bpy.types.Collection, name: str) -> None:
    """Rename collection and parts alike. Blender makes the name unique; what is too long for its parts is cut."""
    label, collection.name = name.strip(), fitting_name(name)
    collection.lookalike.label = label
    for obj in parts.avatar_objects(collection):
        suffix = {"ARMATURE": "", "HEAD": ".head", "SPLATS": f".splats.lod{obj.lookalike.level}"}[obj.lookalike.role]
        obj.name = obj.data.name = collection.name + suffix
    caster = caster_of(collection)
    if caster is not None:
        caster.name = caster.data.name = f"{collection.name}.shadow"


def adopt_copies(scene: bpy.types.Scene) -> list[BlenderAvatar]:
    """Give avatars that were copied inside their collection (Shift-D of all parts) collections of their own.

    Until then the copies already follow their own rig; this makes them separate avatars in lists and panels.
    """
    adopted = []
    for collection in parts.find_avatars(scene):
        own = parts.armature_of(collection)
        for armature in [o for o in collection.objects if o.lookalike.role == "ARMATURE" and o != own]:
            adopted.append(_move_out(collection, armature))
    return adopted


def select_avatar(context: bpy.types.Context, collection: bpy.types.Collection) -> None:
    """Select armature and head (so that the Dope Sheet shows bones and expressions) and make the armature active."""
    for obj in context.view_layer.objects:
        if obj.select_get():
            obj.select_set(False)
    head, armature = parts.head_of(collection), parts.armature_of(collection)
    for obj in (head, armature):
        if obj is not None and obj.visible_get(view_layer=context.view_layer):
            obj.select_set(True)
    if armature is not None and armature.name in context.view_layer.objects:
        context.view_layer.objects.active = armature


def frame_avatar(context: bpy.types.Context, collection: bpy.types.Collection) -> int:
    """Centre every 3D viewport on the avatar's head, seen from half left before the face; selection unchanged.

    Views of a camera, of an axis or locked ones are not turned. Returns how many viewports there were.
    """
    head = parts.head_of(collection)
    if head is None or context.window_manager is None:
        return 0
    corners = [head.matrix_world @ Vector(corner) for corner in head.bound_box]
    low, high = ([f(c[i] for c in corners) for i in range(3)] for f in (min, max))
    areas = [area for window in context.window_manager.windows for area in window.screen.areas if area.type == "VIEW_3D"]
    views = [area.spaces.active.region_3d for area in areas]
    for view in views:
        view.view_location = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        view.view_distance = 2.2 * max(b - a for a, b in zip(low, high, strict=True))
        if view.view_perspective == "PERSP" and not view.lock_rotation:
            view.view_rotation = head.matrix_world.to_quaternion() @ _BEFORE_THE_FACE.to_quaternion()
    return len(views)


def _move_out(collection: bpy.types.Collection, armature: bpy.types.Object) -> BlenderAvatar:
    heads = [o for o in collection.objects if o.lookalike.role == "HEAD" and o.parent == armature]
    splats = [o for o in collection.objects if o.lookalike.role == "SPLATS" and bound_rig(o) in heads]
    home = collection.copy()
    for obj in list(home.objects):
        home.objects.unlink(obj)
    for obj in (armature, *heads, *splats):
        home.objects.link(obj)
        collection.objects.unlink(obj)
    for parent in _parents(collection):
        parent.children.link(home)
    return BlenderAvatar(home.session_uid)


def _parents(collection: bpy.types.Collection) -> list[bpy.types.Collection]:
    """Collections of this file, scenes' own included, that hold `collection`."""
    everything = [*(scene.collection for scene in bpy.data.scenes), *bpy.data.collections]
    return [parent for parent in everything if collection.name in parent.children and parent.library is None]


def _copied(obj: bpy.types.Object) -> bpy.types.Object:
    """A copy of an object with data and actions of its own."""
    copy = obj.copy()
    if obj.data is not None:
        copy.data = obj.data.copy()
    for owner in _animated(copy):
        if owner.animation_data.action is not None:
            _own_action(owner.animation_data)
    return copy


def _animated(obj: bpy.types.Object) -> Iterator[bpy.types.ID]:
    for owner in (obj, obj.data, getattr(obj.data, "shape_keys", None)):
        if owner is not None and owner.animation_data is not None:
            yield owner


def _own_action(data: bpy.types.AnimData) -> None:
    """Replace the action by a copy, keeping the slot where this Blender has slots."""
    slot = getattr(data, "action_slot", None)
    data.action = data.action.copy()
    if slot is not None:
        data.action_slot = next(s for s in data.action.slots if s.identifier == slot.identifier)


def _repoint(obj: bpy.types.Object, copies: dict[bpy.types.Object, bpy.types.Object]) -> None:
    """Make everything that pointed at an original point at its copy: parent, modifiers, constraints, drivers."""
    if obj.parent in copies:
        inverse = obj.matrix_parent_inverse.copy()
        obj.parent = copies[obj.parent]
        obj.matrix_parent_inverse = inverse
    for modifier in obj.modifiers:
        _repoint_properties(modifier, copies)
        if modifier.type == "NODES" and modifier.node_group is not None:
            _repoint_inputs(modifier, copies)
    constraints = [*obj.constraints, *(c for bone in (obj.pose.bones if obj.pose else ()) for c in bone.constraints)]
    for constraint in constraints:
        _repoint_properties(constraint, copies)
    for owner in _animated(obj):
        for curve in owner.animation_data.drivers:
            for target in (t for variable in curve.driver.variables for t in variable.targets):
                if target.id in copies:
                    target.id = copies[target.id]


def _repoint_properties(struct: bpy.types.bpy_struct, copies: dict[bpy.types.Object, bpy.types.Object]) -> None:
    for name, definition in struct.bl_rna.properties.items():
        if definition.type == "POINTER" and not definition.is_readonly and getattr(struct, name) in copies:
            setattr(struct, name, copies[getattr(struct, name)])


def _repoint_inputs(modifier: bpy.types.NodesModifier, copies: dict[bpy.types.Object, bpy.types.Object]) -> None:
    for item in modifier.node_group.interface.items_tree:
        is_object = item.item_type == "SOCKET" and item.in_out == "INPUT" and item.socket_type == "NodeSocketObject"
        if is_object and get_input(modifier, item.name) in copies:
            set_input(modifier, item.name, copies[get_input(modifier, item.name)])
