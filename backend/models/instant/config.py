"""What an Instant Expressive network is made of. The defaults are the paper's where its text gives a number."""

from __future__ import annotations

from dataclasses import dataclass

EXTENT = 1.35
"""World units (27 cm) from the middle of the head to each side of the cube that the planes and the rays span."""
DIRECTIONS = (0.0, 75.0, -75.0, 180.0)
"""Degrees about the vertical that rays look from: the face, both sides, the back of the head. Ours: the text does not say."""
PER_RAY = 2
"""Gaussians a ray: the surface, and what lies behind it (the inside of a mouth). Ours."""
COARSE, FINE = 16, 16
"""Samples of a ray before, and added by, the first of the two passes of importance sampling. Ours."""
LARGEST_LEVEL = 2
SIZE_NAMES = (
    "planes", "basis", "rays", "levels", "code", "driver", "dim", "layers", "heads", "feedforward", "hidden", "size", "picture", "encoder",
)  # fmt: skip
"""What stands in the tensor ``sizes`` of a network's file: `InstantConfig`'s, the encoder's picture, and its number by width."""


@dataclass(frozen=True)
class InstantConfig:
    """Sizes of the network.

    Attributes:
        planes: side of each of the three feature planes (paper: 256), a multiple of 8.
        basis: channels of a point's appearance, and of its motion basis (paper: 48 each, 96 a plane).
        rays: side of the grid of rays of the finest level; each coarser level has half of it.
        levels: finest level of detail, 0 to 2.
        code: channels of the motion code. driver: side of the face's picture that it is read from.
        dim, layers, heads, feedforward: of the transformer that lifts. token_dim: width of the encoder's tokens.
        hidden: width of the small perceptrons. size: side of the pictures that are drawn, pixels.
    """

    planes: int = 256
    basis: int = 48
    rays: int = 128
    levels: int = 2
    code: int = 64
    driver: int = 112
    dim: int = 256
    layers: int = 4
    heads: int = 8
    feedforward: int = 1024
    token_dim: int = 768
    hidden: int = 64
    size: int = 512

    @property
    def grid(self) -> int:
        """Side of the planes as the transformer sees them."""
        return self.planes // 8

    def side(self, level: int) -> int:
        """Side of the grid of rays of a level."""
        return self.rays >> (self.levels - level)

    def spacing(self, level: int) -> float:
        """World units between neighbouring rays of a level."""
        return 2 * EXTENT / self.side(level)
