"""Adaptation: it helps on frames that it never saw, it leaves the base alone, and it says why when it stops."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.parity import camera
from backend.personalize import adapt as adaptation
from backend.personalize.ablation import Measures, ablate, table, variant_settings
from backend.personalize.adapt import AdaptSettings, CurvePoint, LearningError, Silent, adapt, adapted_copy, split
from backend.personalize.adapter_file import read_adapter
from backend.personalize.frames import Frame, PersonFrames
from backend.personalize.identity import check_one_person, shape_distance
from backend.personalize.lora import base_digest
from backend.personalize.small_network import SmallAvatarNetwork
from backend.protocol.errors import Cancelled, FaceError, LookalikeError
from backend.tracking.nets.store import data_directory
from tests.personalize.test_registers import sphere

SIZE = 64
SETTINGS = AdaptSettings(iterations=8, rank=4, alpha=4.0, rate=1e-2, embedding=8, encoder=(8,), check_every=4, hold_out=0.25)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def no_weights(tmp_path_factory):
    """The user's own weights must not change what is learned here; the face nets of the set-up stay."""
    data = tmp_path_factory.mktemp("data")
    if (data_directory() / "nets").is_dir():
        shutil.copytree(data_directory() / "nets", data / "nets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_DATA", str(data))
        yield


@pytest.fixture(scope="module")
def frames() -> PersonFrames:
    """A striped ball seen from five sides."""
    vertices, faces = sphere(8, 12)
    views = []
    for index, yaw in enumerate((0, -12, 10, 18, -20)):
        pose = camera(yaw, 0, 0, 10.0)
        y, x = (np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5) / (SIZE / 2)
        matte = (np.hypot(x, y) < 0.6).astype(np.float32)
        stripe = 0.5 + 0.4 * np.sin(9 * (x + yaw / 30))
        image = np.stack([stripe, 0.6 * np.ones_like(x), 0.3 + 0.3 * y], -1).astype(np.float32)
        views.append(Frame(image, matte, vertices, pose, f"frame {index}"))
    return PersonFrames(faces, views)


@pytest.fixture(scope="module")
def network(frames) -> SmallAvatarNetwork:
    torch.manual_seed(0)
    return SmallAvatarNetwork(len(frames.frames[0].vertices)).eval()


class Recorder(Silent):
    def __init__(self, cancel_at: int = 0) -> None:
        self.points: list[CurvePoint] = []
        self.cancel_at = cancel_at

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        if self.cancel_at and len(self.points) >= self.cancel_at:
            raise Cancelled("by the test")

    def learned(self, point: CurvePoint) -> None:
        self.points.append(point)


@pytest.fixture(scope="module")
def adapted(network, frames):
    recorder = Recorder()
    digest = base_digest(network)
    keys = list(network.state_dict())
    adapter = adapt(network, frames, replace(SETTINGS, keep_registers=True), recorder)
    assert base_digest(network) == digest
    assert list(network.state_dict()) == keys
    return adapter, recorder


def test_adaptation_helps_on_held_out_frames(adapted):
    adapter, recorder = adapted
    assert adapter.facts["after"] < 0.97 * adapter.facts["before"]
    assert len(recorder.points) == SETTINGS.iterations
    assert set(recorder.points[0].losses) == {"picture", "box", "point", "feature", "cosine"}
    assert [p.iteration for p in recorder.points if p.held_out is not None] == [4, 8]
    assert len(adapter.facts["curve"]) == SETTINGS.iterations
    assert adapter.registers is not None


def test_merged_copy_draws_without_registers_what_was_measured(adapted, network, frames):
    adapter, _ = adapted
    merged = adapted_copy(network, adapter)
    settings = replace(SETTINGS, start=adapter.pairs)
    errors = [
        float(np.mean([np.abs(a - _truth(frames, i)).mean() for a, i in zip(pictures, split(5, 0.25)[0], strict=True)]))
        for pictures in (_held_out(merged, frames), adaptation_pictures(network, frames, settings, adapter))
    ]
    assert errors[0] == errors[1]
    assert errors[0] == pytest.approx(adapter.facts["after"], abs=1e-6)


def _truth(frames: PersonFrames, index: int) -> np.ndarray:
    return frames.frames[index].target.permute(1, 2, 0).numpy()


def _held_out(network, frames):
    from backend.personalize.ablation import held_out_pictures

    return held_out_pictures(network, frames, SETTINGS, None)


def adaptation_pictures(network, frames, settings, adapter):
    from backend.personalize.ablation import held_out_pictures

    outcome = adaptation.Outcome(adapter.pairs, 0.0)
    return held_out_pictures(network, frames, settings, outcome)


def test_cancel_keeps_the_best_so_far(network, frames):
    adapter = adapt(network, frames, SETTINGS, Recorder(cancel_at=5))
    assert adapter.facts["stopped"] == "cancelled"
    assert adapter.facts["best_iteration"] == 4
    with pytest.raises(Cancelled):
        adapt(network, frames, SETTINGS, Recorder(cancel_at=1))


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good(network, frames, monkeypatch):
    calls = []

    def poisoned(*arguments):
        calls.append(0)
        return torch.tensor(float("nan")) if len(calls) > 6 else torch.tensor(0.0)

    monkeypatch.setattr(adaptation, "cosine_loss", poisoned)
    adapter = adapt(network, frames, SETTINGS)
    assert "not finite at iteration 7" in adapter.facts["stopped"]
    assert adapter.facts["best_iteration"] == 4
    assert all(f.isfinite().all() for pair in adapter.pairs.values() for f in pair)


def test_too_little_memory_halves_the_batch_and_says_so(network, frames, monkeypatch):
    update = adaptation._Loop._update

    def full(self, chosen):
        if len(chosen) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(self, chosen)

    monkeypatch.setattr(adaptation._Loop, "_update", full)
    assert adapt(network, frames, replace(SETTINGS, iterations=4)).facts["batch"] == 1


def test_nothing_better_is_refused(network, frames):
    with pytest.raises(LearningError, match="brought nothing"):
        adapt(network, frames, replace(SETTINGS, iterations=2, rate=0.0, bridge="none"))


def test_pictures_or_rig_of_another_network_are_refused(network, frames):
    with pytest.raises(LearningError, match=r"96 vertices.*has 10"):
        adapt(SmallAvatarNetwork(10), frames)
    with pytest.raises(LearningError, match="64 pixels, this network draws 128"):
        adapt(SmallAvatarNetwork(96, 128), frames)


def test_one_photo_is_refused():
    vertices, faces = sphere(8, 12)
    frame = Frame(np.zeros((64, 64, 3), np.float32), np.ones((64, 64), np.float32), vertices, camera(0, 0, 0, 10.0), "only.jpg")
    with pytest.raises(FaceError, match="two or more"):
        PersonFrames(faces, [frame])


def test_two_people_given_as_one_are_told_by_the_photos_name(frames):
    head = frames.frames[0].vertices / 5
    heads = [head, head * 1.02, head + 0.01, head * np.array([0.8, 1.15, 1.0], np.float32)]
    assert shape_distance(head, heads[1]) == pytest.approx(0, abs=1e-3)
    named = [replace(f, neutral=h, name=f"photo {i}.jpg") for i, (f, h) in enumerate(zip(frames.frames, heads, strict=False))]
    with pytest.raises(FaceError, match=r"photo 3\.jpg.*mm of shape.*two people"):
        check_one_person(PersonFrames(frames.faces, named))
    check_one_person(PersonFrames(frames.faces, named[:3]))
    unit = np.eye(4)
    with pytest.raises(FaceError, match=r"photo 2\.jpg.*ArcFace"):
        check_one_person(PersonFrames(frames.faces, named[:3]), lambda f: unit[int(f.name == "photo 2.jpg")])


def test_ablation_runs_every_variant_and_prints_its_table(network, frames):
    settings = replace(SETTINGS, iterations=2, check_every=2)
    results = ablate(network, frames, ["base", "lora", "noise", "embedding", "no-feature-loss", "registers"], settings)
    text = table(results, Measures())
    assert "LoRA + Registers" in text
    assert "in place of LPIPS" in text
    assert len(text.splitlines()) == 8
    assert results[0].kept == 0
    assert "feature" not in results[4].curve[0].losses
    assert "feature" in results[5].curve[0].losses
    assert variant_settings("no-cosine-loss", settings).weights.cosine == 0
    with pytest.raises(LookalikeError, match="magic"):
        ablate(network, frames, ["magic"], settings)
    with pytest.raises(LookalikeError, match="other people"):
        ablate(network, frames, ["reptile"], settings)


def test_meta_learning_moves_the_start_and_leaves_the_network(network, frames):
    from backend.personalize.reptile import ReptileSettings, reptile

    digest = base_digest(network)
    start = reptile(network, [frames], ReptileSettings(outer=2, inner=2, batch=1, rate=4e-3, step=1e-3), SETTINGS)
    assert base_digest(network) == digest
    assert max(float(pair.b.abs().max()) for pair in start.values()) > 0


def test_the_command_prints_the_table_and_leaves_pictures(network, frames, monkeypatch, tmp_path, capsys):
    from backend.cli.main import run
    from backend.personalize import demonstration as shown

    made = shown.Demonstration(network, frames, [frames])
    monkeypatch.setattr(shown, "demonstration", lambda *a, **k: made)
    monkeypatch.setattr(shown, "SETTINGS", SETTINGS)
    assert run(["ablation", "--variants", "base,lora", "--iterations", "1", "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "generic model" in told
    assert "LoRA" in told
    assert (tmp_path / "out" / "table.txt").read_text().strip() == told.strip()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.txt", "table.json", "held_out.png"}
    assert run(["ablation", "--variants", "magic"]) == 1
    assert "no variant is called 'magic'" in capsys.readouterr().err


def test_adapting_without_the_checkpoint_says_where_to_get_it(monkeypatch, tmp_path, capsys):
    from backend.cli.main import run

    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    assert run(["adapt", str(tmp_path), "-o", str(tmp_path / "me.safetensors"), "--rig", "builtin"]) == 1
    assert "GAGAvatar" in capsys.readouterr().err


def test_ctrl_c_keeps_the_best_adapter_so_far(network, frames, monkeypatch, tmp_path):
    from backend.cli import adapt as commands
    from backend.cli.main import run

    monkeypatch.setattr(commands, "users_network", lambda: network)
    monkeypatch.setattr(commands, "tracked_person", lambda *_: frames)

    class Impatient(commands.Watcher):
        looks = 0

        def learned(self, point):
            super().learned(point)
            self.looks += point.held_out is not None
            if self.looks == 4:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(commands, "Watcher", Impatient)
    output = tmp_path / "me.safetensors"
    assert (
        run(["adapt", str(tmp_path), "-o", str(output), "--rig", "flame.pkl", "--iterations", "40", "--rank", "4", "--bridge", "none"]) == 0
    )
    facts = read_adapter(output).facts
    assert facts["stopped"] == "cancelled"
    assert 1 <= facts["best_iteration"] <= facts["iterations"] == 8
