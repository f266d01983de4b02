"""The add-on comes and goes without a trace, and fast."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from types import SimpleNamespace

import bpy


def registered() -> set[str]:
    names = {name for name in dir(bpy.types) if "LOOKALIKE" in name or "Lookalike" in name}
    operators = {f"lookalike.{name}" for name in dir(bpy.ops.lookalike)}
    properties = {kind.__name__ for kind in (bpy.types.Collection, bpy.types.Object, bpy.types.WindowManager) if hasattr(kind, "lookalike")}
    return names | operators | properties


def hooks() -> dict[str, list[str]]:
    lists = {name: value for name in dir(bpy.app.handlers) if isinstance(value := getattr(bpy.app.handlers, name), list)}
    menus = {"import": bpy.types.TOPBAR_MT_file_import._dyn_ui_initialize(), "export": bpy.types.TOPBAR_MT_file_export._dyn_ui_initialize()}
    return {name: [f.__module__ for f in value if "lookalike" in f.__module__] for name, value in (lists | menus).items()}


def test_unregistering_twice_leaves_nothing(addon: SimpleNamespace) -> None:
    for _ in range(2):
        before = registered()
        assert "LOOKALIKE_PT_create" in before
        assert "lookalike.create" in before
        assert hooks()["import"]
        assert hooks()["load_pre"]
        addon.package.unregister()
        assert registered() == set()
        assert not any(hooks().values())
        began = time.perf_counter()
        addon.package.register()
        print(f"register(): {1e3 * (time.perf_counter() - began):.1f} ms")
        assert registered() == before


def test_registering_opens_nothing(staged) -> None:
    """In a fresh process: no socket, no child, no file of ours, and neither pyzmq nor safetensors is loaded."""
    script = f"""
import sys
sys.path.insert(0, {str(staged.parent)!r})
import bpy, addon_utils
seen = []
watched = ("socket.", "subprocess.", "os.mkdir", "os.rename", "os.remove", "tempfile.")
def audit(event, arguments):
    if event.startswith(watched) or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
        seen.append((event, str(arguments)[:200]))
sys.dont_write_bytecode = True
sys.addaudithook(audit)
addon_utils.enable({staged.name!r}, default_set=True, handle_error=lambda e: sys.exit(repr(e)))
heavy = [name for name in ("zmq", "safetensors", "gpu_extras") if name in sys.modules]
assert not seen and not heavy, (seen, heavy)
print("clean")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert "clean" in result.stdout, result.stdout + result.stderr


def test_everything_has_a_tooltip(addon: SimpleNamespace) -> None:
    silent = []
    for cls in addon.part("registration").CLASSES:
        if issubclass(cls, bpy.types.Operator):
            described = getattr(bpy.ops.lookalike, cls.bl_idname.removeprefix("lookalike.")).get_rna_type().description
            if not described or described.endswith("."):
                silent.append(cls.__name__)
        for name in inspect.get_annotations(cls):
            definition = cls.bl_rna.properties.get(name)
            if definition is not None and not definition.is_hidden and not definition.description:
                silent.append(f"{cls.__name__}.{name}")
    hidden_or_lists = {"photos", "jobs", "faces", "files"}
    assert [name for name in silent if name.split(".")[-1] not in hidden_or_lists] == []
