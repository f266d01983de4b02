"""Photometric refinement: 500 steps of LOD 1 at 512 pixels, on a head of the size that `projection` makes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from benchmarks.run import Row

STEPS, SIZE, TARGET = 500, 512, 30.0
MEASURED = 60
"""Steps that are taken; one step costs as much as another, so the rest is told by multiplication."""


def measure() -> list[Row]:
    from backend.models.interface import Silent
    from backend.models.projection.anatomy import Anatomy
    from backend.models.projection.camera import Camera
    from backend.models.projection.surface import Surface
    from backend.personalize.photometric import refine
    from backend.personalize.photometric_pictures import BACKDROP, PIXEL, Picture, Target
    from backend.protocol.avatar import SH_C0, Avatar, Driver, SplatArrays
    from backend.protocol.binding import quaternions
    from backend.rig import load_rig
    from backend.splats import orbit_camera, pose_splats, render_splats

    rig = load_rig("builtin")
    surface = Surface.of(rig.bake(rig.template)).refined()
    axes, spread, length = surface.tangent_frames()
    scale = np.concatenate([0.86 * spread, 0.12 * length[:, None]], 1).astype(np.float32) + np.float32(1e-5)
    color = 0.5 + 0.3 * np.sin(surface.position * 90 + np.arange(3))
    sh, opacity = ((color - 0.5) / SH_C0)[:, None].astype(np.float32), np.full(len(surface), 0.98, np.float32)
    splats = SplatArrays(surface.position, quaternions(axes), scale, opacity, sh, surface.face, surface.barycentric)
    none = SplatArrays(*(getattr(splats, name)[:0] for name in SplatArrays.__dataclass_fields__))
    avatar = Avatar(rig.bake(rig.template), (splats,), none)
    person = replace(avatar, lods=(replace(splats, scale=splats.scale * np.float32(1.1)),))
    view = orbit_camera(0.0, 0.0, SIZE, extent=0.3)
    driver = Driver({}, np.zeros((len(avatar.rig.joints), 3), np.float32), view.world_to_camera, view.intrinsics, (SIZE, SIZE))
    image, matte = render_splats(pose_splats(person, 0, driver), view, [BACKDROP] * 3)
    camera = Camera(view.intrinsics, view.world_to_camera, SIZE, SIZE)
    target = Target(image, matte, np.ones_like(matte), camera, PIXEL)
    picture = Picture("drawn", "", driver, np.zeros_like(avatar.rig.vertices), target, target)
    refine(avatar, Anatomy.of(rig), [picture], Silent(), 25)  # compiles
    began = time.perf_counter()
    refine(avatar, Anatomy.of(rig), [picture], Silent(), MEASURED)
    seconds = (time.perf_counter() - began) * STEPS / MEASURED
    what = f"refinement, {STEPS} steps, {len(splats)} splats, {SIZE} pixels (from {MEASURED} steps)"
    return [Row(what=what, value=seconds, unit="s", target=TARGET, against="", ratio=seconds / TARGET)]
