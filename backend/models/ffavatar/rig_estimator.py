"""The rig read off one picture's tokens: shape, expression, joints and camera, for photos and for drivers alike.

FFAvatar predicts FLAME's parameters end to end from pixels, so that nothing is tracked beforehand; the photometric loss reaches
them through the drawn picture. How its estimator is built is not in the text that we have: learned queries that attend to the
picture's tokens are ours, beside them a coarse grid of the tokens, and so are the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import FOCAL

from . import coarse_grid
from .attention import AlternatingBlock
from .coarse_grid import CoarseGrid
from .config import FFConfig

QUERIES, BLOCKS = 8, 2
USUAL_DEPTH = 12.0
"""World units between camera and head where a picture shows two fifths of a metre, as crops about a face do."""
LARGEST_TURN = 0.8
"""Radians of a joint about each axis."""
_FRONTAL = (-1.0, 1.0, -1.0)
"""Diagonal of the camera's rotation (`networks.cameras`) that looks a head in the face."""


@dataclass(frozen=True)
class RigEstimate:
    """How the rig stands in pictures.

    Attributes:
        shape: [b, s] identity as this picture alone tells it; confidence: [b, 1] its weight among other pictures, a logarithm.
        expression: [b, e]. pose: [b, j, 3] axis-angle; the root's is zero, the camera carries the head's turn.
        camera: [b, 3, 4] [R | T] for row vectors, world units.
    """

    shape: Float[Tensor, "b s"]
    confidence: Float[Tensor, "b 1"]
    expression: Float[Tensor, "b e"]
    pose: Float[Tensor, "b j 3"]
    camera: Float[Tensor, "b 3 4"]

    def split(self, count: int) -> list[RigEstimate]:
        """Equal parts of a batch."""
        parts = [getattr(self, name).chunk(count) for name in ("shape", "confidence", "expression", "pose", "camera")]
        return [RigEstimate(*part) for part in zip(*parts, strict=True)]


def shared_shape(estimates: Sequence[RigEstimate]) -> Float[Tensor, "b s"]:
    """The one identity of several pictures: the mean of what each tells, weighed by how sure it is. Their order has no part in it."""
    weights = torch.stack([e.confidence for e in estimates]).softmax(0)
    return (weights * torch.stack([e.shape for e in estimates])).sum(0)


class RigEstimator(nn.Module):
    """Tokens of one picture to the rig's parameters.

    Args:
        config: sizes.
        centre: [3] the template's middle, world units; the camera is told by where this appears.
    """

    def __init__(self, config: FFConfig, centre: Float[Tensor, " 3"]) -> None:
        super().__init__()
        self.counts = [config.shapes, 1, config.expressions, 3 * (config.joints - 1), 9]
        self.queries = nn.Parameter(0.1 * torch.randn(QUERIES, config.dim))
        self.blocks = nn.ModuleList(AlternatingBlock(config.dim, config.heads, config.feedforward) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(config.dim)
        self.grid = CoarseGrid(config.dim)
        self.inner = nn.Sequential(nn.Linear(QUERIES * config.dim + coarse_grid.WIDTH, config.feedforward), nn.GELU())
        self.out = nn.Linear(config.feedforward, sum(self.counts))
        # Starts with the mean head, seen from the front.
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("centre", centre.clone(), persistent=False)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> RigEstimate:
        """Parameters of each picture; the first token is the class token, the others a square grid, row by row."""
        found = self.queries.expand(len(tokens), -1, -1)
        for block in self.blocks:
            found = block(found, tokens)
        read = torch.cat([self.norm(found).flatten(1), self.grid(tokens)], 1)
        raw = self.out(self.inner(read)).float()
        shape, confidence, expression, turns, view = raw.split(self.counts, 1)
        pose = LARGEST_TURN * turns.unflatten(1, (-1, 3)).tanh()
        return RigEstimate(shape, confidence, expression, functional.pad(pose, (0, 0, 1, 0)), self._camera(view))

    def _camera(self, raw: Float[Tensor, "b 9"]) -> Float[Tensor, "b 3 4"]:
        """Six numbers of a rotation, then where the head's middle appears and how far away it is."""
        turn = rotation_of_six(raw[:, :6]) * raw.new_tensor(_FRONTAL)
        depth = USUAL_DEPTH * raw[:, 8:].tanh().exp()
        # Screen coordinates x right, y down; the camera's axes are x left, y up.
        place = torch.cat([-raw[:, 6:8].tanh() * depth / FOCAL, depth], 1)
        move = place - (self.get_buffer("centre") @ turn)
        return torch.cat([turn, move[..., None]], 2)


def rotation_of_six(values: Float[Tensor, "b 6"]) -> Float[Tensor, "b 3 3"]:
    """Rotations from two vectors, made orthonormal (Zhou et al. 2019, "On the continuity of rotation representations", eq. 15).

    Zeros are no turn.
    """
    first = functional.normalize(values[:, :3] + values.new_tensor([1.0, 0, 0]), dim=1)
    second = values[:, 3:] + values.new_tensor([0, 1.0, 0])
    second = functional.normalize(second - (first * second).sum(1, keepdim=True) * first, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], 1)
