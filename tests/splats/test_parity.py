"""Projection of raw covariances against the numbers recorded from GAGAvatar's rasterizer (own reference, ../shared/parity).

Its blending is not gsplat's (a square of three standard deviations cuts each splat, alpha ends at 0.99), so the
pictures agree but for what such a cut leaves away; the projection is the same mathematics and must agree exactly.
"""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from backend.splats import rasterization


@pytest.fixture(scope="module")
def recorded(shared):
    return load_file(shared / "parity" / "raster.safetensors")


@pytest.mark.parametrize("name", ["plain", "stress"])
def test_covariances_project_as_recorded(recorded, name):
    take = lambda key: torch.tensor(recorded[f"{name}.{key}"])
    width, height = (int(v) for v in recorded[f"{name}.in.size_wh"])
    upper = take("cov3d")
    covars = upper[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    lens = torch.tensor([[6.0 * width, 0, width / 2], [0, 6.0 * height, height / 2], [0, 0, 1]])  # tan of half the field: 1/12
    image, alpha, meta = rasterization(
        take("in.means"), None, None, take("in.opac")[:, 0], take("in.colors"), take("in.view").T.contiguous()[None], lens[None],
        width, height, near_plane=0.2, backgrounds=take("in.bg")[None], covars=covars,
    )  # fmt: skip
    drawn = (recorded[f"{name}.ok"] == 1) & (meta["radii"][0] > 0).all(-1).numpy()
    assert drawn.sum() > 30
    assert np.allclose(meta["depths"][0].numpy()[drawn], recorded[f"{name}.depth"][drawn], rtol=1e-6)
    # Its pixel centres are at whole numbers.
    assert np.abs(meta["means2d"][0].numpy()[drawn] - 0.5 - recorded[f"{name}.xy"][drawn]).max() < 5e-4
    conic, expected = meta["conics"][0].numpy()[drawn], recorded[f"{name}.conic"][drawn]
    assert (np.abs(conic - expected).max(1) / np.abs(expected).max(1)).max() < 5e-4
    transmittance = 1 - alpha[0, ..., 0].numpy()
    assert np.abs(transmittance - recorded[f"{name}.final_t"]).mean() < 2e-4
    assert np.abs(image[0].numpy().transpose(2, 0, 1) - recorded[f"{name}.image"]).mean() < 2e-4
