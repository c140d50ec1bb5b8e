"""A history of its own for each test: once in a file, once in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mcp_image_server.history import History, open_history
from tests.scale.servers import emptied


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """What `open_history` is given."""
    if request.param == "sqlite":
        return tmp_path
    return anyio.run(emptied, request.getfixturevalue("postgres_server"), "history")


@pytest.fixture
async def history(place: Path | str) -> AsyncIterator[History]:
    history = await open_history(place)
    yield history
    await history.close()


@pytest.fixture
async def other(place: Path | str, history: History) -> AsyncIterator[History]:
    """Another server's look at the same record."""
    other = await open_history(place)
    yield other
    await other.close()


@pytest.fixture
async def file_history(tmp_path: Path) -> AsyncIterator[History]:
    """A history in a file, for what is SQLite's own."""
    history = await open_history(tmp_path)
    yield history
    await history.close()
