"""What goes wrong, and the check that finds it."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.net import Net, Timeouts, Tries
from mcp_image_server.providers.doubao import load

from ...ear import Ear
from ...fakes.doubao import REQUEST_ID, FakeDoubao, Trouble
from ...fakes.server import closed_port
from ..service import failure_of
from .place import CAT, LOST, SMALL, TRIPTYCH, V40, V40_INSTEAD, V45, draw, provider_at

pytestmark = pytest.mark.anyio

T = Trouble
FAILURES: list[tuple[Trouble, int, type[ProviderError], str, bool, bool, int]] = [
    # trouble, pictures asked for, class, code, retryable, may have been billed, calls
    (T.RATE_LIMITED, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.RATE_LIMITED, 2, RateLimitedError, "rate_limited", True, False, 3),
    (T.BURST, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.OVERLOADED, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.OVERDUE, 1, QuotaError, "quota", False, False, 1),
    (T.SERVICE_OVERDUE, 1, QuotaError, "quota", False, False, 1),
    (T.SAFE_LIMIT, 1, QuotaError, "quota", False, False, 1),
    (T.TRIAL_OVER, 1, QuotaError, "quota", False, False, 1),
    (T.DENIED, 1, AuthError, "auth", False, False, 1),
    (T.NOT_OPEN, 1, AuthError, "auth", False, False, 1),
    (T.SERVICE_NOT_OPEN, 1, AuthError, "auth", False, False, 1),
    (T.NO_MODEL, 1, ProviderError, "provider_error", False, False, 1),
    (T.NO_MODEL_IDS, 1, AuthError, "auth", False, False, 1),
    (T.UNSUPPORTED_MODEL, 1, ProviderError, "provider_error", False, False, 1),
    (T.CLOSED, 1, ProviderError, "provider_error", False, False, 1),
    (T.BLOCKED_PROMPT, 1, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_PROMPT, 2, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_INPUT, 1, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_OUTPUT, 1, RefusedError, "refused", False, False, 1),
    (T.RISK, 1, RefusedError, "refused", False, False, 1),
    (T.ERROR_500, 1, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_502_PAGE, 1, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_504, 1, UnavailableError, "unavailable", True, True, 1),
    (T.EMPTY_404, 1, ProviderError, "provider_error", False, False, 1),
    (T.HANG, 1, UnavailableError, "unavailable", True, True, 1),
    (T.HANG, 2, UnavailableError, "unavailable", True, True, 1),
    (T.CUT, 1, UnavailableError, "unavailable", True, True, 1),
    (T.PAGE, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_JSON, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.TOP_ERROR, 1, RefusedError, "refused", False, False, 1),
    (T.ALL_FAILED, 1, RefusedError, "refused", False, False, 1),
    (T.ALL_FAILED, 2, RefusedError, "refused", False, False, 1),
    (T.BAD_BASE64, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_DATA, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_PICTURE, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.KEY_ECHO, 1, ProviderError, "provider_error", False, False, 1),
    (T.LINKS_DEAD, 2, BadReplyError, "bad_reply", False, True, 1),
    (T.STREAM_ERROR, 2, RefusedError, "refused", False, False, 1),
    (T.STREAM_EMPTY, 2, UnavailableError, "unavailable", True, True, 1),
]


@pytest.mark.parametrize(
    ("trouble", "count", "kind", "code", "retryable", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None)
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeDoubao, trouble: Trouble, count: int, kind: type[ProviderError], code: str, retryable: bool, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(
        draw(fake, replace(CAT, shape=SMALL, count=count), V40, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key
    )
    posts = len([seen for seen in fake.seen if seen.method == "POST"])
    assert (type(error), error.code, error.retryable, error.may_have_been_billed, posts) == (kind, code, retryable, billed, calls)
    assert error.provider == "doubao"


def test_every_trouble_is_in_a_table_or_does_no_harm() -> None:
    harmless = {T.LINKS, T.MORE_FIELDS, T.NO_USAGE, T.ODD_USAGE, T.AT_ONCE}
    assert {row[0] for row in FAILURES} | {row[0] for row in LOST} | harmless == set(Trouble)


async def test_a_refusal_names_its_reason_and_its_id(fake: FakeDoubao) -> None:
    fake.trouble.append(T.BLOCKED_INPUT)
    with pytest.raises(RefusedError, match="the input image may contain sensitive information") as caught:
        await draw(fake)
    assert caught.value.details == {
        "provider": "doubao",
        "status": 400,
        "request_id": REQUEST_ID,
        "service_code": "InputImageSensitiveContentDetected.PrivacyInformation",
    }


async def test_a_wrong_key_names_the_variables(fake: FakeDoubao) -> None:
    provider = provider_at(fake, {"DOUBAO_API_KEY": "ark-wrong-9876543210"})
    for call in (provider.generate(CAT, V45, Ear()), provider.check()):
        with pytest.raises(AuthError, match=r"region.*DOUBAO_ENDPOINT.*Check DOUBAO_API_KEY") as caught:
            await call
        assert "ark-wrong-9876543210" not in str(caught.value)
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = load({"DOUBAO_API_KEY": "ark-1", "DOUBAO_ENDPOINT": f"http://127.0.0.1:{closed_port()}"})
    assert provider is not None
    provider._net = Net(provider._net.service, tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.generate(CAT, V45, Ear())
    await provider.aclose()
    assert caught.value.not_accepted


@pytest.mark.parametrize("count", [1, 2])
async def test_work_under_way_can_be_cancelled(fake: FakeDoubao, count: int) -> None:
    fake.trouble.append(T.HANG)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake, replace(CAT, count=count))
    assert scope.cancelled_caught


async def test_a_set_can_be_cancelled_between_two_pictures(fake: FakeDoubao) -> None:
    first = anyio.Event()

    class Leaving(Ear):
        async def preview(self, data: bytes) -> None:
            await super().preview(data)
            first.set()
            await anyio.sleep_forever()

    ear = Leaving()
    async with anyio.create_task_group() as tasks:

        async def work() -> None:
            await draw(fake, replace(TRIPTYCH, shape=SMALL), V40, ear=ear)

        tasks.start_soon(work)
        with anyio.fail_after(60):
            await first.wait()
        tasks.cancel_scope.cancel()
    assert len(ear.previews) == 1
    assert len(fake.seen) == 2


async def test_the_check_asks_for_what_the_service_refuses_to_draw_and_tells_whether_the_model_may_be_used(fake: FakeDoubao) -> None:
    provider = provider_at(fake)
    assert await provider.check() == f"Doubao accepts the key, and the account may use {V45.id}."
    assert [seen.json() for seen in fake.seen] == [{"model": V45.id, "prompt": "nothing", "size": "1x1"}]
    fake.closed.add(V45.id)
    with pytest.raises(AuthError, match="has not activated the model"):
        await provider.check()
    await provider.aclose()


async def test_the_check_looks_at_the_second_model_where_the_first_cannot_be_used(fake: FakeDoubao) -> None:
    provider = provider_at(fake, V40_INSTEAD)
    fake.closed.add(V45.id)
    assert await provider.check() == f"Doubao accepts the key, but not for {V45.id}; {V40.id} draws instead."
    fake.closed.add(V40.id)
    with pytest.raises(AuthError, match=f"has not activated the model {V40.id}"):
        await provider.check()
    await provider.aclose()
