"""A refiner whose truth is known, and its avatar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.protocol.avatar import SH_C0, Avatar
from backend.protocol.color_basis import ColorBasis
from backend.splats.camera import Camera, portrait_camera
from backend.splats.posed import Posable
from backend.splats.render import render_splats
from tests.synthetic import synthetic_rig, synthetic_splats

SIZE = 64


class KnownRefiner:
    """Draws the finest level in colours that are known: other ones than the avatar's, and following smile, blink and jaw."""

    name = "known"

    def __init__(self, avatar: Avatar, plain: bool = False) -> None:
        finest = avatar.lods[-1]
        x, y, _ = (finest.position / 0.1).T
        mouth = np.exp(-((x / 0.4) ** 2 + ((y + 0.5) / 0.3) ** 2))[:, None]
        eyes = np.exp(-(((np.abs(x) - 0.3) / 0.25) ** 2 + ((y - 0.3) / 0.2) ** 2))[:, None] * (x > 0)[:, None]
        patterns = np.stack([mouth * [0.3, -0.1, -0.1], eyes * [-0.25, -0.2, 0.1], mouth * [-0.3, -0.3, -0.3]], 1) / SH_C0
        sh = finest.sh + (0.15 * np.sin(9 * x + 7 * y) / SH_C0)[:, None, None]
        truth = replace(finest, sh=sh.astype(np.float32), patterns=patterns.astype(np.float32))
        basis = ColorBasis(("mouthSmile", "eyeBlinkLeft", "jaw.x"), np.diag([1, 1, 3]).astype(np.float32))
        self.truth = avatar if plain else replace(avatar, lods=(*avatar.lods[:-1], truth), color_basis=basis)
        self.posable = Posable(self.truth, len(avatar.lods) - 1)

    def refine(self, avatar, lod, yaw, pitch, expression=None, pose=None):
        return render_splats(self.posable.pose(expression, pose), self.refined_camera(avatar, yaw, pitch), (0, 0, 0))[0]

    def refined_camera(self, avatar, yaw, pitch) -> Camera:
        return portrait_camera(self.truth, yaw, pitch, SIZE)


@pytest.fixture(scope="package")
def avatar() -> Avatar:
    rig = synthetic_rig(28, 20)
    lods = (synthetic_splats(rig, 1), synthetic_splats(rig, 3))
    nothing = type(lods[0])(*(getattr(lods[0], name)[:0] for name in type(lods[0]).__dataclass_fields__))
    return Avatar(rig, lods, nothing, (), {"name": "known", "model": "known"}, {"known.features": np.zeros(3, np.float16)})


@pytest.fixture(scope="package")
def refiner(avatar) -> KnownRefiner:
    return KnownRefiner(avatar)


@pytest.fixture(scope="package")
def plain_refiner(avatar) -> KnownRefiner:
    """Draws the avatar as it is."""
    return KnownRefiner(avatar, plain=True)
