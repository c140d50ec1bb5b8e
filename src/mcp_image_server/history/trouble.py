"""What a database complains about, in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..errors import StorageError

_FOLDER = "Make the folder usable, or name another one in MCP_DATA_DIR"

_WORDS = (
    ("database is locked", "another program has held it for too long. Close what else has it open, and try again"),
    ("not a database", "the file is damaged or is something else. Move it away to begin a new history, or restore a copy"),
    ("malformed", "the file is damaged. Move it away to begin a new history, or restore a copy"),
    ("readonly", f"it may not be written. {_FOLDER}"),
    ("unable to open", f"it cannot be opened. {_FOLDER}"),
    ("no such module: fts5", "the SQLite of this Python has no full-text search. Use a Python from python.org or uv"),
    ("disk is full", "the disk is full. Make room, or name a folder elsewhere in MCP_DATA_DIR"),
    ("disk i/o error", f"the disk failed. {_FOLDER}"),
)
"""SQLite's words (https://sqlite.org/rescode.html) and what a person can do about each."""


@contextmanager
def in_our_words(place: str) -> Iterator[None]:
    """Database errors become StorageError. Broken statements and constraints stay what they are: bugs."""
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except (DBAPIError, sqlite3.Error) as exc:
        complaint = str(exc.orig if isinstance(exc, DBAPIError) else exc)
        raise StorageError(f"cannot use the history in {place}: {_explained(complaint)}.", details={"database": place}) from exc
    except PoolTimeoutError as exc:
        raise StorageError(f"cannot use the history in {place}: too much else is waiting for it. Try again.", details={"database": place}) from exc


def _explained(complaint: str) -> str:
    return next((words for mark, words in _WORDS if mark in complaint.lower()), complaint)
