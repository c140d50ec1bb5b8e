"""The web surface: pictures, a gallery page and the server's health, behind one gate."""

from .gate import Gate
from .routes import routes

__all__ = ["Gate", "routes"]
