"""Level of detail by size on screen."""

from __future__ import annotations

import time

import bpy
import pytest


@pytest.mark.parametrize(("height", "level"), [(20, 0), (300, 1), (900, 2)])
def test_level_follows_size(part, height, level) -> None:
    assert part("viewport.lod").choose_level(height, None) == level


def test_size_at_a_limit_does_not_flicker(part) -> None:
    lod = part("viewport.lod")
    level, switches = 1, 0
    for step in range(200):
        chosen = lod.choose_level(lod.LIMITS[1] * (1.1 if step % 2 else 0.9), level)
        switches += chosen != level
        level = chosen
    assert switches == 0


def test_a_jump_over_two_levels_is_one_switch(part) -> None:
    assert part("viewport.lod").choose_level(5000, 0) == 2
    assert part("viewport.lod").choose_level(10, 2) == 0


def test_wanted_level_is_shown_once_it_has_settled(part, avatar, monkeypatch) -> None:
    lod, levels = part("viewport.lod"), part("avatar.levels")
    lod.forget()
    monkeypatch.setattr(lod, "_open_views", lambda: {7})
    lod.measured(avatar.collection, 2, 7, 90.0)
    assert lod.apply() is not None, "still settling"
    assert levels.shown_level(avatar.collection) == 2
    time.sleep(lod.SETTLE)
    assert lod.apply() is None, "the timer ends"
    assert levels.shown_level(avatar.collection) == 0


def test_largest_view_decides(part, avatar, monkeypatch) -> None:
    lod = part("viewport.lod")
    lod.forget()
    monkeypatch.setattr(lod, "_open_views", lambda: {1, 2})
    lod.measured(avatar.collection, 2, 1, 900.0)
    lod.measured(avatar.collection, 2, 2, 50.0)
    time.sleep(lod.SETTLE)
    lod.apply()
    assert part("avatar.levels").shown_level(avatar.collection) == 2


def test_manual_level_is_left_alone(part, avatar, monkeypatch) -> None:
    lod = part("viewport.lod")
    lod.forget()
    avatar.collection.lookalike.lod = "2"
    lod.measured(avatar.collection, 2, 1, 30.0)
    time.sleep(lod.SETTLE)
    lod.apply()
    assert part("avatar.levels").shown_level(avatar.collection) == 2


def test_hidden_levels_are_not_evaluated(avatar) -> None:
    avatar.collection.lookalike.lod = "0"
    bpy.context.view_layer.update()
    evaluated = set()

    def note(_scene, depsgraph) -> None:
        evaluated.update(update.id.name for update in depsgraph.updates if update.is_updated_geometry)

    bpy.app.handlers.depsgraph_update_post.append(note)
    try:
        avatar.head.data.shape_keys.key_blocks["mouthSmile"].value = 1.0
        bpy.context.view_layer.update()
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(note)
    assert avatar.splats[0].name in evaluated
    assert avatar.splats[2].name not in evaluated
