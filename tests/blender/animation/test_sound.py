"""A take's sound in the sequencer: found beside the file, at the take's first frame, heard while playing and scrubbing."""

from __future__ import annotations

import wave
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.animation import motion_files as files


@pytest.fixture(autouse=True)
def active(ada, request):
    if not bpy.app.build_options.audaspace and "without_audaspace" not in request.node.name:
        pytest.skip("this bpy was built without sound")
    bpy.context.view_layer.objects.active = ada.armature
    bpy.context.scene.render.fps = 25


def tone(path: Path, seconds: float = 2.0) -> Path:
    samples = (8000 * np.sin(np.arange(int(8000 * seconds)) * 0.3)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return path


def strips() -> list:
    editor = bpy.context.scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips if hasattr(editor, "strips") else editor.sequences)


def test_sound_beside_a_take_begins_with_it(ada, tmp_path):
    tone(tmp_path / "take.wav")
    take = files.live_link(tmp_path / "take.csv", np.zeros((60, len(files.LIVE_LINK))))
    assert bpy.ops.lookalike.import_motion(filepath=str(take), start=11) == {"FINISHED"}
    (strip,) = strips()
    assert (strip.name, strip.channel, round(strip.frame_start)) == ("take", 1, 11)
    assert round(strip.frame_duration) == 50  # two seconds
    assert bpy.context.scene.use_audio_scrub
    assert bpy.context.scene.sync_mode == "AUDIO_SYNC"


def test_cues_and_their_recording(ada, part, tmp_path):
    (tmp_path / "line.tsv").write_text("0.00\tX\n0.20\tD\n0.50\tF\n1.80\tX\n")
    part("api").import_motion(tmp_path / "line.tsv", ada.collection, start=5, sound=tone(tmp_path / "voice.wav"))
    assert [(round(s.frame_start), s.name) for s in strips()] == [(5, "voice")]


def test_a_second_sound_takes_another_channel(ada, part, tmp_path):
    api = part("api")
    for frame in (1, 20, 200):
        api.add_sound(tone(tmp_path / "voice.wav"), frame)
    assert [s.channel for s in sorted(strips(), key=lambda s: s.frame_start)] == [1, 2, 1]


def test_no_sound_is_added_where_none_is_wanted_or_there(ada, tmp_path):
    take = files.live_link(tmp_path / "take.csv", np.zeros((60, len(files.LIVE_LINK))))
    bpy.ops.lookalike.import_motion(filepath=str(take))
    tone(tmp_path / "take.wav")
    bpy.ops.lookalike.import_motion(filepath=str(take), use_sound=False)
    assert strips() == []


def test_what_is_wrong_with_a_sound_is_a_warning_and_the_motion_stays_without_audaspace_too(ada, part, tmp_path):
    take = files.live_link(tmp_path / "take.csv", np.ones((60, len(files.LIVE_LINK))))
    report = part("api").import_motion(take, ada.collection, sound=tmp_path / "gone.wav")
    assert any("no such sound file" in warning or "without sound" in warning for warning in report.warnings)
    assert ada.armature.animation_data.action.name == report.action


def test_a_file_without_sound_is_told_and_leaves_nothing(ada, part, tmp_path):
    (tmp_path / "noise.mp3").write_bytes(b"not a sound at all")
    errors, api = part("protocol"), part("api")
    for path, said in ((tmp_path / "noise.mp3", "no sound in it"), (tmp_path / "gone.wav", "no such sound file")):
        with pytest.raises(errors.LookalikeError, match=said):
            api.add_sound(path, 1)
    assert strips() == []
    assert len(bpy.data.sounds) == 0
