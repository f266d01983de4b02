"""Skull and neck: rings of 36 vertices from the face oval over the head to the neck base, laid on an implicit surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import landmarks as lm
from .mesh_operators import Points, ring_grid, ring_mirror

RINGS = 16
COLUMNS = len(lm.OVAL)
NECK_BASE_Y = -0.190

_INSIDE = np.array([0.0, -0.03, -0.085])


def skull_rings(oval: Points) -> tuple[Points, NDArray[np.int64]]:
    """Rings 1..RINGS [RINGS * 36, 3] outside the oval [36, 3], and faces over oval and rings together.

    The last ring is the neck base. Faces index the oval's vertices as 0..35.
    """
    directions = _ring_directions(oval)
    rings = np.stack([_cast(d) for d in directions])
    rings = _relax(np.concatenate([oval[None], rings]), ring_mirror(COLUMNS, RINGS + 1))
    return rings[1:].reshape(-1, 3), ring_grid(COLUMNS, RINGS + 1)


def head_distance(p: Points) -> Points:
    """[N] signed distance (approximate away from the surface) to skull, jaw, neck and the slope of the shoulders.

    Proportions of a mean adult at an interpupillary distance of 62.5 mm: head 153 mm wide, 185 mm long. Length, nape and the
    neck's slope are those of rendered ICT-FaceKit heads (seeds 20 to 28) that were brought onto this head's face.
    """
    d = _ellipsoid(p, (0, 0.038, -0.0714), (0.0760, 0.078, 0.0920))
    d = _blend(d, _ellipsoid(p, (0, -0.032, -0.051), (0.0620, 0.076, 0.054)), 0.022)
    d = _blend(d, _ellipsoid(p, (0, -0.082, -0.046), (0.040, 0.028, 0.050)), 0.015)
    d = _blend(d, _capsule(p, (0, -0.04, -0.067), (0, -0.22, -0.151), 0.0520, 0.0570, 0.95), 0.034)
    return _blend(d, _ellipsoid(p, (0, -0.286, -0.124), (0.19, 0.080, 0.070)), 0.045)


def _blend(a: Points, b: Points, width: float) -> Points:
    """Smooth minimum (Quilez)."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b * (1 - h) + a * h - width * h * (1 - h)


def _ellipsoid(p: Points, centre: tuple[float, ...], radii: tuple[float, ...]) -> Points:
    q = (p - np.array(centre)) / np.array(radii)
    length = np.linalg.norm(q, axis=1)
    return length * (length - 1) / np.maximum(np.linalg.norm(q / np.array(radii), axis=1), 1e-9)


def _capsule(p: Points, start: tuple[float, ...], end: tuple[float, ...], r0: float, r1: float, widen: float) -> Points:
    a, b = np.array(start), np.array(end)
    q = p / np.array([widen, 1, 1])
    t = np.clip(((q - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(q - a - t[:, None] * (b - a), axis=1) - (r0 + (r1 - r0) * t)


def _gradient(p: Points, step: float = 1e-4) -> Points:
    return np.stack([(head_distance(p + step * d) - head_distance(p - step * d)) / (2 * step) for d in np.eye(3)], 1)


def _project(p: Points, steps: int) -> Points:
    for _ in range(steps):
        normal = _gradient(p)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        p = p - 0.9 * head_distance(p)[:, None] * normal
    return p


def _ring_directions(oval: Points) -> Points:
    """[RINGS, 36, 3] unit directions from inside the head that sweep from the oval to a cap around the neck.

    Two circles on the sphere are the members of a hyperbolic pencil; a Moebius map makes them concentric.
    """
    to_oval = oval - _INSIDE
    to_oval = to_oval / np.linalg.norm(to_oval, axis=1, keepdims=True)
    front = np.array([0, 0.15, 1.0]) / np.linalg.norm([0, 0.15, 1.0])
    down = np.array([0, -1.0, -0.05]) / np.linalg.norm([0, -1.0, -0.05])
    axis = -(front + down) / np.linalg.norm(front + down)
    right = np.array([1.0, 0, 0])
    up = np.cross(axis, right)

    def stereographic(d: Points) -> NDArray[np.complex128]:
        return ((d @ right) + 1j * (d @ up)) / (1 - d @ axis)

    def inverse(z: NDArray[np.complex128]) -> Points:
        square = (np.abs(z) ** 2)[:, None]
        return (2 * z.real[:, None] * right + 2 * z.imag[:, None] * up + (square - 1) * axis) / (square + 1)

    front_angle = float(np.arccos(np.clip(to_oval @ front, -1, 1)).mean())
    c1, r1 = _circle(stereographic, front, right, front_angle)
    c2, r2 = _circle(stereographic, down, right, np.radians(32))
    gap = abs(c2 - c1)
    unit = (c2 - c1) / gap
    x0 = (gap**2 + r1**2 - r2**2) / (2 * gap)
    spread = np.sqrt(x0**2 - r1**2)
    l1, l2 = c1 + unit * (x0 - spread), c1 + unit * (x0 + spread)
    from_pencil = lambda z: (z - l1) / (z - l2)
    to_pencil = lambda w: (l1 - l2 * w) / (1 - w)
    rho1, rho2 = abs(from_pencil(c1 + r1 * unit)), abs(from_pencil(c2 - r2 * unit))
    theta = np.angle(from_pencil(stereographic(to_oval)))
    rings = []
    for ring in range(1, RINGS + 1):
        t = ring / RINGS
        rho = np.exp(np.log(rho1) * (1 - t) + np.log(rho2) * t)
        rings.append(inverse(to_pencil(rho * np.exp(1j * theta))))
    return np.stack(rings)


def _circle(stereographic, pole: Points, right: Points, angle: float) -> tuple[complex, float]:
    """Centre and radius in the plane of the circle at `angle` around `pole` on the sphere."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    u = np.cross(pole, right)
    u /= np.linalg.norm(u)
    z = stereographic(np.cos(angle) * pole + np.sin(angle) * (np.cos(t) * u + np.sin(t) * np.cross(pole, u)))
    system = np.stack([z.real, z.imag, np.ones(len(z))], 1)
    s = np.linalg.lstsq(system, np.abs(z) ** 2, rcond=None)[0]
    centre = complex(s[0], s[1]) / 2
    return centre, float(np.sqrt(s[2] + abs(centre) ** 2))


def _cast(directions: Points) -> Points:
    """[36, 3] where rays from inside leave the head (bisection)."""
    low, high = np.zeros(len(directions)), np.full(len(directions), 0.45)
    for _ in range(40):
        middle = (low + high) / 2
        inside = head_distance(_INSIDE + directions * middle[:, None]) < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return _INSIDE + directions * low[:, None]


def _relax(rings: Points, mirror: NDArray[np.int64]) -> Points:
    """[R + 1, 36, 3] spread over the surface: smoothed, spaced along each column, projected; oval fixed, last ring level."""
    count = rings.shape[0]
    oval = rings[0].copy()
    onto = np.clip(np.arange(1, count) / 4, 0, 1)[:, None, None]
    for _ in range(100):
        around = np.roll(rings, 1, 1) + np.roll(rings, -1, 1)
        smooth = rings.copy()
        smooth[1:-1] = 0.5 * rings[1:-1] + 0.125 * (rings[:-2] + rings[2:] + around[1:-1])
        smooth[-1] = (2 * rings[-1] + around[-1]) / 4
        smooth = smooth + 0.5 * (_spaced(smooth) - smooth)
        smooth[-1, :, 1] = NECK_BASE_Y
        surface = _project(smooth[1:].reshape(-1, 3), 1).reshape(smooth[1:].shape)
        surface[-1, :, 1] = NECK_BASE_Y
        rings = np.concatenate([oval[None], smooth[1:] * (1 - onto) + surface * onto])
        flat = rings.reshape(-1, 3)
        rings = ((flat + flat[mirror] * [-1, 1, 1]) / 2).reshape(rings.shape)
        rings[0] = oval
    for step in 4 * (0.5, -0.52):  # smoothing that does not shrink (Taubin 1995): takes ripples out of the nape
        around = np.roll(rings, 1, 1) + np.roll(rings, -1, 1)
        mean = (rings[1:-2] + rings[3:] + around[2:-1]) / 4
        rings[2:-1] += step * (mean - rings[2:-1])
    return rings


def _spaced(rings: Points) -> Points:
    """Each column's vertices evenly spaced along it; the neck, which carries little detail, takes twice the spacing."""
    step = np.diff(rings, axis=0)
    height = (rings[1:, :, 1] + rings[:-1, :, 1]) / 2
    density = 1 - 0.5 * np.clip((-0.07 - height) / 0.06, 0, 1)
    length = np.concatenate([np.zeros((1, rings.shape[1])), np.cumsum(np.linalg.norm(step, axis=2) * density, 0)])
    target = np.linspace(0, 1, rings.shape[0])[:, None] * length[-1]
    above = np.clip((length[None] <= target[:, None]).sum(1), 1, rings.shape[0] - 1)
    low = np.take_along_axis(length, above - 1, 0)
    share = (target - low) / np.maximum(np.take_along_axis(length, above, 0) - low, 1e-12)
    start = np.take_along_axis(rings, above[:, :, None] - 1, 0)
    return start + share[:, :, None] * (np.take_along_axis(rings, above[:, :, None], 0) - start)
