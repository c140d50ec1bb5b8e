from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import openrouter as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openrouter import components, errors

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
from mcp_image_server.models import Adjustment, AspectRatio, Cost, Drawn, Generated, ImageRequest, Model, Operation, Picture, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Timeouts, Tries
from mcp_image_server.providers.base import with_default
from mcp_image_server.providers.openrouter import (
    CATALOGUE,
    DEFAULT_MODEL,
    MODELS,
    Config,
    Listed,
    OpenRouter,
    cost,
    load,
    model_of,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.openrouter import MODELS as OFFERED
from ..fakes.openrouter import RULES, FakeOpenRouter, Trouble
from ..fakes.server import picture
from .service import drawn_by, failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat")
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))
PHOTO = Picture(data=picture(32, 32, "jpeg"), media_type="image/jpeg", size=Size(width=32, height=32))
HAT = replace(CAT, images=(DRAWING, PHOTO))
GPT = "openai/gpt-image-2"
FLUX = "black-forest-labs/flux.2-pro"

known = partial(known_in, MODELS)


def unknown(name: str) -> Model:
    """What is assumed of a model that is not in the table."""
    assert CATALOGUE.unknown is not None
    return replace(CATALOGUE.unknown, id=name)


MODEL = known(DEFAULT_MODEL)

server, fake = served(FakeOpenRouter)
JUDGE = judge(RULES)


def provider_at(fake: FakeOpenRouter, *, timeouts: Timeouts | None = None, **variables: str) -> OpenRouter:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"OPENROUTER_API_KEY": fake.key or "", "OPENROUTER_BASE_URL": fake.base_url, **variables})
    provider = OpenRouter(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeOpenRouter,
    request: ImageRequest = CAT,
    model: Model = MODEL,
    *,
    ear: Ear | None = None,
    timeouts: Timeouts | None = None,
    previews: bool = False,
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts, OPENROUTER_PREVIEWS=str(previews)), request, model, ear)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_and_is_not_shown() -> None:
    assert load({"OPENROUTER_MODEL": GPT}) is None
    provider = load({"OPENROUTER_API_KEY": " sk-or-1234\n"})
    assert provider is not None
    assert provider._net.service.headers == {"Authorization": "Bearer sk-or-1234"}
    assert "sk-or-1234" not in f"{provider.account}{provider._net.service!r}"
    with pytest.raises(ConfigError, match="OPENROUTER_API_KEY: it holds spaces") as caught:
        load({"OPENROUTER_API_KEY": "sk or 1234"})
    assert "sk or 1234" not in caught.value.message


def test_a_default_model_that_nobody_knows_is_offered_too() -> None:
    offered = with_default(CATALOGUE, FLUX)
    assert (offered.default_model, offered.models) == (FLUX, (replace(unknown(FLUX), title=FLUX), *MODELS))
    assert with_default(CATALOGUE, GPT).models == MODELS


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_what_the_service_lists_becomes_facts() -> None:
    found = [model_of(Listed.model_validate({"id": name, **facts, "created": 1})) for name, facts in OFFERED.items()]
    both = frozenset({Operation.GENERATE, Operation.EDIT})
    assert found == [
        Model(
            provider="openrouter",
            id=DEFAULT_MODEL,
            title="Seedream 4.5",
            operations=both,
            max_images=14,
            max_count=10,
            seed=True,
            languages=frozenset({"en", "zh"}),
            writes=frozenset({"latin", "han"}),
        ),
        Model(provider="openrouter", id=FLUX, title="FLUX.2 Pro", seed=True),
        Model(
            provider="openrouter",
            id=GPT,
            title="GPT Image 2",
            operations=both,
            max_images=16,
            max_count=10,
            qualities=("auto", "low", "medium", "high"),
            backgrounds=("auto", "opaque", "transparent"),
            formats=("png", "jpeg", "webp"),
            compression=frozenset({"jpeg", "webp"}),
            writes=frozenset({"latin", "han"}),
            previews=True,
        ),
        None,  # draws SVG only
    ]


def test_our_facts_about_the_best_known_are_those_of_the_service() -> None:
    for name in (DEFAULT_MODEL, GPT):
        listed = model_of(Listed.model_validate({"id": name, **OFFERED[name]}))
        assert listed is not None
        assert replace(known(name), backgrounds=tuple(sorted(known(name).backgrounds))) == replace(
            listed, backgrounds=tuple(sorted(listed.backgrounds))
        )


async def test_a_model_nobody_knows_is_looked_up_once_and_the_request_fitted_to_it(fake: FakeOpenRouter) -> None:
    provider = provider_at(fake)
    wish = replace(CAT, count=3, seed=7, quality="high")
    for _ in range(2):
        made = await provider.generate(wish, unknown(FLUX), Ear())
        assert made.images == (Drawn(data=picture(64, 64), seed=7),)
        if _ == 0:
            assert [adjustment.field for adjustment in made.adjustments] == ["n", "quality"]
            assert {model.id for model in provider.catalogue.models} == {DEFAULT_MODEL, FLUX, GPT}
            wish = negotiate(wish, next(model for model in provider.catalogue.models if model.id == FLUX), styles={}).request
    assert [seen.path for seen in fake.seen] == ["/api/v1/images/models", "/api/v1/images", "/api/v1/images"]
    await provider.aclose()


async def test_pictures_are_not_dropped_when_the_model_turns_out_to_take_none(fake: FakeOpenRouter) -> None:
    with pytest.raises(ProviderError, match="cannot edit") as caught:
        await draw(fake, HAT, unknown(FLUX))
    assert caught.value.not_accepted
    assert [seen.path for seen in fake.seen] == ["/api/v1/images/models"]


async def test_without_the_list_the_service_itself_says_what_it_does_not_take(fake: FakeOpenRouter) -> None:
    fake.lists = False
    assert (await draw(fake, CAT, unknown(FLUX))).images
    with pytest.raises(ProviderError, match="Parameter quality is not supported"):
        await draw(fake, replace(CAT, quality="high"), unknown(FLUX))
    with pytest.raises(ProviderError, match="No endpoints found for nobody/nothing"):
        await draw(fake, CAT, unknown("nobody/nothing"))


def test_a_mask_is_never_dropped() -> None:
    with pytest.raises(UnsupportedError, match="cannot inpaint"):
        negotiate(replace(CAT, images=(DRAWING,), mask=DRAWING), MODEL, styles={})


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def test_a_full_request_becomes_this_body() -> None:
    wish = replace(
        HAT,
        count=2,
        shape=Size(width=1536, height=1024),
        quality="low",
        background="opaque",
        output_format="webp",
        output_compression=80,
        seed=7,
        options={"provider": {"only": ["openai"]}, "quality": "high"},
    )
    links = [f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}" for image in HAT.images]
    assert to_wire(wish, known(GPT), previews=True) == {
        "model": GPT,
        "prompt": "a cat",
        "n": 2,
        "size": "1536x1024",
        "quality": "high",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 80,
        "seed": 7,
        "input_references": [{"type": "image_url", "image_url": {"url": link}} for link in links],
        "stream": True,
        "provider": {"only": ["openai"]},
    }
    assert to_wire(CAT, MODEL) == {"model": DEFAULT_MODEL, "prompt": "a cat"}


@pytest.mark.parametrize(("width", "height", "name"), [(16, 9, "16:9"), (8, 1, "8:1"), (13, 6, "19.5:9"), (32, 18, "16:9"), (6, 5, "5:4")])
def test_a_shape_without_a_name_becomes_the_nearest_that_has_one(width: int, height: int, name: str) -> None:
    assert to_wire(replace(CAT, shape=AspectRatio(width=width, height=height)), MODEL)["aspect_ratio"] == name


shapes = st.none() | st.builds(Size, width=st.integers(512, 4000), height=st.integers(512, 4000)) | st.just(AspectRatio(width=7, height=5))


@given(
    shape=shapes,
    count=st.integers(1, 20),
    quality=st.none() | st.sampled_from(["low", "max"]),
    seed=st.none() | st.integers(0, 9),
    images=st.sampled_from([(), (DRAWING,), (DRAWING, PHOTO)]),
    model=st.sampled_from([*MODELS, unknown(FLUX)]),
)
def test_whatever_negotiation_lets_through_keeps_the_rules(
    shape: Any, count: int, quality: str | None, seed: int | None, images: Any, model: Model
) -> None:
    wish = replace(CAT, shape=shape, count=count, quality=quality, seed=seed, images=images)
    JUDGE.validate(to_wire(negotiate(wish, model, styles={}).request, model))


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "micros"),
    [
        ({"cost": 0.03}, 30_000),
        ({"cost": 0}, 0),
        ({"cost": 0.002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.04}}, 42_000),
        ({"cost": 0.03, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.03}}, 30_000),
        ({"cost": None}, None),
        ({"cost": "much"}, None),
        (["many"], None),
        (None, None),
    ],
)
def test_the_bill_is_what_the_answer_names(usage: Any, micros: int | None) -> None:
    assert cost(usage) == (None if micros is None else Cost(micros=micros, currency="USD", source="reported"))


def test_errors_are_understood_also_where_the_status_says_nothing() -> None:
    assert read_fault(200, {"error": {"code": 402, "message": "No."}}) == Fault(message="No.", kind=QuotaError, details={"service_code": "402"})
    raw = {"raw": "slow down", "provider_name": "Seed"}
    expected = Fault(message="No. (slow down)", kind=RateLimitedError, details={"service_code": "429", "upstream": "Seed"})
    assert read_fault(429, {"error": {"code": 429, "message": "No.", "metadata": raw}}) == expected
    assert read_fault(404, {"message": "no such route"}) == Fault(message="no such route")


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_pictures_come_back_with_what_they_cost(fake: FakeOpenRouter) -> None:
    made = await draw(fake, replace(HAT, count=2, seed=7, shape=Size(width=96, height=64)))
    assert made == Generated(images=(Drawn(data=picture(96, 64), seed=7),) * 2, cost=Cost(micros=60_000, currency="USD", source="reported"))
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/api/v1/images", f"Bearer {fake.key}")


async def test_previews_reach_the_job_where_the_model_has_them_and_the_operator_wants_them(fake: FakeOpenRouter) -> None:
    for model, previews, request, heard in (
        (GPT, True, CAT, [picture(16, 16)]),
        (GPT, False, CAT, []),
        (GPT, True, replace(CAT, count=2), []),
        (DEFAULT_MODEL, True, CAT, []),
    ):
        ear = Ear()
        made = await draw(fake, request, known(model), ear=ear, previews=previews)
        assert (len(made.images), ear.previews) == (request.count, heard)
        assert made.cost == Cost(micros=30_000 * request.count, currency="USD", source="reported")
    assert ["stream" in seen.json() for seen in fake.seen] == [True, False, False, False]


async def test_an_answer_in_one_piece_although_events_were_asked_for_is_understood(fake: FakeOpenRouter) -> None:
    assert (await draw(fake, CAT, replace(MODEL, previews=True), previews=True)).images == (Drawn(data=picture(64, 64)),)


async def test_a_shape_without_a_name_and_pictures_that_are_missing_are_told(fake: FakeOpenRouter) -> None:
    fake.trouble.append(Trouble.FEWER)
    assert (await draw(fake, replace(CAT, count=3, shape=AspectRatio(width=32, height=18)))).adjustments == (
        Adjustment(field="resolution", message="OpenRouter has no name for the shape 32:18; 16:9 is nearest."),
        Adjustment(field="n", message="The model drew 1 of 3 pictures."),
    )


@pytest.mark.parametrize("trouble", [Trouble.NO_BILL, Trouble.ODD_BILL, Trouble.OWN_KEY, Trouble.STREAM_BAD_PREVIEW])
async def test_what_the_answer_has_too_much_or_too_little_of_does_no_harm(fake: FakeOpenRouter, trouble: Trouble) -> None:
    for previews in (False, True):
        if trouble is not Trouble.NO_BILL or not previews:
            fake.trouble.append(trouble)
            assert (await draw(fake, CAT, known(GPT), previews=previews)).images == (Drawn(data=picture(64, 64)),)


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, bool, type[ProviderError], str, bool, int]] = [
    # trouble, previews, class, words, may have been billed, calls
    (T.NO_CREDIT, False, QuotaError, "Insufficient credits", False, 1),
    (T.FLAGGED, False, RefusedError, "Input was flagged", False, 1),
    (T.UPSTREAM_BLOCKED, False, RefusedError, "moderation_blocked", False, 1),
    (T.FORBIDDEN, False, AuthError, "not allowed to use this model", False, 1),
    (T.RATE_LIMITED, False, RateLimitedError, "Rate limit exceeded", False, 3),
    (T.RATE_LIMITED, True, RateLimitedError, "Rate limit exceeded", False, 3),
    (T.UPSTREAM_DOWN, False, UnavailableError, "upstream connect error", False, 1),
    (T.OVERLOADED, False, UnavailableError, "overloaded", False, 1),
    (T.HANG, False, UnavailableError, "silent for too long", True, 1),
    (T.CUT, False, UnavailableError, "broke the connection", True, 1),
    (T.ERROR_200, False, RateLimitedError, "limits its rate", False, 1),
    (T.ERROR_200, True, RateLimitedError, "limits its rate", False, 1),
    (T.NO_DATA, False, BadReplyError, "without a picture", True, 1),
    (T.BAD_BASE64, False, BadReplyError, "not valid base64", True, 1),
    (T.STREAM_BLOCKED, True, RefusedError, "safety system", False, 1),
    (T.STREAM_CUT, True, UnavailableError, "before the picture was complete", True, 1),
]


@pytest.mark.parametrize(("trouble", "previews", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeOpenRouter, trouble: Trouble, previews: bool, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, CAT, known(GPT), previews=previews, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert words in error.message


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    harmless = {T.FEWER, T.NO_BILL, T.ODD_BILL, T.OWN_KEY, T.STREAM_BAD_PREVIEW}
    assert {row[0] for row in FAILURES} | harmless == set(Trouble)


async def test_a_refusal_names_its_reasons(fake: FakeOpenRouter) -> None:
    fake.trouble.append(T.FLAGGED)
    with pytest.raises(RefusedError) as caught:
        await draw(fake)
    assert {name: caught.value.details[name] for name in ("reasons", "upstream")} == {"reasons": ["violence"], "upstream": "OpenAI"}


async def test_work_under_way_can_be_cancelled(fake: FakeOpenRouter) -> None:
    fake.trouble.append(T.HANG)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake)
    assert scope.cancelled_caught


# Checking -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "left", "words"), [(GPT, 3.25, " and lets it spend 3.25 dollars more"), (FLUX, None, "")])
async def test_the_check_costs_nothing_and_tells_what_may_be_spent(fake: FakeOpenRouter, model: str, left: float | None, words: str) -> None:
    fake.left = left
    provider = provider_at(fake, OPENROUTER_MODEL=model)
    assert await provider.check() == f"OpenRouter accepts the key{words}; {model} is among its 3 image models."
    assert {model.id for model in provider.catalogue.models} == {DEFAULT_MODEL, FLUX, GPT}
    await provider.aclose()
    assert {seen.method for seen in fake.seen} == {"GET"}


async def test_a_model_that_is_gone_and_a_wrong_key_are_told(fake: FakeOpenRouter) -> None:
    provider = provider_at(fake, OPENROUTER_MODEL="old/one")
    assert "old/one is not among its 3 image models." in await provider.check()
    assert provider.catalogue.default_model == "old/one"
    await provider.aclose()
    provider = provider_at(fake, OPENROUTER_API_KEY="sk-or-wrong-98765")
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check OPENROUTER_API_KEY") as caught:
            await call
        assert "sk-or-wrong-98765" not in str(caught.value)
    await provider.aclose()


# The fake is faithful: OpenRouter's own library is its witness -------------------------------------------------------------------------------


@pytest.fixture
async def library(fake: FakeOpenRouter) -> AsyncIterator[sdk.OpenRouter]:
    async with sdk.OpenRouter(api_key=fake.key, server_url=fake.base_url, retry_config=None) as client:
        yield client


async def test_the_library_sends_the_same_body_and_understands_the_answer(fake: FakeOpenRouter, library: sdk.OpenRouter) -> None:
    references: list[components.ContentPartImageTypedDict] = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"}} for image in HAT.images
    ]
    answer = await library.images.generate_async(
        model=GPT, prompt="a cat", n=2, size="96x64", quality="low", background="opaque", output_format="png", input_references=references
    )
    wish = replace(HAT, count=2, shape=Size(width=96, height=64), quality="low", background="opaque", output_format="png")
    await draw(fake, wish, known(GPT))
    theirs, ours = fake.seen
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert [base64.b64decode(entry.b64_json) for entry in answer.data] == [picture(96, 64)] * 2
    assert answer.usage is not None
    assert answer.usage.cost == 0.06


async def test_the_library_sees_the_same_stream_and_the_same_models(fake: FakeOpenRouter, library: sdk.OpenRouter) -> None:
    stream = await library.images.generate_async(model=GPT, prompt="a cat", stream=True)
    async with stream:
        kinds = [event.type async for event in stream]
    assert kinds == ["image_generation.partial_image", "image_generation.text_chunk", "image_generation.completed"]
    await draw(fake, CAT, known(GPT), previews=True)
    theirs, ours = fake.seen
    assert theirs.json() == ours.json()
    listed = await library.images.list_models_async()
    assert [model.id for model in listed.data] == list(OFFERED)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (T.NO_CREDIT, errors.PaymentRequiredResponseError),
        (T.FLAGGED, errors.ForbiddenResponseError),
        (T.UPSTREAM_DOWN, errors.BadGatewayResponseError),
        (T.RATE_LIMITED, errors.TooManyRequestsResponseError),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeOpenRouter, library: sdk.OpenRouter, trouble: Trouble, kind: type[errors.OpenRouterError]
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(kind):
        await library.images.generate_async(model=GPT, prompt="a cat")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "stamina", "openrouter", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.openrouter as o; o.load({{'OPENROUTER_API_KEY': 'k-1'}}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
