"""The record in one file of this machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..errors import StorageError
from .trouble import in_our_words

FILE = "history.sqlite3"


async def sqlite(folder: Path, patience: float) -> AsyncEngine:
    """The engine for the file in this folder; both are made where they are missing.

    Args:
        patience: seconds to wait for another process that is writing.

    Raises:
        StorageError: the folder or the file cannot be used.
    """
    path = folder / FILE
    if sqlite3.sqlite_version_info < (3, 35):
        raise StorageError(f"this Python brings SQLite {sqlite3.sqlite_version}; 3.35 or newer is needed. Use a Python from python.org or uv.")
    await to_thread.run_sync(_make_folder, folder)
    with in_our_words(str(path)):
        await to_thread.run_sync(_try_file, path, patience)
    return _engine(path, patience)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # prompts are nobody else's business
    except OSError as exc:
        raise StorageError(
            f"cannot make the folder {folder} for the history: {exc.strerror or exc}. Name another one in MCP_DATA_DIR",
            details={"folder": str(folder)},
        ) from exc


def _try_file(path: Path, patience: float) -> None:
    """Passes when SQLite can open the file. Found out here, since a driver whose first connection fails leaves a thread behind that outlives the loop."""
    connection = sqlite3.connect(path, timeout=patience)
    try:
        connection.execute("PRAGMA schema_version")
    finally:
        connection.close()


def _engine(path: Path, patience: float) -> AsyncEngine:
    engine = create_async_engine(sa.URL.create("sqlite+aiosqlite", database=str(path)), connect_args={"timeout": patience})

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; Python's driver would do so too late, after the first read
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")  # what was answered is still there after a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for its turn and fails; one that writes says so at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


async def use_wal(engine: AsyncEngine, patience: float) -> None:
    """Readers no longer block writers; the file remembers. SQLite does not always wait for others here, so we do."""
    deadline = monotonic() + patience
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        while True:
            try:
                await driver.execute("PRAGMA journal_mode = WAL")  # past SQLAlchemy: this cannot be done in a transaction
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or monotonic() >= deadline:
                    raise
                await anyio.sleep(0.02)
            else:
                return
