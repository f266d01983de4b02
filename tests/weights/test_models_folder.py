"""Weights that a user brings or fetches: told apart, checked, converted, never run."""

import errno
import hashlib
import http.client
import http.server
import json
import pickle
import ssl
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.protocol.errors import WeightsError
from backend.weights import catalogue, store
from backend.weights.catalogue import Known, by_shapes, known
from backend.weights.fetch import fetch
from backend.weights.store import add, models_directory, present, read_state, remove, weights_path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A small model of the catalogue, and its file with the catalogue's hash."""
    state = {"query": torch.randn(7, 3), "layer.weight": torch.randn(64, 48)}
    path = tmp_path / "tiny.pt"
    torch.save({"model": state, "meta_cfg": {"DIM": 3}}, path)
    entry = Known("tiny", "a test", "CC0-1.0", "tiny.pt", "https://example.org/tiny", ({"query": (7, 3)},), path.stat().st_size,
                  hashlib.sha256(path.read_bytes()).hexdigest(), url="https://example.org/tiny.pt", tensors=2)  # fmt: skip
    monkeypatch.setattr(catalogue, "CATALOGUE", (*catalogue.CATALOGUE, entry))
    return path, state


def test_a_known_file_is_kept_as_safetensors(checkpoint, folder):
    path, state = checkpoint
    there = add(path)
    assert there.name == "tiny"
    assert there.origin["checked"] == "hash"
    kept = load_file(weights_path("tiny"))
    assert set(kept) == set(state)
    assert all(torch.equal(kept[key], state[key]) for key in state)
    found = present("tiny")
    assert found is not None
    assert found.origin["licence"] == "CC0-1.0"
    assert [p.name for p in folder.iterdir()] == ["tiny.safetensors"]


def test_removed_weights_are_gone_and_say_how_to_come_back(checkpoint):
    add(checkpoint[0])
    remove("tiny")
    assert present("tiny") is None
    with pytest.raises(WeightsError, match="models fetch tiny"):
        weights_path("tiny")
    with pytest.raises(WeightsError, match="not there"):
        remove("tiny")


def test_an_unknown_hash_needs_trust_and_fitting_tensors(checkpoint, tmp_path):
    _, state = checkpoint
    other = tmp_path / "other.pt"
    torch.save({key: tensor + 1 for key, tensor in state.items()}, other)
    with pytest.raises(WeightsError, match=r"look like tiny.*--trust"):
        add(other)
    assert add(other, trust=True).origin["checked"] == "shapes"
    torch.save({"strange": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match="no known model"):
        add(other, trust=True)


def test_another_models_file_is_named(checkpoint):
    with pytest.raises(WeightsError, match=r"this is tiny\.pt \(tiny\), not gagavatar"):
        add(checkpoint[0], expected="gagavatar")


def test_weights_of_another_model_are_named_by_their_tensors(tmp_path):
    path = tmp_path / "renamed.pth"
    torch.save({"cls_token": torch.zeros(1, 1, 384), "pos_embed": torch.zeros(1, 1370, 384)}, path)
    with pytest.raises(WeightsError, match="dinov2-s, not of dinov2-b"):
        add(path, expected="dinov2-b", trust=True)


@pytest.mark.parametrize("keep", [0, 2, 40, 0.5, 0.98])
def test_a_truncated_file_is_refused(checkpoint, tmp_path, keep):
    data = checkpoint[0].read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(data[: keep if keep > 1 else int(keep * len(data))])
    with pytest.raises(WeightsError, match=r"cut\.pt"):
        add(cut, trust=True)
    assert not models_directory().exists()


class _Attack:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('ran').touch()",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_does_not_run(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    torch.save({"weight": _Attack()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"asks for|exec"):
        add(path, trust=True)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_no_checkpoint(tmp_path):
    path = tmp_path / "bare.pt"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="not a readable torch file"):
        add(path, trust=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_files_from_before_torch_1_6_are_read(tmp_path, dtype):
    whole = torch.arange(24).to(dtype).reshape(4, 6)
    state = {"a": whole, "b": whole[1:3].t(), "c": torch.ones((), dtype=dtype), "d": torch.zeros(0, 3, dtype=dtype)}
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    read = read_state(path)
    assert set(read) == set(state)
    for key, tensor in state.items():
        assert read[key].dtype == tensor.dtype
        assert torch.equal(read[key], tensor)
    data = path.read_bytes()
    for cut in (20, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:cut])
        with pytest.raises(WeightsError, match=r"old\.pth"):
            read_state(path)


def test_many_names_over_one_storage_of_an_old_file_are_refused(tmp_path):
    base = torch.ones(200_000)
    path = tmp_path / "old.pth"
    torch.save({f"w{i}": base[:] for i in range(50)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"old\.pth: its tensors claim more than the file holds"):
        read_state(path)


def test_flames_arrays_keep_their_names_so_that_the_rig_loads_them(tmp_path):
    path = tmp_path / "flame.pt"
    flame = {"v_template": torch.zeros(5023, 3), "shapedirs": torch.zeros(5023, 3, 400)}
    torch.save({"flame_model": flame, "lmk_embeddings": {"static": {"bary": torch.ones(2, 3)}}}, path)
    state = read_state(path)
    assert set(state) == {"v_template", "shapedirs", "lmk_embeddings.static.bary"}
    seems = by_shapes({key: tuple(tensor.shape) for key, tensor in state.items()})
    assert seems is not None
    assert seems.name == "flame-with-eye"


def test_a_full_disk_leaves_what_was_there(checkpoint, folder, monkeypatch):
    add(checkpoint[0])
    before = (folder / "tiny.safetensors").read_bytes()

    def full(tensors, path, metadata=None):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(WeightsError, match="MB of room"):
        add(checkpoint[0])
    assert (folder / "tiny.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 1


def test_a_corrupt_kept_file_is_told(checkpoint, folder):
    add(checkpoint[0])
    (folder / "tiny.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(WeightsError, match="models remove tiny"):
        present("tiny")
    save_file({"query": torch.zeros(1)}, folder / "tiny.safetensors")
    with pytest.raises(WeightsError, match="corrupt"):
        present("tiny")
    for header in ("[1]", "3", "[" * 100_000):
        save_file({"query": torch.zeros(1)}, folder / "tiny.safetensors", metadata={store.HEADER: header})
        with pytest.raises(WeightsError, match="corrupt"):
            present("tiny")


class _Server(http.server.ThreadingHTTPServer):
    """Serves one file with ranges; the first `breaks` answers end after `after` bytes."""

    def __init__(self, data, breaks=0, after=0, tag='"v1"'):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data, self.breaks, self.after, self.tag = data, breaks, after, tag
        self.ranges, self.length = [], ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/tiny.pt"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.headers.get("If-Range") == self.server.tag else 0
        body = self.server.data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", self.server.length or str(len(body)))
        self.send_header("ETag", self.server.tag)
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: self.server.after]
        self.wfile.write(body)


@pytest.fixture
def serve():
    servers = []

    def start(*arguments, **options):
        server = _Server(*arguments, **options)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_interrupted_download_goes_on_where_it_stopped(checkpoint, folder, serve):
    data = checkpoint[0].read_bytes()
    server = serve(data, breaks=2, after=5000)
    seen = []
    there = fetch("tiny", url=server.url, progress=lambda fraction, text: seen.append(fraction), pause=0)
    assert there.origin["checked"] == "hash"
    assert server.ranges == [None, "bytes=5000-", "bytes=10000-"]
    assert seen == sorted(seen)
    assert [p.name for p in folder.iterdir()] == ["tiny.safetensors"]


def test_a_download_that_gave_up_is_resumed_by_the_next(checkpoint, folder, serve):
    data = checkpoint[0].read_bytes()
    server = serve(data, breaks=1, after=3000)
    with server.socket:
        pass  # nobody answers any more
    with pytest.raises(WeightsError, match="goes on where it stopped"):
        fetch("tiny", url=server.url, pause=0)
    server = serve(data, breaks=1, after=3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backend.weights.fetch.ATTEMPTS", 0)
        with pytest.raises(WeightsError, match="3000 bytes came"):
            fetch("tiny", url=server.url, pause=0)
    fetch("tiny", url=server.url, pause=0)
    assert server.ranges == [None, "bytes=3000-"]


@pytest.mark.parametrize("fault", [ssl.SSLError("bad record"), OSError(errno.EHOSTUNREACH, "No route"), OSError(errno.ENETUNREACH, "None")])
def test_faults_of_the_network_while_reading_are_tried_again(checkpoint, serve, monkeypatch, fault):
    server, read, faults = serve(checkpoint[0].read_bytes()), http.client.HTTPResponse.read, [fault]

    def failing(answer, amount=None):
        if faults:
            raise faults.pop()
        return read(answer, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", failing)
    assert fetch("tiny", url=server.url, pause=0).origin["checked"] == "hash"
    faults += [fault] * 100
    remove("tiny")
    with pytest.raises(WeightsError, match="check the connection"):
        fetch("tiny", url=server.url, pause=0)


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_network(checkpoint, serve, folder):
    server = serve(checkpoint[0].read_bytes())
    (folder / "tiny.pt.part").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"tiny\.pt\.part: cannot be written"):
        fetch("tiny", url=server.url, pause=0)
    assert server.ranges == [None]


def test_a_download_that_finds_no_room_when_added_is_kept(checkpoint, serve, folder, monkeypatch):
    server, save = serve(checkpoint[0].read_bytes()), store.save_file

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(WeightsError, match="MB of room"):
        fetch("tiny", url=server.url, pause=0)
    assert (folder / "tiny.pt").read_bytes() == server.data
    monkeypatch.setattr(store, "save_file", save)
    assert fetch("tiny", url=server.url, pause=0).origin["checked"] == "hash"
    assert server.ranges == [None]
    assert [p.name for p in folder.iterdir()] == ["tiny.safetensors"]


def test_a_file_that_changed_on_the_server_is_fetched_anew(checkpoint, serve):
    data = checkpoint[0].read_bytes()
    server = serve(data, breaks=1, after=3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backend.weights.fetch.ATTEMPTS", 0)
        with pytest.raises(WeightsError):
            fetch("tiny", url=server.url, pause=0)
    server.tag = '"v2"'
    assert fetch("tiny", url=server.url, pause=0).origin["checked"] == "hash"


def test_a_wrong_download_is_refused_and_forgotten(checkpoint, folder, serve):
    data = bytearray(checkpoint[0].read_bytes())
    data[-1] ^= 1
    with pytest.raises(WeightsError, match=r"what came has sha256"):
        fetch("tiny", url=serve(bytes(data)).url, pause=0)
    assert not list(folder.glob("*.pt*.part"))
    with pytest.raises(WeightsError, match="offers 3 bytes"):
        fetch("tiny", url=serve(b"abc").url, pause=0)


@pytest.mark.parametrize(
    "url", ["example.com/tiny.pt", "file:///etc/passwd", "http://[", "http://h:99999/x", "https:///x", "http://a b/x", "http://\xfc/\xfc"]
)
def test_what_is_no_address_is_told(checkpoint, folder, url):
    with pytest.raises(WeightsError, match="is not an address"):
        fetch("tiny", url=url, pause=0)
    assert not folder.exists()


@pytest.mark.parametrize("length", ["many", "-3"])
def test_a_length_that_is_none_is_passed_over(checkpoint, serve, length):
    server = serve(checkpoint[0].read_bytes())
    server.length = length
    assert fetch("tiny", url=server.url, pause=0).origin["checked"] == "hash"


def test_what_the_licence_forbids_is_not_fetched(folder):
    with pytest.raises(WeightsError, match=r"huggingface\.co/xg-chu/GAGAvatar.*models add GAGAvatar\.pt"):
        fetch("gagavatar")
    with pytest.raises(WeightsError, match="non-commercial"):
        fetch("flame-with-eye")
    assert not folder.exists()


def test_every_entry_can_be_shown_and_told_apart():
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in catalogue.CATALOGUE:
        assert entry.licence
        assert entry.source.startswith("https://")
        for layout in entry.shapes:
            filled = {**layout, **{f"more.{i}": (1,) for i in range(entry.tensors - len(layout))}}
            assert by_shapes(filled) == entry
    with pytest.raises(WeightsError, match="choose one of"):
        known("nothing")
    assert not replace(known("omg-avatar"), sha256="").matches("")


def test_the_list_says_where_only_a_part_of_a_hash_is_known(capsys):
    from backend.cli.main import run

    partly = [entry for entry in catalogue.CATALOGUE if 0 < len(entry.sha256) < 64]
    assert [entry.name for entry in partly] == ["alexnet"]
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for entry in partly:
        (line,) = (line for line in lines if line.strip().startswith(entry.name))
        assert f"only {4 * len(entry.sha256)} bits of its hash" in line


def test_the_command_lists_adds_and_removes(checkpoint, capsys):
    from backend.cli.main import run

    assert run(["models", "add", str(checkpoint[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"
    assert run(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["tiny"]["state"] == "present"
    assert rows["gagavatar"]["state"] == "missing"
    assert rows["gagavatar"]["sha256"].startswith("75d449fd")
    assert run(["models", "remove", "tiny"]) == 0
    assert run(["models", "fetch", "gagavatar", "--yes"]) == 1
    assert "models add GAGAvatar.pt" in capsys.readouterr().err
