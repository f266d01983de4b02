"""Networks that can be trained, one file each, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backend.models.networks import check_state
from backend.models.omg.checkpoint import GEOMETRY, TRAINING_ONLY
from backend.rig import Rig
from backend.weights.store import read_state

from ..config import TrainingConfig
from ..errors import TrainingError
from .ffavatar import FFAvatarLearner
from .gagavatar import GagavatarLearner
from .instant import InstantLearner
from .learner import Learner, half_precision
from .omg import OmgLearner

__all__ = ["MODELS", "FFAvatarLearner", "GagavatarLearner", "InstantLearner", "Learner", "OmgLearner", "half_precision", "make_learner"]

MODELS: dict[str, Callable[[TrainingConfig, Rig], Learner]] = {
    "omg": OmgLearner, "gagavatar": GagavatarLearner, "ffavatar": FFAvatarLearner, "instant": InstantLearner,
}  # fmt: skip


def make_learner(config: TrainingConfig, rig: Rig) -> Learner:
    """The network of a configuration, with its starting weights.

    Raises:
        TrainingError: no such network, or sizes that do not fit. WeightsError: weights that are missing or another network's.
    """
    if config.model.name not in MODELS:
        raise TrainingError(f"no network {config.model.name!r} can be trained", f"choose one of: {', '.join(MODELS)}")
    learner = MODELS[config.model.name](config, rig)
    if config.model.weights:
        path = Path(config.model.weights)
        carried = (*TRAINING_ONLY, *GEOMETRY)  # of the released and the kept checkpoints; what the loss needs of it, it reads itself
        state = {key: value for key, value in read_state(path).items() if not key.startswith(carried)}
        check_state(learner.network, state, path.name)
        learner.network.load_state_dict(state)
    return learner
