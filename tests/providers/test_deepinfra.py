from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import openai as sdk
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import Adjustment, Cost, Drawn, Generated, ImageRequest, Model, Operation, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, File
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.deepinfra import CATALOGUE, DEFAULT_MODEL, MODELS, Config, DeepInfra, load, read_fault, to_parts
from mcp_image_server.settings import parse

from ..fakes.deepinfra import FakeDeepInfra, Trouble
from ..fakes.multipart import parts_of
from ..fakes.server import picture
from .inputs import hole, png
from .service import drawn_by, failure_of, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=128, height=144))

known = partial(known_in, MODELS)
OWN = known(DEFAULT_MODEL)
PRO = known("black-forest-labs/FLUX-2-pro")
UNKNOWN = replace(CATALOGUE.unknown or OWN, id="someone/new")

server, fake = served(FakeDeepInfra)


def provider_at(fake: FakeDeepInfra, key: str | None = None) -> DeepInfra:
    return DeepInfra(parse(Config, {"DEEPINFRA_TOKEN": key or fake.key, "DEEPINFRA_BASE_URL": fake.url}))


async def draw(fake: FakeDeepInfra, request: ImageRequest = CAT, model: Model = OWN) -> Generated:
    return await drawn_by(provider_at(fake), request, model)


def test_a_key_under_either_name_makes_the_provider() -> None:
    assert load({}) is None
    for name in ("DEEPINFRA_TOKEN", "DEEPINFRA_API_KEY"):
        provider = load({name: "di-1", "DEEPINFRA_MODEL": "someone/new"})
        assert provider is not None
        assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("deepinfra", False, "someone/new")
        assert provider._net.service.key_variable == name
        assert not isinstance(provider, Resumable)


# The service's own way ----------------------------------------------------------------------------------------------------------------------


async def test_a_model_with_a_seed_is_asked_the_services_own_way(fake: FakeDeepInfra) -> None:
    made = await draw(fake, replace(CAT, count=2, options={"num_inference_steps": 8}))
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", f"/v1/inference/{DEFAULT_MODEL}", f"Bearer {fake.key}")
    assert seen.json() == {"prompt": "a cat", "width": 128, "height": 144, "num_images": 2, "seed": 7, "num_inference_steps": 8}
    data = picture(128, 144)
    assert made == Generated(
        images=(Drawn(data=data, seed=7), Drawn(data=data)), cost=Cost(micros=21_000, currency="USD", source="reported"), request_id="R1"
    )


async def test_pictures_that_were_turned_away_are_left_out_with_a_word(fake: FakeDeepInfra) -> None:
    fake.trouble.append(Trouble.ONE_NSFW)
    made = await draw(fake, replace(CAT, count=2))
    assert made.images == (Drawn(data=picture(128, 144)),)
    assert made.adjustments == (Adjustment(field="n", message="DeepInfra's safety checker turned 1 of 2 pictures away."),)


async def test_fields_nobody_knows_do_no_harm(fake: FakeDeepInfra) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert (await draw(fake)).images == (Drawn(data=picture(128, 144), seed=7),)


# OpenAI's way -------------------------------------------------------------------------------------------------------------------------------


async def test_a_resold_model_is_asked_openais_way(fake: FakeDeepInfra) -> None:
    made = await draw(fake, replace(CAT, count=2, seed=None, options={"user": "u1"}), PRO)
    (seen,) = fake.seen
    assert (seen.path, seen.json()) == (
        "/v1/openai/images/generations",
        {"model": PRO.id, "prompt": "a cat", "n": 2, "size": "128x144", "response_format": "b64_json", "user": "u1"},
    )
    assert made == Generated(images=(Drawn(data=picture(128, 144)),) * 2)


async def test_an_edit_is_a_multipart_body_with_each_picture_under_the_same_name(fake: FakeDeepInfra) -> None:
    await draw(fake, ImageRequest(prompt="a hat", images=(png(16, 16), png(8, 8)), mask=hole()), UNKNOWN)
    (seen,) = fake.seen
    assert seen.path == "/v1/openai/images/edits"
    assert parts_of(seen) == [
        ("model", "someone/new"),
        ("prompt", "a hat"),
        ("n", "1"),
        ("response_format", "b64_json"),
        ("image", File(name="image1.png", media_type="image/png", data=picture(16, 16))),
        ("image", File(name="image2.png", media_type="image/png", data=picture(8, 8))),
        ("mask", File(name="mask.png", media_type="image/png", data=hole().data)),
    ]


async def test_a_variation_needs_no_words(fake: FakeDeepInfra) -> None:
    request = ImageRequest(prompt="", action=Operation.VARIATION, images=(png(16, 16),), shape=Size(width=128, height=128))
    made = await draw(fake, request, known("black-forest-labs/FLUX-1-Redux-dev"))
    (seen,) = fake.seen
    assert seen.path == "/v1/openai/images/variations"
    assert parts_of(seen)[:-1] == [("model", "black-forest-labs/FLUX-1-Redux-dev"), ("n", "1"), ("size", "128x128"), ("response_format", "b64_json")]
    assert made.images == (Drawn(data=picture(128, 128)),)


async def test_openais_own_library_sends_what_we_send(fake: FakeDeepInfra) -> None:
    client = sdk.AsyncOpenAI(api_key=fake.key, base_url=f"{fake.url}/v1/openai", max_retries=0)
    image = ("image1.png", picture(16, 16), "image/png")
    await client.images.edit(model=PRO.id, prompt="a hat", image=image, n=1, response_format="b64_json")
    await client.close()
    ours = to_parts(ImageRequest(prompt="a hat", images=(png(16, 16),)), PRO)
    theirs = dict(parts_of(fake.seen[0]))
    assert theirs == dict(ours)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_every_model_takes_what_is_fitted_to_it(fake: FakeDeepInfra, model: Model) -> None:
    request = replace(CAT, negative_prompt="dogs", quality="high", images=() if model.max_images == 0 else (png(64, 64),))
    if Operation.VARIATION in model.operations:
        request = replace(request, action=Operation.VARIATION)
    made = await draw(fake, negotiate(request, model, styles={}).request, model)
    assert [drawn.data for drawn in made.images] == [picture(128, 144)]


# What goes wrong ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.NSFW, RefusedError, "safety checker turned the picture away"),
        (Trouble.BLOCKED, RefusedError, "Prompt violates the content policy"),
        (Trouble.NO_BALANCE, QuotaError, "check balance"),
        (Trouble.RATE_LIMITED, RateLimitedError, "Try again in 3600 seconds"),
        (Trouble.FAILED, ProviderError, "CUDA error"),
        (Trouble.EMPTY, BadReplyError, "without a picture"),
        (Trouble.KEY_ECHO, ProviderError, "bad Bearer ***"),
    ],
)
async def test_what_goes_wrong_is_named(fake: FakeDeepInfra, trouble: Trouble, kind: type[ProviderError], words: str) -> None:
    fake.trouble.append(trouble)
    error = await failure_of(draw(fake), fake.key)
    assert type(error) is kind
    assert words in error.message
    assert len(fake.seen) == 1


async def test_an_empty_answer_openais_way_is_no_success(fake: FakeDeepInfra) -> None:
    fake.trouble.append(Trouble.EMPTY)
    with pytest.raises(BadReplyError, match="without a picture"):
        await draw(fake, CAT, PRO)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"detail": [{"loc": ["body", "width"], "msg": "too small", "type": "value_error"}]}, Fault(message="too small")),
        ({"error": {"message": "no", "code": "model_not_found"}}, Fault(message="no", details={"service_code": "model_not_found"})),
        ({"error": "Model is not available"}, Fault(message="Model is not available")),
        ({}, None),
        (None, None),
    ],
)
def test_an_error_in_any_of_its_forms_is_understood(body: Any, fault: Fault | None) -> None:
    assert read_fault(422, body) == fault


async def test_the_check_asks_for_the_account(fake: FakeDeepInfra) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "DeepInfra accepts the key."
    await provider.aclose()
    provider = provider_at(fake, key="di-wrong-0123456789")
    with pytest.raises(AuthError, match="Check DEEPINFRA_TOKEN"):
        await provider.check()
    await provider.aclose()
