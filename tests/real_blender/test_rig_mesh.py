"""The rig mesh is there to be clicked on, and leaves no trace in the picture: neither colour, nor outline, nor depth."""

from __future__ import annotations

import numpy as np
import pytest

from .window import Run

MODES = ("solid", "material", "eevee")


@pytest.fixture(scope="module")
def rig_mesh(blender, share) -> Run:
    return blender.run("rig_mesh", share, timeout=900)


@pytest.mark.parametrize("pose", ["rest", "turned"])
@pytest.mark.parametrize("mode", MODES)
def test_the_picture_is_the_same_with_and_without_it(rig_mesh, mode, pose) -> None:
    """An avatar behind it shows whether it is in the depth buffer, the background around it whether it has an outline."""
    shown, hidden = (rig_mesh.picture(f"{mode}_{pose}_{state}", rig_mesh.findings["box"]) for state in ("shown", "hidden"))
    behind = hidden.max(-1) - hidden.min(-1) > 0.25
    assert behind.sum() > 5000, "the avatar behind is in the picture"
    assert (np.abs(shown - hidden).max(-1) > 2 / 255).sum() == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_click_selects_it_and_its_outline_tells_so(rig_mesh, mode) -> None:
    assert rig_mesh.findings[f"{mode}_clicked"] == "synthetic.head"
    selected, plain = (rig_mesh.picture(f"{mode}_{name}", rig_mesh.findings["box"]) for name in ("selected", "turned_shown"))
    assert (np.abs(selected - plain).max(-1) > 0.2).sum() > 200
