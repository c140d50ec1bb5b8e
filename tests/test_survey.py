"""Questions to services that cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import anyio
import pytest

from mcp_image_server.errors import AuthError, ProviderError, UnavailableError
from mcp_image_server.models import Catalogue
from mcp_image_server.providers import Provider
from mcp_image_server.survey import Comparison, ask, compare
from tests.easel import CATALOGUE, MODEL, Easel

pytestmark = pytest.mark.anyio

TODAY = date(2026, 11, 21)
ENDING = replace(MODEL, id="easel-0", ends=date(2027, 1, 1))
OTHER = replace(MODEL, id="easel-2", aliases=("easel-latest",), ends=date(2027, 6, 1))
TABLE = replace(CATALOGUE, models=(MODEL, ENDING, OTHER))


@dataclass
class Shop(Easel):
    """An easel whose service lists its models."""

    has: Sequence[str] | Exception = ()
    catalogue: Catalogue = TABLE

    async def listed(self) -> Sequence[str]:
        if isinstance(self.has, Exception):
            raise self.has
        return self.has


async def compared(provider: Provider) -> Comparison:
    (found,) = await compare({"easel": provider}, [TABLE], today=TODAY)
    return found


async def test_what_is_gone_new_and_ending_is_told() -> None:
    found = await compared(Shop(has=["easel-1", "easel-0", "easel-9", "easel-9"]))
    assert found == Comparison(provider="easel", gone=("easel-2",), new=("easel-9",), ending=(ENDING,))
    assert not found.ok


async def test_an_alias_stands_for_its_model() -> None:
    found = await compared(Shop(has=["easel-1", "easel-latest", "easel-0"]))
    assert found == Comparison(provider="easel", ending=(ENDING,))


async def test_a_list_of_entirely_other_models_accuses_none() -> None:
    found = await compared(Shop(has=["flux", "sdxl"]))
    words = "The service lists 2 models that draw, and none of those in the table."
    assert found == Comparison(provider="easel", new=("flux", "sdxl"), ending=(ENDING,), words=words)


async def test_a_service_without_a_list_is_told_of() -> None:
    assert await compared(Easel()) == Comparison(provider="easel", ending=(ENDING,), words="The service does not list its models.")


async def test_a_list_that_cannot_be_had_is_a_failure() -> None:
    found = await compared(Shop(has=AuthError("The key is wrong.")))
    assert found == Comparison(provider="easel", ending=(ENDING,), words="The key is wrong.", failed=True)


async def test_all_are_asked_at_once_and_none_is_waited_for_long() -> None:
    together = anyio.Event()
    asked: list[str] = []

    async def question(provider: Provider) -> str:
        asked.append(provider.account)
        if len(asked) == 2:
            together.set()
        await together.wait()  # passes only when the second one is asked while the first one waits
        if provider.account == "slow":
            await anyio.sleep_forever()
        if provider.account == "strange":
            raise LookupError("what now")
        return "fine"

    with anyio.fail_after(60):
        answers = await ask({name: Easel(account=name) for name in ("quick", "slow", "strange")}, question, patience=0.2)
    assert answers["quick"] == "fine"
    slow, strange = answers["slow"], answers["strange"]
    assert isinstance(slow, UnavailableError)
    assert slow.message == "A test's easel did not answer within 0.2 seconds."
    assert isinstance(strange, ProviderError)
    assert "raised LookupError" in strange.message
