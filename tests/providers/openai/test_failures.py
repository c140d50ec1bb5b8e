"""What goes wrong, and the check that finds it."""

from __future__ import annotations

import anyio
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.net import Net, Reply, Timeouts, Tries
from mcp_image_server.providers.openai import Config, load, service
from mcp_image_server.providers.openai.batches import reply_in
from mcp_image_server.providers.openai.models import DEFAULT_MODEL
from mcp_image_server.providers.openai.wire import ImagesReply
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.openai import FakeOpenAI, Trouble
from ...fakes.server import closed_port
from ..service import failure_of
from .place import CAT, MODEL, draw, provider_at

pytestmark = pytest.mark.anyio

T = Trouble
FAILURES: list[tuple[Trouble, int, type[ProviderError], str, bool, bool, int]] = [
    # trouble, previews, class, code, retryable, may have been billed, calls
    (T.RATE_LIMITED, 0, RateLimitedError, "rate_limited", True, False, 3),
    (T.RATE_LIMITED_LONG, 0, RateLimitedError, "rate_limited", True, False, 1),
    (T.RATE_LIMITED_MUTE, 0, RateLimitedError, "rate_limited", True, False, 3),
    (T.NO_QUOTA, 0, QuotaError, "quota", False, False, 1),
    (T.NO_BUDGET, 0, QuotaError, "quota", False, False, 1),
    (T.BLOCKED, 0, RefusedError, "refused", False, False, 1),
    (T.UNVERIFIED, 0, AuthError, "auth", False, False, 1),
    (T.COUNTRY, 0, AuthError, "auth", False, False, 1),
    (T.ERROR_500, 0, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_502_PAGE, 0, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_503, 0, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_503_SOON, 0, UnavailableError, "unavailable", True, False, 3),
    (T.ERROR_504, 0, UnavailableError, "unavailable", True, True, 1),
    (T.HANG, 0, UnavailableError, "unavailable", True, True, 1),
    (T.HANG, 1, UnavailableError, "unavailable", True, True, 1),
    (T.CUT, 0, UnavailableError, "unavailable", True, True, 1),
    (T.CUT, 1, UnavailableError, "unavailable", True, True, 1),
    (T.PAGE, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.PAGE_404, 0, BadReplyError, "bad_reply", False, False, 1),
    (T.REDIRECT, 0, BadReplyError, "bad_reply", False, False, 1),
    (T.NO_JSON, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.BAD_BASE64, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.CUT_BASE64, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_DATA, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_PICTURE, 0, BadReplyError, "bad_reply", False, True, 1),
    (T.KEY_ECHO, 0, ProviderError, "provider_error", False, False, 1),
    (T.STREAM_ERROR, 1, UnavailableError, "unavailable", True, True, 1),
    (T.STREAM_BLOCKED, 1, RefusedError, "refused", False, False, 1),
    (T.STREAM_CUT, 1, UnavailableError, "unavailable", True, True, 1),
    (T.STREAM_SHORT, 1, UnavailableError, "unavailable", True, True, 1),
    (T.RATE_LIMITED, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.BLOCKED, 1, RefusedError, "refused", False, False, 1),
]


@pytest.mark.parametrize(
    ("trouble", "previews", "kind", "code", "retryable", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None)
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeOpenAI, trouble: Trouble, previews: int, kind: type[ProviderError], code: str, retryable: bool, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, previews=previews, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.code, error.retryable, error.may_have_been_billed, len(fake.seen)) == (kind, code, retryable, billed, calls)
    assert error.provider == "openai"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    harmless = {T.LINKS, T.MORE_FIELDS, T.NO_USAGE, T.ODD_USAGE, T.STREAM_BAD_PREVIEW, T.UNKNOWN_QUALITY, T.FORBIDDEN_QUALITY}
    assert {row[0] for row in FAILURES} | harmless == set(Trouble)


async def test_a_refusal_names_its_reasons(fake: FakeOpenAI) -> None:
    for previews, trouble in ((0, T.BLOCKED), (1, T.STREAM_BLOCKED)):
        fake.trouble.append(trouble)
        with pytest.raises(RefusedError, match="rejected by the safety system") as caught:
            await draw(fake, previews=previews)
        assert caught.value.details["safety_violations"] == ["violence", "self-harm"]
        assert caught.value.request_id == "req_fake"


async def test_a_wrong_key_names_the_variable(fake: FakeOpenAI) -> None:
    provider = provider_at(fake, OPENAI_API_KEY="sk-wrong-9876543210")
    assert MODEL is not None
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check OPENAI_API_KEY") as caught:
            await call
        assert "sk-wrong-9876543210" not in str(caught.value)
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = load({"OPENAI_BASE_URL": f"http://127.0.0.1:{closed_port()}/v1"})
    assert provider is not None
    assert MODEL is not None
    provider._net = Net(provider._net.service, tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.generate(CAT, MODEL, Ear())
    await provider.aclose()
    assert caught.value.not_accepted


async def test_work_under_way_can_be_cancelled(fake: FakeOpenAI) -> None:
    for previews in (0, 1):
        fake.trouble.append(T.HANG)
        with anyio.move_on_after(0.2) as scope:
            await draw(fake, previews=previews)
        assert scope.cancelled_caught


async def test_the_check_costs_nothing_and_tells_whether_the_model_is_there(fake: FakeOpenAI) -> None:
    for model, words in ((DEFAULT_MODEL, "is listed"), ("flux-9", "is not listed")):
        provider = provider_at(fake, OPENAI_MODEL=model)
        assert await provider.check() == f"The OpenAI-compatible service accepts the key, and the model {model} {words}."
        await provider.aclose()
    assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/v1/models")}


async def test_a_compatible_server_without_a_list_of_models_passes_the_check(fake: FakeOpenAI) -> None:
    provider = provider_at(fake, OPENAI_BASE_URL=f"{fake.url}/elsewhere")
    assert await provider.check() == f"The OpenAI-compatible service answers but lists no models, so whether it has {DEFAULT_MODEL} is not known."
    await provider.aclose()


def test_a_reply_never_shows_its_body() -> None:
    assert "iVBOR" not in repr(Reply(service=service(parse(Config, {})), body=b"iVBOR"))


def test_an_answer_out_of_a_batch_in_an_unknown_form_is_told_as_one() -> None:
    line = b'{"response": {"status_code": 200, "request_id": "req_1", "body": []}}'
    with pytest.raises(BadReplyError, match="a reply of an unknown form") as caught:
        reply_in(line, service(parse(Config, {}))).parse(ImagesReply)
    assert (caught.value.request_id, caught.value.may_have_been_billed) == ("req_1", True)
