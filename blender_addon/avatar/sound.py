"""A performance's sound in the sequencer, where Blender plays it in time with the frames."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..protocol import LookalikeError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".mov", ".mp4", ".mkv", ".webm", ".avi")
"""In order of preference: the microphone's file before the video that carries a compressed copy of it."""


def sound_beside(path: Path) -> Path | None:
    """The sound, or the video, that has the name of a motion or cue file, in the same folder."""
    return next((found for suffix in SUFFIXES if (found := path.with_suffix(suffix)).is_file() and found != path), None)


def add_sound(scene: bpy.types.Scene, path: Path, frame: int) -> bpy.types.bpy_struct:
    """Lay a file's sound from `frame` on the lowest channel that is free there, and let it be heard while playing and scrubbing.

    The scene's playback keeps in time with the sound (*Sync to Audio*).

    Raises:
        LookalikeError: the file is missing, or has no sound that Blender can read; nothing is changed then.
    """
    if not path.is_file():
        raise LookalikeError(f"{path.name}: there is no such sound file", "choose the recording again")
    if not bpy.app.build_options.audaspace:
        raise LookalikeError("This Blender was built without sound", "use Blender from blender.org")
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strips = _strips(editor)
    before = set(bpy.data.sounds)
    strip = strips.new_sound(path.stem[:60], str(path), _free_channel(strips, frame), frame)
    # A file without sound makes a strip of no length; what its length is needs the file to be read.
    if _end(strip) - frame <= 1:
        sound = strip.sound
        strips.remove(strip)
        if sound is not None and sound not in before:
            bpy.data.sounds.remove(sound)
        raise LookalikeError(f"{path.name}: Blender finds no sound in it", "choose an audio file, or a video with sound")
    if bpy.data.filepath:
        strip.sound.filepath = bpy.path.relpath(str(path))
    strip.show_waveform = True
    scene.use_audio_scrub = True
    scene.sync_mode = "AUDIO_SYNC"
    return strip


def _strips(editor: bpy.types.SequenceEditor):
    """The editor's top-level strips, called sequences before Blender 4.4."""
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def _end(strip: bpy.types.Strip) -> float:
    """The frame after its last; Blender 5.2 gave it another name, 6.0 will know no other."""
    return strip.right_handle if hasattr(strip, "right_handle") else strip.frame_final_end


def _free_channel(strips, frame: int) -> int:
    """The lowest channel in which nothing lies at or after `frame`: what is there may be cut, so nothing is laid before it either."""
    taken = {strip.channel for strip in strips if _end(strip) > frame}
    return next(channel for channel in range(1, 129) if channel not in taken) if len(taken) < 128 else 128
