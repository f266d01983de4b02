"""The thread that listens for packets. No bpy."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import NamedTuple

from ..motion.take import MotionError
from ..protocol import ProtocolError
from ..protocol.live_link import MAX_PACKET, Packet, read_packet

KEPT = 600
"""Packets that wait at most: ten seconds at 60 a second; older ones are dropped, as nobody looks at them any more."""


class Arrival(NamedTuple):
    """A packet and when it came, seconds of the monotonic clock."""

    packet: Packet
    at: float


class Receiver:
    """Listens on a UDP port until it is closed.

    Raises:
        MotionError: the port is taken, or must not be opened.
    """

    def __init__(self, host: str, port: int) -> None:
        self._arrived: deque[Arrival] = deque(maxlen=KEPT)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise MotionError(
                f"port {port} cannot be listened on ({error.strerror})", "stop the other program, or choose another port"
            ) from error
        self._socket.settimeout(0.2)
        self.port: int = self._socket.getsockname()[1]
        self.refused = ""
        """Why the last packet that was none of a face was refused."""
        self._open = True
        self._thread = threading.Thread(target=self._listen, name="lookalike-live", daemon=True)
        self._thread.start()

    def take(self) -> list[Arrival]:
        """What has come since the last call."""
        found = []
        while self._arrived:
            found.append(self._arrived.popleft())
        return found

    def close(self) -> None:
        """End the thread and free the port."""
        self._open = False
        self._thread.join(2.0)
        self._socket.close()

    def _listen(self) -> None:
        while self._open:
            try:
                data = self._socket.recv(MAX_PACKET + 1)
            except TimeoutError:
                continue
            try:
                packet = read_packet(data)
            except ProtocolError as error:
                self.refused = str(error)
                continue
            if packet is not None:
                self._arrived.append(Arrival(packet, time.monotonic()))
