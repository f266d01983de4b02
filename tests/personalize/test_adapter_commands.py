"""`lookalike merge-adapter` and `lookalike adapt` as typed, with a small network in the checkpoint's place."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from backend.cli import adapt as commands
from backend.cli.main import run
from backend.personalize.adapter_file import Adapter, write_adapter
from backend.personalize.lora import Pair, base_digest, fresh_pairs, merge
from backend.personalize.small_network import SmallAvatarNetwork


def small() -> SmallAvatarNetwork:
    torch.manual_seed(0)
    return SmallAvatarNetwork(60).eval()


@pytest.fixture
def adapter(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "users_network", lambda perceptual=True: small())
    network = small()
    pairs = {key: Pair(pair.a, torch.full_like(pair.b, 0.1)) for key, pair in fresh_pairs(network, 4).items()}
    made = Adapter("alice", pairs, rank=4, digest=base_digest(network))
    write_adapter(tmp_path / "alice.safetensors", made)
    return made


def test_merged_weights_are_the_networks_with_the_adapter_in_it(adapter, tmp_path):
    output = tmp_path / "merged.safetensors"
    assert run(["merge-adapter", str(tmp_path / "alice.safetensors"), "-o", str(output)]) == 0
    wanted = small()
    merge(wanted, adapter.pairs, adapter.scale)
    read = load_file(output)
    assert read.keys() == wanted.state_dict().keys()
    assert all(torch.equal(read[key], value) for key, value in wanted.state_dict().items())


def test_a_full_disk_leaves_the_older_file(adapter, tmp_path, monkeypatch, capsys):
    def full(state, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    output = tmp_path / "merged.safetensors"
    output.write_bytes(b"older")
    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert run(["merge-adapter", str(tmp_path / "alice.safetensors"), "-o", str(output)]) == 1
    assert "MB of room" in capsys.readouterr().err
    assert output.read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"alice.safetensors", "merged.safetensors"}


def test_an_adapter_of_another_base_is_refused(adapter, tmp_path, capsys):
    write_adapter(tmp_path / "alice.safetensors", replace(adapter, digest="0" * 64))
    assert run(["merge-adapter", str(tmp_path / "alice.safetensors"), "-o", str(tmp_path / "merged.safetensors")]) == 1
    assert "another base model" in capsys.readouterr().err


def test_of_a_long_video_frames_spread_over_it_are_read(monkeypatch, tmp_path):
    read = []

    class Footage:
        people = ("anna",)

        def __init__(self, *_):
            pass

        def frames(self, person):
            return 1001

        def view(self, person, index):
            read.append(index)

    monkeypatch.setattr("backend.training.data.gagavatar_track.TrackedLmdb", Footage)
    monkeypatch.setattr("backend.personalize.frames.frames_of_views", lambda views, rig: views)
    commands.tracked_person(tmp_path, 0, "builtin", 11)
    assert read == list(range(0, 1001, 100))
    read.clear()
    commands.tracked_person(tmp_path, 0, "builtin", 2000)
    assert len(read) == 1001
