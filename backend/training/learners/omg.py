"""OMG-Avatar under training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from backend.models.networks import METRE
from backend.models.omg import OMGAvatar, OMGConfig
from backend.models.omg.posing import PosedHead
from backend.rig import Rig

from ..config import TrainingConfig
from ..data.batch import Batch, TensorViews
from ..errors import TrainingError
from ..losses import Drawn
from .learner import Learner
from .starting import encoder_of, refiner_of, token_width


class OmgLearner(Learner):
    """OMG-Avatar on any rig."""

    network: OMGAvatar

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        model = config.model
        sizes = OMGConfig(
            vertices=len(rig.template), dim=model.dim, layers=model.layers, levels=model.levels, heads=model.heads,
            feedforward=model.feedforward, token_dim=token_width(model.encoder), hidden=model.hidden, size=config.size,
        )  # fmt: skip
        encoder, refiner = encoder_of(config), refiner_of(config)
        self.network = OMGAvatar(sizes, rig.faces, encoder, refiner, model.picture)
        _set_dropout(self.network.transformer, model.dropout)
        self.posed = PosedHead.of_rig(rig)
        self.counts = rig.shape_basis.shape[2], len(rig.expression_names)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """Drive the first photo as the target is driven, seen by the target's camera."""
        if len(batch.sources) != 1:
            raise TrainingError(f"OMG-Avatar takes one photo, not {len(batch.sources)}", "set photos = [1, 1] in the stages")
        source, target = batch.sources[0], batch.target
        drive = self._pose(target)
        frame = self.network(source.image, source.camera, self._pose(source), drive, target.camera, level, source.matte)
        return Drawn(frame.coarse, frame.refined, frame.offsets)

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        parts = (net.base_dino_model, net.transformer, net.gs_generator_offset, net.gs_shoulder_generator, net.upsampler)
        return [*parts, *net.gs_head_generators]

    def _pose(self, views: TensorViews) -> Callable[[Tensor | None], Tensor]:
        """The rig as in a view; what its coefficients cannot say of the known vertices is added as it is."""
        shape, expression = (
            nn.functional.pad(values, (0, count - values.shape[1]))
            for values, count in zip((views.shape, views.expression), self.counts, strict=True)
        )
        coefficients = torch.cat([shape, expression], 1)
        rest = METRE * views.vertices - self.posed(coefficients, views.pose)
        return lambda offsets: self.posed(coefficients, views.pose, offsets) + rest


def _set_dropout(module: nn.Module, share: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = share
        elif isinstance(part, nn.Dropout):
            part.p = share
