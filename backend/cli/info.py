"""`lookalike info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import FORMAT_VERSION, read_avatar

from .output import emit, json_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def info(file: Path, as_json: bool) -> None:
    """What an avatar file holds: rig, splats, sizes, provenance. The whole file is checked."""
    avatar = read_avatar(file)
    facts = _facts(file, avatar)
    emit(as_json, facts, _text(facts))


def _facts(file: Path, avatar: Avatar) -> dict[str, Any]:
    rig, head = avatar.rig, avatar.lods[0]
    low, high = rig.vertices.min(0), rig.vertices.max(0)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "format": FORMAT_VERSION,
        "name": avatar.name,
        "rig": {
            "id": rig.rig_id,
            "vertices": len(rig.vertices),
            "triangles": len(rig.faces),
            "joints": list(rig.joint_names),
            "expressions": list(rig.expression_names),
            "size_m": [round(float(x), 4) for x in high - low],
        },
        "lods": [{"level": i, "splats": len(lod)} for i, lod in enumerate(avatar.lods)],
        "shoulders": len(avatar.shoulders),
        "sh_degree": int(head.sh.shape[1] ** 0.5) - 1,
        "portraits": [{"size": list(driver.size)} for driver in avatar.drivers],
        "provenance": avatar.provenance,
    }


def _text(facts: dict[str, Any]) -> str:
    rig = facts["rig"]
    size = " x ".join(f"{1000 * x:.0f}" for x in rig["size_m"])
    levels = ", ".join(f"{lod['splats'] + facts['shoulders']}" for lod in facts["lods"])
    lines = [
        f"{facts['name']}  ({facts['file']}, {facts['bytes'] / 1e6:.1f} MB, format {facts['format']})",
        f"rig          {rig['id']}: {rig['vertices']} vertices, {rig['triangles']} triangles, {size} mm",
        f"joints       {', '.join(rig['joints'])}",
        f"expressions  {len(rig['expressions'])}: {', '.join(rig['expressions'])}",
        f"splats       {levels}  ({facts['shoulders']} of them shoulders; SH degree {facts['sh_degree']})",
    ]
    lines += [f"{key:<12} {_plain(value)}" for key, value in facts["provenance"].items() if key != "name"]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return str(value) if value not in ("", None) else "none"
