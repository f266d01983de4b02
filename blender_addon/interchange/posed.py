"""Splats where they stand at a frame, hidden levels of detail too: moved in numpy by the evaluated rig mesh.

Blender does not evaluate hidden levels; `bound_splats.unbind` is the node group's formula, so nothing has to be shown first.
"""

from __future__ import annotations

import json

import bpy
import numpy as np

from ..avatar import armature_of, head_of, splats_of
from ..avatar.binding_nodes import CORNERS, REST
from ..avatar.bound_splats import unbind
from ..avatar.colour_nodes import current_weights
from ..avatar.frames import points_from_blender
from ..avatar.host import read_attribute, read_splats
from ..protocol import AvatarFileError, SplatArrays, tinted
from ..protocol.avatar import F32
from ..protocol.interchange import SplatCloud
from ..protocol.interchange.cloud import change_axes, transform_cloud
from .cloud_objects import read_cloud_object


def evaluated_vertices(head: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> F32:
    """[V, 3] of the rig mesh as it is posed, in its own space.

    Raises:
        AvatarFileError: a modifier or an edit gives it other vertices than the splats are bound to.
    """
    mesh = head.evaluated_get(depsgraph).data
    values = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", values.ravel())
    if len(values) != len(head.data.vertices):
        raise AvatarFileError(f"{head.name}: a modifier changes its vertices, which its splats are bound to", "turn that modifier off")
    return values


def posed_splats(obj: bpy.types.Object, head: bpy.types.Object, vertices: F32) -> SplatArrays:
    """The splats of one level on given rig vertices, in the rig mesh's space and Blender's axes.

    Raises:
        AvatarFileError: the rig mesh was edited away from its splats.
    """
    try:
        faces = np.stack([read_attribute(head.data, name) for name in CORNERS], 1)
        bound, rest = read_splats(obj.data), read_attribute(head.data, REST)
    except LookupError as error:
        raise AvatarFileError(f"{obj.name}: cannot be posed ({error})", "undo the edits of its rig mesh or splats") from error
    if len(bound) and (bound.face.max() >= len(faces) or faces.max() >= len(vertices)):
        raise AvatarFileError(f"{head.name}: does not have the triangles any more that its splats are bound to", "rebind it")
    return unbind(bound, vertices, faces, rest)


def posed_cloud(
    avatar: bpy.types.Collection, depsgraph: bpy.types.Depsgraph, level: int | None = None, attached: bool = True, local: bool = True
) -> SplatCloud:
    """An avatar's visible splats as they stand now, in the avatar's frame (+Y up, face along +Z).

    Args:
        level: of detail; the finest by default.
        attached: take imported clouds in the avatar's collection (swapped hair) along.
        local: relative to the avatar's armature, so that the object's place in the scene does not count; else in the world.
    Raises:
        AvatarFileError: it has no such level, or its rig mesh was edited away from its splats.
    """
    head, levels = head_of(avatar), splats_of(avatar)
    if head is None or not levels:
        raise AvatarFileError(f"{avatar.name}: has lost its {'splats' if head else 'rig'}", "undo the deletion or import it again")
    chosen = max(levels) if level is None else level
    if chosen not in levels:
        raise AvatarFileError(f"{avatar.name}: has no level of detail {chosen}", f"it has {', '.join(map(str, levels))}")
    splats = posed_splats(levels[chosen], head, evaluated_vertices(head, depsgraph))
    splats = in_colours_of_the_face(levels[chosen], head, avatar, splats)
    parts = [transform_cloud(SplatCloud.of(splats), _matrix(head, depsgraph))]
    if attached:
        clouds = [o for o in avatar.objects if o.lookalike.role == "CLOUD" and o.data is not None and not o.hide_render]
        parts += [transform_cloud(read_cloud_object(o), _matrix(o, depsgraph)) for o in clouds]
    whole = join_clouds(parts)
    whole = whole.take(whole.opacity > 0)
    if local:
        whole = transform_cloud(whole, np.linalg.inv(_matrix(head.parent or head, depsgraph)))
    return change_axes(whole, "z-up", "y-up")


def in_colours_of_the_face(obj: bpy.types.Object, head: bpy.types.Object, avatar: bpy.types.Collection, splats: SplatArrays) -> SplatArrays:
    """Posed splats of a level as its rig colours them now."""
    weights = current_weights(obj, head, tuple(json.loads(avatar.lookalike.joints)), joint_rotations(avatar))
    return splats if weights is None else tinted(splats, weights)


def placed_cloud(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, local: bool = True) -> SplatCloud:
    """A cloud object's visible splats in the frame of files (+Y up), in its own space or the world's."""
    cloud = read_cloud_object(obj)
    cloud = cloud.take(cloud.opacity > 0)
    return change_axes(cloud if local else transform_cloud(cloud, _matrix(obj, depsgraph)), "z-up", "y-up")


def join_clouds(parts: list[SplatCloud]) -> SplatCloud:
    """All splats in one cloud; missing harmonics are zero."""
    bands = max(part.sh.shape[1] for part in parts)
    padded = [part._replace(sh=np.pad(part.sh, ((0, 0), (0, bands - part.sh.shape[1]), (0, 0)))) for part in parts]
    return SplatCloud(*(np.concatenate(fields) for fields in zip(*padded, strict=True)))


def _matrix(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> np.ndarray:
    return np.array(obj.evaluated_get(depsgraph).matrix_world, np.float64)


def rig_vertices(avatar: bpy.types.Collection) -> F32:
    """[V, 3] of the rig mesh as it is posed now, in the avatar's frame. Raises AvatarFileError as `evaluated_vertices`."""
    head = head_of(avatar)
    assert head is not None
    return points_from_blender(evaluated_vertices(head, bpy.context.evaluated_depsgraph_get()))


def joint_rotations(avatar: bpy.types.Collection) -> F32:
    """[J, 3] axis-angle of every joint in its parent's frame as the armature stands now, drivers and constraints included."""
    armature = armature_of(avatar)
    assert armature is not None
    posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    names = json.loads(avatar.lookalike.joints)
    turned = {name: (posed[name].matrix @ posed[name].bone.matrix_local.inverted()).to_quaternion() for name in names}
    rotations = []
    for name in names:
        parent = posed[name].parent
        while parent is not None and parent.name not in turned:
            parent = parent.parent
        relative = turned[name] if parent is None else turned[parent.name].inverted() @ turned[name]
        axis, angle = relative.to_axis_angle()
        rotations.append(axis * angle)
    return points_from_blender(np.array(rotations, np.float32))
