"""The record in a PostgreSQL that many servers share."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..errors import ConfigError, StorageError
from ..settings import database_words
from .transactions import Writes
from .trouble import explained, in_our_words

TURN = int.from_bytes(b"pictures")
"""The number of the advisory lock that whoever decides holds until the end of its transaction
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). Numbers are one database's own."""

READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""With these execution options, all statements of a transaction see the same moment."""

POOL = 5
"""Connections that a process keeps; twice as many at most."""


async def postgresql(url: str, patience: float) -> AsyncEngine:
    """The engine for the database at this URL, after a first connection.

    Args:
        patience: seconds to wait for a connection, and for another process that is writing.

    Raises:
        ConfigError: the driver is not installed, or the URL is wrong.
        StorageError: the database cannot be used.
    """
    try:
        driver: Any = await to_thread.run_sync(import_module, "asyncpg")
    except ImportError as error:
        raise ConfigError("MCP_DATABASE_URL needs a package that is not installed: pip install 'image-gen-mcp-server[postgres]'") from error
    place = database_words(url)
    milliseconds = str(int(patience * 1000))
    settings = {
        "application_name": "image-gen-mcp-server",
        "lock_timeout": milliseconds,
        # Whoever stops in the middle of a decision, as a machine that is paused does, lets others decide.
        "idle_in_transaction_session_timeout": milliseconds,
    }

    async def connect() -> Any:
        with in_our_words(place):
            try:
                return await driver.connect(url, timeout=patience, server_settings=settings)
            except (driver.ClientConfigurationError, ValueError) as error:
                raise ConfigError("MCP_DATABASE_URL is not understood; write postgresql://user:password@host:5432/database") from error
            except driver.PostgresError as error:
                raise StorageError(f"cannot use the history in {place}: {explained(error)}.", details={"database": place}) from error

    # Its own way of connecting knows all that may stand in such a URL, and TLS. A connection that broke while nobody used it is replaced before it is.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, pool_size=POOL, max_overflow=POOL, pool_timeout=patience
    )

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # Statements after this one see all that was written before, by whoever had the turn.
        match connection.get_execution_options().get("writes"):
            case Writes.STEP:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # what others do at their start may take as long as it takes
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")
            case Writes.DECISION:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")

    return engine


async def check_encoding(engine: AsyncEngine, place: str) -> None:
    """Passes when the database can keep every prompt."""
    async with engine.connect() as connection:
        encoding = await connection.scalar(sa.text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise StorageError(
            f"the database {place} keeps text as {encoding}, which has no room for every language. Make it with ENCODING 'UTF8' TEMPLATE template0",
            details={"database": place},
        )
