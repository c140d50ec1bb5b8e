"""Opening the database, and bringing it up to date first."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from ..errors import StorageError
from ..settings import database_words
from .postgresql import READING, check_encoding, postgresql
from .record import History
from .schema import HEAD
from .sqlite import FILE, sqlite, use_wal
from .transactions import Transactions, Writes
from .trouble import in_our_words


async def open_history(place: Path | str, *, busy_timeout: float = 10.0) -> History:
    """The history in this folder, which is made where it is missing, or in the PostgreSQL database of this URL; brought up to date where it is older.

    Args:
        busy_timeout: seconds to wait for another process that is writing.

    Raises:
        ConfigError: the URL is wrong, or there is no driver for it.
        StorageError: the place cannot be used, or a newer version of this program made what is there; the message says what to do.
    """
    if isinstance(place, Path):
        words = str(place / FILE)
        engine = await sqlite(place, busy_timeout)
        transactions = Transactions(engine, words)
    else:
        words = database_words(place)
        engine = await postgresql(place, busy_timeout)
        transactions = Transactions(engine, words, snapshot=READING, crowd=True)
    try:
        with anyio.CancelScope(shield=True), in_our_words(words):
            await _prepare(engine, words, busy_timeout)
    except BaseException:
        await transactions.close()
        raise
    return History(transactions)


async def _prepare(engine: AsyncEngine, place: str, patience: float) -> None:
    async with engine.connect() as connection:
        revision = await connection.run_sync(_revision)
    if revision is None:
        await (use_wal(engine, patience) if engine.dialect.name == "sqlite" else check_encoding(engine, place))
    if revision != HEAD:
        await to_thread.run_sync(import_module, f"{__package__}.migrations")  # alembic takes a moment to import
        async with engine.execution_options(writes=Writes.STEP).begin() as connection:
            await connection.run_sync(_bring_up_to_date, place)


def _revision(connection: Connection) -> str | None:
    """The last migration that was made here; None in a new database. Spares the import of alembic at every start but the first."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _bring_up_to_date(connection: Connection, place: str) -> None:
    """In a transaction that no other process can begin meanwhile: of several that open a new database, one makes it and the others find it made."""
    revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise StorageError(
            f"the history in {place} was made by a newer version of this program (step {revision}; this one knows {HEAD}). "
            "Upgrade image-gen-mcp-server, or name another place in MCP_DATA_DIR or MCP_DATABASE_URL",
            details={"database": place},
        )
    from .migrations import migrate

    migrate(connection)
