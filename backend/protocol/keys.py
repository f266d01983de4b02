"""CURVE keys and the connection file: who may talk to the backend, and where it is.

Everything lives in one private folder (0700, files 0600), `default_directory()` unless the user says otherwise::

    server.key           the backend's own pair
    client.key           the pair of this user's clients
    authorized_clients   one public key a line, then anything as a comment; a remote user's line is added by hand
    connection.json      written by a running backend: address, public key, pid, versions, exchange folder

Keys are Z85 text of 40 characters (ZeroMQ RFC 32); the secret half never travels, never stands on a command
line and never reaches a log.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import zmq

from .errors import BackendError

AUTHORIZED_FILE = "authorized_clients"
CONNECTION_FILE = "connection.json"
MAX_FILE_BYTES = 1 << 20
Z85_KEY_LENGTH = 40

_Z85_DIGITS = {c: i for i, c in enumerate("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")}


@dataclass(frozen=True)
class KeyPair:
    """A CURVE pair, Z85."""

    public: str
    secret: str

    @staticmethod
    def generate() -> KeyPair:
        public, secret = zmq.curve_keypair()
        return KeyPair(public.decode(), secret.decode())

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


@dataclass(frozen=True)
class Endpoint:
    """Where a backend listens, and what a client must know to trust it.

    Attributes:
        address: as zmq writes it, `tcp://127.0.0.1:45678`.
        server_public: Z85.
        pid: of the backend, 0 where unknown (remote).
        version: of the backend's software, "" where unknown.
        exchange: folder for payloads that need not travel, "" for a backend on another machine.
    """

    address: str
    server_public: str
    pid: int = 0
    version: str = ""
    exchange: str = ""


def default_directory() -> Path:
    """Where this user's keys and connection file live: `LOOKALIKE_HOME`, or the system's place for an application's own data."""
    if home := os.environ.get("LOOKALIKE_HOME"):
        return Path(home)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "lookalike"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lookalike"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lookalike"


def private_directory(path: Path) -> Path:
    """Make the folder if need be, readable by this user alone. Raises BackendError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and path.stat().st_uid == os.getuid():
            path.chmod(0o700)
    except OSError as error:
        raise BackendError(f"{path}: cannot be used ({error.strerror})", "set LOOKALIKE_HOME to a folder that can be written") from error
    return path


def server_keys(directory: Path) -> KeyPair:
    """The backend's pair, made at the first call."""
    return _load_or_make(private_directory(directory) / "server.key")


def client_keys(directory: Path) -> KeyPair:
    """This user's client pair, made and authorised at the first call."""
    keys = _load_or_make(private_directory(directory) / "client.key")
    if keys.public not in authorized_clients(directory):
        authorize_client(directory, keys.public, "this user")
    return keys


def authorized_clients(directory: Path) -> frozenset[str]:
    """Public keys that may talk to the backend; empty where there is no list. Raises BackendError on a list that cannot be trusted."""
    path = directory / AUTHORIZED_FILE
    if not path.exists():
        return frozenset()
    lines = _read_private(path).splitlines()
    keys = (line.split(maxsplit=1)[0] for line in lines if line.strip() and not line.startswith("//"))
    return frozenset(key for key in keys if is_key(key))


def authorize_client(directory: Path, public: str, comment: str = "") -> None:
    """Add one client to the list; a running backend sees it at the client's next attempt. Raises BackendError."""
    if not is_key(public):
        raise BackendError("not a CURVE public key", "give the 40 characters that the client shows")
    path = private_directory(directory) / AUTHORIZED_FILE
    known = _read_private(path) if path.exists() else ""
    _write_private(path, f"{known}{public} {comment}".rstrip() + "\n")


def is_key(text: str) -> bool:
    """Whether `text` is a Z85 key: five characters of base 85 for each 32 bits."""
    if len(text) != Z85_KEY_LENGTH or any(c not in _Z85_DIGITS for c in text):
        return False
    groups = (text[i : i + 5] for i in range(0, Z85_KEY_LENGTH, 5))
    return all(sum(_Z85_DIGITS[c] * 85 ** (4 - i) for i, c in enumerate(group)) < 1 << 32 for group in groups)


def write_connection_file(directory: Path, endpoint: Endpoint) -> Path:
    """Tell this user's clients where the backend is."""
    path = private_directory(directory) / CONNECTION_FILE
    _write_private(path, json.dumps(asdict(endpoint)))
    return path


def read_connection_file(directory: Path) -> Endpoint | None:
    """Where the backend is; None where none is running, or it died without removing its file.

    Raises:
        BackendError: the file is there but says nothing that can be used.
    """
    path = directory / CONNECTION_FILE
    if not path.exists():
        return None
    endpoint = endpoint_from_json(_read_private(path), str(path))
    return endpoint if not endpoint.pid or process_exists(endpoint.pid) else None


def remove_connection_file(directory: Path, pid: int) -> None:
    """Take back what `write_connection_file` wrote, unless another backend has replaced it."""
    path = directory / CONNECTION_FILE
    if path.exists() and endpoint_from_json(_read_private(path), str(path)).pid == pid:
        path.unlink(missing_ok=True)


def endpoint_from_json(text: str, where: str) -> Endpoint:
    """Parse what `write_connection_file` or a launched backend wrote. Raises BackendError."""
    try:
        values = json.loads(text)
        endpoint = Endpoint(**{f.name: values[f.name] for f in fields(Endpoint) if f.name in values})
        if not is_key(endpoint.server_public) or not isinstance(endpoint.address, str) or not isinstance(endpoint.pid, int):
            raise ValueError("a field has the wrong type")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BackendError(f"{where}: not a connection file ({error})", "delete it and start the backend again") from error
    return endpoint


def remote_endpoint(address: str, server_public: str) -> Endpoint:
    """An endpoint from what a user types: `host:port` or `tcp://host:port`, and the backend's public key. Raises BackendError."""
    address = address if "://" in address else f"tcp://{address}"
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BackendError(f"{address}: not an address", "write it as host:port")
    if not is_key(server_public.strip()):
        raise BackendError("the backend's public key is not a CURVE key", "copy the 40 characters that `lookalike serve` prints")
    return Endpoint(address, server_public.strip())


def process_exists(pid: int) -> bool:
    """Whether a process of this id runs on this machine."""
    if sys.platform == "win32":
        return _windows_process_exists(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _windows_process_exists(pid: int) -> bool:
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel32.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
    if not handle:
        return False
    still_running = kernel32.WaitForSingleObject(handle, 0) == 0x102  # WAIT_TIMEOUT
    kernel32.CloseHandle(handle)
    return still_running


def _load_or_make(path: Path) -> KeyPair:
    if not path.exists():
        _write_private(path, json.dumps(asdict(KeyPair.generate())), replace_existing=False)
    try:
        values = json.loads(_read_private(path))
        keys = KeyPair(values["public"], values["secret"])
        if not is_key(keys.public) or zmq.curve_public(keys.secret.encode()).decode() != keys.public:
            raise ValueError("the halves do not belong together")
    except (ValueError, TypeError, KeyError, AttributeError, zmq.ZMQError) as error:
        raise BackendError(f"{path}: not a key file", "delete it; a new key is made at the next start") from error
    return keys


def _read_private(path: Path) -> str:
    """A small file of this folder, refused where others could have read or written it."""
    try:
        status = path.stat()
        if status.st_size > MAX_FILE_BYTES:
            raise BackendError(f"{path}: too large", "delete it")
        if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
            raise BackendError(f"{path}: other users have access to it", f"run: chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: cannot be read ({error})", "delete it, or make it readable") from error


def _write_private(path: Path, text: str, replace_existing: bool = True) -> None:
    """Atomic, 0600 from the first byte. Without `replace_existing` the first of two writers wins."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            if replace_existing or os.name != "posix":
                os.replace(temporary, path)
            else:
                _link_new(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise BackendError(f"{path}: cannot be written ({error.strerror})", "set LOOKALIKE_HOME to a folder that can be written") from error


def _link_new(temporary: str, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return  # another process made the file between our look and now: its content counts
    except OSError:  # a file system without hard links
        os.replace(temporary, path)
