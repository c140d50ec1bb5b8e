"""Whom the settings reach, and what is offered then."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from mcp_image_server.errors import ConfigError
from mcp_image_server.models import Model, Operation, SizeList, SizeRange, find_model
from mcp_image_server.net import Service
from mcp_image_server.providers.openai import Config, catalogue_for, load, service
from mcp_image_server.providers.openai.models import CATALOGUE, DEFAULT_MODEL, MODELS, TOKEN_PRICES
from mcp_image_server.providers.openai.wire import read_fault
from mcp_image_server.settings import parse

from ...fakes.openai import CLASSIC, FLEXIBLE
from .place import MODEL

pytestmark = pytest.mark.anyio


def test_without_a_key_there_is_no_provider() -> None:
    assert load({}) is None
    assert load({"OPENAI_MODEL": "gpt-image-2"}) is None
    assert load({"OPENAI_BASE_URL": "https://gateway.example/v1"}) is None


def test_a_key_or_a_server_on_this_machine_makes_a_provider() -> None:
    for environment in ({"OPENAI_API_KEY": "sk-1"}, {"OPENAI_BASE_URL": "http://localhost:8080/v1/"}, {"OPENAI_BASE_URL": "http://[::1]:1234"}):
        provider = load(environment)
        assert provider is not None
        assert (provider.name, provider.repeatable) == ("openai", False)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OPENAI_API_KEY": "sk-1 2"}, "OPENAI_API_KEY: it holds spaces"),
        ({"OPENAI_API_KEY": "schlüssel"}, "OPENAI_API_KEY: it holds spaces"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "gateway.example"}, "OPENAI_BASE_URL: write an absolute address"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_PARTIAL_IMAGES": "4"}, "OPENAI_PARTIAL_IMAGES"),
    ],
)
def test_a_wrong_variable_is_named_and_a_key_is_not_shown(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment)
    assert words in caught.value.message
    assert environment["OPENAI_API_KEY"] not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    names = {"OPENAI_API_KEY": " sk-12345\n", "OPENAI_ORGANIZATION": "org-1", "OPENAI_PROJECT": "proj-1"}
    made = service(parse(Config, names))
    assert made == Service(
        provider="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        headers={"Authorization": "Bearer sk-12345", "OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1"},
        secrets=("sk-12345",),
        read_fault=read_fault,
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
    )
    assert "sk-12345" not in repr(made)
    assert service(parse(Config, {"OPENAI_BASE_URL": "http://localhost:1/v1"})).headers == {}


def test_the_models_are_those_that_live_today() -> None:
    assert {model.id for model in MODELS} == {*FLEXIBLE, *CLASSIC}
    assert {model.id: model.ends for model in MODELS if model.ends} == dict.fromkeys(CLASSIC, date(2026, 12, 1))
    assert {model.max_count for model in MODELS} == {10}
    assert {model.max_prompt_chars for model in MODELS} == {32_000}
    assert TOKEN_PRICES.keys() == {model.id for model in MODELS if model.price}
    assert {(model.operations, model.max_images, model.mask) for model in MODELS} == {
        (frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT}), 16, True)
    }
    assert all(isinstance(model.sizes, SizeList if model.id in CLASSIC else SizeRange) for model in MODELS)


@pytest.mark.parametrize("name", ["dall-e-2", "dall-e-3", "gpt-image-1"])
def test_a_model_that_was_switched_off_stands_for_a_live_one(name: str) -> None:
    assert find_model(CATALOGUE.models, name) is MODEL
    assert catalogue_for(parse(Config, {"OPENAI_MODEL": name})).default_model == DEFAULT_MODEL


def test_a_compatible_server_keeps_its_own_meaning_of_every_name() -> None:
    offered = catalogue_for(parse(Config, {"OPENAI_BASE_URL": "http://localhost:8080/v1", "OPENAI_MODEL": "dall-e-3"}))
    assert offered.default_model == "dall-e-3"
    tried = frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT})
    assert offered.models[0] == Model(provider="openai", id="dall-e-3", operations=tried, max_images=16, mask=True)
    assert offered.unknown == replace(offered.models[0], id="")
    assert [model.price for model in offered.models if model.price] == []


def test_styles_and_resolutions_are_the_ones_people_know() -> None:
    assert list(CATALOGUE.styles) == (
        [
            "natural",
            "vivid",
            "realistic",
            "artistic",
            "cartoon",
            "anime",
            "oil_painting",
            "watercolor",
            "sketch",
            "digital_art",
            "photographic",
            "minimalist",
        ]
    )
    assert (CATALOGUE.styles["natural"].label, CATALOGUE.styles["digital_art"].label) == ("自然风格", "数字艺术")
    assert list(CATALOGUE.resolutions) == ["1024x1024", "1536x1024", "1024x1536", "auto"]


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "openai", "PIL", "sqlalchemy")
    code = (
        f"import sys, mcp_image_server.providers.openai as o; o.load({{'OPENAI_API_KEY': 'sk-1'}}); print([m for m in {heavy} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
