"""How calls are signed, whom the settings reach, and what is offered then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mcp_image_server.errors import ConfigError
from mcp_image_server.models import ImageRequest, Size, find_model
from mcp_image_server.net import Service
from mcp_image_server.policy.budget import estimate
from mcp_image_server.providers.hunyuan import Config, catalogue_for, load, service
from mcp_image_server.providers.hunyuan.models import CATALOGUE, TOKENHUB, WAYS
from mcp_image_server.providers.hunyuan.sign import sign
from mcp_image_server.providers.hunyuan.tokenhub import TokenHubAnswer, read_tokenhub_fault
from mcp_image_server.providers.hunyuan.wire import read_fault
from mcp_image_server.settings import parse

from ...fakes.hunyuan import HUB_MODELS, LITE_STYLES, SPECS, STYLES
from .place import HUB_ONLY, IMAGE, LITE, SIGNED

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("given", "scope", "signature"),
    [
        (  # printed in https://cloud.tencent.com/document/api/1729/101843, stars and all
            {
                "secret_id": "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******",
                "secret_key": "Gu5t9xGARNpq86cd98joQYCN3*******",
                "service": "cvm",
                "host": "cvm.tencentcloudapi.com",
                "body": rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}',
                "timestamp": 1551113065,
                "content_type": "application/json; charset=utf-8",
            },
            "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request",
            "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
        ),
        (
            {
                "secret_id": "AKIDEXAMPLE",
                "secret_key": "SECRETEXAMPLE",
                "service": "hunyuan",
                "host": "hunyuan.tencentcloudapi.com",
                "body": rb'{"Prompt": "\u96e8\u4e2d, \u7af9\u6797, \u5c0f\u8def", "Resolution": "1024:1024"}',
                "timestamp": 1795304300,
            },
            "AKIDEXAMPLE/2026-11-21/hunyuan/tc3_request",
            "d9d2dc8bbcf645badb4f90edd11519f88bcd5762124609ce03fe47e94c3e16a2",
        ),
    ],
)
def test_a_known_request_gets_its_known_signature(given: dict[str, Any], scope: str, signature: str) -> None:
    assert sign(**given) == {
        "Authorization": f"TC3-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host, Signature={signature}",
        "X-TC-Timestamp": str(given["timestamp"]),
    }


@pytest.mark.parametrize("environment", [{}, {"TENCENT_SECRET_ID": "a"}, {"TENCENT_SECRET_KEY": "a"}, {"TENCENT_MODEL": "hy-image-v3"}])
def test_without_a_whole_key_there_is_no_provider(environment: dict[str, str]) -> None:
    assert load(environment) is None


@pytest.mark.parametrize(
    ("environment", "ids", "default"),
    [
        (SIGNED, ["hunyuan-image", "hunyuan-image-3.0", "hunyuan-image-lite", "hunyuan-image-chat"], "hunyuan-image"),
        (HUB_ONLY, ["hy-image-v3", "hy-image-v3.5-preview", "hy-image-lite"], "hy-image-v3"),
        ({**SIGNED, **HUB_ONLY}, [way.model.id for way in WAYS], "hunyuan-image"),
        ({**SIGNED, "TENCENT_MODEL": "SubmitTextToImageJob"}, [way.model.id for way in WAYS[:4]], "hunyuan-image-3.0"),
    ],
)
def test_the_keys_decide_which_models_are_offered(environment: dict[str, str], ids: list[str], default: str) -> None:
    provider = load(environment)
    assert provider is not None
    assert ([model.id for model in provider.catalogue.models], provider.catalogue.default_model) == (ids, default)
    assert (provider.name, provider.repeatable, provider.limits.concurrent) == ("hunyuan", False, 1)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TENCENT_SECRET_KEY": "two words"}, "TENCENT_SECRET_KEY: it holds spaces"),
        ({"TENCENT_ENDPOINT": "ftp://tencent"}, "TENCENT_ENDPOINT: write an absolute address"),
        ({"TENCENT_REGION": "Guang zhou"}, "TENCENT_REGION"),
        ({"TENCENT_CONCURRENCY": "0"}, "TENCENT_CONCURRENCY"),
        ({"TENCENT_MODEL": "gpt-image-2"}, "TENCENT_MODEL: 'gpt-image-2' is not known. With the keys that are set there are: hunyuan-image, "),
        ({"TENCENT_MODEL": "hy-image-v3"}, "TENCENT_MODEL: 'hy-image-v3' needs a key that is not set."),
    ],
)
def test_a_wrong_variable_is_named_and_a_key_is_not_shown(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**SIGNED, **environment})
    assert words in caught.value.message
    assert "two words" not in caught.value.message


def test_the_services_are_reached_as_the_settings_say() -> None:
    config = parse(Config, {**SIGNED, **HUB_ONLY, "TENCENT_REGION": "ap-beijing"})
    made = service(config, "aiart")
    assert replace(made, sign=None) == Service(
        provider="hunyuan",
        title="Tencent Hunyuan",
        base_url="https://aiart.tencentcloudapi.com",
        headers={"X-TC-Region": "ap-beijing", "X-TC-Language": "en-US"},
        secrets=("AKID0123", "secret0123"),
        read_fault=read_fault,
        key_variable="TENCENT_SECRET_ID and TENCENT_SECRET_KEY",
        url_variable="TENCENT_ENDPOINT",
    )
    assert service(config, TOKENHUB) == Service(
        provider="hunyuan",
        title="Tencent TokenHub",
        base_url="https://tokenhub.tencentmaas.com",
        headers={"Authorization": "Bearer sk-hub"},
        secrets=("sk-hub",),
        read_fault=read_tokenhub_fault,
        key_variable="TENCENT_TOKENHUB_API_KEY",
        url_variable="TENCENT_TOKENHUB_ENDPOINT",
    )
    assert "secret0123" not in repr((config, made))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:9002/", "http://127.0.0.1:9002"),
        ("hunyuan.ap-guangzhou.tencentcloudapi.com", "https://hunyuan.ap-guangzhou.tencentcloudapi.com"),
        ("https://{service}.intl.tencentcloudapi.com", "https://hunyuan.intl.tencentcloudapi.com"),
    ],
)
def test_an_address_may_be_a_host_alone_or_hold_the_name_of_the_service(written: str, meant: str) -> None:
    assert service(parse(Config, {**SIGNED, "TENCENT_ENDPOINT": written}), "hunyuan").base_url == meant


def test_styles_and_resolutions_are_the_ones_people_know() -> None:
    assert ", ".join(CATALOGUE.styles) == (
        "riman, xieshi, monai, shuimo, bianping, xiangsu, ertonghuiben, 3dxuanran, manhua, heibaimanhua, dongman, bijiasuo, saibopengke, youhua, "
        "masaike, qinghuaci, xinnianjianzhi, xinnianhuayi"
    )
    assert CATALOGUE.styles["monai"].label == "莫奈印象派画风, Monet impressionist painting style"
    assert list(CATALOGUE.resolutions.items())[::3] == [
        ("768:768", "768:768 (1:1 正方形)"),
        ("1024:1024", "1024:1024 (1:1 正方形大图)"),
        ("512:1024", "512:1024 (1:2 竖向)"),
    ]
    assert len(CATALOGUE.resolutions) == 8


def test_the_codes_for_styles_are_tencents() -> None:
    assert set(IMAGE.styles.values()) == STYLES
    assert set(LITE.styles.values()) < LITE_STYLES
    for way in WAYS:
        assert way.model.styles == way.styles.keys()


def test_every_signed_action_is_one_that_tencent_describes() -> None:
    for way in WAYS:
        if way.service != TOKENHUB:
            spec = SPECS[way.service]
            assert spec["metadata"]["apiVersion"] == way.version
            assert {way.action, *filter(None, [way.query])} <= spec["actions"].keys()
            assert way.model.polled == bool(way.query)
    assert {f"/{way.action}": way.model.id for way in WAYS if way.service == TOKENHUB} == HUB_MODELS


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "tencentcloud", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.hunyuan as h; h.load({SIGNED!r}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_prices_are_known_where_somebody_names_them_and_one_goes_by_the_size() -> None:
    small, large = (
        ImageRequest(prompt="a cat", shape=Size(width=2048, height=2048)),
        ImageRequest(prompt="a cat", shape=Size(width=4096, height=4096)),
    )
    costs = {model.id: [estimate(each, model) for each in (small, large)] for model in CATALOGUE.models if model.price}
    assert {name: [(cost.micros, cost.currency) for cost in both if cost] for name, both in costs.items()} == {
        "hy-image-v3": [(600_000, "CNY")] * 2,
        "hy-image-v3.5-preview": [(24_000, "USD"), (32_000, "USD")],
    }


def test_old_names_lead_to_todays_models() -> None:
    assert {name: found.id for name in ("SubmitTextToImageJob", "hy-image-v3.0") if (found := find_model(CATALOGUE.models, name))} == {
        "SubmitTextToImageJob": "hunyuan-image-3.0",
        "hy-image-v3.0": "hy-image-v3",
    }
    assert catalogue_for(parse(Config, {**HUB_ONLY, "TENCENT_MODEL": "hy-image-v3.0"})).default_model == "hy-image-v3"


def test_a_reply_of_tokenhub_with_nothing_in_it_is_read() -> None:
    assert TokenHubAnswer.model_validate({"choices": [{"finish_reason": "error"}, {"delta": {"type": "text"}}], "data": None}).entries == []
