"""Perceptual measures by the user's weights: GAGAvatar's loss, and LPIPS (Zhang et al. 2018) for held-out pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.gagavatar.perceptual import LAYER_WEIGHTS, AlexNetSlices, FacePerceptualLoss, unit_length
from backend.models.networks.state import check_state
from backend.protocol.errors import WeightsError
from backend.weights.store import present, read_state, weights_path

_TORCHVISION = {
    "features.0": "slice1.0",
    "features.3": "slice2.3",
    "features.6": "slice3.6",
    "features.8": "slice4.8",
    "features.10": "slice5.10",
}
_IN_GAGAVATAR = "percep_loss."
_LIN = "lin{}.model.1.weight"


class FeatureLoss(nn.Module):
    """GAGAvatar's perceptual loss without VGG-face, which only its checkpoint has."""

    def __init__(self, alex: AlexNetSlices) -> None:
        super().__init__()
        self.alex = alex

    def forward(self, got: Float[Tensor, "b 3 h w"], expected: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        with torch.no_grad():
            wanted = self.alex(expected)
        found = zip(LAYER_WEIGHTS, self.alex(got), wanted, strict=True)
        return torch.stack([weight * (unit_length(a) - unit_length(b)).abs().sum(1).mean() for weight, a, b in found]).sum()


class LPIPS(nn.Module):
    """Learned perceptual distance, version 0.1 with AlexNet; lower is nearer.

    Args:
        alex: AlexNet. weights: LPIPS' own alex.pth.
    Raises:
        WeightsError: other weights.
    """

    def __init__(self, alex: AlexNetSlices, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.alex = alex
        for index in range(5):
            if _LIN.format(index) not in weights:
                raise WeightsError(f"LPIPS: {_LIN.format(index)} is missing", "use alex.pth of lpips/weights/v0.1")
            self.register_buffer(f"weight{index}", weights[_LIN.format(index)].float(), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, got: Float[Tensor, "b 3 h w"], expected: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Distances of pictures 0..1."""
        total = torch.zeros(len(got), device=got.device)
        for index, (a, b) in enumerate(zip(self.alex(got), self.alex(expected), strict=True)):
            difference = (unit_length(a) - unit_length(b)).square()
            total = total + functional.conv2d(difference, self.get_buffer(f"weight{index}")).mean((1, 2, 3))
        return total


def load_alexnet() -> AlexNetSlices:
    """AlexNet from the models folder.

    Raises:
        WeightsError: not there; says what to type.
    """
    net, path = AlexNetSlices(), weights_path("alexnet")
    state = {}
    for key, value in read_state(path).items():
        layer, _, kind = key.rpartition(".")
        if layer in _TORCHVISION:
            state[f"{_TORCHVISION[layer]}.{kind}"] = value
    check_state(net, state, path.name)
    net.load_state_dict(state)
    return net.requires_grad_(False).eval()


def load_perceptual_loss() -> nn.Module:
    """GAGAvatar's own, with VGG-face, where its checkpoint is there; else AlexNet's part of it.

    Raises:
        WeightsError: neither is there.
    """
    if present("gagavatar") is None:
        return FeatureLoss(load_alexnet())
    loss = FacePerceptualLoss()
    state = read_state(weights_path("gagavatar"))
    own = {key.removeprefix(_IN_GAGAVATAR): value for key, value in state.items() if key.startswith(_IN_GAGAVATAR)}
    check_state(loss, own, "gagavatar")
    loss.load_state_dict(own)
    return loss.requires_grad_(False).eval()


def load_lpips() -> LPIPS | None:
    """LPIPS where both of its weights are there, else None."""
    if present("alexnet") is None or present("lpips-alex") is None:
        return None
    return LPIPS(load_alexnet(), read_state(weights_path("lpips-alex")))
