"""A layout that writes down what a panel draws, and refuses what Blender's own would refuse."""

from __future__ import annotations

from typing import Any

import bpy

ICONS = set(bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items.keys())


class Recorder:
    """Stands in for `bpy.types.UILayout`, whose instances exist only while a window is drawn.

    Attributes:
        drawn: one line for each label, property, operator and so on, in order.
        given: (operator, property, value) of each property that was set on a drawn operator.
    """

    def __init__(self, drawn: list[str] | None = None, opened: bool = True, given: list[tuple[str, str, Any]] | None = None) -> None:
        self.drawn = [] if drawn is None else drawn
        self.given = [] if given is None else given
        self.opened = opened

    def __getattribute__(self, name: str) -> Any:
        """Drawing functions, with their arguments checked against those of this Blender."""
        value = super().__getattribute__(name)
        known = bpy.types.UILayout.bl_rna.functions.get(name)
        if known is None:
            return value

        def checked(*arguments: Any, **options: Any) -> Any:
            unknown = set(options) - set(known.parameters.keys()) - {"text_ctxt"}
            assert not unknown, f"{name} has no {unknown} in Blender {bpy.app.version_string}"
            return value(*arguments, **options)

        return checked

    def row(self, **options: Any) -> Recorder:
        return Recorder(self.drawn, self.opened, self.given)

    column = box = split = grid_flow = row

    def panel(self, name: str, default_closed: bool = False) -> tuple[Recorder, Recorder | None]:
        return self.row(), self.row() if self.opened else None

    def label(self, text: str = "", icon: str = "NONE", translate: bool = True) -> None:
        assert icon in ICONS, icon
        self.drawn.append(f"label {text}")

    def separator(self) -> None:
        self.drawn.append("separator")

    def prop(
        self, data: Any, name: str, text: str | None = None, icon: str = "NONE", placeholder: str = "", index: int = -1, **options: Any
    ) -> None:
        assert icon in ICONS, icon
        if name.startswith('["'):  # a custom property
            assert name[2:-2] in data.keys(), name  # noqa: SIM118 - bones are not dicts
            shown = name[2:-2] if text is None else text
        else:
            definition = data.bl_rna.properties[name]
            assert index < max(1, getattr(definition, "array_length", 1))
            shown = definition.name if text is None else text
        self.drawn.append(f"prop {name} {shown or placeholder}")

    def prop_decorator(self, data: Any, name: str, index: int = -1) -> None:
        assert name.startswith('["') or data.bl_rna.properties[name].is_animatable, f"{name} cannot be keyed"

    def prop_enum(self, data: Any, name: str, value: str, text: str = "") -> None:
        assert value in data.bl_rna.properties[name].enum_items
        self.drawn.append(f"enum {name} {text}")

    def operator(
        self, name: str, text: str | None = None, icon: str = "NONE", emboss: bool = True, depress: bool = False, translate: bool = True
    ) -> Any:
        assert icon in ICONS, icon
        category, _, operator = name.partition(".")
        kind = getattr(getattr(bpy.ops, category), operator).get_rna_type()
        self.drawn.append(f"operator {name} {kind.name if text is None else text}")
        return _Properties(kind, name, self.given)

    def operator_menu_enum(self, name: str, property: str, text: str = "", icon: str = "NONE") -> Any:
        self.drawn.append(f"choices {name} {property}")
        return self.operator(name, icon=icon)

    def template_icon(self, icon_value: int, scale: float = 1.0) -> None:
        assert icon_value > 0
        self.drawn.append(f"icon {icon_value}")

    def menu(self, name: str, text: str = "", icon: str = "NONE") -> None:
        assert hasattr(bpy.types, name)
        self.drawn.append(f"menu {name}")

    def progress(self, factor: float, type: str, text: str) -> None:
        assert 0 <= factor <= 1
        self.drawn.append(f"progress {factor:.2f} {text}")

    def template_list(self, cls: str, identifier: str, data: Any, name: str, active_data: Any, active: str, **options: Any) -> None:
        assert hasattr(bpy.types, cls)
        assert name in data.bl_rna.properties
        getattr(active_data, active)
        self.drawn.append(f"list {cls}")


class _Properties:
    """What `UILayout.operator` returns: only properties of the operator can be set."""

    _kind: Any
    _operator: str
    _given: list[tuple[str, str, Any]]

    def __init__(self, kind: Any, operator: str, given: list[tuple[str, str, Any]]) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_operator", operator)
        object.__setattr__(self, "_given", given)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self._kind.properties, name
        self._given.append((self._operator, name, value))
