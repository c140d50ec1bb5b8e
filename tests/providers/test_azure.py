from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any

import anyio
import openai as sdk
import pytest

from mcp_image_server.errors import AuthError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import Cost, Drawn, Generated, ImageRequest, Model, Operation, Picture, Size, find_model
from mcp_image_server.net import Net, Service, Tries
from mcp_image_server.providers.azure import CATALOGUE, MODELS, Azure, Config, catalogue_for, load, service
from mcp_image_server.providers.openai.wire import read_fault
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.azure import VERSION, FakeAzure
from ..fakes.multipart import parts_of
from ..fakes.openai import Trouble
from ..fakes.server import Seen, picture
from .service import served

pytestmark = pytest.mark.anyio

CAT = ImageRequest(prompt="a cat", quality="low")
HAT = replace(CAT, images=(Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48)),))
NAMES = {
    "AZURE_OPENAI_IMAGE_DEPLOYMENT": "drawing",
    "AZURE_OPENAI_IMAGE_MODEL": "gpt-image-2",
    "AZURE_OPENAI_API_KEY": "azure-1234",
    "AZURE_OPENAI_ENDPOINT": "https://my-resource.openai.azure.com/",
}

server, fake = served(FakeAzure)


def provider_at(fake: FakeAzure, **variables: str) -> Azure:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {**NAMES, "AZURE_OPENAI_API_KEY": fake.key or "", "AZURE_OPENAI_ENDPOINT": fake.url, **variables})
    provider = Azure(config)
    provider._net = Net(service(config), tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeAzure, request: ImageRequest = CAT, *, deployment: str = "drawing", ear: Ear | None = None, previews: int = 0) -> Generated:
    provider = provider_at(fake, AZURE_OPENAI_PARTIAL_IMAGES=str(previews))
    model = find_model(provider.catalogue.models, deployment) or Model(provider="azure", id=deployment)
    try:
        with anyio.fail_after(60):
            return await provider.generate(request, model, ear or Ear())
    finally:
        await provider.aclose()


def test_a_deployment_makes_a_provider_and_what_it_needs_is_named() -> None:
    assert load({"AZURE_OPENAI_API_KEY": "azure-1234", "AZURE_OPENAI_ENDPOINT": "https://x.example"}) is None
    with pytest.raises(ConfigError, match=r"AZURE_OPENAI_API_KEY: Field required.* AZURE_OPENAI_ENDPOINT: Field required"):
        load({"AZURE_OPENAI_IMAGE_DEPLOYMENT": "drawing"})
    provider = load(NAMES)
    assert provider is not None
    assert (provider.name, provider.catalogue.default_model) == ("azure", "drawing")
    assert "azure-1234" not in f"{provider.account}{provider._net.service!r}"


def test_the_service_is_reached_as_the_settings_say() -> None:
    assert service(parse(Config, NAMES)) == Service(
        provider="azure",
        title="Azure OpenAI",
        base_url="https://my-resource.openai.azure.com/openai",
        headers={"api-key": "azure-1234"},
        secrets=("azure-1234",),
        read_fault=read_fault,
        key_variable="AZURE_OPENAI_API_KEY",
        url_variable="AZURE_OPENAI_ENDPOINT",
    )


def test_the_models_are_those_that_microsoft_has_with_its_own_days_of_retirement() -> None:
    assert {model.id: model.ends for model in MODELS} == {
        "gpt-image-2.5-sunburst": date(2027, 9, 9),
        "gpt-image-2.5-flare": date(2027, 9, 9),
        "gpt-image-2": date(2027, 10, 21),
        "gpt-image-1.5": date(2026, 12, 16),
        "gpt-image-1-mini": date(2027, 4, 7),
    }
    assert {(model.provider, model.aliases) for model in MODELS} == {("azure", ())}


@pytest.mark.parametrize(
    ("deployment", "model", "title", "known"),
    [
        ("drawing", "gpt-image-2", "GPT Image 2 (drawing)", "gpt-image-2"),
        ("gpt-image-1.5", None, "GPT Image 1.5 (gpt-image-1.5)", "gpt-image-1.5"),
        ("drawing", None, "Deployment (drawing)", None),
        ("drawing", "FLUX.2-pro", "FLUX.2-pro (drawing)", None),
    ],
)
def test_a_deployment_has_the_facts_of_the_model_behind_it(deployment: str, model: str | None, title: str, known: str | None) -> None:
    names = {**NAMES, "AZURE_OPENAI_IMAGE_DEPLOYMENT": deployment, "AZURE_OPENAI_IMAGE_MODEL": model or ""}
    offered = catalogue_for(parse(Config, {name: value for name, value in names.items() if value}))
    assert CATALOGUE.unknown is not None
    facts = find_model(MODELS, known) if known else CATALOGUE.unknown
    assert facts is not None
    assert offered == replace(CATALOGUE, models=(replace(facts, id=deployment, title=title),), default_model=deployment)
    assert Operation.INPAINT in offered.models[0].operations


async def test_a_request_goes_to_the_deployment_and_comes_back_with_its_cost(fake: FakeAzure) -> None:
    made = await draw(fake, replace(CAT, count=2))
    cost = Cost(micros=10 * 5 + 1056 * 30, currency="USD", source="computed")
    assert made == Generated(images=(Drawn(data=picture(1024, 1024)),) * 2, cost=cost, request_id="req_fake")
    assert (await draw(fake, deployment="gpt-image-2.5-flare")).cost is None  # its model is not known to be the one of that name
    first, second = fake.seen
    assert (first.method, first.path, first.query) == ("POST", "/openai/deployments/drawing/images/generations", {"api-version": VERSION})
    assert (first.headers["api-key"], "authorization" in first.headers) == (fake.key, False)
    assert second.path == "/openai/deployments/gpt-image-2.5-flare/images/generations"


async def test_editing_and_previews_go_there_too(fake: FakeAzure) -> None:
    ear = Ear()
    assert (await draw(fake, HAT, ear=ear, previews=1)).images == (Drawn(data=picture(1024, 1024)),)
    assert ear.previews == [picture(64, 64, "jpeg")]
    (seen,) = fake.seen
    assert (seen.path, seen.query) == ("/openai/deployments/drawing/images/edits", {"api-version": VERSION})


@pytest.mark.parametrize(
    ("trouble", "kind"), [(Trouble.NO_QUOTA, QuotaError), (Trouble.BLOCKED, RefusedError), (Trouble.RATE_LIMITED_LONG, RateLimitedError)]
)
async def test_failures_are_those_of_openai_in_the_name_of_azure(fake: FakeAzure, trouble: Trouble, kind: type[ProviderError]) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(kind, match="Azure OpenAI answered") as caught:
        await draw(fake)
    assert caught.value.provider == "azure"


async def test_the_filter_of_the_resource_names_its_reasons(fake: FakeAzure) -> None:
    fake.filtered = True
    with pytest.raises(RefusedError, match="safety system") as caught:
        await draw(fake)
    assert (caught.value.details["safety_violations"], caught.value.request_id) == (["violence"], "req_azure")


async def test_a_resource_that_is_blocked_for_what_was_asked_of_it_is_refused_and_not_out_of_key(fake: FakeAzure) -> None:
    fake.blocked = True
    with pytest.raises(RefusedError, match="temporarily blocked") as caught:
        await draw(fake)
    assert (caught.value.status, caught.value.details["service_code"]) == (403, "Forbidden")


async def test_a_deployment_that_is_not_there_and_a_wrong_key_are_told(fake: FakeAzure) -> None:
    with pytest.raises(ProviderError, match="deployment for this resource does not exist"):
        await draw(fake, deployment="elsewhere")
    provider = provider_at(fake, AZURE_OPENAI_API_KEY="azure-wrong-98765")
    for call in (provider.generate(CAT, provider.catalogue.models[0], Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check AZURE_OPENAI_API_KEY") as caught:
            await call
        assert "azure-wrong-98765" not in str(caught.value)
    await provider.aclose()


async def test_the_check_costs_nothing(fake: FakeAzure) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Azure OpenAI accepts the key; whether there is a deployment drawing shows when it draws."
    await provider.aclose()
    assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/openai/models")}


# The fake is faithful: OpenAI's own library for Azure is its witness ----------------------------------------------------------------------------


@pytest.fixture
async def library(fake: FakeAzure) -> AsyncIterator[sdk.AsyncAzureOpenAI]:
    async with sdk.AsyncAzureOpenAI(azure_endpoint=fake.url, api_key=fake.key, api_version=VERSION, max_retries=0) as client:
        yield client


def envelope(seen: Seen) -> tuple[Any, ...]:
    return seen.method, seen.path, seen.query, seen.headers["api-key"]


async def test_the_library_sends_the_same_to_the_same_place(fake: FakeAzure, library: sdk.AsyncAzureOpenAI) -> None:
    await library.images.generate(model="drawing", prompt="a cat", n=1, quality="low")
    await library.images.edit(model="drawing", prompt="a cat", n=1, quality="low", image=("image-1.png", picture(64, 48), "image/png"))
    await draw(fake)
    await draw(fake, HAT)
    theirs_drawn, theirs_edited, drawn, edited = fake.seen
    assert (envelope(theirs_drawn), theirs_drawn.json()) == (envelope(drawn), drawn.json())
    assert (envelope(theirs_edited), sorted(parts_of(theirs_edited), key=repr)) == (envelope(edited), sorted(parts_of(edited), key=repr))


async def test_the_library_sees_the_same_refusal(fake: FakeAzure, library: sdk.AsyncAzureOpenAI) -> None:
    fake.filtered = True
    with pytest.raises(sdk.BadRequestError) as caught:
        await library.images.generate(model="drawing", prompt="a cat")
    assert caught.value.code == "contentFilter"
    with pytest.raises(sdk.NotFoundError):
        await library.images.generate(model="elsewhere", prompt="a cat")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "stamina", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.azure as a; a.load({NAMES!r}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
