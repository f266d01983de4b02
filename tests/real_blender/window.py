"""Real Blenders with a window, seen from the tests: where they come from, and one run of a driver script in one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ARTEFACTS = ROOT / "artefacts" / "real_blender"


class UnavailableError(Exception):
    """This Blender cannot be had here; says why."""


@dataclass(frozen=True)
class Run:
    """What a driver found: its findings.json, its pictures, what Blender printed."""

    findings: dict
    folder: Path
    output: str

    def picture(self, name: str, box: list[int] | None = None) -> np.ndarray:
        """[H, W, 3] float 0..1 of a screenshot, or of the part left, top, right, bottom."""
        image = np.asarray(Image.open(self.folder / f"{name}.png").convert("RGB"), np.float32) / 255
        if box is not None:
            left, top, right, bottom = box
            image = image[top:bottom, left:right]
        return image

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy")


@dataclass(frozen=True)
class Blender:
    """One Blender and one graphics backend.

    Attributes:
        name: Debian suite, or "binary" for LOOKALIKE_BLENDER.
        gpu: opengl or vulkan.
        root: the Debian root, or None for a binary of this machine.
        version: as the root's stamp or the binary says.
    """

    name: str
    gpu: str
    root: Path | None
    version: str

    def run(self, driver: str, share: Path, arguments: tuple[str, ...] = (), timeout: float = 300.0, simulated: bool = True) -> Run:
        """Install the extension of `share` and run one driver; its files land in artefacts/.

        Input is `simulated` by the driver, and Blender then heeds no real one; or it comes from X, by xdotool and other programs.
        Lookalike's own folder (keys, backend) is `share`/home, so that nothing of this user's is touched.

        Raises:
            AssertionError: Blender failed, with what it printed.
        """
        out = share / f"out-{driver}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        shutil.copytree(HERE / "drivers", share / "drivers", dirs_exist_ok=True)
        shutil.copy2(HERE / "install_and_run.sh", share)
        environment = {"GPU": self.gpu, "INPUT": "" if simulated else "real"}
        started = self._in_root if self.root else self._binary
        code, said = started(driver, share, arguments, timeout, environment)
        kept = ARTEFACTS / f"{self.name}-{self.gpu}" / driver
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(out, kept)
        (kept / "blender.log").write_text(said)
        path = kept / "findings.json"
        findings = json.loads(path.read_text()) if path.exists() else {}
        reason = findings.get("failure") or said[-6000:]
        assert code == 0, f"{driver} in {self.version}: {'it did not end' if code is None else f'exit code {code}'}\n{reason}"
        assert findings, f"{driver} in {self.version} found nothing\n{said[-6000:]}"
        return Run(findings, kept, said)

    def headless(self, share: Path, words: tuple[str, ...], timeout: float = 300.0) -> str:
        """Run this Blender with `words` on a machine that has neither a window nor the add-on; {share} in a word is `share` as it sees it.

        Raises:
            AssertionError: Blender failed, with what it printed.
        """
        seen = "/lab" if self.root else str(share)
        command = [word.replace("{share}", seen) for word in words]
        environment = dict(os.environ)
        if self.root:
            environment["HEADLESS"] = "1"
            command = ["bash", str(HERE / "run_in_root.sh"), str(self.root), str(share), "blender", *command]
        else:
            home = share / "nobody"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            environment["BLENDER_USER_RESOURCES"] = str(home)
            command = [os.environ["LOOKALIKE_BLENDER"], *command]
        with open(f"{self.root or share}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, said = _capture(command, environment, timeout)
        assert code == 0, f"{' '.join(words)}: exit code {code}\n{said[-4000:]}"
        return said

    def _in_root(
        self, driver: str, share: Path, arguments: tuple[str, ...], timeout: float, more: dict[str, str]
    ) -> tuple[int | None, str]:
        command = [
            "bash",
            HERE / "run_in_root.sh",
            self.root,
            share,
            "env",
            *(f"{name}={value}" for name, value in more.items()),
            "LOOKALIKE_HOME=/lab/home",
            "LOOKALIKE_DATA=/lab/home",
        ]
        command += ["bash", "/lab/install_and_run.sh", "/lab", driver, f"/lab/out-{driver}", *arguments]
        with open(f"{self.root}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _capture(command, dict(os.environ), timeout)

    def _binary(self, driver: str, share: Path, arguments: tuple[str, ...], timeout: float, more: dict[str, str]) -> tuple[int | None, str]:
        home = share / "blender-user"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "BLENDER": os.environ["LOOKALIKE_BLENDER"], "BLENDER_USER_RESOURCES": str(home), **more}
        environment |= {"LOOKALIKE_HOME": str(share / "home"), "LOOKALIKE_DATA": str(share / "home")}
        command = ["bash", share / "install_and_run.sh", share, driver, share / f"out-{driver}", *arguments]
        if "DISPLAY" not in environment:
            command = ["bash", HERE / "with_x.sh", *command]
        return _capture(command, environment, timeout)


def find(name: str, gpu: str, scratch: Path) -> Blender:
    """The Blender called `name`: "binary" is what LOOKALIKE_BLENDER names, else a Debian suite.

    Raises:
        UnavailableError: it cannot be had on this machine; says why.
    """
    if os.name != "posix":
        raise UnavailableError("windows are driven through X here, which needs Linux")
    if name == "binary":
        missing = [tool for tool in ("scrot", *(() if "DISPLAY" in os.environ else ("Xvfb",))) if not shutil.which(tool)]
        if missing:
            raise UnavailableError(f"{' and '.join(missing)} must be installed to watch LOOKALIKE_BLENDER's window")
        said = subprocess.run([os.environ["LOOKALIKE_BLENDER"], "--version"], capture_output=True, text=True, check=False, timeout=60)
        return Blender(name, gpu, None, said.stdout.splitlines()[0] if said.stdout else "unknown")
    base = Path(os.environ.get("LOOKALIKE_CACHE") or Path.home() / ".cache" / "lookalike") / "blender-roots"
    root = Path(os.environ.get("LOOKALIKE_BLENDER_ROOTS") or scratch) / name
    code, said = _capture(["bash", HERE / "debian_root.sh", root, name], {**os.environ, "CACHE": str(base)}, 1800)
    last = said.strip().rpartition("\n")[2]
    if code:
        raise UnavailableError(last or f"no Debian {name} root")
    return Blender(name, gpu, root, last)


def _capture(command: list, environment: dict[str, str], timeout: float) -> tuple[int | None, str]:
    """Exit code and output; the code is None where it had to be ended after `timeout` seconds, with all it started."""
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return None, said
    return process.returncode, said
