"""Photos of one person to an avatar file, over the wire: start a backend, ask it, watch the levels of detail arrive.

    python examples/photo_to_avatar.py ada.jpg -o ada.lookalike --consent "Ada, for this film"

The backend is started for this one job and ends with it. To use one that runs already, see `talk_to_backend.py`.
"""

import argparse
import time
from pathlib import Path

from backend.protocol import LookalikeError
from backend.protocol.avatar_file import write_atomically
from backend.protocol.launch import Launch, backend_command
from backend.protocol.messages import LodReady, Progress
from backend.server import Client

ROOT = Path(__file__).resolve().parent.parent


def start_backend() -> tuple[Launch, Client]:
    """A backend of our own: it trusts our key alone and ends with us."""
    launch = Launch(backend_command(ROOT), ROOT)
    while (endpoint := launch.poll()) is None:
        time.sleep(0.02)
    return launch, Client.connect(endpoint=endpoint, keys=launch.keys, timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", nargs="+", help="photos of one person")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--consent", default="", help="who allowed this likeness, and for what; stored in the file")
    arguments = parser.parse_args()
    launch, client = start_backend()
    asked = time.monotonic()

    def tell(message) -> None:
        if isinstance(message.body, Progress):
            print(f"\r  {message.body.fraction:4.0%} {message.body.stage:<24}", end="", flush=True)
        elif isinstance(message.body, LodReady):
            print(f"\r  LOD {message.body.level} after {time.monotonic() - asked:.1f} s{'':20}")

    try:
        name = arguments.name or arguments.output.stem
        finished = client.reconstruct(arguments.photo, name=name, consent=arguments.consent, on_event=tell)
        write_atomically(arguments.output, bytes(finished.payload))
        print(f"\r  {arguments.output} after {time.monotonic() - asked:.1f} s{'':20}")
    finally:
        client.close()
        launch.stop()


if __name__ == "__main__":
    try:
        main()
    except LookalikeError as error:
        raise SystemExit(f"{error}") from None
