"""A name for this server process that tells other processes on the machine whether it still lives."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path


def new_owner() -> str:
    """A name that no other process has: machine, process namespace, process, and some chance."""
    return f"{_here()}:{os.getpid()}:{secrets.token_hex(4)}"


def is_surely_gone(owner: str) -> bool:
    """Whether that process has certainly ended. False also means: cannot be told from here; then only silence tells."""
    here, _, rest = owner.rpartition(":")[0].rpartition(":")
    if here != _here() or not rest.isdigit() or sys.platform == "win32":  # asking there whether a process lives would end it
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _here() -> str:
    """The machine and, in containers that share its name, whose process numbers count."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}:{namespace}"
