"""Posing an avatar and making pictures and videos of it."""

import av
import numpy as np
import pytest

from backend.protocol.avatar import SH_C0, SplatArrays
from backend.protocol.errors import ImageError, RigError
from backend.splats import (
    Camera,
    Posable,
    contact_sheet,
    joint_pose,
    orbit_camera,
    photo_camera,
    portrait_camera,
    pose_splats,
    render,
    render_splats,
    turntable,
    write_video,
)  # fmt: skip
from tests.synthetic import synthetic_avatar


@pytest.fixture(scope="module")
def avatar():
    return synthetic_avatar()


def test_rest_pose_is_what_is_stored(avatar):
    posed = pose_splats(avatar, 1)
    stored = avatar.splats(1)
    assert np.abs(posed.position - stored.position).max() < 1e-6
    assert np.abs(posed.scale - stored.scale).max() < 1e-6
    assert np.array_equal(posed.face, stored.face)


def test_driver_and_its_parts_pose_alike(avatar):
    by_driver = pose_splats(avatar, 0, avatar.drivers[0])
    by_parts = pose_splats(avatar, 0, expression={"mouthSmile": 0.3})
    assert np.array_equal(by_driver.position, by_parts.position)
    assert not np.array_equal(by_driver.position, avatar.splats(0).position)


def test_turning_the_neck_turns_the_head_but_not_the_shoulders(avatar):
    posed = pose_splats(avatar, 0, pose=joint_pose(avatar, neck=(0, 0.5, 0)))
    moved = np.linalg.norm(posed.position - avatar.splats(0).position, axis=1)
    assert moved[-len(avatar.shoulders) :].max() < 1e-6
    assert moved[: -len(avatar.shoulders)].max() > 0.02


def test_what_an_avatar_lacks_is_named(avatar):
    with pytest.raises(RigError, match="no level of detail 3"):
        Posable(avatar, 3)
    with pytest.raises(RigError, match="tailWag"):
        pose_splats(avatar, 0, expression={"tailWag": 1.0})
    with pytest.raises(RigError, match="no joint 'tail'"):
        joint_pose(avatar, tail=(0, 0, 1))
    with pytest.raises(RigError, match="does not fit"):
        pose_splats(avatar, 0, pose=np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(("yaw", "pitch", "right", "up"), [(0, 0, 0, 0), (40, 0, 1, 0), (-40, 0, -1, 0), (0, 30, 0, 1), (0, -30, 0, -1)])
def test_yaw_turns_the_nose_to_the_right_and_pitch_lifts_it(yaw, pitch, right, up):
    camera = orbit_camera(yaw, pitch, (640, 480))
    x, y, depth = camera.pixels(np.float32([[0, 0, 0.1]]))[0]
    assert np.sign(round(float(x - 320), 3)) == right
    assert np.sign(round(float(240 - y), 3)) == up
    centre = camera.pixels(np.float32([[0, 0, 0]]))[0]
    assert np.allclose(centre[:2], [320, 240], atol=1e-3)
    assert depth < centre[2]


def test_portrait_camera_holds_the_whole_head(avatar):
    camera = portrait_camera(avatar, size=200)
    pixels = camera.pixels(avatar.rig.vertices)
    assert pixels[:, :2].min() > 10
    assert pixels[:, :2].max() < 190
    assert np.ptp(pixels[:, 1]) > 90


def test_picture_is_display_referred_and_blended_over_the_background(avatar):
    camera = portrait_camera(avatar, size=96)
    white, alpha = render(avatar, 1, camera)
    black, _ = render(avatar, 1, camera, background=(0, 0, 0))
    assert white.shape == (96, 96, 3)
    assert alpha.shape == (96, 96)
    assert np.allclose(white - black, (1 - alpha)[..., None], atol=1e-5)
    assert np.allclose(white[0, 0], 1)
    middle = black[48, 48] / alpha[48, 48]
    nearest = np.argmax(avatar.lods[1].position[:, 2])
    assert np.abs(middle - avatar.lods[1].rgb[nearest]).max() < 0.12
    backdrop = np.random.default_rng(0).uniform(0, 1, (96, 96, 3)).astype(np.float32)
    over, _ = render(avatar, 1, camera, background=backdrop)
    assert np.allclose(over, black + (1 - alpha)[..., None] * backdrop, atol=1e-5)


def test_expression_changes_the_picture_where_it_should(avatar):
    camera = portrait_camera(avatar, size=96)
    rest, _ = render(avatar, 1, camera)
    wink, _ = render(avatar, 1, camera, {"eyeBlinkLeft": 1.0})
    changed = np.abs(rest - wink).max(2) > 0.02
    assert changed.any()
    assert np.nonzero(changed)[1].mean() > 48, "the subject's left eye is on the right of the picture"


def test_antialiasing_keeps_a_small_picture_from_growing(avatar):
    camera = portrait_camera(avatar, size=24)
    _, grown = render(avatar, 2, camera)
    _, faded = render(avatar, 2, camera, antialias=True)
    assert faded.sum() < grown.sum()


def test_view_dependent_colour_shows():
    sh = np.zeros((1, 4, 3), np.float32)
    sh[0, 2, 0] = 1.0  # red grows along +z
    one = SplatArrays(np.zeros((1, 3), np.float32), np.float32([[1, 0, 0, 0]]), np.full((1, 3), 0.02, np.float32), np.ones(1, np.float32),
                      sh, np.zeros(1, np.int32), np.float32([[1, 0, 0]]))  # fmt: skip
    front = render_splats(one, orbit_camera(0, 0, 32, extent=0.2), (0, 0, 0))[0][16, 16]
    back = render_splats(one, orbit_camera(180, 0, 32, extent=0.2), (0, 0, 0))[0][16, 16]
    assert front[0] == pytest.approx(0.5 - 0.4886, abs=0.02)
    assert back[0] > 0.95
    assert front[1] == pytest.approx(0.5, abs=0.02)
    flat = SplatArrays(one.position, one.rotation, one.scale, one.opacity, sh[:, :1] + 0.2 / SH_C0, one.face, one.barycentric)
    assert render_splats(flat, orbit_camera(0, 0, 32, extent=0.2), (0, 0, 0))[0][16, 16, 1] == pytest.approx(0.7, abs=0.02)


def test_driver_camera_resizes(avatar):
    whole, half = Camera.of(avatar.drivers[0]), Camera.of(avatar.drivers[0], 256)
    assert (half.width, half.height) == (256, 256)
    points = avatar.rig.vertices[::50]
    assert np.allclose(whole.pixels(points)[:, :2] / 2, half.pixels(points)[:, :2], atol=1e-3)


def test_photo_camera_frames_the_head_as_the_photo_saw_it(avatar):
    driver = avatar.drivers[0]
    camera = photo_camera(avatar, driver, 100)
    crop, whole = camera.pixels(avatar.rig.vertices), Camera.of(driver).pixels(avatar.rig.vertices)
    assert crop[:, :2].min() > 5
    assert crop[:, :2].max() < 95
    zoom = np.ptp(crop[:, 0]) / np.ptp(whole[:, 0])
    moved = crop[:, :2] - zoom * whole[:, :2]
    assert np.ptp(moved, axis=0).max() < 1e-2, "nothing but zoom and crop"


def test_contact_sheet_shows_views_and_the_expressions_that_exist(avatar):
    sheet = contact_sheet(avatar, 0, tile=64)
    assert sheet.shape[1] == 5 * 64
    tiles = sheet[:64, :320].reshape(64, 5, 64, 3).swapaxes(0, 1)
    differences = [np.abs(tiles[i] - tiles[i + 1]).mean() for i in range(1, 4)]
    assert min(differences) > 0.003


def test_video_has_every_frame(avatar, tmp_path):
    path = tmp_path / "turn.mp4"
    assert write_video(path, turntable(avatar, 0, size=65, frames=12), fps=24) == 12
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == 24
    assert len(frames) == 12
    assert frames[0].shape == (64, 64, 3)
    expected = next(turntable(avatar, 0, size=65, frames=12))[:64, :64] * 255
    assert np.abs(frames[0] - expected).mean() < 6


def test_video_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(ImageError, match="at least one frame"):
        write_video(tmp_path / "none.mp4", [])
    assert not (tmp_path / "none.mp4").exists()
    with pytest.raises(ImageError, match="cannot be written"):
        write_video(tmp_path / "missing" / "a.mp4", [np.zeros((8, 8, 3), np.float32)])
    with pytest.raises(ImageError, match="the first was"):
        write_video(tmp_path / "b.mp4", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 10, 3), np.float32)])
