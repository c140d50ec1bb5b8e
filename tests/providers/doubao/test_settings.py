"""Whom the settings reach, and what is offered then."""

from __future__ import annotations

import pytest

from mcp_image_server.errors import ConfigError
from mcp_image_server.models import ImageRequest, Model, Operation, Size, SizeRange, find_model
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Service
from mcp_image_server.providers.doubao import Config, catalogue_for, fallback_for, load, service
from mcp_image_server.providers.doubao.models import CATALOGUE, MODELS, OVERSEAS_IDS
from mcp_image_server.providers.doubao.wire import read_fault
from mcp_image_server.settings import parse

from ...fakes.doubao import MODELS as FAKE_MODELS
from .place import FLASH, LITE, PRO, V40, V45

pytestmark = pytest.mark.anyio


def test_without_a_key_there_is_no_provider() -> None:
    assert load({}) is None
    assert load({"DOUBAO_MODEL": "doubao-seedream-4.5", "DOUBAO_ENDPOINT": "http://localhost:1"}) is None


def test_a_key_makes_a_provider() -> None:
    provider = load({"DOUBAO_API_KEY": "ark-1"})
    assert provider is not None
    assert (provider.name, provider.repeatable, provider.catalogue) == ("doubao", False, CATALOGUE)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DOUBAO_API_KEY": "ark 12345"}, "DOUBAO_API_KEY: it holds spaces"),
        ({"DOUBAO_API_KEY": "密钥"}, "DOUBAO_API_KEY: it holds spaces"),
        ({"DOUBAO_API_KEY": "ark-1", "DOUBAO_ENDPOINT": "ark.example"}, "DOUBAO_ENDPOINT: write an absolute address"),
        ({"DOUBAO_API_KEY": "ark-1", "DOUBAO_WATERMARK": "perhaps"}, "DOUBAO_WATERMARK"),
    ],
)
def test_a_wrong_variable_is_named_and_a_key_is_not_shown(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment)
    assert words in caught.value.message
    assert environment["DOUBAO_API_KEY"] not in caught.value.message


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        ({}, "https://ark.cn-beijing.volces.com/api/v3"),
        ({"DOUBAO_ENDPOINT": "http://127.0.0.1:9002/"}, "http://127.0.0.1:9002/api/v3"),
        ({"DOUBAO_ENDPOINT": "https://gateway.example/ark/api/v3/"}, "https://gateway.example/ark/api/v3"),
    ],
)
def test_the_service_is_reached_as_the_settings_say(endpoint: dict[str, str], base_url: str) -> None:
    made = service(parse(Config, {"DOUBAO_API_KEY": " ark-12345\n", **endpoint}))
    assert made == Service(
        provider="doubao",
        title="Doubao",
        base_url=base_url,
        headers={"Authorization": "Bearer ark-12345"},
        secrets=("ark-12345",),
        read_fault=read_fault,
        key_variable="DOUBAO_API_KEY",
        url_variable="DOUBAO_ENDPOINT",
    )
    assert "ark-12345" not in repr(made)


def test_the_models_are_those_that_live_today_with_their_limits() -> None:
    facts = {
        model.id: (model.sizes.min_pixels, model.sizes.max_pixels, model.max_count, model.max_images, model.formats)
        for model in MODELS
        if isinstance(model.sizes, SizeRange)
    }
    both = ("png", "jpeg")
    assert facts == {
        "doubao-seedream-5-0-pro-260628": (921_600, 4_624_220, 1, 10, both),
        "doubao-seedream-5-0-flash-260915": (921_600, 4_624_220, 1, 10, both),
        "doubao-seedream-5-0-260128": (3_686_400, 16_777_216, 15, 14, both),
        "doubao-seedream-4-5-251128": (3_686_400, 16_777_216, 15, 14, ()),
        "doubao-seedream-4-0-250828": (921_600, 16_777_216, 15, 14, ()),
    }
    assert facts.keys() == FAKE_MODELS.keys() == OVERSEAS_IDS.keys()
    assert {model.operations for model in MODELS} == {frozenset({Operation.GENERATE, Operation.EDIT})}
    assert {(model.seed, model.negative_prompt, model.mask, model.styles) for model in MODELS} == {(False, False, False, frozenset())}
    assert {model.id: (model.price.amount, model.price.above) for model in MODELS if model.price} == {
        PRO.id: (0.30, {2_610_000: 2}),
        LITE.id: (0.22, {}),
        V45.id: (0.25, {}),
        V40.id: (0.20, {}),
    }


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("doubao-seedream-4.5", V45),
        ("doubao-seedream-4-5", V45),
        ("doubao-seedream-4.0", V40),
        ("doubao-seedream-5.0-lite", LITE),
        ("doubao-seedream-5-0-lite-260128", LITE),
        ("doubao-seedream-5.0-pro", PRO),
        ("doubao-seedream-5.0-flash", FLASH),
        ("doubao-seedream-3-0-t2i-250415", V45),
        ("doubao-seededit-3-0-i2i-250628", V45),
    ],
)
def test_other_spellings_and_dead_names_stand_for_a_living_model(name: str, model: Model) -> None:
    assert find_model(MODELS, name) is model


def test_each_alias_belongs_to_one_model() -> None:
    names = [name for model in MODELS for name in (model.id, *model.aliases)]
    assert len(names) == len(set(names))


def test_the_usual_models_are_the_ones_people_had() -> None:
    config = parse(Config, {"DOUBAO_API_KEY": "ark-1"})
    assert CATALOGUE.default_model == V45.id
    assert fallback_for(config, CATALOGUE) is V40
    for same in ("doubao-seedream-4.5", "doubao-seedream-4-5-251128"):
        config = parse(Config, {"DOUBAO_API_KEY": "ark-1", "DOUBAO_FALLBACK_MODEL": same})
        assert fallback_for(config, catalogue_for(config)) is None


def test_an_inference_endpoint_gets_what_every_model_takes() -> None:
    offered = catalogue_for(parse(Config, {"DOUBAO_API_KEY": "ark-1", "DOUBAO_MODEL": " ep-20261121-abcde "}))
    assert offered.default_model == offered.models[0].id == "ep-20261121-abcde"
    unknown = offered.models[0]
    assert (unknown.max_count, unknown.max_images, unknown.formats, unknown.price) == (1, 10, (), None)
    for model in MODELS:
        for size in ("1920x1920", "2560x1440", "3024x1296"):
            wish = ImageRequest(prompt="a cat", shape=Size(width=int(size[:4]), height=int(size[5:])))
            assert negotiate(wish, unknown, styles={}).adjustments == negotiate(wish, model, styles={}).adjustments == ()


def test_byteplus_has_the_same_models_under_its_own_names() -> None:
    config = parse(Config, {"DOUBAO_API_KEY": "ark-1", "DOUBAO_ENDPOINT": "https://ark.ap-southeast.bytepluses.com"})
    offered = catalogue_for(config)
    assert [model.id for model in offered.models] == list(OVERSEAS_IDS.values())
    assert offered.default_model == "seedream-4-5-251128"
    assert {model.price for model in offered.models} == {None}
    found = find_model(offered.models, "doubao-seedream-5-0-pro-260628")
    assert found is not None
    assert found.id == "dola-seedream-5-0-pro-260628"


def test_styles_are_the_ones_people_know() -> None:
    assert {key: style.label for key, style in CATALOGUE.styles.items()} == {
        "general": "通用风格",
        "anime": "动漫风格 anime style",
        "realistic": "写实风格 realistic photographic",
        "oil_painting": "油画风格 oil painting",
        "watercolor": "水彩风格 watercolor painting",
        "sketch": "素描风格 pencil sketch",
        "cartoon": "卡通风格 cartoon illustration",
        "chinese_painting": "国画风格 traditional Chinese painting",
        "pixel_art": "像素艺术 pixel art",
        "cyberpunk": "赛博朋克 cyberpunk style",
        "fantasy": "奇幻风格 fantasy art",
        "sci_fi": "科幻风格 sci-fi concept art",
    }
    assert list(CATALOGUE.styles)[:2] == ["general", "anime"]


def test_resolutions_are_the_ones_people_know() -> None:
    assert CATALOGUE.resolutions == {
        "2048x2048": "2048x2048 (2K 正方形，推荐)",
        "2560x1440": "2560x1440 (2K 16:9 横向)",
        "1440x2560": "1440x2560 (2K 9:16 竖向)",
        "2304x1728": "2304x1728 (2K 4:3 横向)",
        "1728x2304": "1728x2304 (2K 3:4 竖向)",
        "2496x1664": "2496x1664 (2K 3:2 横向)",
        "1664x2496": "1664x2496 (2K 2:3 竖向)",
        "3024x1296": "3024x1296 (2K 21:9 横向)",
        "1296x3024": "1296x3024 (2K 9:21 竖向)",
    }
    assert next(iter(CATALOGUE.resolutions)) == "2048x2048"
    small = catalogue_for(parse(Config, {"DOUBAO_API_KEY": "ark-1", "DOUBAO_MODEL": "doubao-seedream-4.0"})).resolutions
    assert list(small.items() - CATALOGUE.resolutions.items()) == [("1024x1024", "1024x1024 (1:1 大正方形)")]


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "openai", "volcenginesdkarkruntime", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.doubao as o; o.load({{'DOUBAO_API_KEY': 'a'}}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
