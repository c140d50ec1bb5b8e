"""Opening the database, and bringing it up to date first."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..errors import StorageError
from .record import History
from .schema import HEAD
from .trouble import in_our_words

FILE = "history.sqlite3"


async def open_history(folder: Path, *, busy_timeout: float = 10.0) -> History:
    """The history in this folder, which is made where it is missing; brought up to date where it is older.

    Args:
        busy_timeout: seconds to wait for another process that is writing.

    Raises:
        StorageError: the folder or the file cannot be used, or a newer version of this program made it; the message says what to do.
    """
    path = folder / FILE
    if sqlite3.sqlite_version_info < (3, 35):
        raise StorageError(f"this Python brings SQLite {sqlite3.sqlite_version}; 3.35 or newer is needed. Use a Python from python.org or uv.")
    await to_thread.run_sync(_make_folder, folder)
    with in_our_words(str(path)):
        await to_thread.run_sync(_try_file, path, busy_timeout)
    engine = _engine(path, busy_timeout)
    try:
        with anyio.CancelScope(shield=True), in_our_words(str(path)):
            await _prepare(engine, path, busy_timeout)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await engine.dispose()
        raise
    return History(engine, str(path))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # prompts are nobody else's business
    except OSError as exc:
        raise StorageError(
            f"cannot make the folder {folder} for the history: {exc.strerror or exc}. Name another one in MCP_DATA_DIR",
            details={"folder": str(folder)},
        ) from exc


def _try_file(path: Path, busy_timeout: float) -> None:
    """Passes when SQLite can open the file. Found out here, since a driver whose first connection fails leaves a thread behind that outlives the loop."""
    connection = sqlite3.connect(path, timeout=busy_timeout)
    try:
        connection.execute("PRAGMA schema_version")
    finally:
        connection.close()


def _engine(path: Path, busy_timeout: float) -> AsyncEngine:
    engine = create_async_engine(sa.URL.create("sqlite+aiosqlite", database=str(path)), connect_args={"timeout": busy_timeout})

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


async def _prepare(engine: AsyncEngine, path: Path, busy_timeout: float) -> None:
    async with engine.connect() as connection:
        revision = await connection.run_sync(_revision)
    if revision is None:
        await _use_wal(engine, busy_timeout)
    if revision != HEAD:
        await to_thread.run_sync(import_module, f"{__package__}.migrations")  # alembic takes a moment to import
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.run_sync(_bring_up_to_date, path)


async def _use_wal(engine: AsyncEngine, busy_timeout: float) -> None:
    """Readers no longer block writers; the file remembers. SQLite does not always wait for others here, so we do."""
    deadline = monotonic() + busy_timeout
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


def _revision(connection: Connection) -> str | None:
    """The last migration that was made here; None in a new database. Spares the import of alembic at every start but the first."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _bring_up_to_date(connection: Connection, path: Path) -> None:
    """In a transaction that no other process can begin meanwhile: of several that open a new database, one makes it and the others find it made."""
    revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise StorageError(
            f"the history in {path} was made by a newer version of this program (step {revision}; this one knows {HEAD}). "
            "Upgrade image-gen-mcp-server, or name another folder in MCP_DATA_DIR",
            details={"database": str(path)},
        )
    from .migrations import migrate

    migrate(connection)
