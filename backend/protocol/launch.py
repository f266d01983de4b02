"""Start a backend from a client: its keys go over standard input, its address comes back over standard output.

No secret stands on a command line or in the environment, and the backend that we started trusts our key alone.
It ends with us (`--parent-pid`), also where we are killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .errors import BackendError
from .keys import Endpoint, KeyPair, endpoint_from_json

READY_SECONDS = 30.0
"""A cold Python on a slow disk; the networks load later, in the worker."""


class Launch:
    """A backend on its way up, then running. Never blocks: ask `poll` from a timer.

    Args:
        command: what runs the backend's command line, e.g. `backend_command(root)`.
        folder: working folder of the backend.
        arguments: more arguments for `serve`.
    """

    def __init__(self, command: Sequence[str], folder: str | os.PathLike[str], arguments: Sequence[str] = ()) -> None:
        self.keys = KeyPair.generate()
        self._endpoint: Endpoint | None = None
        self._fault: BackendError | None = None
        self._last_words: deque[str] = deque(maxlen=20)
        full = [*command, "serve", "--handover", "--parent-pid", str(os.getpid()), *arguments]
        environment = {k: v for k, v in os.environ.items() if k not in _FOREIGN_PYTHON} | {"PYTHONUTF8": "1"}
        try:
            self.process = subprocess.Popen(  # noqa: S603 - the command is the user's own backend
                full,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                start_new_session=os.name == "posix",  # a Ctrl-C in Blender's terminal is Blender's
            )
        except OSError as error:
            raise BackendError(f"{full[0]}: cannot be started ({error.strerror})", "correct the backend's location") from error
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._hand_over, self._collect)]
        for thread in self._threads:
            thread.start()

    def poll(self) -> Endpoint | None:
        """Where the backend listens, or None while it is still starting.

        Raises:
            BackendError: it ended instead; tells its last line.
        """
        if self._fault is not None:
            raise self._fault
        code = self.process.poll()
        if code is not None:
            for thread in self._threads:
                thread.join(0.5)
            words = self._last_words[-1] if self._last_words else "it said nothing"
            raise BackendError(f"the backend ended with code {code}: {words}", "see the backend's log, then start it again")
        return self._endpoint

    def stop(self, timeout: float = 3.0) -> None:
        """End the backend, first kindly; returns within about `timeout`. Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout)

    def _hand_over(self) -> None:
        """Give the backend our public key and wait for the one line that it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"client_public": self.keys.public}).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline(1 << 16)
            if line:
                self._endpoint = endpoint_from_json(line.decode("utf-8", "replace"), "the backend's first line")
        except BackendError as error:
            self._fault = error
        except OSError as error:
            self._last_words.append(str(error))  # it ended before it listened; `poll` tells

    def _collect(self) -> None:
        """Drain the backend's standard error, so that it never blocks; keep the end for `poll`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._last_words.append(line.decode("utf-8", "replace").rstrip())


_FOREIGN_PYTHON = {"PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSTARTUP", "PYTHONEXECUTABLE"}
"""What Blender or a launcher may have set for its own Python, and would break the backend's."""


def backend_command(root: str | os.PathLike[str]) -> list[str]:
    """The command line of the backend that `build.py setup` made in a checkout.

    Raises:
        BackendError: there is none.
    """
    base = Path(root) / ".venv"
    python = base / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        raise BackendError(f"{root}: no backend is set up here", "run: python3 build.py setup")
    return [str(python), "-m", "backend"]


def endpoint_line(endpoint: Endpoint) -> str:
    """What a launched backend prints: one line of JSON."""
    return json.dumps(asdict(endpoint))
