"""Baking over real sockets: levels with their patterns on the way, an avatar whose colours follow the face at the end."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from backend.cli.main import run
from backend.protocol.arrays import splats_from_message
from backend.protocol.avatar_file import encode_avatar, read_avatar, write_avatar
from backend.protocol.errors import LookalikeError
from backend.protocol.messages import Bake
from backend.splats.posed import Posable
from tests.synthetic import synthetic_avatar


@pytest.fixture
def client(shared_backend):
    with shared_backend.client() as connected:
        yield connected


def test_levels_come_with_their_patterns(client):
    avatar, events = synthetic_avatar(), []
    done = client.bake(encode_avatar(avatar), Bake(steps=3), on_event=events.append, timeout=30)
    assert "bake" in client.welcome.offers
    lods = [event for event in events if event.kind == "lod"]
    assert [event.body.level for event in lods] == [0, 0, 0]
    head, _ = splats_from_message(lods[-1], len(avatar.rig.faces))
    np.testing.assert_array_equal(head.patterns, np.full((len(head), 1, 3), 3 / 8, np.float32))
    baked = done.avatar()
    smile = Posable(baked, 0).pose({"mouthSmile": 1.0}).sh[: len(head), 0]
    np.testing.assert_allclose(smile - avatar.lods[0].sh[:, 0], 3 / 8, atol=1e-6)


def test_a_first_cancel_keeps_the_best_so_far(client):
    seen = []

    def once(event):
        seen.append(event.kind)
        if event.kind == "lod" and seen.count("lod") == 3:
            client.cancel(event.job)

    done = client.bake(encode_avatar(synthetic_avatar()), Bake(steps=400), on_event=once, timeout=30)
    assert 2 <= done.avatar().provenance["baked"]["taken"] < 100


def test_the_command_asks_the_running_backend(client, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("backend.server.Client.connect", lambda: contextlib.nullcontext(client))
    write_avatar(tmp_path / "a.lookalike", synthetic_avatar())
    options = ["--steps", "2", "--seed", "5", "--backend"]
    assert run(["bake", str(tmp_path / "a.lookalike"), "-o", str(tmp_path / "b.lookalike"), *options]) == 0
    baked = read_avatar(tmp_path / "b.lookalike")
    assert baked.color_basis is not None
    assert baked.provenance["baked"]["seed"] == 5
    assert "1 refined frames learned from" in capsys.readouterr().out


def test_without_an_avatar_it_is_told(client):
    with pytest.raises(LookalikeError, match="no avatar was sent"):
        client.wait(client.connection.send(Bake()), None, 20)
