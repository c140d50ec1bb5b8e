"""The server's own secret, from which the keys for its signatures are derived. All processes that share it trust each other's links and states."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from .errors import StorageError
from .settings import Settings, data_folder

FILE = "secret"
"""In the data folder, where MCP_SECRET is not set."""

_CHARS = 64


def server_secret(settings: Settings) -> bytes:
    """MCP_SECRET, else what is kept in the data folder. Whoever comes first makes that; nobody but the user may read it.

    Raises:
        StorageError: it can be neither read nor made.
    """
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    path = data_folder(settings) / FILE
    try:
        return _read(path) or _make(path)
    except OSError as error:
        raise StorageError(
            f"{path} can be neither read nor made: {error.strerror or error}. Make the folder writable, or set MCP_SECRET.",
            code="storage_unavailable",
        ) from error


def derived(secret: bytes, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose; it tells nothing of the secret or of the keys for other purposes."""
    return hmac.new(secret, b"mcp-image-server\n" + purpose.encode(), hashlib.sha256).digest()


def _read(path: Path) -> bytes:
    try:
        found = path.read_bytes().strip()
    except FileNotFoundError:
        return b""
    return found if len(found) >= _CHARS else b""


def _make(path: Path) -> bytes:
    """Written beside and then given its name, so that nobody ever reads half of it; what somebody else has made meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")  # for the user alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(_CHARS // 2).encode())
            file.flush()
            os.fsync(file.fileno())
        if _read(path):
            return _read(path)
        with suppress(OSError):  # it is there by now, or this file system has no links
            os.link(name, path)
        return _read(path) or _replaced(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _replaced(name: str, path: Path) -> bytes:
    """In the place of a file that is no secret."""
    os.replace(name, path)
    return _read(path)
