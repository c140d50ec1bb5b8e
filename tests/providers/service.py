"""What the tests of every service share: its fake on a port, its models, and replies that were recorded."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import anyio
import pytest
from jsonschema import Draft202012Validator

from mcp_image_server.errors import ProviderError
from mcp_image_server.models import Generated, ImageRequest, Model, find_model
from mcp_image_server.providers import Provider
from mcp_image_server.providers.base import Context

from ..ear import Ear
from ..fakes.server import Server

REPLIES = Path(__file__).parents[1] / "replies"


class Fake(AbstractContextManager["Fake"], Protocol):
    """A service on a port of this machine."""

    def __enter__(self) -> Self: ...

    def reset(self) -> None:
        """As if nobody had called yet."""


def served(fake: Callable[[], Fake]) -> tuple[Any, Any]:
    """The fixtures of a file, to be kept as `server, fake`: one server for all its tests, as if nobody had called yet for each."""

    @pytest.fixture(scope="module")
    def server() -> Iterator[Fake]:
        with fake() as running:
            yield running

    @pytest.fixture
    def fresh(server: Fake) -> Fake:
        server.reset()
        return server

    return server, fresh


def known_in(models: Sequence[Model], name: str) -> Model:
    """The facts about the model of that name, of which there are some."""
    found = find_model(models, name)
    assert found is not None
    return found


def reply(service: str, name: str) -> Any:
    """A true reply of the service, trimmed."""
    return json.loads((REPLIES / service / f"{name}.json").read_text(encoding="utf-8"))


def judge(rules: Mapping[str, Any]) -> Draft202012Validator:
    """Who tells whether bodies keep these rules; the rules themselves are looked at once and not for each body."""
    Draft202012Validator.check_schema(rules)
    return Draft202012Validator(rules)


async def drawn_by(provider: Provider, request: ImageRequest, model: Model, ear: Context | None = None) -> Generated:
    """What the provider draws; it is closed afterwards."""
    try:
        with anyio.fail_after(60):
            return await provider.generate(request, model, ear or Ear())
    finally:
        await provider.aclose()


async def failure_of(work: Awaitable[object], secret: str | None, *, match: str | None = None) -> ProviderError:
    """The failure that the work ends with, which tells nobody the secret and does not say both that it was billed and that it was not taken."""
    with pytest.raises(ProviderError, match=match) as caught:
        await work
    error = caught.value
    assert secret
    assert secret not in f"{error!r}{error.message}{error.details}{error.__cause__!r}"
    assert not (error.may_have_been_billed and error.not_accepted)
    return error


async def left_alone_when_cancelled(provider: Provider, fake: Server, request: ImageRequest, model: Model) -> None:
    """Passes when a task that is never done is looked at, and neither looked at nor ended by us once its job is cancelled."""
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(provider.generate, request, model, Ear())
            while len(fake.seen) < 3:
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
    await provider.aclose()
    assert {seen.method for seen in fake.seen[1:]} == {"GET"}
