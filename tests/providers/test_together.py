from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import Drawn, Generated, ImageRequest, Model, Operation, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.together import CATALOGUE, DEFAULT_MODEL, MODELS, Config, Together, load, read_fault, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.server import picture
from ..fakes.together import RULES, FakeTogether, Trouble
from .inputs import png
from .service import failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=64, height=80))

known = partial(known_in, MODELS)
FLUX = known(DEFAULT_MODEL)

server, fake = served(FakeTogether)
JUDGE = judge(RULES)


def settings(fake: FakeTogether, **variables: str) -> Mapping[str, str]:
    return {"TOGETHER_API_KEY": fake.key, "TOGETHER_BASE_URL": f"{fake.url}/v1", **variables}


async def draw(fake: FakeTogether, request: ImageRequest = CAT, model: Model = FLUX, **variables: str) -> Generated:
    provider = Together(parse(Config, settings(fake, **variables)))
    try:
        return await provider.generate(request, model, Ear())
    finally:
        await provider.aclose()


def test_a_key_makes_the_provider() -> None:
    assert load({}) is None
    provider = load({"TOGETHER_API_KEY": "tg-1", "TOGETHER_MODEL": "Qwen/Qwen-Image"})
    assert provider is not None
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("together", False, "Qwen/Qwen-Image")
    assert provider.catalogue.models[0] == replace(CATALOGUE.unknown or FLUX, id="Qwen/Qwen-Image", title="Qwen/Qwen-Image")
    assert not isinstance(provider, Resumable)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

LINK = "data:image/png;base64,"
FULL = replace(CAT, negative_prompt="dogs", count=2, output_format="png", options={"steps": 20, "response_format": "url"})


def test_a_full_request_becomes_this_body() -> None:
    assert to_wire(FULL, FLUX) == {
        "model": "black-forest-labs/FLUX.2-pro",
        "prompt": "a cat",
        "n": 2,
        "width": 64,
        "height": 80,
        "seed": 7,
        "negative_prompt": "dogs",
        "output_format": "png",
        "steps": 20,
        "response_format": "url",
    }


def test_pictures_go_where_the_model_looks_for_them() -> None:
    edit = ImageRequest(prompt="a hat", images=(png(16, 16), png(8, 8)))
    body = to_wire(edit, FLUX)
    assert all(link.startswith(LINK) for link in body["reference_images"])
    assert {**body, "reference_images": len(body["reference_images"])} == {
        "model": "black-forest-labs/FLUX.2-pro",
        "prompt": "a hat",
        "n": 1,
        "response_format": "base64",
        "reference_images": 2,
    }
    body = to_wire(replace(edit, images=edit.images[:1]), known("black-forest-labs/FLUX.1-kontext-pro"))
    assert body["image_url"].startswith(LINK)
    assert {**body, "image_url": ""} == {
        "model": "black-forest-labs/FLUX.1-kontext-pro",
        "prompt": "a hat",
        "n": 1,
        "response_format": "base64",
        "image_url": "",
    }


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=50).filter(str.strip),
        count=st.integers(1, 9),
        seed=st.none() | st.integers(0, 2**31),
        negative_prompt=st.none() | st.text(max_size=9),
        shape=st.none() | st.builds(Size, width=st.integers(300, 4000), height=st.integers(300, 4000)),
        output_format=st.sampled_from([None, "png", "jpeg", "webp"]),
    ),
    model=st.sampled_from(MODELS),
)
def test_every_fitted_request_keeps_the_rules(request: ImageRequest, model: Model) -> None:
    JUDGE.validate(to_wire(negotiate(request, model, styles={}).request, model))


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_a_request_comes_back_as_pictures(fake: FakeTogether) -> None:
    made = await draw(fake, replace(CAT, count=2, output_format="png"))
    data = picture(64, 80)
    assert made == Generated(images=(Drawn(data=data, seed=7), Drawn(data=data)), request_id="oGEB-1")
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/images/generations", f"Bearer {fake.key}")
    assert seen.json() == to_wire(replace(CAT, count=2, output_format="png"), FLUX)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_every_model_takes_what_is_fitted_to_it(fake: FakeTogether, model: Model) -> None:
    request = replace(CAT, shape=Size(width=256, height=256), negative_prompt="dogs", output_format="png")
    if Operation.EDIT in model.operations:
        request = replace(request, images=(png(16, 16),))
    made = await draw(fake, negotiate(request, model, styles={}).request, model)
    assert [drawn.data for drawn in made.images] == [picture(256, 256)]


async def test_links_are_followed_at_once_and_without_the_key(fake: FakeTogether) -> None:
    fake.trouble.append(Trouble.LINKS)
    made = await draw(fake)
    assert made.images == (Drawn(data=picture(32, 32), seed=7),)
    assert "authorization" not in fake.seen[1].headers


async def test_fields_nobody_knows_do_no_harm(fake: FakeTogether) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert (await draw(fake)).images == (Drawn(data=picture(64, 80, "jpeg"), seed=7),)


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.NSFW, RefusedError, "NSFW content detected"),
        (Trouble.NO_CREDIT, QuotaError, "Credit limit exceeded"),
        (Trouble.RATE_LIMITED, RateLimitedError, "Try again in 3600 seconds"),
        (Trouble.EMPTY, BadReplyError, "without a picture"),
        (Trouble.ERROR_200, ProviderError, "The model is overloaded"),
        (Trouble.KEY_ECHO, ProviderError, "Bad header Bearer ***"),
    ],
)
async def test_what_goes_wrong_is_named(fake: FakeTogether, trouble: Trouble, kind: type[ProviderError], words: str) -> None:
    fake.trouble.append(trouble)
    error = await failure_of(draw(fake), fake.key)
    assert type(error) is kind
    assert words in error.message
    assert len(fake.seen) == 1


async def test_a_rule_that_was_broken_is_told_with_its_parameter(fake: FakeTogether) -> None:
    with pytest.raises(ProviderError) as caught:
        await draw(fake, replace(CAT, options={"steps": "many"}))
    assert caught.value.details == {"provider": "together", "status": 400, "service_code": "invalid_request_error", "parameter": "steps"}


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, {"error": {"message": "disable_safety_checker is not allowed", "type": "invalid_request_error"}}, None),
        (401, {"error": {"message": "billing", "type": "t"}}, None),
        (500, {"error": "overloaded"}, None),
        (422, {"error": {"message": "blocked by the safety checker", "type": "t"}}, RefusedError),
    ],
)
def test_words_count_only_where_the_status_says_too_little(status: int, body: Any, fault: type[ProviderError] | None) -> None:
    found = read_fault(status, body)
    assert found is not None
    assert found.kind is fault


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None
    assert isinstance(read_fault(500, "no"), Fault)


async def test_the_check_asks_for_the_models(fake: FakeTogether) -> None:
    for model, words in ((DEFAULT_MODEL, "is listed"), ("Qwen/Qwen-Image", "is not listed")):
        provider = Together(parse(Config, settings(fake, TOGETHER_MODEL=model)))
        assert await provider.check() == f"Together AI accepts the key, and the model {model} {words}."
        await provider.aclose()
    provider = Together(parse(Config, settings(fake, TOGETHER_API_KEY="tg-wrong-0123456789")))
    with pytest.raises(AuthError, match="Check TOGETHER_API_KEY"):
        await provider.check()
    await provider.aclose()
