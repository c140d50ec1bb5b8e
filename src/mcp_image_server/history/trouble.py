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

_STATES = {
    "28P01": "it does not know this user with this password. Correct MCP_DATABASE_URL",
    "28000": "it does not let this user in from here. Correct MCP_DATABASE_URL, or the database's pg_hba.conf",
    "3D000": "there is no such database. Make it with `createdb`, or correct MCP_DATABASE_URL",
    "42501": "this user may not do that there. Make the user the owner of the database, or grant it CREATE on the schema",
    "25006": "it is a copy that can only be read. Name the one that can be written in MCP_DATABASE_URL",
    "53300": "it has no connection left. Raise max_connections there: each server needs up to ten",
    "53100": "its disk is full. Make room there",
    "55P03": "another server has held it for too long. Try again",
    "57P01": "it was stopped just now. Try again",
    "57P03": "it is starting or stopping just now. Try again",
}
"""PostgreSQL's codes (https://www.postgresql.org/docs/current/errcodes-appendix.html) and what a person can do about each."""

_NO_RIGHT = "42501"
"""Which SQLAlchemy counts among broken statements."""


@contextmanager
def in_our_words(place: str) -> Iterator[None]:
    """Database errors become StorageError. Broken statements and constraints stay what they are: bugs."""
    try:
        yield
    except (IntegrityError, ProgrammingError) as exc:
        if _state(exc) != _NO_RIGHT:
            raise
        raise _trouble(place, exc) from exc
    except (DBAPIError, sqlite3.Error, OSError) as exc:
        raise _trouble(place, exc) from exc
    except PoolTimeoutError as exc:
        raise StorageError(f"cannot use the history in {place}: too much else is waiting for it. Try again.", details={"database": place}) from exc


def explained(error: BaseException) -> str:
    """What the database complains about and, where that is known, what to do."""
    if words := _STATES.get(_state(error)):
        return words
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError):
        return f"it cannot be reached ({error.strerror or error})"
    complaint = str(error.orig if isinstance(error, DBAPIError) else error)
    return next((words for mark, words in _WORDS if mark in complaint.lower()), complaint)


def _trouble(place: str, error: BaseException) -> StorageError:
    return StorageError(f"cannot use the history in {place}: {explained(error)}.", details={"database": place})


def _state(error: BaseException) -> str:
    """PostgreSQL's code of what happened."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""
