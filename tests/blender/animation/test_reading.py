"""Every motion format is known by its content and gives the numbers that its tool wrote; anything else gives our error."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.blender.animation import motion_files as files

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "motion" / "arkit_test_expression.json"


@pytest.fixture
def read(part):
    return part("motion.read_file").read_motion


@pytest.fixture
def error(part):
    return part("motion.take").MotionError


def test_live_link_face_csv(read, tmp_path):
    values = np.random.default_rng(0).uniform(0, 1, (75, len(files.LIVE_LINK)))
    take = read(files.live_link(tmp_path / "take.txt", values))
    assert (take.kind, take.fps, len(take)) == ("Live Link Face CSV", 60, 75)
    assert take.times == pytest.approx(np.arange(75) / 60, abs=1e-9)  # across a full minute and hour
    assert take.arkit["eyeBlinkLeft"] == pytest.approx(values[:, 0], abs=1e-6)
    assert set(take.arkit) == {"eyeBlinkLeft", "eyeLookUpLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft", "mouthSmileRight",
                               "browInnerUp", "tongueOut"}  # fmt: skip
    assert take.warnings == ()


@pytest.mark.parametrize(("column", "axis", "sign"), [("HeadYaw", 1, -1), ("HeadPitch", 0, -1), ("HeadRoll", 2, 1)])
def test_live_link_head_angles(read, tmp_path, column, axis, sign):
    values = np.zeros((3, len(files.LIVE_LINK)))
    values[:, files.LIVE_LINK.index(column)] = 0.4
    neck = read(files.live_link(tmp_path / "take.csv", values)).pose["neck"]
    assert neck[1] == pytest.approx(np.eye(3)[axis] * sign * 0.4, abs=1e-6)


def written(path, **columns):
    """A CSV of these columns, three frames with the same values."""
    header = ["Timecode", "BlendShapeCount", *columns]
    rows = [",".join([f"00:00:00:{i:02d}.000", "61", *map(str, columns.values())]) for i in range(3)]
    path.write_text("\n".join([",".join(header), *rows]))
    return path


SHAPES = {"JawOpen": 0.1, "MouthClose": 0.1, "TongueOut": 0.1}


@pytest.mark.parametrize(("column", "axis", "sign"), [("LeftEyeYaw", 1, -1), ("LeftEyePitch", 0, 1)])
def test_eye_angles_where_no_shape_tells_the_look(read, tmp_path, column, axis, sign):
    angles = {"LeftEyeYaw": 0, "LeftEyePitch": 0, column: 0.3}
    take = read(written(tmp_path / "take.csv", **SHAPES, **angles))
    assert take.pose["eye_left"][1] == pytest.approx(np.eye(3)[axis] * sign * 0.3, abs=1e-6)
    with_shapes = read(written(tmp_path / "take.csv", **SHAPES, EyeLookOutLeft=0.5, **angles))
    assert "eye_left" not in with_shapes.pose


def test_degrees_are_known_by_their_size(read, tmp_path):
    take = read(written(tmp_path / "take.csv", **SHAPES, HeadYaw=20.0, HeadPitch=0, HeadRoll=0))
    assert take.pose["neck"][1] == pytest.approx([0, -np.radians(20), 0], abs=1e-6)
    assert any("degrees" in warning for warning in take.warnings)


def test_head_rotation_that_was_off_is_told_and_keys_nothing(read, tmp_path):
    take = read(written(tmp_path / "take.csv", **SHAPES, HeadYaw=0, HeadPitch=0, HeadRoll=0))
    assert "neck" not in take.pose
    assert any("Head Rotation" in warning for warning in take.warnings)


def test_dropped_frames_keep_their_times(read, tmp_path):
    codes = ["00:00:01:00.000", "00:00:01:01.000", "00:00:01:05.500", "00:00:01:59.000"]
    take = read(files.live_link(tmp_path / "take.csv", np.zeros((4, 12)), timecodes=codes))
    assert take.times == pytest.approx([0, 1 / 60, 5.5 / 60, 59 / 60])


def test_frame_rate_of_the_user_wins(read, tmp_path):
    take = read(files.live_link(tmp_path / "take.csv", np.zeros((4, 12))), 24)
    assert take.times == pytest.approx(np.arange(4) / 24)


def test_the_labs_arkit_take(read):
    if not SHARED.exists():
        pytest.skip("needs ../shared/data/motion")
    take = read(SHARED)
    raw = json.loads(SHARED.read_text())
    assert (take.kind, len(take), len(take.arkit), take.fps) == ("ARKit JSON", 973, 52, 30.0)
    column = raw["names"].index("jawOpen")
    assert take.arkit["jawOpen"] == pytest.approx([frame["weights"][column] for frame in raw["frames"]])
    assert take.pose["neck"] == pytest.approx(np.array(raw["head_pose"]))


def test_other_names_for_arkits_shapes(part):
    name = part("motion.arkit").arkit_name
    for text in ("EyeBlinkLeft", "eyeBlink_L", "eye_blink_left", "eyeBlink.L", "LeftEyeBlink", "blendShape1.eyeBlink_L", "EYEBLINKLEFT"):
        assert name(text) == "eyeBlinkLeft", text
    assert [name(t) for t in ("jawLeft", "mouth_right", "jawOpen", "Basis", "", "expr000", "left")] == [
        "jawLeft", "mouthRight", "jawOpen", None, None, None, None,
    ]  # fmt: skip


def test_flame_npz_with_any_subset_of_arrays(read, tmp_path):
    whole = files.flame(20)
    for names in (["expr"], ["jaw_pose"], ["expr", "eyes_pose", "fps"], list(whole)):
        arrays = {**whole, "fps": np.array(50.0)}
        np.savez(tmp_path / "take.npz", **{name: arrays[name] for name in names})
        take = read(tmp_path / "take.npz")
        assert len(take) == 20
        assert take.fps == (50.0 if "fps" in names else 25.0)
        assert len(take.expressions) == (100 if "expr" in names else 0)
        if "expr" in names:
            assert take.expressions["expr007"] == pytest.approx(whole["expr"][:, 7])
        if "jaw_pose" in names:
            assert take.pose["jaw"] == pytest.approx(whole["jaw_pose"])


def test_head_and_neck_rotations_add_up_from_the_first_frame(read, tmp_path):
    np.savez(tmp_path / "take.npz", **files.flame(20))
    neck = read(tmp_path / "take.npz").pose["neck"]
    # Both turn about Y: 0.3 t of the head (its first 0.2 is where the take starts) and 0.1 t of the neck.
    assert neck == pytest.approx(np.linspace(0, 1, 20)[:, None] * [0, 0.4, 0], abs=1e-6)


@pytest.mark.parametrize("chosen", ["", "transforms.json", "flame_param", "flame_param/00003.npz"])
def test_vhap_folder_by_any_of_its_files(read, tmp_path, chosen):
    folder = files.vhap_folder(tmp_path / "seq", 12)
    take = read(folder / chosen)
    arrays = files.flame(12)
    assert (len(take), take.fps) == (12, 30)
    assert take.expressions["expr000"] == pytest.approx(arrays["expr"][:, 0])
    assert take.pose["eye_left"] == pytest.approx(arrays["eyes_pose"][:, :3])


def test_many_cameras_of_one_moment_are_one_frame(read, tmp_path):
    take = read(files.vhap_folder(tmp_path / "seq", 5, cameras=3))
    assert len(take) == 5


def test_a_camera_that_goes_round_turns_the_head_the_other_way(read, tmp_path):
    take = read(files.vhap_folder(tmp_path / "seq", 10, turn=0.05))
    still = read(files.vhap_folder(tmp_path / "still", 10))
    assert take.pose["neck"][9, 1] == pytest.approx(still.pose["neck"][9, 1] - 0.45, abs=1e-6)


def test_gagavatar_track_pickle(read, tmp_path):
    take = read(files.gagavatar_pickle(tmp_path / "smoothed.pkl", 12))
    arrays = files.flame(12)
    assert (take.kind, len(take)) == ("GAGAvatar track", 12)
    assert take.expressions["expr099"] == pytest.approx(arrays["expr"][:, 99])
    assert take.pose["jaw"] == pytest.approx(arrays["jaw_pose"])
    # X_cam = X R: the world-to-camera rotation is R transposed, which turns by +angle about Y here.
    assert take.pose["neck"][11] == pytest.approx([0, -0.22, 0], abs=1e-6)


def test_what_the_backend_tracked(read, tmp_path):
    take = read(files.tracked(tmp_path / "take.motion", 10))
    assert (take.kind, len(take), take.fps) == ("tracked video", 10, 25)
    assert set(take.expressions) == {"mouthSmileLeft", "browInnerUp"}
    assert take.pose["jaw"][-1] == pytest.approx([0.3, 0, 0], abs=1e-6)
    assert take.pose["neck"][9] == pytest.approx([0, 0.18, 0], abs=1e-5)
    assert any("no face in 1 frames" in note for note in take.warnings)


@pytest.mark.parametrize("write", [files.rhubarb_json, files.rhubarb_tsv, files.rhubarb_xml])
def test_rhubarb_cues(read, tmp_path, write):
    found = read(write(tmp_path / "cues.any"))
    assert [(c.start, c.end, c.shape) for c in found.cues] == list(files.CUES)


# ---------------------------------------------------------------- bad input


def test_values_that_are_not_numbers_are_interpolated(read, tmp_path):
    values = np.tile(np.linspace(0, 1, 9)[:, None], (1, 12))
    values[3:5, 3] = np.nan
    values[0, 4] = np.inf
    values[:, 6] = np.nan
    take = read(files.live_link(tmp_path / "take.csv", values))
    assert take.arkit["jawOpen"] == pytest.approx(np.linspace(0, 1, 9), abs=1e-6)
    assert take.arkit["mouthSmileLeft"][0] == pytest.approx(0.125, abs=1e-6)
    assert "browInnerUp" not in take.arkit
    assert "3 values were not numbers: interpolated" in take.warnings
    assert "1 channels held no number: left out" in take.warnings


def test_torn_rows_and_missing_frames_are_bridged_and_told(read, tmp_path):
    path = files.live_link(tmp_path / "take.csv", np.tile(np.linspace(0, 1, 9)[:, None], (1, 12)))
    lines = path.read_text().splitlines()
    lines[5] = ",".join(lines[5].split(",")[:4])
    path.write_text("\n".join(lines))
    take = read(path)
    assert take.arkit["jawOpen"] == pytest.approx(np.linspace(0, 1, 9), abs=1e-6)
    assert any("1 rows are shorter" in note for note in take.warnings)
    folder = files.vhap_folder(tmp_path / "seq", 9)
    (folder / "flame_param" / "00004.npz").write_bytes(b"torn")
    take = read(folder)
    assert len(take) == 9
    assert any("1 frames cannot be read" in note and "00004" in note for note in take.warnings)


def test_ten_thousand_frames(read, tmp_path):
    np.savez(tmp_path / "long.npz", **files.flame(10_000))
    assert len(read(tmp_path / "long.npz")) == 10_000


def test_arrays_of_different_lengths_are_told(read, error, tmp_path):
    arrays = files.flame(20)
    np.savez(tmp_path / "take.npz", expr=arrays["expr"], jaw_pose=arrays["jaw_pose"][:7])
    with pytest.raises(error, match="expression 20, jaw 7"):
        read(tmp_path / "take.npz")


class Bomb:
    def __reduce__(self):
        return (print, ("this must not run",))


def hostile(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Name -> file and a word of the message that it must give."""
    paths = {name: tmp_path / name for name in ("a.pkl", "b.npz", "c.npz", "d.json", "e.xml", "f.csv", "g.json", "h.txt", "i.npy", "j.zip")}
    paths["a.pkl"].write_bytes(pickle.dumps({"0": {"expcode": Bomb()}}))
    np.savez(paths["b.npz"], expr=np.array([Bomb()], object))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(paths["c.npz"], "w") as archive:
        archive.writestr("expr.npy", header.getvalue() + b"12345678")
    paths["d.json"].write_text("[" * 100_000)
    paths["e.xml"].write_text('<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><rhubarbResult>&c;</rhubarbResult>')
    paths["f.csv"].write_text("Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,TongueOut\n")
    paths["g.json"].write_text('{"names": ["jawOpen"], "frames": [{"weights": "many"}]}')
    paths["h.txt"].write_text("shopping list: eggs, milk")
    np.save(paths["i.npy"], np.zeros(3))
    with zipfile.ZipFile(paths["j.zip"], "w") as archive:
        archive.writestr("photo.jpg", b"\xff\xd8")
    words = ("asks for", "Python objects", "shape", "not valid JSON", "document type", "no frames", "cannot|can be read", "not a motion",
             "without names", "no arrays")  # fmt: skip
    return {name: (path, word) for (name, path), word in zip(paths.items(), words, strict=True)}


@pytest.mark.parametrize("name", ["a.pkl", "b.npz", "c.npz", "d.json", "e.xml", "f.csv", "g.json", "h.txt", "i.npy", "j.zip"])
def test_hostile_and_wrong_files_are_refused_with_a_reason(read, error, tmp_path, capsys, name):
    path, word = hostile(tmp_path)[name]
    with pytest.raises(error, match=word) as raised:
        read(path)
    assert name in str(raised.value)
    assert "this must not run" not in capsys.readouterr().out


def test_a_frames_path_cannot_leave_the_sequence(read, error, tmp_path):
    folder = files.vhap_folder(tmp_path / "seq", 3)
    np.savez(tmp_path / "secret.npz", expr=np.ones((1, 100)))
    frames = [{"timestep_index": 0, "flame_param_path": "../../secret.npz"}]
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(error, match="none of its frames"):
        read(folder)


def test_empty_missing_and_folders(read, error, tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    for path, word in ((tmp_path / "empty.csv", "is empty"), (tmp_path / "gone.csv", "cannot be read"), (tmp_path, "folder without")):
        with pytest.raises(error, match=word):
            read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(
    st.binary(max_size=400),
    st.text(max_size=300).map(lambda t: t.encode("utf-8", "ignore")),
    st.recursive(st.none() | st.floats() | st.text(max_size=8), lambda c: st.lists(c, max_size=4) | st.dictionaries(
        st.sampled_from(["names", "frames", "weights", "time", "mouthCues", "start", "end", "value", "pose", "expression", "jawOpen",
                         "mouthClose", "tongueOut"]), c, max_size=4), max_leaves=12).map(lambda v: json.dumps(v).encode()),
    st.lists(st.lists(st.sampled_from(["0.1", "nan", "", "1e400", "X", "\"", "10:00:00:00.1"]), max_size=5), max_size=6).map(
        lambda rows: ("Timecode,jawOpen,mouthClose,tongueOut\n" + "\n".join(",".join(r) for r in rows)).encode()),
))  # fmt: skip
def test_any_bytes_give_a_take_or_our_error(part, tmp_path, data):
    reading, take = part("motion.read_file"), part("motion.take")
    path = tmp_path / "anything"
    path.write_bytes(data)
    try:
        found = reading.read_motion(path)
    except take.MotionError:
        return
    if isinstance(found, take.Take):
        for values in (*found.arkit.values(), *found.expressions.values(), *found.pose.values()):
            assert np.isfinite(values).all()
            assert len(values) == len(found)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_give_a_take_or_our_error(part, tmp_path, data):
    folder = tmp_path / "good"
    if not folder.exists():
        folder.mkdir()
        np.savez(folder / "a.npz", **files.flame(4))
        files.gagavatar_pickle(folder / "b.pkl", 3)
        files.live_link(folder / "c.csv", np.ones((5, 12)))
        files.arkit_json(folder / "d.json", ["jawOpen", "tongueOut", "mouthClose"], np.ones((4, 3)))
        files.rhubarb_xml(folder / "e.xml")
    source = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    damaged = tmp_path / source.name
    damaged.write_bytes(bytes(content[: cut if data.draw(st.booleans()) else None]))
    try:
        part("motion.read_file").read_motion(damaged)
    except part("motion.take").MotionError:
        pass
