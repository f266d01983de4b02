"""The backend's server: sockets, authentication, the job queue, and the worker process that does the heavy work."""

from .client import Client
from .serving import ServerOptions, serve

__all__ = ["Client", "ServerOptions", "serve"]
