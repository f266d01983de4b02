"""The add-on's side of the wire: where the backend is, its connection, and the jobs that it works on."""

from .service import Backend, Settings

backend = Backend()
"""The backend of this Blender session. Nothing is started or opened before it is asked to."""

__all__ = ["Backend", "Settings", "backend"]
