"""FFAvatar's third stage: held-out photos decide, the rig stays, what is no better is refused, and the user can stop it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backend.models.ffavatar import FFAvatarNetwork
from backend.models.interface import Silent
from backend.models.omg.gaussians import joined
from backend.models.omg.splats import head_splats, shoulder_splats, vertex_bindings
from backend.personalize.ending import Enough, NoImprovementError
from backend.personalize.ffavatar import Shot, fine_tune, held_out, tuned_difference
from backend.personalize.identity import check_portraits
from backend.protocol.avatar import Avatar
from backend.protocol.errors import FaceError, LookalikeError
from backend.server import pipeline
from tests.models.test_ffavatar import small_network
from tests.models.test_omg import RIG
from tests.synthetic import synthetic_avatar

SIZE = 32


def blob(color: tuple[float, float, float], x: float) -> torch.Tensor:
    """A picture of a coloured disc, lit from one side by as much as the head is turned."""
    ticks = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    down, across = torch.meshgrid(ticks, ticks, indexing="ij")
    inside = ((across**2 / 0.2 + down**2 / 0.4) < 1).float()
    return (torch.tensor(color)[:, None, None] * (0.8 + x * across) * inside)[None]


def shots(count: int) -> list[Shot]:
    pictures = [blob((0.8, 0.5, 0.2), 0.2 * i / count) for i in range(count)]
    return [Shot(f"{i}.png", str(i) * 64, one, (one.sum(1, keepdim=True) > 0).float()) for i, one in enumerate(pictures)]


@pytest.fixture
def network() -> FFAvatarNetwork:
    return small_network(levels=1, picture=28)


def avatar_of(network: FFAvatarNetwork, photos: list[Shot]):
    """What the network makes of photos, on the bare rig, and what it saw of them."""
    with torch.no_grad():
        known = [network.look(shot.image) for shot in photos]
        identity = network.fuse(known)
        parts = [network.added(identity, level) for level in (0, 1)]
        baked = RIG.bake(RIG.template)
        bindings = [vertex_bindings(RIG.faces, len(RIG.template), level) for level in (0, 1)]
        lods = tuple(head_splats(baked, joined(parts[: i + 1]), *bound) for i, bound in enumerate(bindings))
        beside = shoulder_splats(baked, *network.bust_gaussians(identity))
    facts = {"name": "test", "model": "ffavatar", "sources": [{"name": s.name, "sha256": s.sha256} for s in photos]}
    return Avatar(baked, lods, beside, (), facts), known


def test_photos_that_the_avatar_was_not_made_of_judge(network):
    given = shots(8)
    avatar, _ = avatar_of(network, given[:5])
    learned, judged = held_out(avatar, given)
    assert [shot.name for shot in judged] == ["6.png", "7.png"]
    assert len(learned) == 6
    learned, judged = held_out(avatar, given[:3])  # all its own: one is held out all the same
    assert [shot.name for shot in judged] == ["2.png"]
    with pytest.raises(FaceError, match="two or more"):
        held_out(avatar, given[:1])


class Impatient(Silent):
    """A user who has seen enough after 27 steps."""

    calls = 0

    def progress(self, fraction, stage, text=""):
        self.calls += 1
        if self.calls > 27:
            raise Enough


def test_held_out_photos_get_better_the_rig_stays_and_the_user_can_stop_it(network):
    given = shots(5)
    avatar, known = avatar_of(network, given[:2])
    told: list[int] = []
    tuned = fine_tune(network, avatar, known, given, Impatient(), 500, lambda course: told.append(len(course.verdicts)))
    assert tuned.course.after > tuned.course.before + 0.2
    assert tuned.course.verdicts[0].held_out == tuned.course.before
    assert told == [1, 2]
    assert "ended by the user" in tuned.course.ended
    assert len(tuned.course.losses) == 27
    assert tuned.held_out == "1 of 5 photos: 4.png"
    changes = tuned_difference(avatar, tuned)
    assert [np.abs(level["position"]).max() for level in changes] == [0, 0]
    assert all(np.abs(level["sh"]).max() > 0.01 for level in changes)
    for fine, base in zip(tuned.lods, avatar.lods, strict=True):
        np.testing.assert_array_equal(fine.face, base.face)


def test_no_improvement_is_refused_and_the_network_of_the_start_is_kept(network, monkeypatch):
    monkeypatch.setattr("backend.personalize.ffavatar.RATE", 0.0)
    monkeypatch.setattr("backend.personalize.ffavatar.READING_RATE", 0.0)
    given = shots(4)
    avatar, known = avatar_of(network, given[:1])
    with pytest.raises(NoImprovementError, match=r"held-out photos \(1 of 4 photos: 3\.png\) went from") as error:
        fine_tune(network, avatar, known, given, Silent(), 1)
    assert error.value.data["before"] == error.value.data["after"]


def test_a_loss_that_is_no_number_ends_it(network):
    given = shots(4)
    spoilt = [replace(given[0], image=torch.full_like(given[0].image, torch.nan)), *given[1:]]
    avatar, known = avatar_of(network, given[1:2])
    with pytest.raises(NoImprovementError):
        fine_tune(network, avatar, known, spoilt, Silent(), 3)
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_arcface_tells_photos_of_two_people():
    def named(name: str, x: float) -> Any:
        return SimpleNamespace(name=name, image=np.full(1, x, np.float32))

    angles = {0.0: 0.0, 0.1: 0.2, 1.0: np.pi / 2}
    embed = lambda image: np.array([np.cos(angles[round(float(image[0]), 1)]), np.sin(angles[round(float(image[0]), 1)])])
    one = [named("a.png", 0.0), named("b.png", 0.1)]
    check_portraits(one, embed)
    with pytest.raises(FaceError, match=r"c\.png.*two people"):
        check_portraits([*one, named("c.png", 1.0)], embed)


def test_an_avatar_that_keeps_nothing_of_its_photos_cannot_be_extended():
    with pytest.raises(LookalikeError, match="takes no photos afterwards"):
        pipeline.extend(synthetic_avatar(1), [("a.png", b"")], (), "builtin")
