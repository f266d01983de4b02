"""GAGAvatar under training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from backend.models.gagavatar.drawing import draw as draw_gaussians
from backend.models.gagavatar.network import FLAME_VERTICES, GAGAvatarNetwork
from backend.models.networks import METRE
from backend.rig import Rig

from ..config import TrainingConfig
from ..data.batch import Batch
from ..errors import TrainingError
from ..losses import Drawn
from .learner import Learner
from .starting import load_dino, start_refiner


class GagavatarLearner(Learner):
    """GAGAvatar on FLAME."""

    network: GAGAvatarNetwork

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        if len(rig.template) != FLAME_VERTICES or config.size != 512:
            raise TrainingError("GAGAvatar is FLAME's and draws 512 pixels", "set rig to your FLAME file and size = 512, or train omg")
        self.network = GAGAvatarNetwork()
        start_refiner(self.network.upsampler)
        load_dino(self.network.base_model.dino_model, config)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """As `OmgLearner`; there is one level of detail."""
        if len(batch.sources) != 1:
            raise TrainingError(f"GAGAvatar takes one photo, not {len(batch.sources)}", "set photos = [1, 1] in the stages")
        source, target = batch.sources[0], batch.target
        gaussians = self.network.gaussians(self.network.encode(source.image), source.camera)
        lifted = gaussians.means[:, FLAME_VERTICES:]
        vertices = METRE * target.vertices
        features = draw_gaussians(gaussians.posed(vertices), target.camera)
        return Drawn(features[:, :3], self.network.refine(features), None, lifted, vertices)

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        return [net.base_model, net.gs_generator_g, net.gs_generator_l0, net.gs_generator_l1, net.upsampler]
