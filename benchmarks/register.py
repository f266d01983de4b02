"""How long Blender waits for the add-on at its start: import and `register()` in a fresh process. Runs in a bpy interpreter.

Each figure is the median of several processes, bytecode compiled before, as from the second start of Blender on. The
rest of the add-on (numpy, drawing) loads on the first idle moment after the start, and is measured apart.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "lookalike_measured"
TARGET_MS = 50.0
PROCESSES = 7

SCRIPT = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import bpy
import addon_utils
began, busy = time.perf_counter(), time.process_time()
package = addon_utils.enable(sys.argv[2], default_set=True, handle_error=lambda error: sys.exit(repr(error)))
enabled, busy = time.perf_counter(), time.process_time() - busy
package.unregister()
again = time.perf_counter()
package.register()
registered = time.perf_counter()
from importlib import import_module
drawing = import_module(sys.argv[2] + ".viewport")
drawing.register()
drawn = time.perf_counter()
drawing.unregister()
addon_utils.disable(sys.argv[2], default_set=True)
print("measured", json.dumps([1e3 * (enabled - began), 1e3 * busy, 1e3 * (registered - again), 1e3 * (drawn - registered)]))
"""


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py: milliseconds."""
    sys.path.insert(0, str(ROOT))
    from build import stage

    with tempfile.TemporaryDirectory(prefix="lookalike-register-") as folder:
        stage(Path(folder) / PACKAGE)
        once(folder)  # compiles the bytecode and warms the disk's cache
        runs = [once(folder) for _ in range(PROCESSES)]
    enabled, busy, registered, drawing = (statistics.median(column) for column in zip(*runs, strict=True))
    return [
        row("add-on: import and register()", enabled, TARGET_MS),
        row("add-on: import and register(), processor time", busy, TARGET_MS),
        row("add-on: register() alone", registered, TARGET_MS),
        row("add-on: drawing loaded at the first idle moment", drawing, None),
    ]


def once(folder: str) -> list[float]:
    """One fresh process: milliseconds of enabling (elapsed, processor), of registering again, of loading what draws."""
    command = [sys.executable, "-c", SCRIPT, folder, PACKAGE]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # Blender writes it
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    line = next(line for line in result.stdout.splitlines() if line.startswith("measured "))
    return json.loads(line.removeprefix("measured "))


def row(what: str, value: float, target: float | None) -> dict[str, object]:
    ratio = value / target if target else None
    return {"what": what, "value": value, "unit": "ms", "target": target, "against": "start-up budget" if target else "", "ratio": ratio}


if __name__ == "__main__":
    for line in measure():
        print(line)
