"""Shared by every lane: real input. Lanes that need the lab's folder beside the project skip, saying so, where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with openly licensed heads, motion and portraits."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (ICT heads, portraits, motion), which is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def portrait_file(tmp_path_factory) -> Path:
    """scikit-image's astronaut as a PNG file."""
    data = pytest.importorskip("skimage.data")
    image = pytest.importorskip("PIL.Image")
    path = tmp_path_factory.mktemp("portraits") / "astronaut.png"
    image.fromarray(data.astronaut()).save(path)
    return path
