"""What goes wrong in training."""

from __future__ import annotations

from backend.protocol.errors import LookalikeError


class TrainingError(LookalikeError):
    """A configuration, a checkpoint or a run that cannot go on."""

    code = "training"
