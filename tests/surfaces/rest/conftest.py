"""One server for all tests of the server's own interface, in the hands of people who must not see each other's things."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from tests.easel import Easel, at_once
from tests.web import Person, Web, tokens_in, web


@pytest.fixture(scope="package")
async def opened(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Web, Easel]]:
    """The server, and what draws for it."""
    folder, easel = tmp_path_factory.mktemp("rest"), Easel()
    tokens = tokens_in(folder, ann={}, bob={}, eve={"roles": ["viewer"]})
    async with web(folder, {"MCP_TOKENS_FILE": tokens, "MCP_PRICES": '{"easel": 1}', "MCP_MAX_BODY_BYTES": "200000"}, easel) as site:
        yield site, easel


@pytest.fixture
def easel(opened: tuple[Web, Easel]) -> Easel:
    """What draws, as it comes."""
    easel = opened[1]
    easel.work, easel.started = at_once, anyio.Event()
    return easel


@pytest.fixture
def ann(opened: tuple[Web, Easel], easel: Easel) -> Person:
    """Who draws."""
    return Person(opened[0], "ann")


@pytest.fixture
def bob(opened: tuple[Web, Easel]) -> Person:
    """Who has nothing to do with her."""
    return Person(opened[0], "bob")


@pytest.fixture
def eve(opened: tuple[Web, Easel]) -> Person:
    """Who only looks."""
    return Person(opened[0], "eve")
