"""Splat files of other programs into the scene, and hair of another head (mesh or splats) onto an avatar."""

from __future__ import annotations

from pathlib import Path

import bpy
from mathutils import Matrix

from ..avatar import armature_of, avatar_of, build_avatar
from ..protocol import AvatarFileError
from ..protocol.interchange import Axes, SplatCloud, decode_lam, read_bytes, read_cloud, turn_cloud
from ..protocol.interchange.gltf_reader import decode_avatar_glb
from ..rendering.preparation import prepare_scenes
from .cloud_objects import cloud_object

HEAD_BONE = "neck"
"""The joint that carries the whole head; FLAME calls it so."""


def import_splats(
    path: str | Path, *, axes: Axes = "rdf", scale: float = 1.0, collection: bpy.types.Collection | None = None
) -> bpy.types.Object:
    """The splats of a .ply, .spz or .glb file as an object, in `collection` or the active one, selected.

    Args:
        axes: frame of a .ply that does not say its own: "rdf" is what captures and training programs have.
        scale: files have no unit; metres a unit.
    Raises:
        AvatarFileError: none of these files, or a bad one; nothing in the scene is changed then.
    """
    source = Path(path)
    return _placed(source.stem, scaled(read_cloud(source, axes), scale), collection)


def import_lam(path: str | Path, *, collection: bpy.types.Collection | None = None) -> bpy.types.Object:
    """The splats of LAM's web zip at rest as an object. Raises AvatarFileError as `import_splats`."""
    data, name = read_bytes(path)
    return _placed(Path(path).stem, decode_lam(data, name), collection)


def import_glb_avatar(path: str | Path, collection: bpy.types.Collection) -> bpy.types.Collection | None:
    """The avatar of a .glb that was exported at rest; None where the file is another .glb. Raises AvatarFileError."""
    data, name = read_bytes(path)
    avatar = decode_avatar_glb(data, name)
    return None if avatar is None else build_avatar(avatar, collection, source_path="").collection


def attach_to_head(obj: bpy.types.Object, avatar: bpy.types.Collection) -> None:
    """Let any object (mesh, curves, splat cloud) follow an avatar's head from where it stands, and belong to the avatar.

    Raises:
        AvatarFileError: the avatar has no head bone, or the object is a part of an avatar.
    """
    armature = armature_of(avatar)
    if armature is None or HEAD_BONE not in armature.data.bones:
        raise AvatarFileError(f"{avatar.name}: has no bone “{HEAD_BONE}” to attach to", "undo the edits of its armature")
    if obj.lookalike.role in {"ARMATURE", "HEAD", "SPLATS"}:
        raise AvatarFileError(f"{obj.name}: is a part of an avatar", "attach another object")
    bone = armature.pose.bones[HEAD_BONE]
    world = obj.matrix_world.copy()
    obj.parent, obj.parent_type, obj.parent_bone = armature, "BONE", HEAD_BONE
    tail = Matrix.Translation((0, bone.length, 0))  # children of a bone stand at its tail
    obj.matrix_parent_inverse = (armature.matrix_world @ bone.matrix @ tail).inverted()
    obj.matrix_world = world
    if obj.name not in avatar.objects:
        for other in list(obj.users_collection):
            other.objects.unlink(obj)
        avatar.objects.link(obj)


def detach(obj: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Take an attached object off its avatar, where it stands now."""
    avatar = avatar_of(obj)
    world = obj.matrix_world.copy()
    obj.parent = None
    obj.matrix_world = world
    if avatar is not None and obj.name in avatar.objects:
        avatar.objects.unlink(obj)
    if not obj.users_collection:
        scene.collection.objects.link(obj)


def _placed(name: str, cloud: SplatCloud, collection: bpy.types.Collection | None) -> bpy.types.Object:
    obj = cloud_object(name, cloud)
    place_object(obj, collection)
    prepare_scenes()
    return obj


def place_object(obj: bpy.types.Object, collection: bpy.types.Collection | None) -> None:
    """Put an object into a collection, or the active one, and select it alone."""
    (collection or bpy.context.collection).objects.link(obj)
    layer = bpy.context.view_layer
    layer.update()  # only then it knows the object
    for other in list(layer.objects.selected):
        other.select_set(False)
    if obj.name in layer.objects:
        obj.select_set(True)
        layer.objects.active = obj


def scaled(cloud: SplatCloud, scale: float) -> SplatCloud:
    """A cloud in metres, `scale` of which are one unit of its file."""
    return cloud if scale == 1 else turn_cloud(cloud, Matrix.Identity(3), scale)
