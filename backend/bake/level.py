"""The splats of one level in the refined pictures: drawn with changes, compared, and written back.

Geometry is bounded as in the photometric refinement, whose splats these are; colours are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from backend.personalize.photometric_pictures import PIXEL, Picture, Target
from backend.personalize.photometric_splats import Cloud, Freedom, Posed, Unknowns
from backend.personalize.photometric_views import Seen
from backend.protocol.avatar import F32, SH_C0, Avatar, Driver, SplatArrays
from backend.protocol.color_basis import ColorBasis
from backend.splats.rasterization import rasterization

from .basis import Colors, as_patterns
from .plan import PITCH, YAW
from .shots import Shot

SEEN = 0.05
"""Pixels that a splat must fill over all frames to be changed."""
KEPT_BYTES = 1 << 30
"""Posed splats are kept up to this, and posed anew beyond."""


class BakedLevel:
    """The splats of one level, what of them may change, and the pictures that they are to become.

    Args:
        learned, held: shots to learn from and for the verdict.
        controls: names of the C controls.
        shoulders: whether these may change too; with the first level that is baked they do, as all levels share them.
        ask: called before each picture that is looked at in the beginning; may raise to end it.
    """

    def __init__(
        self,
        avatar: Avatar,
        level: int,
        learned: Sequence[Shot],
        held: Sequence[Shot],
        controls: tuple[str, ...],
        shoulders: bool,
        device: str,
        ask: Callable[[], None] = lambda: None,
    ) -> None:
        self.avatar, self.level, self.controls, self.device = avatar, level, controls, torch.device(device)
        self.head = len(avatar.lods[level])
        self._posed: dict[int, Posed] = {}
        shots = [*learned, *held]
        self.count = len(learned)
        self.pictures = [_picture(avatar, shot) for shot in shots]
        self.seen = [Seen.of(picture.full, np.zeros((3, 3), np.float32), self.device) for picture in self.pictures]
        basis = ColorBasis(controls, np.zeros((1, len(controls)), np.float32))
        rows = [basis.values(avatar.rig.joint_names, p.driver.expression, p.driver.pose) for p in self.pictures]
        self.values = torch.tensor(np.stack(rows), device=self.device)
        yaw, pitch = (np.array([getattr(s.frame, name) for s in shots], np.float32) for name in ("yaw", "pitch"))
        views = np.stack([yaw / YAW, pitch / PITCH, (yaw / YAW) ** 2], 1)
        self.views = torch.tensor(views, device=self.device)
        may = np.ones(len(avatar.splats(level)), np.float32)
        may[self.head :] = float(shoulders)
        self.cloud = self._cloud(may)
        self.rgb = torch.tensor(self.cloud.rest.rgb, device=self.device)
        plain = Colors.zero(len(may), torch.zeros(1, len(controls), device=self.device))
        shown = torch.zeros(len(may), device=self.device)
        for i in range(self.count):
            ask()
            shown += self.spread(i, self.zero(), plain)[1]
        self.free = may * (shown.cpu().numpy() > SEEN)
        self.cloud, self._posed = self._cloud(self.free), {}
        self.movable = torch.tensor(self.free, device=self.device)[:, None]

    def _cloud(self, free: F32) -> Cloud:
        nothing = np.zeros((len(self.avatar.rig.vertices), 0), np.float32)
        return Cloud(self.avatar, self.level, lambda _: Freedom(free, free, nothing), self.device)

    def zero(self) -> Unknowns:
        """Geometry as it was."""
        return Unknowns.zero(len(self.cloud.rest), 0, 0, 0, self.device)

    def posed(self, index: int) -> Posed:
        """The splats as a picture's rig moves them."""
        found = self._posed.get(index)
        if found is None:
            found = self.cloud.posed(self.pictures[index])
            if (len(self._posed) + 1) * len(self.cloud.rest) * 28 * 4 < KEPT_BYTES:
                self._posed[index] = found
        return found

    def draw(self, index: int, unknowns: Unknowns, colors: Colors) -> tuple[Tensor, Tensor]:
        """(picture [H, W, 3] on black, coverage [H, W]); differentiable."""
        position, rotation, scale, opacity, _ = self.cloud.refined(self.posed(index), unknowns, None)
        shown = (self.rgb + self.movable * colors.change(self.values[index])).clamp_min(0)
        seen, (height, width) = self.seen[index], self.seen[index].size
        image, alpha, _ = rasterization(
            position, rotation, scale, opacity, shown, seen.view[None], seen.intrinsics[None], width, height, eps2d=seen.blur
        )  # fmt: skip
        return image[0], alpha[0, ..., 0]

    def spread(self, index: int, unknowns: Unknowns, colors: Colors) -> tuple[Tensor, Tensor]:
        """What a picture's residual says of each splat's colour [N, 3], and how many pixels of it the picture shows [N]."""
        seen, (height, width) = self.seen[index], self.seen[index].size
        with torch.no_grad():
            position, rotation, scale, opacity, _ = self.cloud.refined(self.posed(index), unknowns, None)
            own = (self.rgb + colors.change(self.values[index])).clamp_min(0)
        four = torch.cat([own, torch.ones(len(own), 1, device=self.device)], 1).requires_grad_()
        camera = (seen.view[None], seen.intrinsics[None], width, height)
        image, _, _ = rasterization(position, rotation, scale, opacity, four, *camera, eps2d=seen.blur)
        residual = torch.cat([seen.image - image[0, ..., :3].detach(), torch.ones_like(image[0, ..., :1])], 2) * seen.weight[..., None]
        (gradient,) = torch.autograd.grad((image[0] * residual).sum(), four)
        share = gradient[:, 3]
        return gradient[:, :3] / share.clamp_min(1e-3)[:, None], share

    def held_out(self, unknowns: Unknowns, colors: Colors, ask: Callable[[], None]) -> float:
        """PSNR, dB, over the pixels of the held-out pictures that count. `ask` is called before each, and may raise to end it."""
        error, count = 0.0, 0.0
        with torch.no_grad():
            for index in range(self.count, len(self.pictures)):
                ask()
                image, _ = self.draw(index, unknowns, colors)
                seen = self.seen[index]
                error += float((((image.clamp(0, 1) - seen.image) ** 2).sum(2) * seen.weight).sum())
                count += 3 * float(seen.weight.sum())
        return -10 * math.log10(max(error / max(count, 1), 1e-12))

    def written(self, unknowns: Unknowns, colors: Colors) -> SplatArrays:
        """Head and shoulders at rest, changed, with their patterns; what is not free stays as it is, to the bit."""
        splats = self.cloud.written(unknowns)
        free = self.free > 0
        sh = self.cloud.rest.sh.copy()
        sh[free, 0] += colors.tint.detach().cpu().numpy()[free] / np.float32(SH_C0)
        return replace(splats, sh=sh, patterns=as_patterns(colors, self.free, SH_C0))


def _picture(avatar: Avatar, shot: Shot) -> Picture:
    camera, frame = shot.camera, shot.frame
    size = (camera.width, camera.height)
    driver = Driver(frame.expression, frame.pose(avatar.rig), camera.world_to_camera, camera.intrinsics, size)
    target = Target(shot.image, shot.matte, shot.counts.astype(np.float32), camera, PIXEL)  # type: ignore[arg-type]
    return Picture("refined", "", driver, np.zeros_like(avatar.rig.vertices), target, target)
