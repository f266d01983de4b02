"""OMG-Avatar: one photo of a head to Gaussians at any of three levels of detail (Ren et al., "One-shot Multi-LOD Gaussian Head Avatar")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import (
    NARROW_CHANNELS,
    DinoBase,
    DinoFeatures,
    GaussianAttributes,
    StyleUNet,
    harmonic_embedding,
    lifting_plane,
    opencv_camera,
    project_to_ndc,
)
from backend.models.networks.cameras import viewing_axis
from backend.models.networks.dpt import INPUT
from backend.models.networks.gaussian_heads import CHANNELS
from backend.splats.covariance import raw_covariances
from backend.splats.rasterization import rasterization

from .config import OMGConfig
from .decoder import VertexDecoder
from .gaussians import joined
from .heads import AttributeHead, OffsetHead
from .levels import MeshLevels
from .sampling import project, sample
from .shoulders import FAINTEST, ShoulderBranch, outside_mask
from .visibility import depth_buffer, hidden, hidden_as_released, normalized

Pose = Callable[[Float[Tensor, "b v 3"] | None], Float[Tensor, "b v 3"]]
"""Displacements of the rig's vertices in its rest pose (metres) to posed vertices (world units)."""


@dataclass(frozen=True)
class Seen:
    """What the network knows of a photo before any level of detail.

    Attributes:
        camera: [b, 3, 4] of the photo.
        direction: [b, 27] encoded viewing axis.
        features: [b, d, h, w] map.
        global_features: [b, v, d] of the rig's vertices.
        offsets: [b, v, 3] metres, of the rig's vertices in its rest pose.
        points: [b, v, 3] the rig's vertices as in the photo, world units.
        depth: [b, s, s] depth buffer of the mesh, world units; infinity where there is none.
    """

    camera: Float[Tensor, "b 3 4"]
    direction: Float[Tensor, "b e"]
    features: Float[Tensor, "b d h w"]
    global_features: Float[Tensor, "b v d"]
    offsets: Float[Tensor, "b v 3"]
    points: Float[Tensor, "b v 3"]
    depth: Float[Tensor, "b s s"]


@dataclass(frozen=True)
class Head:
    """The head at one level of detail.

    Attributes:
        attributes: of its [b, n] Gaussians, one a vertex; their centres are the driven vertices (`MeshLevels.subdivide`).
        hidden: [b, n] which of them the photo does not show.
        fused: [b, n, d] features that the attributes were made of.
    """

    attributes: GaussianAttributes
    hidden: Bool[Tensor, "b n"]
    fused: Float[Tensor, "b n d"]


@dataclass(frozen=True)
class Shoulders:
    """What stands beside the mesh: one Gaussian a pixel of the map, still in world units when the head moves.

    Attributes:
        points: [b, m, 3] centres.
        attributes: their opacity is that times the mask.
        mask: [b, 1, h, w] the pixels that are theirs.
    """

    points: Float[Tensor, "b m 3"]
    attributes: GaussianAttributes
    mask: Float[Tensor, "b 1 h w"]

    @property
    def kept(self) -> Bool[Tensor, " m"]:
        """Which Gaussians are not too faint in any picture of the batch: a detail of inference, with one photo."""
        return (self.attributes.opacities[..., 0] > FAINTEST).any(0)


class OMGAvatar(nn.Module):
    """The network. Parameter names are the released checkpoint's.

    Args:
        config: its sizes.
        faces: [F, 3] triangles of the rig whose vertices are the queries; any rig with `config.vertices` of them.
        encoder: a picture 0..1 to a feature map [b, dim, h, h] and tokens [b, n, token_dim]; by default DINOv2 ViT-B with DPT.
        refiner: splatted features [b, 32, size, size] to a picture; by default the paper's, for 512 pixels.
        picture: side of the square picture that the encoder takes, pixels.
    """

    def __init__(
        self,
        config: OMGConfig,
        faces: np.ndarray,
        encoder: nn.Module | None = None,
        refiner: nn.Module | None = None,
        picture: int = INPUT,
    ) -> None:
        super().__init__()
        self.config, self.picture = config, picture
        self.head_base = nn.Parameter(torch.randn(config.vertices, config.dim))
        self.base_dino_model = encoder or DinoBase(width=config.dim)
        self.transformer = VertexDecoder(config)
        self.gs_head_generators = nn.ModuleList(AttributeHead(config) for _ in range(config.levels + 1))
        self.gs_generator_offset = OffsetHead(config)
        self.gs_shoulder_generator = ShoulderBranch(config)
        self.upsampler = refiner or StyleUNet(CHANNELS, config.size, NARROW_CHANNELS)
        self.levels = MeshLevels(faces, config.vertices, config.levels)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> DinoFeatures:
        """Feature map and tokens of square pictures 0..1, black where the background was."""
        if image.shape[-1] != self.picture:
            image = functional.interpolate(image, (self.picture, self.picture), mode="bilinear", antialias=True)
        return self.base_dino_model(image)

    def look(self, image: Float[Tensor, "b 3 h w"], camera: Float[Tensor, "b 3 4"], pose: Pose) -> Seen:
        """Everything that does not depend on the level of detail (paper, sec. 3.1).

        Args:
            image: square, 0..1, black where the background was.
            camera: [R | T] of the picture for row vectors.
            pose: the rig as it stands in the picture.
        """
        encoded = self.encode(image)
        direction = harmonic_embedding(viewing_axis(camera))
        features = self.transformer(self.head_base.expand(len(image), -1, -1), encoded.tokens)
        offsets = self.gs_generator_offset(features, direction)
        # Released: only the driven head is displaced; the photo is sampled where the undisplaced one appears.
        points = pose(None if self.config.released else offsets)
        # Midpoint subdivision keeps the surface, so one buffer serves every level. That is also why the released code is not harmed
        # by drawing level 2's buffer with level 1's faces.
        buffer = depth_buffer(project(points, camera), self.levels.faces[0], self.config.size)
        return Seen(camera, direction, encoded.map, features, offsets, points, buffer)

    def added(self, seen: Seen, level: int, unseen: Bool[Tensor, "b n"] | None = None) -> Head:
        """The Gaussians that a level adds to the coarser ones (paper, eq. 3 to 7): global features of the subdivided mesh, plus
        the photo's own where it shows the vertex.

        Args:
            unseen: which of the level's vertices the photo does not show; None tests their depth.
        """
        start, _ = self.levels.added(level)
        points = self.levels.subdivide(seen.points, level)
        screen = project(points, seen.camera)
        unseen = (self.unseen(seen, points) if unseen is None else unseen)[:, start:]
        local = sample(seen.features, screen[:, start:, :2], self.config.released)
        fused = self.levels.subdivide(seen.global_features, level)[:, start:] + local * ~unseen[..., None]
        return Head(self.gs_head_generators[level](fused, seen.direction), unseen, fused)

    def head(self, seen: Seen, level: int, unseen: Bool[Tensor, "b n"] | None = None) -> Head:
        """The head at a level: what each level up to it adds, in the order of the subdivided vertices."""
        known = lambda step: None if unseen is None else unseen[:, : self.levels.counts[step]]
        parts = [self.added(seen, step, known(step)) for step in range(level + 1)]
        return Head(joined([p.attributes for p in parts]), torch.cat([p.hidden for p in parts], 1), torch.cat([p.fused for p in parts], 1))

    def shoulders(self, seen: Seen, person: Float[Tensor, "b 1 h w"] | None = None) -> Shoulders:
        """What is not the head's (paper, eq. 9 and 10).

        Args:
            person: the matte 0..1; None takes the background in too.
        """
        size = seen.features.shape[-1]
        mask = outside_mask(normalized(seen.depth), person, size, self.config.released)
        attributes = self.gs_shoulder_generator(seen.features, seen.direction, mask)
        plane, axis = lifting_plane(seen.camera, size)
        assert attributes.positions is not None
        return Shoulders(plane + attributes.positions * axis[:, None], attributes, mask)

    @torch.no_grad()
    def unseen(self, seen: Seen, points: Float[Tensor, "b n 3"]) -> Bool[Tensor, "b n"]:
        """Which points on the mesh the photo does not show (paper, eq. 5)."""
        if self.config.released:
            return hidden_as_released(project_to_ndc(points, seen.camera), seen.depth)
        return hidden(project(points, seen.camera), seen.depth)

    def draw(
        self, points: Float[Tensor, "b n 3"], attributes: GaussianAttributes, camera: Float[Tensor, "b 3 4"], size: int | None = None
    ) -> Float[Tensor, "b c s s"]:
        """Splatted features on black, the first three a coarse picture."""
        size = size or self.config.size
        view, lens = opencv_camera(camera, size)
        shapes = raw_covariances(attributes.rotations, attributes.scales)
        pictures = [
            rasterization(
                points[i], None, None, attributes.opacities[i, :, 0], attributes.colors[i], view[i : i + 1], lens[i : i + 1],
                size, size, covars=shapes[i],
            )[0][0]
            for i in range(len(points))
        ]  # fmt: skip
        return torch.stack(pictures).permute(0, 3, 1, 2)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        camera: Float[Tensor, "b 3 4"],
        pose: Pose,
        drive: Pose,
        view: Float[Tensor, "b 3 4"],
        level: int,
        person: Float[Tensor, "b 1 h w"] | None = None,
    ) -> Frame:
        """A photo driven to another pose and seen by another camera: what training compares with a second photo.

        Args:
            image, camera, pose, person: the photo, see `look` and `shoulders`.
            drive: the rig as it shall stand; view: [b, 3, 4] the camera that shall see it.
            level: of detail.
        """
        seen = self.look(image, camera, pose)
        head, shoulders = self.head(seen, level), self.shoulders(seen, person)
        driven = self.levels.subdivide(drive(seen.offsets), level)
        # Order of the released code: shoulders, then the head.
        points = torch.cat([shoulders.points, driven], 1)
        features = self.draw(points, joined([shoulders.attributes, head.attributes]), view)
        return Frame(features, self.upsampler(features), seen.offsets)


@dataclass(frozen=True)
class Frame:
    """A driven picture.

    Attributes:
        features: [b, 32, s, s] splatted; the first three channels are the coarse picture.
        refined: [b, 3, s, s] 0..1.
        offsets: [b, v, 3] metres, which training keeps small.
    """

    features: Float[Tensor, "b c s s"]
    refined: Float[Tensor, "b 3 s s"]
    offsets: Float[Tensor, "b v 3"]

    @property
    def coarse(self) -> Float[Tensor, "b 3 s s"]:
        """The picture before refinement."""
        return self.features[:, :3]
