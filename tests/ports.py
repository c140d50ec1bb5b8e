"""Ports for servers that have to be told theirs before they can take it."""

from __future__ import annotations

import random
import socket

TOLD = range(10_240, 32_768)
"""Below those that systems hand out: whatever is started meanwhile on a port of the system's choice takes none of these."""


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = random.choice(TOLD)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
