"""GAGAvatar's perceptual loss: AlexNet and VGG-face features (Zhang et al. 2018, LPIPS without its learnt weights).

Its weights are part of the released checkpoint. Only training needs them: `GAGAvatarNetwork` is made with or without.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks.dpt import IMAGENET_MEAN, IMAGENET_STD

VGG_FACE_MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)
"""RGB in 0..255."""
LAYER_WEIGHTS = (0.1, 0.1, 1.0, 1.0, 1.0)
VGG_SHARE = 0.5
_VGG_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # 0: halve the size
_VGG_KEPT = (1, 6, 11, 18, 25)


class FacePerceptualLoss(nn.Module):
    """L1 between unit-length features of two pictures, summed over channels and averaged over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.vggface = VGGFace()
        self.net = AlexNetSlices()

    def forward(self, got: Float[Tensor, "b 3 h w"], expected: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """The loss of pictures 0..1."""
        return self.distance(self.features(got), self.features(expected))

    def features(self, image: Float[Tensor, "b 3 h w"]) -> list[list[Float[Tensor, "b c y x"]]]:
        """What both nets see: five maps each, AlexNet's first."""
        return [self.net(image), self.vggface(image)]

    def distance(self, got: list[list[Tensor]], expected: list[list[Tensor]]) -> Float[Tensor, ""]:
        """The loss of two pictures' features."""
        terms = [
            weight * share * (unit_length(a) - unit_length(b)).abs().sum(1).mean()
            for share, maps in zip((1.0, VGG_SHARE), zip(got, expected, strict=True), strict=True)
            for weight, a, b in zip(LAYER_WEIGHTS, *maps, strict=True)
        ]
        return torch.stack(terms).sum()


def unit_length(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each pixel's feature divided by its length."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


class AlexNetSlices(nn.Module):
    """Krizhevsky et al. 2012's features after each of the five activations; names as in LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        self.slice1 = nn.Sequential()
        self.slice1.add_module("0", nn.Conv2d(3, 64, 11, 4, 2))
        for slice_, index, conv in (
            ("slice2", "3", nn.Conv2d(64, 192, 5, padding=2)),
            ("slice3", "6", nn.Conv2d(192, 384, 3, padding=1)),
            ("slice4", "8", nn.Conv2d(384, 256, 3, padding=1)),
            ("slice5", "10", nn.Conv2d(256, 256, 3, padding=1)),
        ):
            holder = nn.Sequential()
            holder.add_module(index, conv)
            setattr(self, slice_, holder)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c y x"]]:
        mean, std = (image.new_tensor(v).reshape(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        features, kept = (image - mean) / std, []
        for i in range(1, 6):
            if i in (2, 3):
                features = functional.max_pool2d(features, 3, 2)
            features = functional.relu(getattr(self, f"slice{i}")(features))
            kept.append(features)
        return kept


class VGGFace(nn.Module):
    """VGG-16 trained on faces (Parkhi et al. 2015): relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for outputs in _VGG_WIDTHS:
            if outputs:
                layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU()]
                width = outputs
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.network = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c y x"]]:
        features = 255 * image - image.new_tensor(VGG_FACE_MEAN).reshape(3, 1, 1)
        kept = []
        for i, layer in enumerate(self.network):
            features = layer(features)
            if i in _VGG_KEPT:
                kept.append(features)
            if i == _VGG_KEPT[-1]:
                break  # the last convolutions are in the checkpoint, but nothing reads them
        return kept
