"""Three kinds of transactions, the same over every database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .trouble import in_our_words


class Writes(Enum):
    """What a transaction is for, as its execution option `writes` tells the engine; without that option it only reads."""

    NOTE = "a change of one job, in a statement that is complete in itself"
    DECISION = "something is looked at, and then written because of it"
    STEP = "a step of the migrations"


class Transactions:
    """Each either happens or does not; shielded, so that whoever asked knows which.

    Args:
        engine: begins a transaction as its option `writes` says.
        place: the database in words for people.
        snapshot: options with which a transaction that reads sees one moment, whatever is written meanwhile.
        crowd: many may note something at once. Otherwise whoever writes waits for its turn.

    Raises:
        StorageError: from any method, when the database cannot be used.
    """

    def __init__(self, engine: AsyncEngine, place: str, *, snapshot: Mapping[str, Any] | None = None, crowd: bool = False) -> None:
        self.engine = engine
        self.place = place
        self._reader = engine.execution_options(**(snapshot or {}))
        self._noter = engine.execution_options(writes=Writes.NOTE)
        self._decider = engine.execution_options(writes=Writes.DECISION)
        self._crowd = crowd
        # Only one at a time can decide, in all processes together: waiting here is fair, immediate and needs no connection.
        self.turn = anyio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One snapshot. Shielded as well: breaking a statement off would cost the connection and save a millisecond."""
        with anyio.CancelScope(shield=True), in_our_words(self.place):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def decide(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end. Nobody else, in whichever process, decides at the same time, so what is read in it stays true."""
        async with self.turn:
            with anyio.CancelScope(shield=True), in_our_words(self.place):
                async with self._decider.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def note(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end, whose first statement changes one thing, as a job, if it is as that says, and which writes only its own.

        It waits for nobody but others who change the same, and cannot come between what a decision reads and what it writes: no decision looks at what is noted.
        """
        if not self._crowd:
            async with self.decide() as connection:
                yield connection
            return
        with anyio.CancelScope(shield=True), in_our_words(self.place):
            async with self._noter.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Lets go of the database. Closing twice does nothing."""
        with anyio.CancelScope(shield=True):
            await self.engine.dispose()
