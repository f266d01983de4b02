"""Final frames: splats as geometry that EEVEE and Cycles render, their look, their light, and shots that a farm can draw."""


def native_splats() -> bool:
    """Whether this Blender renders splats by itself (5.3), and nothing of this package draws them."""
    from ..avatar import native

    return native.available()
