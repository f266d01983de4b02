"""Talk to a running backend (`lookalike serve`): what it is, what it has done, and a picture of a job's avatar.

python examples/talk_to_backend.py                      # its models, rigs and jobs
python examples/talk_to_backend.py --job ID -o view.png --yaw 25
"""

import argparse
import math
from pathlib import Path

from PIL import Image

from backend.protocol import LookalikeError
from backend.protocol.messages import Render
from backend.server import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", help="render the avatar of this finished job")
    parser.add_argument("-o", "--output", type=Path, default=Path("view.png"))
    parser.add_argument("--yaw", type=float, default=0.0, help="degrees")
    arguments = parser.parse_args()
    with Client.connect() as client:
        print(client.welcome)
        for job in client.jobs():
            print(f"  {job}")
        if arguments.job:
            view = client.render(Render(yaw=math.radians(arguments.yaw), size=512, lod=1), job=arguments.job)
            Image.fromarray(view.message.tensors()["image"]).save(arguments.output)
            print(arguments.output)


if __name__ == "__main__":
    try:
        main()
    except LookalikeError as error:
        raise SystemExit(f"{error}") from None
