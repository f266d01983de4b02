"""Portraits and the tracker that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from backend.tracking import Portrait, Tracker, default_tracker, make_portrait
from backend.tracking.images import decode_image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def tracker() -> Tracker:
    return default_tracker()


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """[512, 512, 3] float32; the face is 92 pixels wide about (226, 124)."""
    return data.astronaut().astype(np.float32) / 255


@pytest.fixture(scope="session")
def astronaut_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def portrait(astronaut_png: Path, tracker: Tracker) -> Portrait:
    return make_portrait(decode_image(astronaut_png.read_bytes(), "astronaut.png"), "astronaut.png", tracker=tracker)


@pytest.fixture(scope="session")
def shared_portraits() -> list[Path]:
    paths = [SHARED / "portraits" / name for name in ("obama.jpg", "obama2.jpg")]
    if not all(p.is_file() for p in paths):
        pytest.skip("two portraits of one person are only in ../shared/data/portraits")
    return paths
