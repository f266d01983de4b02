"""Inputs of the parity folders: a made-up face model with FLAME's array shapes, pictures, cameras and codes, all from a salt.

Geometry is computed in double precision and rounded once. There is no FLAME data here: the head is a tube with a nose-like
bump, the eyes are spheres, directions are sums of sines; only the counts are FLAME's (5,023 vertices, 9,976 triangles,
14,995 edges, the last 2 x 546 vertices the eyeballs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fixture_weights import normal, uniform

COLUMNS, RINGS, SPLIT_TRIANGLES = 31, 126, 25
EYE_COLUMNS, EYE_RINGS = 32, 17
PARENTS = (-1, 0, 1, 1, 1)
JOINTS = np.array([[0, -0.10, -0.01], [0, -0.05, 0.0], [0, -0.01, 0.02], [0.031, 0.028, 0.070], [-0.031, 0.028, 0.070]])

Array = NDArray[Any]


def face_model(salt: bytes) -> dict[str, Array]:
    """The model under FLAME's names: v_template, f, shapedirs, posedirs, J_regressor, weights, kintree_table, landmarks, masks."""
    vertices, faces, eye = _mesh(salt)
    weights = _skinning_weights(vertices, eye)
    directions = [_waves(vertices, "synth.shape", 300, 0.0022, salt), _waves(vertices, "synth.exp", 100, 0.0015, salt)]
    model = {
        "v_template": vertices,
        "f": faces,
        "shapedirs": np.concatenate(directions, -1),
        "posedirs": _waves(vertices, "synth.pose", 36, 0.004, salt),
        "J_regressor": _joint_regressor(vertices, eye),
        "weights": weights,
        "kintree_table": np.array([PARENTS, range(5)], np.int64),
        "mask_neck": np.flatnonzero((vertices[:, 1] < -0.075) & (eye == 0)),
        "mask_boundary": np.flatnonzero((vertices[:, 1] < -0.105) & (eye == 0)),
    }
    for name, suffix, shape in (("full", "_with_eye", (1, 70)), ("static", "", (51,)), ("dynamic", "", (79, 17))):
        index = np.floor(len(faces) * uniform(f"synth.lmk_{name}.face", shape, salt)).astype(np.int64)
        barycentric = uniform(f"synth.lmk_{name}.bary", (*shape, 3), salt) + 0.05
        model[f"{name}_lmk_faces_idx{suffix}"] = index
        model[f"{name}_lmk_bary_coords{suffix}"] = barycentric / barycentric.sum(-1, keepdims=True)
    return {key: value.astype(np.float32 if value.dtype.kind == "f" else np.int64) for key, value in model.items()}


def _mesh(salt: bytes) -> tuple[Array, Array, Array]:
    """Vertices, shuffled triangles, and for each vertex the eye joint it belongs to or 0."""
    head, head_faces = _tube()
    eye, eye_faces = _sphere()
    order = np.argsort(uniform("synth.vertex_order", (len(head),), salt), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    vertices = np.concatenate([head[order], eye + JOINTS[3], eye + JOINTS[4]])
    faces = np.concatenate([rank[head_faces], eye_faces + len(head), eye_faces + len(head) + len(eye)])
    faces = faces[np.argsort(uniform("synth.face_order", (len(faces),), salt), kind="stable")]
    corner = (np.arange(3)[None] - np.arange(len(faces))[:, None]) % 3  # each triangle starts at another corner
    faces = np.take_along_axis(faces, corner, 1)
    vertices = vertices + 0.0004 * normal("synth.v_noise", vertices.shape, salt)
    owner = np.repeat([0, 3, 4], [len(head), len(eye), len(eye)])
    return vertices, faces, owner


def _tube() -> tuple[Array, Array]:
    """An open tube in the shape of a head, a few triangles split at their centres to reach FLAME's counts."""
    ring, column = np.meshgrid(np.arange(RINGS), np.arange(COLUMNS), indexing="ij")
    polar = np.pi * (0.04 + 0.88 * ring / (RINGS - 1))
    turn = 2 * np.pi * column / COLUMNS
    turn = np.where(turn > np.pi, turn - 2 * np.pi, turn)
    bump = 1 + 0.05 * np.cos(3 * turn) * np.sin(2 * polar) + 0.15 * np.exp(-(turn**2) / 0.05 - (polar - 1.7) ** 2 / 0.02)
    x = 0.085 * np.sin(polar) * np.sin(turn) * bump
    z = 0.105 * np.sin(polar) * np.cos(turn) * bump
    vertices = np.stack([x, 0.02 + 0.13 * np.cos(polar), z], -1).reshape(-1, 3)
    faces, centres = [], []
    for i, (a, b, c) in enumerate(_quads(RINGS, COLUMNS)):
        if i % 300 == 7 and len(centres) < SPLIT_TRIANGLES:
            centre = len(vertices) + len(centres)
            centres.append((vertices[a] + vertices[b] + vertices[c]) / 3)
            faces += [(a, b, centre), (b, c, centre), (c, a, centre)]
        else:
            faces.append((a, b, c))
    return np.concatenate([vertices, np.array(centres)]), np.array(faces)


def _quads(rings: int, columns: int) -> list[tuple[int, int, int]]:
    """Triangles of a closed strip of rings."""
    triangles = []
    for i in range(rings - 1):
        for j in range(columns):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            triangles += [(a, a + columns, b), (b, a + columns, b + columns)]
    return triangles


def _sphere() -> tuple[Array, Array]:
    """An eyeball about the origin: rings, then its two poles."""
    polar = np.pi * (np.arange(EYE_RINGS) + 1) / (EYE_RINGS + 1)
    turn = 2 * np.pi * np.arange(EYE_COLUMNS) / EYE_COLUMNS
    polar, turn = np.meshgrid(polar, turn, indexing="ij")
    rings = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], -1).reshape(-1, 3)
    top, bottom, last = len(rings), len(rings) + 1, (EYE_RINGS - 1) * EYE_COLUMNS
    following = [(j, (j + 1) % EYE_COLUMNS) for j in range(EYE_COLUMNS)]
    faces = [(top, j, k) for j, k in following] + _quads(EYE_RINGS, EYE_COLUMNS)
    faces += [(bottom, last + k, last + j) for j, k in following]
    return 0.016 * np.concatenate([rings, [[0, 1, 0], [0, -1, 0]]]), np.array(faces)


def _joint_regressor(vertices: Array, eye: Array) -> Array:
    """Rows that average the 64 vertices nearest to a joint, or an eyeball."""
    regressor = np.exp(-((vertices[None] - JOINTS[:, None]) ** 2).sum(-1) / (2 * 0.03**2))
    for j in range(3):
        regressor[j, np.argsort(-regressor[j], kind="stable")[64:]] = 0
    for j in (3, 4):
        regressor[j] = eye == j
    return regressor / regressor.sum(1, keepdims=True)


def _skinning_weights(vertices: Array, eye: Array) -> Array:
    logistic = lambda x: 1 / (1 + np.exp(-x))
    weights = np.zeros((len(vertices), 5))
    y, z = vertices[:, 1], vertices[:, 2]
    weights[:, 0] = logistic(-(y + 0.07) / 0.015)
    weights[:, 2] = (1 - weights[:, 0]) * logistic((z - 0.03) / 0.02) * logistic((-0.01 - y) / 0.015)
    weights[:, 1] = 1 - weights[:, 0] - weights[:, 2]
    for j in (3, 4):
        weights[eye == j] = np.eye(5)[j]
    return weights


def _waves(vertices: Array, name: str, count: int, amplitude: float, salt: bytes) -> Array:
    """[V, 3, count] smooth displacement fields: sines with wave vectors in radians per metre."""
    wave = 18.0 * normal(f"{name}.k", (count, 3, 3), salt).astype(np.float64)
    phase = 2 * np.pi * uniform(f"{name}.phase", (count, 3), salt)
    amplitudes = amplitude / np.sqrt(1 + np.arange(count) / 10)
    return np.sin(np.einsum("vx,lcx->vcl", vertices, wave) + phase.T[None]) * amplitudes


def codes(name: str, salt: bytes, jaw: float = 0.12, eye: float = 0.10, global_rotation: float = 0.0) -> dict[str, Array]:
    """FLAME codes: shape 300, exp 100, pose 6 (global and jaw, axis-angle), eye 6 (left, right)."""
    pose = np.zeros(6, np.float32)
    pose[:3] = global_rotation * normal(f"{name}.global", (3,), salt)
    pose[3:] = 0.03 * normal(f"{name}.jaw", (3,), salt)
    pose[3] += np.float32(jaw)
    return {
        "shape": np.float32(0.6) * normal(f"{name}.shape", (300,), salt),
        "exp": np.float32(0.7) * normal(f"{name}.exp", (100,), salt),
        "pose": pose,
        "eye": np.float32(eye) * normal(f"{name}.eye", (6,), salt),
    }


def camera(yaw: float, pitch: float, roll: float, distance: float, x: float = 0.0, y: float = 0.0) -> Array:
    """[3, 4] [R | T] for row vectors (`networks/cameras.py`), angles in degrees."""
    a, b, c = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rotation = about_y @ about_x @ about_z @ np.diag([-1.0, 1.0, -1.0])
    return np.concatenate([rotation, [[x], [y], [distance]]], 1).astype(np.float32)


def noise_image(name: str, salt: bytes, size: int = 512, matte: bool = True) -> NDArray[np.uint8]:
    """[size, size, 3] four octaves of noise within an ellipse on black."""
    octaves = ((8, 1.0), (16, 0.6), (32, 0.4), (128, 0.3))
    image = sum(weight * _enlarged(f"{name}.octave{cells}", cells, size, salt) for cells, weight in octaves)
    image = np.clip(0.5 + 0.22 * image, 0, 1)
    if matte:
        t = (np.arange(size) + 0.5) / size * 2 - 1
        image = image * (((t[None] / 0.72) ** 2 + ((t[:, None] - 0.12) / 0.9) ** 2) < 1)
    return np.floor(255 * image + 0.5).astype(np.uint8).transpose(1, 2, 0)


def _enlarged(name: str, cells: int, size: int, salt: bytes) -> Array:
    """[3, size, size] a square grid of normal numbers enlarged bilinearly, corners on corners."""
    grid = normal(name, (3, cells, cells), salt).astype(np.float64)
    at = np.linspace(0, cells - 1, size)
    low = np.minimum(at.astype(int), cells - 2)
    part = at - low
    down, right = part[:, None], part[None]
    upper = grid[:, low][:, :, low] * (1 - right) + grid[:, low][:, :, low + 1] * right
    lower = grid[:, low + 1][:, :, low] * (1 - right) + grid[:, low + 1][:, :, low + 1] * right
    return upper * (1 - down) + lower * down


def blocks(name: str, shape: tuple[int, int, int], factor: int, salt: bytes) -> NDArray[np.float32]:
    """[1, c, h factor, w factor] normal numbers, each repeated over a square block."""
    return _blown_up(normal(name, (1, *shape), salt), factor)


def plain_image(name: str, salt: bytes, size: int = 512, grid: int = 64) -> NDArray[np.float32]:
    """[1, 3, size, size] in (0, 1): logistic of normal numbers in square blocks."""
    image = 1 / (1 + np.exp(-normal(name, (1, 3, grid, grid), salt).astype(np.float64)))
    return _blown_up(image.astype(np.float32), size // grid)


def _blown_up(image: Array, factor: int) -> Array:
    return np.repeat(np.repeat(image, factor, 2), factor, 3)
