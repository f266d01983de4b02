"""Global features: learned queries, one a rig vertex, attend to each other and to the picture's tokens (paper, sec. 3.1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from .config import OMGConfig


class VertexDecoder(nn.Module):
    """Post-norm transformer decoder over the vertices of level 0 only; finer levels subdivide what it returns.

    Attention costs the square of the queries: 5,023 here where LAM has 80,000 (paper, sec. 10).
    """

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        self.input_projection = nn.Linear(config.dim, config.dim)
        self.memory_projection = nn.Linear(config.token_dim, config.dim)
        layer = nn.TransformerDecoderLayer(config.dim, config.heads, config.feedforward, dropout=0.1, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, config.layers)

    def forward(self, queries: Float[Tensor, "b v d"], tokens: Float[Tensor, "b n t"]) -> Float[Tensor, "b v d"]:
        """Global features of the vertices.

        Args:
            queries: learned code of each vertex.
            tokens: last layer's patch tokens of the encoder.
        """
        return self.decoder(self.input_projection(queries), self.memory_projection(tokens))
