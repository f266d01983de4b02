#!/usr/bin/env python3
"""Set up, demonstrate, test and package Lookalike: the one script a newcomer runs.

Standard library only, Python 3.11 to 3.14. Every step prints what it does, is skipped when its result
is there already, and says plainly what is missing when it cannot work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BUILD = ROOT / "build"
STAGE = BUILD / "extension"
DIST = ROOT / "dist"
DEMO = ROOT / "demo"
SUPPORTED = ((3, 11), (3, 14))

# pip's platform tags for the wheels that each of Blender's platforms needs, best first.
PLATFORMS = {
    "linux-x64": ["manylinux_2_28_x86_64", "manylinux_2_26_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    "macos-arm64": ["macosx_11_0_arm64", "macosx_10_15_universal2", "macosx_10_9_universal2"],
    "macos-x64": ["macosx_10_12_x86_64", "macosx_10_15_universal2", "macosx_10_9_universal2"],
    "windows-x64": ["win_amd64"],
    "windows-arm64": ["win_arm64"],
}
# Blender 4.2 to 5.0 run Python 3.11, 5.1 and newer 3.13 (Debian's 5.2: 3.14): one cp311 and one abi3 wheel serve all.
BLENDER_PYTHONS = "cp311.cp312.cp313.cp314"
LTS_BETWEEN = "4.5"
"""The series that the oldest and newest bpy of the tests leave out although studios stay on it."""
BUNDLED = {"pyzmq": ("27.3.0", ("3.11", "3.13")), "safetensors": ("0.8.0", ("3.11",))}


class StepError(Exception):
    """A step that cannot work, in one sentence that says what is missing.

    Attributes:
        code: exit code of the command that failed, negative where a signal ended it; None where there was none.
    """

    code: int | None = None


def say(text: str) -> None:
    print(f"\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"==> {text}", flush=True)


def run(*command: object, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess:
    """Run without a shell, output passed through; raises StepError with the command when it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=options.pop("cwd", ROOT), env={**os.environ, **(env or {})}, check=False, **options)
    if result.returncode:
        error = StepError(f"`{' '.join(words)}` failed with exit code {result.returncode}; its output above says why")
        error.code = result.returncode
        raise error
    return result


def python_in(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def user_data_dir() -> Path:
    """Where the add-on looks for the backend; the same folders as platformdirs.user_data_dir("lookalike")."""
    if "LOOKALIKE_DATA" in os.environ:
        return Path(os.environ["LOOKALIKE_DATA"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "lookalike" / "lookalike"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/lookalike"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "lookalike"


# ---------------------------------------------------------------- set-up


def setup(extras: tuple[str, ...] = ()) -> Path:
    """The backend's environment in `.venv`, its networks, and the note by which the add-on finds it."""
    check_python()
    python = python_in(VENV)
    if not python.exists():
        say(f"creating {VENV.name} with Python {platform.python_version()}")
        run(sys.executable, "-m", "venv", VENV)
    wanted = requirements(extras)
    stamp = VENV / "lookalike-setup.json"
    installed = set(json.loads(stamp.read_text())) if stamp.exists() else set()
    if not set(wanted) <= installed:
        # torch first and alone: its pin decides which build everything after it has to agree with.
        torch = next(r for r in wanted if r.startswith("torch=="))
        say(f"installing {torch} (the largest part; minutes on a slow line)")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", torch)
        say(f"installing {len(wanted) - 1} more packages")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        site = next(iter((VENV / "lib").glob("python3.*/site-packages")), VENV / "Lib" / "site-packages")
        (site / "lookalike.pth").write_text(f"{ROOT}\n")
        write_command(python)
        stamp.write_text(json.dumps(sorted(installed | set(wanted))))
    say("landmark and matte networks")
    run(python, "-m", "backend.tracking.nets.install")
    say("built-in head and compiled kernels")
    run(python, "-m", "backend.cli.warm_up")
    note = user_data_dir() / "backend.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"python": str(python), "root": str(ROOT)}, indent=1))
    say(f"set up; the Blender add-on finds the backend through {note}")
    return python


def check_python() -> None:
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise StepError(f"Python {platform.python_version()} is not supported; use 3.11, 3.12, 3.13 or 3.14")


def requirements(extras: tuple[str, ...]) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = list(project["dependencies"])
    for extra in extras:
        names += project["optional-dependencies"][extra]
    return list(dict.fromkeys(names))


def write_command(python: Path) -> None:
    """The `lookalike` command inside the environment, running this checkout."""
    if os.name == "nt":
        (python.parent / "lookalike.cmd").write_text(f'@"{python}" -m backend %*\r\n')
    else:
        command = python.parent / "lookalike"
        command.write_text(f"#!/bin/sh\nexec '{python}' -m backend \"$@\"\n")
        command.chmod(0o755)


# ---------------------------------------------------------------- extension zips


def stage(target: Path = STAGE) -> Path:
    """Lay out the extension as the zip holds it: add-on code at the root, `protocol/` and `shaders/` beside it."""
    if target.exists():
        shutil.rmtree(target)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "blender_addon", target, ignore=skip)
    shutil.copytree(ROOT / "backend" / "protocol", target / "protocol", ignore=skip)
    shutil.copytree(ROOT / "shaders", target / "shaders", ignore=skip)
    for name in ("blender_manifest.toml", "LICENSE"):
        shutil.copy2(ROOT / name, target)
    return target


def package(platforms: list[str]) -> list[Path]:
    """One zip a platform with the wheels bundled, in `dist/`; the same input gives the same bytes."""
    version = tomllib.loads((ROOT / "blender_manifest.toml").read_text())["version"]
    DIST.mkdir(exist_ok=True)
    zips = []
    for name in platforms:
        target = stage(BUILD / f"extension-{name}")
        wheels = download_wheels(name)
        (target / "wheels").mkdir()
        for wheel in wheels:
            shutil.copy2(wheel, target / "wheels")
        manifest = target / "blender_manifest.toml"
        lines = [line for line in manifest.read_text().splitlines() if not line.startswith("platforms")]
        table = next(i for i, line in enumerate(lines) if line.startswith("["))
        listed = ", ".join(f'"./wheels/{wheel.name}"' for wheel in wheels)
        lines[table:table] = [f'platforms = ["{name}"]', f"wheels = [{listed}]", ""]
        manifest.write_text("\n".join(lines) + "\n")
        zips.append(zip_folder(target, DIST / f"lookalike-{version}-{name.replace('-', '_')}.zip"))
        say(f"{zips[-1].relative_to(ROOT)} ({zips[-1].stat().st_size / 1e6:.1f} MB)")
    return zips


def download_wheels(name: str) -> list[Path]:
    """The bundled wheels of one platform, kept in `build/wheels` between runs."""
    folder = BUILD / "wheels" / name
    folder.mkdir(parents=True, exist_ok=True)
    tags = [word for tag in PLATFORMS[name] for word in ("--platform", tag)]
    for project, (version, pythons) in BUNDLED.items():
        if len(list(folder.glob(f"{project}-{version}-*.whl"))) >= len(pythons):
            continue
        for python in pythons:
            say(f"wheel {project} {version} for {name}, Python {python}")
            run(
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary=:all:", "--python-version", python, *tags, "-d", folder, f"{project}=={version}",
            )  # fmt: skip
    wheels = [wheel for project, (version, _) in BUNDLED.items() for wheel in folder.glob(f"{project}-{version}-*.whl")]
    return sorted([*wheels, python_marker_wheel(folder)])


def python_marker_wheel(folder: Path) -> Path:
    """An empty wheel whose name lists the Pythons that the bundle serves.

    Blender takes a bundle's Pythons from the wheels' names, and one exact tag (pyzmq's cp311) makes it ignore the
    abi3 wheels beside it: without this, 5.1 and newer refuse the extension.
    """
    info = "lookalike_pythons-1.dist-info"
    files = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lookalike-pythons\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: build.py\nRoot-Is-Purelib: true\n"
        + "".join(f"Tag: {tag}-none-any\n" for tag in BLENDER_PYTHONS.split(".")),
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    for name, text in files.items():
        path = folder / "marker" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return zip_folder(folder / "marker", folder / f"lookalike_pythons-1-{BLENDER_PYTHONS}-none-any.whl")


def zip_folder(folder: Path, target: Path) -> Path:
    partial = target.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    os.replace(partial, target)
    return target


def this_platform() -> str:
    system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}.get(platform.system(), "")
    name = f"{system}-{'arm64' if platform.machine().lower() in ('arm64', 'aarch64') else 'x64'}"
    if name not in PLATFORMS:
        raise StepError(f"Blender extensions are not packaged for {name}; `--all` builds those of {', '.join(PLATFORMS)}")
    return name


# ---------------------------------------------------------------- demo


def demo(photos: list[str]) -> None:
    """Photos -> avatars, .blend, contact sheet, turntable, extension zip, in `demo/`."""
    python = setup(("demo",))
    DEMO.mkdir(exist_ok=True)
    sources = [Path(p).resolve() for p in photos] or [astronaut(python)]
    made: list[tuple[Path, str]] = []
    archive = package([this_platform()])[0]
    blender = find_blender() or bpy_python()
    for photo in sources:
        avatar = DEMO / f"{photo.stem}.lookalike"
        say(f"reconstructing {photo.name} over the wire")
        run(python, ROOT / "examples" / "photo_to_avatar.py", photo, "-o", avatar)
        made.append((avatar, "the avatar: drag it into Blender, or `lookalike info|render|export`"))
        say(f"pictures of {avatar.name}")
        sheet, turntable = DEMO / f"{photo.stem}_sheet.png", DEMO / f"{photo.stem}_turntable.mp4"
        run(python, ROOT / "examples" / "render_turntable.py", avatar, "--sheet", sheet, "--video", turntable)
        made += [(sheet, "contact sheet of views and expressions"), (turntable, "turntable video")]
        if blender:
            blend = DEMO / f"{photo.stem}.blend"
            say(f"{blend.name} with {blender[0]}")
            resources = BUILD / "demo-blender"  # Blender falls back to the user's own settings where this folder is missing
            resources.mkdir(parents=True, exist_ok=True)
            script = (ROOT / "examples" / "performance_scene.py", "--", avatar, blend, "--extension", archive)
            run(*blender, *script, env={"BLENDER_USER_RESOURCES": str(resources)})
            made.append((blend, f"open with: blender {blend}   (space plays the performance; the add-on draws the splats)"))
    shutil.copy2(archive, DEMO / archive.name)
    made.append((DEMO / archive.name, "Blender: Edit > Preferences > Get Extensions > v > Install from Disk"))
    say("made:")
    for path, what in made:
        print(f"  {path}\n      {what}")
    if not blender:
        print(
            f"  no .blend: no Blender 4.2 or newer was found, and there is no bpy module for Python {platform.python_version()}.\n"
            "      Install Blender (or set LOOKALIKE_BLENDER) and run this again, or drag the .lookalike into Blender."
        )


def astronaut(python: Path) -> Path:
    """The public-domain portrait that scikit-image carries."""
    path = DEMO / "astronaut.png"
    if not path.exists():
        run(python, "-c", "import sys, skimage.data, skimage.io; skimage.io.imsave(sys.argv[1], skimage.data.astronaut())", path)
    return path


def find_blender() -> list[object] | None:
    """Command prefix that runs a script in an installed Blender 4.2 or newer."""
    candidates = [os.environ.get("LOOKALIKE_BLENDER"), shutil.which("blender")]
    candidates += ["/Applications/Blender.app/Contents/MacOS/Blender"]
    candidates += sorted(map(str, Path("C:/Program Files/Blender Foundation").glob("*/blender.exe")), reverse=True)
    for candidate in filter(None, candidates):
        try:
            text = subprocess.run([candidate, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
            version = tuple(int(n) for n in text.split()[1].split(".")[:2])
        except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
            continue
        if version >= (4, 2):
            return [candidate, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]
    return None


def bpy_python() -> list[object] | None:
    """The newest bpy module that this Python can install, in an environment of its own; None where there is none."""
    say("no Blender found; trying the bpy module (about 1 GB, once)")
    environment = bpy_environment("newest", ())
    return [python_in(environment)] if environment else None


# ---------------------------------------------------------------- tests


def bpy_versions(python: str) -> list[str]:
    """Versions of bpy from 4.2 on that this interpreter can install, newest first."""
    probe = subprocess.run(
        [python, "-m", "pip", "index", "versions", "bpy", "--disable-pip-version-check"], capture_output=True, text=True, check=False
    )
    line = next((text for text in probe.stdout.splitlines() if text.startswith("Available versions:")), "")
    versions = [v.strip() for v in line.partition(":")[2].split(",") if v.strip()]
    return [v for v in versions if tuple(int(n) for n in v.split(".")[:2]) >= (4, 2)]


def bpy_environment(which: str, extra: tuple[str, ...], python: str = sys.executable) -> Path | None:
    """An environment with a bpy of this interpreter: "oldest", "newest", or the last of a series ("4.5"); None if there is none."""
    versions = bpy_versions(python)
    if which not in ("oldest", "newest"):
        versions = [version for version in versions if version.startswith(f"{which}.")]
    if not versions:
        return None
    version = versions[-1] if which == "oldest" else versions[0]
    venv = BUILD / f"bpy-{version}"
    stamp = venv / "installed.json"
    # Before 5.1 the module is built against numpy 1.
    numpy = ["numpy<2"] if tuple(int(n) for n in version.split(".")[:2]) < (5, 1) else []
    wanted = [f"bpy=={version}", *numpy, *(f"{p}=={v}" for p, (v, _) in BUNDLED.items()), *extra]
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        say(f"installing bpy {version}")
        run(python, "-m", "venv", venv)
        run(python_in(venv), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        stamp.write_text(json.dumps(wanted))
    return venv


def other_pythons() -> dict[tuple[int, int], str]:
    """Supported interpreters on this machine by version: this one, those on PATH, and pyenv's."""
    found = {tuple(sys.version_info[:2]): sys.executable}
    for minor in range(SUPPORTED[0][1], SUPPORTED[1][1] + 1):
        candidates = [shutil.which(f"python3.{minor}")]
        candidates += map(str, sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3.{minor}")))
        for candidate in filter(None, candidates):
            command = [candidate, "-c", "import ensurepip, sys; print(sys.version_info[1])"]
            probe = subprocess.run(command, capture_output=True, text=True, check=False)
            if probe.stdout.strip() == str(minor):
                found.setdefault((3, minor), candidate)
    return found


def test(selected: list[str], pytest_arguments: list[str]) -> int:
    """Run every lane, one after another; returns the number of lanes that failed."""
    python = setup(("demo", "training", "test", "dev"))
    lanes = {
        "static": lambda: static_checks(python),
        "resolve": lambda: resolve_for_other_pythons(python),
        "backend": lambda: pytest(python, ["--ignore=tests/blender", "--ignore=tests/real_blender", "tests"], pytest_arguments),
        "bpy": lambda: bpy_lane(pytest_arguments),
        "real-blender": lambda: pytest(python, ["tests/real_blender"], pytest_arguments),
    }
    results: list[tuple[str, bool, float, str]] = []
    for name in selected or list(lanes):
        say(f"lane {name}")
        start = time.monotonic()
        try:
            lanes[name]()
            results.append((name, True, time.monotonic() - start, ""))
        except StepError as error:
            results.append((name, False, time.monotonic() - start, str(error)))
    say("lanes")
    for name, passed, seconds, why in results:
        print(f"  {name:13} {'passed' if passed else 'FAILED'}  {seconds:6.0f} s  {why}")
    failed = sum(not passed for _, passed, _, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return failed


def benchmark() -> None:
    """Every benchmark in one table; the Blender ones where this machine's Pythons can install bpy."""
    python = setup(("demo", "test"))
    environments = [e for interpreter in other_pythons().values() if (e := bpy_environment("newest", (), interpreter))]
    newest = max(environments, key=bpy_version, default=None)
    run(python, ROOT / "benchmarks" / "run.py", *(("--bpy", python_in(newest)) if newest else ()))


def bpy_version(environment: Path) -> list[int]:
    """Of an environment of `bpy_environment`."""
    return [int(number) for number in environment.name.removeprefix("bpy-").split(".")]


def static_checks(python: Path) -> None:
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "pyright", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


def resolve_for_other_pythons(python: Path) -> None:
    """The pinned dependencies exist for every supported Python; this one is installed, the others are resolved."""
    for minor in range(SUPPORTED[0][1], SUPPORTED[1][1] + 1):
        say(f"resolving the backend's dependencies for Python 3.{minor}")
        run(
            python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run", "--ignore-installed",
            "--only-binary=:all:", "--python-version", f"3.{minor}", "--target", BUILD / "resolve", *requirements(("demo", "training")),
        )  # fmt: skip


def bpy_lane(pytest_arguments: list[str]) -> None:
    """The extension in the bpy module: oldest, newest and the LTS between, of those that the Pythons of this machine can install."""
    test_tools = tuple(r for r in requirements(("test",)) if r.split("==")[0] in ("pytest", "pytest-timeout", "hypothesis", "pillow"))
    environments: list[Path] = []
    for interpreter in other_pythons().values():
        for which in ("oldest", LTS_BETWEEN, "newest"):
            environment = bpy_environment(which, test_tools, interpreter)
            if environment and environment not in environments:
                environments.append(environment)
    if not environments:
        raise StepError("no bpy module can be installed by the Pythons found here (it needs 3.11 or 3.13)")
    environments.sort(key=bpy_version)
    failed = []
    for environment in environments:
        say(f"extension in {environment.name}")
        inner = environment not in (environments[0], environments[-1])
        try:
            bpy_tests(environment, without_marked("oldest_and_newest", pytest_arguments) if inner else pytest_arguments)
        except StepError as error:
            failed.append(f"{environment.name}: {error}")
    if failed:
        raise StepError("; ".join(failed))


def bpy_tests(environment: Path, arguments: list[str]) -> None:
    """Run the tests in one bpy. Where Blender itself dies of a signal they run a second time, which is told.

    4.2.0 was seen to crash in its own change of an armature to Edit Mode, once in four runs of the same tests.
    """
    try:
        pytest(python_in(environment), ["tests/blender"], arguments)
    except StepError as error:
        if error.code is None or error.code >= 0:
            raise
        say(f"{environment.name} was ended by signal {-error.code}; once more")
        pytest(python_in(environment), ["tests/blender"], arguments)


def without_marked(mark: str, arguments: list[str]) -> list[str]:
    """pytest's arguments without the tests of a mark; of several -m pytest hears only the last, so the user's own is combined."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", action="append", default=[])
    own, others = parser.parse_known_args(arguments)
    chosen = [f"({own.m[-1]})"] if own.m and own.m[-1].strip() else []
    return [*others, "-m", " and ".join([*chosen, f"not {mark}"])]


def pytest(python: Path, paths: list[str], arguments: list[str]) -> None:
    run(python, "-m", "pytest", *paths, *arguments)


# ---------------------------------------------------------------- command line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("setup", help="make the backend's environment in .venv, with its networks")
    demo_parser = commands.add_parser("demo", help="photo to avatar, .blend, pictures and extension zip, in demo/")
    demo_parser.add_argument("photo", nargs="*", help="your own photos, one person each (default: scikit-image's astronaut)")
    test_parser = commands.add_parser("test", help="every test; name lanes to run only those; after -- comes pytest's")
    test_parser.add_argument("lane", nargs="*", choices=["static", "resolve", "backend", "bpy", "real-blender", []])
    commands.add_parser("benchmark", help="every benchmark, one table with ratios")
    package_parser = commands.add_parser("package", help="extension zips with wheels bundled, in dist/")
    package_parser.add_argument("--platform", choices=list(PLATFORMS), action="append", help="only these (default: all)")
    commands.add_parser("stage", help="the extension unpacked in build/extension, for development")
    arguments, rest = parser.parse_known_args(sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else None)
    extra = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    try:
        if arguments.command == "setup":
            setup()
        elif arguments.command == "demo":
            demo(arguments.photo)
        elif arguments.command == "test":
            return 1 if test(arguments.lane, extra) else 0
        elif arguments.command == "benchmark":
            benchmark()
        elif arguments.command == "package":
            package(arguments.platform or list(PLATFORMS))
        else:
            print(stage())
    except StepError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
