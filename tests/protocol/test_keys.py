"""Keys and the connection file: private, made once, never trusted when others could have touched them."""

from __future__ import annotations

import os
import stat
import sys
import threading

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from backend.protocol.errors import BackendError, ProtocolError
from backend.protocol.exchange import PROBE, map_file, read_proof
from backend.protocol.keys import (
    Endpoint,
    KeyPair,
    authorize_client,
    authorized_clients,
    client_keys,
    default_directory,
    endpoint_from_json,
    is_key,
    process_exists,
    read_connection_file,
    remote_endpoint,
    remove_connection_file,
    server_keys,
    write_connection_file,
)

posix = pytest.mark.skipif(os.name != "posix", reason="file modes")


def test_keys_are_made_once_and_authorised(tmp_path):
    home = tmp_path / "a" / "b"
    first = client_keys(home)
    assert client_keys(home) == first
    assert server_keys(home) != first
    assert authorized_clients(home) == {first.public}
    assert zmq.curve_public(first.secret.encode()).decode() == first.public


def test_the_secret_is_not_printed(tmp_path):
    keys = client_keys(tmp_path)
    assert keys.secret not in repr(keys)
    assert keys.secret not in str(keys)


@posix
def test_files_are_private_and_others_are_refused(tmp_path):
    home = tmp_path / "home"
    client_keys(home)
    server_keys(home)
    write_connection_file(home, Endpoint("tcp://127.0.0.1:1", KeyPair.generate().public, os.getpid()))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in home.iterdir()} == {0o600}
    for name, read in {
        "client.key": client_keys,
        "authorized_clients": authorized_clients,
        "connection.json": read_connection_file,
    }.items():
        (home / name).chmod(0o644)
        with pytest.raises(BackendError, match=rf"{name}: other users have access to it; run: chmod 600"):
            read(home)
        (home / name).chmod(0o600)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"public": 1, "secret": 2}', '{"public": "a", "secret": "b"}', "\0" * 100])
def test_damaged_key_file_is_told(tmp_path, text):
    client_keys(tmp_path)
    (tmp_path / "client.key").write_text(text)
    with pytest.raises(BackendError, match=r"client.key: not a key file; delete it"):
        client_keys(tmp_path)


def test_two_first_starts_agree(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(server_keys(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_list_of_clients_may_have_comments(tmp_path):
    keys = [KeyPair.generate().public for _ in range(3)]
    authorize_client(tmp_path, keys[0], "Ada's laptop")
    authorize_client(tmp_path, keys[1])
    with open(tmp_path / "authorized_clients", "a") as file:
        file.write(f"\nnonsense here\n   \n{keys[2]}\n")
    assert authorized_clients(tmp_path) == set(keys)
    with pytest.raises(BackendError, match="not a CURVE public key"):
        authorize_client(tmp_path, "short")


def test_connection_file_of_a_dead_backend_counts_as_none(tmp_path):
    assert read_connection_file(tmp_path) is None
    alive = Endpoint("tcp://127.0.0.1:5", KeyPair.generate().public, os.getpid(), "0.1.0", "/x")
    write_connection_file(tmp_path, alive)
    assert read_connection_file(tmp_path) == alive
    remove_connection_file(tmp_path, os.getpid() + 1)
    assert read_connection_file(tmp_path) == alive
    remove_connection_file(tmp_path, os.getpid())
    assert read_connection_file(tmp_path) is None
    write_connection_file(tmp_path, Endpoint("tcp://127.0.0.1:5", KeyPair.generate().public, 2**22 + 1))
    assert read_connection_file(tmp_path) is None


@given(st.text(max_size=60) | st.sampled_from(["{}", "[]", '{"address": 5, "server_public": "x"}', '{"server_public": null}']))
def test_damaged_connection_file_is_told(text):
    with pytest.raises(BackendError, match="not a connection file"):
        endpoint_from_json(text, "x")


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:0", "host:99999", "ipc:///tmp/x", "host:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BackendError, match="not an address; write it as host:port"):
        remote_endpoint(address, KeyPair.generate().public)


def test_remote_endpoint():
    public = KeyPair.generate().public
    assert remote_endpoint("farm:5555", f" {public}\n") == Endpoint("tcp://farm:5555", public)
    with pytest.raises(BackendError, match="not a CURVE key"):
        remote_endpoint("farm:5555", "x" * 41)


def test_is_key_agrees_with_zmq():
    assert all(is_key(KeyPair.generate().public) for _ in range(50))
    for text in ("", "a" * 39, "#" * 40, "é" * 40, " " * 40):
        assert not is_key(text)


def test_default_directory_is_the_systems(monkeypatch, tmp_path):
    platformdirs = pytest.importorskip("platformdirs", reason="Blender has none; the backend's Python does")
    monkeypatch.delenv("LOOKALIKE_HOME", raising=False)
    assert str(default_directory()) == platformdirs.user_data_dir("lookalike", appauthor=False)
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path))
    assert default_directory() == tmp_path


def test_process_exists():
    assert process_exists(os.getpid())
    assert not process_exists(2**22 + 1)


@posix
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_made_is_told():
    with pytest.raises(BackendError, match="cannot be used"):
        client_keys("/proc/nothing")


def test_shared_payload_stays_in_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"no")
    (tmp_path / "in" / "job.lod0").write_bytes(b"yes")
    (tmp_path / "in" / "empty").write_bytes(b"")
    view = map_file(tmp_path / "in", "job.lod0")
    assert bytes(view) == b"yes"
    assert view.readonly
    for name in ("../secret", "/etc/passwd", "..", "", "empty", "missing", "a\0b"):
        with pytest.raises(ProtocolError):
            map_file(tmp_path / "in", name)
    with pytest.raises(ProtocolError):
        map_file("", "job.lod0")
    (tmp_path / "in" / PROBE).write_text("proof")
    assert read_proof(str(tmp_path / "in")) == "proof"
    assert read_proof(str(tmp_path / "elsewhere")) == read_proof("") == ""
