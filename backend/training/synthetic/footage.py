"""Heads that are drawn: any number of people, each seen as often as asked for, always the same for the same seed.

Nothing but the rig is needed. A person has a shape, skin, hair, clothes, a light that stays with the head (an avatar's light
is baked into it) and a backdrop; a frame has an expression, a pose and a camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backend.evaluation.ict_heads import vertex_normals
from backend.evaluation.procedural import halve, noise
from backend.protocol.avatar import F32
from backend.rig import Rig, pose_vertices
from backend.splats import Camera, interpolate, rasterize_mesh
from backend.training.data.view import View

from .anatomy import CLOTH, Anatomy, study
from .bust import bust
from .hair import growth, shell
from .paint import Surface, paint
from .person import Frame, Person, Views, draw_frame, draw_person

SUPERSAMPLING = 2
REMEMBERED = 8
"""People whose head is kept at hand: making one takes longer than a small picture of it."""


@dataclass(frozen=True)
class _Sitter:
    """A person with what does not change from frame to frame."""

    person: Person
    neutral: F32
    baked: object
    above: F32


class SyntheticHeads:
    """A `Footage` of drawn heads.

    Args:
        rig: the built-in head or ICT-FaceKit.
        people: how many. frames: how many views of each. size: side of the pictures, pixels.
        seed: other seeds give other people. views: how cameras are spread.

    Raises:
        RigError: a rig that cannot be painted.
    """

    def __init__(self, rig: Rig, people: int, frames: int, size: int, seed: int = 0, views: Views | None = None) -> None:
        self.rig = rig
        self.people = tuple(f"synthetic-{seed}-{index}" for index in range(people))
        self.size, self.seed, self.views = size, seed, views or Views()
        self._frames = frames
        self.anatomy = study(rig)
        self._sitter = lru_cache(REMEMBERED)(self._make)

    def frames(self, person: int) -> int:
        """Any number could be drawn; this many are offered."""
        return self._frames

    def view(self, person: int, frame: int) -> View:
        """Draw one frame."""
        sitter = self._sitter(person)
        middle = _middle(sitter.neutral, self.anatomy)
        taken = draw_frame(self.rig, (self.seed, person, frame, 2), self.size, middle, self.views)
        vertices = pose_vertices(sitter.baked, _named(self.rig, taken.expression), taken.pose)  # pyright: ignore[reportArgumentType]
        image, matte, depth = draw(self.anatomy, sitter.person, sitter.above, vertices, self.rig, taken)
        return View(
            image, matte, depth, sitter.person.shape, taken.expression, taken.pose, sitter.neutral, vertices, taken.camera,
            self.people[person], str(frame),
        )  # fmt: skip

    def _make(self, person: int) -> _Sitter:
        who = draw_person(self.rig, (self.seed, person, 1))
        neutral = (self.rig.template + self.rig.shape_basis @ who.shape).astype(np.float32)
        baked = self.rig.bake(neutral)
        return _Sitter(who, neutral, baked, growth(self.anatomy, who))


def draw(anatomy: Anatomy, person: Person, above: F32, vertices: F32, rig: Rig, frame: Frame) -> tuple[F32, F32, F32]:
    """Picture [S, S, 3] over the person's backdrop, matte [S, S] and depth [S, S] (0 where there is nothing).

    Args:
        above: `growth` of the person's hair. vertices: [V, 3] the posed rig.
    """
    surface = shell((anatomy.refine @ vertices).astype(np.float32), anatomy, person, above)
    collar = vertices[np.abs(rig.template[:, 1] - anatomy.collar) < 0.008]
    body, body_faces, body_normals = bust(collar, person.shoulders)
    points = np.concatenate([surface, body])
    faces = np.concatenate([anatomy.faces, body_faces + len(surface)])
    part = np.concatenate([anatomy.part, np.full(len(body_faces), CLOTH, np.uint8)])
    fields = _fields(anatomy, above, surface, body, body_normals)
    camera = _finer(frame.camera)
    face_id, barycentric, depth = rasterize_mesh(camera.pixels(points), faces, camera.width, camera.height, cull_back=True)
    covered = face_id >= 0
    pixels = interpolate(face_id, barycentric, faces, np.column_stack([points, fields]))[covered]
    to_camera = camera_position(camera) - pixels[:, :3]
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    rest, normal, scalars = pixels[:, 3:6], pixels[:, 6:9], pixels[:, 9:].T
    seen = Surface(part[face_id[covered]], rest, normal, to_camera.astype(np.float32), *scalars)
    color = np.zeros((*covered.shape, 3), np.float32)
    color[covered] = paint(seen, person, float(anatomy.points["chin"][1]), float(anatomy.points["nose"][1]))
    matte = halve(covered.astype(np.float32))
    image = halve(color) + (1 - matte[..., None]) * backdrop(person, frame.camera.width)
    behind = np.where(covered, depth, np.float32(0))
    total = halve(behind) / np.maximum(matte, 1e-6)
    return np.clip(image, 0, 1).astype(np.float32), matte, np.where(matte > 0.5, total, 0).astype(np.float32)


def _fields(anatomy: Anatomy, above: F32, surface: F32, body: F32, body_normals: F32) -> F32:
    """[V' + B, K] in the order of `Surface`: rest, normal, then its scalars."""
    normals = np.concatenate([vertex_normals(surface, anatomy.faces), body_normals])
    rest = np.concatenate([anatomy.rest, body])
    inside = np.clip((anatomy.points["lip"][2] - 0.004 - anatomy.rest[:, 2]) / 0.03, 0, 1) * (anatomy.outer < 0.5) * (anatomy.iris > 3)
    throat = np.clip((anatomy.points["chin"][1] + 0.01 - anatomy.rest[:, 1]) / 0.05, 0, 1) * np.clip(1 - above / 0.01, 0, 1)
    sheltered = np.maximum(0.9 * inside, 0.4 * throat * (anatomy.outer > 0.5))
    columns = [anatomy.lips, anatomy.brows, anatomy.iris, anatomy.cavity, anatomy.ear, above, sheltered]
    empty = np.tile([1, 1, np.pi, 0, 0, -1, 0], (len(body), 1))
    scalars = np.concatenate([np.column_stack(columns), empty])
    return np.column_stack([rest, normals, scalars]).astype(np.float32)


def backdrop(person: Person, size: int) -> F32:
    """[S, S, 3] what stands behind: a gradient with blotches."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    first, second = person.backdrop.astype(np.float32)
    picture = first + (0.7 * y + 0.3 * x)[..., None] * (second - first)
    if person.clutter > 0:
        place = np.stack([x.ravel(), y.ravel(), np.zeros(size * size, np.float32)], 1)
        picture = picture * (1 + person.clutter * noise(place, 9, person.noise % 1087).reshape(size, size, 1))
    return np.clip(picture, 0, 1).astype(np.float32)


def camera_position(camera: Camera) -> F32:
    """[3] where the camera stands, metres."""
    return -camera.world_to_camera[:3, :3].T @ camera.world_to_camera[:3, 3]


def _finer(camera: Camera) -> Camera:
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2] *= SUPERSAMPLING
    return Camera(camera.world_to_camera, intrinsics, camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)


def _middle(neutral: F32, anatomy: Anatomy) -> F32:
    """[3] middle of the head between chin and crown."""
    surface = anatomy.refine @ neutral
    crown, chin = surface[:, 1].max(), anatomy.points["chin"][1]
    return np.array([0, (crown + chin) / 2, surface[:, 2].mean()], np.float32)


def _named(rig: Rig, expression: F32) -> dict[str, float]:
    return {name: float(value) for name, value in zip(rig.expression_names, expression, strict=True) if value}
