"""The panel Look and Render: the avatar's sliders, and what this Blender cannot do, in words."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import pytest
from mathutils import Matrix

from tests.blender.ui.recorder import Recorder

from .conftest import EEVEE


@pytest.fixture
def drawn(avatar, part):
    """What the panel draws now."""

    def draw() -> str:
        bpy.context.view_layer.objects.active = avatar.armature
        cls = part("ui.render_panel").LOOKALIKE_PT_render
        assert cls.poll(bpy.context)
        panel = SimpleNamespace(layout=Recorder())
        context = SimpleNamespace(
            window_manager=bpy.context.window_manager,
            scene=bpy.context.scene,
            view_layer=bpy.context.view_layer,
            preferences=bpy.context.preferences,
            region=SimpleNamespace(width=2000),
            area=None,
            selected_objects=[],
        )
        cls.draw_header_preset(panel, context)
        cls.draw(panel, context)
        return "\n".join(panel.layout.drawn)

    return draw


def test_sliders_and_button(drawn) -> None:
    text = drawn()
    for name in (
        "Exposure",
        "Tint",
        "Contrast",
        "Relight",
        "Render Detail",
        "Cast Shadows",
        "lookalike.set_up_layers",
        "lookalike.make_render_ready",
        "lookalike.reset_look",
    ):
        assert name in text, name
    assert "cannot" not in text


def panoramic_eevee(scene: bpy.types.Scene) -> None:
    scene.camera.data.type, scene.render.engine = "PANO", EEVEE


def test_cycles_panorama_is_fine(drawn) -> None:
    bpy.context.scene.camera.data.type = "PANO"
    assert "anoramic" not in drawn()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scene: setattr(scene.render, "engine", "BLENDER_WORKBENCH"), "Workbench cannot render splats"),
        (lambda scene: setattr(scene, "camera", None), "no camera"),
        (panoramic_eevee, "EEVEE knows no panoramic cameras"),
        (lambda scene: setattr(scene.view_settings, "gamma", 1.2), "Gamma"),
        (lambda scene: setattr(scene.cycles, "transparent_max_bounces", 8), "Transparent bounces are 8"),
        (lambda scene: setattr(scene.view_settings, "view_transform", "False Color"), "no known inverse"),
    ],
)
def test_limits_are_told(drawn, change, said) -> None:
    assert said not in drawn()
    change(bpy.context.scene)
    assert said in drawn()


def test_relighting_tells_its_limits(drawn, avatar, part) -> None:
    assert "carry the photo's light" not in drawn()
    avatar.armature[part("rendering.look").RELIGHT] = 0.5
    assert "carry the photo's light" in drawn()


def test_an_instance_elsewhere_is_told(drawn, avatar) -> None:
    empty = bpy.data.objects.new("extra", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", avatar.collection
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    assert "extra" not in drawn()
    empty.matrix_world = Matrix.Translation((1, 0, 0))
    bpy.context.view_layer.update()
    assert "extra shows an avatar by instancing" in drawn()


def test_an_edited_rig_is_told(drawn, avatar) -> None:
    avatar.head.data.vertices.add(2)
    assert "was edited" in drawn()
