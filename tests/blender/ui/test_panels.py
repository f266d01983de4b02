"""What the panels show, drawn on a layout that checks every property, icon and operator. Pixels: tests/real_blender."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from .recorder import Recorder


@pytest.fixture
def draw(addon: SimpleNamespace):
    """Draw a panel by its class name, all sub-panels open; returns what it drew, or None where it does not show."""

    def run(name: str) -> list[str] | None:
        cls = getattr(bpy.types, name)
        if hasattr(cls, "poll") and not cls.poll(bpy.context):
            return None
        layout = Recorder()
        panel = SimpleNamespace(layout=layout)
        for method in ("_draw_group", "_draw_layers", "_draw_line", "_draw_local", "_draw_remote", "_draw_status"):
            if hasattr(cls, method):
                setattr(panel, method, getattr(cls, method).__get__(panel))
        for method in ("draw_header_preset", "draw"):
            if method in cls.__dict__:
                getattr(cls, method)(panel, _context())
        return layout.drawn

    return run


def _context() -> SimpleNamespace:
    window_manager, scene, layer = bpy.context.window_manager, bpy.context.scene, bpy.context.view_layer
    region = SimpleNamespace(width=290)
    return SimpleNamespace(
        window_manager=window_manager, scene=scene, view_layer=layer, preferences=bpy.context.preferences, region=region, area=None
    )


PANELS = ("LOOKALIKE_PT_create", "LOOKALIKE_PT_avatars", "LOOKALIKE_PT_pose", "LOOKALIKE_PT_expressions", "LOOKALIKE_PT_provenance")


def test_empty_file(draw) -> None:
    create = draw("LOOKALIKE_PT_create")
    assert any("drop" in line for line in create)
    assert "operator lookalike.create Create" in create
    assert "label No avatar in this scene yet" in draw("LOOKALIKE_PT_avatars")
    for name in PANELS[2:]:
        assert draw(name) is None


def test_photos_are_counted_on_the_button(draw, addon: SimpleNamespace) -> None:
    for name in "abc":
        addon.session.photos.add().name = name
    assert "operator lookalike.create Create from 3 Photos" in draw("LOOKALIKE_PT_create")


def test_running_job_shows_progress_stage_and_cancel(draw, addon: SimpleNamespace) -> None:
    job = addon.session.jobs.add()
    job.name, job.avatar_name, job.state, job.fraction, job.stage, job.text = "1", "Ada", "RUNNING", 0.42, "Project", "view 2 of 3"
    drawn = draw("LOOKALIKE_PT_create")
    assert "progress 0.42 Project  42%" in drawn
    assert "label view 2 of 3" in drawn
    assert any(line.startswith("operator lookalike.cancel_job") for line in drawn)


def test_failed_job_shows_the_error_the_remedy_and_both_ways_out(draw, addon: SimpleNamespace) -> None:
    job = addon.session.jobs.add()
    job.name, job.avatar_name, job.state = "1", "Beach", "FAILED"
    job.error, job.remedy = "beach.jpg: the face is 20 pixels wide, 64 are needed", "choose a photo where the face is larger"
    drawn = draw("LOOKALIKE_PT_create")
    text = " ".join(line.removeprefix("label ") for line in drawn if line.startswith("label "))
    assert "beach.jpg: the face is 20 pixels wide, 64 are needed" in text.replace("Beach.jpg", "beach.jpg")
    assert "Choose a photo where the face is larger" in text
    assert "operator lookalike.retry_job Retry" in drawn
    assert "operator lookalike.dismiss_error Dismiss" in drawn


def test_face_choice_offers_each_face(draw, addon: SimpleNamespace) -> None:
    job = addon.session.jobs.add()
    job.name, job.state, job.faces_photo = "1", "CHOOSING", 0
    job.photos.add().name = "party.jpg"
    for number, place in enumerate(("leftmost", "rightmost")):
        face = job.faces.add()
        face.number, face.place, face.box = number, place, (0, 0, 90, 120)
    offered = [line for line in draw("LOOKALIKE_PT_create") if "choose_face" in line]
    assert offered == [
        "operator lookalike.choose_face Leftmost, 90 × 120 px",
        "operator lookalike.choose_face Rightmost, 90 × 120 px",
    ]


def test_face_choice_shows_pictures_where_there_are_some(draw, addon: SimpleNamespace) -> None:
    job = addon.session.jobs.add()
    job.name, job.state, job.faces_photo = "1", "CHOOSING", 0
    job.photos.add().name = "party.jpg"
    for number, place in enumerate(("leftmost", "middle", "rightmost")):
        face = job.faces.add()
        face.number, face.place, face.icon = number, place, 100 + number
    drawn = [line for line in draw("LOOKALIKE_PT_create") if line.startswith("icon") or "choose_face" in line]
    assert drawn[:2] == ["icon 100", "operator lookalike.choose_face Leftmost"]
    assert len(drawn) == 6


def test_active_avatar_shows_its_controls(draw, addon: SimpleNamespace, avatar_file: Path) -> None:
    addon.api.import_avatar(avatar_file)
    levels = [line for line in draw("LOOKALIKE_PT_avatars") if line.startswith("enum")]
    assert levels == ["enum lod Auto", "enum lod 0", "enum lod 1", "enum lod 2"]
    pose = draw("LOOKALIKE_PT_pose")
    assert "prop rotation_euler Open" in pose
    assert "prop rotation_euler Turn" in pose
    expressions = draw("LOOKALIKE_PT_expressions")
    assert 'prop ["eyeBlink"] Blink' in expressions
    assert 'prop ["mouthSmile"] Smile' in expressions
    addon.session.expression_filter = "blink"
    assert [line for line in draw("LOOKALIKE_PT_expressions") if line.startswith("prop [")] == ['prop ["eyeBlink"] Blink']
    addon.session.symmetric = False
    assert [line for line in draw("LOOKALIKE_PT_expressions") if line.startswith("prop [")] == [
        'prop ["eyeBlinkLeft"] ',
        'prop ["eyeBlinkRight"] ',
    ]
    addon.session.expression_filter = "wink"
    assert any("“wink”" in line for line in draw("LOOKALIKE_PT_expressions"))
    assert "label Consent" in draw("LOOKALIKE_PT_provenance")
    assert draw("LOOKALIKE_MT_avatar")


def test_provenance_reads_like_text(addon: SimpleNamespace) -> None:
    lines = addon.part("ui.avatar_panels").provenance_lines
    text = '{"name": "Ada", "sources": [{"name": "a.jpg", "sha256": "%s", "crop": [1, 2]}], "warnings": [], "consent": ""}' % ("ab" * 32)
    assert lines(text) == [("Name", "Ada"), ("Sources", "name: a.jpg\nsha256: abababababab…\ncrop: 1, 2")]
    assert lines("") == []


def test_drawing_error_of_the_viewport_is_shown(draw, addon: SimpleNamespace) -> None:
    status = addon.part("viewport").status
    status.fail("ada", ValueError("no memory"))
    try:
        drawn = draw("LOOKALIKE_PT_avatars")
    finally:
        status.reset()
    assert "operator lookalike.retry_drawing Draw Again" in drawn


def test_backend_panel_and_preferences(draw, addon: SimpleNamespace) -> None:
    assert "label Not running" in draw("LOOKALIKE_PT_backend")
    for location in ("LOCAL", "REMOTE"):
        layout = Recorder()
        kind = addon.part("preferences").LookalikePreferences
        shown = SimpleNamespace(layout=layout, location=location, bl_rna=addon.preferences.bl_rna)
        for method in ("_draw_local", "_draw_remote", "_draw_status"):
            setattr(shown, method, getattr(kind, method).__get__(shown))
        kind.draw(shown, _context())
        assert ("prop address Address" in layout.drawn) == (location == "REMOTE")
        assert "operator lookalike.start_backend Start Backend" in layout.drawn


def test_backend_that_cannot_be_had_is_told_where_the_user_looks(draw, addon: SimpleNamespace) -> None:
    with pytest.raises(addon.protocol.BackendError):
        addon.api.start_backend()
    drawn = draw("LOOKALIKE_PT_create")
    assert any("not installed" in line for line in drawn)
    assert "operator lookalike.open_preferences Preferences" in drawn


def test_text_is_broken_to_the_width_of_the_sidebar(addon: SimpleNamespace) -> None:
    wrap = addon.part("ui.wrapping").wrap
    text = "the quick brown fox jumps over the lazy dog " * 5
    narrow, wide = (wrap(text, SimpleNamespace(region=SimpleNamespace(width=w), preferences=bpy.context.preferences)) for w in (200, 600))
    assert len(narrow) > len(wide) > 1
    assert " ".join(narrow) == " ".join(wide) == text.strip()
    path = "/a/very/long/path" * 20
    broken = wrap(path, SimpleNamespace(region=SimpleNamespace(width=200), preferences=bpy.context.preferences))
    assert "".join(broken) == path
    assert len(broken) > 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mouthSmileLeft", "Smile Left"),
        ("eyeBlinkRight", "Blink Right"),
        ("jawOpen", "Open"),
        ("mouthLowerDownLeft", "Lower Lip Down Left"),
        ("jawLeft", "Slide Left"),
        ("mouthLeft", "Slide Left"),
        ("cheekPuff", "Puff Cheeks"),
        ("noseTwitch_L", "Nose Twitch Left"),
        ("expr_12", "Expr 12"),
    ],
)
def test_expressions_read_like_words(addon: SimpleNamespace, name: str, shown: str) -> None:
    assert addon.part("ui.expression_groups").readable(name) == shown
