"""LOD 2 over loopback, from the client's request to arrays that Blender can read, against a memcpy of the same bytes.

A real server process, CURVE on. Measured from `Connection.send(Fetch)` until `splats_from_message` has checked the
arrays, for which it reads every byte, so that mapped pages are paid for. "shared"
is a client on the backend's machine (exchange folder), "socket" one that gets the bytes encrypted over TCP.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from backend.protocol.arrays import lod_message, splats_from_message
from backend.protocol.avatar import SplatArrays
from backend.protocol.keys import read_connection_file
from backend.protocol.messages import Fetch, LodReady
from backend.server import Client

ROOT = Path(__file__).resolve().parents[1]
SPLATS = 89_000
SHOULDERS = 9_000
TRIANGLES = 10_000
REPEATS = 40
ALLOWANCE_MS = 1.0


def splats(count: int, seed: int) -> SplatArrays:
    """Any lawful splats of SH degree 0."""
    rng = np.random.default_rng(seed)
    rotation = rng.normal(size=(count, 4))
    return SplatArrays(
        rng.normal(size=(count, 3)).astype(np.float32),
        (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(1e-3, 2e-3, (count, 3)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        rng.normal(size=(count, 1, 3)).astype(np.float32),
        rng.integers(0, TRIANGLES, count).astype(np.int32),
        np.full((count, 3), 1 / 3, np.float32),
    )


class Pipeline:
    """What the worker runs here: it hands out one LOD 2 and an avatar around it."""

    def warm_up(self) -> tuple[str, list[str], list[str]]:
        return "benchmark", ["projection"], ["builtin"]

    def reconstruct(self, files, request, listener):
        from tests.synthetic import synthetic_avatar

        listener.lod(2, splats(SPLATS, 0), splats(SHOULDERS, 1))
        return synthetic_avatar(1)


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    kept = action()
    took = 1e3 * (time.perf_counter() - began)
    del kept
    return took


def fetch(client: Client, job: str) -> tuple[SplatArrays, SplatArrays]:
    """Request to arrays: ask, wait, check. The caller keeps the arrays, so that giving their memory back is not measured."""
    request = client.connection.send(Fetch(("lod2",)), job=job)
    while True:
        message = client.connection.receive(5.0)
        assert message is not None
        if message.request == request and isinstance(message.body, LodReady):
            break
    head, shoulders = splats_from_message(message, TRIANGLES)
    assert (len(head), len(shoulders)) == (SPLATS, SHOULDERS)
    return head, shoulders


def interleaved(client: Client, job: str, source: np.ndarray) -> tuple[float, float]:
    """Milliseconds of (memcpy, fetch), taken in turns so that a busy machine slows both alike."""
    copy = np.empty_like(source)
    fetch(client, job)
    pairs = [(milliseconds(lambda: np.copyto(copy, source)), milliseconds(lambda: fetch(client, job))) for _ in range(REPEATS)]
    memcpy, fetched = zip(*pairs, strict=True)
    return statistics.median(memcpy), statistics.median(fetched)


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py: milliseconds, medians; the ratio is to twice the memcpy and a millisecond."""
    _, payload = lod_message(2, splats(SPLATS, 0), splats(SHOULDERS, 1))
    source = np.frombuffer(payload, np.uint8)
    with tempfile.TemporaryDirectory(prefix="lookalike-wire-") as folder:
        home = Path(folder)
        command = [sys.executable, "-m", "backend", "serve", "--directory", folder, "--log-directory", folder, "--log-level", "ERROR"]
        server = subprocess.Popen([*command, "--pipeline", "benchmarks.wire:Pipeline"], cwd=ROOT)
        try:
            while read_connection_file(home) is None:
                assert server.poll() is None
                time.sleep(0.02)
            endpoint = read_connection_file(home)
            assert endpoint is not None
            figures = {}
            for name, place in {"shared": endpoint, "socket": replace(endpoint, exchange="")}.items():
                with Client.connect(endpoint=place, directory=home) as client:
                    job = client.reconstruct([("x", b"x")], timeout=60).job
                    figures[name] = interleaved(client, job, source)
        finally:
            server.terminate()
            server.wait(10)
    megabytes = source.nbytes / 1e6
    rows = []
    for name, (memcpy, value) in figures.items():
        target_ms = 2 * memcpy + ALLOWANCE_MS if name == "shared" else None
        rows.append(
            {
                "what": f"wire: LOD 2 ({megabytes:.1f} MB) request to arrays, {name}",
                "value": value,
                "unit": "ms",
                "target": target_ms,
                "against": f"2 x memcpy ({memcpy:.2f} ms) + 1 ms"
                if target_ms
                else f"memcpy {memcpy:.2f} ms; CURVE over TCP, another machine",
                "ratio": value / (target_ms or memcpy),
            }
        )
    return rows


if __name__ == "__main__":
    for row in measure():
        print(row)
