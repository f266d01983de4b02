"""F12 in a real window gives what the viewport showed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from .window import Run


@pytest.fixture(scope="module")
def final(blender, share) -> Run:
    return blender.run("final_frame", share, timeout=400)


def over_grey(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture[..., :3] + 0.5 * (1 - picture[..., 3:]), 0, 1)


def test_f12_looks_like_the_viewport(final) -> None:
    viewport = final.array("viewport")
    rendered = np.asarray(Image.open(final.folder / "final.png"), np.float32) / 255
    rendered[..., :3] *= rendered[..., 3:]
    pair = over_grey(rendered), over_grey(viewport)
    sheet = np.concatenate([*pair, np.clip(0.5 + 4 * (pair[0] - pair[1]), 0, 1)], 1)
    Image.fromarray((sheet * 255).astype(np.uint8)).save(final.folder / "compare.png")
    shown = viewport[..., 3] > 0.02
    error = np.mean((pair[0] - pair[1])[shown] ** 2)
    assert shown.mean() > 0.1
    assert 10 * np.log10(1 / error) > 23


def test_view_transform_was_noticed_without_saving(final) -> None:
    assert final.findings["baked"]
    assert final.findings["bounces"] >= 256
