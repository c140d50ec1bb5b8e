from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
from google import genai
from google.genai import errors as their_errors
from google.genai import types as theirs
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
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
    find_model,
)
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Timeouts, Tries
from mcp_image_server.providers.gemini import Config, Gemini, load, service
from mcp_image_server.providers.gemini.models import CATALOGUE, DEFAULT_MODEL, FRAMES, MAX_SEED, MODELS, TOKEN_PRICES
from mcp_image_server.providers.gemini.wire import BLOCKED, Answer, cost, from_wire, read_fault, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.gemini import RULES, SCALES, USAGE, FakeGemini, Trouble, in_camels
from ..fakes.server import picture
from .service import drawn_by, failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat")
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))
PHOTO = Picture(data=picture(32, 32, "jpeg"), media_type="image/jpeg", size=Size(width=32, height=32))
HAT = replace(CAT, prompt="the cat of image 1 with the hat of image 2", images=(DRAWING, PHOTO))

known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)

server, fake = served(FakeGemini)
JUDGE = judge(RULES)


def provider_at(fake: FakeGemini, *, timeouts: Timeouts | None = None, **variables: str) -> Gemini:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"GEMINI_API_KEY": fake.key or "", "GOOGLE_GEMINI_BASE_URL": fake.url, **variables})
    provider = Gemini(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeGemini, request: ImageRequest = CAT, model: Model = MODEL, *, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "variable", "key"),
    [
        ({"GEMINI_API_KEY": "AIza-1"}, "GEMINI_API_KEY", "AIza-1"),
        ({"GOOGLE_API_KEY": "AIza-2"}, "GOOGLE_API_KEY", "AIza-2"),
        ({"GEMINI_API_KEY": "AIza-1", "GOOGLE_API_KEY": "AIza-2"}, "GEMINI_API_KEY", "AIza-1"),
    ],
)
def test_a_key_under_either_name_makes_a_provider(environment: dict[str, str], variable: str, key: str) -> None:
    provider = load(environment)
    assert provider is not None
    made = service(parse(Config, environment))
    assert (made.key_variable, made.headers, made.secrets) == (variable, {"x-goog-api-key": key}, (key,))
    assert made.base_url == "https://generativelanguage.googleapis.com"
    assert key not in f"{provider.account}{made!r}"


def test_without_a_key_there_is_no_provider_and_a_wrong_one_is_not_shown() -> None:
    assert load({"GEMINI_MODEL": DEFAULT_MODEL}) is None
    with pytest.raises(ConfigError, match="GEMINI_API_KEY: it holds spaces") as caught:
        load({"GEMINI_API_KEY": "AIza secret"})
    assert "AIza secret" not in caught.value.message


def test_another_default_model_is_offered_too() -> None:
    assert Gemini(parse(Config, {"GEMINI_MODEL": "gemini-3-pro-image"})).catalogue.default_model == "gemini-3-pro-image"
    offered = Gemini(parse(Config, {"GEMINI_MODEL": "gemini-9-image"})).catalogue
    assert (offered.default_model, offered.models[0].sizes, offered.models[0].max_images) == ("gemini-9-image", None, 3)


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_the_models_are_those_that_draw_today() -> None:
    assert {model.id for model in MODELS} == SCALES.keys() == TOKEN_PRICES.keys() == FRAMES.keys()
    assert {model.id: model.ends for model in MODELS if model.ends} == {"gemini-2.5-flash-image": date(2027, 3, 15)}
    assert {(model.operations, model.max_count, model.seed, model.mask) for model in MODELS} == {
        (frozenset({Operation.GENERATE, Operation.EDIT}), 1, True, False)
    }
    assert {model.id: model.max_images for model in MODELS if model.max_images != 14} == {"gemini-2.5-flash-image": 3}
    assert {model.id: len(model.sizes.sizes) for model in MODELS if isinstance(model.sizes, SizeList)} == {
        DEFAULT_MODEL: 42,
        "gemini-3.1-flash-lite-image": 14,
        "gemini-3-pro-image": 30,
        "gemini-2.5-flash-image": 10,
    }


@pytest.mark.parametrize("name", ["gemini-3.1-flash-image", "gemini-3.1-flash-image-preview", "imagen-4.0-ultra-generate-001"])
def test_a_model_that_was_switched_off_stands_for_a_live_one(name: str) -> None:
    assert find_model(CATALOGUE.models, name) is MODEL


def test_the_default_model_is_the_one_that_google_moved_its_callers_to() -> None:
    assert CATALOGUE.default_model == DEFAULT_MODEL == "gemini-nano-banana-2.1"


def test_every_resolution_shown_is_drawn_as_it_is_by_the_default_model() -> None:
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        assert Size(width=width, height=height) in FRAMES[DEFAULT_MODEL]


def test_a_long_strip_is_drawn_as_it_is_by_the_models_that_know_it() -> None:
    strip = replace(CAT, shape=Size(width=512, height=2048))
    assert to_wire(strip, MODEL)["generationConfig"]["imageConfig"] == {"aspectRatio": "1:4", "imageSize": "1K"}
    pro = find_model(MODELS, "gemini-3-pro-image")
    assert pro is not None
    assert negotiate(strip, pro, styles={}).request.shape == Size(width=768, height=1376)


def test_a_mask_is_never_dropped() -> None:
    with pytest.raises(UnsupportedError, match="cannot inpaint"):
        negotiate(replace(CAT, images=(DRAWING,), mask=DRAWING), MODEL, styles={})


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def body(**settings: Any) -> dict[str, Any]:
    """The body for a cat, with these settings."""
    return {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}], "generationConfig": {"responseModalities": ["IMAGE"], **settings}}


@pytest.mark.parametrize(
    ("model", "shape", "image"),
    [
        (DEFAULT_MODEL, Size(width=1024, height=1024), {"aspectRatio": "1:1", "imageSize": "1K"}),
        (DEFAULT_MODEL, Size(width=1024, height=4096), {"aspectRatio": "1:4", "imageSize": "2K"}),
        (DEFAULT_MODEL, Size(width=5504, height=3072), {"aspectRatio": "16:9", "imageSize": "4K"}),
        ("gemini-3-pro-image", Size(width=1696, height=2528), {"aspectRatio": "2:3", "imageSize": "2K"}),
        ("gemini-3.1-flash-lite-image", Size(width=768, height=1376), {"aspectRatio": "9:16"}),
        ("gemini-2.5-flash-image", Size(width=1536, height=672), {"aspectRatio": "21:9"}),
        ("gemini-9-image", AspectRatio(width=4, height=1), {"aspectRatio": "4:1"}),
        ("gemini-9-image", Size(width=2000, height=2000), {"aspectRatio": "1:1", "imageSize": "2K"}),
    ],
)
def test_a_size_becomes_a_shape_and_a_scale(model: str, shape: Any, image: dict[str, str]) -> None:
    wire = to_wire(replace(CAT, shape=shape), find_model(MODELS, model) or Model(provider="gemini", id=model))
    assert wire == body(imageConfig=image)


def test_pictures_follow_the_words_in_their_order() -> None:
    parts = to_wire(HAT, MODEL)["contents"][0]["parts"]
    assert parts == [
        {"text": HAT.prompt},
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(DRAWING.data).decode()}},
        {"inlineData": {"mimeType": "image/jpeg", "data": base64.b64encode(PHOTO.data).decode()}},
    ]


def test_options_change_what_they_name_and_leave_the_rest() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]
    options = {"safetySettings": safety, "generationConfig": {"temperature": 0.5, "imageConfig": {"imageSize": "4K"}}}
    wish = replace(CAT, shape=Size(width=1376, height=768), seed=7, options=options)
    image = {"aspectRatio": "16:9", "imageSize": "4K"}
    assert to_wire(wish, MODEL) == {**body(seed=7, imageConfig=image, temperature=0.5), "safetySettings": safety}


shapes = st.none() | st.builds(Size, width=st.integers(256, 4000), height=st.integers(256, 4000)) | st.just(AspectRatio(width=16, height=9))


@given(shape=shapes, seed=st.none() | st.integers(0, 2**63), model=st.sampled_from(MODELS))
def test_whatever_negotiation_lets_through_keeps_the_rules(shape: Any, seed: int | None, model: Model) -> None:
    fitted = negotiate(replace(CAT, shape=shape, seed=seed), model, styles={}).request
    JUDGE.validate(to_wire(fitted, model))
    scale = to_wire(fitted, model)["generationConfig"].get("imageConfig", {}).get("imageSize")
    assert scale is None or scale in SCALES[model.id]


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_a_large_seed_and_an_odd_size_are_told() -> None:
    wish = replace(CAT, seed=MAX_SEED + 8, shape=Size(width=2000, height=2000))
    unknown = Model(provider="gemini", id="gemini-9-image")
    assert from_wire(Answer(), [b"1"], wish, unknown, request_id=None) == Generated(
        images=(Drawn(data=b"1", seed=7),),
        adjustments=(
            Adjustment(field="seed", message="Google Gemini takes seeds up to 2147483647; 2147483655 became 7."),
            Adjustment(field="resolution", message="Google Gemini draws shapes and scales; 2000x2000 became 1:1 at 2K."),
        ),
    )


def test_the_bill_counts_words_thoughts_and_pictures_each_at_its_price() -> None:
    usage = {**USAGE, "candidatesTokenCount": 1130}
    assert cost(usage, MODEL) == Cost(micros=round(9 * 1.5 + (10 + 21) * 7.5 + 1120 * 30), currency="USD", source="computed")
    assert cost(usage, Model(provider="gemini", id="gemini-9-image")) is None
    for unreadable in (None, {}, [1], {**usage, "candidatesTokensDetails": None}, {**usage, "promptTokenCount": "many"}):
        assert cost(unreadable, MODEL) is None


def test_errors_are_understood() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "27s"}
    error = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED", "details": [retry]}}
    expected = Fault(message="Slow down.", kind=RateLimitedError, retry_after=27.0, details={"service_code": "RESOURCE_EXHAUSTED"})
    assert read_fault(429, error) == read_fault(429, [error]) == expected
    assert read_fault(400, {"error": {"message": "Bad.", "status": "INVALID_ARGUMENT", "details": [{"retryDelay": "soon"}, 3]}}) == Fault(
        message="Bad.", details={"service_code": "INVALID_ARGUMENT"}
    )
    assert read_fault(404, {"message": "no such route"}) == Fault(message="no such route")


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_a_picture_comes_back_without_the_drafts(fake: FakeGemini) -> None:
    made = await draw(fake, replace(CAT, seed=7, shape=Size(width=1376, height=768)))
    micros = round(9 * 1.5 + 21 * 7.5 + 1120 * 30)
    expected = Generated(images=(Drawn(data=picture(64, 64), seed=7),), cost=Cost(micros=micros, currency="USD", source="computed"), request_id="abc")
    assert made == expected
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["x-goog-api-key"]) == ("POST", f"/v1beta/models/{DEFAULT_MODEL}:generateContent", fake.key)
    assert seen.json() == body(seed=7, imageConfig={"aspectRatio": "16:9", "imageSize": "1K"})


async def test_several_pictures_are_changed_into_one(fake: FakeGemini) -> None:
    assert (await draw(fake, HAT)).images == (Drawn(data=picture(64, 64)),)
    assert fake.seen[0].json() == to_wire(HAT, MODEL)


async def test_every_model_takes_every_size_that_it_lists(fake: FakeGemini) -> None:
    for model in MODELS:
        assert isinstance(model.sizes, SizeList)
        for size in (model.sizes.sizes[0], model.sizes.sizes[-1]):
            assert (await draw(fake, replace(CAT, shape=size), model)).images


@pytest.mark.parametrize("trouble", [Trouble.NO_USAGE, Trouble.MORE_FIELDS])
async def test_what_the_answer_has_too_much_or_too_little_of_does_no_harm(fake: FakeGemini, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake)).images == (Drawn(data=picture(64, 64)),)


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, int]] = [
    # trouble, class, words, may have been billed, calls
    (T.RATE_LIMITED, RateLimitedError, "Try again in 0.01 seconds", False, 3),
    (T.DAILY, QuotaError, "exceeded your current quota", False, 1),
    (T.NO_QUOTA, QuotaError, "limit: 0", False, 1),
    (T.COUNTRY, AuthError, "location is not supported", False, 1),
    (T.DENIED, AuthError, "does not have permission", False, 1),
    (T.OVERLOADED, UnavailableError, "overloaded", False, 1),
    (T.HANG, UnavailableError, "silent for too long", True, 1),
    (T.CUT, UnavailableError, "broke the connection", True, 1),
    (T.BAD_BASE64, BadReplyError, "not valid base64", True, 1),
    (T.PROMPT_BLOCKED, RefusedError, "blocked the prompt (IMAGE_SAFETY)", False, 1),
    (T.FINISHED, RefusedError, "blocked the picture (IMAGE_SAFETY: Unable to show the image.)", False, 1),
    (T.TALKS, BadReplyError, "without a picture (STOP). It said: I would rather  tell a story.", True, 1),
    (T.ONLY_THOUGHT, BadReplyError, "without a picture (STOP)", True, 1),
    (T.EMPTY, BadReplyError, "without a picture", True, 1),
    (T.KEY_ECHO, ProviderError, "The key *** is malformed", False, 1),
]


@pytest.mark.parametrize(("trouble", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeGemini, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert words in error.message


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.NO_USAGE, T.MORE_FIELDS} == set(Trouble)


@pytest.mark.parametrize("reason", [*theirs.BlockedReason])
async def test_every_reason_to_block_a_prompt_is_named(fake: FakeGemini, reason: theirs.BlockedReason) -> None:
    fake.trouble.append(T.PROMPT_BLOCKED)
    fake.reason = reason.value
    with pytest.raises(RefusedError, match=reason.value) as caught:
        await draw(fake)
    assert caught.value.details["service_code"] == reason.value
    assert caught.value.request_id == "abc"


@pytest.mark.parametrize("reason", [*theirs.FinishReason])
async def test_every_reason_to_end_without_a_picture_is_named(fake: FakeGemini, reason: theirs.FinishReason) -> None:
    fake.trouble.append(T.FINISHED)
    fake.reason = reason.value
    with pytest.raises(ProviderError, match=reason.value) as caught:
        await draw(fake)
    account = reason is theirs.FinishReason.PUP_LIMITED_DISABLED
    assert type(caught.value) is (RefusedError if reason.value in BLOCKED else AuthError if account else BadReplyError)


async def test_work_under_way_can_be_cancelled(fake: FakeGemini) -> None:
    fake.trouble.append(T.HANG)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake)
    assert scope.cancelled_caught


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_tells_whether_the_model_is_there(fake: FakeGemini) -> None:
    for model, words in ((DEFAULT_MODEL, "and has the model"), ("gemini-9-image", "but has no model")):
        provider = provider_at(fake, GEMINI_MODEL=model)
        assert await provider.check() == f"Google Gemini accepts the key, {words} {model}."
        await provider.aclose()
    assert {seen.method for seen in fake.seen} == {"GET"}


async def test_a_wrong_key_names_the_variable(fake: FakeGemini) -> None:
    provider = provider_at(fake, GEMINI_API_KEY="AIza-wrong-987654")
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check GEMINI_API_KEY") as caught:
            await call
        assert "AIza-wrong-987654" not in str(caught.value)
    await provider.aclose()


# The fake is faithful: Google's own library is its witness -----------------------------------------------------------------------------------


@pytest.fixture
async def library(fake: FakeGemini) -> AsyncIterator[genai.client.AsyncClient]:
    async with httpx2.AsyncClient() as transport:  # named, or the library takes what else happens to be installed
        options = theirs.HttpOptions(base_url=fake.url, httpx_async_client=transport)
        with genai.Client(api_key=fake.key, http_options=options) as client:
            yield client.aio


def settings(seed: int | None, image: theirs.ImageConfig) -> theirs.GenerateContentConfig:
    return theirs.GenerateContentConfig(response_modalities=["IMAGE"], seed=seed, image_config=image)


async def test_the_library_sends_the_same_body_and_understands_the_answer(fake: FakeGemini, library: genai.client.AsyncClient) -> None:
    parts = [
        theirs.Part.from_text(text=HAT.prompt),
        theirs.Part.from_bytes(data=DRAWING.data, mime_type="image/png"),
        theirs.Part.from_bytes(data=PHOTO.data, mime_type="image/jpeg"),
    ]
    answer = await library.models.generate_content(
        model=DEFAULT_MODEL,
        contents=theirs.Content(role="user", parts=parts),
        config=settings(7, theirs.ImageConfig(aspect_ratio="16:9", image_size="2K")),
    )
    await draw(fake, replace(HAT, seed=7, shape=Size(width=2752, height=1536)))
    other, ours = fake.seen
    assert other.path.endswith(f"/models/{DEFAULT_MODEL}:generateContent")
    assert other.headers["x-goog-api-key"] == ours.headers["x-goog-api-key"]
    # The library writes base64 with the letters that are safe in addresses; the interface takes both.
    assert json.loads(json.dumps(in_camels(other.json())).replace("-", "+").replace("_", "/")) == ours.json()
    assert answer.parts is not None
    pictures = [part.inline_data.data for part in answer.parts if part.inline_data and not part.thought]
    assert pictures == [picture(64, 64)]
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.candidates_token_count == 1120


@pytest.mark.parametrize(
    ("trouble", "kind", "word"),
    [
        (T.RATE_LIMITED, their_errors.ClientError, "RESOURCE_EXHAUSTED"),
        (T.COUNTRY, their_errors.ClientError, "FAILED_PRECONDITION"),
        (T.DENIED, their_errors.ClientError, "PERMISSION_DENIED"),
        (T.OVERLOADED, their_errors.ServerError, "UNAVAILABLE"),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeGemini, library: genai.client.AsyncClient, trouble: Trouble, kind: type[their_errors.APIError], word: str
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(their_errors.APIError) as caught:
        await library.models.generate_content(model=DEFAULT_MODEL, contents="a cat")
    assert (type(caught.value), caught.value.status) == (kind, word)


async def test_the_library_sees_the_same_refusals(fake: FakeGemini, library: genai.client.AsyncClient) -> None:
    fake.trouble.extend([T.PROMPT_BLOCKED, T.FINISHED])
    blocked = await library.models.generate_content(model=DEFAULT_MODEL, contents="a cat")
    assert blocked.prompt_feedback is not None
    assert blocked.prompt_feedback.block_reason is theirs.BlockedReason.IMAGE_SAFETY
    ended = await library.models.generate_content(model=DEFAULT_MODEL, contents="a cat")
    assert ended.candidates is not None
    assert ended.candidates[0].finish_reason is theirs.FinishReason.IMAGE_SAFETY


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "stamina", "google", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.gemini as g; g.load({{'GEMINI_API_KEY': 'k-1'}}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
