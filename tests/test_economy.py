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
from mcp_image_server.providers.openai.models import TOKEN_PRICES
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
    provider._prices = TOKEN_PRICES
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


def stops(fake: FakeOpenAI) -> list[str]:
    return [seen.path for seen in fake.seen if seen.path.endswith("/cancel")]


async def taken(studio: Studio, batch: Batch) -> None:
    """Returns once the service has all of it."""
    while None in [piece.job.task_id for piece in (await studio.batches.status(Caller(), batch.id)).pieces]:
        await anyio.sleep(0.02)


async def test_a_batch_that_is_cancelled_ends_at_the_service_too_and_what_was_drawn_is_fetched(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.looks = 10**6
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        rows = [Written(place="1", value={"prompt": words, "quality": "low"}) for words in ("a quick cat", "a dog", "a quick fox")]
        begun = await studio.batches.begin(Caller(), expand(rows, economy=True), wait_seconds=0)
        await taken(studio, begun)
        await studio.batches.cancel(Caller(), begun.id)
        ended = await studio.batches.status(Caller(), begun.id, wait_seconds=30)
    quick, dog, fox = [piece.job for piece in ended.pieces]
    assert [job.state for job in (quick, dog, fox)] == [JobState.SUCCEEDED, JobState.CANCELLED, JobState.SUCCEEDED]
    assert [each.message for each in quick.adjustments if each.field == "job"] == ["It was drawn before the service could be asked to stop."]
    assert dog.failure is not None
    assert (dog.failure.message, dog.failure.may_have_been_billed, dog.cost) == ("Cancelled.", False, None)
    assert quick.cost is not None
    assert ended.headway.spent == {"USD": 2 * quick.cost.micros}
    assert (stops(fake), fake.batches["batch_0"]["status"]) == (["/v1/batches/batch_0/cancel"], "cancelled")


@pytest.mark.long
async def test_the_service_goes_on_as_long_as_anybody_wants_something_out_of_the_batch(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.looks = 10**6
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        begun = await begin(studio, wait_seconds=0)
        await taken(studio, begun)
        *others, last = [piece.job for piece in begun.pieces]
        for job in others:
            cancelled = await studio.cancel(Caller(), job.id)
            assert (cancelled.state, cancelled.failure and cancelled.failure.may_have_been_billed) == (JobState.CANCELLED, True)
        assert stops(fake) == []
        await studio.cancel(Caller(), last.id)
        ended = await studio.job(Caller(), last.id, wait_seconds=30)
    assert (ended.state, ended.failure and ended.failure.may_have_been_billed) == (JobState.CANCELLED, False)
    assert len(stops(fake)) == 1


@pytest.mark.long
async def test_a_server_that_is_closed_while_the_service_stops_leaves_what_was_drawn_to_the_next(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.looks = fake.last_looks = 10**6
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        job = await studio.generate(Caller(), ImageRequest(prompt="a quick cat", quality="low", economy=True), wait_seconds=0)
        while (await studio.job(Caller(), job.id)).task_id is None:
            await anyio.sleep(0.02)
        await (await studio._workshop.jobs()).cancel(job.id)
        while not stops(fake):
            await anyio.sleep(0.02)
    fake.last_looks = 0
    async with studio_with({"openai": vendor(fake)}, settings(tmp_path)) as studio:
        ended = await studio.job(Caller(), job.id, wait_seconds=30)
    assert (ended.state, len(ended.images)) == (JobState.SUCCEEDED, 1)


async def test_a_service_without_it_draws_at_once_and_says_so(tmp_path: Path) -> None:
    async with studio_with({"easel": Easel()}, settings(tmp_path)) as studio:
        found = await studio.batches.estimate(Caller(), expand([Written(place="1", value="a cat")], economy=True))
    assert found.adjustments == {
        Adjustment(field="economy", message="easel-1 is not offered for half the price; it draws at once, at the full one."): 1
    }
