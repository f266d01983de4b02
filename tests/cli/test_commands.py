"""The command line as a user meets it: a fresh process, exit codes, one line for a mistake, JSON for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.cli.main import run
from backend.protocol import read_avatar, write_avatar
from backend.protocol.avatar import Avatar
from backend.protocol.keys import is_key
from tests.synthetic import synthetic_avatar

ROOT = Path(__file__).parents[2]


def fresh(*arguments: object, cwd: Path, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run in a process and a home of its own; its exit code must be `check`."""
    environment = os.environ | {"LOOKALIKE_HOME": str(cwd / "home"), "XDG_STATE_HOME": str(cwd / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "backend", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert result.returncode == check, result.stderr + result.stdout
    return result


@pytest.fixture
def lookalike(folder, monkeypatch, capsys):
    """The same in this process, which has the heavy imports done."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOOKALIKE_HOME", str(folder / "home"))

    def command(*arguments: object, check: int = 0) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        said = capsys.readouterr()
        assert code == check, said.err + said.out
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return command


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command says; nothing else may be there."""
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    write_avatar(path / "ada.lookalike", synthetic_avatar())
    (path / "broken.lookalike").write_bytes(b"\x80\x04not an avatar at all")
    good = (path / "ada.lookalike").read_bytes()
    (path / "short.lookalike").write_bytes(good[: len(good) // 2])
    (path / "empty.jpg").write_bytes(b"")
    (path / "text.jpg").write_text("I am no picture")
    Image.new("RGB", (300, 300), "gray").save(path / "nobody.png")
    return path


def test_help_and_version_are_quick_and_import_nothing_heavy(folder):
    text = fresh("--help", cwd=folder).stdout
    for command in ("serve", "reconstruct", "render", "export", "info", "track", "evaluate"):
        assert command in text
        assert "Usage: lookalike" in fresh(command, "--help", cwd=folder).stdout
    code = (
        "import sys; from backend.cli.main import run; code = run(sys.argv[1:]);"
        "sys.exit(code or any(m in sys.modules for m in ('torch', 'scipy', 'numba', 'cv2', 'PIL')))"
    )
    for arguments in (["--help"], ["info", "ada.lookalike"], ["reconstruct", "--help"]):
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )


def test_info_tells_what_is_in_the_file(lookalike, folder):
    text = lookalike("info", "ada.lookalike").stdout
    assert "synthetic: 1490 vertices, 2976 triangles, 150 x 220 x 190 mm" in text
    assert "3176, 12104, 47816" in text
    assert "consent      no person" in text
    facts = json.loads(lookalike("info", "ada.lookalike", "--json").stdout)
    assert facts["ok"] is True
    assert facts["rig"]["expressions"] == ["mouthSmile", "eyeBlinkLeft", "eyeBlinkRight"]
    assert [lod["splats"] for lod in facts["lods"]] == [2976, 11904, 47616]
    assert facts["provenance"]["consent"] == "no person"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["info", "broken.lookalike"], "broken.lookalike: not an avatar file, or truncated"),
        (["info", "nothing.lookalike"], "nothing.lookalike: cannot be read (No such file or directory); check the path"),
        (["render", "broken.lookalike", "-o", "x.png"], "broken.lookalike: not an avatar file, or truncated"),
        (["export", "broken.lookalike", "--format", "ply"], "broken.lookalike: not an avatar file, or truncated"),
        (["render", "ada.lookalike", "-o", "x.jpg"], "x.jpg: cannot hold this; a .png file or a folder can; correct -o"),
        (["render", "ada.lookalike", "-o", "no/x.png"], None),
        (["render", "ada.lookalike", "-o", "x.png", "--yaw", "0,30"],
         "x.png: cannot hold this; a folder, or .mp4 for a turntable can; correct -o"),
        (["render", "ada.lookalike", "-o", "x.png", "--background", "plaid"],
         "'plaid' is not a colour; write it as white, #808080 or transparent"),
        (["render", "ada.lookalike", "-o", "x.png", "--expression", "smile"], None),
        (["render", "ada.lookalike", "-o", "x.png", "--expression", "smile=nan"], None),
        (["render", "ada.lookalike", "-o", "x.png", "--yaw", "left"], None),
        (["export", "ada.lookalike", "--format", "ply", "-o", "x.glb"], "x.glb: the name must end with .ply; correct -o"),
        (["reconstruct", "nothing.jpg", "-o", "x.lookalike"], "nothing.jpg: cannot be read (No such file or directory); check the path"),
        (["reconstruct", "text.jpg", "-o", "x.png"], "x.png: the name must end with .lookalike; correct -o"),
        (["reconstruct", "text.jpg", "-o", "."], None),
        (["reconstruct", "a", "b", "c", "--face", "0", "--face", "1", "-o", "x.lookalike"], None),
        (["reconstruct", "-o", "x.lookalike"], None),
        (["reconstruct", "text.jpg", "-o", "x.lookalike", "--backend"], "no backend is running; start one with: lookalike serve"),
        (["evaluate", "h.npz", "--identities", "5:5"], None),
        (["track", "text.jpg", "-o", "x.png"], "x.png: the name must end with .motion or .json; correct -o"),
        (["levitate"], None),
        (["info", "ada.lookalike", "--sideways"], None),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_1(lookalike, folder, arguments, line):
    said = only_line(lookalike(*arguments, check=1))
    assert said.startswith("lookalike: ")
    if line is not None:
        assert said == f"lookalike: {line}"


def test_truncated_file_is_told(lookalike, folder):
    assert only_line(lookalike("info", "short.lookalike", check=1)).startswith("lookalike: short.lookalike: the tensors are corrupt")


def test_json_errors_are_data_on_standard_output(lookalike, folder):
    result = lookalike("info", "nothing.lookalike", "--json", check=1)
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "ok": False,
        "error": {
            "code": "avatar_file",
            "message": "nothing.lookalike: cannot be read (No such file or directory)",
            "remedy": "check the path",
            "data": {},
        },
    }
    usage = json.loads(lookalike("render", "ada.lookalike", "--json", check=1).stdout)
    assert usage["error"]["code"] == "usage"


def test_a_bug_is_one_line_and_its_traceback_is_in_the_log(folder):
    code = (
        "import sys, backend.cli.info as info\n"
        "from backend.cli.main import run\n"
        "def broken(*a): raise ZeroDivisionError('ours')\n"
        "info._facts = broken\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-c", code, "info", "ada.lookalike"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    line = only_line(result)
    assert line.startswith("lookalike: ZeroDivisionError: ours; this is a bug; report it with ")
    log = Path(line.rsplit(" with ", 1)[1])
    assert "Traceback" in log.read_text()
    assert "in broken" in log.read_text()


def test_render_makes_the_picture_that_was_asked_for(lookalike, folder):
    lookalike("render", "ada.lookalike", "-o", "front.png", "--size", 128)
    lookalike("render", "ada.lookalike", "-o", "side.png", "--size", 128, "--yaw", 60, "--expression", "mouthSmile=1", "--jaw", 20)
    front, side = (np.asarray(Image.open(folder / name)) for name in ("front.png", "side.png"))
    assert front.shape == side.shape == (128, 128, 3)
    assert (front[0, 0] == 255).all()
    assert np.abs(front.astype(int) - side).mean() > 5
    lookalike("render", "ada.lookalike", "-o", "clear.png", "--size", 64, "--lod", 0, "--background", "transparent")
    clear = np.asarray(Image.open(folder / "clear.png"))
    assert clear.shape == (64, 64, 4)
    assert clear[0, 0, 3] == 0
    assert clear[30, 32, 3] > 250


def test_render_of_several_views_and_turntables(lookalike, folder):
    result = lookalike("render", "ada.lookalike", "-o", "views", "--size", 48, "--lod", 0, "--yaw=-30,0,30", "--json")
    files = json.loads(result.stdout)["files"]
    assert [Path(f).name for f in files] == ["ada_yaw-030.png", "ada_yaw+000.png", "ada_yaw+030.png"]
    assert all((folder / f).exists() for f in files)
    lookalike("render", "ada.lookalike", "-o", "turn", "--size", 48, "--lod", 0, "--turntable", 3)
    assert sorted(p.name for p in (folder / "turn").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    lookalike("render", "ada.lookalike", "-o", "turn.mp4", "--size", 64, "--lod", 0, "--turntable", 3)
    assert (folder / "turn.mp4").stat().st_size > 500
    lookalike("render", "ada.lookalike", "-o", "sheet.png", "--lod", 0, "--sheet")
    assert Image.open(folder / "sheet.png").width > 600


def test_unknown_expression_and_level_are_told(lookalike, folder):
    result = lookalike("render", "ada.lookalike", "-o", "x.png", "--expression", "levitate=1", "--json", check=1)
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "rig"
    assert "levitate" in error["message"]
    write_avatar(folder / "one.lookalike", synthetic_avatar(1))
    result = lookalike("render", "one.lookalike", "-o", "x.png", "--lod", 2, "--json", check=1)
    assert "no level of detail 2" in json.loads(result.stdout)["error"]["message"]


def test_export_writes_files_that_say_what_they_are(lookalike, folder):
    facts = json.loads(lookalike("export", "ada.lookalike", "--format", "ply", "--lod", 0, "--json").stdout)
    assert facts["splats"] == 3176
    assert (folder / "ada.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0")
    lookalike("export", "ada.lookalike", "--format", "glb", "-o", "out.glb", "--lod", 1, "--jaw", 10, "--expression", "mouthSmile=1")
    assert (folder / "out.glb").read_bytes()[:4] == b"glTF"
    lookalike("export", "ada.lookalike", "--format", "spz", "--lod", 0)
    assert (folder / "ada.spz").read_bytes()[:2] == b"\x1f\x8b"
    lookalike("export", "ada.lookalike", "--format", "lam")
    assert (folder / "ada.zip").read_bytes()[:2] == b"PK"
    result = lookalike("export", "ada.lookalike", "--format", "lam", "--jaw", 10, check=1)
    assert "neutral face" in result.stderr


def test_a_glb_at_rest_becomes_an_avatar_file_again(lookalike, folder):
    lookalike("export", "ada.lookalike", "--format", "glb", "-o", "rest.glb", "--lod", 1)
    facts = json.loads(lookalike("import", "rest.glb", "-o", "back.lookalike", "--json").stdout)
    assert facts["expressions"] == 3
    assert "splats" in lookalike("info", "back.lookalike").stdout
    lookalike("export", "ada.lookalike", "--format", "glb", "-o", "posed.glb", "--jaw", 10)
    assert "exported at rest" in lookalike("import", "posed.glb", "-o", "x.lookalike", check=1).stderr


def test_photos_without_a_face_are_refused(lookalike, folder):
    error = json.loads(lookalike("reconstruct", "nobody.png", "-o", "x.lookalike", "--json", check=1).stdout)["error"]
    assert (error["code"], error["message"]) == ("face", "nobody.png: no face found")
    for name in ("empty.jpg", "text.jpg"):
        error = json.loads(lookalike("reconstruct", name, "-o", "x.lookalike", "--json", check=1).stdout)["error"]
        assert error["code"] == "image"
        assert error["message"].startswith(f"{name}: ")
    assert not (folder / "x.lookalike").exists()


def astronaut(path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image")
    Image.fromarray(data.astronaut()).save(path)


def test_photo_becomes_an_avatar_file_with_provenance(folder):
    astronaut(folder / "astronaut.png")
    result = fresh(
        "reconstruct", "astronaut.png", "-o", "eileen.lookalike", "--consent", "NASA portrait, public domain", "--json", cwd=folder
    )  # fmt: skip
    facts = json.loads(result.stdout)
    assert facts["ok"]
    assert len(facts["splats"]) == 3
    assert set(facts["stages"]) >= {"track", "fit"}
    assert 0 < sum(facts["stages"].values()) <= facts["seconds"] + 0.1
    avatar = read_avatar(folder / "eileen.lookalike")
    assert avatar.name == "eileen"
    assert avatar.provenance["consent"] == "NASA portrait, public domain"
    (source,) = avatar.provenance["sources"]
    import hashlib

    assert source["sha256"] == hashlib.sha256((folder / "astronaut.png").read_bytes()).hexdigest()
    assert "MediaPipe" in json.dumps(avatar.provenance)


def test_models_and_rigs_are_listed(lookalike, folder):
    assert "projection" in lookalike("models").stdout
    assert json.loads(lookalike("rigs", "--json").stdout)["rigs"][0]["name"] == "builtin"


def test_key_is_this_users_public_one(lookalike, folder):
    public = lookalike("key").stdout.strip()
    assert is_key(public)
    assert lookalike("key").stdout.strip() == public
    assert public in (folder / "home" / "authorized_clients").read_text()


def test_avatar_without_provenance_prints(lookalike, folder):
    avatar = synthetic_avatar(1)
    write_avatar(folder / "bare.lookalike", Avatar(avatar.rig, avatar.lods, avatar.shoulders))
    assert lookalike("info", "bare.lookalike").stdout.startswith("avatar  (bare.lookalike")


def test_track_writes_motion(lookalike, folder):
    astronaut(folder / "astronaut.png")
    facts = json.loads(lookalike("track", "astronaut.png", "-o", "pose.json", "--json").stdout)
    assert (facts["frames"], facts["seen"]) == (1, 1)
    motion = json.loads((folder / "pose.json").read_text())
    (frame,) = motion["frames"]
    assert frame["expression"]["mouthSmileLeft"] > 0.1, "she smiles"
    assert motion["size"] == [512, 512]
    assert np.shape(frame["world_to_camera"]) == (4, 4)
    assert set(frame["pose"]) >= {"jaw", "neck"}


def test_track_follows_a_video(lookalike, folder):
    from backend.splats import write_video
    from backend.tracking.motion import read_motion

    pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image")
    import skimage.data

    still = skimage.data.astronaut()[:, 60:380].astype(np.float32) / 255
    write_video(folder / "clip.mp4", [np.roll(still, 4 * i, 1)[:, 24:] for i in range(6)])
    facts = json.loads(lookalike("track", "clip.mp4", "-o", "clip.motion", "--json").stdout)
    assert (facts["frames"], facts["seen"]) == (6, 6)
    motion = read_motion(folder / "clip.motion")
    assert len(motion) == 6
    x = motion.world_to_camera[:, 0, 3]
    assert x[-1] > x[0], "the picture moves to the right, and so does the head before the camera"
    error = json.loads(lookalike("track", "clip.mp4", "astronaut.png", "-o", "x.motion", "--json", check=1).stdout)["error"]
    assert error["message"] == "clip.mp4: a video is tracked alone"
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    error = json.loads(lookalike("track", "noise.mp4", "-o", "x.motion", "--json", check=1).stdout)["error"]
    assert error["code"] == "image"
    assert error["message"].startswith("noise.mp4: not a video")


@pytest.mark.slow
def test_evaluate_measures_a_known_head(lookalike, folder):
    heads = ROOT.parent / "shared" / "data" / "ict_facekit" / "ict_facekit.npz"
    if not heads.exists():
        pytest.skip("needs ../shared/data/ict_facekit/ict_facekit.npz")
    result = json.loads(lookalike("evaluate", heads, "--identities", "0:1", "--yaw", "0", "--json").stdout)
    assert [head["identity"] for head in result["heads"]] == [0]
    assert 0 < result["summary"]["median_mm"] < 3
    assert result["summary"]["psnr"]["0"] > 20


@pytest.mark.slow
def test_evaluate_goes_on_after_a_head_that_cannot_be_tracked(lookalike, folder):
    """Heads as thin as blades have no face to find: each is told as failed, not only the first."""
    heads = ROOT.parent / "shared" / "data" / "ict_facekit" / "ict_facekit.npz"
    if not heads.exists():
        pytest.skip("needs ../shared/data/ict_facekit/ict_facekit.npz")
    with np.load(heads) as model:
        arrays = dict(model)
    arrays["neutral"] = arrays["neutral"] * np.array([0.02, 1, 1], arrays["neutral"].dtype)
    np.savez(folder / "blades.npz", **arrays)
    said = lookalike("evaluate", "blades.npz", "--identities", "0:2", "--yaw", "0", "--json", check=1)
    result = json.loads(said.stdout)
    assert [head["identity"] for head in result["heads"]] == [0, 1]
    assert [head["error"] for head in result["heads"]] == ["face", "face"]
    assert all(head["message"] and head["remedy"] for head in result["heads"])
    assert result["failed"] == 2
    assert result["ok"] is False
    assert result["summary"] == {}
    assert said.stderr == "lookalike: 2 of 2 heads failed\n"


def test_evaluate_refuses_what_holds_no_heads(lookalike, folder):
    np.savez(folder / "other.npz", a=np.zeros(3))
    for name in ("ada.lookalike", "other.npz", "nothing.npz"):
        error = json.loads(lookalike("evaluate", name, "--json", check=1).stdout)["error"]
        assert error["code"] == "rig", error
        assert error["message"].startswith(name)
