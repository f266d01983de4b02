"""Training data: read as it was written, bad frames named, cameras of every source where networks expect them."""

import io
import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from backend.models.networks import METRE, opencv_camera
from backend.rig import load_rig
from backend.training.data.batch import Pairs, Sample, Schedule, collate, network_camera
from backend.training.data.gagavatar_track import TrackedLmdb
from backend.training.data.sources import FIELD_OF_VIEW, parted
from backend.training.data.vhap import VhapFolders
from backend.training.data.videos import Videos
from backend.training.data.view import DataError
from backend.training.synthetic import SyntheticHeads, Views


@pytest.fixture(scope="module")
def heads():
    return SyntheticHeads(load_rig("builtin"), 3, 4, 64, seed=5, views=Views(field_of_view=(FIELD_OF_VIEW, FIELD_OF_VIEW)))


def _seen(view, camera):
    """Where a network's camera sees the view's vertices, pixels."""
    to_camera, lens = opencv_camera(torch.from_numpy(camera)[None], view.camera.width)
    points = METRE * torch.from_numpy(view.vertices) @ to_camera[0, :3, :3].T + to_camera[0, :3, 3]
    pixels = points @ lens[0].T
    return (pixels[:, :2] / pixels[:, 2:]).numpy()


def test_drawn_heads_are_the_same_for_the_same_seed_and_others_for_others(heads):
    again = SyntheticHeads(heads.rig, 3, 4, 64, seed=5, views=heads.views)
    for field in ("image", "matte", "depth", "vertices", "expression"):
        np.testing.assert_array_equal(getattr(heads.view(1, 2), field), getattr(again.view(1, 2), field))
    other = SyntheticHeads(heads.rig, 3, 4, 64, seed=6, views=heads.views).view(1, 2)
    assert not np.allclose(other.shape, heads.view(1, 2).shape)
    assert np.array_equal(heads.view(0, 0).shape, heads.view(0, 1).shape)
    assert not np.array_equal(heads.view(0, 0).shape, heads.view(2, 0).shape)


def test_a_drawn_head_lies_where_its_parameters_say(heads):
    for frame in range(4):
        view = heads.view(0, frame)
        assert view.depth is not None
        pixels = view.camera.pixels(view.vertices)
        skin = heads.rig.labels["skin"]
        column, row = pixels[skin, :2].astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < 64) & (row < 64)
        assert (view.matte[row[inside], column[inside]] > 0.2).mean() > 0.97
        seen = view.depth[row[inside], column[inside]]
        near = np.abs(seen - pixels[skin, 2][inside]) < 0.008
        assert near.mean() > 0.35  # the side that is turned away, and what hair covers, is not seen
        assert view.depth[view.matte < 0.4].max() == 0


def test_a_rig_that_cannot_be_painted_is_refused(small_rig):
    with pytest.raises(Exception, match="cannot be painted"):
        SyntheticHeads(small_rig, 1, 2, 32)


def test_a_synthesized_folder_is_read_back(heads, tmp_path):
    from backend.training.synthetic.folder import write_heads

    few = SyntheticHeads(heads.rig, 1, 2, 64, seed=5, views=heads.views)
    sheet = write_heads(few, tmp_path / "heads")
    assert Image.open(sheet).size == (384, 192)
    read, drawn = VhapFolders(tmp_path / "heads", heads.rig, 64).view(0, 1), few.view(0, 1)
    for field, tolerance in (("image", 0.003), ("matte", 0.003), ("depth", 1e-4), ("vertices", 1e-6), ("pose", 0), ("expression", 0)):
        np.testing.assert_allclose(getattr(read, field), getattr(drawn, field), atol=tolerance, err_msg=field)
    np.testing.assert_allclose(read.camera.world_to_camera, drawn.camera.world_to_camera, atol=1e-6)
    with pytest.raises(DataError, match="made with rig lookalike-head-1"):
        VhapFolders(tmp_path / "heads", replace(heads.rig, rig_id="flame-2020"), 64)


def test_drawn_heads_have_the_networks_camera_exactly(heads):
    view = heads.view(1, 0)
    np.testing.assert_allclose(_seen(view, network_camera(view)), view.camera.pixels(view.vertices)[:, :2], atol=0.02)


def test_other_lenses_keep_the_heads_place_and_size(heads):
    wide = SyntheticHeads(heads.rig, 1, 4, 64, seed=5, views=Views(field_of_view=(25, 25), yaw=0, pitch=0, roll=0)).view(0, 0)
    pixels, seen = wide.camera.pixels(wide.vertices)[:, :2], _seen(wide, network_camera(wide))
    np.testing.assert_allclose(seen.mean(0), pixels.mean(0), atol=0.7)
    np.testing.assert_allclose(np.ptp(seen, axis=0), np.ptp(pixels, axis=0), rtol=0.12)


@pytest.fixture
def tracked(tmp_path, small_rig):
    """A folder as GAGAvatar_track writes it: two videos of three frames."""
    lmdb = pytest.importorskip("lmdb")
    rng, frames = np.random.default_rng(0), {}
    with lmdb.open(str(tmp_path / "img_lmdb"), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for video in ("anna", "bob_2"):
            for number in range(3):
                picture = np.zeros((512, 512, 3), np.uint8)
                picture[100:400, 150:350] = rng.integers(60, 255, 3)
                picture[200:220, 200:220] = 0  # pupils are black too, and the person's
                packed = io.BytesIO()
                Image.fromarray(picture).save(packed, "JPEG", quality=95)
                transaction.put(f"{video}_{number}".encode(), packed.getvalue())
                turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
                turn[:, 0] *= np.sign(np.linalg.det(turn))
                sizes = {"shapecode": 300, "expcode": 100, "posecode": 6, "eyecode": 6, "bbox": 4}
                codes = {key: (0.1 * rng.normal(size=size)).astype(np.float32) for key, size in sizes.items()}
                frames[f"{video}_{number}"] = codes | {"transform_matrix": np.column_stack([turn, [0.1, -0.2, 9.7]]).astype(np.float32)}
    (tmp_path / "smoothed.pkl").write_bytes(pickle.dumps(frames))
    return tmp_path, frames


def test_gagavatar_tracks_folder_is_read_with_its_own_camera(tracked, small_rig):
    folder, frames = tracked
    footage = TrackedLmdb(folder, small_rig, 128)
    assert footage.people == ("anna", "bob_2")
    view = footage.view(1, 2)
    assert (view.person, view.frame) == ("bob_2", "bob_2_2")
    np.testing.assert_allclose(network_camera(view), frames["bob_2_2"]["transform_matrix"], atol=2e-5)
    assert view.matte[30:95, 42:82].mean() > 0.97
    assert view.matte[:20].max() == 0
    np.testing.assert_array_equal(view.pose[2], frames["bob_2_2"]["posecode"][3:])
    batch = collate([Pairs({"a": footage}, 0)[Sample("a", 3, 1)]])
    assert batch.target.image.shape == (1, 3, 128, 128)
    (folder / "dataset.json").write_text(json.dumps({"train": ["anna_0", "anna_1"], "val": []}))
    assert TrackedLmdb(folder, small_rig, 128).frames(0) == 2
    with pytest.raises(DataError, match="no frame of 'val'"):
        TrackedLmdb(folder, small_rig, 128, "val")


def test_two_sets_share_one_folder_also_in_a_forked_process(tracked, small_rig):
    folder, _ = tracked
    (folder / "dataset.json").write_text(json.dumps({"train": ["anna_0", "anna_1"], "val": ["bob_2_0"]}))
    sets = [TrackedLmdb(folder, small_rig, 64, split) for split in ("train", "val")]
    alone = [footage.view(0, 0).image for footage in sets]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.map(_first_picture, sets)
    for one, other in zip(alone, forked, strict=True):
        np.testing.assert_array_equal(one, other)


def _first_picture(footage):
    return footage.view(0, 0).image


def test_a_corrupt_lmdb_is_a_fault_of_the_data(tracked, small_rig):
    folder, _ = tracked
    footage = TrackedLmdb(folder, small_rig, 64)
    (folder / "img_lmdb" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match="not a readable LMDB"):
        footage.view(0, 0)


def test_bad_tracked_data_is_named(tracked, small_rig):
    folder, frames = tracked
    frames["anna_0"]["expcode"] = np.full(100, np.nan, np.float32)
    frames["anna_1"]["transform_matrix"] = np.ones((3, 4), np.float32)
    frames["anna_9"] = frames["anna_2"]
    (folder / "smoothed.pkl").write_bytes(pickle.dumps(frames))
    footage = TrackedLmdb(folder, small_rig, 64)
    with pytest.raises(DataError, match="anna_0: expcode"):
        footage.view(0, 0)
    with pytest.raises(DataError, match="anna_1: transform_matrix holds no rotation"):
        footage.view(0, 1)
    with pytest.raises(DataError, match="no picture of anna_9"):
        footage.view(0, 3)
    with pytest.raises(DataError, match="its parameters are FLAME's"):
        TrackedLmdb(folder, load_rig("builtin"), 64)
    (folder / "smoothed.pkl").write_bytes(pickle.dumps({"a": print}))
    with pytest.raises(DataError, match=r"builtins\.print"):
        TrackedLmdb(folder, small_rig, 64)


def test_a_large_sets_table_is_read(tracked, small_rig):
    """More instructions than a short pickle may have: 8,000 frames with 145 each."""
    folder, frames = tracked
    table = {f"carl_{i}": {key: value.copy() for key, value in frames["anna_0"].items()} for i in range(8000)}
    (folder / "smoothed.pkl").write_bytes(pickle.dumps(frames | table, protocol=4))
    footage = TrackedLmdb(folder, small_rig, 64)
    assert footage.people == ("anna", "bob_2", "carl")
    assert footage.frames(2) == 8000


def test_bad_vhap_frames_are_named_and_replaced_by_others(people_folder, small_rig, tmp_path):
    root = tmp_path / "people"
    shutil.copytree(people_folder, root)
    (root / "person0" / "images" / "1.png").write_bytes(b"not a picture")
    footage = VhapFolders(root, small_rig, 64)
    with pytest.raises(DataError, match=r"1\.png: not a picture"):
        footage.view(0, 1)
    pairs = Pairs({"people": footage}, 0)
    assert all(pairs[Sample("people", number, 2)][1].image.shape == (64, 64, 3) for number in range(20))
    for path in root.glob("*/images/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="8 samples in a row cannot be read"):
        pairs[Sample("people", 0, 1)]
    listing = json.loads((root / "person1" / "transforms.json").read_text())
    listing["frames"][0]["file_path"] = "../../../../etc/passwd"
    (root / "person1" / "transforms.json").write_text(json.dumps(listing))
    with pytest.raises(DataError, match="points outside"):
        VhapFolders(root, small_rig, 64).view(1, 0)


def _encrypted(path):
    packed = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = packed.find(signature)
        while at >= 0:
            packed[at + flags] |= 1
            at = packed.find(signature, at + 4)
    path.write_bytes(packed)


def _with(**arrays):
    def spoil(path):
        content = dict(np.load(path))
        np.savez(path, **(content | arrays))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_encrypted, "not a readable"),
        (_with(expr=np.array(["a", "b"])), "expr holds no numbers"),
        (_with(static_offset=np.zeros(4, np.float32)), "static_offset has 4 values"),
    ],
)
def test_bad_parameters_are_a_fault_of_the_frame(people_folder, small_rig, tmp_path, spoil, message):
    shutil.copytree(people_folder / "person0", tmp_path / "person0")
    spoil(tmp_path / "person0" / "flame_param" / "0.npz")
    with pytest.raises(DataError, match=message):
        VhapFolders(tmp_path / "person0", small_rig, 64).view(0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": 10**400}, "no usable camera"),
        ({"fl_x": None, "camera_angle_x": 0.0}, "no usable camera"),
        ({"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]}, "rotation is not one"),
    ],
)
def test_bad_cameras_are_a_fault_of_the_frame(people_folder, small_rig, tmp_path, change, message):
    shutil.copytree(people_folder / "person0", tmp_path / "person0")
    path = tmp_path / "person0" / "transforms.json"
    listing = json.loads(path.read_text())
    listing["frames"][0] = {key: value for key, value in (listing["frames"][0] | change).items() if value is not None}
    path.write_text(json.dumps(listing))
    with pytest.raises(DataError, match=message):
        VhapFolders(tmp_path / "person0", small_rig, 64).view(0, 0)


def test_a_head_behind_the_camera_is_replaced_by_another_frame(people_folder, small_rig, tmp_path):
    root = tmp_path / "people"
    shutil.copytree(people_folder, root)
    for path in root.glob("*/transforms.json"):
        listing = json.loads(path.read_text())
        listing["frames"][0]["transform_matrix"][2][3] = -50.0
        listing["frames"][0]["transform_matrix"][0][3] = 0.0
        path.write_text(json.dumps(listing))
    footage = VhapFolders(root, small_rig, 64)
    with pytest.raises(DataError, match="behind the camera"):
        network_camera(footage.view(0, 0))
    pairs = Pairs({"people": footage}, 0)
    assert len(collate([pairs[Sample("people", number, 1)] for number in range(12)]).target) == 12


def test_held_out_people_are_never_learned_from(people_folder, small_rig):
    learned, kept = parted(VhapFolders(people_folder, small_rig, 64), 0.25, "people")
    assert set(learned.people).isdisjoint(kept.people)
    assert len(learned.people) + len(kept.people) == 4
    assert kept.view(0, 0).person == kept.people[0]


def test_two_processes_share_out_the_same_samples_as_one():
    plan = lambda step: ("a", 1)
    alone = [sample for batch in Schedule(plan, 3, 6, 4) for sample in batch]
    both = [list(Schedule(plan, 3, 6, 2, rank, 2)) for rank in range(2)]
    shared = [sample for first, second in zip(*both, strict=True) for sample in (*first, *second)]
    assert alone == shared


def test_a_video_is_measured_once_and_bad_ones_are_left_out(portrait_file, tmp_path):
    from backend.splats.video import write_video

    videos = tmp_path / "videos"
    videos.mkdir()
    image = np.asarray(Image.open(portrait_file), np.float32)[:400, 60:460] / 255
    write_video(videos / "eileen.mp4", [image] * 4, fps=4)
    (videos / "broken.mp4").write_bytes(b"nothing")
    lines = []
    footage = Videos(videos, load_rig("builtin"), 128, 2, tmp_path / "cache", report=lines.append)
    assert footage.people == ("eileen",)
    assert any(line.startswith("left out: broken.mp4") for line in lines)
    view = footage.view(0, 1)
    eyes = view.camera.pixels(view.vertices[footage.rig.landmarks[[33, 263]]])
    assert 25 < eyes[1, 0] - eyes[0, 0] < 60
    assert view.matte[50:90, 50:80].min() > 0.9
    lines.clear()
    Videos(videos, footage.rig, 128, 2, tmp_path / "cache", report=lines.append)
    assert "measuring eileen.mp4" not in lines
