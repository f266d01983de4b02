"""The default reconstructor on a real photo: what a user sees must be there, in numbers and in pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.evaluation import compare_with_photo
from backend.models import model_names, reconstructor
from backend.models.interface import Silent
from backend.models.projection import inner_box
from backend.models.projection.camera import Camera
from backend.models.projection.reconstructor import LIPS_PARTED
from backend.protocol import Avatar, Cancelled, Driver, FaceError, LookalikeError, bind, decode_avatar, deform, encode_avatar
from backend.rig import builtin_head, pose_vertices
from backend.splats import ColorOperator
from backend.splats import View as SplatView
from backend.tracking import Photo, make_portrait

data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut portrait")

BLINK = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}


class Recorder(Silent):
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def progress(self, fraction, stage, text=""):
        self.events.append(("progress", fraction, stage))

    def rig(self, rig):
        self.events.append(("rig", rig))

    def lod(self, level, splats, shoulders):
        self.events.append(("lod", level, splats, shoulders))


def portrait_of(picture: np.ndarray, name: str = "astronaut.png"):
    return make_portrait(Photo(np.ascontiguousarray(picture, np.float32), None, "0" * 64, None), name)


@pytest.fixture(scope="module")
def portrait():
    return portrait_of(data.astronaut().astype(np.float32) / 255)


@pytest.fixture(scope="module")
def recorder():
    return Recorder()


@pytest.fixture(scope="module")
def avatar(portrait, recorder) -> Avatar:
    return reconstructor().reconstruct([portrait], builtin_head(), recorder)


def picture(avatar: Avatar, lod: int, driver: Driver, background: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Render as the driver says, in its camera: rgb [H, W, 3] and alpha [H, W]."""
    splats = avatar.splats(lod)
    vertices = pose_vertices(avatar.rig, driver.expression, driver.pose)
    position, rotation, scale = deform(bind(avatar.rig, splats), vertices)
    camera = Camera.of_driver(driver)
    view = SplatView(camera.world_to_camera, camera.intrinsics, camera.width, camera.height)
    operator = ColorOperator(position, rotation, scale, splats.opacity, view)
    return operator.forward(splats.rgb) + background * (1 - operator.alpha[..., None]), operator.alpha


def at_rest(avatar: Avatar, **expression: float) -> Driver:
    """The first portrait's camera with a neutral face but for some expressions."""
    return replace(avatar.drivers[0], expression=expression, pose=np.zeros_like(avatar.drivers[0].pose))


def jaw(driver: Driver, angle: float) -> Driver:
    pose = driver.pose.copy()
    pose[2, 0] = angle
    return replace(driver, pose=pose)


def person(portrait) -> tuple[np.ndarray, np.ndarray]:
    """Pixels inside the crop [H, W], and those of the person."""
    x0, y0, x1, y1 = (max(0, v) for v in inner_box(portrait))
    crop = np.zeros(portrait.matte.shape, bool)
    crop[y0:y1, x0:x1] = True
    return crop, crop & (portrait.matte > 0.9)


def box_around(portrait, landmarks: list[int], grow: float) -> tuple[slice, slice]:
    points = portrait.face.landmarks[landmarks, :2]
    low, high = points.min(0), points.max(0)
    margin = grow * (high - low)
    (x0, y0), (x1, y1) = (low - margin).astype(int), (high + margin).astype(int) + 1
    return slice(y0, y1), slice(x0, x1)


def test_input_view_is_reproduced_within_the_mattes_outline(avatar, portrait):
    figures = compare_with_photo(avatar, portrait)
    assert figures["psnr"] >= 28
    assert figures["silhouette_iou"] >= 0.97
    brighter = compare_with_photo(avatar, replace(portrait, image=np.clip(portrait.image + 0.1, 0, 1)))
    assert brighter["psnr"] < 22, "what is compared is the picture"
    narrower = compare_with_photo(avatar, replace(portrait, matte=np.where(portrait.image.mean(-1) > 0.2, portrait.matte, 0)))
    assert narrower["silhouette_iou"] < 0.9, "and the outline"


@pytest.mark.parametrize("iris", [range(468, 473), range(473, 478)], ids=["right", "left"])
def test_blink_hides_the_iris(avatar, portrait, iris):
    """Astronaut's dark irises: the darkest pixels of the eye brighten to skin when it closes."""
    eye = box_around(portrait, list(iris), 0.1)
    opened, _ = picture(avatar, 1, at_rest(avatar))
    closed, _ = picture(avatar, 1, at_rest(avatar, **BLINK))
    dark = lambda image: (image[eye].mean(-1) < 0.30).mean()
    assert dark(opened) > 0.15
    assert dark(closed) < 0.5 * dark(opened)


def test_jaw_opens_the_mouth(avatar, portrait):
    mouth = box_around(portrait, [78, 308, 13, 14, 17], 0.6)
    rest = at_rest(avatar)
    dark = lambda image: int((image[mouth].mean(-1) < 0.30).sum())
    shut, opened, wide = (dark(picture(avatar, 1, jaw(rest, angle))[0]) for angle in (0.0, 0.15, 0.3))
    assert shut < opened < wide
    assert wide > shut + 20


def test_neutral_mouth_is_closed_and_the_photos_mouth_is_not(avatar):
    upper, lower = (int(builtin_head().landmarks[i]) for i in (13, 14))
    gap = lambda vertices: vertices[upper, 1] - vertices[lower, 1]
    posed = pose_vertices(avatar.rig, avatar.drivers[0].expression, avatar.drivers[0].pose)
    assert gap(avatar.rig.vertices) < 0.002
    assert gap(posed) > 0.004
    assert avatar.drivers[0].expression[LIPS_PARTED] == 1


@pytest.mark.parametrize("yaw", [-30, 30])
def test_no_hole_opens_when_the_camera_turns(avatar, yaw):
    """Orbit about the head: inside the outline nothing of the background shines through."""
    angle = np.radians(yaw)
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    centre = np.array([0, 0, -0.05])
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    driver = avatar.drivers[0]
    orbit = replace(driver, world_to_camera=(driver.world_to_camera @ turn).astype(np.float32))
    _, alpha = picture(avatar, 1, orbit)
    from scipy import ndimage

    solid = alpha > 0.5
    holes = ndimage.binary_fill_holes(solid) & ~solid
    assert holes.sum() < 0.002 * solid.sum()


def test_levels_arrive_in_order_before_the_end(avatar, recorder):
    kinds = [e[0] if e[0] != "lod" else e[1] for e in recorder.events if e[0] != "progress"]
    assert kinds == ["rig", 0, 1, 2]
    fractions = [e[1] for e in recorder.events if e[0] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_splat_budgets(avatar):
    counts = [len(level) for level in avatar.lods]
    assert counts == sorted(counts)
    assert len(avatar.shoulders) <= 9000
    assert 31_000 <= len(avatar.splats(1)) <= 40_000


def test_file_round_trip(avatar):
    again = decode_avatar(encode_avatar(avatar))
    assert again.provenance == avatar.provenance
    np.testing.assert_array_equal(again.lods[1].position, avatar.lods[1].position)


def test_shoulders_stay_when_the_head_turns(avatar):
    neck = np.zeros_like(avatar.drivers[0].pose)
    neck[1, 1] = 0.4
    local = bind(avatar.rig, avatar.shoulders)
    still = deform(local, avatar.rig.vertices)[0]
    turned = deform(local, pose_vertices(avatar.rig, {}, neck))[0]
    chin = avatar.rig.vertices[builtin_head().landmarks[152], 1]
    low = still[:, 1] < chin - 0.03
    assert low.mean() > 0.3
    assert np.abs(turned - still)[low].max() < 1e-4


def test_provenance_names_sources_and_licences(avatar, portrait):
    facts = avatar.provenance
    assert facts["sources"][0]["sha256"] == portrait.sha256
    assert facts["model"] == "projection"
    assert facts["consent"] == "not stated"
    assert facts["licences"]["rig"]


def test_same_photo_same_avatar(avatar, portrait):
    again = reconstructor().reconstruct([portrait], builtin_head(), Silent())
    assert len(again.lods[1]) == len(avatar.lods[1])
    np.testing.assert_allclose(again.lods[1].sh, avatar.lods[1].sh, atol=2e-3)
    np.testing.assert_allclose(again.rig.vertices, avatar.rig.vertices, atol=1e-5)


@pytest.mark.parametrize("stage", ["fit", "hair", "fill", "lod 1"])
def test_cancel_ends_the_work(portrait, stage):
    class Impatient(Silent):
        def progress(self, fraction, name, text=""):
            if name == stage:
                raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        reconstructor().reconstruct([portrait], builtin_head(), Impatient())


def test_two_photos_share_one_head(portrait):
    """The second is the first mirrored and darker: another side, another light."""
    second = portrait_of(0.8 * portrait.image[:, ::-1], "mirrored.png")
    avatar = reconstructor().reconstruct([portrait, second], builtin_head(), Silent())
    assert len(avatar.drivers) == 2
    assert len(avatar.provenance["sources"]) == 2
    shown, _ = picture(avatar, 1, avatar.drivers[0])
    _, mask = person(portrait)
    assert -10 * np.log10(np.mean((shown - portrait.image)[mask] ** 2)) > 24


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda p: replace(p, matte=np.ones_like(p.matte)), id="matte fills the picture"),
        pytest.param(lambda p: portrait_of(p.image[40:230, 150:300]), id="face at the border"),
        pytest.param(lambda p: portrait_of(p.image[:200]), id="no shoulders"),
        pytest.param(lambda p: portrait_of(np.repeat(p.image.mean(-1, keepdims=True), 3, -1)), id="gray"),
    ],
)
def test_odd_pictures_still_give_a_head(portrait, edit):
    avatar = reconstructor().reconstruct([edit(portrait)], builtin_head(), Silent())
    for level in avatar.lods:
        assert np.isfinite(level.position).all()
        assert np.isfinite(level.sh).all()
        assert level.scale.min() > 0
    decode_avatar(encode_avatar(avatar))


def test_no_portrait_is_an_error():
    with pytest.raises(FaceError, match="no portrait"):
        reconstructor().reconstruct([], builtin_head(), Silent())


def test_unknown_model_says_which_exist():
    with pytest.raises(LookalikeError, match=model_names()[0]):
        reconstructor("nonsense")


def test_ears_under_hair_stay_inside_the_head(avatar):
    """The rig mesh is drawn and casts shadows in Blender: a covered ear must not stand out of the hair."""
    head = builtin_head()
    for side in ("left", "right"):
        ear = np.abs(avatar.rig.vertices[head.labels[f"ear_{side}"]][:, 0])
        heights = avatar.rig.vertices[head.labels[f"ear_{side}"]][:, 1]
        scalp = avatar.rig.vertices[head.labels["scalp"]]
        beside = scalp[(scalp[:, 1] > heights.min()) & (scalp[:, 1] < heights.max())]
        assert ear.max() < np.abs(beside[:, 0]).max()
