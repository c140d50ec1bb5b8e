from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import openai as sdk
import pytest
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
from mcp_image_server.models import Adjustment, AspectRatio, Cost, Drawn, Generated, ImageRequest, Model, Operation, Picture, Price, Size, find_model
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Timeouts, Tries
from mcp_image_server.providers.xai import CATALOGUE, DEFAULT_MODEL, MODELS, XAI, Config, load, read_fault, service, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.server import picture
from ..fakes.xai import EDIT, GENERATION, FakeXAI, Trouble
from ..fakes.xai import MODELS as OFFERED
from .service import drawn_by, failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat")
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))
PHOTO = Picture(data=picture(32, 32, "jpeg"), media_type="image/jpeg", size=Size(width=32, height=32))
HAT = replace(CAT, prompt="the cat of <IMAGE_0> with the hat of <IMAGE_1>", images=(DRAWING, PHOTO))
DRAWING_LINK = {"type": "image_url", "url": f"data:image/png;base64,{base64.b64encode(DRAWING.data).decode()}"}
PHOTO_LINK = {"type": "image_url", "url": f"data:image/jpeg;base64,{base64.b64encode(PHOTO.data).decode()}"}

known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)

server, fake = served(FakeXAI)
EDITED, GENERATED = judge(EDIT), judge(GENERATION)


def provider_at(fake: FakeXAI, *, timeouts: Timeouts | None = None, **variables: str) -> XAI:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"XAI_API_KEY": fake.key or "", "XAI_BASE_URL": fake.base_url, **variables})
    provider = XAI(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeXAI, request: ImageRequest = CAT, model: Model = MODEL, *, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model)


# Settings and models ------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_and_is_not_shown() -> None:
    assert load({"XAI_MODEL": DEFAULT_MODEL}) is None
    provider = load({"XAI_API_KEY": " xai-1234\n"})
    assert provider is not None
    assert provider._net.service.headers == {"Authorization": "Bearer xai-1234"}
    assert "xai-1234" not in f"{provider.account}{provider._net.service!r}"
    with pytest.raises(ConfigError, match="XAI_API_KEY: it holds spaces") as caught:
        load({"XAI_API_KEY": "xai 1234"})
    assert "xai 1234" not in caught.value.message


def test_the_models_are_those_that_draw_today() -> None:
    assert tuple(model.id for model in MODELS) == OFFERED
    both = frozenset({Operation.GENERATE, Operation.EDIT})
    assert {(model.operations, model.max_count, model.max_images, model.mask, model.seed) for model in MODELS} == {(both, 10, 5, False, False)}
    prices = {model.id: (model.price.amount, dict(model.price.factors)) for model in MODELS if isinstance(model.price, Price)}
    assert prices == {OFFERED[0]: (0.06, {"low": 0.04 / 0.06}), OFFERED[1]: (0.02, {})}


@pytest.mark.parametrize("name", ["grok-imagine-image-pro", "grok-imagine-image-quality"])
def test_a_model_that_was_retired_stands_for_the_one_that_xai_sends_it_to(name: str) -> None:
    found = find_model(CATALOGUE.models, name)
    assert found is not None
    assert found.id == OFFERED[0]


def test_another_default_model_is_offered_too() -> None:
    assert XAI(parse(Config, {"XAI_API_KEY": "k-1", "XAI_MODEL": OFFERED[0]})).catalogue == replace(CATALOGUE, default_model=OFFERED[0])
    offered = XAI(parse(Config, {"XAI_API_KEY": "k-1", "XAI_MODEL": "grok-9"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[0].max_images) == ("grok-9", "grok-9", 5)


def test_a_mask_is_never_dropped() -> None:
    with pytest.raises(UnsupportedError, match="cannot inpaint"):
        negotiate(replace(CAT, images=(DRAWING,), mask=DRAWING), MODEL, styles={})


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def test_a_generation_and_an_edit_become_these_bodies() -> None:
    assert to_wire(CAT, MODEL) == {"model": DEFAULT_MODEL, "prompt": "a cat", "n": 1, "response_format": "b64_json"}
    wish = replace(HAT, count=2, shape=Size(width=2048, height=1152), quality="low", options={"user": "u1"})
    assert to_wire(wish, known(OFFERED[0])) == {
        "model": OFFERED[0],
        "prompt": HAT.prompt,
        "n": 2,
        "aspect_ratio": "16:9",
        "resolution": "2k",
        "quality": "low",
        "response_format": "b64_json",
        "images": [DRAWING_LINK, PHOTO_LINK],
        "user": "u1",
    }
    alone = to_wire(replace(CAT, images=(DRAWING,)), MODEL)
    assert (alone["image"], "images" in alone) == (DRAWING_LINK, False)


@pytest.mark.parametrize(
    ("shape", "ratio", "resolution", "edited"),
    [
        (Size(width=1024, height=1024), "1:1", "1k", "1:1"),
        (Size(width=1344, height=768), "16:9", "1k", "16:9"),
        (Size(width=1536, height=1536), "1:1", "2k", "1:1"),
        (AspectRatio(width=4, height=3), "4:3", None, "4:3"),
        (AspectRatio(width=13, height=6), "19.5:9", None, "2:1"),
        (AspectRatio(width=9, height=20), "9:20", None, "1:2"),
    ],
)
def test_a_wish_becomes_the_nearest_shape_that_has_a_name(shape: Any, ratio: str, resolution: str | None, edited: str) -> None:
    body = to_wire(replace(CAT, shape=shape), MODEL)
    assert (body["aspect_ratio"], body.get("resolution")) == (ratio, resolution)
    assert to_wire(replace(CAT, shape=shape, images=(DRAWING,)), MODEL)["aspect_ratio"] == edited


shapes = st.none() | st.builds(Size, width=st.integers(300, 4000), height=st.integers(300, 4000)) | st.just(AspectRatio(width=7, height=5))


@given(
    shape=shapes,
    count=st.integers(1, 20),
    quality=st.none() | st.sampled_from(["low", "max"]),
    seed=st.none() | st.integers(0, 9),
    images=st.sampled_from([(), (DRAWING,), (DRAWING, PHOTO)]),
    model=st.sampled_from(MODELS),
)
def test_whatever_negotiation_lets_through_keeps_the_rules(
    shape: Any, count: int, quality: str | None, seed: int | None, images: Any, model: Model
) -> None:
    wish = replace(CAT, shape=shape, count=count, quality=quality, seed=seed, images=images)
    (EDITED if images else GENERATED).validate(to_wire(negotiate(wish, model, styles={}).request, model))


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, {"code": "Bad", "error": "Incorrect%20API%20key"}, Fault(message="Incorrect API key", kind=AuthError, details={"service_code": "Bad"})),
        (400, {"error": {"message": "Too long.", "code": 3}}, Fault(message="Too long.", details={"service_code": "3"})),
        (422, {"detail": "No such field."}, Fault(message="No such field.")),
        (500, {"error": "The moderation service is down."}, Fault(message="The moderation service is down.")),
    ],
)
def test_errors_are_understood_in_every_form(status: int, body: Any, fault: Fault) -> None:
    assert read_fault(status, body) == fault


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_pictures_come_back_with_what_they_cost(fake: FakeXAI) -> None:
    made = await draw(fake, replace(CAT, count=2, shape=Size(width=1536, height=864)))
    assert made == Generated(
        images=(Drawn(data=picture(64, 64)),) * 2,
        cost=Cost(micros=40_000, currency="USD", source="reported"),
        adjustments=(Adjustment(field="resolution", message="xAI draws shapes of certain names; 1536x864 became 16:9 at 1k."),),
    )
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/images/generations", f"Bearer {fake.key}")


async def test_pictures_are_changed_at_another_address(fake: FakeXAI) -> None:
    assert (await draw(fake, replace(HAT, shape=AspectRatio(width=16, height=9)))).adjustments == ()
    await draw(fake, replace(CAT, images=(DRAWING,)))
    assert {(seen.method, seen.path) for seen in fake.seen} == {("POST", "/v1/images/edits")}
    assert [seen.json().keys() & {"image", "images"} for seen in fake.seen] == [{"images"}, {"image"}]


async def test_links_are_fetched_without_the_key_where_somebody_asks_for_them(fake: FakeXAI) -> None:
    assert (await draw(fake, replace(CAT, count=2, options={"response_format": "url"}))).images == (Drawn(data=picture(64, 64)),) * 2
    assert ["authorization" in seen.headers for seen in fake.seen] == [True, False, False]


async def test_what_moderation_keeps_back_is_told_and_the_rest_is_kept(fake: FakeXAI) -> None:
    fake.trouble.append(Trouble.WITHHELD_ONE)
    made = await draw(fake, replace(CAT, count=3))
    assert (len(made.images), made.adjustments) == (2, (Adjustment(field="n", message="xAI's moderation let 2 of 3 pictures through."),))


@pytest.mark.parametrize("trouble", [Trouble.NO_BILL, Trouble.ODD_BILL])
async def test_a_bill_that_cannot_be_read_does_not_lose_the_picture(fake: FakeXAI, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert await draw(fake) == Generated(images=(Drawn(data=picture(64, 64)),))


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, int]] = [
    # trouble, class, words, may have been billed, calls
    (T.NO_CREDIT, QuotaError, "used all available credits", False, 1),
    (T.DENIED, AuthError, "may not use this model", False, 1),
    (T.GUIDELINES, RefusedError, "usage guidelines", False, 1),
    (T.RATE_LIMITED, RateLimitedError, "Too many requests", False, 3),
    (T.OVERLOADED, UnavailableError, "at capacity", False, 1),
    (T.HANG, UnavailableError, "silent for too long", True, 1),
    (T.CUT, UnavailableError, "broke the connection", True, 1),
    (T.WITHHELD, RefusedError, "let no picture through (it names no reason)", False, 1),
    (T.WITHHELD_WHY, RefusedError, "let no picture through (violence)", False, 1),
    (T.WITHHELD_EACH, RefusedError, "let no picture through", False, 1),
    (T.NO_PICTURE, BadReplyError, "without a picture", True, 1),
    (T.BAD_BASE64, BadReplyError, "not valid base64", True, 1),
    (T.OPENAI_FORM, RefusedError, "content moderation", False, 1),
]


@pytest.mark.parametrize(("trouble", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeXAI, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert words in error.message


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.WITHHELD_ONE, T.NO_BILL, T.ODD_BILL} == set(Trouble)


async def test_work_under_way_can_be_cancelled(fake: FakeXAI) -> None:
    fake.trouble.append(T.HANG)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake)
    assert scope.cancelled_caught


# Checking -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "words"), [(DEFAULT_MODEL, "listed"), (f"{DEFAULT_MODEL}-latest", "listed"), ("grok-9", "not listed")])
async def test_the_check_costs_nothing_and_tells_whether_the_model_is_there(fake: FakeXAI, model: str, words: str) -> None:
    provider = provider_at(fake, XAI_MODEL=model)
    assert await provider.check() == f"xAI accepts the key, and the model {model} is {words}."
    await provider.aclose()
    assert {seen.method for seen in fake.seen} == {"GET"}


async def test_a_wrong_key_names_the_variable(fake: FakeXAI) -> None:
    provider = provider_at(fake, XAI_API_KEY="xai-wrong-987654")
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match=r"Incorrect API key provided.*Check XAI_API_KEY") as caught:
            await call
        assert "xai-wrong-987654" not in str(caught.value)
    await provider.aclose()


# The fake is faithful: the library that xAI names for plain HTTP, OpenAI's, is its witness -----------------------------------------------------


async def test_the_library_sends_the_same_body_and_understands_the_answer(fake: FakeXAI) -> None:
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as library:
        shape: dict[str, Any] = {"aspect_ratio": "16:9", "resolution": "1k"}
        answer = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", n=2, response_format="b64_json", extra_body=shape)
        await draw(fake, replace(CAT, count=2, shape=Size(width=1536, height=864)))
        theirs, ours = fake.seen
        assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
        assert theirs.headers["authorization"] == ours.headers["authorization"]
        assert answer.data is not None
        assert [base64.b64decode(entry.b64_json or "") for entry in answer.data] == [picture(64, 64)] * 2
        with pytest.raises(sdk.BadRequestError):
            await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", size="1024x1024")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "stamina", "openai", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.xai as x; x.load({{'XAI_API_KEY': 'k-1'}}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
