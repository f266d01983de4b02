"""Baking a refiner whose truth is known: what it draws is found again, on faces and views that were never learned from."""

from __future__ import annotations

import numpy as np
import pytest

from backend.bake import bake, plan_frames
from backend.bake.bake import SHOTS_SHARE, NoGainError
from backend.bake.shots import psnr, take_shots
from backend.models.interface import Silent
from backend.personalize.ending import Enough
from backend.personalize.photometric import STOPPED
from backend.protocol.adapters import add, difference
from backend.protocol.avatar import Adapter
from backend.protocol.avatar_file import decode_avatar, encode_avatar
from backend.protocol.errors import Cancelled, LookalikeError
from backend.splats.posed import Posable

SIZE = 64
SMILE = {"mouthSmile": 1.0}


@pytest.fixture(scope="module")
def baked(avatar, refiner):
    return bake(refiner, avatar, Silent(), frames=24, steps=120, patterns=4)


def test_held_out_faces_and_views_come_near_the_refiners(baked):
    coarse, fine = baked.reports
    assert coarse.kept
    assert fine.kept
    assert fine.held_out[0] < 25
    assert fine.held_out[1] > 38
    assert coarse.held_out[1] > coarse.held_out[0] + 5
    assert coarse.held_out[1] > coarse.without_patterns + 0.3
    assert fine.held_out[1] > fine.without_patterns + 8  # what follows the face is more than a mean of all faces
    assert baked.frames == (18, 6)


def test_the_known_colours_are_found_splat_by_splat(avatar, refiner, baked):
    """Front of the face, smile and opened jaw: the change of colour itself, not only its picture."""
    pose = np.zeros((5, 3), np.float32)
    pose[2, 0] = 0.25
    found, known = (Posable(each, 1) for each in (baked.avatar, refiner.truth))
    front = avatar.lods[1].position[:, 2] > 0.05
    for expression, turned in ((SMILE, None), ({"eyeBlinkLeft": 0.8}, None), ({}, pose)):
        change = [each.pose(expression, turned).rgb - each.pose().rgb for each in (found, known)]
        error = (change[0] - change[1])[front]
        assert np.sqrt((error**2).mean()) < 0.03
        assert np.corrcoef(change[0][front].ravel(), change[1][front].ravel())[0, 1] > 0.9
    assert {"mouthSmile", "eyeBlinkLeft", "jaw.x"} <= set(baked.avatar.color_basis.controls)


def test_the_file_keeps_colours_that_follow_the_face(baked, refiner, avatar):
    read = decode_avatar(encode_avatar(baked.avatar))
    assert read.color_basis.controls == baked.avatar.color_basis.controls
    before, after = (Posable(each, 1).pose(SMILE) for each in (baked.avatar, read))
    np.testing.assert_array_equal(before.sh, after.sh)
    assert not np.array_equal(after.sh, Posable(read, 1).pose().sh)
    shots = take_shots(refiner, avatar, [f for f in plan_frames(avatar.rig, 24) if f.held_out], SIZE, Silent())
    assert psnr(read, 1, shots) == pytest.approx(baked.reports[1].held_out[1], abs=0.05)
    assert not read.features  # they belonged to the splats as they were
    assert read.provenance["baked"]["levels"][1]["psnr_held_out"][1] > 38


def test_one_level_alone_leaves_the_others_as_they_were(avatar, refiner):
    done = bake(refiner, avatar, Silent(), levels=[0], frames=12, steps=4, patterns=2).avatar
    np.testing.assert_array_equal(done.lods[1].sh, avatar.lods[1].sh)
    assert done.lods[1].patterns.shape[1] == 0
    assert done.lods[0].patterns.shape[1] == 2
    np.testing.assert_array_equal(Posable(done, 1).pose(SMILE).sh, avatar.lods[1].sh)


def test_what_is_as_good_already_is_refused(avatar, refiner, plain_refiner):
    with pytest.raises(NoGainError, match="level 1: "):
        bake(plain_refiner, avatar, Silent(), levels=[1], frames=8, steps=3)
    with pytest.raises(LookalikeError, match="baked already"):
        bake(refiner, refiner.truth, Silent())


class Impatient(Silent):
    """Ends the work when a stage is reached."""

    def __init__(self, stage: str, fraction: float = 0.0) -> None:
        self.stage, self.fraction = stage, fraction

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        if stage == self.stage and fraction >= self.fraction:
            raise Enough


def test_ended_early_the_best_so_far_is_kept(avatar, refiner):
    done = bake(refiner, avatar, Impatient("lod 0"), frames=8, steps=4, patterns=1)
    assert [(r.level, r.kept) for r in done.reports] == [(1, True)]  # the other was ended before its first figure
    assert done.stopped
    half = bake(refiner, avatar, Impatient("lod 0", SHOTS_SHARE + (1 - SHOTS_SHARE) * 0.8), frames=8, steps=40, patterns=1)
    assert half.reports[0].ended == STOPPED
    np.testing.assert_array_equal(done.avatar.lods[0].sh, avatar.lods[0].sh)
    with pytest.raises(Cancelled):
        bake(refiner, avatar, Impatient("refine"), frames=8, steps=4)


class Counting(Silent):
    """Ends the work at one call for a level; counts the calls and those after it, as every later one is refused too."""

    def __init__(self, stage: str, last: str) -> None:
        self.stage, self.last, self.seen, self.ended = stage, last, [], 0

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self.seen.append((stage, text))
        if self.ended or ((stage, text) == (self.stage, self.last) and fraction > 0.7):
            self.ended += 1
            raise Enough


def test_every_loop_of_a_level_asks_whether_it_shall_end(avatar, refiner):
    told = Counting("", "")
    bake(refiner, avatar, told, levels=[1], frames=8, steps=2, patterns=0)
    words = [text for stage, text in told.seen if stage == "lod 1"]
    assert words[:8] == ["compare"] * 8  # as it was
    assert words[8:14] == ["look"] * 6  # which splats the frames to learn from show
    assert words[14:16] == ["held-out frames"] * 2
    assert words[-10:] == ["compare"] * 10  # as it is: all, and held-out frames without patterns


def test_ended_while_a_done_level_is_measured_it_is_kept_without_the_rest(avatar, refiner):
    told = Counting("lod 1", "compare")
    done = bake(refiner, avatar, told, levels=[0, 1], frames=8, steps=4, patterns=1)
    assert done.stopped
    assert told.ended == 1  # nothing was begun after that
    (fine,) = done.reports
    assert (fine.kept, fine.learned[1], fine.without_patterns) == (True, None, None)
    assert fine.held_out[1] > fine.held_out[0]
    assert done.avatar.provenance["baked"]["levels"][0]["psnr_learned"][1] is None
    np.testing.assert_array_equal(done.avatar.lods[0].sh, avatar.lods[0].sh)


def test_impossible_wishes_are_told(avatar, refiner):
    with pytest.raises(LookalikeError, match="no level of detail 2"):
        bake(refiner, avatar, Silent(), levels=[2])
    with pytest.raises(LookalikeError, match="3 frames"):
        bake(refiner, avatar, Silent(), frames=3)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"steps": 0}, "^0 steps"),
        ({"size": 0}, "pictures of 0 pixels"),
        ({"size": -64}, "pictures of -64 pixels"),
        ({"seed": -1}, "^seed -1"),
        ({"frames": 2000}, "2000 frames of 512 x 512 pixels do not fit in memory"),
    ],
)
def test_numbers_out_of_range_are_told_before_the_refiner_is_asked(avatar, refiner, wish, told):
    with pytest.raises(LookalikeError, match=told) as error:
        bake(refiner, avatar, Impatient("refine"), **wish)
    assert "choose" in error.value.remedy


def test_adapters_that_show_are_baked_in_and_told_of(avatar, refiner):
    levels = difference(avatar.lods, avatar.lods)
    for level in levels:
        level["sh"] = np.full_like(level["sh"], 0.25)
    adapted = add(add(avatar, Adapter("photos", "photometric", "2026-11-20T00:00:00Z", True, {"steps": 3}, levels)),
                  Adapter("off", "photometric", "2026-11-20T00:00:00Z", False, {}, levels))  # fmt: skip
    done = bake(refiner, adapted, Silent(), levels=[0], frames=8, steps=2, patterns=0).avatar
    assert [entry["name"] for entry in done.provenance["merged"]] == ["photos"]
    assert done.provenance["merged"][0]["steps"] == 3
    assert not done.adapters
    np.testing.assert_array_equal(done.lods[1].sh, adapted.lods[1].sh)
    assert not np.array_equal(done.lods[1].sh, avatar.lods[1].sh)


def test_a_plan_goes_through_every_control_and_holds_other_faces_out(avatar):
    plan = plan_frames(avatar.rig, 96)
    learned, held = ([f for f in plan if f.held_out is out] for out in (False, True))
    assert len(held) == 24
    assert {name for f in learned for name in f.controls} == {*avatar.rig.expression_names, "jaw.x"}
    assert not {(f.yaw, f.pitch) for f in learned} & {(f.yaw, f.pitch) for f in held}
    assert plan == plan_frames(avatar.rig, 96) != plan_frames(avatar.rig, 96, seed=1)
