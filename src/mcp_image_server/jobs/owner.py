"""A name for this server process that tells other processes on the machine whether it still lives."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from functools import cache
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


@cache
def _here() -> str:
    """Where process numbers count: a machine since it was started, since many are called the same and all begin to count at one; and a container in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return f"{socket.gethostname()}::0"
    return f"{socket.gethostname()}:{boot}:{namespace}"
