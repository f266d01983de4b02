"""Cues become NLA strips that flow into each other, that play, and that hide nothing."""

from __future__ import annotations

import itertools

import bpy
import numpy as np
import pytest

from tests.blender.animation import motion_files as files


@pytest.fixture
def said(ada, part, tmp_path):
    """Lay the cues of CUES onto the avatar from frame 1 at 24 frames a second; returns the report."""
    bpy.context.scene.render.fps = 24
    return lambda **options: part("api").import_motion(files.rhubarb_json(tmp_path / "line.json"), ada.collection, **options)


def frame_at(seconds: float, start: float = 1.0) -> None:
    frame = start + 24 * seconds
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)


def test_strips_play_the_modelled_weights(ada, part, said):
    said()
    weights_at, stretches = part("motion.coarticulation").weights_at, part("motion.coarticulation").stretches
    cues = part("motion.cues").read_json({"mouthCues": [{"start": a, "end": b, "value": c} for a, b, c in files.CUES]}, "x").cues
    found, shapes = stretches(cues), part("motion.visemes").RHUBARB
    for time in np.arange(0.1, 1.2, 0.05):
        frame_at(float(time))
        weights = weights_at(found, float(time))
        for name, key in (("mouthPucker", "mouthPucker"), ("mouthRollLower", "mouthRollLower"), ("mouthUpperUpLeft", "mouthUpperUpLeft")):
            expected = sum(round(w, 9) * shapes[s].get(name, 0) for s, w in weights.items())
            assert ada.keys[key].value == pytest.approx(expected, abs=0.03), (time, name)


def test_closures_are_reached_and_rounding_is_prepared(ada, said):
    said()
    frame_at(0.36)
    assert ada.keys["mouthRollLower"].value > 0.2  # P: lips pressed although it lasts 0.08 s
    frame_at(0.75)
    assert ada.keys["mouthPucker"].value > 0.05  # OO is on its way during the sound before it
    frame_at(1.28)
    assert ada.keys["mouthPucker"].value < 0.02


def test_jaw_opens_on_the_vowel(ada, said):
    said()
    frame_at(0.55)
    assert ada.bones["jaw"].rotation_euler.x > 0.15
    frame_at(0.0)
    assert ada.bones["jaw"].rotation_euler.x == pytest.approx(0, abs=1e-4)


def test_work_under_the_strips_adds_up(ada, said):
    ada.face["browInnerUp"] = 0.5
    ada.face["mouthPucker"] = 0.2
    for name in ("browInnerUp", "mouthPucker"):
        ada.face.keyframe_insert(f'["{name}"]', frame=1)
    report = said()
    assert any("pushed down" in note for note in report.warnings)
    assert ada.armature.animation_data.action is None
    frame_at(0.9)
    assert ada.keys["browInnerUp"].value == pytest.approx(0.5)
    assert ada.keys["mouthPucker"].value == pytest.approx(0.2 + 0.75, abs=0.05)


def test_what_is_keyed_afterwards_adds_too(ada, said):
    said()
    ada.face["browInnerUp"] = 0.5
    ada.face.keyframe_insert('["browInnerUp"]', frame=1)
    frame_at(0.0)
    ada.face["mouthPucker"] = 0.2
    ada.face.keyframe_insert('["mouthPucker"]', frame=1)
    frame_at(0.9)
    assert ada.keys["browInnerUp"].value == pytest.approx(0.5)
    assert ada.keys["mouthPucker"].value == pytest.approx(0.2 + 0.75, abs=0.05)


def test_strips_never_overlap_in_a_track(ada, said):
    report = said(start=50)
    tracks = ada.armature.animation_data.nla_tracks
    assert report.strips == sum(len(track.strips) for track in tracks) == 5
    for track in tracks:
        for before, after in zip(list(track.strips)[:-1], list(track.strips)[1:], strict=True):
            assert before.frame_end <= after.frame_start + 1e-4
    assert min(strip.frame_start for track in tracks for strip in track.strips) > 50


def test_weights_never_exceed_one(part):
    rng = np.random.default_rng(3)
    Cue = part("motion.cues").Cue
    edges = np.cumsum(rng.uniform(0.02, 0.3, 200))
    cues = [Cue(float(a), float(b), str(rng.choice(list("ABCDEFGHX")))) for a, b in itertools.pairwise(edges)]
    model = part("motion.coarticulation")
    found = model.stretches(cues)
    for time in np.arange(0, edges[-1], 0.01):
        assert sum(model.weights_at(found, float(time)).values()) <= 1 + 1e-9
    for before, after in zip(found[:-2], found[2:], strict=True):
        assert before.end <= after.start + 1e-9


def test_a_long_recording_needs_few_actions(ada, part, tmp_path):
    rng = np.random.default_rng(3)
    edges = np.cumsum(rng.uniform(0.03, 0.25, 400))
    cues = [(float(a), float(b), str(rng.choice(list("ABCDEFGHX")))) for a, b in itertools.pairwise(edges)]
    report = part("api").import_motion(files.rhubarb_tsv(tmp_path / "long.tsv", cues), ada.collection)
    assert report.strips > 300
    assert len(bpy.data.actions) <= 60
