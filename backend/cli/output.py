"""What the commands share: progress on standard error, results on standard output as text or JSON, option types."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from backend.protocol.avatar import RigArrays, SplatArrays
from backend.protocol.errors import ImageError, LookalikeError

json_option = click.option("--json", "as_json", is_flag=True, help="Result, timings and errors as one JSON object on standard output.")


def emit(as_json: bool, facts: dict[str, Any], text: str) -> None:
    """The command's result, once, on standard output."""
    click.echo(json.dumps({"ok": True, **facts}, allow_nan=False) if as_json else text)


def read_files(paths: tuple[Path, ...]) -> list[tuple[str, bytes]]:
    """Names and bytes. Raises ImageError naming the file that cannot be read."""
    files = []
    for path in paths:
        try:
            files.append((path.name, path.read_bytes()))
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    return files


def check_target(path: Path, *suffixes: str) -> None:
    """Refuse an output that could not be written before minutes are spent on its content."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise LookalikeError(f"{path.name}: the name must end with {' or '.join(suffixes)}", "correct -o")
    if not path.absolute().parent.is_dir():
        raise LookalikeError(f"{path}: there is no folder {path.absolute().parent}", "make it first, or correct -o")
    if path.is_dir():
        raise LookalikeError(f"{path}: is a folder", "name a file in it")


class TerminalListener:
    """A bar on standard error while a job runs, and the seconds of its stages."""

    def __init__(self, title: str, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True, quiet=quiet)
        self._plain = not console.is_terminal and not quiet
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=self._plain)
        self._task = self._bar.add_task(title, total=1.0, text="")
        self._stage, self._began = "", time.monotonic()
        self.stages: dict[str, float] = {}
        self.start = self._began

    def __enter__(self) -> TerminalListener:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._close_stage()
        self._bar.stop()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def timings(self) -> dict[str, Any]:
        """What --json tells of the time."""
        return {"seconds": round(self.seconds, 3), "stages": {name: round(value, 3) for name, value in self.stages.items()}}

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        if stage != self._stage:
            self._close_stage()
            self._stage, self._began = stage, time.monotonic()
            if self._plain:
                click.echo(f"{fraction:4.0%} {stage} {text}".rstrip(), err=True)
        self._bar.update(self._task, completed=fraction, text=f"{stage} {text}".strip())

    def rig(self, rig: RigArrays) -> None:
        """Nothing to show of a rig in a terminal."""

    def lod(self, level: int, splats: SplatArrays, shoulders: SplatArrays) -> None:
        if self._plain:
            click.echo(f"     level {level}: {len(splats) + len(shoulders)} splats", err=True)

    def _close_stage(self) -> None:
        if self._stage:
            self.stages[self._stage] = self.stages.get(self._stage, 0.0) + time.monotonic() - self._began


@contextmanager
def interrupts(heard: Callable[[int], None]) -> Iterator[None]:
    """For as long as this lasts Ctrl-C calls `heard` with how often it was pressed, in place of ending the command."""
    presses = 0

    def press(_signal: int, _frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        heard(presses)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Assignment(click.ParamType):
    """`name=value` with a finite number."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, _, number = str(value).partition("=")
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if not name or not math.isfinite(amount):
            self.fail(f"{value!r} is not name=value, as in jawOpen=0.5", param, ctx)
        return name, amount


class Numbers(click.ParamType):
    """`-30,0,30`: finite numbers."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is not a list of numbers, as in -30,0,30", param, ctx)
        return numbers


class Range(click.ParamType):
    """`0:10`, or one number: a half-open range of whole numbers."""

    name = "first:end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, colon, end = str(value).partition(":")
        if not first.isdecimal() or (colon and not end.isdecimal()):
            self.fail(f"{value!r} is not first:end, as in 0:10", param, ctx)
        chosen = range(int(first), int(end)) if colon else range(int(first), int(first) + 1)
        if not chosen:
            self.fail(f"{value!r} is empty", param, ctx)
        return chosen
