"""FFAvatar under training: photos and driver are seen only as pixels; what the set knows of the rig supervises what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.ffavatar import FFAvatarNetwork, FFConfig, RigEstimate
from backend.models.ffavatar.config import ENCODERS
from backend.models.networks import METRE
from backend.models.omg.sampling import project
from backend.rig import Rig

from ..config import TrainingConfig
from ..data.batch import Batch, TensorViews
from ..errors import TrainingError
from ..losses import Drawn
from .learner import Learner
from .starting import load_dino, token_width

TURN = 0.2
"""Weight of the camera's rotation in the rig's loss, per element of its matrix; places count per world unit and half picture."""


class FFAvatarLearner(Learner):
    """FFAvatar on any rig, any number of photos."""

    network: FFAvatarNetwork

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        model = config.model
        token_width(model.encoder)
        try:
            sizes = FFConfig.of_rig(
                rig, dim=model.dim, layers=model.layers, heads=model.heads, feedforward=model.feedforward, hidden=model.hidden,
                levels=model.levels, anchors=model.anchors, encoder=ENCODERS.index(model.encoder), picture=model.picture,
            )  # fmt: skip
        except ValueError as error:
            raise TrainingError(f"model: {error}", "correct the sizes") from error
        self.network = FFAvatarNetwork(sizes, rig)
        if model.encoder != "tiny":
            load_dino(self.network.encoder, config)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """Fuse the photos and draw the target twice: driven by what the set knows of it (`coarse`), which teaches the Gaussians while
        nothing can yet be read off a picture, and by what the network reads off the target's own pixels (`refined`), as at inference.
        """
        net, views = self.network, (*batch.sources, batch.target)
        glimpses = net.look(torch.cat([view.image for view in views])).split(len(views))
        identity = net.fuse(glimpses[:-1])
        read, size = glimpses[-1].rig, batch.target.image.shape[-1]
        given, found = (net.draw(identity, rig, level, size) for rig in (self._known(batch.target, read), read))
        errors = [self.rig_error(glimpse.rig, view) for glimpse, view in zip(glimpses, views, strict=True)]
        return Drawn(given, found, identity.offsets, rig=torch.stack(errors).mean())

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        return [net.encoder, net.memory, net.former]

    def rig_error(self, read: RigEstimate, view: TensorViews) -> Float[Tensor, ""]:
        """How far the rig that was read off a picture stands from the known one: vertices in space (world units) and in the picture
        (half pictures), and the camera's turn. Vertices, not coefficients: sets may know fewer of these than the rig has.
        """
        vertices, known = self.network.stands(read), METRE * view.vertices
        in_space = (vertices - known).norm(dim=-1).mean()
        in_picture = (project(vertices, read.camera) - project(known, view.camera))[..., :2].norm(dim=-1).mean()
        turn = (read.camera[..., :3] - view.camera[..., :3]).abs().mean()
        return in_space + in_picture + TURN * turn

    def _known(self, view: TensorViews, like: RigEstimate) -> RigEstimate:
        expression = functional.pad(view.expression, (0, like.expression.shape[1] - view.expression.shape[1]))
        return replace(like, expression=expression, pose=view.pose, camera=view.camera)
