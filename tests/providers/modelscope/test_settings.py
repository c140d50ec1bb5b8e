"""Whom the settings reach, and what is offered then."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from mcp_image_server.errors import ConfigError, UnsupportedError
from mcp_image_server.models import AspectRatio, ImageRequest, Operation, Size, SizeRange
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Pace, Service
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.modelscope import CATALOGUE, DEFAULT_MODEL, MODELS, Config, ModelScope, load, pace_for, read_fault, service
from mcp_image_server.settings import parse

from .place import EDITOR, MODEL, PHOTO, TOKEN, known

pytestmark = pytest.mark.anyio


def test_without_a_token_there_is_no_provider() -> None:
    assert load({}) is None
    assert load({"MODELSCOPE_BASE_URL": "http://localhost:9002", "MODELSCOPE_MODEL": DEFAULT_MODEL}) is None


@pytest.mark.parametrize("name", ["MODELSCOPE_SDK_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_API_KEY"])
def test_a_token_under_any_of_its_names_makes_a_provider_that_can_go_on_with_a_task(name: str) -> None:
    provider = load({name: "ms-12345"})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable) == ("modelscope", False)
    assert (provider._net.service.key_variable, provider._net.service.secrets) == (name, ("ms-12345",))


def test_the_first_name_of_the_token_wins() -> None:
    assert parse(Config, {"MODELSCOPE_API_KEY": "ms-3", "MODELSCOPE_API_TOKEN": "ms-2", TOKEN: "ms-1"}).token == (TOKEN, "ms-1")
    assert parse(Config, {"MODELSCOPE_API_KEY": "ms-3", "MODELSCOPE_API_TOKEN": "ms-2"}).token == ("MODELSCOPE_API_TOKEN", "ms-2")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (TOKEN, "ms-1 2", "it holds spaces"),
        ("MODELSCOPE_API_KEY", "魔搭", "it holds spaces"),
        ("MODELSCOPE_BASE_URL", "modelscope.cn", "write an absolute address that starts with http:// or https:// (it is 'modelscope.cn')."),
        ("MODELSCOPE_POLL_INTERVAL_SECONDS", "five", "a valid number, unable to parse string as a number (it is 'five')."),
        ("MODELSCOPE_POLL_INTERVAL_SECONDS", "0", "greater than 0 (it is '0')."),
        ("MODELSCOPE_MAX_POLL_INTERVAL_SECONDS", "inf", "a finite number (it is 'inf')."),
        ("MODELSCOPE_MAX_POLL_ATTEMPTS", "many", "a valid integer, unable to parse string as an integer (it is 'many')."),
        ("MODELSCOPE_POLL_BACKOFF", "perhaps", "a valid boolean, unable to interpret input (it is 'perhaps')."),
    ],
)
def test_a_wrong_variable_is_named_and_a_token_is_not_shown(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({TOKEN: "ms-0123456789", name: value})
    assert f"{name}: " in caught.value.message
    assert words in caught.value.message
    assert "ms-0123456789" not in caught.value.message
    assert value not in caught.value.message or "(it is" in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    made = service(parse(Config, {TOKEN: " ms-12345\n"}))
    assert made == Service(
        provider="modelscope",
        title="ModelScope",
        base_url="https://api-inference.modelscope.cn",
        headers={"Authorization": "Bearer ms-12345"},
        secrets=("ms-12345",),
        trusted_hosts=("modelscope.cn",),
        read_fault=read_fault,
        key_variable=TOKEN,
        url_variable="MODELSCOPE_BASE_URL",
    )
    assert "ms-12345" not in repr(made)


@pytest.mark.parametrize(
    ("address", "base_url", "site"),
    [
        ("https://api-inference.modelscope.cn/v1/", "https://api-inference.modelscope.cn", "modelscope.cn"),
        ("https://api-inference.modelscope.ai", "https://api-inference.modelscope.ai", "modelscope.ai"),
        ("http://localhost:9002", "http://localhost:9002", None),
        ("https://gateway.example/modelscope/v1", "https://gateway.example/modelscope", None),
        ("https://api-inference.modelscope.cn.example", "https://api-inference.modelscope.cn.example", None),
    ],
)
def test_the_token_is_shown_to_the_vendors_main_site_only_when_the_service_is_the_vendors(address: str, base_url: str, site: str | None) -> None:
    config = parse(Config, {TOKEN: "ms-1", "MODELSCOPE_BASE_URL": address})
    assert (config.base_url, config.site, service(config).trusted_hosts) == (base_url, site, (site,) if site else ())


USUAL = Pace(first=0.5, longest=5, deadline=600)


@pytest.mark.parametrize(
    ("variables", "polling", "expected"),
    [
        ({}, {}, USUAL),
        ({"MODELSCOPE_MAX_POLL_INTERVAL_SECONDS": "60"}, {"max_interval": 90}, USUAL),
        ({"MODELSCOPE_POLL_INTERVAL_SECONDS": "0.2", "MODELSCOPE_MAX_POLL_ATTEMPTS": "10"}, {}, Pace(first=0.2, longest=0.2, deadline=2)),
        ({"MODELSCOPE_POLL_BACKOFF": "Yes"}, {}, Pace(first=0.5, longest=30, deadline=3600)),
        (
            {"MODELSCOPE_POLL_BACKOFF": "y", "MODELSCOPE_MAX_POLL_INTERVAL_SECONDS": "20"},
            {"attempts": 3},
            Pace(first=0.5, longest=20, deadline=60),
        ),
        ({"MODELSCOPE_POLL_BACKOFF": "1"}, {"backoff": 0}, replace(USUAL, deadline=3600)),
        ({}, {"interval": 0.1}, Pace(first=0.1, longest=0.1, deadline=600)),
        ({}, {"interval": 10}, Pace(first=0.5, longest=10, deadline=1200)),
        ({}, {"interval": 2, "attempts": 30}, Pace(first=0.5, longest=2, deadline=60)),
        ({}, {"backoff": True, "max_interval": 10, "attempts": 6}, Pace(first=0.5, longest=10, deadline=60)),
    ],
)
def test_the_polling_settings_bound_pauses_and_patience(variables: dict[str, str], polling: dict[str, float], expected: Pace) -> None:
    assert pace_for(parse(Config, variables), polling) == expected


def test_drawing_costs_credits_that_come_for_nothing_so_a_budget_of_money_lets_it_through() -> None:
    assert {model.price and model.price.amount for model in (*MODELS, CATALOGUE.unknown) if model} == {0}


def test_the_default_is_the_one_people_know_and_every_model_is_asked_alike() -> None:
    assert MODELS[0] is MODEL
    assert CATALOGUE.default_model == "Qwen/Qwen-Image"
    assert len({model.id for model in MODELS}) == len(MODELS)
    assert {(model.max_count, model.seed, model.negative_prompt, model.max_prompt_chars, model.polled) for model in MODELS} == {
        (1, True, True, 2000, True)
    }


@pytest.mark.parametrize(
    ("name", "shortest", "longest", "images"),
    [
        ("Qwen/Qwen-Image", 64, 1664, 0),
        ("Qwen/Qwen-Image-2512", 64, 1664, 0),
        ("Tongyi-MAI/Z-Image-Turbo", 512, 2048, 0),
        ("black-forest-labs/FLUX.1-Krea-dev", 64, 1024, 0),
        ("Qwen/Qwen-Image-Edit", 64, 1664, 1),
        ("Qwen/Qwen-Image-Edit-2511", 64, 1664, 3),
    ],
)
def test_a_model_draws_its_sizes(name: str, shortest: int, longest: int, images: int) -> None:
    model = known(name)
    assert model.sizes == SizeRange(min_edge=shortest, max_edge=longest, max_pixels=longest**2, multiple=16)
    assert model.max_images == images
    assert model.operations == {Operation.EDIT if images else Operation.GENERATE}


def test_qwen_and_z_image_read_chinese_and_letter_both_scripts() -> None:
    lettering = {model.id for model in MODELS if model.writes == {"latin", "han"} and model.languages == {"en", "zh"}}
    assert lettering == {model.id for model in MODELS if "Qwen-Image" in model.id or "Z-Image" in model.id}


def test_a_default_model_that_nobody_knows_is_asked_with_everything_the_service_takes() -> None:
    offered = ModelScope(parse(Config, {"MODELSCOPE_MODEL": "someone/own-model"})).catalogue
    assert offered.default_model == "someone/own-model"
    assert offered.models[0] == replace(
        MODEL,
        id="someone/own-model",
        title="someone/own-model",
        sizes=None,
        operations=frozenset({Operation.GENERATE, Operation.EDIT}),
        max_images=3,
        languages=frozenset({"en"}),
        writes=frozenset(),
    )
    assert offered.models[1:] == MODELS
    assert offered.unknown is not None
    assert ModelScope(parse(Config, {"MODELSCOPE_MODEL": EDITOR.id})).catalogue.models == MODELS


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert next(iter(CATALOGUE.resolutions)) == "1024x1024"
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        fitted = negotiate(ImageRequest(prompt="a cat", shape=Size(width=width, height=height)), MODEL, styles={})
        assert fitted.adjustments == ()


def test_what_a_model_cannot_do_is_negotiated() -> None:
    wish = ImageRequest(prompt="a cat", shape=AspectRatio(width=16, height=9), count=4)
    fitted = negotiate(wish, MODEL, styles={})
    assert fitted.request == replace(wish, shape=Size(width=1360, height=768), count=1)
    assert [adjustment.field for adjustment in fitted.adjustments] == ["resolution", "n"]
    with pytest.raises(UnsupportedError, match=r"modelscope/Qwen/Qwen-Image-Edit-2511"):
        negotiate(replace(wish, images=(PHOTO,)), MODEL, styles={}, others=MODELS)


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "httpcore2", "stamina", "openai", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.modelscope as m; m.load({{'{TOKEN}': 'ms-1'}}); print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
