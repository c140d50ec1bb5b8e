"""Drawing: single pictures, and sets that come one by one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mcp_image_server.models import Adjustment, Cost, Drawn, Generated, Picture, Size

from ...ear import Ear
from ...fakes.doubao import REQUEST_ID, FakeDoubao, Trouble
from ...fakes.server import picture
from .place import ALONE, CAT, LOST, NUMBER_SAID, PRO, SMALL, TRIPTYCH, V40, draw

pytestmark = pytest.mark.anyio


async def test_a_request_comes_back_as_a_picture_with_its_cost(fake: FakeDoubao) -> None:
    ear = Ear()
    made = await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)), ear=ear)
    assert made == Generated(
        images=(Drawn(data=picture(2560, 1440, "jpeg")),),
        cost=Cost(micros=250_000, currency="CNY", source="computed"),
        request_id=REQUEST_ID,
    )
    assert (ear.said, ear.previews) == ([], [])
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/api/v3/images/generations", f"Bearer {fake.key}")


async def test_the_pictures_of_a_set_are_shown_as_they_come_and_fetched_without_the_key(fake: FakeDoubao) -> None:
    ear = Ear()
    made = await draw(fake, replace(TRIPTYCH, shape=SMALL), V40, ear=ear)
    drawn = picture(1280, 720, "jpeg")
    assert made == Generated(
        images=(Drawn(data=drawn),) * 3,
        cost=Cost(micros=600_000, currency="CNY", source="computed"),
        request_id=REQUEST_ID,
        adjustments=(NUMBER_SAID,),
    )
    assert ear.previews == [drawn] * 3
    assert [(round(fraction, 2), words) for fraction, words in ear.said] == [
        (0.33, "1 of 3 pictures are there."),
        (0.67, "2 of 3 pictures are there."),
        (1.0, "3 of 3 pictures are there."),
    ]
    assert [(seen.method, "authorization" in seen.headers) for seen in fake.seen] == [("POST", True), ("GET", False), ("GET", False), ("GET", False)]
    assert fake.seen[1].query == {"X-Tos-Signature": "abc/def"}


async def test_the_visible_mark_is_the_operators_choice(fake: FakeDoubao) -> None:
    for variables in (ALONE, {"DOUBAO_WATERMARK": "true"}):
        await draw(fake, replace(CAT, shape=SMALL), V40, variables=variables)
    await draw(fake, replace(CAT, shape=SMALL, options={"watermark": True}), V40)
    assert [seen.json()["watermark"] for seen in fake.seen] == [False, True, True]


async def test_input_images_are_edited_at_the_same_address(fake: FakeDoubao) -> None:
    source = Picture(data=picture(16, 16), media_type="image/png", size=Size(width=16, height=16))
    made = await draw(fake, replace(CAT, shape=SMALL, images=(source, source)), PRO)
    assert made.cost == Cost(micros=320_000, currency="CNY", source="computed")
    sent = fake.seen[0].json()["image"]
    assert [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in sent] == [source.data] * 2


async def test_a_service_that_answers_at_once_instead_of_in_events_is_understood(fake: FakeDoubao) -> None:
    fake.trouble.append(Trouble.AT_ONCE)
    assert len((await draw(fake, replace(TRIPTYCH, shape=SMALL), V40)).images) == 3


async def test_links_are_understood_where_base64_was_asked_for(fake: FakeDoubao) -> None:
    fake.trouble.append(Trouble.LINKS)
    assert (await draw(fake, replace(CAT, shape=SMALL), V40)).images == (Drawn(data=picture(1280, 720, "jpeg")),)


@pytest.mark.parametrize("trouble", [Trouble.MORE_FIELDS, Trouble.NO_USAGE, Trouble.ODD_USAGE])
@pytest.mark.parametrize("count", [1, 2])
async def test_what_the_answer_has_too_much_or_too_little_of_does_no_harm(fake: FakeDoubao, trouble: Trouble, count: int) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(CAT, shape=SMALL, count=count), V40)
    assert made.images == (Drawn(data=picture(1280, 720, "jpeg")),) * count
    source = "computed" if trouble is Trouble.MORE_FIELDS else "list_price"
    assert made.cost is not None
    assert (made.cost.micros, made.cost.source) == (200_000 * count, source)


async def test_a_set_with_fewer_pictures_than_asked_for_says_so(fake: FakeDoubao) -> None:
    made = await draw(fake, replace(TRIPTYCH, prompt="2 pictures of a cat", shape=SMALL), V40)
    words = "2 of 3 pictures came: the model decides how many a set has. A prompt that describes each one helps."
    assert (len(made.images), made.adjustments) == (2, (NUMBER_SAID, Adjustment(field="n", message=words)))


IN_EVENTS: list[tuple[Any, ...]] = [(*row, {}) for row in LOST]
AT_ONCE: list[tuple[Any, ...]] = [(*row, {"stream": False}) for row in LOST if not row[0].name.startswith("STREAM")]


@pytest.mark.parametrize(("trouble", "come", "billed", "words", "options"), [*IN_EVENTS, *AT_ONCE], ids=lambda value: getattr(value, "name", None))
async def test_what_is_lost_of_a_set_is_named_and_the_rest_is_kept(
    fake: FakeDoubao, trouble: Trouble, come: int, billed: int, words: str, options: Mapping[str, Any]
) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(TRIPTYCH, shape=SMALL, options=options), V40)
    assert made.images == (Drawn(data=picture(1280, 720, "jpeg")),) * come
    assert made.cost is not None
    assert made.cost.micros == 200_000 * billed
    said, lost = made.adjustments
    assert (said, lost.field) == (NUMBER_SAID, "images")
    assert lost.message.startswith(words)
    assert len([seen for seen in fake.seen if seen.method == "POST"]) == 1


@pytest.mark.parametrize("options", [{}, {"stream": False}])
async def test_a_picture_that_the_service_says_it_failed_to_draw_is_not_said_to_be_billed(fake: FakeDoubao, options: Mapping[str, Any]) -> None:
    fake.trouble.append(Trouble.ONE_BROKEN)
    made = await draw(fake, replace(TRIPTYCH, shape=SMALL, options=options), V40)
    assert "billed" not in made.adjustments[-1].message
