"""Real photos over the real wire to the real pipeline: the architecture page's rows on bad photos, and a good one."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from backend.protocol.errors import Cancelled, FaceError, ImageError, LookalikeError, RigError
from backend.protocol.messages import Progress, Render
from tests.server.conftest import end_backend, start_backend

data = pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image")


@pytest.fixture(scope="module")
def real_backend(tmp_path_factory):
    served = start_backend(tmp_path_factory.mktemp("real") / "home", pipeline="backend.server.pipeline")
    yield served
    end_backend(served)


@pytest.fixture
def client(real_backend):
    with real_backend.client() as connected:
        yield connected


def encoded(image: np.ndarray, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


ASTRONAUT = data.astronaut()
TWO = np.concatenate([ASTRONAUT[:, :400], ASTRONAUT[:, 100:400]], 1)


def test_photo_to_avatar_and_picture(client):
    arrivals = []
    done = client.reconstruct([("eileen.png", encoded(ASTRONAUT))], name="Eileen", on_event=lambda e: arrivals.append(e.kind), timeout=120)
    assert [k for k in arrivals if k in ("rig", "lod", "result")] == ["rig", "lod", "lod", "lod", "result"]
    avatar = done.avatar()
    assert avatar.name == "Eileen"
    assert avatar.provenance["sources"][0]["name"] == "eileen.png"
    picture = client.render(Render(size=128, yaw=0.2, lod=0), job=done.job, timeout=60).message.tensors()["image"]
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 20
    with pytest.raises(RigError, match="levitate"):
        client.render(Render(expression={"levitate": 1.0}), job=done.job, timeout=60)
    with pytest.raises(LookalikeError, match="a picture of 9000 pixels cannot be made"):
        client.render(Render(size=9000), job=done.job, timeout=60)


def test_two_faces_are_offered_and_the_choice_is_obeyed(client):
    photo = ("two.png", encoded(TWO))
    with pytest.raises(FaceError, match=r"two.png: two faces found .* choose one with --face 0 or --face 1") as caught:
        client.reconstruct([photo], timeout=60)
    faces = caught.value.data["faces"]
    assert caught.value.data["portrait"] == "two.png"
    assert [0 < face["box"][0] < face["box"][2] < TWO.shape[1] for face in faces] == [True, True]
    assert faces[0]["box"][2] < faces[1]["box"][0], "left to right"
    tracked = client.track([photo], faces=[1], timeout=60).message.tensors()
    left = client.track([photo], faces=[0], timeout=60).message.tensors()
    # The principal points or the heads' places differ by about the distance of the two.
    assert not np.allclose(tracked["world_to_camera"], left["world_to_camera"]) or not np.allclose(
        tracked["intrinsics"], left["intrinsics"]
    )


BAD = {
    "empty.jpg": b"",
    "text.png": b"I am no picture, whatever my name says",
    "truncated.jpg": encoded(ASTRONAUT, "jpeg")[:2000],
    "bomb.png": encoded(np.zeros((8, 8), np.uint8)).replace(b"\0\0\0\x08\0\0\0\x08", b"\0\xff\xff\xff\0\xff\xff\xff"),
    "program.jpg": b"\x7fELF" + bytes(500),
    "pickle.png": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_photo_is_named_and_the_reason_given(client, name):
    with pytest.raises(ImageError, match=f"^{name}: .") as caught:
        client.reconstruct([(name, BAD[name])], timeout=60)
    assert caught.value.remedy


def test_no_face_and_a_tiny_face_are_told(client):
    with pytest.raises(FaceError, match=r"^wall.png: no face found"):
        client.reconstruct([("wall.png", encoded(np.full((300, 300, 3), 128, np.uint8)))], timeout=60)
    tiny = np.full((512, 512, 3), 128, np.uint8)
    tiny[200:280, 200:280] = np.asarray(Image.fromarray(ASTRONAUT).resize((80, 80), Image.Resampling.LANCZOS))
    with pytest.raises(FaceError, match=r"^far.png: ") as caught:
        client.reconstruct([("far.png", encoded(tiny))], timeout=60)
    assert caught.value.remedy


def test_unknown_model_and_rig_are_told(client):
    photo = ("a.png", encoded(ASTRONAUT))
    with pytest.raises(LookalikeError, match="no model named 'magic'"):
        client.reconstruct([photo], model="magic", timeout=60)
    with pytest.raises(RigError, match="no rig named 'magic'"):
        client.reconstruct([photo], rig="magic", timeout=60)


LARGE = np.asarray(Image.fromarray(ASTRONAUT).resize((2600, 2600), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("stage", "later", "photo"),
    [("track", 0.3, LARGE), ("fit", 0.0, ASTRONAUT), ("hair", 0.2, ASTRONAUT), ("lod 1", 0.1, ASTRONAUT), ("lod 2", 0.3, ASTRONAUT)],
    ids=["track", "fit", "hair", "lod 1", "lod 2"],
)
def test_real_work_is_cancelled_by_the_worker_itself(client, real_backend, stage, later, photo):
    """Within the promised second, also in the middle of a stage that says nothing; the worker stays, warm for the next job."""
    worker = real_backend.worker_pid()
    stamps = []

    def cancel(event):
        if isinstance(event.body, Progress) and event.body.stage == stage and not stamps:
            time.sleep(later)
            stamps.append(time.monotonic())
            client.cancel(event.job)

    with pytest.raises(Cancelled):
        client.reconstruct([("a.png", encoded(photo))], on_event=cancel, timeout=120)
    assert time.monotonic() - stamps[0] < 1.0
    assert real_backend.worker_pid() == worker
    assert client.reconstruct([("b.png", encoded(ASTRONAUT))], timeout=120).avatar().lods


def test_clients_live_on_after_all_this(client):
    assert {job.state for job in client.jobs()} <= {"done", "failed", "cancelled"}
    assert client.connection.status.state == "ready"


def test_photos_of_two_people_are_told_and_the_same_photo_counts_once(client):
    """Without ArcFace's weights two people are no error, as nothing proves it, but never silent."""
    from backend.rig import builtin_head
    from backend.training.synthetic import SyntheticHeads

    drawn = SyntheticHeads(builtin_head(), 1, 1, 384, seed=4).view(0, 0).image
    stranger = encoded((np.clip(drawn, 0, 1) * 255).astype(np.uint8))
    mine = encoded(ASTRONAUT)
    done = client.reconstruct([("me.png", mine), ("other.png", stranger), ("again.png", mine)], timeout=180)
    warnings = " | ".join(done.avatar().provenance["warnings"])
    assert "again.png is the same picture as me.png, and was left out" in warnings
    assert "other.png may show somebody else than me.png: details of the face agree by " in warnings
    assert [source["name"] for source in done.avatar().provenance["sources"]] == ["me.png", "other.png"]
