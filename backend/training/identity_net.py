"""Identity features for CSIM: the improved residual nets of ArcFace (Deng et al. 2019) in InsightFace's parameter layout.

The user brings the weights (arcface_torch's backbone.pth, any depth); the sizes are read off them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks.state import check_state
from backend.protocol.avatar import F32
from backend.protocol.errors import WeightsError
from backend.weights.store import present, read_state, weights_path

SIDE = 112
# Where eyes, nose and mouth corners lie in the picture that ArcFace is trained on, pixels of 112.
_PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_LANDMARKS = ((468,), (473,), (4,), (61,), (291,))
_WIDTHS = (64, 128, 256, 512)


class IdentityNet(nn.Module):
    """A face of 112 pixels to 512 features whose cosine tells people apart."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=1e-5)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for index, (width, depth) in enumerate(zip(_WIDTHS, depths, strict=True), 1):
            blocks = [_Block(inputs if i == 0 else width, width, 2 if i == 0 else 1) for i in range(depth)]
            self.add_module(f"layer{index}", nn.Sequential(*blocks))
            inputs = width
        self.bn2 = nn.BatchNorm2d(512, eps=1e-5)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512, eps=1e-5)

    def forward(self, image: Float[Tensor, "b 3 112 112"]) -> Float[Tensor, "b 512"]:
        """Unit-length features of aligned faces 0..1."""
        x = self.prelu(self.bn1(self.conv1(2 * image - 1)))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return functional.normalize(self.features(self.fc(self.bn2(x).flatten(1))), dim=1)


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, eps=1e-5)
        self.conv1 = nn.Conv2d(inputs, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-5)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps=1e-5)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width, eps=1e-5))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return out + (x if self.downsample is None else self.downsample(x))


def identity_net(weights: Mapping[str, Tensor]) -> IdentityNet:
    """The net of a state dict.

    Raises:
        WeightsError: another network's weights.
    """
    depths = tuple(len({key.split(".")[1] for key in weights if key.startswith(f"layer{i}.")}) for i in range(1, 5))
    if min(depths) < 1 or max(depths) > 64:
        raise WeightsError("these weights are not ArcFace's iResNet", "use backbone.pth of InsightFace's arcface_torch")
    net = IdentityNet(depths)
    check_state(net, weights, "arcface")
    net.load_state_dict(dict(weights))
    return net.requires_grad_(False).eval()


def load_identity_net() -> IdentityNet | None:
    """ArcFace where the user has its weights, else None."""
    return identity_net(read_state(weights_path("arcface"))) if present("arcface") is not None else None


def aligned_face(image: F32, landmarks: F32) -> Float[Tensor, "1 3 112 112"]:
    """The face of a picture [H, W, 3] where ArcFace expects it, by its MediaPipe landmarks [478, 3]."""
    import cv2

    points = np.stack([landmarks[list(index), :2].mean(0) for index in _LANDMARKS])
    matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float32), _PLACES.astype(np.float32), method=cv2.LMEDS)
    face = cv2.warpAffine(image.astype(np.float32), matrix, (SIDE, SIDE), flags=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1)))[None]
