"""Who draws, and how arguments with prefixes are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from mcp_image_server.errors import ConfigError, NotFoundError, RequestError
from mcp_image_server.models import AspectRatio, Catalogue, ImageRequest, Model, Size
from mcp_image_server.policy.routing import Address, ending_words, read_address, route

KNOWN = ("hunyuan", "openai", "doubao")
SQUARE = Size(width=768, height=768)
LANDSCAPE = Size(width=1024, height=768)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, Address(provider=None, model=None, style=None, shape=None)),
        ({"style": "hunyuan:riman"}, Address(provider="hunyuan", model=None, style="riman", shape=None)),
        ({"style": "hunyuan:riman", "resolution": "hunyuan:1024:768"}, Address(provider="hunyuan", model=None, style="riman", shape=LANDSCAPE)),
        ({"style": "riman", "resolution": "hunyuan:1024:768"}, Address(provider="hunyuan", model=None, style="riman", shape=LANDSCAPE)),
        ({"resolution": "768:768"}, Address(provider=None, model=None, style=None, shape=SQUARE)),
        ({"resolution": "16:9"}, Address(provider=None, model=None, style=None, shape=AspectRatio(width=16, height=9))),
        ({"resolution": "auto"}, Address(provider=None, model=None, style=None, shape=None)),
        ({"resolution": "openai:auto"}, Address(provider="openai", model=None, style=None, shape=None)),
        ({"style": "doubao:"}, Address(provider="doubao", model=None, style=None, shape=None)),
        ({"provider": "openai", "style": "openai:vivid"}, Address(provider="openai", model=None, style="vivid", shape=None)),
        ({"provider": "OpenAI "}, Address(provider="openai", model=None, style=None, shape=None)),
        ({"provider": "openai", "style": "hunyuan:riman"}, Address(provider="openai", model=None, style="riman", shape=None)),
        ({"model": "openai/gpt-image-2"}, Address(provider="openai", model="gpt-image-2", style=None, shape=None)),
        ({"model": "Qwen/Qwen-Image"}, Address(provider=None, model="Qwen/Qwen-Image", style=None, shape=None)),
        ({"style": "film:noir"}, Address(provider=None, model=None, style="film:noir", shape=None)),
    ],
)
def test_arguments_with_prefixes(written: dict[str, str], meant: Address) -> None:
    assert read_address(**{"provider": "", "model": "", "style": "", "resolution": "", **written}, known=KNOWN) == meant


@pytest.mark.parametrize("text", ["big", "0x100", "1024x", "x", "12345678x1", "1024x1024x3"])
def test_a_resolution_that_cannot_be_read_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RequestError, match=r"WIDTHxHEIGHT|at least 1") as caught:
        read_address(provider="", model="", style="", resolution=text, known=KNOWN)
    assert caught.value.code == "invalid_resolution"


def catalogue(name: str, *models: Model, unknown: Model | None = None) -> Catalogue:
    return Catalogue(
        provider=name,
        title=name,
        models=models,
        default_model=models[0].id,
        styles={},
        resolutions={},
        variables=(f"{name.upper()}_KEY",),
        unknown=unknown,
    )


OLD = catalogue("old", Model(provider="old", id="paint-2", aliases=("paint-1",)))
NEW = catalogue("new", Model(provider="new", id="brush-9"), unknown=Model(provider="new", id="", seed=True))
BOTH = (OLD, NEW)


def test_the_first_configured_provider_draws_unless_told_otherwise() -> None:
    assert route(ImageRequest(prompt="x"), BOTH).catalogue is OLD
    assert route(ImageRequest(prompt="x"), BOTH, default="new").catalogue is NEW
    assert route(ImageRequest(prompt="x", provider="new"), BOTH, default="old").catalogue is NEW
    assert route(ImageRequest(prompt="x", model="brush-9"), BOTH).catalogue is NEW


def test_an_old_name_of_a_model_is_mapped_and_said() -> None:
    chosen = route(ImageRequest(prompt="x", model="paint-1"), BOTH)
    assert chosen.model.id == "paint-2"
    assert [adjustment.message for adjustment in chosen.adjustments] == ["paint-1 stands for paint-2 today."]


def test_an_unknown_model_is_tried_where_people_bring_their_own_and_that_is_said() -> None:
    chosen = route(ImageRequest(prompt="x", provider="new", model="mine"), BOTH)
    assert chosen.model == Model(provider="new", id="mine", seed=True)
    assert [adjustment.field for adjustment in chosen.adjustments] == ["model"]


def test_an_unknown_model_elsewhere_tells_what_exists() -> None:
    with pytest.raises(NotFoundError, match=r"old has no model 'mine'\. Its models: paint-2\.") as caught:
        route(ImageRequest(prompt="x", provider="old", model="mine"), BOTH)
    assert caught.value.code == "model_not_found"


def test_a_provider_that_is_switched_off_tells_how_to_switch_it_on() -> None:
    with pytest.raises(NotFoundError) as caught:
        route(ImageRequest(prompt="x", provider="third"), BOTH, switches={"third": ("THIRD_ID", "THIRD_KEY")}.__getitem__)
    assert caught.value.code == "provider_unavailable"
    assert caught.value.message == (
        "Provider 'third' not available. Available providers: ['old', 'new']. To use third, the operator sets THIRD_ID and THIRD_KEY."
    )
    assert caught.value.details == {"provider": "third", "available_providers": ["old", "new"]}


def test_without_any_provider_the_operator_is_addressed() -> None:
    with pytest.raises(ConfigError) as caught:
        route(ImageRequest(prompt="x"), ())
    assert caught.value.code == "provider_missing"


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (None, None),
        (date(2026, 3, 3), None),
        (date(2026, 3, 2), "p/m is switched off on 2026-03-02; choose another model before long."),
        (date(2025, 12, 31), "p/m was switched off on 2025-12-31; choose another model before long."),
    ],
)
def test_a_model_that_ends_within_sixty_days_is_warned_of(ends: date | None, words: str | None) -> None:
    assert ending_words(Model(provider="p", id="m", ends=ends), date(2026, 1, 1)) == words


def test_a_default_model_that_the_table_does_not_know_is_used_as_the_operator_wrote_it() -> None:
    chosen = route(ImageRequest(prompt="x"), (replace(OLD, default_model="house-blend"),))
    assert chosen.model == Model(provider="old", id="house-blend")
