"""`lookalike live`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import click
import numpy as np

from backend.protocol.errors import ImageError

from .output import emit, json_option

MAX_SIDE = 640


@click.command()
@click.argument("source", default="0")
@click.option("--to", default="127.0.0.1:11111", show_default=True, help="HOST:PORT where Blender listens (Motion > Live Link Face).")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop after so long; by default at Ctrl-C or the video's end.")
@click.option("--name", default="webcam", show_default=True, help="Shown in Blender.")
@json_option
def live(source: str, to: str, seconds: float | None, name: str, as_json: bool) -> None:
    """Your face from a webcam (SOURCE: its number) or a video, streamed to Blender as Live Link Face does.

    Look into the camera for the first second: the head is fitted to you then, and that pose is the head's rest.
    """
    from backend.protocol.live_link import Packet, write_packet
    from backend.rig import load_rig
    from backend.tracking.live import LiveTracker, in_order

    host, _, port = to.rpartition(":")
    if not host or not port.isdigit():
        raise click.BadParameter(f"{to} is not HOST:PORT", param_hint="--to")
    tracker = LiveTracker(load_rig("builtin"))
    began, sent, pictures = time.monotonic(), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            for picture in _pictures(source):
                now = time.monotonic() - began
                if seconds is not None and now > seconds:
                    break
                pictures += 1
                frame = tracker.track(picture)
                if frame is not None:
                    sender.sendto(write_packet(Packet(name, now, in_order(frame[0]), frame[1])), (host, int(port)))
                    sent += 1
        except KeyboardInterrupt:
            pass
    rate = pictures / max(time.monotonic() - began, 1e-3)
    facts = {"sent": sent, "pictures": pictures, "rate": round(rate, 1)}
    emit(as_json, facts, f"{sent} frames of a face sent to {to}, {rate:.0f} pictures a second")


def _pictures(source: str) -> Iterator[np.ndarray]:
    """Pictures [H, W, 3] float32 RGB of a camera by its number, or of a video file."""
    import cv2

    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    try:
        if not capture.isOpened():
            what = f"camera {source}" if source.isdigit() else source
            raise ImageError(f"{what}: cannot be opened", "check its number, and that no other program uses it")
        while True:
            good, picture = capture.read()
            if not good:
                return
            scale = min(1.0, MAX_SIDE / max(picture.shape[:2]))
            if scale < 1:
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.ascontiguousarray(picture[..., ::-1], np.float32) / np.float32(255)
    finally:
        capture.release()
