"""An avatar driven by another person's pictures: face -> motion code -> Gaussians -> picture. No head model is in that path;
one is fitted to tell where the face is and how the head is turned.

The driver's tracking says where the face is in the picture, and how the head is turned; expressions come from the pixels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from backend.models.networks import METRE
from backend.models.networks.photo import network_camera
from backend.protocol.avatar import F32, Avatar
from backend.rig.rig import Rig
from backend.tracking.crops import Square
from backend.tracking.motion import Motion

from .head_frame import face_of, head_ball
from .network import InstantAvatar, Points
from .reconstructor import picture_array
from .stored import CODE, feature, photo_camera, read_points

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What a drive cost.

    Attributes:
        seconds: of each frame, from the driver's face to the drawn picture; reading and tracking the driver is not in it.
        held: frames in which no face was seen: the last expression stays. level: of detail that was drawn.
        warnings: what the user should know.
    """

    level: int
    seconds: list[float] = field(default_factory=list)
    held: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames a second, by the median frame."""
        return 1 / float(np.median(self.seconds)) if self.seconds else 0.0


class Drive:
    """An avatar that follows a driver, frame by frame.

    Args:
        network: the one that made the avatar, on its device.
        avatar: of `--model instant`.
        level: of detail; coarser ones are taken where the GPU has no memory for it.
        rig: that the driver was measured with: says where on a head its face is.
        still: the head stays as it is turned in the photo; else it turns as the driver's, about its middle.

    Raises:
        RigError: an avatar of another model or network.
    """

    def __init__(self, network: InstantAvatar, avatar: Avatar, level: int, rig: Rig, still: bool = False) -> None:
        self.network, self.avatar, self.still = network, avatar, still
        self.device = network.ball.device
        self.tally = Tally(level)
        self._points = self._read(level)
        self._camera = photo_camera(avatar)
        self._code = torch.from_numpy(feature(avatar, CODE).astype(np.float32))[None].to(self.device)
        centre, side = face_of(torch.from_numpy(head_ball(rig)))
        self._face, self._side = centre.numpy() / METRE, float(side) / METRE

    def frames(self, motion: Motion, pictures: Iterable[F32]) -> Iterator[F32]:
        """[size, size, 3] 0..1 on black for each of the driver's pictures [H, W, 3], which `motion` was measured in."""
        for index, shown in zip(range(len(motion)), pictures, strict=False):
            began = time.perf_counter()
            if motion.tracked[index]:
                self._code = self.network.motion(self._cut(shown, motion, index))
            else:
                self.tally.held += 1
            drawn = self._draw(self._view(motion.world_to_camera[index]))
            self.tally.seconds.append(time.perf_counter() - began)
            yield drawn

    @torch.no_grad()
    def _draw(self, world_to_camera: F32) -> F32:
        """One picture, at the finest level that memory allows."""
        camera = network_camera(world_to_camera)[None].to(self.device)
        while True:
            try:
                return picture_array(self.network.draw(self.network.animate(self._points, self._code), camera))
            except torch.cuda.OutOfMemoryError:
                if self.tally.level == 0:
                    raise
                torch.cuda.empty_cache()
                self.tally.level -= 1
                self.tally.warnings.append(f"the GPU has no memory for level of detail {self.tally.level + 1}: drawn at {self.tally.level}")
                logger.warning(self.tally.warnings[-1])
                self._points = self._read(self.tally.level)

    def _read(self, level: int) -> Points:
        return read_points(self.avatar, level, self.network.config.basis, self.device)

    @torch.no_grad()
    def _cut(self, shown: F32, motion: Motion, index: int) -> torch.Tensor:
        """The driver's face as the motion encoder takes it: the same square of the head as in training (`face_square`)."""
        view = motion.world_to_camera[index].astype(np.float64)
        lens = motion.intrinsics[index].astype(np.float64)
        if motion.fps:  # a video is measured in smaller pictures than its own; photos may each have another size
            lens = lens * [[shown.shape[1] / motion.size[0]], [shown.shape[0] / motion.size[1]], [1]]
        seen = view[:3, :3] @ self._face + view[:3, 3]
        x, y = (lens @ seen)[:2] / seen[2]
        square = Square(float(x), float(y), float(lens[0, 0] * self._side / seen[2]))
        face = square.cut(shown, self.network.config.driver)
        return torch.from_numpy(face).permute(2, 0, 1)[None].clamp(0, 1).to(self.device)

    def _view(self, world_to_camera: F32) -> F32:
        """The photo's camera about the head's middle, turned as the driver's sees his."""
        if self.still:
            return self._camera
        middle = self.network.ball[0].cpu().numpy() / METRE
        place = self._camera[:3, :3] @ middle + self._camera[:3, 3]
        view = np.eye(4, dtype=np.float32)
        view[:3, :3] = world_to_camera[:3, :3]
        view[:3, 3] = place - world_to_camera[:3, :3] @ middle
        return view
