"""ARKit curves drive any rig with ARKit's names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.rig import ARKIT_NAMES, Rig, arkit_to_driver, pose_vertices


def test_there_are_52_names():
    assert len(set(ARKIT_NAMES)) == 52


def test_every_shape_moves_the_built_in_head(head: Rig):
    baked = head.bake(head.template)
    for name in ARKIT_NAMES:
        expression, pose = arkit_to_driver({name: 1.0})
        moved = np.abs(pose_vertices(baked, expression, pose) - baked.vertices).max()
        assert 0.001 < moved < 0.05, name


def test_jaw_and_gaze_become_rotations():
    expression, pose = arkit_to_driver({"jawOpen": 0.5, "eyeLookOutLeft": 1, "eyeLookInRight": 1, "eyeLookUpLeft": 1, "mouthPucker": 0})
    assert expression == {}
    assert pose[2, 0] == pytest.approx(0.18)
    assert (pose[3:, 1] > 0).all(), "both eyes look to the subject's left"
    assert pose[3, 0] < 0, "up is about -X"


def test_names_are_read_in_the_ways_they_are_written():
    assert arkit_to_driver({"EyeBlinkLeft": 1})[0] == {"eyeBlinkLeft": 1}
    assert arkit_to_driver({"mouthSmile_R": 0.5})[0] == {"mouthSmileRight": 0.5}
    with pytest.raises(ValueError, match="mouthSmirk"):
        arkit_to_driver({"mouthSmirk": 1})


def test_a_recorded_performance_plays(head: Rig, shared: Path):
    """973 frames of real ARKit curves: lids never cross, nothing flies away."""
    clip = json.loads((shared / "data" / "motion" / "arkit_test_expression.json").read_text())
    names, frames = clip["names"], clip["frames"]
    baked = head.bake(head.template)
    for frame in frames[::97]:
        expression, pose = arkit_to_driver(dict(zip(names, frame["weights"], strict=True)))
        vertices = pose_vertices(baked, expression, pose)
        assert np.isfinite(vertices).all()
        assert np.abs(vertices - baked.vertices).max() < 0.06
