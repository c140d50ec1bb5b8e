"""Drawing: tasks that are submitted, looked at and gone on with."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mcp_image_server.errors import TimedOutError
from mcp_image_server.models import Drawn, Generated
from mcp_image_server.providers.modelscope import to_wire

from ...ear import Ear
from ...fakes.modelscope import FakeModelScope, Trouble
from ...fakes.server import picture
from ..service import left_alone_when_cancelled
from .place import CAT, DRAWING, EDITOR, FULL, HARMLESS, MODEL, PHOTO, calls, draw, provider_at

pytestmark = pytest.mark.anyio


async def test_a_request_becomes_a_task_and_the_task_a_picture(fake: FakeModelScope) -> None:
    fake.looks = 3
    ear = Ear(lambda: len(fake.seen))
    made = await draw(fake, FULL, ear=ear)
    assert made == Generated(images=(Drawn(data=picture(1664, 928), seed=7),), request_id="req_look")
    look = "GET /v1/tasks/7000001"
    assert calls(fake) == ["POST /v1/images/generations", look, look, look, look, "GET /files/1664x928.png"]
    submission, first_look, *_, download = fake.seen
    assert submission.json() == to_wire(FULL, MODEL)
    assert submission.headers["authorization"] == first_look.headers["authorization"] == f"Bearer {fake.token}"
    assert submission.headers["x-modelscope-async-mode"] == "true"
    assert first_look.headers["x-modelscope-task-type"] == "image_generation"
    assert "authorization" not in download.headers
    assert (ear.tasks, ear.calls_before_acceptance) == (["7000001"], [1])
    assert [words for _, words in ear.said] == [
        "ModelScope has the task in line.",
        "ModelScope is drawing.",
        "ModelScope is drawing.",
        "The picture is drawn and on its way.",
    ]
    fractions = [fraction for fraction, _ in ear.said]
    assert fractions == sorted(fractions)


async def test_a_task_that_is_done_at_the_first_look_is_answered_at_once(fake: FakeModelScope) -> None:
    with anyio.fail_after(60):
        made = await draw(fake, replace(CAT, polling={"interval": 3600}))
    assert made.images == (Drawn(data=picture(1024, 1024)),)
    assert len(fake.seen) == 3


async def test_every_picture_of_a_task_is_fetched(fake: FakeModelScope) -> None:
    fake.outputs = 3
    assert (await draw(fake)).images == (Drawn(data=picture(1024, 1024)),) * 3


async def test_a_picture_is_edited_at_the_same_address(fake: FakeModelScope) -> None:
    request = replace(CAT, images=(PHOTO, DRAWING))
    assert len((await draw(fake, request, model=EDITOR)).images) == 1
    assert (fake.seen[0].path, fake.seen[0].json()) == ("/v1/images/generations", to_wire(request, EDITOR))


async def test_a_task_is_gone_on_with_by_another_process_and_not_submitted_again(fake: FakeModelScope) -> None:
    fake.looks = 2
    await draw(fake, FULL)
    fake.seen.clear()
    provider, ear = provider_at(fake), Ear()
    made = await provider.resume("7000001", FULL, MODEL, ear)
    await provider.aclose()
    assert made == Generated(images=(Drawn(data=picture(1664, 928), seed=7),), request_id="req_look")
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert ear.tasks == []


async def test_two_requests_are_two_tasks(fake: FakeModelScope) -> None:
    ear = Ear(lambda: len(fake.seen))
    for _ in range(2):
        await draw(fake, ear=ear)
    assert ear.tasks == ["7000001", "7000002"]


async def test_a_burst_that_looks_like_spent_credits_is_tried_once_more(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NO_QUOTA)
    assert len((await draw(fake)).images) == 1
    assert calls(fake)[:2] == ["POST /v1/images/generations"] * 2


@pytest.mark.parametrize("trouble", HARMLESS, ids=lambda trouble: trouble.name)
async def test_what_the_answers_have_of_new_things_and_hiccups_does_no_harm(fake: FakeModelScope, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    ear = Ear(lambda: len(fake.seen))
    assert (await draw(fake, ear=ear)).images == (Drawn(data=picture(1024, 1024)),)
    assert ear.tasks == ["7000001"]
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_waiting_ends_when_the_caller_says_so(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NEVER)
    with anyio.fail_after(60), pytest.raises(TimedOutError, match=r"was not done after 0\.05 seconds.*may have been billed"):
        await draw(fake, replace(CAT, polling={"interval": 0.01, "attempts": 5}))


async def test_waiting_can_be_cancelled(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, replace(CAT, polling={"interval": 0.01, "attempts": 100_000}), MODEL)
    assert calls(fake)[0] == "POST /v1/images/generations"
    assert set(calls(fake)[1:]) == {"GET /v1/tasks/7000001"}
