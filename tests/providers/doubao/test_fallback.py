"""Another model in the place of the first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_image_server.errors import AuthError, ProviderError, RefusedError
from mcp_image_server.models import Cost, Drawn, Size

from ...fakes.doubao import FakeDoubao, Trouble
from ...fakes.server import picture
from .place import CAT, PNG, PRO, TRIPTYCH, V40, V40_INSTEAD, V45, draw

pytestmark = pytest.mark.anyio

PRO_INSTEAD = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-5.0-pro"}

OUT_OF_REACH = [
    Trouble.NOT_OPEN,
    Trouble.SERVICE_NOT_OPEN,
    Trouble.NO_MODEL,
    Trouble.NO_MODEL_IDS,
    Trouble.UNSUPPORTED_MODEL,
    Trouble.CLOSED,
]


@pytest.mark.parametrize("trouble", OUT_OF_REACH)
async def test_the_second_model_draws_where_the_account_has_no_first_one_and_the_answer_says_so(fake: FakeDoubao, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)), variables=V40_INSTEAD)
    assert [seen.json()["model"] for seen in fake.seen] == [V45.id, V40.id]
    (words,) = made.adjustments
    assert words.field == "model"
    assert words.message.startswith(f"{V40.id} drew instead. Doubao answered 4")
    assert made.images == (Drawn(data=picture(2560, 1440, "jpeg")),)
    assert made.cost == Cost(micros=200_000, currency="CNY", source="computed")


async def test_the_request_is_fitted_to_the_second_model(fake: FakeDoubao) -> None:
    fake.closed.add(V45.id)
    made = await draw(fake, replace(TRIPTYCH, shape=Size(width=4096, height=4096)), variables=PRO_INSTEAD)
    assert [adjustment.field for adjustment in made.adjustments] == ["model", "resolution", "n"]
    body = fake.seen[-1].json()
    assert (body["model"], body["size"], "sequential_image_generation" in body) == (PRO.id, "2144x2144", False)


async def test_a_second_model_that_cannot_take_the_request_leaves_the_first_ones_error(fake: FakeDoubao) -> None:
    fake.closed.add(V45.id)
    with pytest.raises(AuthError, match=f"has not activated the model {V45.id}"):
        await draw(fake, replace(CAT, images=(PNG,) * 12), variables=PRO_INSTEAD)
    assert len(fake.seen) == 1


async def test_a_second_model_that_is_out_of_reach_too_leaves_the_first_ones_error(fake: FakeDoubao) -> None:
    fake.closed |= {V45.id, V40.id}
    with pytest.raises(AuthError, match=f"has not activated the model {V45.id}"):
        await draw(fake, variables=V40_INSTEAD)
    assert len(fake.seen) == 2


async def test_a_second_models_own_failure_is_told(fake: FakeDoubao) -> None:
    fake.trouble.extend([Trouble.NOT_OPEN, Trouble.BLOCKED_PROMPT])
    with pytest.raises(RefusedError):
        await draw(fake, variables=V40_INSTEAD)


@pytest.mark.parametrize("trouble", [Trouble.RISK, Trouble.DENIED, Trouble.OVERDUE, Trouble.EMPTY_404, Trouble.ERROR_500, Trouble.TOP_ERROR])
async def test_no_other_failure_calls_the_second_model(fake: FakeDoubao, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError):
        await draw(fake, variables=V40_INSTEAD)
    assert len(fake.seen) == 1


async def test_a_model_that_was_asked_for_by_name_is_not_replaced(fake: FakeDoubao) -> None:
    fake.closed.add(PRO.id)
    with pytest.raises(AuthError, match=f"has not activated the model {PRO.id}"):
        await draw(fake, CAT, PRO, variables=V40_INSTEAD)
    assert len(fake.seen) == 1
