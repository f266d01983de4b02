"""Attention between two sets of vectors, and the block that alternates it (Vaswani et al. 2017, normalised before each part)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention that never writes out the table of weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Float[Tensor, "b q d"], memory: Float[Tensor, "b n d"]) -> Float[Tensor, "b q d"]:
        """What each query takes from the memory; the order of the memory has no part in it."""
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        found = functional.scaled_dot_product_attention(split(self.query(queries)), split(self.key(memory)), split(self.value(memory)))
        return self.out(found.transpose(1, 2).flatten(2))


class AlternatingBlock(nn.Module):
    """Queries attend to queries, then to the memory, then a perceptron; each added to what was there."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.norm_own, self.norm_memory, self.norm_inner = (nn.LayerNorm(width) for _ in range(3))
        self.own, self.across = Attention(width, heads), Attention(width, heads)
        self.inner = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))

    def forward(
        self, queries: Float[Tensor, "b q d"], memory: Float[Tensor, "b n d"], anchors: Tensor | None = None
    ) -> Float[Tensor, "b q d"]:
        """
        Args:
            anchors: indices of the queries that all attend to; None is every one.
        """
        own = self.norm_own(queries)
        queries = queries + self.own(own, own if anchors is None else own[:, anchors])
        queries = queries + self.across(self.norm_memory(queries), memory)
        return queries + self.inner(self.norm_inner(queries))
