"""`lookalike personalize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from backend.protocol.avatar import Adapter, Avatar
from backend.protocol.avatar_file import SUFFIX, encode_avatar, read_avatar, write_avatar
from backend.protocol.frames import Message
from backend.protocol.messages import Personalize, Preview, Progress

from .output import TerminalListener, check_target, emit, interrupts, json_option, read_files

if TYPE_CHECKING:
    from backend.server import Client


@click.command()
@click.argument("avatar_file", metavar="AVATAR", type=click.Path(path_type=Path))
@click.argument("photos", metavar="PHOTO|VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The new avatar file, NAME{SUFFIX}.")
@click.option("--steps", type=click.IntRange(1, 5000), default=500, show_default=True, help="Of level 1; the others follow.")
@click.option("--face", "faces", multiple=True, type=click.IntRange(min=0), help="Which face, counted from the left from 0.")
@click.option("--rig", default="builtin", show_default=True, help="The head that the avatar stands on, as given to reconstruct.")
@click.option("--method", default="", help="refine, tune, registers or lora; by default what fits the model that made the avatar.")
@click.option("--consent", default="", help="Statement of consent, for what the file says of the adapter.")
@click.option("--curve", type=click.Path(path_type=Path), help="Picture of loss and held-out PSNR, NAME.png.")
@click.option("--backend", "use_backend", is_flag=True, help="Let this user's running backend do it (see: lookalike serve).")
@json_option
def personalize(
    avatar_file: Path,
    photos: tuple[Path, ...],
    output: Path,
    steps: int,
    faces: tuple[int, ...],
    rig: str,
    method: str,
    consent: str,
    curve: Path | None,
    use_backend: bool,
    as_json: bool,
) -> None:
    """Refine an avatar by photos, or by one video, of its person.

    What is learned is an adapter in the file, which can be switched off (see: lookalike adapters). Ctrl-C keeps the best so far.
    Of four photos or more each fourth is held out and decides; where it gets no better, nothing is written and the exit code is 1.
    """
    check_target(output, SUFFIX)
    if curve is not None:
        check_target(curve, ".png")
    if len(faces) not in (0, 1, len(photos)):
        raise click.UsageError(f"{len(faces)} --face for {len(photos)} photos")
    avatar, files = read_avatar(avatar_file), read_files(photos)
    chosen = faces * len(files) if len(faces) == 1 else faces
    request = Personalize(tuple(n for n, _ in files), chosen, consent, steps, rig, method)
    with TerminalListener(output.stem, quiet=as_json) as terminal:
        done = _over_the_wire(avatar, files, request, terminal) if use_backend else _here(avatar, files, request, terminal)
    refined, picture, warnings = done
    write_avatar(output, refined)
    if curve is not None:
        _write_png(curve, picture)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    adapter = refined.adapters[-1]
    facts = {"file": str(output), **terminal.timings(), "adapter": {"name": adapter.name, "kind": adapter.kind, **adapter.facts}}
    judged = adapter.facts.get("judged_by", "held-out pictures")
    emit(as_json, {**facts, "warnings": warnings}, f"{output}: {gain_of(adapter)} ({judged}) in {terminal.seconds:.1f} s")


def gain_of(adapter: Adapter) -> str:
    """What an adapter brought on what was held out, in words: dB of a refinement, the error of a network's factors."""
    facts = adapter.facts
    if "psnr_after" in facts:
        return f"{facts.get('psnr_before')} -> {facts['psnr_after']} dB"
    return f"held-out error {facts.get('before')} -> {facts.get('after')}"


Outcome = tuple[Avatar, np.ndarray, list[str]]


def _here(avatar: Avatar, files: list[tuple[str, bytes]], request: Personalize, terminal: TerminalListener) -> Outcome:
    from backend.server import pipeline

    listener = Interruptible(terminal)
    with interrupts(listener.interrupted):
        done = pipeline.personalize(avatar, files, request, listener)
    return done.avatar, done.curve, list(done.warnings)


class Interruptible:
    """The terminal's listener, which ends the work when Ctrl-C was pressed; a second one ends the command."""

    def __init__(self, terminal: TerminalListener) -> None:
        self._enough = False
        self._terminal = terminal
        self.rig, self.lod = terminal.rig, terminal.lod

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        from backend.personalize.ending import Enough

        if self._enough:
            raise Enough
        self._terminal.progress(fraction, stage, text)

    def interrupted(self, presses: int) -> None:
        if presses > 1:
            raise KeyboardInterrupt
        self._enough = True


class RemoteWork:
    """Shows a backend's events in the terminal, and passes Ctrl-C on to it: the first asks for the best so far, the second drops
    the job, which ends the wait within a second, and a third leaves without an answer."""

    def __init__(self, client: Client, terminal: TerminalListener) -> None:
        self.picture = np.zeros((1, 1, 3), np.uint8)
        self._client, self._terminal = client, terminal
        self._job, self._early = "", False

    def show(self, event: Message) -> None:
        if not self._job and event.job:
            self._job = event.job
            if self._early:
                self._client.cancel(self._job)
        if isinstance(event.body, Progress):
            self._terminal.progress(event.body.fraction, event.body.stage, event.body.text)
        elif isinstance(event.body, Preview):
            self.picture = np.array(event.tensors()["image"])

    def interrupted(self, presses: int) -> None:
        if presses > 2:
            raise KeyboardInterrupt
        if self._job:
            self._client.cancel(self._job)
        else:
            self._early = True  # pressed before the backend said which job it is


def _over_the_wire(avatar: Avatar, files: list[tuple[str, bytes]], request: Personalize, terminal: TerminalListener) -> Outcome:
    from backend.server import Client

    with Client.connect() as client:
        work = RemoteWork(client, terminal)
        with interrupts(work.interrupted):
            done = client.personalize(
                encode_avatar(avatar), files, faces=request.faces, steps=request.steps, rig=request.rig, consent=request.consent,
                method=request.method,
                on_event=work.show,
            )  # fmt: skip
    return done.avatar(), work.picture, list(getattr(done.body, "warnings", ()))


def _write_png(path: Path, picture: np.ndarray) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
