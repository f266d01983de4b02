"""A small, exact avatar for tests that need one quickly: an ellipsoid head with lids, jaw and eyes, no photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.protocol.avatar import SH_C0, Avatar, Driver, RigArrays, SplatArrays
from backend.protocol.binding import quaternions, triangle_frames

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")


def ellipsoid(columns: int, rings: int) -> tuple[np.ndarray, np.ndarray]:
    """A closed UV ellipsoid of head size about the origin: vertices [V, 3] metres, faces [F, 3] outward."""
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(columns) / columns
    t, p = np.meshgrid(theta, phi, indexing="ij")
    body = np.stack([0.075 * np.sin(t) * np.sin(p), 0.11 * np.cos(t), 0.095 * np.sin(t) * np.cos(p)], -1).reshape(-1, 3)
    vertices = np.concatenate([[[0, 0.11, 0]], body, [[0, -0.11, 0]]])
    last = len(vertices) - 1
    faces = []
    for j in range(columns):
        k = (j + 1) % columns
        faces += [(0, 1 + j, 1 + k), (last, 1 + (rings - 2) * columns + k, 1 + (rings - 2) * columns + j)]
        for i in range(rings - 2):
            a, b = 1 + i * columns + j, 1 + i * columns + k
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    return vertices.astype(np.float32), np.array(faces, np.int32)


def synthetic_rig(columns: int = 48, rings: int = 32) -> RigArrays:
    """Rig with three expressions (jawOpen-like bulge, blink, smile) and FLAME's five joints."""
    v, f = ellipsoid(columns, rings)
    front = np.clip(v[:, 2] / 0.095, 0, 1)
    mouth = np.exp(-((v[:, 1] + 0.05) ** 2 + v[:, 0] ** 2) / 0.02**2) * front
    eyes = np.exp(-((v[:, 1] - 0.03) ** 2 + (np.abs(v[:, 0]) - 0.03) ** 2) / 0.012**2) * front
    left, right = eyes * (v[:, 0] > 0), eyes * (v[:, 0] < 0)
    y, z = np.eye(3, dtype=np.float32)[1:]
    expressions = np.stack(
        [
            mouth[:, None] * (0.01 * np.sign(v[:, :1]) * [1, 0, 0] + 0.006 * y),
            left[:, None] * (0.004 * z - 0.004 * y),
            right[:, None] * (0.004 * z - 0.004 * y),
        ]
    )
    jaw = np.clip(-(v[:, 1] + 0.03) / 0.03, 0, 1) * front
    neck = np.clip((v[:, 1] + 0.105) / 0.02, 0, 1)
    weights = np.stack([1 - neck, neck * (1 - jaw), neck * jaw, 0 * jaw, 0 * jaw], 1)
    joints = np.array([[0, -0.11, 0], [0, -0.08, 0], [0, -0.02, 0.01], [0.03, 0.03, 0.07], [-0.03, 0.03, 0.07]])
    as32 = lambda a: np.ascontiguousarray(a, np.float32)
    return RigArrays(
        v,
        f,
        as32(joints),
        np.array([-1, 0, 1, 1, 1], np.int32),
        as32(weights),
        as32(expressions),
        JOINT_NAMES,
        ("mouthSmile", "eyeBlinkLeft", "eyeBlinkRight"),
        "synthetic",
    )


def synthetic_splats(rig: RigArrays, per_face: int = 1, seed: int = 0) -> SplatArrays:
    """`per_face` flat splats on every triangle, coloured by position so that pictures show orientation."""
    rng = np.random.default_rng(seed)
    face = np.repeat(np.arange(len(rig.faces), dtype=np.int32), per_face)
    bary = rng.dirichlet([2, 2, 2], len(face)).astype(np.float32)
    corners = rig.vertices[rig.faces[face]]
    frames = triangle_frames(corners)
    position = np.einsum("nk,nkd->nd", bary, corners) + frames.rotation[:, :, 2] * 1e-3
    spread = 0.5 / np.sqrt(per_face)
    scale = np.stack([frames.base * spread, frames.height * spread, frames.base * 0.1], 1)
    rgb = np.clip(0.5 + position / [0.15, 0.22, 0.19], 0.05, 0.95)
    return SplatArrays(
        position.astype(np.float32),
        quaternions(frames.rotation),
        scale.astype(np.float32),
        np.full(len(face), 0.9, np.float32),
        (((rgb - 0.5) / SH_C0)[:, None]).astype(np.float32),
        face,
        bary,
    )


def synthetic_avatar(lods: int = 3) -> Avatar:
    """An avatar with three LODs (one, four, sixteen splats a triangle), shoulders and one driver."""
    rig = synthetic_rig()
    base = np.flatnonzero(rig.weights[rig.faces[:, 0], 0] > 0.99)[:1]
    n = 200
    rng = np.random.default_rng(1)
    position = (rng.uniform([-0.2, -0.2, -0.05], [0.2, -0.12, 0.05], (n, 3))).astype(np.float32)
    shoulders = SplatArrays(
        position,
        np.tile(np.float32([1, 0, 0, 0]), (n, 1)),
        np.full((n, 3), 0.008, np.float32),
        np.full(n, 0.9, np.float32),
        np.full((n, 1, 3), -0.8, np.float32),
        np.full(n, base[0], np.int32),
        np.full((n, 3), 1 / 3, np.float32),
    )
    view = np.diag([1, -1, -1, 1]).astype(np.float32)
    view[2, 3] = 1.0
    driver = Driver(
        {"mouthSmile": 0.3},
        np.zeros((5, 3), np.float32),
        view,
        np.array([[1500, 0, 256], [0, 1500, 256], [0, 0, 1]], np.float32),
        (512, 512),
    )
    return Avatar(
        rig,
        tuple(synthetic_splats(rig, 4**i) for i in range(lods)),
        shoulders,
        (driver,),
        {"name": "synthetic", "model": "synthetic", "consent": "no person", "software": "tests"},
    )


def portrait_avatar(lods: int = 3) -> Avatar:
    """`synthetic_avatar` in the colours that photos of people have: skin, hair, lips, soft light from one side.

    The other's are pure hues to the edge of what a display can show, which no view transform gives back exactly.
    """
    avatar = synthetic_avatar(lods)
    return replace(avatar, lods=tuple(replace(splats, sh=_portrait_colors(splats.position)) for splats in avatar.lods))


def _portrait_colors(position: np.ndarray) -> np.ndarray:
    """[N, 1, 3] degree-0 coefficients."""
    x, y, z = position.T
    hair = 1 / (1 + np.exp(-(y - 0.045 + 0.4 * z) / 0.004))
    lips = np.exp(-(((y + 0.05) / 0.006) ** 2) - (x / 0.02) ** 2) * (z > 0)
    light = 0.8 + 1.6 * x + 0.9 * z
    strands = 1 + 0.15 * np.sin(600 * x)
    skin = np.array([0.78, 0.58, 0.48]) * (1 - lips[:, None]) + lips[:, None] * [0.68, 0.36, 0.34]
    rgb = (1 - hair[:, None]) * skin + hair[:, None] * strands[:, None] * [0.34, 0.24, 0.15]
    return ((np.clip(rgb * light[:, None], 0.02, 0.95) - 0.5) / SH_C0)[:, None].astype(np.float32)
