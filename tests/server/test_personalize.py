"""Personalization over real sockets: levels and curve on the way, an avatar with an adapter at the end, cancel keeps the best so far."""

from __future__ import annotations

import contextlib
import signal

import numpy as np
import pytest

from backend.cli.main import run
from backend.models.interface import Silent
from backend.personalize.photometric import Enough
from backend.protocol.arrays import splats_from_message
from backend.protocol.avatar_file import encode_avatar, read_avatar, write_avatar
from backend.protocol.errors import Cancelled
from backend.protocol.messages import Personalize, Result
from backend.server import pipeline
from tests.synthetic import synthetic_avatar

PHOTO = ("me.jpg", b"not looked at by this pipeline")


@pytest.fixture
def client(shared_backend):
    with shared_backend.client() as connected:
        yield connected


def test_levels_and_curve_come_while_it_works(client):
    avatar, events = synthetic_avatar(), []
    done = client.personalize(encode_avatar(avatar), [PHOTO], steps=4, on_event=events.append, timeout=30)
    assert "personalize" in client.welcome.offers
    lods = [e for e in events if e.kind == "lod"]
    assert [e.body.level for e in lods] == [1] * 4
    assert any(e.kind == "preview" and e.tensors()["image"].shape == (4, 6, 3) for e in events)
    head, _ = splats_from_message(lods[-1], len(avatar.rig.faces))
    assert head.sh.mean() < avatar.lods[1].sh.mean()
    assert isinstance(done.body, Result)
    assert done.body.warnings == ("a warning",)
    refined = done.avatar()
    assert [a.name for a in refined.adapters] == ["test"]
    np.testing.assert_array_equal(refined.base[1].sh, avatar.lods[1].sh)


def test_a_fetched_personalization_is_its_result_not_its_curve(client):
    done = client.personalize(encode_avatar(synthetic_avatar()), [PHOTO], steps=2, timeout=30)
    again = client.fetch(done.job, timeout=30)
    assert isinstance(again.body, Result)
    assert [a.name for a in again.avatar().adapters] == ["test"]


def test_cancel_keeps_the_best_so_far(client):
    seen = []

    def once(event):
        seen.append(event.kind)
        if event.kind == "lod" and seen.count("lod") == 3:
            client.cancel(event.job)

    done = client.personalize(encode_avatar(synthetic_avatar()), [PHOTO], steps=400, on_event=once, timeout=30)
    assert 2 <= done.avatar().adapters[0].facts["taken"] < 100


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_over_the_wire_keeps_the_best_and_twice_drops_it(client, monkeypatch, tmp_path, capsys, presses):
    from backend.cli.output import TerminalListener

    class Impatient(TerminalListener):
        left = presses

        def progress(self, fraction, stage, text=""):
            while text.startswith("step") and int(text.split()[1]) >= 3 and self.left:
                self.left -= 1
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("backend.cli.personalize.TerminalListener", Impatient)
    monkeypatch.setattr("backend.server.Client.connect", lambda: contextlib.nullcontext(client))
    write_avatar(tmp_path / "a.lookalike", synthetic_avatar())
    (tmp_path / "me.jpg").write_bytes(b"not looked at")
    before = signal.getsignal(signal.SIGINT)
    arguments = ["personalize", str(tmp_path / "a.lookalike"), str(tmp_path / "me.jpg"), "-o", str(tmp_path / "b.lookalike")]
    assert run([*arguments, "--steps", "400", "--consent", "Ada", "--backend"]) == presses - 1, capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "b.lookalike").is_file() == (presses == 1)
    if presses == 1:
        facts = read_avatar(tmp_path / "b.lookalike").adapters[0].facts
        assert facts["taken"] in range(2, 100)
        assert facts["consent"] == "Ada"


def test_a_second_cancel_drops_everything(client):
    cancelled = []

    def twice(event):
        if event.kind == "lod" and len(cancelled) < 2:
            cancelled.append(event)
            client.cancel(event.job)
            client.cancel(event.job)

    with pytest.raises(Cancelled):
        client.personalize(encode_avatar(synthetic_avatar()), [PHOTO], steps=400, on_event=twice, timeout=30)


def test_a_cancel_before_anything_was_done_is_no_bug():
    class Hasty(Silent):
        def progress(self, fraction, stage, text=""):
            raise Enough

    with pytest.raises(Cancelled, match="before it had made anything better"):
        pipeline.personalize(synthetic_avatar(), [PHOTO], Personalize(("me.jpg",)), Hasty())


def test_adapters_command_switches_in_the_file(client, tmp_path, capsys):
    path = tmp_path / "a.lookalike"
    avatar = synthetic_avatar()
    write_avatar(path, client.personalize(encode_avatar(avatar), [PHOTO], steps=2, timeout=30).avatar())
    assert run(["adapters", str(path), "--disable", "test"]) == 0
    assert "off test" in capsys.readouterr().out
    np.testing.assert_array_equal(read_avatar(path).lods[0].sh, avatar.lods[0].sh)
    assert run(["adapters", str(path), "--enable", "test", "--merge", "test"]) == 0
    merged = read_avatar(path)
    assert not merged.adapters
    assert merged.lods[0].sh.mean() < avatar.lods[0].sh.mean()
    assert run(["adapters", str(path), "--remove", "none"]) == 1
