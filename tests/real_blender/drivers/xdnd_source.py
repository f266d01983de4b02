"""Drop files onto the X window at a place, as a file manager does: the source's side of XDND 5, by ctypes on libX11.

    python3 xdnd_source.py X Y FILE...

Prints a line for what happened: "finished" (the target took the data), or why not. Exit code 0 where the target finished.
"""

from __future__ import annotations

import ctypes
import select
import sys
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, Union, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p
from pathlib import Path

CLIENT_MESSAGE, SELECTION_REQUEST, SELECTION_NOTIFY = 33, 30, 31
REPLACE, ATOM_TYPE = 0, 4
PATIENCE = 20.0


class ClientMessage(Structure):
    _fields_ = [
        ("type", c_int), ("serial", c_ulong), ("send_event", c_int), ("display", c_void_p), ("window", c_ulong),
        ("message_type", c_ulong), ("format", c_int), ("data", c_long * 5),
    ]  # fmt: skip


class SelectionRequest(Structure):
    _fields_ = [
        ("type", c_int), ("serial", c_ulong), ("send_event", c_int), ("display", c_void_p), ("owner", c_ulong),
        ("requestor", c_ulong), ("selection", c_ulong), ("target", c_ulong), ("property", c_ulong), ("time", c_ulong),
    ]  # fmt: skip


class SelectionNotify(Structure):
    _fields_ = [
        ("type", c_int), ("serial", c_ulong), ("send_event", c_int), ("display", c_void_p), ("requestor", c_ulong),
        ("selection", c_ulong), ("target", c_ulong), ("property", c_ulong), ("time", c_ulong),
    ]  # fmt: skip


class Event(Union):
    _fields_ = [
        ("type", c_int), ("client", ClientMessage), ("request", SelectionRequest), ("notify", SelectionNotify), ("pad", c_long * 24),
    ]  # fmt: skip


def _library() -> ctypes.CDLL:
    x11 = ctypes.CDLL("libX11.so.6")
    handle, number = c_void_p, c_ulong
    signatures: dict[str, tuple] = {
        "XOpenDisplay": (handle, c_char_p),
        "XDefaultRootWindow": (number, handle),
        "XInternAtom": (number, handle, c_char_p, c_int),
        "XCreateSimpleWindow": (number, handle, number, c_int, c_int, c_uint, c_uint, c_uint, number, number),
        "XSetSelectionOwner": (c_int, handle, number, number, number),
        "XSendEvent": (c_int, handle, number, c_int, c_long, POINTER(Event)),
        "XQueryTree": (c_int, handle, number, POINTER(number), POINTER(number), POINTER(POINTER(number)), POINTER(c_uint)),
        "XGetWindowProperty": (
            c_int, handle, number, number, c_long, c_long, c_int, number, POINTER(number), POINTER(c_int), POINTER(number),
            POINTER(number), POINTER(c_void_p),
        ),
        "XChangeProperty": (c_int, handle, number, number, number, c_int, c_int, c_char_p, c_int),
        "XNextEvent": (c_int, handle, POINTER(Event)),
        "XPending": (c_int, handle),
        "XFlush": (c_int, handle),
        "XConnectionNumber": (c_int, handle),
    }  # fmt: skip
    for name, (result, *arguments) in signatures.items():
        function = getattr(x11, name)
        function.restype, function.argtypes = result, arguments
    return x11


class Source:
    """The window that owns what is dragged."""

    def __init__(self, files: list[Path]) -> None:
        self.x11 = _library()
        self.display = self.x11.XOpenDisplay(None)
        assert self.display, "no X display"
        self.root = self.x11.XDefaultRootWindow(self.display)
        self.window = self.x11.XCreateSimpleWindow(self.display, self.root, 0, 0, 1, 1, 0, 0, 0)
        self.uris = "".join(f"{path.resolve().as_uri()}\r\n" for path in files).encode()
        self.x11.XSetSelectionOwner(self.display, self.atom("XdndSelection"), self.window, 0)

    def atom(self, name: str) -> int:
        return self.x11.XInternAtom(self.display, name.encode(), 0)

    def target(self) -> int:
        """The topmost window that takes drops."""
        root, parent, count = c_ulong(), c_ulong(), c_uint()
        children = POINTER(c_ulong)()
        self.x11.XQueryTree(self.display, self.root, byref(root), byref(parent), byref(children), byref(count))
        for index in reversed(range(count.value)):
            if self._is_aware(children[index]):
                return children[index]
        raise LookupError("no window takes drops")

    def _is_aware(self, window: int) -> bool:
        kind, layout, items, left, data = c_ulong(), c_int(), c_ulong(), c_ulong(), c_void_p()
        found = (byref(kind), byref(layout), byref(items), byref(left), byref(data))
        self.x11.XGetWindowProperty(self.display, window, self.atom("XdndAware"), 0, 1, 0, ATOM_TYPE, *found)
        return items.value > 0

    def send(self, target: int, message: str, *data: int) -> None:
        event = Event()
        words = (c_long * 5)(self.window, *data)
        event.client = ClientMessage(CLIENT_MESSAGE, 0, 1, self.display, target, self.atom(message), 32, words)
        self.x11.XSendEvent(self.display, target, 0, 0, byref(event))
        self.x11.XFlush(self.display)

    def wait(self, message: str, again: Callable[[], None] | None = None) -> ClientMessage:
        """Serve the target until it sends `message`; `again` is called every half second until then.

        Raises:
            TimeoutError: it never did.
        """
        wanted, end = self.atom(message), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not self.x11.XPending(self.display):
                select.select([self.x11.XConnectionNumber(self.display)], [], [], 0.5)
                if again is not None and not self.x11.XPending(self.display):
                    again()
                continue
            event = Event()
            self.x11.XNextEvent(self.display, byref(event))
            if event.type == SELECTION_REQUEST:
                self._give(event.request)
            elif event.type == CLIENT_MESSAGE and event.client.message_type == wanted:
                return event.client
        raise TimeoutError(f"no {message} came")

    def _give(self, asked: SelectionRequest) -> None:
        place = asked.property or asked.target
        self.x11.XChangeProperty(self.display, asked.requestor, place, asked.target, 8, REPLACE, self.uris, len(self.uris))
        event = Event()
        given = (asked.requestor, asked.selection, asked.target, place, asked.time)
        event.notify = SelectionNotify(SELECTION_NOTIFY, 0, 1, self.display, *given)
        self.x11.XSendEvent(self.display, asked.requestor, 0, 0, byref(event))
        self.x11.XFlush(self.display)


def drop(x: int, y: int, files: list[Path]) -> str:
    """Enter, move, drop, and wait for the target to have taken the files."""
    source = Source(files)
    target, copy = source.target(), source.atom("XdndActionCopy")
    source.send(target, "XdndEnter", 5 << 24, source.atom("text/uri-list"), 0, 0)
    hover = lambda: source.send(target, "XdndPosition", 0, x << 16 | y, 0, copy)
    hover()
    if not source.wait("XdndStatus", hover).data[1] & 1:
        source.send(target, "XdndLeave", 0, 0, 0, 0)
        return "refused"
    time.sleep(0.4)  # as long as a hand lets go; Blender looks for what takes the drop meanwhile
    source.send(target, "XdndDrop", 0, 0, 0, 0)
    source.wait("XdndFinished")
    return "finished"


if __name__ == "__main__":
    said = drop(int(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
    print(said, flush=True)
    sys.exit(said != "finished")
