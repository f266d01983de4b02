"""Rows of GAGAvatar's losses (gaga_losses.safetensors)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from backend.models.gagavatar.losses import PERCEPTUAL, crop_resized, enlarged_box, losses
from backend.models.gagavatar.perceptual import FacePerceptualLoss

from .fixture_folder import Fixture, FixtureFolder
from .fixture_inputs import plain_image
from .fixture_weights import fill
from .rows import Row, compare

FILES = ("gaga_losses",)
GIVEN = ("gaga_losses/bbox", "gaga_losses/?_points")
PICTURES = ("t_image", "gen_image", "sr_gen_image")


def rows(folder: FixtureFolder) -> Iterator[Row]:
    """Terms, their parts, the perceptual loss of whole pictures, and features of two pictures."""
    if "gaga_losses" not in folder:
        return
    file = folder["gaga_losses"]
    net = FacePerceptualLoss().eval()
    fill(net, file.salt, "percep_loss.")
    target, coarse, refined = (torch.from_numpy(plain_image(f"loss.{name}", file.salt, grid=32)) for name in PICTURES)
    box = torch.from_numpy(file["bbox"])
    with torch.no_grad():
        yield from _terms(file, net, (target, coarse, refined), box)
        yield from _whole(file, net, (target, coarse, refined))


def _terms(file: Fixture, net: FacePerceptualLoss, pictures: tuple[torch.Tensor, ...], box: torch.Tensor) -> Iterator[Row]:
    target, coarse, refined = pictures
    vertices, lifted = (torch.from_numpy(file[name])[None] for name in ("t_points", "p_points"))
    terms = losses(net, coarse, refined, target, box, vertices, lifted)
    scalar = lambda name, value: compare(f"gaga_losses/{name} (relative)", value.reshape(1), file[name], 1e-5, relative=True)
    for name, value in terms._asdict().items():
        yield scalar(f"loss.{name}", value)
    square = enlarged_box(box)
    yield compare("gaga_losses/bbox_expanded", square, file["bbox_expanded"], 1e-6)
    there = crop_resized(target, square)
    expected = net.features(there)
    for name, crop in (("coarse", crop_resized(coarse, square)), ("refined", crop_resized(refined, square))):
        yield scalar(f"box_l1.{name}", functional.l1_loss(crop, there))
        yield scalar(f"box_percep.{name}", PERCEPTUAL * net.distance(net.features(crop), expected))
    yield scalar("psnr", -10 * torch.log10(functional.mse_loss(target, refined)))


def _whole(file: Fixture, net: FacePerceptualLoss, pictures: tuple[torch.Tensor, ...]) -> Iterator[Row]:
    """The perceptual loss of whole pictures, and the features that it compares."""
    seen: dict[str, Any] = dict(zip(PICTURES, map(net.features, pictures), strict=True))
    for name, picture in (("coarse", "gen_image"), ("refined", "sr_gen_image")):
        value = net.distance(seen[picture], seen["t_image"]).reshape(1)
        yield compare(f"gaga_losses/percep_full.{name} (relative)", value, file[f"percep_full.{name}"], 1e-5, relative=True)
    for name in ("t_image", "sr_gen_image"):
        alexnet, vgg = seen[name]
        for part, maps in (("alexnet", alexnet), ("vggface", vgg)):
            summary = np.array([[m.double().mean(), m.double().std(correction=0), m.abs().max()] for m in maps])
            key = f"features.{name}.{part}"
            yield compare(f"gaga_losses/{key} (relative)", summary, file[key], 1e-5, relative=True)
        patch = f"features.{name}.alexnet1_patch"
        yield compare(f"gaga_losses/{patch}", alexnet[0][0, :, 60:63, 60:63], file[patch], 1e-4)
        patch = f"features.{name}.vggface5_patch"
        yield compare(f"gaga_losses/{patch}", vgg[4][0, ::8, 15:17, 15:17], file[patch], 1e-3)
