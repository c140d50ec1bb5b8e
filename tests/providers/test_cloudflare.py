from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import Adjustment, Drawn, Generated, ImageRequest, Model, Operation, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, File
from mcp_image_server.pictures import examine, white_is_edit
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.cloudflare import DEFAULT_MODEL, MODELS, Cloudflare, Config, load, read_fault
from mcp_image_server.settings import parse

from ..fakes.cloudflare import ACCOUNT, FakeCloudflare, Trouble
from ..fakes.multipart import parts_of
from ..fakes.server import picture
from .inputs import hole, png
from .service import drawn_by, failure_of, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=256, height=272))

known = partial(known_in, MODELS)
FLUX = known(DEFAULT_MODEL)

server, fake = served(FakeCloudflare)


def provider_at(fake: FakeCloudflare, token: str | None = None) -> Cloudflare:
    variables = {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": token or fake.token,
        "CLOUDFLARE_BASE_URL": f"{fake.url}/client/v4",
    }
    return Cloudflare(parse(Config, variables))


async def draw(fake: FakeCloudflare, request: ImageRequest = CAT, model: Model = FLUX) -> Generated:
    return await drawn_by(provider_at(fake), request, model)


def test_account_and_token_together_make_the_provider() -> None:
    token = {"CLOUDFLARE_API_TOKEN": "cf-1"}
    assert load({}) is None
    assert load(token) is None
    assert load({"CLOUDFLARE_ACCOUNT_ID": ACCOUNT}) is None
    provider, again = load({"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, **token}), load({"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": "cf-2"})
    assert provider is not None
    assert again is not None
    assert (provider.name, provider.repeatable, provider.account) == ("cloudflare", False, again.account)
    assert not isinstance(provider, Resumable)
    with pytest.raises(ConfigError, match="CLOUDFLARE_ACCOUNT_ID"):
        load({"CLOUDFLARE_ACCOUNT_ID": "../other", **token})


# To wire ------------------------------------------------------------------------------------------------------------------------------------


async def test_flux_2_gets_a_form_although_there_are_only_words(fake: FakeCloudflare) -> None:
    made = await draw(fake, replace(CAT, options={"guidance": 4}))
    (seen,) = fake.seen
    assert (seen.path, seen.headers["authorization"]) == (f"/client/v4/accounts/{ACCOUNT}/ai/run/{DEFAULT_MODEL}", f"Bearer {fake.token}")
    assert parts_of(seen) == [("prompt", "a cat"), ("width", "256"), ("height", "272"), ("seed", "7"), ("guidance", "4")]
    assert made == Generated(images=(Drawn(data=picture(256, 272), seed=7),), request_id="RAY1")


async def test_flux_2_gets_input_pictures_in_the_form(fake: FakeCloudflare) -> None:
    await draw(fake, ImageRequest(prompt="a hat", images=(png(16, 16), png(8, 8))))
    assert parts_of(fake.seen[0]) == [
        ("prompt", "a hat"),
        ("input_image_0", File(name="0.png", media_type="image/png", data=picture(16, 16))),
        ("input_image_1", File(name="1.png", media_type="image/png", data=picture(8, 8))),
    ]


async def test_flux_2_dev_gets_input_pictures_made_small_enough_for_it(fake: FakeCloudflare) -> None:
    dev = known("@cf/black-forest-labs/flux-2-dev")
    request = ImageRequest(prompt="a hat", images=(png(1024, 768), png(512, 512)))
    made = await draw(fake, request, dev)
    (_, (_, first), (_, second)) = parts_of(fake.seen[0])
    assert isinstance(first, File)
    assert (examine(first.data).size, second) == (Size(width=512, height=384), File(name="1.png", media_type="image/png", data=picture(512, 512)))
    assert made.adjustments == (Adjustment(field="images", message=f"{dev.id} takes pictures of 512x512 pixels; 1024x768 became 512x384."),)
    assert (await draw(fake, request)).adjustments == ()


async def test_a_diffusion_model_gets_json_and_answers_with_bytes(fake: FakeCloudflare) -> None:
    made = await draw(fake, replace(CAT, negative_prompt="dogs", options={"num_steps": 8}), known("@cf/stabilityai/stable-diffusion-xl-base-1.0"))
    assert fake.seen[0].json() == {"prompt": "a cat", "negative_prompt": "dogs", "width": 256, "height": 272, "seed": 7, "num_steps": 8}
    assert made == Generated(images=(Drawn(data=picture(256, 272), seed=7),), request_id="RAY1")


async def test_a_model_that_takes_neither_seed_nor_size_is_told_none_with_a_word(fake: FakeCloudflare) -> None:
    schnell = known("@cf/black-forest-labs/flux-1-schnell")
    fitted = negotiate(CAT, schnell, styles={})
    assert fitted.adjustments == (Adjustment(field="seed", message=f"{schnell.id} takes no seed."),)
    made = await draw(fake, fitted.request, schnell)
    assert fake.seen[0].json() == {"prompt": "a cat"}
    assert made.adjustments == (Adjustment(field="resolution", message=f"{schnell.id} is told no size; the service decides."),)


async def test_inpainting_gets_picture_and_mask_in_json(fake: FakeCloudflare) -> None:
    request = ImageRequest(prompt="a hat", images=(png(64, 64),), mask=hole(), strength=0.5)
    await draw(fake, request, known("@cf/runwayml/stable-diffusion-v1-5-inpainting"))
    assert fake.seen[0].json() == {
        "prompt": "a hat",
        "image_b64": base64.b64encode(picture(64, 64)).decode(),
        "mask": list(white_is_edit(hole().data)),
        "strength": 0.5,
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_every_model_takes_what_is_fitted_to_it(fake: FakeCloudflare, model: Model) -> None:
    request = replace(CAT, negative_prompt="dogs", count=3)
    if model.max_images:
        request = replace(request, images=(png(64, 64),), mask=hole() if Operation.INPAINT in model.operations else None)
    size = (256, 272) if model.sizes else (1024, 768)
    assert [drawn.data for drawn in (await draw(fake, negotiate(request, model, styles={}).request, model)).images] == [picture(*size)]


# What comes back ----------------------------------------------------------------------------------------------------------------------------


async def test_fields_nobody_knows_do_no_harm(fake: FakeCloudflare) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert (await draw(fake)).images == (Drawn(data=picture(256, 272), seed=7),)


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.NSFW, RefusedError, "NSFW content"),
        (Trouble.FREE_DAY_OVER, QuotaError, "daily free allocation"),
        (Trouble.NO_CAPACITY, RateLimitedError, "Try again in 3600 seconds"),
        (Trouble.NO_ROUTE, ProviderError, "Check CLOUDFLARE_ACCOUNT_ID"),
        (Trouble.FAILED_200, ProviderError, "Internal server error"),
        (Trouble.EMPTY, BadReplyError, "without a picture"),
        (Trouble.KEY_ECHO, ProviderError, "bad header Bearer ***"),
    ],
)
async def test_what_goes_wrong_is_named(fake: FakeCloudflare, trouble: Trouble, kind: type[ProviderError], words: str) -> None:
    fake.trouble.append(trouble)
    error = await failure_of(draw(fake), fake.token)
    assert type(error) is kind
    assert words in error.message
    assert len(fake.seen) == 1


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            {"success": False, "errors": [{"code": 5007, "message": "No such model"}]},
            Fault(message="No such model", details={"service_code": "5007"}),
        ),
        ({"error": "upstream"}, Fault(message="upstream")),
        ({"errors": []}, None),
        (None, None),
    ],
)
def test_an_error_in_any_form_is_understood(body: Any, fault: Fault | None) -> None:
    assert read_fault(400, body) == fault


async def test_the_check_asks_for_the_models(fake: FakeCloudflare) -> None:
    provider = provider_at(fake)
    assert await provider.check() == f"Cloudflare accepts the token, and the model {DEFAULT_MODEL} is listed."
    await provider.aclose()
    provider = provider_at(fake, token="cf-wrong-0123456789")
    with pytest.raises(AuthError, match="Check CLOUDFLARE_API_TOKEN"):
        await provider.check()
    await provider.aclose()
