"""An avatar is refined by photos over a real server process: seen on the way, kept as an adapter, and every way in which it can end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from backend.protocol import read_avatar, write_avatar
from backend.protocol.adapters import add, difference
from backend.protocol.avatar import Adapter, Avatar, SplatArrays
from backend.protocol.color_basis import ColorBasis
from tests.synthetic import synthetic_avatar

pytestmark = pytest.mark.oldest_and_newest

Pump = Callable[..., float]
FILED = tuple(SplatArrays.__dataclass_fields__)
FIELDS = ("position", "rotation", "scale", "radiance", "face", "centre", "barycentric", "local_rotation", "spread")


def small_avatar() -> Avatar:
    """The synthetic avatar with few splats, so that sending and showing it takes no time."""
    whole = synthetic_avatar()
    thin = [SplatArrays(*(getattr(lod, name)[:: 8 >> level] for name in FILED)) for level, lod in enumerate(whole.lods[:2])]
    return replace(whole, lods=(*thin, whole.lods[1]))


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    write_avatar(tmp_path / "synthetic.lookalike", small_avatar())
    return tmp_path / "synthetic.lookalike"


@pytest.fixture
def panel(addon: SimpleNamespace, installed: Path, own_file: Path) -> SimpleNamespace:
    """The add-on with a backend installed and a keyed avatar in the file."""
    addon.avatar = addon.api.import_avatar(own_file)
    addon.api.key_performance(addon.avatar)
    bpy.ops.ed.undo_push(message="before")
    return addon


@pytest.fixture
def refined(addon: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """An avatar that learned "me" elsewhere: every splat 0.04 darker and larger by 0.4 %. No backend is there."""
    avatar = small_avatar()
    changed = tuple(replace(lod, sh=lod.sh - np.float32(0.04), scale=lod.scale * np.float32(1.004)) for lod in avatar.lods)
    facts: dict[str, object] = {"psnr_before": 30.0, "psnr_after": 30.5}
    adapter = Adapter("me", "photometric", "2026-11-20T00:00:00+00:00", True, facts, difference(avatar.lods, changed))
    write_avatar(tmp_path / "refined.lookalike", add(avatar, adapter))
    addon.avatar = addon.api.import_avatar(tmp_path / "refined.lookalike")
    bpy.ops.ed.undo_push(message="before")
    return addon


def levels(panel: SimpleNamespace, avatar: bpy.types.Collection | None = None) -> list[dict[str, np.ndarray]]:
    """All that is stored of the splats of each level."""
    read = panel.part("avatar.host").read_splats
    objects = panel.part("avatar").splats_of(avatar or panel.avatar)
    return [{name: getattr(read(obj.data), name) for name in FIELDS} for obj in objects.values()]


def same(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in FIELDS)


def close(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> bool:
    return all(np.allclose(x[name], y[name], atol=1e-5) for x, y in zip(a, b, strict=True) for name in FIELDS)


def job(panel: SimpleNamespace):
    assert len(panel.session.jobs) == 1
    return panel.session.jobs[0]


def found(panel: SimpleNamespace, name: str) -> bpy.types.Collection:
    """The avatar of that name; handles do not outlive undo."""
    return next(avatar for avatar in panel.api.avatars() if avatar.name == name)


def learned(panel: SimpleNamespace, photo, **options):
    return panel.api.personalize([photo("me.jpg")], panel.avatar, steps=4, wait=True, **options).report


def test_an_adapter_is_learned_and_the_keys_and_binding_stay(panel, photo) -> None:
    """And undo takes the whole back in one step."""
    before, armature = levels(panel), panel.part("avatar").armature_of(panel.avatar)
    action = armature.animation_data.action
    report = learned(panel, photo, consent="Ada, for this film")
    assert report.adapter == "me"
    assert report.facts["consent"] == "Ada, for this film"
    (listed,) = panel.api.adapters(panel.avatar)
    assert (listed.name, listed.kind, listed.enabled, round(listed.gain, 2)) == ("me", "photometric", True, 0.04)
    after = levels(panel)
    for level, (a, b) in enumerate(zip(before, after, strict=True)):
        head = len(a["face"]) - panel.part("avatar").splats_of(panel.avatar)[level].lookalike.shoulders
        assert np.allclose(b["radiance"][:head, :3], a["radiance"][:head, :3] - 0.04, atol=1e-3)
        assert np.allclose(b["scale"][:head], a["scale"][:head] * 1.004, rtol=1e-3)
        assert np.array_equal(b["radiance"][head:], a["radiance"][head:])
        assert np.array_equal(b["face"], a["face"])
    assert armature.animation_data.action == action
    assert job(panel).state == "WARNED"
    assert "30.00 to 30.04 dB (+0.04)" in job(panel).error
    panel.api.dismiss(job(panel).name)
    panel.api.personalize([photo("more.jpg")], panel.avatar, steps=2, wait=True)
    assert [a.name for a in panel.api.adapters(panel.avatar)] == ["me", "more"]
    panel.api.switch_adapter(panel.avatar, "me", False)
    assert np.allclose(levels(panel)[1]["radiance"][0, :3], before[1]["radiance"][0, :3] - 0.02, atol=1e-3)
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    avatar = found(panel, "synthetic")
    assert same(levels(panel, avatar), before)
    assert panel.api.adapters(avatar) == []
    bpy.ops.ed.redo()
    avatar = found(panel, "synthetic")
    assert same(levels(panel, avatar), after)
    assert [a.name for a in panel.api.adapters(avatar)] == ["me"]


def test_it_is_seen_on_the_way_and_the_first_cancel_keeps_the_best(panel, photo, pump: Pump) -> None:
    """A renamed avatar gets its adapter."""
    before, curves = levels(panel), panel.part("ui.curve_picture")
    made = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1 and curves.there(made.id))
    assert job(panel).kind == "PERSONALIZE"
    assert job(panel).stage == "LOD 1"
    shown = levels(panel)
    assert shown[1]["radiance"].mean() < before[1]["radiance"].mean()
    assert same(shown[:1], before[:1])
    pump(lambda: levels(panel)[1]["radiance"].mean() < shown[1]["radiance"].mean())
    visible = [obj.lookalike.level for obj in panel.part("avatar").splats_of(panel.avatar).values() if not obj.hide_viewport]
    assert visible == [1]
    panel.avatar.lookalike.shown_name = "Grace"
    assert bpy.ops.lookalike.stop_personalizing() == {"FINISHED"}
    assert job(panel).state == "CANCELLING"
    assert "Cancel again to drop it" in " ".join(line.removeprefix("label ") for line in drawn(panel))
    pump(lambda: made.done)
    assert made.report.facts["taken"] >= 2
    assert [a.name for a in panel.api.adapters(found(panel, "Grace"))] == ["slow"]
    assert "operator lookalike.dismiss_error OK" in drawn(panel)
    panel.api.dismiss(made.id)
    assert not curves.there(made.id)


def test_the_second_cancel_drops_it_and_no_undo_brings_a_preview_back(panel, photo, pump: Pump) -> None:
    before = levels(panel)
    made = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    bpy.ops.ed.undo_push(message="something else meanwhile")
    bpy.ops.ed.undo_push(message="and another")
    panel.api.cancel(made.id)
    panel.api.cancel(made.id)
    pump(lambda: not panel.session.jobs)
    assert close(levels(panel), before)
    assert panel.avatar.lookalike.preview == -1
    assert not panel.avatar.lookalike.kept
    bpy.ops.ed.undo()
    avatar = found(panel, "synthetic")
    assert avatar.lookalike.preview == -1
    assert close(levels(panel, avatar), before)


def test_saving_in_the_middle_saves_the_avatar_not_the_preview(panel, photo, pump: Pump, tmp_path) -> None:
    before = levels(panel)
    panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "middle.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "middle.blend"))
    avatar = found(panel, "synthetic")
    assert close(levels(panel, avatar), before)
    assert avatar.lookalike.preview == -1


def test_what_cannot_help_is_told_and_changes_nothing(panel, photo, pump: Pump) -> None:
    before = levels(panel)
    for name, message, remedy in (
        ("blank.jpg", "no face found", "choose a photo that shows one"),
        ("other.jpg", "seems not to be the person", "leave it out"),
        ("worse.jpg", "make the avatar no better", "the avatar stays as it is"),
        ("killed.jpg", "worker process died", "retry"),
    ):
        made = panel.api.personalize([photo(name)], panel.avatar)
        pump(lambda: job(panel).state == "FAILED")
        assert message in job(panel).error
        assert remedy in job(panel).remedy
        assert same(levels(panel), before)
        assert not panel.avatar.lookalike.kept
        assert "operator lookalike.retry_job Retry" in drawn(panel)
        panel.api.dismiss(made.id)
    made = panel.api.personalize([photo("two.jpg")], panel.avatar, steps=2)
    pump(lambda: job(panel).state == "CHOOSING")
    panel.api.choose_face(made.id, 1)
    pump(lambda: made.done)
    assert made.report.adapter == "two"


def test_two_jobs_are_refused_for_one_avatar_and_queued_for_two(panel, photo, pump: Pump, own_file) -> None:
    first = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    with pytest.raises(panel.protocol.LookalikeError, match="is being personalized already"):
        panel.api.personalize([photo("me.jpg")], panel.avatar)
    with pytest.raises(panel.protocol.LookalikeError, match="is being personalized already"):
        panel.api.load_adapter(panel.avatar, own_file)
    other = panel.api.import_avatar(own_file)
    second = panel.api.personalize([photo("me.jpg")], other, steps=2)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    panel.api.cancel(first.id)
    pump(lambda: second.done)
    assert [a.name for a in panel.api.adapters(other)] == ["me"]
    assert [a.name for a in panel.api.adapters(panel.avatar)] == ["slow"]


def test_a_deleted_avatar_is_told_and_a_dead_backend_leaves_it_as_it_was(panel, photo, pump: Pump, own_file) -> None:
    made = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    panel.api.delete_avatar(panel.avatar)
    pump(lambda: job(panel).state == "FAILED")
    assert "is gone" in job(panel).error
    assert [each.name for each in panel.part("client.personalizing").other_jobs(None)] == [made.id]
    panel.api.dismiss(made.id)
    own = photo("ada.jpg")
    panel.avatar = panel.api.create([own], wait=True).avatar.collection  # the worker is free again
    assert panel.api.own_photos(panel.avatar) == [own]
    assert panel.api.personalize(avatar=panel.avatar, steps=2, wait=True).report.facts["photos"] == ["ada.jpg"]
    panel.api.dismiss(job(panel).name)
    panel.avatar = panel.api.import_avatar(own_file)
    before = levels(panel)
    panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    os.kill(panel.backend._launch.process.pid, signal.SIGKILL)
    pump(lambda: job(panel).state == "FAILED")
    assert job(panel).error_code == "backend"
    assert close(levels(panel), before)
    assert panel.avatar.lookalike.preview == -1


def test_disabling_the_addon_in_the_middle_takes_the_preview_back(panel, photo, pump: Pump) -> None:
    before = levels(panel)
    panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    panel.package.unregister()
    panel.package.register()
    avatar = bpy.data.collections["synthetic"]  # classes registered anew: older handles are of the old ones
    assert (int(avatar.lookalike.preview), close(levels(panel, avatar), before)) == (-1, True)


def test_off_is_the_original_and_on_is_what_was_learned(refined, own_file) -> None:
    original = levels(refined, refined.api.import_avatar(own_file))
    after = levels(refined)
    assert np.allclose(after[1]["radiance"][:9, :3], original[1]["radiance"][:9, :3] - 0.04, atol=1e-3)
    assert bpy.ops.lookalike.switch_adapter(avatar=refined.avatar.name, adapter="me", state="OFF") == {"FINISHED"}
    off = levels(refined)
    assert same(off, original)
    assert not refined.api.adapters(refined.avatar)[0].enabled
    assert bpy.ops.lookalike.switch_adapter(avatar=refined.avatar.name) == {"FINISHED"}
    assert close(levels(refined), after)
    on = levels(refined)
    refined.api.switch_adapter(refined.avatar, "me")
    assert same(levels(refined), off)
    refined.api.switch_adapter(refined.avatar, "me")
    assert same(levels(refined), on)


def test_it_lives_on_without_the_backend(refined, tmp_path) -> None:
    """Saved, reopened, appended, duplicated: listed, and switched, each by itself."""
    after, path = levels(refined), str(tmp_path / "ada.blend")
    refined.api.switch_adapter(refined.avatar, "me", False)
    before = levels(refined)
    refined.api.switch_adapter(refined.avatar, "me", True)
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    avatar = found(refined, "synthetic")
    assert close(levels(refined, avatar), after)
    copy = refined.api.duplicate_avatar(avatar)
    assert refined.api.switch_adapter(copy, "me") is False
    assert same(levels(refined, copy), before)
    assert close(levels(refined, avatar), after)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.append(directory=f"{path}/Collection/", filename="synthetic")
    appended = found(refined, "synthetic")
    assert refined.api.switch_adapter(appended, "me", False) is False
    assert same(levels(refined, appended), before)
    assert not refined.backend.running


def test_a_linked_avatar_is_refused_in_words_and_exported_with_its_adapters(refined, photo, tmp_path) -> None:
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.link(directory=f"{path}/Collection/", filename="synthetic")
    avatar = found(refined, "synthetic")
    for call in (
        lambda: refined.api.personalize([photo("me.jpg")], avatar),
        lambda: refined.api.switch_adapter(avatar, "me"),
        lambda: refined.api.load_adapter(avatar, tmp_path / "x.safetensors"),
    ):
        with pytest.raises(refined.protocol.AvatarFileError, match=r"is linked from another file; append it"):
            call()
    assert [a.name for a in read_avatar(refined.api.export_avatar(avatar, tmp_path / "linked.lookalike")).adapters] == ["me"]


def test_files_carry_adapters_there_and_back(refined, tmp_path) -> None:
    original, after = small_avatar(), levels(refined)
    path = refined.api.export_avatar(refined.avatar, tmp_path / "out.lookalike")
    read = read_avatar(path)
    assert [(a.name, a.facts["psnr_after"]) for a in read.adapters] == [("me", 30.5)]
    assert np.allclose(read.base[2].sh, original.lods[2].sh, atol=1e-5)
    assert np.allclose(read.lods[2].sh, original.lods[2].sh - 0.04, atol=1e-3)
    again = refined.api.import_avatar(path)
    assert close(levels(refined, again), after)
    refined.api.switch_adapter(again, "me", False)
    assert np.allclose(levels(refined, again)[0]["radiance"][:9, :3], original.lods[0].sh[:9, 0], atol=1e-5)
    settings = refined.avatar.lookalike
    settings.kept = settings.kept[:-1000]
    with pytest.raises(refined.protocol.AvatarFileError, match="corrupt"):
        refined.api.switch_adapter(refined.avatar, "me")


def test_merged_stays_and_is_told_removed_goes(refined) -> None:
    after = levels(refined)
    assert bpy.ops.lookalike.merge_adapter(adapter="me") == {"FINISHED"}
    assert close(levels(refined), after)
    assert refined.api.adapters(refined.avatar) == []
    assert not refined.avatar.lookalike.kept
    assert "lookalike:origin" not in refined.part("avatar").splats_of(refined.avatar)[0].data.attributes
    assert '"merged": [{"name": "me"' in refined.avatar.lookalike.provenance
    assert not bpy.ops.lookalike.switch_adapter.poll()
    bpy.ops.ed.undo_push(message="merged")


def test_an_adapter_is_a_file_of_its_own_beside_the_blend(refined, tmp_path, own_file) -> None:
    after = levels(refined)
    assert bpy.ops.lookalike.save_adapter(filepath=str(tmp_path / "me.safetensors")) == {"FINISHED"}
    path = tmp_path / "me.safetensors"
    assert bpy.ops.lookalike.remove_adapter() == {"FINISHED"}
    before = levels(refined)
    assert np.allclose(before[1]["radiance"][:9, :3], after[1]["radiance"][:9, :3] + 0.04, atol=1e-3)
    assert bpy.ops.lookalike.load_adapter(filepath=str(path)) == {"FINISHED"}
    assert close(levels(refined), after)
    other = refined.api.import_avatar(own_file)
    hide(refined, other, 0, slice(10))
    refined.api.remove_hidden(other)
    with pytest.raises(refined.protocol.AvatarFileError, match="belongs to another avatar"):
        refined.api.load_adapter(other, path)
    assert not other.lookalike.kept
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(refined.protocol.AvatarFileError, match="not a valid adapter"):
        refined.api.load_adapter(refined.avatar, path)
    path.write_bytes(b"something else")
    with pytest.raises(refined.protocol.AvatarFileError, match="not an adapter of an avatar"):
        refined.api.load_adapter(refined.avatar, path)


def hide(panel: SimpleNamespace, avatar: bpy.types.Collection, level: int, which: slice, mode: str = "HIDE") -> None:
    edits = panel.part("editing.edits").Edits(panel.part("avatar").splats_of(avatar)[level])
    weights = np.zeros(len(edits), np.float32)
    weights[which] = 1
    edits.apply(mode, weights)
    edits.write()


def test_edits_of_splats_and_adapters_keep_out_of_each_others_way(refined) -> None:
    """Hidden splats stay hidden and get their opacity back; sizes are factors of what is learned; removed and mirrored ones stay so."""
    avatar, api, original = refined.avatar, refined.api, small_avatar().lods[1]
    hide(refined, avatar, 1, slice(50))
    hide(refined, avatar, 1, slice(50, 100), "GROW")
    api.switch_adapter(avatar, "me", False)
    off = levels(refined)[1]
    assert np.all(off["radiance"][:50, 3] == 0)
    assert np.allclose(off["scale"][50:100], original.scale[50:100] * 2, rtol=1e-3)
    api.switch_adapter(avatar, "me", True)
    assert np.allclose(levels(refined)[1]["scale"][50:100], off["scale"][50:100] * 1.004, rtol=2e-3)
    exported = refined.part("adapters").whole_avatar(avatar)
    assert np.all(exported.lods[1].opacity[:50] == 0)
    assert np.allclose(exported.lods[1].scale[50:100], original.scale[50:100] * 2 * 1.004, rtol=2e-3)
    api.reset_edits(avatar)
    assert np.allclose(levels(refined)[1]["radiance"][:50, 3], 0.9, atol=1e-4)
    hide(refined, avatar, 1, slice(50))
    api.remove_hidden(avatar)
    api.switch_adapter(avatar, "me", False)
    count, rest = len(original) - 50, levels(refined)[1]
    assert np.allclose(rest["radiance"][:count, :3], original.sh[50:, 0], atol=1e-5)
    api.mirror_repair(avatar)
    shown = levels(refined)[1]["radiance"].copy()
    api.switch_adapter(avatar, "me", True)
    changed = np.abs(levels(refined)[1]["radiance"] - shown).max(1) > 1e-3
    assert 0 < changed.sum() < count


def test_a_sculpted_neutral_head_is_followed(refined) -> None:
    """The rig mesh's vertices were moved: splats stay on it, adapter on or off; other faces are refused in words."""
    head = refined.part("avatar").head_of(refined.avatar)
    for point in head.data.shape_keys.reference_key.data:
        point.co.x *= 1.3
    refined.avatar.lookalike.lod = "1"

    def posed() -> dict[str, np.ndarray]:
        obj = refined.part("avatar").splats_of(refined.avatar)[1]
        return refined.part("avatar").read_evaluated(obj, bpy.context.evaluated_depsgraph_get())

    before = posed()
    refined.api.switch_adapter(refined.avatar, "me", False)
    refined.api.switch_adapter(refined.avatar, "me", True)
    assert np.abs(before["position"] - posed()["position"]).max() < 2e-5
    kept = refined.part("adapters.gathering").begin(refined.avatar)[1]  # as a personalization begins: gathered on the sculpted head
    refined.part("adapters.previewing").show_levels(
        refined.avatar, kept.rig, enumerate(refined.part("adapters.showing").bound_levels(kept))
    )
    assert np.abs(before["position"] - posed()["position"]).max() < 2e-5
    assert np.allclose(before["scale"], posed()["scale"], rtol=2e-2)
    refined.api.rebind(refined.avatar)
    rebound = posed()
    refined.api.switch_adapter(refined.avatar, "me", False)
    assert np.abs(posed()["position"] - rebound["position"]).max() < 2e-5
    head_part = slice(len(small_avatar().lods[1]))
    assert np.allclose(levels(refined)[1]["radiance"][head_part, :3], small_avatar().lods[1].sh[:, 0], atol=1e-4)
    refined.api.switch_adapter(refined.avatar, "me", True)
    assert np.abs(posed()["position"] - rebound["position"]).max() < 2e-5
    head.data.vertices.add(1)
    for corner in range(3):
        head.data.attributes[f"lookalike:corner_{corner}"].data[0].value = 0
    with pytest.raises(refined.protocol.AvatarFileError, match="has other faces than its adapters were learned on"):
        refined.api.switch_adapter(refined.avatar, "me", False)


def test_what_cannot_be_sent_is_refused_at_once(panel, photo, tmp_path) -> None:
    errors, photos = panel.protocol, [photo(f"{i}.jpg") for i in range(3)]
    with pytest.raises(errors.ImageError, match="no photo to personalize synthetic with"):
        panel.api.personalize([], panel.avatar)
    with pytest.raises(errors.ImageError, match="no such file"):
        panel.api.personalize([tmp_path / "gone.jpg"], panel.avatar)
    with pytest.raises(errors.ImageError, match="a video is used alone"):
        panel.api.personalize([*photos, photo("take.mp4")], panel.avatar)
    with pytest.raises(errors.ImageError, match="more than can be sent"):
        panel.api.personalize(photos * 22, panel.avatar)
    assert len(panel.session.jobs) == 0
    with pytest.raises(RuntimeError, match="no photo to personalize synthetic with; add photos or a video"):
        bpy.ops.lookalike.personalize()


def test_operator_takes_what_the_panel_says(panel, photo, pump: Pump) -> None:
    for name in ("front.jpg", "left.jpg"):
        assert bpy.ops.lookalike.add_person_photos(directory=str(photo(name).parent), files=[{"name": name}]) == {"FINISHED"}
    panel.session.personalize_steps, panel.session.personalize_consent = 3, "Ada"
    panel.session.personalize_method = "refine"
    assert "operator lookalike.personalize Personalize with 2 Files" in drawn(panel)
    assert bpy.ops.lookalike.personalize() == {"FINISHED"}
    pump(lambda: panel.api.adapters(panel.avatar))
    facts = panel.api.adapters(panel.avatar)[0].facts
    assert (facts["steps"], facts["consent"], facts["method"], facts["photos"]) == (3, "Ada", "refine", ["front.jpg", "left.jpg"])
    lines = drawn(panel)
    assert "label front" in lines
    assert "label +0.03 dB  Refinement" in lines
    assert [line.split()[1] for line in lines if "_adapter" in line] == [
        f"lookalike.{each}_adapter" for each in ("load", "switch", "merge", "save", "remove")
    ]
    assert bpy.ops.lookalike.remove_person_photo(index=0) == {"FINISHED"}
    assert bpy.ops.lookalike.clear_person_photos() == {"FINISHED"}


def drawn(panel: SimpleNamespace) -> list[str]:
    from .recorder import Recorder

    layout = Recorder()
    context = SimpleNamespace(
        window_manager=bpy.context.window_manager, scene=bpy.context.scene, view_layer=bpy.context.view_layer,
        preferences=bpy.context.preferences, region=SimpleNamespace(width=290), area=None,
    )  # fmt: skip
    bpy.types.LOOKALIKE_PT_personalize.draw(SimpleNamespace(layout=layout), context)
    return layout.drawn


def later(panel: SimpleNamespace, pump: Pump, seconds: float = 2.0) -> None:
    """Let what the backend still says of a job arrive."""
    end = time.monotonic() + seconds
    pump(lambda: time.monotonic() > end)


def edited(panel: SimpleNamespace, which: str, avatar: bpy.types.Collection | None = None) -> bpy.types.Object:
    """The rig mesh, or level 1, in Edit Mode; skips where this Blender has none for its kind."""
    part, avatar = panel.part("avatar"), avatar or panel.avatar
    obj = part.head_of(avatar) if which == "head" else part.splats_of(avatar)[1]
    obj.hide_viewport = False
    obj.hide_set(False)
    for other in bpy.context.view_layer.objects:
        other.select_set(other == obj)
    bpy.context.view_layer.objects.active = obj
    if "FINISHED" not in bpy.ops.object.mode_set(mode="EDIT") or obj.mode != "EDIT":
        pytest.skip("this Blender cannot edit these splats")
    return obj


def baked() -> Avatar:
    """Its colours follow the first expression."""
    avatar, random = small_avatar(), np.random.default_rng(0)
    lods = [replace(s, patterns=random.normal(0, 0.05, (len(s), 2, 3)).astype(np.float32)) for s in avatar.lods]
    basis = ColorBasis((avatar.rig.expression_names[0],), np.ones((2, 1), np.float32))
    return replace(avatar, lods=tuple(lods), color_basis=basis)


def test_undo_before_the_job_keeps_no_preview_when_saved(panel, photo, pump: Pump, tmp_path) -> None:
    before = levels(panel)
    bpy.ops.ed.undo_push(message="second")
    made = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    bpy.ops.ed.undo()
    assert not found(panel, "synthetic").lookalike.kept
    pump(lambda: found(panel, "synthetic").lookalike.preview == 1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "undone.blend"), copy=True)
    assert close(levels(panel, found(panel, "synthetic")), before)
    pump(lambda: found(panel, "synthetic").lookalike.preview == 1)
    panel.api.cancel(made.id)
    pump(lambda: made.done)
    assert panel.api.switch_adapter(found(panel, "synthetic"), "slow") is False
    assert close(levels(panel, found(panel, "synthetic")), before)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "undone.blend"))
    avatar = found(panel, "synthetic")
    assert (int(avatar.lookalike.preview), close(levels(panel, avatar), before)) == (-1, True)


@pytest.mark.parametrize("which", ["head", "splats"])
def test_edit_mode_holds_the_job_and_what_is_saved_in_it_is_mended(panel, photo, pump: Pump, tmp_path, which) -> None:
    before = levels(panel)
    made = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    edited(panel, which)
    later(panel, pump, 0.8)
    assert job(panel).state == "RUNNING"
    assert bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edited.blend"), copy=True) == {"FINISHED"}
    panel.api.cancel(made.id)
    panel.api.cancel(made.id)
    later(panel, pump, 0.8)
    bpy.ops.object.mode_set(mode="OBJECT")
    pump(lambda: not panel.session.jobs and panel.avatar.lookalike.preview == -1)
    assert close(levels(panel), before)
    assert not panel.avatar.lookalike.kept
    edited(panel, which)
    with pytest.raises(panel.protocol.AvatarFileError, match="is in Edit Mode"):
        panel.api.personalize([photo("me.jpg")], panel.avatar)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edited.blend"))
    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    pump(lambda: found(panel, "synthetic").lookalike.preview == -1)
    avatar = found(panel, "synthetic")
    assert close(levels(panel, avatar), before)
    assert not avatar.lookalike.kept


def test_a_local_error_stays_to_be_read(panel, photo, pump: Pump) -> None:
    panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    panel.api.delete_avatar(panel.avatar)
    pump(lambda: job(panel).state == "FAILED")
    later(panel, pump)
    assert job(panel).state == "FAILED"
    assert "is gone" in job(panel).error


def test_a_baked_avatar_learns_and_is_not_locked(addon, installed, photo, tmp_path) -> None:
    """Its patterns are the avatar's own: none are kept, all are exported."""
    write_avatar(tmp_path / "baked.lookalike", baked())
    addon.avatar = addon.api.import_avatar(tmp_path / "baked.lookalike")
    before = levels(addon)
    learned(addon, photo)
    addon.api.switch_adapter(addon.avatar, "me")
    assert close(levels(addon), before)
    addon.api.switch_adapter(addon.avatar, "me")
    out = read_avatar(addon.api.export_avatar(addon.avatar, tmp_path / "out.lookalike"))
    for read, made in zip(out.lods, baked().lods, strict=True):
        assert np.allclose(read.patterns, made.patterns, rtol=2**-11, atol=1e-6)  # the file has them as float16
    assert [a.name for a in addon.api.adapters(addon.api.import_avatar(tmp_path / "out.lookalike"))] == ["me"]
    addon.api.rebind(addon.avatar)
    saved = addon.api.save_adapter(addon.avatar, "me", tmp_path / "me.safetensors")
    addon.api.remove_adapter(addon.avatar, "me")
    assert np.allclose(levels(addon)[1]["radiance"], before[1]["radiance"], atol=1e-5)
    assert addon.api.load_adapter(addon.avatar, saved) == "me"
    addon.api.merge_adapter(addon.avatar, "me")
    assert np.allclose(levels(addon)[1]["radiance"][0, :3], before[1]["radiance"][0, :3] - 0.04, atol=1e-3)
    assert addon.api.adapters(addon.avatar) == []


def test_a_failed_job_beside_another_touches_nothing_of_it(panel, photo, pump: Pump) -> None:
    """Neither retried, nor dismissed, nor after an adapter was learned; a copy of the avatar shows nothing half learned."""
    before = levels(panel)
    failed = panel.api.personalize([photo("blank.jpg")], panel.avatar)
    pump(lambda: job(panel).state == "FAILED")
    other = panel.api.personalize([photo("two.jpg")], panel.avatar)
    pump(lambda: panel.session.jobs[1].state == "CHOOSING")
    slow = panel.api.personalize([photo("slow.jpg")], panel.avatar)
    pump(lambda: panel.avatar.lookalike.preview == 1)
    for call in (lambda: panel.part("client.jobs").retry(failed.id), lambda: panel.api.choose_face(other.id, 1)):
        with pytest.raises(panel.protocol.LookalikeError, match="is being personalized already"):
            call()
    assert panel.avatar.lookalike.preview == 1
    copy = panel.api.duplicate_avatar(panel.avatar)
    assert (int(copy.lookalike.preview), bool(copy.lookalike.kept), close(levels(panel, copy), before)) == (-1, False, True)
    panel.api.dismiss(failed.id)
    assert panel.avatar.lookalike.preview == 1
    panel.api.cancel(slow.id)
    pump(lambda: slow.done)
    panel.api.dismiss(other.id)
    assert panel.api.switch_adapter(panel.avatar, "slow") is False
    assert close(levels(panel), before)


def test_what_needs_more_than_blender_keeps_is_refused_with_the_remedy(panel, photo) -> None:
    """FFAvatar's network goes on from features that only the avatar's file has."""
    panel.avatar.lookalike.provenance = '{"name": "x", "model": "ffavatar"}'
    for method in ("", "tune"):
        with pytest.raises(panel.protocol.LookalikeError, match="on the command line"):
            panel.api.personalize([photo("me.jpg")], panel.avatar, method=method)
    assert not panel.session.jobs
    lines = " ".join(line.removeprefix("label ") for line in drawn(panel))
    assert "lookalike personalize" in lines
    assert "operator lookalike.personalize" not in lines
