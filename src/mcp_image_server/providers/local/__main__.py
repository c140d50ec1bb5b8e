"""The worker process as the server starts it: `python -m mcp_image_server.providers.local IDLE_SECONDS`."""

from __future__ import annotations

import sys

from .child import Engine, serve


def _engine() -> Engine:
    from . import diffusion

    return diffusion.Engine()


if __name__ == "__main__":
    serve(_engine, idle=float(sys.argv[1]))
