"""What a lighter sets on an avatar: exposure, tint, contrast, relighting. Custom properties of its armature, so that they
are keyed, driven, copied and overridden like any other, and reach the render without this add-on.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..protocol.avatar import F32
from .quads import MIDDLE_GREY

EXPOSURE, TINT, CONTRAST, RELIGHT = "lookalike_exposure", "lookalike_tint", "lookalike_contrast", "lookalike_relight"

_SHOWN: dict[str, dict[str, object]] = {
    EXPOSURE: {
        "default": 0.0,
        "min": -10.0,
        "max": 10.0,
        "soft_min": -3.0,
        "soft_max": 3.0,
        "description": "Brightness of the avatar in stops; the light of the photo is baked into it",
    },
    TINT: {
        "default": (1.0, 1.0, 1.0),
        "min": 0.0,
        "max": 10.0,
        "soft_max": 1.0,
        "subtype": "COLOR",
        "description": "Colour that multiplies the avatar's, in linear light",
    },
    CONTRAST: {"default": 1.0, "min": 0.1, "max": 4.0, "soft_min": 0.5, "soft_max": 2.0, "description": "Contrast about middle grey"},
    RELIGHT: {
        "default": 0.0,
        "min": 0.0,
        "max": 1.0,
        "description": "How much of the photo's light is replaced by the scene's lights and world, on the rig's surface",
    },
}

LOOK_INPUTS = {
    "Exposure": f'["{EXPOSURE}"]',
    "Tint R": f'["{TINT}"][0]',
    "Tint G": f'["{TINT}"][1]',
    "Tint B": f'["{TINT}"][2]',
    "Contrast": f'["{CONTRAST}"]',
    "Relight": f'["{RELIGHT}"]',
}
"""Input of the modifier -> path from the armature."""


@dataclass(frozen=True)
class Look:
    """One avatar's look. `tint` is linear light."""

    exposure: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    relight: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether the colours stay as they are (the relighting apart)."""
        return self.exposure == 0.0 and self.tint == (1.0, 1.0, 1.0) and self.contrast == 1.0


PLAIN = Look()


def ensure_look(armature: bpy.types.Object) -> None:
    """Give an armature the properties that it lacks."""
    for name, shown in _SHOWN.items():
        if name in armature:
            continue
        value = shown["default"]
        armature[name] = list(value) if isinstance(value, tuple) else value
        armature.id_properties_ui(name).update(precision=2, **shown)
        armature.property_overridable_library_set(f'["{name}"]', True)
        armature.update_tag()  # drivers that do not find it where it is evaluated are switched off for good


def has_look(armature: bpy.types.Object) -> bool:
    """Whether `ensure_look` was done; avatars of older files lack it until they are made renderable."""
    return all(name in armature for name in _SHOWN)


def reset_look(armature: bpy.types.Object) -> None:
    """Show the photo's own light again."""
    for name, shown in _SHOWN.items():
        value = shown["default"]
        armature[name] = list(value) if isinstance(value, tuple) else value
    armature.update_tag()


def read_look(armature: bpy.types.Object | None) -> Look:
    """The look of an avatar, plain where it has none. Takes an evaluated armature for animated values."""
    if armature is None or EXPOSURE not in armature:
        return PLAIN
    tint = tuple(float(channel) for channel in armature.get(TINT, (1.0, 1.0, 1.0)))
    return Look(float(armature[EXPOSURE]), tint, float(armature.get(CONTRAST, 1.0)), float(armature.get(RELIGHT, 0.0)))


def armature_of_splats(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The armature that a splat object follows, through the rig mesh."""
    from ..avatar.binding_nodes import bound_rig

    head = bound_rig(obj) if obj.modifiers else None
    parent = head.parent if head is not None else None
    return parent if parent is not None and parent.type == "ARMATURE" else None


def grade(display: F32, look: Look) -> F32:
    """Display-referred sRGB colours [N, 3] under a look, as the render's nodes compute it under the Standard view transform."""
    if look.is_plain:
        return display
    gain = np.float32(2.0**look.exposure / MIDDLE_GREY) * np.float32(look.tint)
    graded = np.maximum(to_linear(display) * gain, 0.0) ** np.float32(look.contrast) * np.float32(MIDDLE_GREY)
    return to_display(graded)


def to_linear(display: F32) -> F32:
    """sRGB to linear light; values below 0 become 0."""
    display = np.maximum(display, 0.0)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_display(linear: F32) -> F32:
    """Linear light (at least 0) to sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055).astype(np.float32)
