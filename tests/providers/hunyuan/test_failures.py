"""What goes wrong, and the check that finds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TimedOutError,
    UnavailableError,
)
from mcp_image_server.models import Adjustment
from mcp_image_server.net import Tries
from mcp_image_server.providers.hunyuan import Config, Hunyuan, load
from mcp_image_server.providers.hunyuan.models import Way
from mcp_image_server.settings import parse

from ...ear import Ear
from ...fakes.hunyuan import FakeHunyuan, Trouble, drawn
from ...fakes.server import closed_port
from .place import CAT, CHAT, HUB, HUB_35, HUB_LITE, HUB_ONLY, IMAGE, LITE, SIGNED, V3, actions, draw, provider_at

pytestmark = pytest.mark.anyio

T = Trouble
FAILURES: list[tuple[Trouble, Way, type[ProviderError], str, bool, bool, bool, int]] = [
    # trouble, way, class, code, retryable, may have been billed, surely not accepted, calls
    (T.TAKEN, IMAGE, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.TOO_FAST, V3, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.ENGINE_BUSY, LITE, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.BLOCKED, IMAGE, RefusedError, "refused", False, False, False, 1),
    (T.ARREARS, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.EXHAUSTED, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.SOLD_OUT, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.NOT_ACTIVATED, IMAGE, AuthError, "auth", False, False, True, 1),
    (T.NOT_ALLOWED, IMAGE, AuthError, "auth", False, False, True, 1),
    (T.NO_SUCH_ACTION, V3, ProviderError, "provider_error", False, False, True, 1),
    (T.WRONG_VALUE, IMAGE, ProviderError, "provider_error", False, False, True, 1),
    (T.INTERNAL, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.TIMED_OUT, LITE, UnavailableError, "unavailable", True, True, False, 1),
    (T.KEY_ECHO, IMAGE, ProviderError, "provider_error", False, False, True, 1),
    (T.ERROR_500, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.ERROR_500, HUB, UnavailableError, "unavailable", True, False, False, 1),
    (T.ERROR_503_SIGNED, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.HANG, IMAGE, UnavailableError, "unavailable", True, True, False, 1),
    (T.HANG, HUB_35, UnavailableError, "unavailable", True, True, False, 1),
    (T.CUT, IMAGE, UnavailableError, "unavailable", True, True, False, 1),
    (T.PAGE, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.PAGE, HUB, BadReplyError, "bad_reply", False, True, False, 1),
    (T.REDIRECT, IMAGE, BadReplyError, "bad_reply", False, False, True, 1),
    (T.NO_JSON, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.NO_JOB_ID, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.BAD_BASE64, LITE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.JOB_BLOCKED, IMAGE, RefusedError, "refused", False, False, False, 2),
    (T.JOB_REVIEWED, IMAGE, RefusedError, "refused", False, False, False, 2),
    (T.JOB_REVIEWED, V3, UnavailableError, "unavailable", True, False, False, 2),
    (T.JOB_BROKE, IMAGE, UnavailableError, "unavailable", True, False, False, 2),
    (T.JOB_LATE, IMAGE, UnavailableError, "unavailable", True, True, False, 2),
    (T.JOB_MUTE, IMAGE, ProviderError, "provider_error", False, False, False, 2),
    (T.JOB_EMPTY, IMAGE, BadReplyError, "bad_reply", False, True, False, 2),
    (T.JOB_ALL_BAD, IMAGE, RefusedError, "refused", False, False, False, 2),
    (T.JOB_FORGOTTEN, CHAT, ProviderError, "provider_error", False, False, False, 2),
    (T.LINK_GONE, IMAGE, BadReplyError, "bad_reply", False, True, False, 3),
    (T.HUB_FILTERED, HUB_35, RefusedError, "refused", False, False, False, 1),
    (T.HUB_REFUSED, HUB, RefusedError, "refused", False, False, False, 1),
    (T.HUB_FAILED, HUB, ProviderError, "provider_error", False, True, False, 1),
    (T.HUB_NO_CREDIT, HUB, QuotaError, "quota", False, False, True, 1),
    (T.HUB_BUSY, HUB, RateLimitedError, "rate_limited", True, False, True, 3),
    (T.HUB_FORBIDDEN, HUB, AuthError, "auth", False, False, True, 1),
    (T.HUB_NO_MODEL, HUB, ProviderError, "provider_error", False, False, True, 1),
    (T.HUB_EMPTY, HUB, BadReplyError, "bad_reply", False, True, False, 1),
]


@pytest.mark.parametrize(
    ("trouble", "way", "kind", "code", "retryable", "billed", "not_accepted", "calls"),
    FAILURES,
    ids=lambda value: value.model.id if isinstance(value, Way) else getattr(value, "name", None),
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeHunyuan,
    trouble: Trouble,
    way: Way,
    kind: type[ProviderError],
    code: str,
    retryable: bool,
    billed: bool,
    not_accepted: bool,
    calls: int,
) -> None:
    fake.trouble.extend([trouble] * calls)
    with pytest.raises(ProviderError) as caught:
        await draw(fake, way, slow=trouble is not T.HANG)
    error = caught.value
    found = (type(error), error.code, error.retryable, error.may_have_been_billed, error.not_accepted, len(fake.seen))
    assert found == (kind, code, retryable, billed, not_accepted, calls)
    assert error.provider == "hunyuan"
    for secret in (fake.secret_id, fake.secret_key, fake.hub_key):
        assert secret not in f"{error!r}{error.details}"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    harmless = {T.MORE_FIELDS, T.JOB_PARTLY, T.JOB_ONE_TEXT, T.LOOK_BUSY, T.LOOK_BROKE}
    assert {row[0] for row in FAILURES} | harmless == set(Trouble)


@pytest.mark.parametrize("trouble", [T.MORE_FIELDS, T.JOB_ONE_TEXT, T.LOOK_BUSY, T.LOOK_BROKE])
async def test_what_is_strange_but_no_failure_does_no_harm(fake: FakeHunyuan, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert [image.data for image in (await draw(fake)).images] == [drawn("1024:1024")]
    assert actions(fake).count("SubmitHunyuanImageJob") == 1


@pytest.mark.parametrize("way", [LITE, HUB, HUB_35, HUB_LITE], ids=lambda way: way.model.id)
async def test_fields_that_nobody_knows_do_no_harm(fake: FakeHunyuan, way: Way) -> None:
    fake.trouble.append(T.MORE_FIELDS)
    assert len((await draw(fake, way)).images) == 1


async def test_the_pictures_that_were_drawn_are_kept_when_others_fail(fake: FakeHunyuan) -> None:
    fake.trouble.append(T.JOB_PARTLY)
    made = await draw(fake, IMAGE, replace(CAT, count=3))
    assert len(made.images) == 2
    assert made.adjustments == (Adjustment(field="n", message="2 of 3 pictures were drawn; the rest failed: did not pass the review."),)


@pytest.mark.parametrize(
    ("trouble", "words", "details"),
    [
        (T.JOB_BLOCKED, "The picture contains illegal content. (OperationDenied.ImageIllegalDetected)", "OperationDenied.ImageIllegalDetected"),
        (T.NO_SUCH_ACTION, "(InvalidAction). Tencent does not offer this any more; name another model of this provider.", "InvalidAction"),
        (T.NOT_ACTIVATED, "Activate it in Tencent's console", "FailedOperation.ServiceNotActivated"),
        (T.ERROR_503_SIGNED, "answered 503: Down for a moment. (InternalError)", "InternalError"),
    ],
)
async def test_a_failure_gives_the_services_own_reason_code_and_id(fake: FakeHunyuan, trouble: Trouble, words: str, details: str) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert words in caught.value.message
    assert caught.value.details["service_code"] == details
    assert trouble is T.ERROR_503_SIGNED or caught.value.details["request_id"] == caught.value.request_id != ""


async def test_a_refusal_at_tokenhub_gives_its_id(fake: FakeHunyuan) -> None:
    fake.trouble.append(T.HUB_FILTERED)
    with pytest.raises(RefusedError, match="No picture was made") as caught:
        await draw(fake, HUB_35)
    assert caught.value.request_id == "hub-2"


@pytest.mark.parametrize(
    ("changes", "way", "words"),
    [
        ({"TENCENT_SECRET_ID": "AKIDwrong9876543210"}, IMAGE, "Check TENCENT_SECRET_ID and TENCENT_SECRET_KEY"),
        ({"TENCENT_SECRET_KEY": "wrongSECRET9876543210"}, LITE, "Check TENCENT_SECRET_ID and TENCENT_SECRET_KEY"),
        ({"TENCENT_TOKENHUB_API_KEY": "sk-wrong-9876543210"}, HUB, "Check TENCENT_TOKENHUB_API_KEY"),
    ],
)
async def test_a_wrong_key_names_the_variable(fake: FakeHunyuan, changes: dict[str, str], way: Way, words: str) -> None:
    provider = provider_at(fake, {"TENCENT_MODEL": way.model.id, **changes})
    for call in (provider.generate(CAT, way.model, Ear()), provider.check()):
        with pytest.raises(AuthError, match=words) as caught:
            await call
        assert next(iter(changes.values())) not in f"{caught.value!r}{caught.value.details}"
    await provider.aclose()


async def test_a_clock_that_is_wrong_is_named(fake: FakeHunyuan) -> None:
    fake.clock = lambda: 1_000_000_000.0
    with pytest.raises(AuthError, match="The clock of this machine differs from Tencent's by more than five minutes"):
        await draw(fake)


async def test_a_wrong_region_names_the_variable(fake: FakeHunyuan) -> None:
    provider = provider_at(fake, {"TENCENT_REGION": "na-siliconvalley"})
    for call in (provider.generate(CAT, IMAGE.model, Ear()), provider.check()):
        with pytest.raises(ProviderError, match="Check TENCENT_REGION"):
            await call
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = Hunyuan(parse(Config, {**SIGNED, "TENCENT_ENDPOINT": f"http://127.0.0.1:{closed_port()}"}), tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.generate(CAT, IMAGE.model, Ear())
    await provider.aclose()
    assert caught.value.not_accepted


async def test_a_model_whose_key_was_taken_away_cannot_be_resumed() -> None:
    provider = load(HUB_ONLY)
    assert provider is not None
    with pytest.raises(ConfigError, match=r"hunyuan-image cannot be used with the keys that are set\. With these there are: hy-image-v3, "):
        await provider.resume("1", CAT, IMAGE.model, Ear())
    await provider.aclose()


async def test_a_task_that_never_ends_is_given_up_and_may_have_been_billed(fake: FakeHunyuan) -> None:
    fake.looks = 10**6
    provider = provider_at(fake)
    with pytest.raises(TimedOutError, match=r"was not done after 0\.05 seconds") as caught:
        await provider.generate(replace(CAT, polling={"interval": 0.01, "attempts": 5}), IMAGE.model, Ear())
    await provider.aclose()
    assert caught.value.may_have_been_billed


@pytest.mark.parametrize(
    ("model", "words", "call"),
    [
        ("hunyuan-image", "Tencent Hunyuan accepts the key; hunyuan-image draws with SubmitHunyuanImageJob.", "QueryHunyuanImageJob"),
        ("hunyuan-image-3.0", "Tencent Hunyuan accepts the key; hunyuan-image-3.0 draws with SubmitTextToImageJob.", "QueryTextToImageJob"),
        ("hunyuan-image-lite", "Tencent Hunyuan accepts the key; hunyuan-image-lite draws with TextToImageLite.", "QueryHunyuanImageJob"),
        ("hy-image-v3", "Tencent TokenHub accepts the key, and the model hy-image-v3 is listed.", "/v1/models"),
    ],
)
async def test_the_check_costs_nothing(fake: FakeHunyuan, model: str, words: str, call: str) -> None:
    provider = provider_at(fake, {"TENCENT_MODEL": model})
    assert await provider.check() == words
    await provider.aclose()
    assert actions(fake) == [call]


async def test_a_tokenhub_without_a_list_of_models_passes_the_check(fake: FakeHunyuan) -> None:
    fake.lists_models = False
    provider = provider_at(fake, {"TENCENT_MODEL": "hy-image-v3"})
    assert await provider.check() == "Tencent TokenHub answers but lists no models, so whether it has hy-image-v3 is not known."
    await provider.aclose()
