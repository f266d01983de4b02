"""The commands and what they share: one line for a user's mistake, a log for a bug, JSON for programs."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import click

from backend.protocol.errors import LookalikeError

COMMANDS = {
    "serve": "serve",
    "reconstruct": "reconstruct",
    "extend": "extend",
    "personalize": "personalize",
    "adapters": "adapters",
    "bake": "bake",
    "render": "render",
    "drive": "drive",
    "export": "export",
    "import": "import_",
    "info": "info",
    "track": "track",
    "live": "live",
    "flame-map": "flame_map",
    "evaluate": "evaluate",
    "synthesize": "synthesize",
    "train": "train",
    "adapt": "adapt",
    "merge-adapter": "adapt",
    "ablation": "ablation",
    "parity": "parity",
    "models": "models",
    "rigs": "lists",
    "key": "key",
}
"""Command -> module of this package that defines it; imported when it is asked for, so that `--help` is quick."""

HELP = {
    "serve": "Run the backend that Blender talks to.",
    "reconstruct": "Portraits of one person -> avatar file.",
    "extend": "More photos into an avatar of ffavatar, without the earlier ones.",
    "personalize": "Refine an avatar by photos or a video of its person.",
    "adapters": "Refinements in an avatar file: list, switch, merge, remove.",
    "bake": "What a refiner draws -> native splats whose colours follow the face.",
    "render": "Picture or turntable of an avatar.",
    "drive": "Move an avatar of --model instant by a video of another person.",
    "export": "Avatar -> .ply or .spz (3D Gaussian splats), .glb, LAM's web zip.",
    "import": "A .glb that Lookalike wrote -> avatar file.",
    "info": "What an avatar file holds; checks it.",
    "track": "Rig parameters of photos or of a video.",
    "live": "A webcam's face, streamed to Blender.",
    "flame-map": "FLAME's coefficients on another head, for motion in Blender.",
    "evaluate": "Reconstruct known heads and measure the error.",
    "synthesize": "Draw heads to train on.",
    "train": "Train a network as a TOML file says.",
    "adapt": "LoRA + Registers: adapt GAGAvatar to one tracked person.",
    "merge-adapter": "An adapter into GAGAvatar's weights.",
    "ablation": "Personalize one person in several ways and print the paper's table.",
    "parity": "Reproduce the released networks' numbers and compare.",
    "models": "Reconstructors and weights: list, add, fetch, remove.",
    "rigs": "Which parametric heads there are.",
    "key": "This user's public key, for a backend on another machine.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"backend.cli.{COMMANDS[cmd_name]}")
        return getattr(module, "import_" if cmd_name == "import" else cmd_name.replace("-", "_"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, HELP[name]) for name in COMMANDS])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lookalike", message="%(version)s", prog_name="lookalike")
def lookalike() -> None:
    """Portraits become animatable 3D Gaussian head avatars."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0, or 1 with one line on standard error (with --json, an object on standard output)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """One command; its exit code."""
    as_json = "--json" in arguments
    try:
        code = lookalike.main(list(arguments), prog_name="lookalike", standalone_mode=False)
        sys.stdout.flush()
    except LookalikeError as error:
        return _fail(as_json, error.code, error.message, error.remedy, error.data)
    except click.ClickException as error:
        usage = f"see: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        return _fail(as_json, "usage", error.format_message(), usage, {})
    except (click.Abort, KeyboardInterrupt):
        return _fail(as_json, "cancelled", "cancelled", "", {})
    except BrokenPipeError:
        # Who read our output has had enough (`| head`); nothing more may be written, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        log = _log_bug(arguments)
        return _fail(as_json, "bug", f"{type(error).__name__}: {error}", f"this is a bug; report it with {log}", {})
    return code if isinstance(code, int) else 0


def _fail(as_json: bool, code: str, message: str, remedy: str, data: dict[str, object]) -> int:
    if as_json:
        error = {"code": code, "message": message, "remedy": remedy, "data": data}
        click.echo(json.dumps({"ok": False, "error": error}))
    else:
        line = " ".join(f"{message}; {remedy}".split() if remedy else message.split())
        click.echo(f"lookalike: {line}", err=True)
    return 1


def _log_bug(arguments: Sequence[str]) -> str:
    """Write the traceback to the log file and return its path; to standard error where there is no log."""
    from backend.server.logs import set_up_logging

    path = set_up_logging(to_stderr=False)
    if path is None:
        traceback.print_exc()
        return "the traceback above"
    logging.getLogger("lookalike").exception("command line: %s", " ".join(arguments))
    return str(path)
