"""Which vertex of a rig lies on the other side: found through the triangles' neighbourhood, so that an uneven face does not matter.

A mirror-symmetric mesh keeps its triangulation when an identity makes left and right unlike. From one pair of triangles that
correspond, their neighbours correspond, and so on through the whole part (Blender's Topology Mirror does the same). No bpy.
"""

from __future__ import annotations

import numpy as np

from ..protocol.avatar import F32, I32

_SEEDS = 48
_ENOUGH = 0.98


def mirror_vertices(vertices: F32, faces: I32) -> I32:
    """[V] the vertex on the other side (x -> -x), -1 where the triangulation is not symmetric or no seed was found."""
    partner = np.full(len(vertices), -1, np.int32)
    neighbours = _edges(faces)
    parts = _parts(len(vertices), faces)
    for part in np.unique(parts[faces[:, 0]]):
        own = np.flatnonzero(parts[faces[:, 0]] == part)
        found = _grow_part(vertices, faces, own, neighbours)
        if found:
            partner[list(found)] = list(found.values())
    return partner


def _grow_part(vertices: F32, faces: I32, own: np.ndarray, neighbours: dict[tuple[int, int], int]) -> dict[int, int]:
    """Correspondence of one connected part from the best of several seeds; empty where none grows over it."""
    centres = vertices[faces].mean(1)
    seeds = own[np.linspace(0, len(own) - 1, min(_SEEDS, len(own))).astype(int)]
    count = len(np.unique(faces[own]))
    for seed in seeds.tolist():
        mirrored = vertices[faces[seed]] * np.float32([-1, 1, 1])
        for other in np.argsort(np.linalg.norm(centres - mirrored.mean(0), axis=1))[:3].tolist():
            for turn in range(3):
                # A mirrored triangle runs the other way round.
                target = np.roll(faces[other][::-1], turn)
                if np.abs(vertices[target] - mirrored).max() < 0.02:
                    found = _grow(faces, neighbours, seed, target)
                    if len(found) >= _ENOUGH * count and _near(vertices, found):
                        return found
    return {}


def _near(vertices: F32, pairs: dict[int, int]) -> bool:
    """Whether the pairs lie about where a mirror puts them: a regular mesh has other symmetries too."""
    distance = np.linalg.norm(vertices[list(pairs)] * np.float32([-1, 1, 1]) - vertices[list(pairs.values())], axis=1)
    return bool(np.median(distance) < 0.008 and distance.max() < 0.04)


def _grow(faces: I32, neighbours: dict[tuple[int, int], int], seed: int, target: np.ndarray) -> dict[int, int]:
    """Vertices reached from one pair of triangles; empty where two paths disagree."""
    pairs: dict[int, int] = dict(zip(faces[seed].tolist(), target.tolist(), strict=True))
    stack, done = [seed], {seed}
    while stack:
        a, b, c = faces[stack.pop()].tolist()
        for first, second in ((a, b), (b, c), (c, a)):
            here = neighbours.get((second, first))
            there = neighbours.get((pairs[first], pairs[second]))
            if here is None or here in done:
                continue
            if there is None:
                return {}
            third = next(v for v in faces[here].tolist() if v not in (first, second))
            mirrored = next((v for v in faces[there].tolist() if v not in (pairs[first], pairs[second])), -1)
            if mirrored < 0 or pairs.setdefault(third, mirrored) != mirrored:
                return {}
            done.add(here)
            stack.append(here)
    return pairs if len(set(pairs.values())) == len(pairs) else {}


def _edges(faces: I32) -> dict[tuple[int, int], int]:
    """Directed edge -> the triangle that runs along it."""
    return {edge: i for i, (a, b, c) in enumerate(faces.tolist()) for edge in ((a, b), (b, c), (c, a))}


def _parts(count: int, faces: I32) -> np.ndarray:
    """[V] smallest vertex of each vertex's connected part."""
    label = np.arange(count)
    while True:
        lowest = label[faces].min(1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, faces[:, corner], lowest)
        label = label[label]
        if np.array_equal(label, before):
            return label
