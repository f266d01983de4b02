"""Where the registers stand in a driving view: visible vertices, the face region around them, who fills which pixel.

Sec. 3.3 of "Low-Rank Head Avatar Personalization with Registers": embeddings live on the vertices of the rig's mesh
subdivided once; those that the driving camera sees are projected into the feature plane, the interior of their alpha shape is
filled by inverse-distance weights of the k nearest, the rest is a background feature. All of it depends on geometry only,
so it is worked out once a frame and used at each iteration.

Cameras are the avatar networks': [R|T] of 3 x 4 for row vectors, X_cam = X_world R + T, +X left, +Y up, +Z forward, focal
length 12 half-widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, KDTree, QhullError

from backend.models.networks import FOCAL
from backend.protocol.errors import FaceError
from backend.rig.subdivision import subdivide

from .visible_vertices import visible_vertices

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NEIGHBOURS = 11
ALPHA = 0.065
"""Alpha-shape parameter per pixel of a 296-pixel plane: triangles whose circumscribed circle is wider than 1 / alpha are dropped."""
REFERENCE_SIZE = 296
_SOFTEN = 1e-8


@dataclass(frozen=True)
class RegisterMesh:
    """The rig's mesh, and the same subdivided once, whose vertices carry the registers.

    Attributes:
        faces: [F, 3] of the rig.
        fine_faces: [4 F, 3]; children of face f are rows 4 f .. 4 f + 3.
        edges: [E, 2] the edge that each new vertex halves. New vertices are numbered in the order of (larger end, smaller
            end), as the release does through trimesh, so that its register files fit; OMG-Avatar's order differs.
        vertex_count: of the rig.
    """

    faces: I64
    fine_faces: I64
    edges: I64
    vertex_count: int

    @staticmethod
    def of(faces: NDArray, vertex_count: int) -> RegisterMesh:
        """Subdivide a rig's triangles. Raises ValueError for faces outside the vertices."""
        fine, edges = subdivide(np.asarray(faces, np.int64), vertex_count)
        order = np.lexsort((edges[:, 0], edges[:, 1]))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        number = np.concatenate([np.arange(vertex_count), vertex_count + rank])
        children = number[fine].reshape(4, len(faces), 3).transpose(1, 0, 2).reshape(-1, 3)
        return RegisterMesh(np.asarray(faces, np.int64), children, edges[order], vertex_count)

    @property
    def count(self) -> int:
        """How many vertices, and so registers, the subdivided mesh has."""
        return self.vertex_count + len(self.edges)

    def refine(self, vertices: NDArray) -> F64:
        """[count, 3]: the rig's posed vertices and the midpoints of its edges."""
        vertices = np.asarray(vertices, np.float64)
        return np.concatenate([vertices, vertices[self.edges].mean(1)])


@dataclass(frozen=True)
class RegisterGrid:
    """Which registers make up the pixels of one view.

    Attributes:
        size: height and width of the feature plane, pixels.
        pixels: [P] row-major indices of the pixels that hold registers; all others hold the background feature.
        registers: [P, k] indices of registers, `EMPTY` for a zero feature and `BACKGROUND` for the background feature.
        weights: [P, k] their weights; rows sum to 1.
    """

    size: int
    pixels: I64
    registers: I64
    weights: NDArray[np.float32]


EMPTY, BACKGROUND = -1, -2


@dataclass(frozen=True)
class ReleasedQuirks:
    """What the released code does and the paper does not say; named, for parity and for its files.

    - visibility is cast from the point T, not from the camera's centre -R T (`camera_centre`);
    - the visible subdivided vertices are the corners of the children of the *faces* that the visible vertices' *numbers*
      happen to index (`visible_registers`);
    - neighbours' distances are truncated to whole pixels;
    - the lists are padded to a fixed length with a vertex at the world's origin that carries a zero feature, so the pixel where the
      origin projects is zero, and pixel (0, 0) is always background.
    """


def camera_centre(camera: NDArray, quirks: ReleasedQuirks | None = None) -> F64:
    """[3] where the camera stands: -R T of X_cam = X R + T."""
    camera = np.asarray(camera, np.float64)
    return camera[:, 3] if quirks else -camera[:, :3] @ camera[:, 3]


def project(vertices: NDArray, camera: NDArray, size: int) -> F64:
    """[V, 2] pixels (x right, y down) of world points; pixel (0, 0) is *centred* at the origin, as in the release."""
    seen = np.asarray(vertices, np.float64) @ np.asarray(camera[:, :3], np.float64) + np.asarray(camera[:, 3], np.float64)
    return size / 2 * (1 - FOCAL * seen[:, :2] / seen[:, 2:])


def visible_registers(vertices: NDArray, camera: NDArray, mesh: RegisterMesh, quirks: ReleasedQuirks | None = None) -> I64:
    """Sorted indices of the registers that a camera sees (eq. 2).

    Args:
        vertices: [V, 3] posed vertices of the rig, in the camera's world.
        camera: [3, 4].
        mesh: the rig's, subdivided.
        quirks: as the release finds them.
    """
    centre = camera_centre(camera, quirks)
    if quirks is None:
        return np.flatnonzero(visible_vertices(mesh.refine(vertices), mesh.fine_faces, centre))
    return released_children(np.flatnonzero(visible_vertices(np.asarray(vertices, np.float64), mesh.faces, centre)), mesh)


def released_children(visible: I64, mesh: RegisterMesh) -> I64:
    """The subdivided vertices that the release derives from the rig's visible ones: see `ReleasedQuirks`."""
    return np.unique(mesh.fine_faces.reshape(-1, 4, 3)[visible[visible < len(mesh.faces)]])


def face_region(pixels: I64, size: int) -> I64:
    """[M, 2] pixels (x, y) strictly inside the alpha shape of projected vertices: its largest polygon, without holes.

    Args:
        pixels: [N, 2] whole pixels of the visible vertices; those outside the plane count too.
        size: of the plane; the shape's scale grows with it.
    """
    points = np.unique(pixels, axis=0)
    if len(points) < 4:
        return np.zeros((0, 2), np.int64)
    try:
        mesh = Delaunay(points)
    except QhullError:  # all on one line: no area
        return np.zeros((0, 2), np.int64)
    kept = _largest(_holes_filled(_circumradius(points[mesh.simplices]) < size / REFERENCE_SIZE / ALPHA, mesh), mesh, points)
    low, high = np.maximum(points.min(0), 0), np.minimum(points.max(0), size - 1)
    if not kept.any() or (high < low).any():
        return np.zeros((0, 2), np.int64)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    candidates = np.stack([x.ravel(), y.ravel()], 1)
    triangle = mesh.find_simplex(candidates)
    inside = (triangle >= 0) & kept[triangle]
    outline = {tuple(p) for p in _outline_pixels(kept, mesh, points)}
    return np.array([p for p in candidates[inside] if tuple(p) not in outline], np.int64).reshape(-1, 2)


def _circumradius(corners: NDArray) -> F64:
    a, b, c = (corners[:, i].astype(np.float64) for i in range(3))
    sides = np.linalg.norm(a - b, axis=1) * np.linalg.norm(b - c, axis=1) * np.linalg.norm(c - a, axis=1)
    ab, ac = b - a, c - a
    with np.errstate(divide="ignore"):
        return sides / (2 * np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]))


def _neighbours(mesh: Delaunay, among: NDArray[np.bool_]) -> coo_matrix:
    """Adjacency, by shared edges, of those triangles."""
    ours = np.repeat(np.arange(len(mesh.simplices)), 3)
    theirs = mesh.neighbors.ravel()
    both = (theirs >= 0) & among[ours] & among[theirs]
    return coo_matrix((np.ones(both.sum()), (ours[both], theirs[both])), (len(among),) * 2)


def _holes_filled(kept: NDArray[np.bool_], mesh: Delaunay) -> NDArray[np.bool_]:
    """Triangles that were dropped but cannot reach the outside through dropped ones belong to the polygon."""
    _, group = connected_components(_neighbours(mesh, ~kept), directed=False)
    outside = np.unique(group[~kept & (mesh.neighbors < 0).any(1)])
    return kept | ~np.isin(group, outside)


def _largest(kept: NDArray[np.bool_], mesh: Delaunay, points: I64) -> NDArray[np.bool_]:
    """The part, joined by edges, of the largest area."""
    if not kept.any():
        return kept
    _, group = connected_components(_neighbours(mesh, kept), directed=False)
    a, b, c = (points[mesh.simplices[:, i]].astype(np.float64) for i in range(3))
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    return kept & (group == np.argmax(np.bincount(group, np.where(kept, area, 0))))


def _outline_pixels(kept: NDArray[np.bool_], mesh: Delaunay, points: I64) -> I64:
    """Whole pixels on the polygon's own edges, which are not strictly inside it."""
    theirs = mesh.neighbors
    lone = kept[:, None] & ((theirs < 0) | ~kept[theirs])
    face, corner = np.nonzero(lone)
    start, end = (points[mesh.simplices[face, (corner + i) % 3]] for i in (1, 2))
    steps = np.maximum(np.gcd(*np.abs(end - start).T), 1)
    at = np.concatenate([np.arange(n + 1) / n for n in steps])
    return np.rint(np.repeat(start, steps + 1, 0) + at[:, None] * np.repeat(end - start, steps + 1, 0)).astype(np.int64)


def nearest(region: I64, pixels: I64, k: int = NEIGHBOURS) -> tuple[I64, F64]:
    """[M, k] positions in `pixels` of the nearest ones to each pixel of a region, and their distances, nearest first."""
    distance, found = KDTree(pixels).query(region, min(k, len(pixels)))
    return np.asarray(found, np.int64).reshape(len(region), -1), np.asarray(distance, np.float64).reshape(len(region), -1)


def inverse_distance_weights(distance: F64, quirks: ReleasedQuirks | None = None) -> NDArray[np.float32]:
    """[M, k] weights that sum to 1 (eq. 5); `quirks` truncates the distances to whole pixels."""
    inverse = 1 / ((np.floor(distance) if quirks else distance) + _SOFTEN)
    return (inverse / inverse.sum(1, keepdims=True)).astype(np.float32)


def register_grid(
    visible: I64, pixels: I64, region: I64, found: I64, weights: NDArray[np.float32], size: int, quirks: ReleasedQuirks | None = None
) -> RegisterGrid:
    """Combine what was found to the pixels' recipe (eq. 4 and 5).

    Args:
        visible: [N] visible registers, or `EMPTY`.
        pixels: [N, 2] where they project, whole pixels (x, y). The last of several on one pixel keeps it.
        region: [M, 2] the face region.
        found, weights: [M, k] which of them each pixel of the region is made of; rows sum to 1.
        size: of the plane.
    """
    k = max(found.shape[1], 1)
    within = ((pixels >= 0) & (pixels < size)).all(1)
    # Outside the plane a visible vertex still stands for itself among the neighbours; the release gives it the background's feature.
    feature = np.where(within, visible, BACKGROUND) if quirks else visible
    recipe = np.full((size * size, k), BACKGROUND, np.int64)
    shares = np.zeros((size * size, k), np.float32)
    filled = np.zeros(size * size, bool)
    row_major = np.array([1, size])

    def write(where: I64, what: I64) -> None:
        recipe[where], shares[where], filled[where] = BACKGROUND, 0, True
        recipe[where, 0], shares[where, 0] = what, 1

    at = region @ row_major
    recipe[at], shares[at], filled[at] = feature[found], weights, True
    at = pixels[within] @ row_major
    last = len(at) - 1 - np.unique(at[::-1], return_index=True)[1]
    write(at[last], visible[within][last])
    if quirks:
        write(np.array([0]), np.array([BACKGROUND]))
    used = np.flatnonzero(filled)
    return RegisterGrid(size, used, recipe[used], shares[used])


def grid_of_view(vertices: NDArray, camera: NDArray, mesh: RegisterMesh, size: int, quirks: ReleasedQuirks | None = None) -> RegisterGrid:
    """All of the above for one driving view.

    Args:
        vertices: [V, 3] the rig posed as in the driving frame, in the camera's world.
        camera: [3, 4].
        size: of the feature plane, pixels.
    Raises:
        FaceError: the camera sees no vertex within its picture.
    """
    visible = visible_registers(vertices, camera, mesh, quirks)
    pixels = whole_pixels(mesh.refine(vertices)[visible], camera, size)
    if not ((pixels >= 0) & (pixels < size)).all(1).any():
        raise FaceError("the head is outside the frame of its camera", "check the tracking of this frame")
    region = face_region(pixels, size)
    found, distance = nearest(region, pixels)
    if quirks:
        visible, pixels = padded(visible, pixels, camera, mesh, size)
    return register_grid(visible, pixels, region, found, inverse_distance_weights(distance, quirks), size, quirks)


def whole_pixels(vertices: NDArray, camera: NDArray, size: int) -> I64:
    """[V, 2] the pixels that world points fall on, halves to even."""
    return np.rint(project(vertices, camera, size)).astype(np.int64)


def padded(visible: I64, pixels: I64, camera: NDArray, mesh: RegisterMesh, size: int) -> tuple[I64, I64]:
    """The lists of a view padded as the release pads them: see `ReleasedQuirks`."""
    spare = mesh.count + 1 - len(visible)
    origin = whole_pixels(np.zeros((1, 3)), camera, size)
    return np.concatenate([visible, np.full(spare, EMPTY)]), np.concatenate([pixels, origin.repeat(spare, 0)])
