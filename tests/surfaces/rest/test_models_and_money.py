"""What can be drawn with, and what was spent."""

from __future__ import annotations

import pytest

from mcp_image_server import providers
from mcp_image_server.models import find_model
from mcp_image_server.surfaces.facts.catalogues import model_facts
from tests.web import Person

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("name", "per"), [("flux-2-pro", "megapixel"), ("flux-kontext-pro", "image")])
def test_a_price_says_what_it_is_for(name: str, per: str) -> None:
    model = find_model(providers.catalogues()["bfl"].models, name)
    assert model is not None
    assert model_facts(model)["price"]["per"] == per


async def test_models_statistics_and_spending_are_told(ann: Person) -> None:
    await ann.draws()
    models = await ann("GET", "/api/v1/models?provider=easel", 200)
    assert [provider["default_model"] for provider in models["providers"]] == ["easel-1"]
    assert (await ann("GET", "/api/v1/models?provider=nobody", 404))["code"] == "provider_unavailable"
    statistics = await ann("GET", "/api/v1/statistics?days=1", 200)
    assert statistics["pictures"] == sum(each["pictures"] for each in statistics["providers"].values())
    assert statistics["providers"]["easel"]["pictures"] >= 1
    assert (await ann("GET", "/api/v1/spending", 200))["spent"]["USD"] >= 1
