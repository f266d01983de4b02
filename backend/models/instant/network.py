"""Instant Expressive Gaussian Head Avatar (Jiang et al., arXiv 2512.16893): one photo to Gaussians that a driver's picture moves.

    look     photo -> three feature planes                                    once a photo
    points   rays through the planes -> points with appearance and basis      once a photo and level of detail
    code     driver's face -> motion code                                     each frame
    animate  appearance + local function of basis and code -> Gaussians       each frame

What the paper's text says is in it; what it leaves open is ours, and said where it stands (docs/models.md lists it).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import DinoBase, GaussianAttributes, opencv_camera
from backend.models.networks.dpt import INPUT
from backend.models.omg.encoder import TOKEN_WIDTHS
from backend.splats.rasterization import rasterization

from .config import SIZE_NAMES, InstantConfig
from .gaussians import GaussianDecoder
from .motion import LocalFusion, MotionEncoder, face_picture
from .planes import PlaneLifter, read_planes
from .rays import ray_grid, sample_points
from .rig_codes import RigCodes

CHUNK = 1 << 17
"""Samples of rays that are read from the planes at once: 100 MB at the paper's width."""


@dataclass(frozen=True)
class Points:
    """What animation needs of a photo at one level of detail.

    Attributes:
        position: [b, n, 3] world units, the skull's frame. appearance, basis: [b, n, c].
        share: [b, n] how much of its ray's light is stopped: points of empty rays may be left out.
        spacing: world units between rays.
    """

    position: Float[Tensor, "b n 3"]
    appearance: Float[Tensor, "b n c"]
    basis: Float[Tensor, "b n c"]
    share: Float[Tensor, "b n"]
    spacing: float

    def kept(self, mask: Bool[Tensor, " n"]) -> Points:
        """Those that a mask picks."""
        return Points(self.position[:, mask], self.appearance[:, mask], self.basis[:, mask], self.share[:, mask], self.spacing)


class InstantAvatar(nn.Module):
    """The network.

    Args:
        config: its sizes.
        coefficients: of the rig whose expressions the training's views have, see `RigCodes`.
        encoder: a picture 0..1 to a feature map [b, dim, h, h] and tokens [b, n, token_dim]; by default DINOv2 ViT-B with DPT.
        picture: side of the square picture that the encoder takes, pixels.
    """

    ball: Tensor
    sizes: Tensor

    def __init__(self, config: InstantConfig, coefficients: int, encoder: DinoBase | None = None, picture: int = INPUT) -> None:
        super().__init__()
        self.config, self.picture = config, picture
        self.encoder = encoder or DinoBase(width=config.dim)
        self.lifter = PlaneLifter(config, 2 * config.basis)
        self.decoder = GaussianDecoder(config)
        self.motion = MotionEncoder(config)
        self.fusion = LocalFusion(config)
        self.rig_codes = RigCodes(coefficients, config.code)
        self.register_buffer("sizes", torch.zeros(len(SIZE_NAMES), dtype=torch.int32))
        self._write_sizes()
        # Weights may go on learning with other rays or another picture than they came from; the file must then say so.
        self.register_load_state_dict_post_hook(lambda module, keys: module._write_sizes())
        self.register_buffer("ball", torch.tensor([[0.0, 0.0, 0.0], [0.45, 0.65, 0.55]]))

    def _write_sizes(self) -> None:
        encoder = list(TOKEN_WIDTHS.values()).index(self.config.token_dim)
        stated = {**asdict(self.config), "picture": self.picture, "encoder": encoder}
        self.sizes.copy_(torch.tensor([stated[name] for name in SIZE_NAMES]))

    def look(self, image: Float[Tensor, "b 3 h w"], camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b 3 c p p"]:
        """Planes of a photo.

        Args:
            image: square, 0..1, black where the background was.
            camera: [R | T] of the picture for row vectors, in the skull's frame.
        """
        if image.shape[-1] != self.picture:
            image = functional.interpolate(image, (self.picture, self.picture), mode="bilinear", antialias=True)
        return self.lifter(self.encoder(image), image, camera, self.ball)

    def code(self, image: Float[Tensor, "b 3 h w"], camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b k"]:
        """Motion code of a driver's picture."""
        return self.motion(face_picture(image, camera, self.ball, self.config.driver))

    def points(self, planes: Float[Tensor, "b 3 c p p"], code: Float[Tensor, "b k"], level: int, jitter: bool = False) -> Points:
        """Points on rays, at one level of detail.

        Args:
            code: the photo's own motion code: rays see the head as it is in the photo.
        """
        middles, ways = ray_grid(self.config.side(level), self.ball[0])

        def opacity(points: Tensor) -> Tensor:
            parts = []
            for some in points.split(CHUNK, 1):
                appearance, basis = self._read(planes, some)
                parts.append(self.decoder.opacity(appearance + self.fusion(basis, code), some, self.ball))
            return torch.cat(parts, 1)

        position, share = sample_points(opacity, middles, ways, len(planes), jitter)
        return Points(position, *self._read(planes, position), share, self.config.spacing(level))

    def animate(self, points: Points, code: Float[Tensor, "b k"]) -> GaussianAttributes:
        """The Gaussians under a motion code; `positions` are their centres (paper: f' = f + local function of m and the code)."""
        appearance = points.appearance + self.fusion(points.basis, code)
        return self.decoder(appearance, points.position, points.spacing, self.ball)

    def draw(self, gaussians: GaussianAttributes, camera: Float[Tensor, "b 3 4"], size: int | None = None) -> Float[Tensor, "b 3 s s"]:
        """Pictures on black, by cameras of the skull's frame."""
        return draw(gaussians, camera, size or self.config.size)

    def forward(
        self, image: Float[Tensor, "b 3 h w"], camera: Float[Tensor, "b 3 4"], code: Float[Tensor, "b k"],
        driver: Float[Tensor, "b k"], view: Float[Tensor, "b 3 4"], level: int, jitter: bool = False,
    ) -> Float[Tensor, "b 3 s s"]:  # fmt: skip
        """A photo driven and seen by another camera: what training compares with a second picture.

        Args:
            image, camera, code: the photo and its own motion code. driver: motion code of who drives. view: the camera that sees it.
        """
        points = self.points(self.look(image, camera), code, level, jitter)
        return self.draw(self.animate(points, driver), view)

    def _read(self, planes: Tensor, points: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
        appearance, basis = read_planes(planes, points, self.ball).split(self.config.basis, -1)
        return appearance, basis


def draw(gaussians: GaussianAttributes, camera: Float[Tensor, "b 3 4"], size: int) -> Float[Tensor, "b 3 s s"]:
    """Gaussians, whose `positions` are centres [b, n, 3] in world units, on black."""
    assert gaussians.positions is not None
    view, lens = opencv_camera(camera, size)
    pictures = [
        rasterization(
            gaussians.positions[i], gaussians.rotations[i], gaussians.scales[i], gaussians.opacities[i, :, 0], gaussians.colors[i],
            view[i : i + 1], lens[i : i + 1], size, size,
        )[0][0]
        for i in range(len(camera))
    ]  # fmt: skip
    return torch.stack(pictures).permute(0, 3, 1, 2)
