"""DINOv2's vision transformer (Oquab et al. 2023, "DINOv2"; Apache-2.0 weights), in torch.hub's parameter layout.

Dosovitskiy et al. 2021 with LayerScale (Touvron et al. 2021) and no dropout. Parameter names are those of torch.hub's
`dinov2_vits14`, `dinov2_vitb14` and `dinov2_vitl14`; `convert_transformers` renames a Hugging Face file to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.protocol.errors import WeightsError

from .state import check_state

PATCH = 14
"""Pixels along the side of a patch."""
TRAINED_PATCHES = 37
"""Patches along the side of the picture that the position embedding was trained for (518 pixels)."""


class Size(NamedTuple):
    """Width of a token, number of blocks, number of heads."""

    width: int
    depth: int
    heads: int


SIZES: dict[str, Size] = {"small": Size(384, 12, 6), "base": Size(768, 12, 12), "large": Size(1024, 24, 16)}


def dinov2(size: Literal["small", "base", "large"] = "base") -> DinoV2:
    """ViT-S/14, ViT-B/14 or ViT-L/14 with uninitialised weights."""
    return DinoV2(*SIZES[size])


class DinoV2(nn.Module):
    """The encoder: a picture to tokens.

    Args:
        width, depth, heads: of the transformer.
        trained_patches: patches along the side of the position embedding.
        interpolate_offset: torch.hub resizes the position embedding by (patches + offset) / trained patches, which moves the
            sampling points a little; its models without register tokens use 0.1. 0 resizes to the exact size, as transformers does.
    """

    def __init__(self, width: int, depth: int, heads: int, trained_patches: int = TRAINED_PATCHES, interpolate_offset: float = 0.1) -> None:
        super().__init__()
        self.interpolate_offset = interpolate_offset
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, trained_patches**2 + 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # used in pre-training only; part of every file
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def embed(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        """Class token and patches with their positions: n = 1 + h/14 * w/14, patches row-major."""
        if image.shape[-1] % PATCH or image.shape[-2] % PATCH:
            raise ValueError(f"a picture of {image.shape[-1]}x{image.shape[-2]} is not made of whole {PATCH}-pixel patches")
        tokens = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        return tokens + self.positions(image.shape[-2] // PATCH, image.shape[-1] // PATCH)

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 n c"]:
        """The position embedding for a grid of patches, resized bicubically where it is not the trained one."""
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        if self.interpolate_offset:
            factors = ((rows + self.interpolate_offset) / side, (columns + self.interpolate_offset) / side)
            grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
        else:
            grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        if tuple(grid.shape[-2:]) != (rows, columns):
            raise ValueError(f"the position embedding cannot be resized to {columns}x{rows} patches")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)

    def last_layers(self, image: Float[Tensor, "b 3 h w"], count: int) -> list[Float[Tensor, "b n c"]]:
        """Tokens of the last `count` blocks, each through the final norm, the class token stripped.

        That is torch.hub's `get_intermediate_layers(image, count)`. `image` is normalised by ImageNet's mean and deviation.
        """
        tokens = self.embed(image)
        kept = []
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            if i >= len(self.blocks) - count:
                kept.append(self.norm(tokens)[:, 1:])
        return kept

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        """All tokens of the last block through the final norm, the class token first."""
        tokens = self.embed(image)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def load(self, weights: Mapping[str, Tensor], source: str = "weights") -> None:
        """Load a torch.hub or a transformers state dict, whichever it is.

        Raises:
            WeightsError: names the first key that is missing, unknown, or of another shape.
        """
        if any(key.startswith(("embeddings.", "dinov2.embeddings.")) for key in weights):
            weights = convert_transformers(weights, source)
        check_state(self, weights, source)
        self.load_state_dict(weights)


class PatchEmbedding(nn.Module):
    """Each 14x14 patch to a token by one linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        return self.proj(image).flatten(2).transpose(1, 2)


class LayerScale(nn.Module):
    """One learnt factor a channel (Touvron et al. 2021, "Going deeper with image transformers")."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return tokens * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values are thirds of one projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    """Two layers with exact GELU, four times as wide between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width)
        self.ls2 = LayerScale(width)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


_RENAMES = [
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
]
_PART = re.compile(r"^(blocks\.\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)$")


def convert_transformers(weights: Mapping[str, Tensor], source: str = "weights") -> dict[str, Tensor]:
    """A Hugging Face `Dinov2Model` file's tensors under torch.hub's names; query, key and value are joined.

    Raises:
        WeightsError: a block without all three of query, key and value.
    """
    renamed: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in weights.items():
        name = key.removeprefix("dinov2.")
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if match := _PART.match(name):
            parts.setdefault(f"{match[1]}.attn.qkv.{match[3]}", {})[match[2]] = value
        else:
            renamed[name] = value
    for name, three in parts.items():
        missing = {"query", "key", "value"} - three.keys()
        if missing:
            raise WeightsError(f"{source}: {name} cannot be joined, its {sorted(missing)[0]} is missing", "download the file again")
        renamed[name] = torch.cat([three["query"], three["key"], three["value"]])
    return renamed
