"""What a user relies on while jobs run: order, queueing, cancelling, and that what is done can be fetched."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from backend.cli.main import run
from backend.protocol.arrays import portrait_payload, rig_from_message, splats_from_message
from backend.protocol.avatar_file import encode_avatar, read_avatar
from backend.protocol.errors import BackendError, Cancelled, FaceError, LookalikeError, ProtocolError
from backend.protocol.keys import KeyPair, authorize_client
from backend.protocol.messages import Accepted, Progress, Reconstruct, Render, Result
from backend.server import Client
from backend.server.jobs import MAX_FINISHED, MAX_PICTURES, MAX_QUEUED, Job, JobQueue, Part
from tests.synthetic import synthetic_avatar

PHOTO = ("me.jpg", b"not looked at by this pipeline")


@pytest.fixture
def client(shared_backend):
    with shared_backend.client() as connected:
        yield connected


def test_portrait_becomes_avatar_in_stages(client):
    events = []
    done = client.reconstruct([PHOTO, ("two.jpg", b"xyz")], name="Ada", consent="stages=0.1", on_event=events.append, timeout=30)
    kinds = [e.kind for e in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "result"
    assert [k for k in kinds if k in ("rig", "lod", "result")] == ["rig", "lod", "lod", "lod", "result"]
    assert [e.body.level for e in events if e.kind == "lod"] == [0, 1, 2]
    fractions = [e.body.fraction for e in events if isinstance(e.body, Progress)]
    assert fractions == sorted(fractions)
    assert {"track", "reconstruct", "solve"} <= {e.body.stage for e in events if isinstance(e.body, Progress)}
    expected = synthetic_avatar()
    rig = rig_from_message(next(e for e in events if e.kind == "rig"))
    np.testing.assert_array_equal(rig.expressions, expected.rig.expressions)
    for event, splats in zip([e for e in events if e.kind == "lod"], expected.lods, strict=True):
        head, shoulders = splats_from_message(event, len(rig.faces))
        np.testing.assert_array_equal(head.position, splats.position)
        np.testing.assert_array_equal(shoulders.face, expected.shoulders.face)
    avatar = done.avatar()
    assert avatar.name == "Ada"
    assert avatar.provenance["sizes"] == [len(PHOTO[1]), 3]
    assert isinstance(done.body, Result)
    assert list(done.body.stages) == ["track", "reconstruct", "solve"]
    assert 0.3 < done.body.seconds < 5


def test_lod_0_arrives_before_lod_1_exists(client):
    arrival = {}

    def note(event):
        if event.kind in ("lod", "result"):
            arrival[getattr(event.body, "level", "result")] = time.monotonic()

    client.reconstruct([PHOTO], consent="stages=0.4", on_event=note, timeout=30)
    assert arrival[1] - arrival[0] > 0.3
    assert arrival["result"] - arrival[2] > 0.3


def test_remote_client_gets_the_same_arrays_through_the_socket(shared_backend):
    from dataclasses import replace

    endpoint = replace(shared_backend.endpoint, exchange="")
    with Client.connect(endpoint=endpoint, directory=shared_backend.directory) as remote:
        assert not remote.welcome.shares
        done = remote.reconstruct([PHOTO], timeout=30)
        np.testing.assert_array_equal(done.avatar().lods[2].position, synthetic_avatar().lods[2].position)


@pytest.mark.parametrize("manner", ["stages=20", "deaf"])
def test_cancel_takes_at_most_a_second(backend, manner):
    """Also where the work does not listen: then its process is killed, and the next job finds a new one."""
    with backend.client() as client:
        stamps = {}

        def cancel_when_running(event):
            if isinstance(event.body, Progress) and event.body.stage == "track" and "asked" not in stamps:
                time.sleep(0.3)
                stamps["asked"] = time.monotonic()
                client.cancel(event.job)

        with pytest.raises(Cancelled):
            client.reconstruct([PHOTO], consent=manner, on_event=cancel_when_running, timeout=30)
        assert time.monotonic() - stamps["asked"] < 1.0
        assert client.reconstruct([PHOTO], timeout=30).avatar()
        assert [job.state for job in client.jobs()] == ["cancelled", "done"]


def test_jobs_queue_in_order_and_say_how_many_come_before(client, shared_backend):
    seen: list = []

    def submit(which: Client, name: str) -> str:
        """Two clients' sockets are not ordered among each other, so each request is accepted before the next is sent."""
        request = which.connection.send(Reconstruct((f"{name}.jpg",), name=name, consent="stages=0.1"), portrait_payload([b"x"]))
        seen.append(which._answer(request, 5))
        return request

    with shared_backend.client() as other:
        first, second, third = submit(client, "one"), submit(other, "two"), submit(client, "three")
        done = [client.wait(first, seen.append, 30), other.wait(second, seen.append, 30), client.wait(third, seen.append, 30)]
        assert [d.body.name for d in done] == ["one", "two", "three"]
        assert sorted(e.body.position for e in seen if isinstance(e.body, Accepted)) == [0, 1, 2]
        states = {job.name: job for job in other.jobs()}
        assert states["one"].created <= states["two"].created
        assert {states[n].state for n in ("one", "two", "three")} == {"done"}


def test_queued_job_can_be_cancelled_before_it_starts(client):
    running = client.connection.send(Reconstruct(("a",), consent="stages=0.3"), portrait_payload([b"x"]))
    queued = client.connection.send(Reconstruct(("b",)), portrait_payload([b"x"]))
    accepted = client._answer(queued, 5)
    client.cancel(accepted.job)
    with pytest.raises(Cancelled):
        client.wait(queued, timeout=5)
    assert client.wait(running, timeout=30).avatar()


def test_finished_job_is_fetched_after_a_reconnect(shared_backend):
    with shared_backend.client() as first:
        job = first.reconstruct([PHOTO], name="kept", timeout=30).job
    with shared_backend.client() as second:
        events = []
        done = second.fetch(job, on_event=events.append, timeout=5)
        assert done.avatar().name == "kept"
        assert [e.kind for e in events] == ["rig", "lod", "lod", "lod", "result"]
        only = []
        second.fetch(job, ["lod1"], on_event=only.append, timeout=5)
        assert [e.kind for e in only] == ["lod", "jobs"]


def test_running_job_outlives_its_client_and_tells_who_fetches_it(shared_backend):
    first = shared_backend.client()
    seen = threading.Event()
    jobs = []

    def note(event):
        jobs.append(event.job)
        seen.set()

    def ask():
        with pytest.raises(BackendError):
            first.reconstruct([PHOTO], consent="stages=0.4", name="orphan", on_event=note, timeout=30)

    thread = threading.Thread(target=ask)
    thread.start()
    assert seen.wait(10)
    first.close()
    thread.join(10)
    with shared_backend.client() as second:
        events = []
        assert second.fetch(jobs[0], on_event=events.append, timeout=30).avatar().name == "orphan"
        assert any(isinstance(e.body, Progress) for e in events)


def test_two_faces_come_as_a_choice_with_boxes(client):
    with pytest.raises(FaceError, match=r"me.jpg: two faces found; choose one") as caught:
        client.reconstruct([PHOTO], consent="faces", timeout=30)
    assert caught.value.code == "face"
    assert [face["box"] for face in caught.value.data["faces"]] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(("manner", "code"), [("bug", "bug"), ("memory", "memory")])
def test_failed_job_says_why_and_the_next_one_works(client, manner, code):
    with pytest.raises(LookalikeError) as caught:
        client.reconstruct([PHOTO], consent=manner, timeout=30)
    assert caught.value.code == code
    assert caught.value.remedy
    assert client.reconstruct([PHOTO], consent="noise", timeout=30).avatar()


def test_track_and_render(client):
    tracked = client.track([("clip.mp4", b"frames")], timeout=30)
    assert tracked.message.tensors()["pose"].shape == (2, 5, 3)
    assert tracked.body.names == ("a", "b", "c")
    picture = client.render(Render(size=64), avatar=encode_avatar(synthetic_avatar()), timeout=30)
    assert picture.message.tensors()["image"].shape == (64, 64, 3)
    job = client.reconstruct([PHOTO], timeout=30).job
    assert client.render(Render(size=32), job=job, timeout=30).message.tensors()["image"].shape == (32, 32, 3)


def test_unknown_job_and_missing_portrait_are_told(client):
    with pytest.raises(BackendError, match="there is no job 'nosuch'"):
        client.fetch("nosuch", timeout=5)
    with pytest.raises(ProtocolError, match="0 portraits"):
        client.reconstruct([], timeout=5)
    with pytest.raises(ProtocolError, match="2 face choices for 1 portraits"):
        client.reconstruct([PHOTO], faces=[0, 1], timeout=5)


def test_jobs_of_another_key_are_neither_seen_nor_touched(shared_backend, client):
    stranger_keys = KeyPair.generate()
    authorize_client(shared_backend.directory, stranger_keys.public, "a colleague")
    job = client.reconstruct([PHOTO], timeout=30).job
    with Client.connect(endpoint=shared_backend.endpoint, keys=stranger_keys) as stranger:
        assert stranger.jobs() == ()
        with pytest.raises(BackendError, match="there is no job"):
            stranger.fetch(job, timeout=5)
        with pytest.raises(BackendError, match="there is no job"):
            stranger.render(Render(), job=job, timeout=5)


def test_finished_jobs_are_kept_within_bounds():
    queue = JobQueue()
    for number in range(MAX_FINISHED + 5):
        job = Job(("user", "client"), str(number), Reconstruct(("a",)), str(number))
        job.parts["result"] = Part(Accepted(), "file", 100)
        queue.add(job)
        job.state = "done"
    assert [job.name for job in queue.surplus(1 << 30)] == ["0", "1", "2", "3", "4"]
    assert len(queue.surplus(1000)) == MAX_FINISHED - 10
    assert len(queue.surplus(0)) == 9, "the newest stays"
    for number in range(20):
        picture = Job(("user", "client"), str(number), Render(), "")
        queue.add(picture)
        picture.state = "done"
    assert len(queue.surplus(1 << 30)) == 20 - MAX_PICTURES, "pictures do not push out avatars"
    for number in range(MAX_QUEUED):
        queue.add(Job(("user", "client"), str(number), Reconstruct(("a",)), ""))
    with pytest.raises(BackendError, match="64 jobs are waiting"):
        queue.add(Job(("user", "client"), "x", Reconstruct(("a",)), ""))


def test_command_line_uses_the_running_backend(shared_backend, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_HOME", str(shared_backend.directory))
    (tmp_path / "me.jpg").write_bytes(b"photo")
    output = tmp_path / "ada.lookalike"
    assert run(["reconstruct", str(tmp_path / "me.jpg"), "-o", str(output), "--backend"]) == 0
    assert read_avatar(output).provenance["sizes"] == [5]
    assert run(["reconstruct", str(tmp_path / "me.jpg"), "-o", str(output), "--backend", "--consent", "bug"]) == 1
    assert read_avatar(output).name == "ada", "a failed job leaves the file as it was"
