"""Take the face nets from MediaPipe's wheel: ``python -m backend.tracking.nets.install [--wheel PATH]``.

mediapipe 0.10.21 is the last release whose wheel carries the nets, but it installs on Python 3.12 and older only.
A wheel is a zip, and the nets in it do not depend on Python or the system, so one fixed wheel is downloaded with pip
(34 MB, from the user's own package index), checked against its sha256, and never installed: four .tflite files are
read out of it, converted, and kept as one 4 MB safetensors file in the user's data folder. The wheel's licence is Apache-2.0.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from backend.protocol.errors import WeightsError

from .flatbuffer import FormatError
from .store import NETS, forget_nets, load_nets, nets_path, write_nets
from .tflite import read_tflite

REQUIREMENT = "mediapipe==0.10.21"
WHEEL = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
MAX_NET_BYTES = 16 << 20
REMEDY = f"check the network, or fetch {WHEEL} from PyPI yourself and run: python -m backend.tracking.nets.install --wheel PATH"


def install(wheel: Path | None = None) -> Path:
    """Make sure that the nets are there; does nothing when they are and can be read.

    Args:
        wheel: the wheel's file, to work without a network.
    Returns:
        The nets' file.
    Raises:
        WeightsError: the wheel cannot be had or is not the right one; says what to do.
    """
    path = nets_path()
    if _installed(path):
        return path
    if wheel is not None:
        return convert(wheel, path)
    with tempfile.TemporaryDirectory(prefix="lookalike-nets-") as folder:
        return convert(download(Path(folder)), path)


def download(folder: Path) -> Path:
    """Download the wheel with pip; the platform and Python it was built for are named, so any machine can.

    Raises:
        WeightsError: pip failed; its last line is part of the message.
    """
    platforms = ["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]
    options = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command = [*pip, *options, "--dest", str(folder), REQUIREMENT]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheel = folder / WHEEL
    if result.returncode or not wheel.is_file():
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise WeightsError(f"pip could not download {REQUIREMENT} ({lines[-1] if lines else 'no message'})", REMEDY)
    return wheel


def convert(wheel: Path, path: Path) -> Path:
    """Read the nets out of the wheel and write them to `path`.

    Raises:
        WeightsError: the file is missing, or is not exactly the pinned wheel.
    """
    try:
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{wheel}: cannot be read ({error.strerror})", REMEDY) from error
    if digest != SHA256:
        raise WeightsError(f"{wheel}: sha256 is {digest}, expected {SHA256}; this is not {WHEEL}", REMEDY)
    try:
        with zipfile.ZipFile(wheel) as archive:
            graphs = {name: read_tflite(_member(archive, f"mediapipe/modules/{file}.tflite")) for name, file in NETS.items()}
    except (zipfile.BadZipFile, KeyError, FormatError) as error:
        raise WeightsError(f"{wheel}: the nets cannot be read out of it ({error})", REMEDY) from error
    write_nets(path, graphs, {"package": REQUIREMENT, "wheel": WHEEL, "sha256": SHA256, "licence": "Apache-2.0"})
    forget_nets()
    load_nets(path)
    return path


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_NET_BYTES:
        raise FormatError(f"{name} is too large")
    return archive.read(name)


def _installed(path: Path) -> bool:
    """Whether the nets are there and can be read; nets that cannot are made again."""
    if not path.is_file():
        return False
    try:
        load_nets(path)
    except WeightsError as error:
        print(f"making the face nets again: {error}", file=sys.stderr)
        return False
    return True


def main() -> int:
    """Command line; 0 when the nets are in place, 1 with one line when they cannot be had."""
    parser = argparse.ArgumentParser("python -m backend.tracking.nets.install", description="Install MediaPipe's face nets for Lookalike.")
    parser.add_argument("--wheel", type=Path, help=f"{WHEEL}, already downloaded")
    arguments = parser.parse_args()
    try:
        path = install(arguments.wheel)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"face nets: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
