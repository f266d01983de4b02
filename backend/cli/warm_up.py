"""``python -m backend.cli.warm_up``: make now what would make the first job slow: the head, the kernels, the networks' file."""

from __future__ import annotations

from backend.rig import builtin_head
from backend.splats import warm_up as compile_kernels
from backend.tracking import default_tracker


def main() -> None:
    builtin_head()
    compile_kernels()
    default_tracker()


if __name__ == "__main__":
    main()
