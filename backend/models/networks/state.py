"""Loading a state dict so that a mismatch names its key."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from backend.protocol.errors import WeightsError


def check_state(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Compare names and shapes with a module's, so that a mismatch is told by its key.

    Raises:
        WeightsError: a key is missing, unknown, or of another shape.
    """
    own = module.state_dict()
    remedy = "these are the weights of another model or version; see: lookalike models"
    for key, tensor in own.items():
        if key not in weights:
            missing = sum(k not in weights for k in own)
            raise WeightsError(f"{source}: {key} is missing ({missing} of {len(own)} tensors are)", remedy)
        if tuple(weights[key].shape) != tuple(tensor.shape):
            raise WeightsError(f"{source}: {key} has shape {tuple(weights[key].shape)}, expected {tuple(tensor.shape)}", remedy)
    unknown = [key for key in weights if key not in own]
    if unknown:
        raise WeightsError(f"{source}: {unknown[0]} is not part of this model ({len(unknown)} such tensors)", remedy)
