"""Drawing: jobs, and the place in line for them."""

from __future__ import annotations

import json
from dataclasses import replace
from unittest.mock import ANY

import anyio
import pytest

from mcp_image_server.models import Drawn, Generated, ImageRequest, Picture, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.providers.hunyuan.models import CATALOGUE, WAYS, Way

from ...ear import Ear
from ...fakes.hunyuan import FakeHunyuan, Trouble, drawn
from .place import AT_ONCE, CAT, CHAT, IMAGE, LITE, PHOTO, WISH, actions, draw, provider_at

pytestmark = pytest.mark.anyio


async def test_a_task_is_submitted_looked_at_and_fetched(fake: FakeHunyuan) -> None:
    fake.looks = 3
    ear = Ear(lambda: len(fake.seen))
    made = await draw(fake, IMAGE, replace(WISH, count=2, style="riman"), ear=ear)
    assert made == Generated(images=(Drawn(data=drawn("768:1024"), revised_prompt="雨中, 竹林"),) * 2, request_id=made.request_id)
    assert made.request_id
    submit, look, file = "SubmitHunyuanImageJob", "QueryHunyuanImageJob", "/files/768:1024/"
    assert actions(fake) == [submit, look, look, look, look, f"{file}0.png", f"{file}1.png"]
    assert (ear.tasks, ear.calls_before_acceptance) == (list(fake.tasks), [1])
    assert [json.loads(seen.body) for seen in fake.seen[1:3]] == [{"JobId": ear.tasks[0]}] * 2
    assert [words for _, words in ear.said] == ["The service has the job in line.", *["The service is drawing."] * 2]
    fractions = [fraction for fraction, _ in ear.said]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] < 1


async def test_calls_are_signed_and_downloads_carry_no_key(fake: FakeHunyuan) -> None:
    await draw(fake)
    submit, _, file = fake.seen
    assert submit.headers["authorization"].startswith(f"TC3-HMAC-SHA256 Credential={fake.secret_id}/")
    assert {name: value for name, value in submit.headers.items() if name.startswith("x-tc-") and name != "x-tc-timestamp"} == {
        "x-tc-action": "SubmitHunyuanImageJob",
        "x-tc-version": "2023-09-01",
        "x-tc-region": "ap-guangzhou",
        "x-tc-language": "en-US",
    }
    assert [name for name in file.headers if name == "authorization" or name.startswith("x-tc-")] == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.model.id)
async def test_every_way_leads_to_a_picture(fake: FakeHunyuan, way: Way) -> None:
    shape = Size(width=768, height=1024)
    fitted = negotiate(replace(WISH, images=(PHOTO,) * min(way.model.max_images, 2), shape=shape), way.model, styles=CATALOGUE.styles).request
    made = await draw(fake, way, fitted)
    assert [image.data for image in made.images] == [drawn("768:1024" if way.model.sizes else "1024:1024")]
    assert made.request_id
    seeds = {"hunyuan-image-3.0": 7, "hunyuan-image-chat": 1549130027, "hy-image-v3": 7, "hy-image-v3.5-preview": 7, "hy-image-lite": 7}
    assert made.images[0].seed == seeds.get(way.model.id)
    assert len(actions(fake)) == (3 if way.query else 1 if way is LITE else 2)


async def test_the_next_round_of_a_conversation_goes_on_where_the_last_one_ended(fake: FakeHunyuan) -> None:
    first = await draw(fake, CHAT)
    (word,) = first.adjustments
    options = json.loads(word.message.partition("options ")[2].partition(" within")[0])
    await draw(fake, CHAT, ImageRequest(prompt="now in green", options=options))
    assert json.loads(fake.seen[3].body) == {"Prompt": "now in green", "LogoAdd": 0, **options}


async def test_a_link_that_was_asked_for_through_options_is_followed(fake: FakeHunyuan) -> None:
    made = await draw(fake, LITE, replace(CAT, options={"RspImgType": "url"}))
    assert made.images == (Drawn(data=drawn("768:768")),)


async def test_work_that_was_accepted_is_resumed_without_submitting_again(fake: FakeHunyuan) -> None:
    fake.looks = 10**6
    ear, provider = Ear(), provider_at(fake)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, WISH, IMAGE.model, ear)
        while len(fake.seen) < 3:
            await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    looked = len(fake.seen)
    await provider.check()
    # Nobody looks any more, but for the look that was on its way, and the service was not told to stop: it cannot be.
    assert set(actions(fake)[1:looked]) == {"QueryHunyuanImageJob"}
    assert len(fake.seen) - looked in (1, 2)
    fake.looks = 0
    fake.seen.clear()
    made = await provider.resume(ear.tasks[0], WISH, IMAGE.model, Ear())
    await provider.aclose()
    assert made.images == (Drawn(data=drawn("768:1024"), seed=7, revised_prompt="雨中, 竹林"),)
    assert actions(fake) == ["QueryHunyuanImageJob", "/files/768:1024/0.png"]


async def test_work_is_resumed_where_its_input_picture_is_not_at_hand_any_more(fake: FakeHunyuan) -> None:
    ear, provider = Ear(), provider_at(fake)
    request = replace(CAT, images=(PHOTO,))
    made = await provider.generate(request, IMAGE.model, ear)
    gone = Picture(data=b"", media_type="image/webp", size=PHOTO.size)
    assert await provider.resume(ear.tasks[0], replace(request, images=(gone,)), IMAGE.model, Ear()) == replace(made, request_id=ANY)
    await provider.aclose()


async def test_a_job_waits_for_a_place_while_the_account_has_none_free(fake: FakeHunyuan) -> None:
    fake.trouble.extend([Trouble.TAKEN, Trouble.TAKEN, Trouble.TOO_FAST])
    ear = Ear()
    assert len((await draw(fake, queueing=AT_ONCE, ear=ear)).images) == 1
    assert actions(fake)[:4] == ["SubmitHunyuanImageJob"] * 4
    assert ear.said[:3] == [(0, "The account's places are taken; waiting for one.")] * 3


async def test_two_jobs_of_an_account_with_one_place_come_one_after_the_other(fake: FakeHunyuan) -> None:
    fake.looks = 5
    made = []

    async def one() -> None:
        made.append(await draw(fake, queueing=AT_ONCE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert [len(generated.images) for generated in made] == [1, 1]
    assert len(fake.tasks) == 2
