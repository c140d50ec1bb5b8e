"""What can be drawn with, and what was spent."""

from __future__ import annotations

import pytest

from tests.web import Person

pytestmark = pytest.mark.anyio


async def test_models_statistics_and_spending_are_told(ann: Person) -> None:
    await ann.draws()
    models = await ann("GET", "/api/v1/models?provider=easel", 200)
    assert [provider["default_model"] for provider in models["providers"]] == ["easel-1"]
    assert (await ann("GET", "/api/v1/models?provider=nobody", 404))["code"] == "provider_unavailable"
    statistics = await ann("GET", "/api/v1/statistics?days=1", 200)
    assert statistics["pictures"] == sum(each["pictures"] for each in statistics["providers"].values())
    assert statistics["providers"]["easel"]["pictures"] >= 1
    assert (await ann("GET", "/api/v1/spending", 200))["spent"]["USD"] >= 1
