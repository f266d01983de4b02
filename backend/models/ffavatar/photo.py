"""A portrait as FFAvatar sees it: a square about the detected face, the person on black. No landmark is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backend.models.networks import FOCAL
from backend.models.networks.photo import opencv_pose
from backend.models.projection.view import View
from backend.protocol.avatar import Driver
from backend.tracking.portrait import Portrait

from .rig_estimator import RigEstimate


@dataclass(frozen=True)
class Crop:
    """One portrait for the network.

    Attributes:
        image: [1, 3, s, s] the person on black, 0..1. matte: [1, 1, s, s].
        box: x0, y0, x1, y1 of the square in the portrait, pixels. size: width and height of the portrait.
    """

    image: Float[Tensor, "1 3 s s"]
    matte: Float[Tensor, "1 1 s s"]
    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @staticmethod
    def of(portrait: Portrait) -> Crop:
        """Crop the portrait about the face's box and take its background away."""
        height, width = portrait.image.shape[:2]
        anywhere = Driver({}, np.zeros((1, 3), np.float32), np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), (width, height))
        view = View.of(portrait, anywhere)  # its camera is not read
        picture = np.clip(view.foreground * view.matte[..., None], 0, 1).astype(np.float32)
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
        return Crop(image, torch.from_numpy(view.matte)[None, None], view.box, (width, height))

    def driver(self, estimate: RigEstimate, names: tuple[str, ...]) -> Driver:
        """How the rig stands in the portrait, with the network's long lens over its square.

        Args:
            estimate: of this picture alone (a batch of one). names: of the rig's expressions.
        """
        x0, y0, x1, y1 = self.box
        focal = FOCAL * (x1 - x0) / 2
        intrinsics = np.array([[focal, 0, (x0 + x1) / 2], [0, focal, (y0 + y1) / 2], [0, 0, 1]], np.float32)
        values = estimate.expression[0].tolist()
        pose = np.ascontiguousarray(estimate.pose[0].cpu().numpy(), np.float32)
        return Driver(dict(zip(names, values, strict=True)), pose, opencv_pose(estimate.camera[0]), intrinsics, self.size)
