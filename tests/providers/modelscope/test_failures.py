"""What goes wrong, and the check that finds it."""

from __future__ import annotations

import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import Model
from mcp_image_server.net import Net, Timeouts, Tries
from mcp_image_server.providers.modelscope import Config, ModelScope, load
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.modelscope import UNSERVED, FakeModelScope, Trouble
from ...fakes.server import closed_port
from ..service import failure_of
from .place import CAT, HARMLESS, MODEL, TOKEN, calls, draw, provider_at

pytestmark = pytest.mark.anyio

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, bool, int, int]] = [
    # trouble, class, code, retryable, may have been billed, submissions, looks
    (T.UNBOUND, AuthError, "auth", False, False, 1, 0),
    (T.RATE_LIMITED, RateLimitedError, "rate_limited", True, False, 3, 0),
    (T.DAILY_QUOTA, QuotaError, "quota", False, False, 1, 0),
    (T.NO_QUOTA, QuotaError, "quota", False, False, 2, 0),
    (T.BLOCKED, RefusedError, "refused", False, False, 1, 0),
    (T.ERROR_500, UnavailableError, "unavailable", True, False, 1, 0),
    (T.ERROR_502_PAGE, UnavailableError, "unavailable", True, False, 1, 0),
    (T.ERROR_503_SOON, UnavailableError, "unavailable", True, False, 3, 0),
    (T.ERROR_504, UnavailableError, "unavailable", True, True, 1, 0),
    (T.HANG, UnavailableError, "unavailable", True, True, 1, 0),
    (T.CUT, UnavailableError, "unavailable", True, True, 1, 0),
    (T.PAGE, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.PAGE_404, BadReplyError, "bad_reply", False, False, 1, 0),
    (T.REDIRECT, BadReplyError, "bad_reply", False, False, 1, 0),
    (T.NO_JSON, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.ERRORS_200, ProviderError, "provider_error", False, True, 1, 0),
    (T.NO_TASK, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.KEY_ECHO, ProviderError, "provider_error", False, False, 1, 0),
    (T.FAILED, ProviderError, "provider_error", False, True, 1, 1),
    (T.FAILED_MUTE, ProviderError, "provider_error", False, True, 1, 1),
    (T.FAILED_BLOCKED, RefusedError, "refused", False, False, 1, 1),
    (T.FAILED_400, ProviderError, "provider_error", False, True, 1, 1),
    (T.LOST, ProviderError, "provider_error", False, True, 1, 1),
    (T.EMPTY, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.NO_LIST, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LOOK_401, AuthError, "auth", False, True, 1, 1),
    (T.LOOK_PAGE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_GONE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_INSIDE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_NOWHERE, BadReplyError, "bad_reply", False, True, 1, 1),
]


@pytest.mark.parametrize(
    ("trouble", "kind", "code", "retryable", "billed", "submissions", "looks"), FAILURES, ids=lambda value: getattr(value, "name", None)
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeModelScope, trouble: Trouble, kind: type[ProviderError], code: str, retryable: bool, billed: bool, submissions: int, looks: int
) -> None:
    fake.trouble.extend([trouble] * submissions)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.token)
    assert (type(error), error.code, error.retryable, error.may_have_been_billed) == (kind, code, retryable, billed)
    assert [sum(call.startswith(where) for call in calls(fake)) for where in ("POST", "GET /v1/tasks/")] == [submissions, looks]
    assert error.provider == "modelscope"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {*HARMLESS, T.NEVER} == set(Trouble)


@pytest.mark.parametrize(
    ("trouble", "words", "request_id"),
    [
        (T.FAILED, "ModelScope failed: CUDA out of memory. It may have been billed although no picture came back.", "req_look"),
        (T.FAILED_MUTE, "ModelScope failed: no reason given. It may have been billed although no picture came back.", "req_look"),
        (
            T.FAILED_BLOCKED,
            "ModelScope failed: Output data may contain inappropriate content. The same words will be refused again: ask for something else.",
            "req_look",
        ),
        (
            T.DAILY_QUOTA,
            (
                "ModelScope answered 429: You have exceeded today's quota for model Qwen/Qwen-Image, please try again tomorrow. "
                "Credit or allowance of the account is used up: raise it with the service, or use another provider."
            ),
            "req_fault",
        ),
        (
            T.UNBOUND,
            (
                "ModelScope answered 401: Please bind your Alibaba Cloud account before use. "
                "Check MODELSCOPE_SDK_TOKEN, and what its account is allowed to use."
            ),
            "req_fault",
        ),
        (T.EMPTY, "ModelScope finished the task without a picture. It may have been billed although no picture came back.", "req_look"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_failure_tells_the_services_reason_and_what_would_help(fake: FakeModelScope, trouble: Trouble, words: str, request_id: str) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert (caught.value.message, caught.value.request_id) == (words, request_id)


async def test_a_call_id_that_stands_in_the_body_alone_is_kept(fake: FakeModelScope) -> None:
    fake.trouble.extend([T.NO_QUOTA] * 2)
    with pytest.raises(QuotaError) as caught:
        await draw(fake)
    assert caught.value.details["request_id"] == "req_fault"


async def test_a_model_that_is_not_served_says_which_are(fake: FakeModelScope) -> None:
    with pytest.raises(ProviderError, match=r"no provider supported\. Only models whose page .* such as Qwen/Qwen-Image"):
        await draw(fake, model=Model(provider="modelscope", id=UNSERVED))
    assert len(fake.seen) == 1


async def test_a_wrong_token_names_the_variable_it_came_from(fake: FakeModelScope) -> None:
    config = parse(Config, {"MODELSCOPE_API_KEY": "ms-wrong-987654321", "MODELSCOPE_BASE_URL": fake.url})
    provider = ModelScope(config)
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check MODELSCOPE_API_KEY") as caught:
            await call
        assert "ms-wrong-987654321" not in str(caught.value)
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = load({TOKEN: "ms-0123456789", "MODELSCOPE_BASE_URL": f"http://127.0.0.1:{closed_port()}"})
    assert provider is not None
    provider._net = Net(provider._net.service, tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.check()
    await provider.aclose()
    assert caught.value.not_accepted


async def test_the_check_costs_nothing_and_tells_what_is_left(fake: FakeModelScope) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "ModelScope accepts the token; 248 credits are left today."
    await provider.aclose()
    assert calls(fake) == ["GET /openapi/v1/magicubes/balance"]


async def test_a_gateway_without_an_account_passes_the_check(fake: FakeModelScope) -> None:
    provider = provider_at(fake, MODELSCOPE_BASE_URL=f"{fake.url}/elsewhere")
    assert await provider.check() == "ModelScope answers but knows no balance, so whether the token works is not known."
    await provider.aclose()
