"""Batches for half the price: what a caller asks for, through estimate, line and record, to the service's own batch; and on after the process has gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from mcp_image_server.batches import Batch, Written, expand
from mcp_image_server.models import Adjustment, Caller, ImageRequest, JobState
from mcp_image_server.net import Pace
from mcp_image_server.providers import openai
from mcp_image_server.settings import parse
from mcp_image_server.studio import Studio
from tests.conftest import studio_with
from tests.easel import Easel
from tests.fakes.openai import FakeOpenAI

pytestmark = pytest.mark.anyio

QUICK = Pace(first=0.05, longest=0.05, deadline=60)
WORDS = ("a cat", "a dog", "a fox", "a hen", "a forbidden fruit", "a late train")
ROWS = [Written(place=f"line {number}", value={"prompt": words, "quality": "low"}) for number, words in enumerate(WORDS, 1)]


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def vendor(fake: FakeOpenAI) -> openai.OpenAI:
    """OpenAI with all that is known of the vendor itself, at the fake's address."""
    provider = openai.OpenAI(parse(openai.Config, {"OPENAI_API_KEY": fake.key or "", "OPENAI_BASE_URL": fake.base_url}), pace=QUICK, quiet=0.2)
    provider.catalogue = openai.CATALOGUE
    provider._prices = openai.TOKEN_PRICES
    return provider


def settings(folder: Path) -> dict[str, str]:
    two = {"MCP_MAX_CONCURRENT_JOBS": "2"}
    return {"MCP_DATA_DIR": str(folder / "data"), "MCP_IMAGE_SAVE_DIR": str(folder / "pictures"), "MCP_PROVENANCE_PROMPT": "false", **two}


async def begin(studio: Studio, wait_seconds: float = 30) -> Batch:
    return await studio.batches.begin(Caller(), expand(ROWS, economy=True), wait_seconds=wait_seconds)


async def test_a_whole_batch_goes_to_the_service_as_one_and_costs_half(fake: FakeOpenAI, tmp_path: Path) -> None:
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        dear, cheap = [(await studio.batches.estimate(Caller(), expand(ROWS, economy=economy))).bill.costs["USD"] for economy in (False, True)]
        assert cheap * 2 == dear
        done = await begin(studio)
        alone = await studio.generate(Caller(), ImageRequest(prompt="a cat", quality="low"), wait_seconds=30)
    assert [piece.job.state for piece in done.pieces] == [JobState.SUCCEEDED] * 4 + [JobState.FAILED] * 2
    assert [piece.job.failure and piece.job.failure.code for piece in done.pieces][4:] == ["refused", "provider_error"]
    assert not any(piece.may_have_been_billed for piece in done.pieces)
    assert alone.cost is not None
    costs = {piece.job.cost.micros for piece in done.pieces if piece.job.cost}
    assert costs == {-(-alone.cost.micros // 2)}
    assert len(fake.batches) == 1
    assert fake.batches["batch_0"]["request_counts"]["total"] == len(WORDS)
    assert done.sheet is not None


async def test_another_process_goes_on_with_it_and_sends_nothing_again(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.looks = 10**6
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        begun = await begin(studio, wait_seconds=0)
        while fake.looks - fake.batches.get("batch_0", {"left": fake.looks})["left"] < 2:
            await anyio.sleep(0.02)
        while None in [(await studio.job(Caller(), piece.job.id)).task_id for piece in begun.pieces]:
            await anyio.sleep(0.02)
    fake.batches["batch_0"]["left"] = 0
    fake.seen.clear()
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        done = await begin(studio)
    assert [piece.job.state for piece in done.pieces] == [JobState.SUCCEEDED] * 4 + [JobState.FAILED] * 2
    assert {seen.method for seen in fake.seen} == {"GET"}


async def test_what_waits_for_a_day_holds_nobody_up(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.looks = 10**6
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        begun = await begin(studio, wait_seconds=0)
        alone = await studio.generate(Caller(), ImageRequest(prompt="a cat", quality="low"), wait_seconds=30)
        assert alone.state is JobState.SUCCEEDED
        await studio.batches.cancel(Caller(), begun.id)
        ended = await studio.batches.status(Caller(), begun.id, wait_seconds=10)
    assert {piece.job.state for piece in ended.pieces} == {JobState.CANCELLED}


async def test_a_service_without_it_draws_at_once_and_says_so(tmp_path: Path) -> None:
    async with studio_with({"easel": Easel()}, settings(tmp_path)) as studio:
        found = await studio.batches.estimate(Caller(), expand([Written(place="1", value="a cat")], economy=True))
    assert found.adjustments == {
        Adjustment(field="economy", message="easel-1 is not offered for half the price; it draws at once, at the full one."): 1
    }
