"""Drawing: calls, previews, and what a compatible server does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_image_server.errors import ProviderError
from mcp_image_server.models import Adjustment, Drawn, Generated
from mcp_image_server.providers.openai import Config
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.openai import FakeOpenAI, Trouble
from ...fakes.server import picture
from .place import CAT, FULL, MODEL, draw, provider_at

pytestmark = pytest.mark.anyio


async def test_a_request_comes_back_as_pictures_with_their_cost(fake: FakeOpenAI) -> None:
    made = await draw(fake, FULL)
    assert made == Generated(images=(Drawn(data=picture(1536, 864, "webp")),) * 2, cost=None, request_id="req_fake")
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/images/generations", f"Bearer {fake.key}")


async def test_previews_reach_the_job_while_the_picture_is_drawn(fake: FakeOpenAI) -> None:
    ear = Ear()
    made = await draw(fake, previews=2, ear=ear)
    assert made.images == (Drawn(data=picture(1024, 1024)),)
    assert ear.previews == [picture(64, 64, "jpeg")] * 2
    fractions = [fraction for fraction, _ in ear.said]
    assert fractions == sorted(fractions)
    assert [seen.json()["partial_images"] for seen in fake.seen] == [2]


async def test_several_pictures_come_without_previews(fake: FakeOpenAI) -> None:
    ear = Ear()
    made = await draw(fake, replace(CAT, count=3), previews=2, ear=ear)
    assert (len(made.images), ear.previews) == (3, [])


def test_previews_cost_money_so_none_are_asked_for_unless_the_operator_says_so() -> None:
    assert parse(Config, {"OPENAI_API_KEY": "sk-1234"}).partial_images == 0


async def test_a_server_that_answers_at_once_instead_of_in_events_is_understood(fake: FakeOpenAI) -> None:
    fake.streams = False
    assert (await draw(fake, previews=1)).images == (Drawn(data=picture(1024, 1024)),)


async def test_links_are_fetched_from_the_same_server_without_the_key(fake: FakeOpenAI) -> None:
    fake.trouble.append(Trouble.LINKS)
    made = await draw(fake, replace(CAT, count=2))
    assert made.images == (Drawn(data=picture(64, 64), revised_prompt="a finer prompt"),) * 2
    assert ["authorization" in seen.headers for seen in fake.seen] == [True, False, False]


@pytest.mark.parametrize("trouble", [Trouble.MORE_FIELDS, Trouble.NO_USAGE, Trouble.ODD_USAGE])
@pytest.mark.parametrize("previews", [0, 1])
async def test_what_the_answer_has_too_much_or_too_little_of_does_no_harm(fake: FakeOpenAI, trouble: Trouble, previews: int) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake, previews=previews)).images == (Drawn(data=picture(1024, 1024)),)


async def test_a_broken_preview_does_not_lose_the_picture(fake: FakeOpenAI) -> None:
    fake.trouble.append(Trouble.STREAM_BAD_PREVIEW)
    ear = Ear()
    assert len((await draw(fake, previews=2, ear=ear)).images) == 1
    assert ear.previews == []


@pytest.mark.parametrize("trouble", [Trouble.UNKNOWN_QUALITY, Trouble.FORBIDDEN_QUALITY])
async def test_a_parameter_the_server_does_not_know_is_left_out_and_said_so(fake: FakeOpenAI, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    provider = provider_at(fake)
    assert MODEL is not None
    wish = replace(CAT, quality="low")
    told = (Adjustment(field="quality", message="The OpenAI-compatible service does not know this parameter, so it was left out"),)
    assert (await provider.generate(wish, MODEL, Ear())).adjustments == told
    assert (await provider.generate(wish, MODEL, Ear())).adjustments == told
    assert (await provider.generate(CAT, MODEL, Ear())).adjustments == ()
    assert ["quality" in seen.json() for seen in fake.seen] == [True, False, False, False]
    with pytest.raises(ProviderError, match="Unknown parameter: 'sparkle'"):
        await provider.generate(replace(CAT, options={"sparkle": 1}), MODEL, Ear())
    await provider.aclose()
