"""Feature Gaussians to feature pictures: by the project's rasterizer, or in the released one's arithmetic."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from backend.models.networks import FOCAL, opencv_camera, rasterizer_matrices
from backend.splats.covariance import raw_covariances
from backend.splats.rasterization import rasterization

from .network import IMAGE, FeatureGaussians


def draw(gaussians: FeatureGaussians, transform: Float[Tensor, "b 3 4"], size: int = IMAGE) -> Float[Tensor, "b c h w"]:
    """Features of each picture of the batch from its camera; differentiable, gsplat on CUDA.

    Covariances are passed instead of quaternions, which gsplat would normalise (quirk Q2). What is left of the released
    rasterizer's ways (`backend/splats/tile_raster.py`) are Gaussians cut at tile borders and an alpha capped at 0.99.
    """
    covars = raw_covariances(gaussians.rotations, gaussians.scales)
    viewmat, lens = opencv_camera(transform, size)
    image, _, _ = rasterization(
        gaussians.means, None, None, gaussians.opacities[..., 0], gaussians.colors, viewmat[:, None], lens[:, None], size, size,
        near_plane=0.2, covars=covars,
    )  # fmt: skip
    return image[:, 0].permute(0, 3, 1, 2)


def draw_as_released(
    gaussians: FeatureGaussians, transform: Float[Tensor, "b 3 4"], size: int = IMAGE
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b h w"]]:
    """Features and the light left, in the released rasterizer's own arithmetic, on the CPU, without gradients."""
    from backend.splats.tile_raster import footprints, tile_raster

    views, projections = rasterizer_matrices(transform)
    covars = raw_covariances(gaussians.rotations, gaussians.scales)
    images, left = [], []
    for i in range(len(transform)):
        means, covariances, view, projection, opacities, colors = (
            tensor[i].detach().cpu().numpy()
            for tensor in (gaussians.means, covars, views, projections, gaussians.opacities, gaussians.colors)
        )
        prints = footprints(means, covariances, view, projection, size, size, (1 / FOCAL, 1 / FOCAL))
        picture = tile_raster(prints, opacities, colors, size, size)
        images.append(torch.from_numpy(picture.image).permute(2, 0, 1))
        left.append(torch.from_numpy(picture.transmittance))
    return torch.stack(images), torch.stack(left)
