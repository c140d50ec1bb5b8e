"""How many requests principals make, counted for all servers together."""

from __future__ import annotations

from math import floor

import sqlalchemy as sa

from .library import Transaction

_NOW = "extract(epoch FROM statement_timestamp())"
"""The database's clock, the same for all servers."""

_COUNT = sa.text(f"""
    INSERT INTO windows AS known (principal, minute, count, before) VALUES (:principal, floor({_NOW} / 60), 1, 0)
    ON CONFLICT (principal) DO UPDATE SET
        minute = greatest(known.minute, excluded.minute),
        count = CASE WHEN excluded.minute <= known.minute THEN known.count + 1 ELSE 1 END,
        before = CASE WHEN excluded.minute <= known.minute THEN known.before WHEN excluded.minute = known.minute + 1 THEN known.count ELSE 0 END
    WHERE :most > CASE
        WHEN excluded.minute <= known.minute THEN known.count + floor(known.before * (1 + known.minute - {_NOW} / 60))
        WHEN excluded.minute = known.minute + 1 THEN floor(known.count * (1 + excluded.minute - {_NOW} / 60))
        ELSE 0 END
""")  # noqa: S608 - the words are ours
"""Counts unless there were too many; whether it did, tells the number of rows."""

_STANDING = sa.text(f"SELECT minute, count, before, {_NOW} AS now FROM windows WHERE principal = :principal")  # noqa: S608


class Windows:
    """Requests of this minute and of the one before, of which so much still counts as lies within the last sixty seconds. In PostgreSQL only.

    Args:
        note: one statement after another, in one transaction.
    """

    def __init__(self, note: Transaction) -> None:
        self._note = note

    async def count(self, principal: str, most: int) -> tuple[bool, int, int]:
        """Whether one more request of the principal is within that many in a minute, how many more would be, and the seconds until there are more."""
        async with self._note() as connection:
            counted = (await connection.execute(_COUNT, {"principal": principal, "most": most})).rowcount > 0
            row = (await connection.execute(_STANDING, {"principal": principal})).mappings().one()
        minute, made, before, now = row["minute"], row["count"], row["before"], float(row["now"])
        here = _room(most, minute, made, before, now)
        later = (seconds for seconds in range(1, 120) if _room(most, minute, made, before, now + seconds) > here)
        return counted, here if counted else 0, next(later, 0)


def _room(most: int, minute: int, count: int, before: int, now: float) -> int:
    """How many more requests there may be at that moment, when there are none until then."""
    passed = now / 60 - minute
    if passed >= 1:
        passed, count, before = passed - 1, 0, count
    return max(0, most - count - floor(before * max(0.0, 1 - passed)))
