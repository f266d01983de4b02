"""Instant Expressive Gaussian Head Avatar under training: a teacher's frames are distilled into the network.

The teacher is whatever made the frames: a folder of videos, one person each, that a two-dimensional diffusion model animated
(the paper), or drawn heads. A sample is two frames of one person: the first is the photo, the second drives and is the truth.
That the driver is the truth's own picture, with other colours and another background, is our choice; the text does not say.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.instant import InstantAvatar, InstantConfig
from backend.models.instant.head_frame import SkullFrame
from backend.models.instant.motion import face_picture
from backend.models.instant.rig_codes import coefficients_of
from backend.models.networks import METRE
from backend.rig import Rig

from ..config import TrainingConfig
from ..data.batch import Batch, TensorViews
from ..errors import TrainingError
from ..losses import Drawn
from .learner import Learner
from .starting import encoder_of, token_width

SHIFT = 0.05
"""Share of the face's square by which it is shifted and scaled at random in training."""
GAIN, OFFSET = 0.3, 0.1
"""Of a driver's colours, at random: what the person looks like must not be in the code."""
PLAIN = 0.25
"""How often a driver stands on black in training, as when it is matted; else on a random colour."""


class InstantLearner(Learner):
    """Instant Expressive on any rig; the rig only says where the skull is, and which sliders a code is worth."""

    network: InstantAvatar

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        model = config.model
        sizes = InstantConfig(
            planes=model.planes, basis=model.basis, rays=model.rays, levels=model.levels, code=model.code, driver=model.driver,
            dim=model.dim, layers=model.layers, heads=model.heads, feedforward=model.feedforward,
            token_dim=token_width(model.encoder), hidden=model.hidden, size=config.size,
        )  # fmt: skip
        check_sizes(sizes)
        self.frame = SkullFrame(rig)
        joints = len(rig.joint_names) - 2
        self.network = InstantAvatar(sizes, len(rig.expression_names) + 3 * joints, encoder_of(config), model.picture)
        self.network.ball.copy_(self.frame.ball)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """Drive the photo by the target's own face, seen by the target's camera."""
        if len(batch.sources) != 1:
            raise TrainingError(f"Instant takes one photo, not {len(batch.sources)}", "set photos = [1, 1] in the stages")
        source, target = batch.sources[0], batch.target
        here, there = self._camera(source), self._camera(target)
        own, driver = self._code(source, here), self._code(target, there)
        if self.training:
            self.network.rig_codes.observe(self._coefficients(target), driver)
        return Drawn(self.network(source.image, here, own, driver, there, level, jitter=self.training))

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        return [net.encoder, net.lifter, net.motion]

    def _camera(self, views: TensorViews) -> Float[Tensor, "b 3 4"]:
        return self.frame.camera(views.camera, METRE * views.vertices)

    def _code(self, views: TensorViews, camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b k"]:
        if not self.training:
            return self.network.code(views.image, camera)
        ball, side = self.network.ball, self.network.config.driver
        pictures = torch.cat([disguised(views.image), views.matte], 1)
        face = face_picture(pictures, camera, ball, side, SHIFT)
        return self.network.motion(on_other_ground(face[:, :3], face[:, 3:]))

    def _coefficients(self, views: TensorViews) -> Float[Tensor, "b e"]:
        given = coefficients_of(views.expression, views.pose)
        return functional.pad(given, (0, self.network.rig_codes.coefficients - given.shape[1]))


def check_sizes(sizes: InstantConfig) -> None:
    """That a network of these sizes can be made.

    Raises:
        TrainingError: names the key.
    """
    problems = []
    if sizes.planes < 8 or sizes.planes % 8:
        problems.append("model.planes must be a multiple of 8")
    if sizes.rays % (1 << sizes.levels) or sizes.rays < 4 << sizes.levels:
        problems.append(f"model.rays must be a multiple of {1 << sizes.levels} and at least {4 << sizes.levels}")
    if sizes.dim % sizes.heads or sizes.dim % 16:
        problems.append("model.dim must be a multiple of 16 and of model.heads")
    if sizes.hidden % 8:
        problems.append("model.hidden must be a multiple of 8")
    if min(sizes.basis, sizes.code, sizes.layers) < 1 or sizes.driver < 32:
        problems.append("model.basis, code and layers must be at least 1, driver at least 32")
    if problems:
        raise TrainingError("; ".join(problems), "correct it")


def disguised(image: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
    """Other colours, at random, channel by channel."""
    noise = lambda reach: reach * (2 * torch.rand(len(image), 3, 1, 1, device=image.device) - 1)
    return (image * (1 + noise(GAIN)) + noise(OFFSET)).clamp(0, 1)


def on_other_ground(face: Float[Tensor, "b 3 d d"], matte: Float[Tensor, "b 1 d d"]) -> Float[Tensor, "b 3 d d"]:
    """Another background, at random: one colour, or black."""
    color = torch.rand(len(face), 3, 1, 1, device=face.device)
    color = color * (torch.rand(len(face), 1, 1, 1, device=face.device) > PLAIN)
    return face * matte + color * (1 - matte)
