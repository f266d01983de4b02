"""Who may talk to the backend: ZeroMQ's authentication requests (ZAP, RFC 27), answered from the list of authorised keys."""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq

from backend.protocol.errors import BackendError

ZAP_ADDRESS = "inproc://zeromq.zap.01"
DOMAIN = b"lookalike"

logger = logging.getLogger(__name__)


class Doorkeeper:
    """Answers ZAP requests from the server's own loop: no thread, no polling of files.

    The list is read anew at each handshake, so that a key added by hand counts at the client's next attempt.
    A client whose key is not on it is refused; there is no setting that admits any.

    Args:
        context: of the sockets to be guarded.
        authorized: gives the public keys (Z85) that may connect.
    """

    def __init__(self, context: zmq.Context, authorized: Callable[[], frozenset[str]]) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ZAP_ADDRESS)
        self._authorized = authorized

    def answer(self) -> None:
        """Answer every request that waits."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            request_id = frames[1] if len(frames) > 1 else b""
            key = self._admitted(frames)
            status = (b"200", b"OK") if key else (b"400", b"key is not authorised")
            self.socket.send_multipart([b"1.0", request_id, *status, key.encode(), b""])

    def close(self) -> None:
        self.socket.close(0)

    def _admitted(self, frames: list[bytes]) -> str:
        """The client's public key if it may connect, else ""."""
        if len(frames) != 7 or frames[0] != b"1.0" or frames[5] != b"CURVE" or len(frames[6]) != 32:
            logger.warning("refused a client that does not use CURVE")
            return ""
        key = z85(frames[6])
        try:
            admitted = key in self._authorized()
        except BackendError as error:
            logger.error("refused a client: %s", error)
            return ""
        if not admitted:
            logger.warning("refused a client from %s: key %s is not in authorized_clients", frames[3].decode(errors="replace"), key)
        return key if admitted else ""


def z85(raw: bytes) -> str:
    """32 raw bytes of a key -> Z85 text (ZeroMQ RFC 32)."""
    from zmq.utils import z85 as codec

    return codec.encode(raw).decode("ascii")
