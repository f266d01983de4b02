"""FFAvatar: few unposed portraits to one animatable head in one pass (Nguyen et al. 2026, "FFAvatar: Few-Shot, Feed-Forward, and
Generalizable Avatar Reconstruction").

`look` at each photo once, `fuse` what was seen into one identity, make its `gaussians` at a level of detail, and draw them as
a `RigEstimate` says, which `look` also reads off a driving picture. Each step stands alone, so that another photo costs one
`look` and one `fuse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import METRE, DinoV2, GaussianAttributes, opencv_camera
from backend.models.networks.dinov2 import PATCH, dinov2
from backend.models.networks.dpt import IMAGENET_MEAN, IMAGENET_STD
from backend.models.omg.encoder import TINY_DEPTH, TINY_HEADS, TINY_WIDTH, TOKEN_WIDTHS
from backend.models.omg.gaussians import joined
from backend.models.omg.levels import MeshLevels
from backend.models.omg.posing import PosedHead
from backend.rig.rig import Rig
from backend.splats.covariance import raw_covariances
from backend.splats.rasterization import rasterization

from . import bust
from .config import ENCODERS, FFConfig, rig_digest
from .gaussian_head import GaussianHead, OffsetHead, position_code
from .query_former import QueryFormer
from .rig_estimator import RigEstimate, RigEstimator, shared_shape

LARGEST_SPLAT = (0.05, 0.03, 0.015)
"""Greatest standard deviation of the Gaussians that each level adds, world units (5 a metre)."""
LARGEST_BUST = 0.1
REACH, BUST_REACH = 0.05, 0.1
"""Metres that a vertex of the head, of the bust, may be displaced along each axis."""


@dataclass(frozen=True)
class Glimpse:
    """What is kept of a photo.

    Attributes:
        tokens: [b, n, d] for the Query-Former. rig: how the rig stands in it.
    """

    tokens: Float[Tensor, "b n d"]
    rig: RigEstimate

    def split(self, count: int) -> list[Glimpse]:
        """Equal parts of a batch."""
        return [Glimpse(*part) for part in zip(self.tokens.chunk(count), self.rig.split(count), strict=True)]


@dataclass(frozen=True)
class Identity:
    """One head, of all photos together.

    Attributes:
        shape: [b, s] the rig's coefficients. features: [b, v, d] of its vertices. bust_features: [b, m, d].
        offsets: [b, v, 3] metres, displacement of the rest pose. bust_offsets: [b, m, 3].
    """

    shape: Float[Tensor, "b s"]
    features: Float[Tensor, "b v d"]
    bust_features: Float[Tensor, "b m d"]
    offsets: Float[Tensor, "b v 3"]
    bust_offsets: Float[Tensor, "b m 3"]


class FFAvatarNetwork(nn.Module):
    """The network, for one rig.

    Args:
        config: its sizes, which must be the rig's. rig: any parametric head.
    """

    def __init__(self, config: FFConfig, rig: Rig) -> None:
        super().__init__()
        self.config = config
        shoulders, bust_faces = bust.bust_mesh(rig.template)
        places = np.concatenate([rig.template, shoulders])
        self.posed = PosedHead.of_rig(rig)
        self.levels = MeshLevels(rig.faces, config.vertices, config.levels)
        self.bust_levels = MeshLevels(bust_faces, len(shoulders), bust.LEVELS)
        template = torch.from_numpy(np.array(rig.template, np.float32))
        self.register_buffer("bust", torch.from_numpy(shoulders), persistent=False)
        self.register_buffer("code", position_code(self.levels.subdivide(template, config.levels)), persistent=False)
        self.register_buffer("bust_code", position_code(self.bust_levels.subdivide(self.get_buffer("bust"), bust.LEVELS)), persistent=False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(3, 1, 1), persistent=False)
        # What a file of tensors must say of itself, so that no other description has to travel with it.
        self.register_buffer("sizes", config.tensor)
        self.register_buffer("rig_digest", rig_digest(rig))
        name = ENCODERS[config.encoder]
        self.encoder = _backbone(name, config.picture)
        self.memory = nn.Sequential(nn.Linear(TOKEN_WIDTHS[name], config.dim), nn.LayerNorm(config.dim))
        self.estimator = RigEstimator(config, METRE * template.mean(0))
        self.former = QueryFormer(config, places)
        self.heads = nn.ModuleList(GaussianHead(config.dim, config.hidden, LARGEST_SPLAT[i]) for i in range(config.levels + 1))
        self.offset_head = OffsetHead(config.dim, config.hidden, REACH)
        self.bust_head = GaussianHead(config.dim, config.hidden, LARGEST_BUST)
        self.bust_offset_head = OffsetHead(config.dim, config.hidden, BUST_REACH)

    def look(self, image: Float[Tensor, "b 3 h w"]) -> Glimpse:
        """Encode square pictures 0..1, black where the background was, photos or drivers: the one pass that each costs."""
        side = self.config.picture
        if image.shape[-1] != side:
            image = functional.interpolate(image, (side, side), mode="bilinear", antialias=True)
        tokens = self.memory(self.encoder((image - self.get_buffer("mean")) / self.get_buffer("std")))
        return Glimpse(tokens, self.estimator(tokens))

    def fuse(self, glimpses: Sequence[Glimpse]) -> Identity:
        """One identity of one photo or more, in any order."""
        features = self.former([glimpse.tokens for glimpse in glimpses])
        head, beside = features[:, : self.config.vertices], features[:, self.config.vertices :]
        shape = shared_shape([glimpse.rig for glimpse in glimpses])
        return Identity(shape, head, beside, self.offset_head(head), self.bust_offset_head(beside))

    def added(self, identity: Identity, level: int) -> GaussianAttributes:
        """The Gaussians that a level adds to the coarser ones, in the order of the subdivided vertices."""
        start, end = self.levels.added(level)
        features = self.levels.subdivide(identity.features, level)[:, start:]
        return self.heads[level](features, self.get_buffer("code")[start:end])

    def head_gaussians(self, identity: Identity, level: int) -> GaussianAttributes:
        """The head's Gaussians at a level: what each level up to it adds. Their centres are the driven vertices."""
        return joined([self.added(identity, step) for step in range(level + 1)])

    def bust_gaussians(self, identity: Identity) -> tuple[Float[Tensor, "b m 3"], GaussianAttributes]:
        """Centres in world units, which stay when the neck turns, and Gaussians of the bust."""
        points = self.bust_levels.subdivide(self.get_buffer("bust") + identity.bust_offsets, bust.LEVELS)
        features = self.bust_levels.subdivide(identity.bust_features, bust.LEVELS)
        return METRE * points, self.bust_head(features, self.get_buffer("bust_code"))

    def driven(self, identity: Identity, rig: RigEstimate, level: int) -> Float[Tensor, "b n 3"]:
        """Vertices of a level, world units, as the identity stands when it is driven; the driver's own shape has no part in it."""
        coefficients = torch.cat([identity.shape, rig.expression], 1)
        return self.levels.subdivide(self.posed(coefficients, rig.pose, identity.offsets), level)

    def draw(self, identity: Identity, rig: RigEstimate, level: int, size: int) -> Float[Tensor, "b 3 s s"]:
        """The driven head on black, as the driver's camera sees it."""
        beside, attributes = self.bust_gaussians(identity)
        points = torch.cat([beside, self.driven(identity, rig, level)], 1)
        return draw_gaussians(points, joined([attributes, self.head_gaussians(identity, level)]), rig.camera, size)

    def stands(self, rig: RigEstimate) -> Float[Tensor, "b v 3"]:
        """The bare rig as an estimate says, its own shape included, world units."""
        return self.posed(torch.cat([rig.shape, rig.expression], 1), rig.pose)


def draw_gaussians(
    points: Float[Tensor, "b n 3"], attributes: GaussianAttributes, camera: Float[Tensor, "b 3 4"], size: int
) -> Float[Tensor, "b 3 s s"]:
    """Gaussians of world units on black; gradients reach the camera too."""
    views, lenses = opencv_camera(camera, size)
    pictures = [
        rasterization(
            points[i], None, None, attributes.opacities[i, :, 0], attributes.colors[i], views[i : i + 1], lenses[i : i + 1], size, size,
            covars=raw_covariances(attributes.rotations[i], attributes.scales[i]),
        )[0][0]
        for i in range(len(points))
    ]  # fmt: skip
    return torch.stack(pictures).permute(0, 3, 1, 2)


def _backbone(name: str, picture: int) -> DinoV2:
    """DINOv2 by name, or a tiny transformer of its kind that learns from nothing; all its tokens are read, the class token too."""
    if name != "tiny":
        return dinov2(name)  # pyright: ignore[reportArgumentType]
    backbone = DinoV2(TINY_WIDTH, TINY_DEPTH, TINY_HEADS, trained_patches=picture // PATCH)
    nn.init.trunc_normal_(backbone.pos_embed, std=0.02)
    nn.init.trunc_normal_(backbone.cls_token, std=0.02)
    return backbone
