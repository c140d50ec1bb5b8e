from __future__ import annotations

import base64
from dataclasses import replace
from datetime import date
from functools import partial
from io import BytesIO
from typing import Any

import anyio
import jsonschema
import openai as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
    Cost,
    Drawn,
    Generated,
    ImageRequest,
    Model,
    Operation,
    Picture,
    Size,
    SizeList,
    SizeRange,
    find_model,
)
from mcp_image_server.net import Fault, File, Net, Reply, Service, Timeouts, Tries
from mcp_image_server.providers.openai import (
    CATALOGUE,
    DEFAULT_MODEL,
    MODELS,
    TOKEN_PRICES,
    Answered,
    Config,
    ImagesReply,
    OpenAI,
    catalogue_for,
    from_wire,
    load,
    read_fault,
    service,
    to_parts,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.multipart import parts_of
from ..fakes.openai import CLASSIC, FLEXIBLE, MAX_CHARS, FakeOpenAI, Trouble
from ..fakes.server import Seen, closed_port, picture
from .service import failure_of, reply, served

pytestmark = pytest.mark.anyio

MODEL = find_model(MODELS, DEFAULT_MODEL)
assert MODEL is not None
CAT = ImageRequest(prompt="a cat")


def painted(width: int = 64, height: int = 48, format: str = "png") -> Picture:  # noqa: A002  # Pillow's own word
    return Picture(data=picture(width, height, format), media_type=f"image/{format}", size=Size(width=width, height=height))


def with_hole(format: str = "png") -> Picture:  # noqa: A002
    """A mask that leaves the middle open."""
    file = BytesIO()
    mask = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (16, 12, 48, 36))
    mask.save(file, format.upper(), lossless=True)
    return Picture(data=file.getvalue(), media_type=f"image/{format}", size=Size(width=64, height=48))


HAT = ImageRequest(prompt="a hat", images=(painted(),))
PATCH = replace(HAT, images=(painted(), painted(32, 32, "jpeg")), mask=with_hole())

recorded = partial(reply, "openai")
server, fake = served(FakeOpenAI)


def provider_at(fake: FakeOpenAI, *, timeouts: Timeouts | None = None, **variables: str) -> OpenAI:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"OPENAI_API_KEY": fake.key or "", "OPENAI_BASE_URL": fake.base_url, **variables})
    provider = OpenAI(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeOpenAI, request: ImageRequest = CAT, *, previews: int = 0, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    provider = provider_at(fake, timeouts=timeouts, OPENAI_PARTIAL_IMAGES=str(previews))
    try:
        assert MODEL is not None
        return await provider.generate(request, MODEL, ear or Ear())
    finally:
        await provider.aclose()


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_without_a_key_there_is_no_provider() -> None:
    assert load({}) is None
    assert load({"OPENAI_MODEL": "gpt-image-2"}) is None
    assert load({"OPENAI_BASE_URL": "https://gateway.example/v1"}) is None


def test_a_key_or_a_server_on_this_machine_makes_a_provider() -> None:
    for environment in ({"OPENAI_API_KEY": "sk-1"}, {"OPENAI_BASE_URL": "http://localhost:8080/v1/"}, {"OPENAI_BASE_URL": "http://[::1]:1234"}):
        provider = load(environment)
        assert provider is not None
        assert (provider.name, provider.repeatable) == ("openai", False)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OPENAI_API_KEY": "sk-1 2"}, "OPENAI_API_KEY: it holds spaces"),
        ({"OPENAI_API_KEY": "schlüssel"}, "OPENAI_API_KEY: it holds spaces"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "gateway.example"}, "OPENAI_BASE_URL: write an absolute address"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_PARTIAL_IMAGES": "4"}, "OPENAI_PARTIAL_IMAGES"),
    ],
)
def test_a_wrong_variable_is_named_and_a_key_is_not_shown(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment)
    assert words in caught.value.message
    assert environment["OPENAI_API_KEY"] not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    names = {"OPENAI_API_KEY": " sk-12345\n", "OPENAI_ORGANIZATION": "org-1", "OPENAI_PROJECT": "proj-1"}
    made = service(parse(Config, names))
    assert made == Service(
        provider="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        headers={"Authorization": "Bearer sk-12345", "OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1"},
        secrets=("sk-12345",),
        read_fault=read_fault,
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
    )
    assert "sk-12345" not in repr(made)
    assert service(parse(Config, {"OPENAI_BASE_URL": "http://localhost:1/v1"})).headers == {}


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_the_models_are_those_that_live_today() -> None:
    assert {model.id for model in MODELS} == {*FLEXIBLE, *CLASSIC}
    assert {model.id: model.ends for model in MODELS if model.ends} == dict.fromkeys(CLASSIC, date(2026, 12, 1))
    assert {model.max_count for model in MODELS} == {10}
    assert {model.max_prompt_chars for model in MODELS} == {32_000}
    assert TOKEN_PRICES.keys() == {model.id for model in MODELS if model.price}
    assert {(model.operations, model.max_images, model.mask) for model in MODELS} == {
        (frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT}), 16, True)
    }
    assert all(isinstance(model.sizes, SizeList if model.id in CLASSIC else SizeRange) for model in MODELS)


@pytest.mark.parametrize("name", ["dall-e-2", "dall-e-3", "gpt-image-1"])
def test_a_model_that_was_switched_off_stands_for_a_live_one(name: str) -> None:
    assert find_model(CATALOGUE.models, name) is MODEL
    assert catalogue_for(parse(Config, {"OPENAI_MODEL": name})).default_model == DEFAULT_MODEL


def test_a_compatible_server_keeps_its_own_meaning_of_every_name() -> None:
    offered = catalogue_for(parse(Config, {"OPENAI_BASE_URL": "http://localhost:8080/v1", "OPENAI_MODEL": "dall-e-3"}))
    assert offered.default_model == "dall-e-3"
    tried = frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT})
    assert offered.models[0] == Model(provider="openai", id="dall-e-3", operations=tried, max_images=16, mask=True)
    assert offered.unknown == replace(offered.models[0], id="")
    assert [model.price for model in offered.models if model.price] == []


def test_styles_and_resolutions_are_the_ones_people_know() -> None:
    assert list(CATALOGUE.styles) == (
        [
            "natural",
            "vivid",
            "realistic",
            "artistic",
            "cartoon",
            "anime",
            "oil_painting",
            "watercolor",
            "sketch",
            "digital_art",
            "photographic",
            "minimalist",
        ]
    )
    assert (CATALOGUE.styles["natural"].label, CATALOGUE.styles["digital_art"].label) == ("自然风格", "数字艺术")
    assert list(CATALOGUE.resolutions) == ["1024x1024", "1536x1024", "1024x1536", "auto"]


# To wire ------------------------------------------------------------------------------------------------------------------------------------

FULL = ImageRequest(
    prompt="a cat",
    count=2,
    shape=Size(width=1536, height=864),
    quality="low",
    background="opaque",
    output_format="webp",
    output_compression=80,
    moderation="low",
    options={"user": "u1"},
)

RULES: dict[str, Any] = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "model": {"enum": [*FLEXIBLE, *CLASSIC]},
        "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_CHARS},
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "size": {"type": "string", "pattern": "^(auto|[1-9][0-9]*x[1-9][0-9]*)$"},
        "quality": {"enum": ["auto", "low", "medium", "high", "xhigh", "max"]},
        "background": {"enum": ["auto", "transparent", "opaque"]},
        "output_format": {"enum": ["png", "jpeg", "webp"]},
        "output_compression": {"type": "integer", "minimum": 0, "maximum": 100},
        "moderation": {"enum": ["auto", "low"]},
        "stream": {"type": "boolean"},
        "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
        "user": {"type": "string"},
    },
    "dependentRequired": {"output_compression": ["output_format"], "partial_images": ["stream"]},
    "if": {"properties": {"stream": {"const": True}}, "required": ["stream"]},
    "then": {"properties": {"n": {"const": 1}}},
}
"""OpenAI's rules for the body of a generation, written from its reference."""


def choice(*values: str) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=50),
        count=st.integers(1, 10),
        shape=st.none() | st.builds(Size, width=st.integers(1, 4000), height=st.integers(1, 4000)),
        quality=choice("auto", "low", "max"),
        background=choice("auto", "transparent", "opaque"),
        output_format=st.sampled_from(["png", "jpeg", "webp"]),
        output_compression=st.none() | st.integers(0, 100),
        moderation=choice("auto", "low"),
    ),
    model=st.sampled_from(MODELS),
    previews=st.integers(0, 3),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model, previews: int) -> None:
    jsonschema.validate(to_wire(request, model, partial_images=previews if request.count == 1 else 0), RULES)


def test_a_full_request_becomes_this_body() -> None:
    assert MODEL is not None
    assert to_wire(FULL, MODEL) == {
        "model": DEFAULT_MODEL,
        "prompt": "a cat",
        "n": 2,
        "size": "1536x864",
        "quality": "low",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 80,
        "moderation": "low",
        "user": "u1",
    }
    assert to_wire(CAT, MODEL, partial_images=2) == {"model": DEFAULT_MODEL, "prompt": "a cat", "n": 1, "stream": True, "partial_images": 2}


def test_a_wish_for_a_shape_goes_out_as_written_to_a_model_nobody_knows() -> None:
    body = to_wire(replace(CAT, shape=AspectRatio(width=16, height=9)), Model(provider="openai", id="flux"))
    assert body == {"model": "flux", "prompt": "a cat", "n": 1, "size": "16:9"}


def test_an_edit_is_a_form_with_settings_first_and_pictures_after() -> None:
    assert MODEL is not None
    wish = replace(PATCH, options={"input_fidelity": "high", "svg": {"model": "s"}, "tags": ["a", "b"], "stream": True})
    assert to_parts(to_wire(wish, MODEL), wish) == [
        ("model", DEFAULT_MODEL),
        ("prompt", "a hat"),
        ("n", "1"),
        ("input_fidelity", "high"),
        ("svg[model]", "s"),
        ("tags[]", "a"),
        ("tags[]", "b"),
        ("stream", "true"),
        ("image[]", File(name="image-1.png", media_type="image/png", data=picture(64, 48))),
        ("image[]", File(name="image-2.jpeg", media_type="image/jpeg", data=picture(32, 32, "jpeg"))),
        ("mask", File(name="mask.png", media_type="image/png", data=with_hole().data)),
    ]
    assert [name for name, _ in to_parts({}, HAT)] == ["image"]


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_a_recorded_answer_becomes_pictures_and_a_bill() -> None:
    assert MODEL is not None
    answer = ImagesReply.model_validate(recorded("generated"))
    pictures = [base64.b64decode(entry.b64_json or "") for entry in answer.data or ()]
    # 10 text tokens at 5, 40 image tokens at 8, 50 drawn at 30 dollars a million
    assert from_wire(answer, pictures, prices=TOKEN_PRICES[DEFAULT_MODEL], request_id="req_1") == Generated(
        images=(Drawn(data=b"\x89PNG\r\n\x1a\n"), Drawn(data=b"\x89PNG\r\n\x1a\n\x00", revised_prompt="a finer prompt")),
        cost=Cost(micros=1870, currency="USD", source="computed"),
        request_id="req_1",
    )


def test_a_recorded_answer_of_a_compatible_server_is_a_link_without_a_bill() -> None:
    answer = ImagesReply.model_validate(recorded("linked"))
    assert answer == ImagesReply(data=[Answered(url="http://127.0.0.1:30000/files/1.png")])
    made = from_wire(answer, [b"1"], prices=None, request_id=None)
    assert made == Generated(images=(Drawn(data=b"1"),))


@pytest.mark.parametrize(
    ("model", "usage", "expected"),
    [
        ("gpt-image-1.5", True, Cost(micros=10 * 5 + 40 * 8 + 50 * 32, currency="USD", source="computed")),
        ("gpt-image-1-mini", True, Cost(micros=10 * 2 + 40 * 5 // 2 + 50 * 8, currency="USD", source="computed")),
        ("gpt-image-2", False, None),
        ("gpt-image-2.6-flare", True, None),
    ],
)
def test_the_bill_follows_the_price_list(model: str, usage: bool, expected: Cost | None) -> None:
    body = recorded("generated") if usage else {k: v for k, v in recorded("generated").items() if k != "usage"}
    made = from_wire(ImagesReply.model_validate(body), [b"1", b"2"], prices=TOKEN_PRICES.get(model), request_id=None)
    assert made.cost == expected


@pytest.mark.parametrize(
    ("name", "status", "fault"),
    [
        ("refused", 400, Fault(message="", kind=RefusedError, details={"service_code": "moderation_blocked", "safety_violations": ["violence"]})),
        ("rate_limited", 429, Fault(message="", kind=RateLimitedError, details={"service_code": "rate_limit_exceeded"})),
        ("insufficient_quota", 429, Fault(message="", kind=QuotaError, details={"service_code": "insufficient_quota"})),
        ("organization_not_verified", 403, Fault(message="", details={"service_code": "invalid_request_error"})),
        ("invalid_size", 400, Fault(message="", details={"service_code": "invalid_value", "parameter": "size"})),
    ],
)
def test_a_recorded_error_is_understood(name: str, status: int, fault: Fault) -> None:
    body = recorded(name)
    assert read_fault(status, body) == replace(fault, message=body["error"]["message"])


def test_the_reasons_of_azure_are_understood() -> None:
    message = "Your task failed as a result of our safety system."
    filters = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False, "severity": "safe"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": filters}
    fault = read_fault(400, {"error": {"code": "contentFilter", "message": message, "inner_error": inner}})
    assert fault == Fault(message=message, kind=RefusedError, details={"service_code": "contentFilter", "safety_violations": ["violence"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model not loaded"}, "model not loaded"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "no such route", "code": 404}, "no such route"),
        ({"error": {"code": 500, "message": "out of memory", "type": ""}}, "out of memory"),
    ],
)
def test_the_simpler_errors_of_compatible_servers_are_understood(body: Any, message: str) -> None:
    fault = read_fault(400, body)
    assert fault is not None
    assert (fault.message, fault.kind) == (message, None)


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None


# The call -----------------------------------------------------------------------------------------------------------------------------------


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


async def test_a_parameter_the_server_does_not_know_is_left_out_and_said_so(fake: FakeOpenAI) -> None:
    fake.trouble.append(Trouble.UNKNOWN_QUALITY)
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


# Editing ------------------------------------------------------------------------------------------------------------------------------------


async def test_several_pictures_and_a_mask_become_one_new_picture(fake: FakeOpenAI) -> None:
    made = await draw(fake, replace(PATCH, shape=Size(width=1536, height=1024), count=2))
    assert made == Generated(images=(Drawn(data=picture(1536, 1024)),) * 2, request_id="req_fake")
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/images/edits", f"Bearer {fake.key}")
    assert parts_of(seen) == [
        ("model", DEFAULT_MODEL),
        ("prompt", "a hat"),
        ("n", "2"),
        ("size", "1536x1024"),
        ("image[]", File(name="image-1.png", media_type="image/png", data=picture(64, 48))),
        ("image[]", File(name="image-2.jpeg", media_type="image/jpeg", data=picture(32, 32, "jpeg"))),
        ("mask", File(name="mask.png", media_type="image/png", data=with_hole().data)),
    ]


async def test_a_mask_in_another_format_is_sent_as_png_with_its_hole(fake: FakeOpenAI) -> None:
    await draw(fake, replace(HAT, mask=with_hole("webp")))
    name, mask = parts_of(fake.seen[0])[-1]
    assert isinstance(mask, File)
    assert (name, mask.name, mask.media_type) == ("mask", "mask.png", "image/png")
    with Image.open(BytesIO(mask.data)) as sent:
        assert [sent.getpixel((x, 20)) for x in (0, 30)] == [(0, 0, 0, 255), (0, 0, 0, 0)]


async def test_previews_reach_the_job_while_a_picture_is_edited(fake: FakeOpenAI) -> None:
    ear = Ear()
    made = await draw(fake, HAT, previews=2, ear=ear)
    assert (made.images, ear.previews) == ((Drawn(data=picture(1024, 1024)),), [picture(64, 64, "jpeg")] * 2)
    assert dict(parts_of(fake.seen[0]))["partial_images"] == "2"


async def test_what_only_editing_does_not_know_is_left_out_there_alone(fake: FakeOpenAI) -> None:
    provider = provider_at(fake)
    assert MODEL is not None
    told = (Adjustment(field="moderation", message="The OpenAI-compatible service does not know this parameter, so it was left out"),)
    assert (await provider.generate(replace(HAT, moderation="low"), MODEL, Ear())).adjustments == told
    assert (await provider.generate(replace(CAT, moderation="low"), MODEL, Ear())).adjustments == ()
    await provider.aclose()


@pytest.mark.parametrize("trouble", [Trouble.BLOCKED, Trouble.RATE_LIMITED_LONG, Trouble.NO_DATA, Trouble.ERROR_500])
async def test_an_edit_fails_as_a_generation_does(fake: FakeOpenAI, trouble: Trouble) -> None:
    caught = []
    for request in (CAT, HAT):
        fake.trouble.append(trouble)
        with pytest.raises(ProviderError) as error:
            await draw(fake, request)
        caught.append((type(error.value), error.value.message, error.value.details))
    assert caught[0] == caught[1]


async def test_a_picture_the_service_does_not_take_is_told_in_its_words(fake: FakeOpenAI) -> None:
    with pytest.raises(ProviderError, match=r"unsupported mimetype \('image/gif'\)"):
        await draw(fake, replace(HAT, images=(painted(8, 8, "gif"),)))


# Failures -----------------------------------------------------------------------------------------------------------------------------------

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
    harmless = {T.LINKS, T.MORE_FIELDS, T.NO_USAGE, T.ODD_USAGE, T.STREAM_BAD_PREVIEW, T.UNKNOWN_QUALITY}
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


# Checking -----------------------------------------------------------------------------------------------------------------------------------


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


# The fake is faithful: OpenAI's own library is its witness -----------------------------------------------------------------------------------


@pytest.fixture
async def library(fake: FakeOpenAI) -> Any:
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as client:
        yield client


async def test_the_library_sends_the_same_body_to_the_same_place_and_understands_the_answer(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    answer = await library.images.generate(
        model=DEFAULT_MODEL,
        prompt="a cat",
        n=2,
        size="1536x864",
        quality="low",
        background="opaque",
        output_format="webp",
        output_compression=80,
        moderation="low",
        user="u1",
    )
    await draw(fake, FULL)
    theirs, ours = fake.seen
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert theirs.headers["content-type"] == ours.headers["content-type"]
    assert answer.data is not None
    assert [base64.b64decode(entry.b64_json or "") for entry in answer.data] == [picture(1536, 864, "webp")] * 2
    assert (answer.size, answer.output_format, answer._request_id) == ("1536x864", "webp", "req_fake")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 1056


def in_any_order(seen: Seen) -> list[tuple[str, str, bytes]]:
    """The parts of a form, with the pictures in their order."""
    return sorted(((name, repr(value), value.data if isinstance(value, File) else b"") for name, value in parts_of(seen)), key=lambda part: part[:1])


async def test_the_library_sends_the_same_edit(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    wish = replace(PATCH, count=2, shape=Size(width=1536, height=1024), quality="low", options={"input_fidelity": "high"})
    files = [("image-1.png", picture(64, 48), "image/png"), ("image-2.jpeg", picture(32, 32, "jpeg"), "image/jpeg")]
    answer = await library.images.edit(
        model=DEFAULT_MODEL,
        prompt="a hat",
        image=files,
        mask=("mask.png", with_hole().data, "image/png"),
        n=2,
        size="1536x1024",
        quality="low",
        input_fidelity="high",
    )
    await library.images.edit(model=DEFAULT_MODEL, prompt="a hat", image=files[0], n=1)
    await draw(fake, wish)
    await draw(fake, HAT)
    theirs, theirs_alone, ours, ours_alone = fake.seen
    assert (theirs.method, theirs.path, in_any_order(theirs)) == (ours.method, ours.path, in_any_order(ours))
    assert in_any_order(theirs_alone) == in_any_order(ours_alone)
    assert answer.data is not None
    assert [base64.b64decode(entry.b64_json or "") for entry in answer.data] == [picture(1536, 1024)] * 2


async def test_the_library_sees_the_same_stream_of_an_edit(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    stream = await library.images.edit(
        model=DEFAULT_MODEL, prompt="a hat", image=("image-1.png", picture(64, 48), "image/png"), n=1, stream=True, partial_images=2
    )
    events = [event.type async for event in stream]
    await draw(fake, HAT, previews=2)
    theirs, ours = fake.seen
    assert in_any_order(theirs) == in_any_order(ours)
    assert events == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]


async def test_the_library_sees_the_same_rules_for_pictures(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    png = ("a.png", picture(64, 48), "image/png")
    for change, code, parameter in (
        ({"image": picture(64, 48)}, "unsupported_file_mimetype", "image"),
        ({"image": [png] * 17}, "invalid_value", "image"),
        ({"image": png, "mask": png}, "invalid_image_file", "mask"),
        ({"image": png, "mask": ("m.png", with_hole().data, "image/png"), "extra_body": {"style": "x"}}, "unknown_parameter", "style"),
    ):
        with pytest.raises(sdk.BadRequestError) as caught:
            await library.images.edit(model=DEFAULT_MODEL, prompt="a hat", **change)
        assert (caught.value.code, caught.value.param) == (code, parameter)


async def test_the_library_sees_the_same_stream(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    stream = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", n=1, stream=True, partial_images=2)
    events = [event async for event in stream]
    await draw(fake, previews=2)
    theirs, ours = fake.seen
    assert theirs.json() == ours.json()
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert base64.b64decode(events[-1].b64_json) == picture(1024, 1024)


@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (T.RATE_LIMITED, sdk.RateLimitError, "rate_limit_exceeded"),
        (T.NO_QUOTA, sdk.RateLimitError, "insufficient_quota"),
        (T.NO_BUDGET, sdk.BadRequestError, "billing_hard_limit_reached"),
        (T.BLOCKED, sdk.BadRequestError, "moderation_blocked"),
        (T.UNVERIFIED, sdk.PermissionDeniedError, None),
        (T.COUNTRY, sdk.PermissionDeniedError, "unsupported_country_region_territory"),
        (T.ERROR_500, sdk.InternalServerError, "server_error"),
        (T.ERROR_502_PAGE, sdk.InternalServerError, None),
        (T.ERROR_503_SOON, sdk.InternalServerError, None),
        (T.CUT, sdk.APIConnectionError, None),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeOpenAI, library: sdk.AsyncOpenAI, trouble: Trouble, kind: type[sdk.APIError], code: str
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(sdk.APIError) as caught:
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat")
    assert (type(caught.value), caught.value.code) == (kind, code)


async def test_the_library_sees_the_same_failure_inside_a_stream(fake: FakeOpenAI, library: sdk.AsyncOpenAI) -> None:
    fake.trouble.append(T.STREAM_BLOCKED)
    stream = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", stream=True, partial_images=1)
    with pytest.raises(sdk.APIError) as caught:
        [event async for event in stream]
    assert (type(caught.value), caught.value.code) == (sdk.APIError, "moderation_blocked")


async def test_the_library_sees_the_same_rules(fake: FakeOpenAI) -> None:
    good: dict[str, Any] = {"model": "gpt-image-2", "prompt": "a cat"}
    bad: list[tuple[dict[str, Any], str | None, str | None]] = [
        ({"response_format": "url"}, "unknown_parameter", "response_format"),
        ({"style": "vivid"}, "unknown_parameter", "style"),
        ({"n": 11}, "invalid_value", "n"),
        ({"size": "1792x936"}, "invalid_value", "size"),
        ({"size": "3840x1024"}, "invalid_value", "size"),
        ({"size": "512x512"}, "invalid_value", "size"),
        ({"quality": "max"}, "invalid_value", "quality"),
        ({"background": "transparent", "output_format": "jpeg"}, "invalid_value", "background"),
        ({"output_compression": 50}, "invalid_png_output_compression", "output_compression"),
        ({"prompt": "x" * (MAX_CHARS + 1)}, "string_above_max_length", "prompt"),
        ({"model": "gpt-image-1.5", "size": "1536x864"}, "invalid_value", "size"),
    ]
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as library:
        for change, code, parameter in bad:
            with pytest.raises(sdk.BadRequestError) as caught:
                await library.images.generate(**{**good, **change})
            assert (caught.value.code, caught.value.param) == (code, parameter)
        with pytest.raises(sdk.NotFoundError):
            await library.images.generate(**{**good, "model": "dall-e-3"})
        with pytest.raises(sdk.AuthenticationError):
            await library.with_options(api_key="sk-wrong-9876543210").models.list()
        assert {entry.id async for entry in library.models.list()} >= {*FLEXIBLE, *CLASSIC}


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "openai", "PIL", "sqlalchemy")
    code = (
        f"import sys, mcp_image_server.providers.openai as o; o.load({{'OPENAI_API_KEY': 'sk-1'}}); print([m for m in {heavy} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_reply_never_shows_its_body() -> None:
    assert "iVBOR" not in repr(Reply(service=service(parse(Config, {})), body=b"iVBOR"))
