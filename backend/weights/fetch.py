"""Downloads weights whose licence allows it, only when asked: resumed where it broke off, checked by hash, then added."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from backend.protocol.errors import WeightsError

from .catalogue import Known, known
from .store import Present, Progress, add, file_hash, models_directory

ATTEMPTS = 5
PAUSE = 1.0
"""Seconds before the second attempt; doubled for each further one."""
TIMEOUT = 30.0
MAX_BYTES = 8 << 30
_BLOCK = 1 << 18


def fetch(name: str, *, url: str | None = None, progress: Progress = lambda fraction, text: None, pause: float = PAUSE) -> Present:
    """Download and add. What was downloaded is kept until it is added, and the next call goes on from there.

    Args:
        name: of the catalogue. url: another address of the same file, a mirror's; the hash is checked all the same.
    Raises:
        WeightsError: the licence does not allow it (says where to get the file), the server fails, the file is another one, no room.
    """
    entry = known(name)
    if not entry.url:
        terms = f"; {entry.terms}" if entry.terms else ""
        raise WeightsError(
            f"{entry.file} is not fetched: {entry.licence}{terms}", f"get it from {entry.source}, then: lookalike models add {entry.file}"
        )
    address = _address(url or entry.url)
    partial = models_directory() / f"{entry.file}.part"
    note = partial.with_suffix(".part.json")
    whole = partial.with_name(entry.file)
    try:
        if not whole.is_file() or not entry.matches(file_hash(whole)):
            partial.parent.mkdir(parents=True, exist_ok=True)
            _download(entry, address, partial, note, progress, pause)
            digest = file_hash(partial)
            if not entry.matches(digest):
                partial.unlink()
                raise WeightsError(
                    f"{address}: what came has sha256 {digest}, {entry.file} has {entry.sha256}", "try again later, or another address"
                )
            partial.replace(whole)
            note.unlink(missing_ok=True)
        # Kept where this fails, for lack of room say: the next call goes on from here.
        there = add(whole, expected=name, progress=lambda fraction, text: progress(0.9 + 0.1 * fraction, text))
        whole.unlink()
        return there
    except OSError as error:
        raise _no_room(partial, error) from error


def _address(url: str) -> str:
    """The URL, if it is one that can be fetched from."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        good = False
    if not good or " " in url:
        raise WeightsError(f"{url!r} is not an address to fetch from", "give it with https:// in front")
    return url


def _download(entry: Known, url: str, partial: Path, note: Path, progress: Progress, pause: float) -> None:
    """Bring the whole file to `partial`, in as many attempts as it takes while there is progress."""
    failures = 0
    while True:
        before = _length(partial)
        try:
            _transfer(entry, url, partial, note, progress)
            return
        except (OSError, http.client.HTTPException) as error:  # of the network: SSL, no route, reset; the disk's are told by then
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise WeightsError(f"{url}: the server says {error.code} {error.reason}", f"get it from {entry.source}") from error
            failures = 0 if _length(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                remedy = "check the connection and ask again: it goes on where it stopped"
                raise WeightsError(f"{url}: {_length(partial)} bytes came, then it broke off ({error})", remedy) from error
            time.sleep(pause * 2**failures)


def _transfer(entry: Known, url: str, partial: Path, note: Path, progress: Progress) -> None:
    """One connection. Raises the library's errors when it breaks off."""
    have, version = _length(partial), _version(note, url)
    if not version:
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "lookalike"})  # noqa: S310 - the catalogue's address, or the user's own
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # it is all there; the hash decides
        raise
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = answer.length or 0  # None where the server says none, or none that can be read
        total = have + length
        if total > MAX_BYTES or (entry.size and length and total != entry.size):
            raise WeightsError(f"{url}: offers {total} bytes, {entry.file} has {entry.size or 'fewer'}", "try another address")
        # Only a strong validator lets a transfer be resumed safely.
        tag = answer.headers.get("ETag") or ""
        version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""
        with _disk(partial):
            note.write_text(json.dumps({"url": url, "version": version}))
            file = partial.open("ab" if have else "wb", buffering=0)
        with file:
            _copy(answer, file, partial, have, entry.size or total, progress)
        if length and _length(partial) < total:
            raise ConnectionError(f"{_length(partial)} of {total} bytes")


def _copy(answer: http.client.HTTPResponse, file: FileIO, partial: Path, have: int, total: int, progress: Progress) -> None:
    while block := answer.read(_BLOCK):
        have += len(block)
        if have > MAX_BYTES:
            raise WeightsError("the server sends more than weights can be", "try another address")
        with _disk(partial):
            rest = memoryview(block)
            while rest:
                rest = rest[file.write(rest) :]
        progress(0.9 * min(1.0, have / total) if total else 0.0, f"{have >> 20} of {total >> 20} MB")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _version(note: Path, url: str) -> str:
    """Which version of the file at `url` the partial one is of; "" where that is not known."""
    try:
        content = json.loads(note.read_text())
        return str(content["version"]) if content["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextlib.contextmanager
def _disk(partial: Path) -> Iterator[None]:
    """Faults of the disk, told as such and not taken for the network's."""
    try:
        yield
    except OSError as error:
        raise _no_room(partial, error) from error


def _no_room(partial: Path, error: OSError) -> WeightsError:
    remedy = f"make room in {partial.parent}" if error.errno == errno.ENOSPC else f"check {partial.parent}"
    return WeightsError(f"{partial}: cannot be written ({error.strerror or error})", remedy)
