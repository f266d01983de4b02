"""Every benchmark, one table: what, measured, target, ratio against the best alternative or the hardware's limit.

Each module here offers ``measure() -> list[Row]``; those that need Blender run in a bpy interpreter given with
``--bpy``. ``python3 build.py benchmark`` sets both up and calls this.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).resolve().parent
BACKEND = ("reconstruct", "wire", "raster", "rig", "quality", "models", "personalize")
BLENDER = ("playback", "viewport", "register")


class Row(TypedDict):
    """One measurement. `ratio` is value over target where there is a target, else value over `against`'s value."""

    what: str
    value: float
    unit: str
    target: float | None
    against: str
    ratio: float | None


def measure_here(name: str) -> list[Row]:
    sys.path.insert(0, str(HERE.parent))
    return importlib.import_module(f"benchmarks.{name}").measure()


def measure_in(python: str, name: str) -> list[Row]:
    """Run one module in another interpreter; its rows come back as the last line of its output."""
    result = subprocess.run([python, str(Path(__file__)), "--only", name, "--json"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"benchmark {name} failed:\n{result.stdout}\n{result.stderr}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    table = Table("what", "measured", "target", "ratio", "against", title=machine)
    for row in rows:
        target = "" if row["target"] is None else f"{row['target']:g} {row['unit']}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        table.add_row(row["what"], f"{row['value']:.4g} {row['unit']}", target, ratio, row["against"])
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[*BACKEND, *BLENDER])
    parser.add_argument("--bpy", help="a Python interpreter that has the bpy module")
    parser.add_argument("--json", action="store_true", help="rows as one JSON line")
    arguments = parser.parse_args()
    wanted = arguments.only or [*BACKEND, *(BLENDER if arguments.bpy else ())]
    rows: list[Row] = []
    for name in wanted:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows += measure_in(arguments.bpy, name) if name in BLENDER and arguments.bpy else measure_here(name)
    if arguments.json:
        print(json.dumps(rows))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
