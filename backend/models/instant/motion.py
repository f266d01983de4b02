"""The animation: a driver's face to a motion code, and the code to each Gaussian by its own motion basis. No head model is asked.

Of both nets the text says what goes in and out; what is inside is ours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import FOCAL

from .config import InstantConfig
from .head_frame import face_of

CELLS = 4
"""The picture is averaged over so many cells along each side before the code: where something moves counts."""

START = 4.0
"""Drivers must move something from the first step: with torch's own first weights a code changes appearances by a hundredth, and
hundreds of steps later still (tried: driven and undriven pictures equally far from the truth, to 0.01 dB)."""


class MotionEncoder(nn.Module):
    """A face's square picture to its motion code, by strided convolutions."""

    def __init__(self, config: InstantConfig) -> None:
        super().__init__()
        hidden = config.hidden
        widths = (3, hidden // 2, hidden, 2 * hidden, 2 * hidden)
        self.side = config.driver
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for width in widths[1:])
        last = nn.Linear(2 * hidden, config.code)
        with torch.no_grad():
            last.weight.mul_(START)
        self.read = nn.Sequential(nn.Linear(widths[-1] * CELLS**2, 2 * hidden), nn.SiLU(), last)

    def forward(self, face: Float[Tensor, "b 3 d d"]) -> Float[Tensor, "b k"]:
        """
        Args:
            face: `face_picture`, 0..1.
        """
        image = face - 0.5
        for conv, norm in zip(self.convs, self.norms, strict=True):
            image = functional.silu(norm(conv(image)))
        return self.read(functional.adaptive_avg_pool2d(image, CELLS).flatten(1))


class LocalFusion(nn.Module):
    """What a motion code adds to each Gaussian's appearance: a function of its own basis and the code alone, no attention.

    The code weighs the basis, channel by channel, and a perceptron without biases makes a change of appearance of it; so a
    Gaussian whose basis is zero stands still, whatever the driver does.
    """

    def __init__(self, config: InstantConfig) -> None:
        super().__init__()
        self.weigh = nn.Linear(config.code, config.basis)
        self.change = nn.Sequential(
            nn.Linear(config.basis, config.hidden, bias=False), nn.SiLU(), nn.Linear(config.hidden, config.basis, bias=False)
        )
        nn.init.orthogonal_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)
        nn.init.kaiming_normal_(self.change[0].weight, nonlinearity="relu")  # pyright: ignore[reportArgumentType]
        nn.init.kaiming_normal_(self.change[2].weight, nonlinearity="linear")  # pyright: ignore[reportArgumentType]

    def forward(self, basis: Float[Tensor, "b n m"], code: Float[Tensor, "b k"]) -> Float[Tensor, "b n m"]:
        return self.change(basis * self.weigh(code)[:, None])


def face_picture(
    image: Float[Tensor, "b 3 s s"], camera: Float[Tensor, "b 3 4"], ball: Float[Tensor, "2 3"], side: int, jitter: float = 0.0
) -> Float[Tensor, "b 3 d d"]:
    """The face's square of a picture that was taken by a camera of the skull's frame; black beyond the picture.

    Args:
        side: of the result, pixels.
        jitter: the square is shifted and scaled at random by up to this share of itself: trackers are not exact.
    """
    centre, reach = face_square(camera, ball)
    if jitter:
        noise = jitter * (2 * torch.rand(len(image), 3, device=image.device) - 1)
        centre, reach = centre + noise[:, :2] * reach[:, None], reach * (1 + noise[:, 2])
    line = (torch.arange(side, device=image.device, dtype=image.dtype) + 0.5) / side * 2 - 1
    x, y = torch.meshgrid(line, line, indexing="xy")
    place = centre[:, None, None] + reach[:, None, None, None] * torch.stack([x, y], -1)
    # Wide squares on few pixels are averaged by first bringing the picture near the size that they have in it.
    scale = float(side / (reach.mean() * image.shape[-1]))
    if scale < 0.75:
        smaller = max(side, round(scale * image.shape[-1]))
        image = functional.interpolate(image, (smaller, smaller), mode="bilinear", antialias=True)
    return functional.grid_sample(image, place, mode="bilinear", padding_mode="zeros", align_corners=False)


def face_square(camera: Float[Tensor, "b 3 4"], ball: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, "b 2"], Float[Tensor, " b"]]:
    """Middle of the face's square (x right, y down, the picture is -1..1) and half its side."""
    face, width = face_of(ball)
    seen = (face @ camera[:, :, :3].to(face.dtype)) + camera[:, :, 3]
    depth = seen[:, 2].clamp_min(1e-3)
    return -FOCAL * seen[:, :2] / depth[:, None], FOCAL * width / 2 / depth
