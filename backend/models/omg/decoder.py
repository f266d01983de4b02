"""Global features: learned queries, one a rig vertex, attend to each other and to the picture's tokens (paper, sec. 3.1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from .config import OMGConfig

DROPOUT = 0.1


class VertexDecoder(nn.Module):
    """Post-norm transformer decoder over the vertices of level 0 only; finer levels subdivide what it returns.

    Attention costs the square of the queries: 5,023 here where LAM has 80,000 (paper, sec. 10).
    """

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        self.input_projection = nn.Linear(config.dim, config.dim)
        self.memory_projection = nn.Linear(config.token_dim, config.dim)
        self.decoder = nn.Module()
        self.decoder.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))

    @property
    def layers(self) -> list[DecoderLayer]:
        """The layers, first to last."""
        return [layer for layer in self.decoder.get_submodule("layers").children() if isinstance(layer, DecoderLayer)]

    def forward(self, queries: Float[Tensor, "b v d"], tokens: Float[Tensor, "b n t"]) -> Float[Tensor, "b v d"]:
        """Global features of the vertices.

        Args:
            queries: learned code of each vertex.
            tokens: last layer's patch tokens of the encoder.
        """
        queries, memory = self.input_projection(queries), self.memory_projection(tokens)
        for layer in self.layers:
            queries = layer(queries, memory)
        return queries


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, two linear layers with ReLU, each followed by its norm (Vaswani et al. 2017).

    Arithmetic and parameter names of torch's own decoder layer. That one, in evaluation, writes out the attention of every
    query to every other, 800 MB for FLAME; this one does not.

    Attributes:
        written_out: do as torch's layer does. Parity needs it: results differ by 1e-6, which is enough to change the order of
            Gaussians at equal depth.
    """

    written_out = False

    def __init__(self, config: OMGConfig) -> None:
        super().__init__()
        width = config.dim
        self.self_attn = nn.MultiheadAttention(width, config.heads, DROPOUT, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, config.heads, DROPOUT, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, config.feedforward), nn.Linear(config.feedforward, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, queries: Float[Tensor, "b v d"], memory: Float[Tensor, "b n d"]) -> Float[Tensor, "b v d"]:
        # A view of the queries as keys: torch takes its path that writes attention out only where both are one object.
        same = queries if self.written_out else queries.view_as(queries)
        queries = self.norm1(queries + self.dropout(self.self_attn(queries, same, same, need_weights=False)[0]))
        queries = self.norm2(queries + self.dropout(self.multihead_attn(queries, memory, memory, need_weights=False)[0]))
        inner = self.dropout(self.linear1(queries).relu())
        return self.norm3(queries + self.dropout(self.linear2(inner)))
