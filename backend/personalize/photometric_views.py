"""One level of an avatar seen in the pictures: rendered, lit as each picture is, and which of its splats they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.models.projection.anatomy import Anatomy
from backend.protocol.avatar import F32, Avatar, RigArrays, SplatArrays
from backend.splats.rasterization import rasterization

from .photometric_loss import Reference
from .photometric_pictures import BACKDROP, Picture, Target
from .photometric_splats import Cloud, Freedom, Posed, Unknowns, stillness

HIDDEN, SEEN = 0.04, 0.14
"""Shares of a splat's own footprint that show below which it is hidden, and above which it is seen: neighbours overlap so much
that each has about a fifth."""
GRAZING, FRONTAL = 0.35, 0.8
"""Cosines to the view below which a photo says nothing of a splat, and above which it says all."""
GAIN_LIMIT = 0.7
"""Most that a photo's light may differ from the avatar's, in log units."""


@dataclass(frozen=True)
class Seen:
    """A target as tensors: image [H, W, 3], matte and weight [H, W], light [H, W, 3], camera [4, 4] and [3, 3], blur as in `Target`."""

    image: Tensor
    matte: Tensor
    weight: Tensor
    light: Tensor
    view: Tensor
    intrinsics: Tensor
    blur: float

    @staticmethod
    def of(target: Target, light: F32, device: torch.device) -> Seen:
        """`light` [3, 3] as `light_of` finds it."""
        send = lambda a: torch.tensor(np.ascontiguousarray(a, np.float32), device=device)
        camera = target.camera
        picture = np.exp(np.clip(_plane(*target.matte.shape) @ light, -GAIN_LIMIT, GAIN_LIMIT))
        arrays = (target.image, target.matte, target.weight, picture, camera.world_to_camera, camera.intrinsics)
        return Seen(*map(send, arrays), blur=target.blur)

    @cached_property
    def reference(self) -> Reference:
        """The image as the loss compares with it."""
        return Reference.of(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.matte.shape[0], self.matte.shape[1]


def draw(cloud: Cloud, posed: Posed, unknowns: Unknowns, seen: Seen, index: int | None) -> tuple[Tensor, Tensor]:
    """(picture [H, W, 3] over `BACKDROP` in the photo's light, coverage [H, W]); differentiable.

    Args:
        index: row of the picture's own expression and camera among the unknowns; None for a picture that has none. The first
            picture's stay as they are: it is what the others are brought to.
    """
    position, rotation, scale, opacity, color = cloud.refined(posed, unknowns, index or None)
    view = nudged(seen.view, unknowns.camera[index]) if index else seen.view
    height, width = seen.size
    image, alpha, _ = rasterization(
        position, rotation, scale, opacity, color.clamp_min(0), view[None], seen.intrinsics[None], width, height, eps2d=seen.blur
    )  # fmt: skip
    coverage = alpha[0, ..., 0]
    return image[0] * seen.light + (1 - alpha[0]) * BACKDROP, coverage


def weights_of(cloud: Cloud, posed: Posed, seen: Seen, part: slice | NDArray[np.intp]) -> Tensor:
    """[H, W] share of some of the unrefined splats in each pixel."""
    mark = torch.zeros(len(cloud.rest), 1, device=cloud.device)
    mark[torch.from_numpy(part) if isinstance(part, np.ndarray) else part] = 1
    opacity, (height, width) = torch.tensor(cloud.rest.opacity, device=cloud.device), seen.size
    camera = (seen.view[None], seen.intrinsics[None], width, height)
    with torch.no_grad():
        image, _, _ = rasterization(posed.position, posed.rotation, posed.scale, opacity, mark, *camera, eps2d=seen.blur)
    return image[0, ..., 0]


def nudged(view: Tensor, nudge: Tensor) -> Tensor:
    """[4, 4] camera turned by a small rotation vector and shifted, both in its own axes; nudge [6] radians and metres."""
    x, y, z = nudge[0], nudge[1], nudge[2]
    one = torch.ones_like(x)
    turn = torch.stack([torch.stack([one, -z, y]), torch.stack([z, one, -x]), torch.stack([-y, x, one])])
    # Turned about the head, not about the camera: a turn of the head and a shift across the picture are then independent.
    rotation = turn @ view[:3, :3]
    rotation = rotation / rotation.norm(dim=1, keepdim=True)
    top = torch.cat([rotation, (view[:3, 3] + nudge[3:])[:, None]], 1)
    return torch.cat([top, view[3:]])


def light_of(picture: Picture, rendered: F32, coverage: F32) -> F32:
    """[3, 3] log factors (constant, across, down; a column a channel) that bring the avatar's colours to a photo's light.

    Least squares over solid pixels, the farthest quarter left out: what differs by more than light does not count.
    """
    mask = picture.full.solid & (coverage > 0.95)
    plane = _plane(*mask.shape)[mask].astype(np.float64)
    ratio = np.log((picture.full.image[mask] + 0.03) / (np.clip(rendered[mask], 0, 1) + 0.03)).astype(np.float64)
    if len(ratio) < 100:
        return np.zeros((3, 3), np.float32)
    keep = np.ones(len(ratio), bool)
    light = np.zeros((3, 3))
    for _ in range(5):
        light = np.linalg.lstsq(plane[keep], ratio[keep], rcond=None)[0]
        residual = np.abs(ratio - plane @ light).sum(1)
        keep = residual <= np.percentile(residual, 75)
    return light.astype(np.float32)


def _plane(height: int, width: int) -> F32:
    """[H, W, 3] one, and position across and down in -1..1."""
    down, across = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(down), across, down], -1).astype(np.float32)


def freedom_of(avatar: Avatar, level: int, anatomy: Anatomy, shape: F32, sight: tuple[F32, F32]) -> Freedom:
    """What each splat of a level may change: as much as the photos show of it, and nothing at inner parts and lids.

    Args:
        sight: [N] how well the best photo shows each splat's surface, and its colour (see `sight_of`).
    """
    rest, head = avatar.splats(level), len(avatar.lods[level])
    own = np.arange(len(rest)) < head
    at = lambda field: _sampled(avatar.rig, rest, field)
    hidden = np.clip(at(np.maximum.reduce([anatomy.teeth, anatomy.tongue, anatomy.cavity, anatomy.lid_fold, anatomy.lashes])) * 2, 0, 1)
    geometry = sight[0] * at(stillness(avatar.rig, anatomy)) * own
    color = np.maximum(sight[0], sight[1] * at(anatomy.eyes)) * (1 - hidden) * own
    return Freedom(_cleared(geometry), _cleared(color), shape)


def sight_of(cloud: Cloud, pictures: Sequence[Picture], seen: Sequence[Seen]) -> tuple[F32, F32]:
    """[N] how well the best picture shows each splat: as a surface (turned towards it, unhidden), and at all."""
    count = len(cloud.rest)
    surface, shown = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for picture, view in zip(pictures, seen, strict=True):
        posed = cloud.posed(picture)
        height, width = view.size
        grey = torch.zeros(count, 1, device=cloud.device, requires_grad=True)
        opacity = torch.tensor(cloud.rest.opacity, device=cloud.device)
        camera = (view.view[None], view.intrinsics[None], width, height)
        image, _, _ = rasterization(posed.position, posed.rotation, posed.scale, opacity, grey, *camera, eps2d=view.blur)
        (weight,) = torch.autograd.grad((image[0, ..., 0] * view.weight).sum(), grey)
        centre = -view.view[:3, :3].T @ view.view[:3, 3]
        ray = torch.nn.functional.normalize(centre - posed.position, dim=1)
        cosine = (ray * cloud.normals(posed)).sum(1).cpu().numpy()
        share = (weight[:, 0] / _pixels_covered(posed, view).clamp(min=1e-3)).cpu().numpy()
        cover = np.clip((share - HIDDEN) / (SEEN - HIDDEN), 0, 1)
        surface = np.maximum(surface, cover * np.clip((cosine - GRAZING) / (FRONTAL - GRAZING), 0, 1))
        shown = np.maximum(shown, cover * (cosine > 0))
    return surface.astype(np.float32), shown.astype(np.float32)


def _pixels_covered(posed: Posed, view: Seen) -> Tensor:
    """[N] integral of each splat's Gaussian over the picture if seen from the front, pixels."""
    depth = (posed.position @ view.view[2, :3] + view.view[2, 3]).clamp(min=1e-3)
    widest = posed.scale.sort(1, descending=True).values[:, :2] * (view.intrinsics[0, 0] / depth)[:, None]
    return 2 * math.pi * torch.sqrt((widest**2 + view.blur).prod(1))


def _sampled(rig: RigArrays, splats: SplatArrays, field: F32) -> F32:
    return np.einsum("nk,nk->n", splats.barycentric, field[rig.faces[splats.face]]).astype(np.float32)


def _cleared(freedom: F32) -> F32:
    """Traces are no freedom: such splats stay as they are to the bit."""
    return np.where(freedom < 0.02, 0, freedom).astype(np.float32)
