"""What stands between the encoder and the avatar's branches while a network is adapted, and is dropped afterwards.

`Registers` is the paper's module: it learns one embedding for each vertex of the rig, draws the visible ones into the driving
view's feature plane and adds them, encoded, to the source picture's features (sec. 3.3, eq. 6 and 7). The others are what its
ablation compares with (tab. 1). All take and give features [b, c, h, w], so the loop knows one kind of thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .register_grid import BACKGROUND, RegisterGrid

EMBEDDING, FEATURES = 512, 256
ENCODER_CHANNELS = (512, 512, 256)


class Bridge(nn.Module):
    """Passes features on as they are: plain LoRA."""

    def forward(self, features: Float[Tensor, "b c h w"], grids: Sequence[RegisterGrid]) -> Float[Tensor, "b c h w"]:
        """Source features, and where the registers stand in each driving view."""
        return features


class GaussianNoise(Bridge):
    """Adds new unit noise at each call (tab. 1 a)."""

    def forward(self, features: Float[Tensor, "b c h w"], grids: Sequence[RegisterGrid]) -> Float[Tensor, "b c h w"]:
        return features + torch.randn_like(features)


class LearnableEmbedding(Bridge):
    """Adds one learnt plane, the same in every view: ViT's registers carried over directly (tab. 1 b)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.plane = nn.Parameter(nn.init.xavier_normal_(torch.empty(channels, size * size)).reshape(channels, size, size))

    def forward(self, features: Float[Tensor, "b c h w"], grids: Sequence[RegisterGrid]) -> Float[Tensor, "b c h w"]:
        return features + self.plane


class Registers(Bridge):
    """The Register Module. Parameter names are those of the released files.

    Args:
        vertex_count: of the rig's mesh subdivided once (20,018 on FLAME).
        embedding: D, channels of a register.
        features: channels of the feature plane.
        encoder: channels of the first encoder's inner layers.
    """

    def __init__(
        self, vertex_count: int, embedding: int = EMBEDDING, features: int = FEATURES, encoder: tuple[int, ...] = ENCODER_CHANNELS
    ) -> None:
        super().__init__()
        self.vertex_count = vertex_count
        # One row more than vertices, as released: its lists of visible vertices are padded with that index.
        self.embeddings = nn.Embedding(vertex_count + 1, embedding)
        nn.init.xavier_normal_(self.embeddings.weight)
        self.filler_embedding = nn.Parameter(torch.randn(embedding))
        self.convert_convnet = _ConvNet((embedding, *encoder, features))
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.ReLU()]
        self.output_processing = nn.Sequential(*layers, nn.Conv2d(features, features, 1))

    @property
    def registers(self) -> Float[Tensor, "n d"]:
        """The embeddings that stand on vertices."""
        return self.embeddings.weight[: self.vertex_count]

    def plane(self, grid: RegisterGrid) -> Float[Tensor, "d h w"]:
        """The registers drawn into one view (eq. 4 and 5)."""
        weight = self.embeddings.weight
        to = lambda array: torch.as_tensor(array, device=weight.device)
        index, share = to(grid.registers), to(grid.weights)
        drawn = functional.embedding_bag(index.clamp(min=0), weight, mode="sum", per_sample_weights=share * (index >= 0))
        drawn = drawn + (share * (index == BACKGROUND)).sum(1, keepdim=True) * self.filler_embedding
        plane = self.filler_embedding.expand(grid.size**2, -1).index_copy(0, to(grid.pixels), drawn)
        return plane.T.unflatten(1, (grid.size, grid.size))

    def encode(self, grids: Sequence[RegisterGrid]) -> Float[Tensor, "b c h w"]:
        """The first encoder's output f_proc-1 (eq. 6)."""
        return self.convert_convnet(torch.stack([self.plane(grid) for grid in grids]))

    def forward(self, features: Float[Tensor, "b c h w"], grids: Sequence[RegisterGrid]) -> Float[Tensor, "b c h w"]:
        """f_reg (eq. 7)."""
        return self.output_processing(features + self.encode(grids))


class _ConvNet(nn.Module):
    """3x3 convolutions, each with batch normalisation and ReLU.

    The statistics are those of the batch while adapting, as released (L8); they are not needed afterwards.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers)

    def forward(self, plane: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h w"]:
        return self.net(plane)
