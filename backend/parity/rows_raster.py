"""Rows of the released rasterizer (raster.safetensors): small sets of Gaussians, all that it keeps of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from backend.splats.covariance import raw_covariances
from backend.splats.tile_raster import footprints, tile_raster

from .fixture_folder import Fixture, FixtureFolder
from .rows import Row, compare, share_equal

FILES = ("raster",)
GIVEN = ("raster/*.in.*",)
TANGENT = 1 / 12


def rows(folder: FixtureFolder) -> Iterator[Row]:
    """Every set of the file ("plain", "stress", ...)."""
    if "raster" not in folder:
        return
    file = folder["raster"]
    for name in sorted({key.split(".")[0] for key in file.names}):
        yield from _set(file, name)


def _set(file: Fixture, name: str) -> Iterator[Row]:
    given = {key: file[f"{name}.in.{key}"] for key in ("means", "scales", "quats", "opac", "colors", "bg", "view", "proj", "size_wh")}
    width, height = given["size_wh"].tolist()
    covars = raw_covariances(torch.from_numpy(given["quats"]), torch.from_numpy(given["scales"])).numpy()
    prints = footprints(given["means"], covars, given["view"], given["proj"], width, height, (TANGENT, TANGENT))
    picture = tile_raster(prints, given["opac"], given["colors"], width, height, given["bg"])
    of = lambda key: f"raster/{name}.{key}"
    drawn = file[f"{name}.ok"].astype(bool)
    yield compare(of("ok"), prints.drawn, drawn, 0)
    stored = {"depth": prints.depth, "xy": prints.xy, "cov2d": prints.cov2d, "conic": prints.conic}
    stored["cov3d"] = covars.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    for key, value in stored.items():
        scale = float(np.abs(file[f"{name}.{key}"]).max())
        yield compare(of(key), value[drawn], file[f"{name}.{key}"][drawn], 2e-6 * max(1.0, scale))
    yield compare(of("radius"), prints.radius, file[f"{name}.radius"], 0)
    yield compare(of("tiles"), prints.tiles, file[f"{name}.tiles"], 0)
    yield compare(of("image"), picture.image.transpose(2, 0, 1), file[f"{name}.image"], 5e-5)
    yield compare(of("final_t"), picture.transmittance, file[f"{name}.final_t"], 5e-5)
    # The last Gaussian may differ only where one of them meets a threshold to the last bit.
    yield share_equal(of("last"), picture.last, file[f"{name}.last"], 0.001)
