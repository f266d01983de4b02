"""Repair one side of a head with the mirrored splats of the other: for what one photograph did not see."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from ..avatar import head_of, rest_mesh, splats_of
from ..avatar.binding_nodes import REST
from ..avatar.bound_splats import BoundSplats, bind_splats, unbind
from ..avatar.host import ORIGIN, read_attribute, read_splats
from ..interchange.posed import evaluated_vertices
from ..protocol import AvatarFileError, SplatArrays
from ..protocol.avatar import F32, I32
from ..protocol.interchange.harmonics import rotate_harmonics
from .edits import GAIN, HIDDEN, OWN_OPACITY, SIZE, Edits
from .mirror_topology import mirror_vertices
from .picking import Options, PaintView, Stroke
from .replacing import join_bound, replace_splats, take_bound
from .shapes import Front

MIRROR = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
MIDLINE = 0.002
"""Metres about the middle in which splats of both sides stay: a seam would show."""


def mirror_repair(
    avatar: bpy.types.Collection,
    good_side: str = "LEFT",
    view: PaintView | None = None,
    stroke: Stroke | None = None,
    options: Options | None = None,
) -> int:
    """Replace splats of the bad side by mirrored ones of the good side, on every level; the shoulders stay.

    Args:
        good_side: LEFT or RIGHT of the person.
        view, stroke: replace only under this brush stroke; the whole side without.
    Returns:
        How many splats of the finest level were put in.
    Raises:
        AvatarFileError: the avatar has lost a part, or is linked.
    """
    head = head_of(avatar)
    if head is None:
        raise AvatarFileError(f"{avatar.name}: has lost its rig", "undo the deletion")
    vertices, faces = rest_mesh(head)
    partner = mirror_vertices(vertices, faces)
    put = 0
    for obj in splats_of(avatar).values():
        Edits(obj)  # refuses linked data before anything is changed
        put = _repair_level(obj, head, (vertices, faces, partner), good_side, (view, stroke, options or Options()))
    return put


def _repair_level(obj: bpy.types.Object, head: bpy.types.Object, rig: tuple[F32, I32, I32], good_side: str, where: tuple) -> int:
    vertices, faces, partner = rig
    bound, shoulders = read_splats(obj.data), obj.lookalike.shoulders
    edits = Edits(obj)
    first_shoulder = len(bound) - shoulders
    sign = 1.0 if good_side == "LEFT" else -1.0  # the person's left is +x
    across = bound.position[:, 0] * sign
    of_head = np.arange(len(bound)) < first_shoulder
    good = np.flatnonzero((across > MIDLINE) & of_head & ~edits.hidden)
    mirrored = bind_splats(vertices, faces, _mirrored(take_bound(bound, good), vertices, faces, partner))
    bad = (across < -MIDLINE) & of_head
    inside = np.ones(len(good), bool)
    if where[1] is not None:
        bad &= _under(bound, head, *where)
        inside = _under(mirrored, head, *where)
    chosen = take_bound(mirrored, np.flatnonzero(inside))
    keep = np.flatnonzero(~bad)
    heads = keep[keep < first_shoulder]
    tail = keep[keep >= first_shoulder]
    states = {}
    for name, values in ((OWN_OPACITY, edits.own), (HIDDEN, edits.hidden.astype(np.float32)), (GAIN, edits.gain), (SIZE, edits.size)):
        new = values[good][inside]
        states[name] = np.concatenate([values[heads], new, values[tail]])
    if ORIGIN in obj.data.attributes:  # a mirrored splat is none of those that the avatar's adapters know
        rows = read_attribute(obj.data, ORIGIN)
        states[ORIGIN] = np.concatenate([rows[heads], np.full(len(chosen), -1, np.float32), rows[tail]])
    replace_splats(obj, join_bound([take_bound(bound, heads), chosen, take_bound(bound, tail)]), shoulders, states)
    return len(chosen)


def _mirrored(bound: BoundSplats, vertices: F32, faces: I32, partner: I32) -> SplatArrays:
    """Rest splats on the other side, bound to the triangles there."""
    face, barycentric = _mirrored_faces(bound, faces, partner)
    lost = np.flatnonzero(face < 0)
    if len(lost):
        face[lost], barycentric[lost] = nearest_faces(bound.position[lost] * np.float32([-1, 1, 1]), vertices, faces)
    here = np.einsum("nk,nkd->nd", bound.barycentric, vertices[faces[bound.face]])
    there = np.einsum("nk,nkd->nd", barycentric, vertices[faces[face]])
    sh = np.concatenate([bound.radiance[:, None, :3], bound.harmonics], 1)
    return SplatArrays(
        position=(there + (bound.position - here) * np.float32([-1, 1, 1])).astype(np.float32),
        # Mirroring in x turns a rotation about (a, b, c) into one about (a, -b, -c).
        rotation=bound.rotation * np.float32([1, 1, -1, -1]),
        scale=bound.scale,
        opacity=np.ascontiguousarray(bound.radiance[:, 3]),
        sh=rotate_harmonics(np.ascontiguousarray(sh, np.float32), MIRROR),
        face=face,
        barycentric=barycentric,
    )


def _mirrored_faces(bound: BoundSplats, faces: I32, partner: I32) -> tuple[I32, F32]:
    """The triangle of each splat on the other side and the weights in its own order of corners; -1 where there is none."""
    index = {tuple(sorted(corners)): i for i, corners in enumerate(faces.tolist())}
    twin = np.full(len(faces), -1, np.int32)
    order = np.zeros((len(faces), 3), np.int64)
    for i in np.unique(bound.face).tolist():
        there = partner[faces[i]].tolist()
        other = index.get(tuple(sorted(there)), -1) if min(there) >= 0 else -1
        if other >= 0:
            twin[i] = other
            order[i] = [there.index(v) for v in faces[other].tolist()]
    return twin[bound.face].copy(), np.take_along_axis(bound.barycentric, order[bound.face], 1)


def nearest_faces(points: F32, vertices: F32, faces: I32, only: np.ndarray | None = None) -> tuple[I32, F32]:
    """For points [N, 3] the nearest triangle, and the weights of the nearest point on it. 3 microseconds a point.

    Args:
        only: indices of the triangles to choose from.
    """
    chosen = np.arange(len(faces)) if only is None else only
    tree = BVHTree.FromPolygons(vertices.tolist(), faces[chosen].tolist(), all_triangles=True)
    hits = [tree.find_nearest(point) for point in points.tolist()]
    face = chosen[np.array([hit[2] for hit in hits], np.int64)].astype(np.int32)
    on = np.array([hit[0][:] for hit in hits], np.float64)
    corners = vertices[faces[face]].astype(np.float64)
    e1, e2, to = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], on - corners[:, 0]
    normal = np.cross(e1, e2)
    squared = np.maximum((normal * normal).sum(1), 1e-30)
    second = (np.cross(to, e2) * normal).sum(1) / squared
    third = (np.cross(e1, to) * normal).sum(1) / squared
    return face, np.stack([1 - second - third, second, third], 1).astype(np.float32)


def _under(bound: BoundSplats, head: bpy.types.Object, view: PaintView, stroke: Stroke, options: Options) -> np.ndarray:
    """[N] bool: posed splats that the stroke covers by half its weight or more, on the side that is seen."""
    posed = unbind(
        bound, evaluated_vertices(head, bpy.context.evaluated_depsgraph_get()), rest_mesh(head)[1], read_attribute(head.data, REST)
    )
    world = np.array(head.matrix_world, np.float64)
    seen = view.project(posed.position @ world[:3, :3].T + world[:3, 3])
    covered = stroke.weights(seen.pixel) >= 0.5
    return covered & (options.through | Front.of(seen, posed.opacity > 0.3).visible(seen, options.depth))


def side_under(avatar: bpy.types.Collection, view: PaintView, stroke: Stroke) -> str:
    """LEFT or RIGHT: the person's side that most of a stroke lies on, by the splats of the finest level."""
    head, levels = head_of(avatar), splats_of(avatar)
    if head is None or not levels:
        raise AvatarFileError(f"{avatar.name}: has lost its rig or splats", "undo the deletion")
    bound = read_splats(levels[max(levels)].data)
    covered = _under(bound, head, view, stroke, Options())
    return "LEFT" if bound.position[covered, 0].sum() >= 0 else "RIGHT"
