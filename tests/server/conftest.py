"""A real backend on a free port, in its own process, and clients of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.protocol.keys import CONNECTION_FILE, Endpoint, read_connection_file
from backend.server import Client

ROOT = Path(__file__).parents[2]
PIPELINE = "tests.server.slow_pipeline"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs the tests in the background ignores Ctrl-C for its children, which the server respects and a test needs.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Backend:
    """A served backend; `log` is what it says on standard error."""

    process: subprocess.Popen
    directory: Path
    log: Path

    @property
    def endpoint(self) -> Endpoint:
        endpoint = read_connection_file(self.directory)
        assert endpoint is not None, self.log.read_text()
        return endpoint

    def client(self, warm: bool = True) -> Client:
        client = Client.connect(directory=self.directory)
        end = time.monotonic() + 20
        while warm and not client.welcome.warm and time.monotonic() < end:
            time.sleep(0.02)
        return client

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def worker_pid(self) -> int:
        lines = [line for line in self.log.read_text().splitlines() if "worker" in line and "started" in line]
        return int(lines[-1].split("worker ")[1].split()[0])


def start_backend(directory: Path, *arguments: str, pipeline: str = PIPELINE) -> Backend:
    log = directory / "stderr.log"
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "backend", "serve", "--directory", str(directory), "--log-directory", str(directory)]
    with open(log, "w") as stderr:
        process = subprocess.Popen([*command, "--pipeline", pipeline, *arguments], cwd=ROOT, stderr=stderr, stdin=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not (directory / CONNECTION_FILE).exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    return Backend(process, directory, log)


@pytest.fixture
def backend(tmp_path):
    """A backend of the test's own, so that it may be killed."""
    served = start_backend(tmp_path / "home")
    yield served
    end_backend(served)


@pytest.fixture(scope="module")
def shared_backend(tmp_path_factory):
    """One backend for all tests of a file that leave it as it was."""
    served = start_backend(tmp_path_factory.mktemp("shared") / "home")
    served.client().close()  # warm: from now on it says nothing unasked
    yield served
    end_backend(served)


def end_backend(served: Backend) -> None:
    if served.process.poll() is None:
        served.process.send_signal(signal.SIGTERM)
        try:
            served.process.wait(10)
        except subprocess.TimeoutExpired:
            served.process.kill()
            served.process.wait()
            raise


def is_running(pid: int) -> bool:
    """Not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        if not Path("/proc").exists():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            return True
        return False
