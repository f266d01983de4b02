"""Refinement by photos: better on what no loss has seen, or refused; nothing moves that no photo shows; off is the original."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from backend.models.interface import Silent
from backend.models.projection.anatomy import Anatomy
from backend.models.projection.camera import Camera
from backend.models.projection.surface import Surface
from backend.personalize.curve import draw_curve
from backend.personalize.job import Wish, personalize
from backend.personalize.photometric import Enough, NoImprovementError, refine
from backend.personalize.photometric_loss import Reference, photometric_loss, unrolled_loss
from backend.personalize.photometric_pictures import BACKDROP, PIXEL, Picture, Target
from backend.personalize.photometric_splats import Cloud, Freedom, Unknowns, stillness
from backend.personalize.photos import of_one_person
from backend.protocol.adapter_file import read_adapter_file, write_adapter_file
from backend.protocol.adapters import add, difference, merge, remove, switch
from backend.protocol.avatar import SH_C0, Adapter, Avatar, Driver, SplatArrays
from backend.protocol.avatar_file import decode_avatar, encode_avatar
from backend.protocol.binding import quaternions
from backend.protocol.errors import AvatarFileError, FaceError, ImageError, LookalikeError
from backend.rig import load_rig
from backend.splats import orbit_camera, pose_splats, render_splats
from backend.tracking import default_tracker, with_landmarks

SIZE = 80
STEPS = 30


@pytest.fixture(scope="module")
def rig():
    return load_rig("builtin")


@pytest.fixture(scope="module")
def avatar(rig):
    """The built-in head, painted: one level, no photo needed."""
    baked = rig.bake(rig.template)
    surface = Surface.of(baked)
    x, y, z = (surface.position / 0.1).T
    color = 0.5 + 0.3 * np.stack([np.sin(9 * x), np.sin(7 * y + 1), np.cos(8 * x + 5 * z)], 1)
    axes, spread, length = surface.tangent_frames()
    scale = np.concatenate([0.8 * spread, 0.1 * length[:, None]], 1).astype(np.float32) + np.float32(1e-5)
    sh = ((color - 0.5) / SH_C0)[:, None].astype(np.float32)
    opacity = np.full(len(surface), 0.97, np.float32)
    splats = SplatArrays(surface.position, quaternions(axes), scale, opacity, sh, surface.face, surface.barycentric)
    none = SplatArrays(*(getattr(splats, name)[:0] for name in SplatArrays.__dataclass_fields__))
    return Avatar(baked, (splats,), none, (), {"name": "painted", "model": "projection"})


@pytest.fixture(scope="module")
def person(avatar):
    """Whom the photos show: the avatar with other colours and every splat a little elsewhere."""
    splats = avatar.lods[0]
    x, y, _ = (splats.position / 0.1).T
    sh = splats.sh + 0.25 * np.sin(12 * x + 9 * y)[:, None, None].astype(np.float32)
    return replace(avatar, lods=(replace(splats, sh=sh, scale=splats.scale * np.float32(1.12)),))


def pictures_of(avatar, count):
    pictures = []
    for i, yaw in enumerate(np.linspace(-25, 25, count)):
        view = orbit_camera(float(yaw), 0.0, SIZE, extent=0.3)
        driver = Driver({}, np.zeros((len(avatar.rig.joints), 3), np.float32), view.world_to_camera, view.intrinsics, (SIZE, SIZE))
        image, matte = render_splats(pose_splats(avatar, 0, driver), view, [BACKDROP] * 3)
        camera = Camera(view.intrinsics, view.world_to_camera, SIZE, SIZE)
        target = Target(image, matte, np.ones_like(matte), camera, PIXEL)
        pictures.append(Picture(f"photo{i}.png", str(i), driver, np.zeros_like(avatar.rig.vertices), target, target))
    return pictures


@pytest.fixture(scope="module")
def refined(avatar, person, rig):
    return refine(avatar, Anatomy.of(rig), pictures_of(person, 4), Silent(), STEPS)


def test_held_out_photos_look_better(refined):
    assert refined.course.gain > 0.5
    assert "photo2.png" in refined.held_out
    assert len(refined.course.losses) == STEPS
    assert draw_curve(refined.course).std() > 1


def test_a_doubtful_frame_of_a_video_is_left_out_a_strange_photo_refused(avatar, rig):
    x, y, z = (avatar.lods[0].position / 0.1).T
    other = np.stack([np.sin(11 * y + 6 * z), np.cos(13 * x + 2), np.sin(10 * x - 9 * y)], 1)[:, None].astype(np.float32)
    stranger = replace(avatar, lods=(replace(avatar.lods[0], sh=other),))
    own, strange = pictures_of(avatar, 4), [replace(p, name=f"stranger{p.name}") for p in pictures_of(stranger, 4)]
    kept, warnings = of_one_person(avatar, [*own[:2], strange[2]], rig, video=True)
    assert kept == own[:2]
    assert "strangerphoto2.png" in warnings[0]
    with pytest.raises(FaceError, match=r"strangerphoto2\.png.*not to be the person"):
        of_one_person(avatar, [*own[:2], strange[2]], rig, video=False)
    with pytest.raises(FaceError, match=r"strangerphoto3\.png.*not to be the person"):
        of_one_person(avatar, [own[0], *strange[2:]], rig, video=True)


def test_photos_without_a_face_or_of_somebody_else_are_refused_by_the_nets(avatar, rig, portrait_file):
    """The real path: decoded, tracked, placed, compared."""
    tracker = default_tracker()
    head = with_landmarks(rig, tracker)
    ask = lambda *files: personalize(avatar, files, Wish(steps=1, size=256), head, tracker, Silent())
    wall = cv2.imencode(".png", np.full((300, 400, 3), 130, np.uint8))[1].tobytes()
    with pytest.raises(FaceError, match=r"wall\.png: no face"):
        ask(("wall.png", wall))
    with pytest.raises(FaceError, match=r"astronaut\.png \(.*seems not to be the person of painted.*leave it out"):
        ask(("astronaut.png", portrait_file.read_bytes()))
    with pytest.raises(ImageError, match=r"torn\.jpg"):
        ask(("torn.jpg", b"no picture"))
    other = replace(avatar, provenance={"model": "unheard-of", "name": "old"})
    with pytest.raises(LookalikeError, match="old was made by unheard-of, which cannot be personalized"):
        personalize(other, [("wall.png", wall)], Wish(), head, tracker, Silent())


def test_what_no_photo_shows_and_what_blinks_and_speaks_stays(avatar, refined, rig):
    before, after = avatar.lods[0], refined.avatar.lods[0]
    _, y, z = before.position.T
    behind = (z < np.percentile(z, 5)) & (y > np.median(y))  # the back of the head
    assert behind.sum() > 50
    assert np.array_equal(before.sh[behind], after.sh[behind])
    assert np.array_equal(before.scale[behind], after.scale[behind])
    anatomy = Anatomy.of(rig)
    still = stillness(avatar.rig, anatomy)
    for name in ("position", "rotation", "scale", "opacity"):
        assert np.array_equal(getattr(before, name)[still == 0], getattr(after, name)[still == 0]), name
    assert np.array_equal(before.face, after.face)
    assert np.array_equal(avatar.rig.vertices, refined.avatar.rig.vertices)
    assert after.opacity.min() >= 0
    assert after.opacity.max() <= 1


def test_photos_that_do_not_help_are_refused(avatar, rig):
    with pytest.raises(NoImprovementError, match="no better"):
        refine(avatar, Anatomy.of(rig), pictures_of(avatar, 1), Silent(), 12)


def test_a_loss_that_is_not_a_number_stops_the_work(avatar, person, rig):
    picture = pictures_of(person, 1)[0]
    spoilt = replace(picture, full=replace(picture.full, image=np.full_like(picture.full.image, np.nan)))
    with pytest.raises(NoImprovementError) as caught:
        refine(avatar, Anatomy.of(rig), [spoilt], Silent(), 12)
    assert caught.value.data["after"] == caught.value.data["before"]


class Impatient(Silent):
    calls = 0

    def progress(self, fraction, stage, text=""):
        self.calls += 1
        if self.calls > 26:
            raise Enough


def test_an_adapter_tells_its_photos_by_hash_and_the_consent(avatar, person, refined, rig, monkeypatch):
    monkeypatch.setattr("backend.personalize.photos.load_pictures", lambda *_: (pictures_of(person, 4), []))
    monkeypatch.setattr("backend.personalize.photometric.refine", lambda *_, **__: refined)
    done = personalize(avatar, [("me.jpg", b"a photo")], Wish(consent="Ada, for this film"), rig, None, Silent())
    facts = decode_avatar(encode_avatar(done.avatar)).adapters[0].facts
    assert facts["consent"] == "Ada, for this film"
    assert facts["sources"] == [{"name": "me.jpg", "sha256": hashlib.sha256(b"a photo").hexdigest()}]


def test_a_user_who_has_had_enough_gets_the_best_so_far(avatar, person, rig):
    found = refine(avatar, Anatomy.of(rig), pictures_of(person, 1), Impatient(), 500)
    assert found.course.gain > 0.05
    assert len(found.course.losses) == 26
    assert "by the user" in found.course.ended


def test_the_loss_in_closed_form_is_the_unrolled_one():
    random = torch.Generator().manual_seed(0)
    x, y = (torch.rand(34, 35, 3, generator=random, requires_grad=i == 0) for i in range(2))
    weight = torch.rand(34, 35, generator=random)
    target = Reference.of(y)
    fused = photometric_loss(x, target, weight)
    plain = unrolled_loss(x, target, weight / (3 * weight.sum()))
    assert float(fused.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    (wanted,) = torch.autograd.grad(plain, x)
    (found,) = torch.autograd.grad(2 * fused, x)
    torch.testing.assert_close(found, 2 * wanted, rtol=1e-3, atol=1e-7)


def test_a_change_means_the_same_in_every_pose(avatar):
    """What is written at rest, posed by the contract's binding, is what the photos' pose was told."""
    count = len(avatar.lods[0])
    free = np.ones(count, np.float32)
    shape = np.zeros((len(avatar.rig.vertices), 1), np.float32)
    cloud = Cloud(avatar, 0, lambda _: Freedom(free, free, shape), torch.device("cpu"))
    unknowns = Unknowns.zero(count, 1, 1, len(avatar.rig.expressions), cloud.device)
    unknowns.shift.data += 0.7
    unknowns.turn.data += 0.4
    pose = np.zeros((len(avatar.rig.joints), 3), np.float32)
    pose[2, 0] = 0.2
    picture = replace(pictures_of(avatar, 1)[0], driver=Driver({}, pose, np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), (8, 8)))
    with torch.no_grad():
        told = cloud.refined(cloud.posed(picture), unknowns, None)[0].numpy()
    written = replace(avatar, lods=(cloud.written(unknowns),))
    posed = pose_splats(written, 0, pose=pose).position
    off = np.abs(posed - told).max(1)
    assert np.percentile(off, 90) < 1e-4  # the rest lies on sheared triangles: the binding leaves shear out


def test_adapters_switch_merge_and_leave_the_original_to_the_bit(avatar, refined):
    levels = difference(avatar.lods, refined.avatar.lods)
    adapter = Adapter("photos", "photometric", "2026-11-20T00:00:00+00:00", True, {"psnr_after": 1.0}, levels)
    carried = decode_avatar(encode_avatar(add(avatar, adapter)))
    assert [a.name for a in carried.adapters] == ["photos"]
    assert np.abs(carried.lods[0].sh - refined.avatar.lods[0].sh).max() < 2e-3
    off = decode_avatar(encode_avatar(switch(carried, "photos", False)))
    for name in SplatArrays.__dataclass_fields__:
        assert np.array_equal(getattr(off.lods[0], name), getattr(avatar.lods[0], name)), name
    assert np.array_equal(switch(off, "photos", True).lods[0].sh, carried.lods[0].sh)
    merged = decode_avatar(encode_avatar(merge(carried, "photos")))
    assert not merged.adapters
    assert np.array_equal(merged.lods[0].sh, carried.lods[0].sh)
    assert "photos" in str(merged.provenance["merged"])
    assert not remove(carried, "photos").adapters
    with pytest.raises(AvatarFileError, match="no adapter 'x'"):
        switch(carried, "x", True)


def test_an_adapter_is_a_file_of_its_own(avatar, refined, tmp_path):
    """What Blender saves beside the .blend, read by anybody who has the avatar."""
    levels = difference(avatar.lods, refined.avatar.lods)
    adapter = Adapter("photos", "photometric", "2026-11-20T00:00:00+00:00", True, {"psnr_after": 1.0}, levels)
    write_adapter_file(tmp_path / "photos.safetensors", adapter, avatar.lods)
    read = read_adapter_file(tmp_path / "photos.safetensors", avatar.lods, "painted")
    assert (read.name, read.facts) == (adapter.name, adapter.facts)
    assert all(np.array_equal(read.levels[0][name], levels[0][name]) for name in levels[0])
    fewer = SplatArrays(*(getattr(avatar.lods[0], name)[1:] for name in SplatArrays.__dataclass_fields__))
    with pytest.raises(AvatarFileError, match="belongs to another avatar than painted"):
        read_adapter_file(tmp_path / "photos.safetensors", [fewer], "painted")
    data = (tmp_path / "photos.safetensors").read_bytes()
    for torn, said in (
        (data[:-40], "not a valid adapter"),
        (data[:60], "not an adapter"),
        (b"\xff" * 64, "not an adapter"),
        (b"", "not an"),
    ):
        (tmp_path / "torn.safetensors").write_bytes(torn)
        with pytest.raises(AvatarFileError, match=said):
            read_adapter_file(tmp_path / "torn.safetensors", avatar.lods, "painted")
    with pytest.raises(AvatarFileError, match="cannot be read"):
        read_adapter_file(tmp_path / "gone.safetensors", avatar.lods, "painted")
