"""What an FFAvatar network is made of: its sizes, written into its tensors, and the rig that it belongs to.

There is no released checkpoint, and the text that we have (papers' summaries) gives no sizes: the defaults are ours.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, fields

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from backend.models.networks.dinov2 import PATCH
from backend.models.omg.encoder import TOKEN_WIDTHS
from backend.protocol.errors import WeightsError
from backend.rig.rig import Rig

ENCODERS = tuple(TOKEN_WIDTHS)
"""Encoders by name; a network's tensors hold the place in this list, so new ones go to its end."""
LARGEST_LEVEL = 2
LARGEST = 1 << 20
"""Of any size that a file may state."""
MOST = {"layers": 64, "heads": 64, "dim": 4096, "feedforward": 16384, "hidden": 4096, "picture": 4096, "joints": 1024}
"""Of these sizes: modules are made for them, and memory taken, before a file's tensors can contradict."""


@dataclass(frozen=True)
class FFConfig:
    """Sizes of the network.

    Attributes:
        vertices, shapes, expressions, joints: of the rig; one query a vertex.
        dim, layers, heads, feedforward: of the Query-Former: width of queries and tokens, blocks, attention heads, hidden width.
        hidden: width of the perceptrons that make Gaussians.
        levels: finest level of detail, 0 to 2.
        anchors: queries that the others attend to, spread evenly over the head; 0 is all, as in a plain transformer, whose cost is
            the square of the vertices.
        encoder: place of the image encoder in `ENCODERS`. picture: side of the square picture that it takes, pixels.
    """

    vertices: int
    shapes: int
    expressions: int
    joints: int
    dim: int = 256
    layers: int = 4
    heads: int = 8
    feedforward: int = 1024
    hidden: int = 128
    levels: int = 2
    anchors: int = 0
    encoder: int = ENCODERS.index("base")
    picture: int = 518

    def __post_init__(self) -> None:
        wrong = [f.name for f in fields(self) if not 0 <= getattr(self, f.name) <= MOST.get(f.name, LARGEST - 1)]
        small = [name for name in ("vertices", "joints", "dim", "layers", "heads", "feedforward", "hidden") if not getattr(self, name)]
        if wrong or small or self.levels > LARGEST_LEVEL or self.encoder >= len(ENCODERS):
            raise ValueError(f"sizes that no network has: {', '.join(wrong or small) or 'levels or encoder'}")
        if self.dim % self.heads or self.picture % PATCH or not self.picture:
            raise ValueError(f"heads must divide dim, and picture be a multiple of {PATCH}")

    @staticmethod
    def of_rig(rig: Rig, **sizes: int) -> FFConfig:
        """For a rig."""
        return FFConfig(len(rig.template), rig.shape_basis.shape[2], len(rig.expression_names), len(rig.parents), **sizes)

    @property
    def tensor(self) -> Int[Tensor, " n"]:
        """The sizes as they stand in a file."""
        return torch.tensor(astuple(self), dtype=torch.int64)

    @staticmethod
    def of_tensor(values: Tensor, name: str) -> FFConfig:
        """The inverse of `tensor`.

        Raises:
            WeightsError: not what this version writes.
        """
        try:
            if values.dtype != torch.int64 or values.shape != (len(fields(FFConfig)),):
                raise ValueError(f"{len(values.reshape(-1))} numbers of type {values.dtype}")
            return FFConfig(*values.tolist())
        except (ValueError, TypeError) as error:
            raise WeightsError(f"{name}: sizes is damaged or of another version ({error})", "train the network again") from error


def rig_digest(rig: Rig) -> UInt8[Tensor, " 32"]:
    """SHA-256 of what a network's outputs mean on a rig: its triangles, its expressions' names, its joints."""
    digest = hashlib.sha256(rig.faces.astype("<i4").tobytes())
    digest.update("\n".join((*rig.expression_names, "", *rig.joint_names)).encode())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
