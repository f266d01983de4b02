"""Heads with known geometry: ICT-FaceKit shapes (Li et al. 2020) with procedural skin, rendered from any side.

A head is fixed by its seed: a random mix of the identity deltas, one of four skins and four hair colours,
painted lips, brows and irises, and a cap of hair. Odd seeds smile, where the file's expression names are
known. The light is attached to the head, because a portrait's light is baked into an avatar: so that a
turned view compares shapes and colours, not lighting.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, I32
from backend.protocol.errors import RigError
from backend.splats import Camera, interpolate, rasterize_mesh

from .procedural import halve, inside_polygon, noise

# Vertex ranges of the ICT-FaceKit topology, after its documentation; what follows (occlusion shells, lashes) is not used.
REGIONS = {
    "face": (0, 9409), "head": (9409, 11248), "mouth_socket": (11248, 13294), "eye_socket": (13294, 14062),
    "gums": (14062, 17039), "teeth": (17039, 21451), "eyes": (21451, 24591),
}  # fmt: skip
VERTICES = 24591
# Vertices nearest to MediaPipe's landmarks of the same meaning on the neutral head (found once on a frontal rendering).
LIPS = (5651, 5891, 5807, 5970, 6004, 5518, 6508, 6474, 6312, 6397, 6104, 6089, 6139, 6196, 6547, 5524, 6043, 5691, 5607, 5585)
BROWS = ((386, 78, 484, 1415, 2027, 1999, 523, 486, 80, 83), (2627, 3230, 2725, 3629, 4224, 2659, 3627, 2727, 3232, 3211))
FOREHEAD, NOSE, CHIN, EYE_CORNER, CHEEK = 976, 4777, 965, 570, 906

SKINS = ((0.80, 0.60, 0.50), (0.55, 0.37, 0.27), (0.88, 0.70, 0.60), (0.68, 0.48, 0.38))
HAIRS = ((0.20, 0.12, 0.07), (0.08, 0.06, 0.05), (0.55, 0.38, 0.18), (0.35, 0.35, 0.36))
IRISES = ((0.25, 0.35, 0.45), (0.25, 0.15, 0.08))
LIGHT = np.array([0.35, 0.45, 0.82])
SMILE = {
    "mouthSmile_L": 1.0, "mouthSmile_R": 1.0, "cheekSquint_L": 0.6, "cheekSquint_R": 0.6, "mouthUpperUp_L": 0.45, "mouthUpperUp_R": 0.45,
}  # fmt: skip

# The camera of the published figures: 1.1 m away, 768 px, focal length 2600 px.
SIZE, FOCAL, DISTANCE = 768, 2600.0, 1.1
CENTRE = np.array([0.0, 0.012, 0.02])  # the crown is inside the picture
_SUPERSAMPLING = 2
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class HeadModel:
    """The file's shapes. Metres, +Y up, face along +Z.

    Attributes:
        neutral: [V, 3]. faces: [F, 3]. identities: [I, V, 3]. expressions: named displacements [V, 3].
        region: [V] index into `REGIONS`.
    """

    neutral: F32
    faces: I32
    identities: F32
    expressions: dict[str, F32]
    region: NDArray[np.uint8]

    def on(self, name: str) -> NDArray[np.bool_]:
        return self.region == list(REGIONS).index(name)


@dataclass(frozen=True)
class Head:
    """One person.

    Attributes:
        vertices: [V, 3] metres, hair included.
        color: [V, 3] display-referred albedo. hair: [V] 0..1 where hair grows. hair_color: [3].
        inner_face: indices of the vertices whose error is measured: skin within 80 mm of the nose tip, no hair.
    """

    model: HeadModel
    seed: int
    vertices: F32
    color: F32
    hair: F32
    hair_color: F32
    inner_face: I32


@dataclass(frozen=True)
class Shot:
    """A rendering of a head.

    Attributes:
        color: [H, W, 3] premultiplied, display-referred. alpha: [H, W].
        inner_face: [H, W] pixels that show only the inner face.
        camera: from the head's frame.
    """

    color: F32
    alpha: F32
    inner_face: NDArray[np.bool_]
    camera: Camera

    def over(self, background: F32 | float) -> F32:
        """[H, W, 3] blended over a picture or a grey."""
        return (self.color + (1 - self.alpha[..., None]) * np.asarray(background, np.float32)).astype(np.float32)


def load_heads(path: str | os.PathLike[str]) -> HeadModel:
    """Read a file laid out as ICT-FaceKit's npz: neutral [V, 3], faces [F, 4] padded with -1, identity_deltas and
    expression_deltas [n, V, 3], in centimetres. Expression names are read from ``names.json`` beside it, if it is there.

    Raises:
        RigError: missing, not such a file, or too large.
    """
    source = Path(path)
    try:
        if source.stat().st_size > _MAX_BYTES:
            raise RigError(f"{source.name}: too large for a file of heads")
        with np.load(source, allow_pickle=False) as file:
            neutral, quads = file["neutral"], file["faces"]
            identities, expressions = file["identity_deltas"], file["expression_deltas"]
    except OSError as error:
        raise RigError(f"{source}: cannot be read ({error.strerror or error})", "check the path") from error
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RigError(f"{source.name}: not a file of ICT-FaceKit heads ({error})") from error
    count = len(neutral)
    if neutral.ndim != 2 or count < VERTICES or quads.ndim != 2 or quads.shape[1] != 4 or identities.shape[1:] != neutral.shape:
        raise RigError(f"{source.name}: not the ICT-FaceKit topology ({neutral.shape} vertices, {quads.shape} faces)")
    if expressions.shape[1:] != neutral.shape or quads.min() < -1 or quads.max() >= count:
        raise RigError(f"{source.name}: arrays do not fit each other")
    quads = quads[(quads < VERTICES).all(1)]
    faces = np.concatenate([quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
    region = np.zeros(VERTICES, np.uint8)
    for index, (start, stop) in enumerate(REGIONS.values()):
        region[start:stop] = index
    metres = lambda a: np.ascontiguousarray(a[..., :VERTICES, :], np.float32) * np.float32(0.01)
    names = _expression_names(source.with_name("names.json"), len(expressions))
    named = {name: metres(expressions[index]) for index, name in enumerate(names)}
    return HeadModel(metres(neutral), faces.astype(np.int32), metres(identities), named, region)


def _expression_names(path: Path, count: int) -> list[str]:
    if not path.exists():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["expressions"]
    except (ValueError, KeyError, TypeError) as error:
        raise RigError(f"{path.name}: not a list of expression names") from error
    if not isinstance(names, list) or len(names) != count:
        raise RigError(f"{path.name}: {len(names)} names for {count} expressions")
    return names


def make_head(model: HeadModel, seed: int) -> Head:
    """The person of this seed, always the same one."""
    rng = np.random.default_rng(seed)
    count = len(model.identities)
    mix = rng.normal(0, 0.8, count) * (rng.uniform(size=count) < 0.6)
    vertices = model.neutral + np.tensordot(mix.astype(np.float32), model.identities, 1)
    if seed % 2:
        for name, weight in SMILE.items():
            if name in model.expressions:
                vertices = vertices + np.float32(0.8 * weight) * model.expressions[name]
    hair = _hair(model)
    hair_color = np.array(HAIRS[(seed // 2) % 4])
    lift = hair * (0.016 + 0.004 * np.sin(seed))
    inner = _inner_face(model, hair)
    return Head(
        model, seed, grow_hair(vertices, model, lift), paint(model, seed, hair_color), hair.astype(np.float32),
        hair_color.astype(np.float32), inner,
    )  # fmt: skip


def grow_hair(vertices: NDArray, model: HeadModel, thickness: NDArray) -> F32:
    """[V, 3] with each vertex lifted along its normal by the thickness [V] of its hair, metres."""
    return (vertices + vertex_normals(vertices, model.faces) * thickness[:, None]).astype(np.float32)


def shoot(head: Head, yaw: float, size: int = SIZE, *, pitch: float = 0.0, distance: float = DISTANCE, light: NDArray = LIGHT) -> Shot:
    """Render with the head turned by `yaw` degrees to its left and raised by `pitch`, supersampled 2 x 2.

    Args:
        distance: metres to the camera, whose focal length keeps the head's size in the picture.
        light: direction [3] towards the light in the head's frame, times its strength.
    """
    camera = head_camera(yaw, size, pitch, distance)
    fine = head_camera(yaw, size * _SUPERSAMPLING, pitch, distance)
    model = head.model
    face_id, barycentric, _ = rasterize_mesh(fine.pixels(head.vertices), model.faces, fine.width, fine.height)
    inner = np.zeros(VERTICES, np.float32)
    inner[head.inner_face] = 1
    attributes = np.column_stack([head.color, vertex_normals(head.vertices, model.faces), model.neutral, head.hair, inner])
    pixels = interpolate(face_id, barycentric, model.faces, attributes)
    covered = face_id >= 0
    image = np.zeros((*covered.shape, 3), np.float32)
    image[covered] = shade(pixels[covered], head.hair_color, light)
    return Shot(halve(image), halve(covered.astype(np.float32)), halve(pixels[..., 10]) > 0.9, camera)


def head_camera(yaw: float, size: int = SIZE, pitch: float = 0.0, distance: float = DISTANCE) -> Camera:
    """The camera of the published figures, with the head turned by `yaw` degrees to its left, then its face raised by `pitch`."""
    angle, raised = np.radians(yaw), np.radians(-pitch)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    nod = np.array([[1, 0, 0], [0, np.cos(raised), -np.sin(raised)], [0, np.sin(raised), np.cos(raised)]])
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ nod @ turn
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ CENTRE + [0, 0, distance]
    focal = FOCAL * size / SIZE * distance / DISTANCE
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Camera(world_to_camera.astype(np.float32), intrinsics.astype(np.float32), size, size)


def studio(size: int = SIZE) -> F32:
    """The portrait's background: a soft grey-blue gradient [size, size, 3]."""
    y, x = np.mgrid[0:size, 0:size] / size
    return np.stack([0.55 + 0.2 * y, 0.6 + 0.1 * x, 0.65 + 0.1 * y], -1).astype(np.float32)


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray:
    """[V, 3] unit normals, weighted by area; +Z where a vertex has no face."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.reshape(-1)
    total = np.stack([np.bincount(flat, np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), [0.0, 0.0, 1.0])


def _hair(model: HeadModel) -> NDArray:
    """[V] 0..1: above a hairline that falls from the forehead to the nape, away from the ears."""
    x, y, z = model.neutral.T.astype(float)
    point = model.neutral.astype(float)
    line = point[FOREHEAD, 1] - 0.005 + np.where(z > 0, 0.0, 1.05 * z)
    line = np.maximum(line, point[CHIN, 1])
    side = np.clip(np.abs(x) / 0.075 - 0.6, 0, 1) * (z > 0.02)
    hair = 1 / (1 + np.exp(-(y - line - 0.02 * side) / 0.004))
    ear = (np.abs(x) > 0.066) & (z < 0.03) & (z > -0.05) & (y > point[NOSE, 1] - 0.045) & (y < point[NOSE, 1] + 0.06)
    return hair * (model.region <= 1) * (~ear | (y > point[EYE_CORNER, 1] + 0.035))


def _inner_face(model: HeadModel, hair: NDArray) -> I32:
    point = model.neutral
    near = np.linalg.norm(point - point[NOSE], axis=1) < 0.080
    below_hairline = point[:, 1] < point[FOREHEAD, 1] - 0.005
    return np.flatnonzero(model.on("face") & near & (point[:, 2] > 0.015) & (hair < 0.02) & below_hairline).astype(np.int32)


def paint(model: HeadModel, seed: int, hair_color: NDArray) -> F32:
    """[V, 3] albedo: skin with rosy cheeks, lips, brows, eyes, teeth, mouth."""
    point, skin = model.neutral.astype(float), np.array(SKINS[seed % 4])
    color = np.tile(skin, (VERTICES, 1))
    front = model.on("face") & (point[:, 2] > 0.02)
    cheek = np.exp(-(((np.abs(point[:, 0]) - 0.038) / 0.02) ** 2 + ((point[:, 1] - point[CHEEK, 1]) / 0.022) ** 2))
    color += (cheek * front)[:, None] * [0.06, -0.03, -0.03]
    color[front & inside_polygon(point[list(LIPS), :2], point[:, :2])] = skin * [0.95, 0.62, 0.62]
    for brow in BROWS:
        color[front & inside_polygon(point[list(brow), :2], point[:, :2])] = hair_color * 0.9 + 0.05
    color[model.on("eyes")] = [0.90, 0.88, 0.86]
    color[model.on("teeth")] = [0.88, 0.84, 0.76]
    color[model.on("gums")] = [0.65, 0.30, 0.30]
    color[model.on("mouth_socket")] = [0.35, 0.12, 0.11]
    color[model.on("eye_socket")] = skin * 0.9
    for left in (True, False):
        eye = np.flatnonzero(model.on("eyes") & ((point[:, 0] > 0) == left))
        direction = point[eye] - point[eye].mean(0)
        angle = np.arccos(np.clip(direction[:, 2] / np.linalg.norm(direction, axis=1), -1, 1))
        color[eye[angle < 0.50]] = IRISES[seed % 2]
        color[eye[angle < 0.22]] = 0.02
    return np.clip(color, 0, 1).astype(np.float32)


def shade(attributes: F32, hair_color: F32, towards_light: NDArray = LIGHT) -> F32:
    """Pixels [P, 11] (albedo 3, normal 3, rest position 3, hair, inner) to colours [P, 3]: pores, strands, one soft light."""
    albedo, normal, rest, hair = attributes[:, :3], attributes[:, 3:6], attributes[:, 6:9], attributes[:, 9:10]
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    light = 0.42 + 0.62 * np.clip(normal @ towards_light, 0, 1)
    skin = albedo * (1 + 0.05 * noise(rest, 220, 1) + 0.035 * noise(rest, 900, 2))[:, None]
    strand = 1 + 0.175 * np.sin(rest[:, 0] * 900 + 12 * noise(rest, 60, 3)) + 0.25 * noise(rest, 300, 4)
    share = np.clip(hair * 1.5 - 0.25, 0, 1)
    color = skin * (1 - share) + share * hair_color * strand[:, None]
    return np.clip(color * light[:, None], 0, 1).astype(np.float32)
