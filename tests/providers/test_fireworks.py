from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import AspectRatio, Drawn, Generated, ImageRequest, Model, Operation, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Pace
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.fireworks import DEFAULT_MODEL, MODELS, Config, Fireworks, load, read_fault, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.fireworks import FakeFireworks, Trouble
from ..fakes.server import picture
from .inputs import png
from .service import drawn_by, failure_of, known_in, served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=1344, height=768))

known = partial(known_in, MODELS)
KONTEXT, FLUX, XL = known(DEFAULT_MODEL), known("flux-1-schnell-fp8"), known("stable-diffusion-xl-1024-v1-0")

server, fake = served(FakeFireworks)


def provider_at(fake: FakeFireworks, key: str | None = None) -> Fireworks:
    config = parse(Config, {"FIREWORKS_API_KEY": key or fake.key, "FIREWORKS_BASE_URL": f"{fake.url}/v1"})
    return Fireworks(config, pace=Pace(first=0.001, longest=0.002, deadline=60))


async def draw(fake: FakeFireworks, request: ImageRequest = CAT, model: Model = KONTEXT, ear: Ear | None = None) -> Generated:
    return await drawn_by(provider_at(fake), request, model, ear)


def calls(fake: FakeFireworks) -> list[tuple[str, Any]]:
    return [(seen.path.removeprefix("/v1/"), seen.json()) for seen in fake.seen if seen.method == "POST"]


def test_a_key_makes_the_provider() -> None:
    assert load({}) is None
    provider = load({"FIREWORKS_API_KEY": "fw-1", "FIREWORKS_MODEL": "accounts/me/models/mine"})
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("fireworks", False, "accounts/me/models/mine")


# Bytes at once ------------------------------------------------------------------------------------------------------------------------------


async def test_flux_answers_with_the_picture(fake: FakeFireworks) -> None:
    made = await draw(fake, replace(CAT, output_format="png", options={"num_inference_steps": 4}), FLUX)
    body = {"prompt": "a cat", "seed": 7, "aspect_ratio": "16:9", "num_inference_steps": 4}
    assert calls(fake) == [("workflows/accounts/fireworks/models/flux-1-schnell-fp8/text_to_image", body)]
    assert (fake.seen[0].headers["accept"], fake.seen[0].headers["authorization"]) == ("image/png", f"Bearer {fake.key}")
    assert made == Generated(images=(Drawn(data=picture(64, 64), seed=7),), request_id="R1")


async def test_stable_diffusion_answers_with_the_picture_at_another_address(fake: FakeFireworks) -> None:
    made = await draw(fake, replace(CAT, negative_prompt="dogs", options={"steps": 30}), XL)
    body = {"prompt": "a cat", "seed": 7, "width": 1344, "height": 768, "negative_prompt": "dogs", "steps": 30}
    assert calls(fake) == [("image_generation/accounts/fireworks/models/stable-diffusion-xl-1024-v1-0", body)]
    assert made == Generated(images=(Drawn(data=picture(1344, 768, "jpeg"), seed=7),), request_id="R1")


def test_a_model_of_another_account_is_asked_under_its_full_name() -> None:
    assert to_wire(replace(CAT, shape=AspectRatio(width=5, height=4)), replace(FLUX, id="accounts/me/models/mine")) == {"prompt": "a cat", "seed": 7}


# Tasks --------------------------------------------------------------------------------------------------------------------------------------


async def test_kontext_takes_the_work_and_is_asked_until_it_is_done(fake: FakeFireworks) -> None:
    ear = Ear(lambda: len(fake.seen))
    made = await draw(fake, replace(CAT, images=(png(16, 16),), output_format="png"), ear=ear)
    (submitted, *looks) = calls(fake)
    assert submitted[0] == "workflows/accounts/fireworks/models/flux-kontext-pro"
    assert submitted[1].pop("input_image").startswith("data:image/png;base64,")
    assert submitted[1] == {"prompt": "a cat", "seed": 7, "aspect_ratio": "16:9", "output_format": "png"}
    assert looks == [("workflows/accounts/fireworks/models/flux-kontext-pro/get_result", {"id": "task-1"})] * 2
    assert (ear.tasks, ear.calls_before_acceptance) == (["flux-kontext-pro:task-1"], [1])
    assert ear.said == [(0.5, "Fireworks is drawing."), (0.95, "The picture is drawn and on its way.")]
    assert made == Generated(images=(Drawn(data=picture(64, 64), seed=7),), request_id="task-1")


async def test_a_task_is_taken_up_by_its_id_without_submitting_it_again(fake: FakeFireworks) -> None:
    fake.tasks["task-9"] = (None, [])
    provider = provider_at(fake)
    made = await provider.resume("flux-kontext-max:task-9", CAT, KONTEXT, Ear())
    await provider.aclose()
    assert made.images == (Drawn(data=picture(64, 64), seed=7),)
    assert [path for path, _ in calls(fake)] == ["workflows/accounts/fireworks/models/flux-kontext-max/get_result"]


@pytest.mark.parametrize(("trouble", "size"), [(Trouble.NOT_YET, 64), (Trouble.MORE_FIELDS, 64), (Trouble.LINK, 32)])
async def test_the_picture_comes_in_other_ways_too(fake: FakeFireworks, trouble: Trouble, size: int) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake)).images == (Drawn(data=picture(size, size), seed=7),)
    assert all("authorization" not in seen.headers for seen in fake.seen if seen.path.startswith("/files"))


async def test_who_cancels_stops_asking(fake: FakeFireworks) -> None:
    fake.trouble.append(Trouble.NEVER)
    ear = Ear()
    provider = provider_at(fake)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, CAT, KONTEXT, ear)
        while not ear.said:
            await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    asked = len(fake.seen)
    await anyio.wait_all_tasks_blocked()
    assert len(fake.seen) <= asked + 1
    await provider.aclose()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_every_model_takes_what_is_fitted_to_it(fake: FakeFireworks, model: Model) -> None:
    request = replace(CAT, shape=Size(width=100, height=90), negative_prompt="dogs", count=3)
    if Operation.EDIT in model.operations:
        request = replace(request, images=(png(64, 64),))
    assert len((await draw(fake, negotiate(request, model, styles={}).request, model)).images) == 1


# What goes wrong ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [KONTEXT, FLUX], ids=lambda model: model.id)
@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.BLOCKED, RefusedError, "flagged by moderation"),
        (Trouble.SUSPENDED, QuotaError, "monthly spending limit"),
        (Trouble.RATE_LIMITED, RateLimitedError, "Try again in 3600 seconds"),
        (Trouble.ERROR_200, ProviderError, "The model is overloaded"),
        (Trouble.KEY_ECHO, ProviderError, "bad Bearer ***"),
    ],
)
async def test_what_goes_wrong_is_named(fake: FakeFireworks, model: Model, trouble: Trouble, kind: type[ProviderError], words: str) -> None:
    fake.trouble.append(trouble)
    error = await failure_of(draw(fake, CAT, model), fake.key)
    assert type(error) is kind
    assert words in error.message
    assert len(fake.seen) == 1


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.REQUEST_MODERATED, RefusedError, "Request Moderated"),
        (Trouble.CONTENT_MODERATED, RefusedError, "Content Moderated (Safety Filter)"),
        (Trouble.FAILED, ProviderError, "Error (worker died)"),
        (Trouble.LOST, ProviderError, "Task not found"),
        (Trouble.EMPTY, BadReplyError, "without a picture"),
        (Trouble.NO_ID, BadReplyError, "gave it no id"),
    ],
)
async def test_a_task_that_ends_badly_says_how(fake: FakeFireworks, trouble: Trouble, kind: type[ProviderError], words: str) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert type(caught.value) is kind
    assert words in caught.value.message


async def test_a_picture_that_was_filtered_is_a_refusal(fake: FakeFireworks) -> None:
    fake.trouble.append(Trouble.FILTERED)
    with pytest.raises(RefusedError, match="turned the picture away"):
        await draw(fake, CAT, FLUX)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": {"message": "no", "type": "x"}}, Fault(message="no", details={"service_code": "x"})),
        ({"fault": {}}, None),
        (["no"], Fault(message="no")),
        (None, None),
    ],
)
def test_an_error_in_any_form_is_understood(body: Any, fault: Fault | None) -> None:
    assert read_fault(400, body) == fault


async def test_the_check_asks_for_the_models(fake: FakeFireworks) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Fireworks accepts the key."
    await provider.aclose()
    provider = provider_at(fake, key="fw-wrong-0123456789")
    with pytest.raises(AuthError, match="Check FIREWORKS_API_KEY"):
        await provider.check()
    await provider.aclose()
