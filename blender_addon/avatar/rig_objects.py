"""The rig as Blender data: an armature, and a mesh with one shape key an expression. Inputs are in Blender's frame.

Bone axes: every bone's X axis lies across the head. Root and neck point up, jaw and eyes forward. Positive X nods, opens
the jaw or looks up; positive Z of an eye looks to the subject's left. Rotations are XYZ Euler angles: three readable
curves a bone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Vector

from ..protocol import RigArrays
from ..protocol.avatar import F32, I32
from .binding_nodes import CORNERS, REST
from .bone_shapes import dress_bones
from .bound_splats import rest_inverse
from .host import read_attribute, write_attribute
from .invisible import hide_surface, invisible_material

ARMATURE_MODIFIER = "Armature"
SLIDER_MIN, SLIDER_MAX = -1.0, 1.5
"""Expressions are normalised to 0..1; a little beyond exaggerates, below undoes a source portrait's expression."""


def new_armature(name: str, rig: RigArrays) -> bpy.types.Object:
    """Armature object with one bone a joint, named as the joints; linked to no collection."""
    armature = bpy.data.armatures.new(name)
    obj = bpy.data.objects.new(name, armature)
    _fill_armature(obj, rig)
    # Not "in front": splats are drawn over that layer, but leave free what lies nearer than they do, such as these shapes.
    obj.show_in_front = False
    for bone in obj.pose.bones:
        bone.rotation_mode = "XYZ"
    dress_bones(obj, rig)
    obj.lookalike.role = "ARMATURE"
    return obj


def new_head(name: str, rig: RigArrays, armature: bpy.types.Object) -> bpy.types.Object:
    """Rig mesh with shape keys, skinned to `armature`; linked to no collection.

    It is what deforms and what a click on the face selects, not what is seen: its surface is hidden, and where a view
    still draws it, its material is transparent.
    """
    mesh = _mesh(name, rig.vertices, rig.faces)
    obj = bpy.data.objects.new(name, mesh)
    _add_expressions(obj, rig)
    _add_weights(obj, rig)
    obj.parent = armature
    modifier = obj.modifiers.new(ARMATURE_MODIFIER, "ARMATURE")
    modifier.object = armature
    modifier.use_vertex_groups = True
    modifier.use_bone_envelopes = False
    mesh.materials.append(invisible_material())
    obj.color = (1.0, 1.0, 1.0, 0.0)  # Solid mode, coloured by object
    hide_surface(obj)
    obj.visible_shadow = False
    obj.hide_render = True
    obj.lookalike.role = "HEAD"
    return obj


def rest_mesh(head: bpy.types.Object) -> tuple[F32, I32]:
    """The neutral rig mesh: vertices [V, 3] of the Basis key, faces [F, 3], in Blender's frame."""
    mesh = head.data
    basis = mesh.shape_keys.reference_key.data if mesh.shape_keys else mesh.vertices
    faces = np.stack([read_attribute(mesh, name) for name in CORNERS], 1)
    return _coordinates(basis), faces


def read_rig(armature: bpy.types.Object, head: bpy.types.Object, joints: list[str], rig_id: str) -> RigArrays:
    """The rig as arrays again, in Blender's frame: what `new_armature` and `new_head` were given, with the user's edits.

    Raises:
        LookupError: the armature lost a bone, or the head a vertex group or an attribute of ours.
    """
    vertices, faces = rest_mesh(head)
    bones = [armature.data.bones[name] for name in joints]
    keys = list(head.data.shape_keys.key_blocks)[1:] if head.data.shape_keys else []
    return RigArrays(
        vertices=vertices,
        faces=faces,
        joints=np.array([bone.head_local for bone in bones], np.float32),
        parents=np.array([joints.index(bone.parent.name) if bone.parent else -1 for bone in bones], np.int32),
        weights=_weights(head, joints),
        expressions=np.array([_coordinates(key.data) - vertices for key in keys], np.float32).reshape(-1, len(vertices), 3),
        joint_names=tuple(joints),
        expression_names=tuple(key.name for key in keys),
        rig_id=rig_id,
    )


def _weights(head: bpy.types.Object, joints: list[str]) -> F32:
    """[V, J] normalised skinning weights from the vertex groups."""
    missing = [name for name in joints if name not in head.vertex_groups]
    if missing:
        raise LookupError(f"{head.name}: has no vertex group {missing[0]!r}")
    column = {head.vertex_groups[name].index: i for i, name in enumerate(joints)}
    weights = np.zeros((len(head.data.vertices), len(joints)), np.float32)
    for vertex in head.data.vertices:
        for element in vertex.groups:
            if element.group in column:
                weights[vertex.index, column[element.group]] = element.weight
    weights[weights.sum(1) == 0, 0] = 1
    return weights / weights.sum(1, keepdims=True)


def _coordinates(points: bpy.types.bpy_prop_collection) -> F32:
    values = np.empty((len(points), 3), np.float32)
    points.foreach_get("co", values.ravel())
    return values


def _fill_armature(obj: bpy.types.Object, rig: RigArrays) -> None:
    with editing_bones(obj) as bones:
        for name, parent, head, tail in zip(rig.joint_names, rig.parents, rig.joints, bone_tails(rig), strict=True):
            bone = bones.new(name)
            bone.head, bone.tail = head.tolist(), tail.tolist()
            bone.align_roll(_z_axis(name, tail - head))
            if parent >= 0:
                bone.parent = bones[rig.joint_names[parent]]


@contextmanager
def editing_bones(obj: bpy.types.Object) -> Iterator[bpy.types.ArmatureEditBones]:
    """Make bones in a scene of our own, so that the user's scene and selection stay as they are; `obj` must be in Object Mode."""
    scene = bpy.data.scenes.new("lookalike.bones")
    try:
        scene.collection.objects.link(obj)
        layer = scene.view_layers[0]
        layer.objects.active = obj
        with bpy.context.temp_override(scene=scene, view_layer=layer, active_object=obj, object=obj):
            bpy.ops.object.mode_set(mode="EDIT")
            try:
                yield obj.data.edit_bones
            finally:
                bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        bpy.data.scenes.remove(scene)


def _z_axis(name: str, along: F32) -> Vector:
    """Where the Z axis of a bone that points `along` must lie for X to be across the head: to the subject's right for the eyes."""
    across = Vector((-1, 0, 0) if name.startswith("eye") else (1, 0, 0))
    return across.cross(Vector(along.tolist()))


def bone_tails(rig: RigArrays) -> F32:
    """[J, 3] where each bone ends: root at the neck joint, neck at the eyes' height, jaw at the chin, eyes ahead of the face."""
    size = float(np.ptp(rig.vertices[:, 2]))
    front = float(rig.vertices[:, 1].min())
    tails = rig.joints + np.float32([0, 0, 0.15 * size])
    places = {name: i for i, name in enumerate(rig.joint_names)}
    neck, jaw, eyes = places["neck"], places["jaw"], [places["eye_left"], places["eye_right"]]
    tails[places["root"]] = _beyond(rig.joints[places["root"]], rig.joints[neck], 0.1 * size)
    tails[neck] = _beyond(rig.joints[neck], np.float32([0, rig.joints[neck][1], rig.joints[eyes, 2].mean()]), 0.1 * size)
    chin = rig.vertices[_moved_by(rig, jaw)]
    tails[jaw] = np.float32([rig.joints[jaw][0], chin[:, 1].min(), chin[:, 2].min() + 0.25 * np.ptp(chin[:, 2])])
    for eye in eyes:
        tails[eye] = rig.joints[eye] + np.float32([0, min(front - rig.joints[eye][1], -0.1 * size) - 0.05 * size, 0])
    return tails.astype(np.float32)


def _beyond(start: F32, end: F32, least: float) -> F32:
    """`end`, or straight up from `start` where the two are closer than `least`."""
    return end if np.linalg.norm(end - start) > least else start + np.float32([0, 0, least])


def _moved_by(rig: RigArrays, joint: int) -> I32:
    """Vertices that a joint moves most, all of them where it moves none."""
    moved = np.flatnonzero(rig.weights[:, joint] > 0.5 * max(float(rig.weights[:, joint].max()), 1e-6))
    return moved if len(moved) else np.arange(len(rig.vertices))


def _mesh(name: str, vertices: F32, faces: I32) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    for corner, attribute in enumerate(CORNERS):
        write_attribute(mesh, attribute, "INT", faces[:, corner], "FACE")
    write_attribute(mesh, REST, "FLOAT_VECTOR", rest_inverse(vertices, faces), "FACE")
    return mesh


def _add_expressions(obj: bpy.types.Object, rig: RigArrays) -> None:
    obj.shape_key_add(name="Basis", from_mix=False)
    for name, displacement in zip(rig.expression_names, rig.expressions, strict=True):
        key = obj.shape_key_add(name=name, from_mix=False)
        key.data.foreach_set("co", (rig.vertices + displacement).ravel())
        key.slider_min, key.slider_max = SLIDER_MIN, SLIDER_MAX
        key.value = 0.0


def _add_weights(obj: bpy.types.Object, rig: RigArrays) -> None:
    for name, column in zip(rig.joint_names, rig.weights.T, strict=True):
        group = obj.vertex_groups.new(name=name)
        whole = np.flatnonzero(column >= 1)
        group.add(whole.tolist(), 1.0, "REPLACE")
        for vertex in np.flatnonzero((column > 0) & (column < 1)).tolist():
            group.add([vertex], float(column[vertex]), "REPLACE")
