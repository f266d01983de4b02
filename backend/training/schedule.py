"""Which stage, level of detail, number of photos and learning rate a step has: functions of the step and the seed alone."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from .config import Stage, TrainingConfig

_LEVEL, _PHOTOS = 11, 12


class Plan:
    """A training's course.

    OMG-Avatar: no subdivision in the first tenth, one up to three tenths, then 10, 20 and 70 % of levels 0, 1 and 2 (supplement,
    sec. 8.2). FFAvatar: monocular, then multi-view, then one person. Both are lists of stages.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        ends = [round(config.steps * share) for share in accumulate(stage.share for stage in config.stages)]
        self._ends = [*ends[:-1], config.steps]

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return next((s for s, end in zip(self.config.stages, self._ends, strict=True) if step < end), self.config.stages[-1])

    def level(self, step: int) -> int:
        """Level of detail of a step, the same in all processes."""
        levels = self.stage(step).levels
        rng = np.random.default_rng([self.config.seed, step, _LEVEL])
        names = sorted(levels, key=int)
        return int(names[int(rng.choice(len(names), p=[levels[name] for name in names]))])

    def sample(self, step: int) -> tuple[str, int]:
        """The set's name and the number of photos of a step's samples."""
        stage = self.stage(step)
        rng = np.random.default_rng([self.config.seed, step, _PHOTOS])
        return stage.data, int(rng.integers(stage.photos[0], stage.photos[1] + 1))

    def rate(self, step: int) -> float:
        """Factor of the learning rate."""
        optimiser = self.config.optimiser
        rise = min(1.0, (step + 1) / (optimiser.warm_up + 1))
        fall = 1 - (1 - optimiser.end) * min(1.0, step / self.config.steps)
        return rise * fall * self.stage(step).rate
