"""Bind an avatar's splats anew to a rig mesh whose vertices or faces were edited."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

from ..adapters import hold, renew
from ..avatar import head_of, splats_of
from ..avatar.binding_nodes import CORNERS, REST, add_binding
from ..avatar.bound_splats import BoundSplats, bind_splats, rest_inverse
from ..avatar.host import read_splats, write_attribute, write_splats
from ..protocol import AvatarFileError, SplatArrays
from ..protocol.avatar import F32, I32
from ..rendering.modifier import write_normals
from .edits import Edits
from .regions import group_weights
from .repair import nearest_faces

ROOT_WEIGHT = 0.99


def rebind(avatar: bpy.types.Collection) -> int:
    """Bind every level to the nearest triangles of the rig mesh as it is now; returns how many splats were bound.

    Splats stay where they are at rest. Faces with more than three corners are triangulated, which the binding needs. The
    shoulders are bound to triangles that only the root moves.

    Raises:
        AvatarFileError: the avatar has lost a part, is linked, or no face is left to bind to.
    """
    head, levels = head_of(avatar), splats_of(avatar)
    if head is None or not levels:
        raise AvatarFileError(f"{avatar.name}: has lost its {'splats' if head else 'rig'}", "undo the deletion or import it again")
    if head.library is not None or head.data.library is not None:
        raise AvatarFileError(f"{head.name}: is linked", "append it, or rebind it in that file")
    if head.mode != "OBJECT":
        raise AvatarFileError(f"{head.name}: is in {head.mode.replace('_', ' ').title()} Mode", "leave it first")
    for obj in levels.values():
        Edits(obj)  # refuses linked or damaged splats before anything is changed
    held = hold(avatar)
    _triangulate(head.data)
    vertices, faces = _rest(head)
    if not len(faces):
        raise AvatarFileError(f"{head.name}: has no faces left to bind to", "undo the edits of the rig mesh")
    for corner, name in enumerate(CORNERS):
        write_attribute(head.data, name, "INT", faces[:, corner], "FACE")
    write_attribute(head.data, REST, "FLOAT_VECTOR", rest_inverse(vertices, faces), "FACE")
    still = _still_faces(head, faces)
    count = 0
    for obj in levels.values():
        bound = read_splats(obj.data)
        write_splats(obj.data, _bound_anew(bound, obj.lookalike.shoulders, vertices, faces, still))
        obj.data.update_tag()
        add_binding(obj, head)
        write_normals(obj)
        count += len(bound)
    head.data.update()
    if held is not None:  # what adapters change lies on the new triangles from now on
        renew(avatar, held)
    return count


def _bound_anew(bound: BoundSplats, shoulders: int, vertices: F32, faces: I32, still: np.ndarray) -> BoundSplats:
    count = len(bound) - shoulders
    face, barycentric = nearest_faces(bound.position[:count], vertices, faces)
    if shoulders:
        below = nearest_faces(bound.position[count:], vertices, faces, still)
        face, barycentric = np.concatenate([face, below[0]]), np.concatenate([barycentric, below[1]])
    splats = SplatArrays(
        position=bound.position,
        rotation=bound.rotation,
        scale=bound.scale,
        opacity=np.ascontiguousarray(bound.radiance[:, 3]),
        sh=np.concatenate([bound.radiance[:, None, :3], bound.harmonics], 1),
        face=face,
        barycentric=barycentric,
    )
    return bind_splats(vertices, faces, splats)


def _triangulate(mesh: bpy.types.Mesh) -> None:
    if all(polygon.loop_total == 3 for polygon in mesh.polygons):
        return
    made = bmesh.new()
    made.from_mesh(mesh)
    bmesh.ops.triangulate(made, faces=[face for face in made.faces if len(face.verts) > 3])
    made.to_mesh(mesh)
    made.free()


def _rest(head: bpy.types.Object) -> tuple[F32, I32]:
    mesh = head.data
    basis = mesh.shape_keys.reference_key.data if mesh.shape_keys else mesh.vertices
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    basis.foreach_get("co", vertices.ravel())
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    return vertices, corners.reshape(-1, 3)


def _still_faces(head: bpy.types.Object, faces: I32) -> np.ndarray:
    """Triangles that only the root moves; where there is none, the one that it moves most."""
    root = group_weights(head, "root")[faces].min(1)
    still = np.flatnonzero(root >= ROOT_WEIGHT)
    return still if len(still) else np.array([int(root.argmax())])
