"""Cameras as the GAGAvatar family stores them: [R | T] for row vectors, as in PyTorch3D, with a fixed lens.

X_cam = X_world @ R + T, camera +X left, +Y up, +Z forward; the image spans [-1, 1] and the focal length is 12 half-images
(a field of view of 9.5 degrees). World units are `METRE` a metre.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FOCAL = 12.0
"""Focal length in half-images: 3,072 pixels at 512."""
METRE = 5.0
"""World units in a metre: the networks of this family see heads five times as large (FLAME scale 5)."""
NEAR, FAR = 0.01, 100.0


def camera_centre(transform: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 3"]:
    """Where the camera stands, world units."""
    return -(transform[..., :3] @ transform[..., 3:])[..., 0]


def viewing_axis(transform: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 3"]:
    """The camera's forward direction in the world, unit length."""
    return transform[..., 2]


def lifting_plane(
    transform: Float[Tensor, "*b 3 4"], size: int = 296, focal: float = FOCAL
) -> tuple[Float[Tensor, "*b n 3"], Float[Tensor, "*b 3"]]:
    """The plane that pixels are lifted from (GAGAvatar sec. 3.2): through the world's origin, perpendicular to the view.

    Quirk G8: rows run from y = +1 to -1, columns from x = +1 to -1 (ends included, so that samples are not pixel centres).

    Returns:
        points [*b, size * size, 3] row-major, world units; the plane's normal [*b, 3], the viewing axis.
    """
    line = torch.linspace(1, -1, size, dtype=transform.dtype, device=transform.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    rays = torch.stack([x / focal, y / focal, torch.ones_like(x)], -1).reshape(-1, 3)
    world = rays @ transform[..., :3].transpose(-1, -2)
    centre, axis = camera_centre(transform), viewing_axis(transform)
    distance = (centre * axis).sum(-1, keepdim=True).abs()
    return centre[..., None, :] + distance[..., None] * world, axis


def opencv_camera(
    transform: Float[Tensor, "*b 3 4"], size: int = 512, focal: float = FOCAL
) -> tuple[Float[Tensor, "*b 4 4"], Float[Tensor, "*b 3 3"]]:
    """World-to-camera matrix (x right, y down, z forward) and intrinsics in pixels, for this project's rasterizers.

    Pixel centres are at +0.5 there. The released rasterizer puts them at integers and its projection at (size - 1) / 2,
    which is the same picture: the principal point is the middle.
    """
    flip = transform.new_tensor([-1.0, -1.0, 1.0])
    top = torch.cat([transform[..., :3].transpose(-1, -2), transform[..., 3:]], -1) * flip[:, None]
    bottom = transform.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*transform.shape[:-2], 1, 4)
    lens = transform.new_tensor([[focal * size / 2, 0, size / 2], [0, focal * size / 2, size / 2], [0, 0, 1]])
    return torch.cat([top, bottom], -2), lens.expand(*transform.shape[:-2], 3, 3)


def to_pytorch3d(viewmat: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 3 4"]:
    """The inverse of `opencv_camera`: [R | T] of an OpenCV world-to-camera matrix."""
    flip = viewmat.new_tensor([-1.0, -1.0, 1.0])
    rows = viewmat[..., :3, :] * flip[:, None]
    return torch.cat([rows[..., :3].transpose(-1, -2), rows[..., 3:]], -1)


def rasterizer_matrices(
    transform: Float[Tensor, "*b 3 4"], focal: float = FOCAL
) -> tuple[Float[Tensor, "*b 4 4"], Float[Tensor, "*b 4 4"]]:
    """View and view-projection as the released rasterizer takes them: [p, 1] @ matrix, x right and y down."""
    view = opencv_camera(transform)[0].transpose(-1, -2)
    projection = view.new_zeros(4, 4)
    # The official code goes from focal length to an angle and back.
    projection[0, 0] = projection[1, 1] = 1 / torch.tan(torch.atan(view.new_tensor(1 / focal)))
    projection[2, 2], projection[3, 2], projection[2, 3] = FAR / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR), 1.0
    return view, view @ projection


def project_to_ndc(points: Float[Tensor, "*b n 3"], transform: Float[Tensor, "*b 3 4"], focal: float = FOCAL) -> Float[Tensor, "*b n 3"]:
    """World points to x (right), y (down) in [-1, 1] within the image, and the perspective depth z in 0..1."""
    projection = rasterizer_matrices(transform, focal)[1]
    clip = points @ projection[..., :3, :] + projection[..., 3:, :]
    return clip[..., :3] / clip[..., 3:]
