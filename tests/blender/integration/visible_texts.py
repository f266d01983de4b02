"""What of the add-on's source a user gets to read, found in its syntax trees: labels, tooltips, options, reports, errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

PROPERTIES = {f"{kind}Property" for kind in ("Bool", "Enum", "Float", "FloatVector", "Int", "IntVector", "String", "Collection", "Pointer")}
LAYOUT = {"label", "prop", "operator", "menu", "prop_enum", "prop_search", "progress"}
TELLING = {"tell", "said"}
ERRORS = re.compile(r"(Lookalike|Motion|Cue|AvatarFile|Backend|Image|Face|Protocol|Cancelled)Error$|^Cancelled$")
OUTSIDE = ("protocol", "translations")
DRAWN_GROUPS = {"LOOKALIKE_PG_session", "LOOKALIKE_PG_edit"}
"""Property groups whose properties are drawn as options; the others hold a state."""


def visible_texts(folder: Path) -> dict[str, str]:
    """Text, or template with {a}, {b} for what is filled in -> where it stands."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        if name.parts[0] in OUTSIDE:
            continue
        for text, line in _texts(ast.parse(path.read_text())):
            if re.search(r"[^\W\d_]{2}", re.sub(r"\{\w+\}", "", text)):
                found.setdefault(text, f"{name}:{line}")
    return found


def _texts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            if "PropertyGroup" in _names(node.bases) and node.name not in DRAWN_GROUPS:
                skipped.update(ast.walk(node))
            yield from _class_texts(node)
        elif isinstance(node, ast.Call) and node not in skipped:
            yield from ((text, node.lineno) for text in _call_texts(node))


def _names(nodes: list[ast.expr]) -> set[str]:
    return {node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in nodes}


def _class_texts(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    values = {
        statement.targets[0].id: statement.value
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    if "bl_label" not in values:
        return
    for name in ("bl_label", "bl_description", "hint"):
        if name in values:
            yield from ((text, node.lineno) for text in _parts(values[name]))
    described = any(isinstance(statement, ast.FunctionDef) and statement.name == "description" for statement in node.body)
    if "_OT_" in node.name and not described and (tooltip := ast.get_docstring(node)):
        yield " ".join(tooltip.split()), node.lineno


def _call_texts(node: ast.Call) -> Iterator[str]:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if function in PROPERTIES and "HIDDEN" not in ast.unparse(given.get("options", ast.Constant(""))):
        for name in ("name", "description"):
            if name in given:
                yield from _parts(given[name])
        yield from _choices(given.get("items"))
    elif (function in TELLING or function == "poll_message_set") and node.args:
        yield from _parts(node.args[0])
    elif function in LAYOUT and ast.unparse(given.get("translate", ast.Constant(True))) != "False":
        for name in ("text", "placeholder"):
            if name in given:
                yield from _parts(given[name])
    elif function == "draw_wrapped" and len(node.args) > 2:
        yield from _parts(node.args[2])
    elif ERRORS.search(function):
        for argument in node.args[:2]:
            yield from (_without_subject(text) for text in _parts(argument))


def _choices(items: ast.expr | None) -> Iterator[str]:
    """Names and tooltips of an enum's literal items."""
    for item in getattr(items, "elts", ()):
        for part in getattr(item, "elts", ())[1:3]:
            yield from _parts(part)


def _parts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be: constants, f-strings as templates, both arms of a condition."""
    if isinstance(node, ast.IfExp):
        yield from _parts(node.body)
        yield from _parts(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        letters = iter(ascii_lowercase)
        yield "".join(part.value if isinstance(part, ast.Constant) else f"{{{next(letters)}}}" for part in node.values)


def _without_subject(template: str) -> str:
    """An error without the file's or avatar's name before it, its places named from {a} on again."""
    if not template.startswith("{a}: "):
        return template
    letters = iter(ascii_lowercase)
    return re.sub(r"\{\w\}", lambda _: f"{{{next(letters)}}}", template.removeprefix("{a}: "))
