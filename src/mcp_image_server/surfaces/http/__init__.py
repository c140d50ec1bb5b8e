"""The web surface: pictures, a gallery page and the server's health, behind one gate."""

from .gate import Gate, across_origins
from .metadata import metadata_routes, resources_of
from .routes import routes

__all__ = ["Gate", "across_origins", "metadata_routes", "resources_of", "routes"]
