"""LoRA over the wire's own function: a network adapted to photos becomes an adapter of splats; what is missing is told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.models.gagavatar import GAGAvatar
from backend.models.gagavatar.network import GAGAvatarNetwork
from backend.models.interface import Silent
from backend.models.networks import DinoBase, DinoV2
from backend.parity import fill, noise_image
from backend.personalize import network_job
from backend.personalize.adapt import AdaptSettings
from backend.personalize.job import METHODS, Wish, personalize
from backend.protocol.adapters import switch
from backend.protocol.avatar import Driver
from backend.protocol.avatar_file import decode_avatar, encode_avatar
from backend.protocol.errors import FaceError, LookalikeError, RigError, WeightsError
from backend.rig import builtin_head
from backend.tracking.fit import Fit, Placed
from backend.tracking.portrait import Face, Portrait
from tests.made_up_flame import made_up_flame

SALT = b"network job"
FILES = [("me.png", b"one"), ("side.png", b"two"), ("up.png", b"three")]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network():
    encoder = DinoBase(DinoV2(width=48, depth=4, heads=2), width=32, levels=(16, 16, 32, 32))
    made = GAGAvatarNetwork(encoder=encoder, input_size=70, size=64).eval()
    fill(made, SALT)
    return made


@pytest.fixture(scope="module")
def rig():
    return made_up_flame(SALT)


def driver() -> Driver:
    view = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    view[2, 3] = 0.9
    lens = np.array([[900, 0, 256], [0, 900, 256], [0, 0, 1]], np.float32)
    return Driver({"expr000": 0.5}, np.zeros((5, 3), np.float32), view, lens, (512, 512))


def portrait(name: str) -> Portrait:
    image = noise_image("tests.image", SALT).astype(np.float32) / 255
    turn = 2 * np.pi * np.arange(478) / 478
    landmarks = np.stack([256 + 100 * np.sin(turn), 256 - 120 * np.cos(turn), 0 * turn], -1).astype(np.float32)
    return Portrait(image, (image.max(2) > 0).astype(np.float32), Face(landmarks, 0.99, 0.99), name, name)


@pytest.fixture(scope="module")
def avatar(network, rig):
    fitted = Fit(np.zeros(300, np.float32), rig.template, (driver(),), (np.zeros_like(rig.template),), 0, (0.0,), (0.0,), 0.0)
    made = GAGAvatar(device="cpu").reconstruct_fitted([portrait("me.png")], rig, fitted, network, Silent())
    return replace(made, provenance={**made.provenance, "name": "me"})


@pytest.fixture
def ready(monkeypatch, network, rig):
    """The user's weights are there, and photos are found as they are."""
    monkeypatch.setattr("backend.models.gagavatar.checkpoint.gagavatar_weights", lambda: Path("GAGAvatar.pt"))
    monkeypatch.setattr("backend.models.gagavatar.checkpoint.load_network", lambda path, perceptual=True: network)
    monkeypatch.setattr(network_job, "load_portraits", lambda files, *_: (portrait(name) for name, _ in files))
    fit = sys.modules["backend.tracking.fit"]  # the package has a function of that name too
    monkeypatch.setattr(fit, "place", lambda *_: Placed(driver(), np.zeros_like(rig.template), 0.0))
    fast = lambda name, iterations, bridge: AdaptSettings(
        name, iterations, bridge=bridge, rank=2, embedding=4, encoder=(8,), rate=0.02, hold_out=0.34, check_every=2, batch=1
    )
    monkeypatch.setattr("backend.personalize.adapt.AdaptSettings", fast)


def test_what_the_network_learned_is_an_adapter_that_switches(ready, avatar, rig):
    curves = []
    listener = Silent()
    listener.curve = curves.append
    done = personalize(avatar, FILES[:2], Wish(steps=2, consent="Ada", method="lora"), rig, None, listener)
    (adapter,) = decode_avatar(encode_avatar(done.avatar)).adapters
    assert adapter.kind == "lora"
    assert adapter.facts["consent"] == "Ada"
    assert adapter.facts["after"] < adapter.facts["before"]
    assert [len(level["opacity"]) for level in adapter.levels] == [len(lod) for lod in avatar.lods]
    assert any(np.abs(level["sh"]).max() > 0 for level in adapter.levels)
    np.testing.assert_array_equal(switch(done.avatar, adapter.name, False).lods[1].sh, avatar.lods[1].sh)
    assert curves
    assert done.curve.std() > 1


def test_what_is_missing_is_told(ready, avatar, rig, monkeypatch):
    ask = lambda files=FILES, head=rig, **wish: personalize(avatar, files, Wish(steps=2, **wish), head, None, Silent())
    with pytest.raises(FaceError, match="photo that it was made from, which is not among these; add that photo"):
        ask(FILES[1:])
    with pytest.raises(FaceError, match="one photo given"):
        ask(FILES[:1])
    with pytest.raises(RigError, match="trained on FLAME's 5023 vertices"):
        ask(head=builtin_head())
    with pytest.raises(LookalikeError, match="cannot be personalized by refine; choose registers or lora"):
        ask(method="refine")
    monkeypatch.undo()
    monkeypatch.setenv("LOOKALIKE_MODELS", str(Path(__file__).parent / "nowhere"))
    with pytest.raises(WeightsError, match="GAGAvatar"):
        ask()
    assert list(METHODS["gagavatar"]) == ["registers", "lora"]
