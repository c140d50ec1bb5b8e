from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.aiart.v20221229 import aiart_client  # type: ignore[import-untyped]
from tencentcloud.aiart.v20221229 import models as aiart_models
from tencentcloud.common.credential import Credential  # type: ignore[import-untyped]
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException  # type: ignore[import-untyped]
from tencentcloud.common.profile.client_profile import ClientProfile  # type: ignore[import-untyped]
from tencentcloud.common.profile.http_profile import HttpProfile  # type: ignore[import-untyped]
from tencentcloud.hunyuan.v20230901 import hunyuan_client  # type: ignore[import-untyped]
from tencentcloud.hunyuan.v20230901 import models as hunyuan_models

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from mcp_image_server.models import Adjustment, AspectRatio, Drawn, Generated, ImageRequest, Picture, Shape, Size, SizeRange, find_model
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Pace, Service, Timeouts, Tries
from mcp_image_server.providers.hunyuan import (
    CATALOGUE,
    Config,
    Envelope,
    Hunyuan,
    TokenHubAnswer,
    catalogue_for,
    fit,
    from_wire,
    kind_of,
    load,
    read_fault,
    read_tokenhub_fault,
    seed_of,
    service,
    to_wire,
)
from mcp_image_server.providers.hunyuan.models import TOKENHUB, WAYS, Form, Way
from mcp_image_server.providers.hunyuan.sign import sign
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.hunyuan import HUB_MODELS, HUB_PARAMETERS, LITE_STYLES, PRESETS, SPECS, STYLES, FakeHunyuan, Trouble, broken_hub_rule, broken_rule, drawn
from ..fakes.server import closed_port, picture
from .service import drawn_by, served

pytestmark = pytest.mark.anyio

WAY = {way.model.id: way for way in WAYS}
IMAGE, V3, LITE, CHAT = (WAY[name] for name in ("hunyuan-image", "hunyuan-image-3.0", "hunyuan-image-lite", "hunyuan-image-chat"))
HUB, HUB_35, HUB_LITE = (WAY[name] for name in ("hy-image-v3", "hy-image-v3.5-preview", "hy-image-lite"))
CAT = ImageRequest(prompt="a cat")
PHOTO = Picture(data=picture(64, 64), media_type="image/png", size=Size(width=64, height=64))
PHOTO_64 = base64.b64encode(PHOTO.data).decode()
AT_ONCE = Pace(first=0.001, factor=1, longest=0.001, deadline=10)
NO_QUEUE = replace(AT_ONCE, deadline=0)

server, fake = served(FakeHunyuan)


def variables(fake: FakeHunyuan, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "TENCENT_SECRET_ID": fake.secret_id,
        "TENCENT_SECRET_KEY": fake.secret_key,
        "TENCENT_ENDPOINT": fake.url,
        "TENCENT_TOKENHUB_API_KEY": fake.hub_key,
        "TENCENT_TOKENHUB_ENDPOINT": fake.url,
        **more,
    }


def provider_at(fake: FakeHunyuan, more: Mapping[str, str] | None = None, *, queueing: Pace = NO_QUEUE, timeouts: Timeouts | None = None) -> Hunyuan:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, variables(fake, more or {}))
    provider = Hunyuan(config, looking=AT_ONCE, queueing=queueing)
    for name in provider._nets:
        provider._nets[name] = Net(service(config, name), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeHunyuan, way: Way = IMAGE, request: ImageRequest = CAT, *, ear: Ear | None = None, queueing: Pace = NO_QUEUE, slow: bool = True
) -> Generated:
    return await drawn_by(provider_at(fake, queueing=queueing, timeouts=None if slow else Timeouts(read=0.2)), request, way.model, ear)


def actions(fake: FakeHunyuan) -> list[str]:
    return [seen.headers.get("x-tc-action") or seen.path for seen in fake.seen]


# Signature ----------------------------------------------------------------------------------------------------------------------------------


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


# Settings -----------------------------------------------------------------------------------------------------------------------------------

SIGNED = {"TENCENT_SECRET_ID": "AKID0123", "TENCENT_SECRET_KEY": "secret0123"}
HUB_ONLY = {"TENCENT_TOKENHUB_API_KEY": "sk-hub"}


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


# Models -------------------------------------------------------------------------------------------------------------------------------------


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


# To wire ------------------------------------------------------------------------------------------------------------------------------------

WISH = ImageRequest(prompt="雨中, 竹林", negative_prompt="人", shape=Size(width=768, height=1024), seed=7)
BODIES: list[tuple[Way, ImageRequest, dict[str, Any]]] = [
    (IMAGE, CAT, {"Prompt": "a cat", "Num": 1, "Revise": 1, "LogoAdd": 0}),
    (
        IMAGE,
        replace(WISH, style="shuimo", count=2, options={"LogoAdd": 1, "Clarity": "x2"}),
        {
            "Prompt": "雨中, 竹林",
            "NegativePrompt": "人",
            "Style": "shuimo",
            "Resolution": "768:1024",
            "Num": 2,
            "Seed": 7,
            "Revise": 0,
            "LogoAdd": 1,
            "Clarity": "x2",
        },
    ),
    (
        IMAGE,
        replace(CAT, images=(PHOTO,)),
        {"Prompt": "a cat", "Num": 1, "Revise": 1, "ContentImage": {"ImageBase64": PHOTO_64}, "LogoAdd": 0},
    ),
    (V3, CAT, {"Prompt": "a cat", "Revise": 1, "LogoAdd": 0}),
    (
        V3,
        replace(CAT, shape=Size(width=512, height=1024), seed=7, images=(PHOTO, PHOTO)),
        {"Prompt": "a cat", "Resolution": "512:1024", "Seed": 7, "Revise": 0, "Images": [PHOTO_64, PHOTO_64], "LogoAdd": 0},
    ),
    (LITE, CAT, {"Prompt": "a cat", "Style": "000", "LogoAdd": 0, "RspImgType": "base64"}),
    (
        LITE,
        replace(WISH, seed=None, style="riman"),
        {"Prompt": "雨中, 竹林", "NegativePrompt": "人", "Style": "201", "Resolution": "768:1024", "LogoAdd": 0, "RspImgType": "base64"},
    ),
    (CHAT, replace(CAT, options={"ChatId": "12"}), {"Prompt": "a cat", "LogoAdd": 0, "ChatId": "12"}),
    (HUB, CAT, {"model": "hy-image-v3", "prompt": "a cat", "revise": True}),
    (
        HUB,
        replace(CAT, shape=Size(width=768, height=1024), seed=7, images=(PHOTO,), options={"footnote": "AI"}),
        {"model": "hy-image-v3", "prompt": "a cat", "images": [PHOTO_64], "size": "768x1024", "seed": 7, "revise": False, "footnote": "AI"},
    ),
    (
        HUB_35,
        replace(CAT, shape=Size(width=4096, height=4096), seed=7, images=(PHOTO,)),
        {
            "model": "hy-image-v3.5-preview",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a cat"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PHOTO_64}"}},
                    ],
                }
            ],
            "size": "4096x4096",
            "seed": 7,
        },
    ),
    (
        HUB_LITE,
        WISH,
        {
            "model": "hy-image-lite",
            "prompt": "雨中, 竹林",
            "negative_prompt": "人",
            "resolution": "768:1024",
            "seed": 7,
            "logo_add": 0,
            "rsp_img_type": "url",
        },
    ),
]


@pytest.mark.parametrize(("way", "request_", "body"), BODIES)
def test_a_request_becomes_this_body(way: Way, request_: ImageRequest, body: dict[str, Any]) -> None:
    assert to_wire(request_, way) == body


def rules_for(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Tencent's description of a type as a JSON schema."""
    kinds = {"string": "string", "int": "integer", "object": "object", "list": "array"}
    members = spec["objects"][name]["members"]
    properties = {}
    for member in members:
        rule: dict[str, Any] = {"type": kinds[member["type"]]}
        if member["type"] == "object":
            rule = rules_for(spec, member["member"])
        elif member["type"] == "list":
            rule["items"] = {"type": kinds[member["member"]]}
        properties[member["name"]] = rule
    required = [member["name"] for member in members if member["required"]]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


SEED_RULE = {"minimum": 1, "maximum": 4_294_967_295}
LIMITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "hunyuan-image": {
        "Prompt": {"minLength": 1, "maxLength": 1024},
        "Style": {"enum": sorted(STYLES)},
        "Resolution": {"enum": list(PRESETS)},
        "Num": {"minimum": 1, "maximum": 4},
        "Revise": {"enum": [0, 1]},
        "Seed": SEED_RULE,
        "LogoAdd": {"const": 0},
    },
    "hunyuan-image-3.0": {
        "Prompt": {"minLength": 1, "maxLength": 8192},
        "Images": {"minItems": 1, "maxItems": 3},
        "Resolution": {"pattern": "^[0-9]{3,4}:[0-9]{3,4}$"},
        "Revise": {"enum": [0, 1]},
        "Seed": SEED_RULE,
        "LogoAdd": {"const": 0},
    },
    "hunyuan-image-lite": {
        "Prompt": {"minLength": 1, "maxLength": 256},
        "Style": {"enum": sorted(LITE_STYLES)},
        "Resolution": {"enum": [*PRESETS, "1080:1920", "1920:1080"]},
        "LogoAdd": {"const": 0},
        "RspImgType": {"enum": ["base64", "url"]},
    },
    "hunyuan-image-chat": {"Prompt": {"minLength": 1, "maxLength": 1024}, "LogoAdd": {"const": 0}},
}
"""What stands in the text of the documentation only."""

SEED_AND_REWRITING = {"if": {"required": ["Seed"]}, "then": {"properties": {"Revise": {"const": 0}}}}
"""A seed has no effect while the prompt is rewritten."""


def shapes() -> st.SearchStrategy[Shape | None]:
    edges = st.integers(100, 9000)
    ratios = st.builds(AspectRatio, width=st.integers(1, 16), height=st.integers(1, 9))
    return st.none() | ratios | st.builds(Size, width=edges, height=edges).filter(lambda size: max(size.ratio, 1 / size.ratio) <= 16)


@given(
    way=st.sampled_from(WAYS),
    wish=st.builds(
        ImageRequest,
        prompt=st.text("ab 竹林", min_size=1, max_size=50).filter(lambda text: bool(text.strip())),
        negative_prompt=st.none() | st.just("人"),
        count=st.integers(1, 10),
        shape=shapes().filter(lambda shape: shape is None or max(shape.ratio, 1 / shape.ratio) <= 16),
        seed=st.none() | st.integers(0, 2**32),
        style=st.none() | st.sampled_from(list(CATALOGUE.styles)),
    ),
    pictures=st.integers(0, 3),
)
def test_every_body_keeps_tencents_rules(way: Way, wish: ImageRequest, pictures: int) -> None:
    wish = replace(wish, images=(PHOTO,) * min(pictures, way.model.max_images))
    fitted, _ = fit(negotiate(wish, way.model, styles=CATALOGUE.styles).request, way)
    body = json.loads(json.dumps(to_wire(fitted, way)))
    if way.service == TOKENHUB:
        assert body.keys() <= HUB_PARAMETERS[way.model.id]
        assert broken_hub_rule(body) is None
        return
    spec = SPECS[way.service]
    rules = {**rules_for(spec, spec["actions"][way.action]["input"]), **SEED_AND_REWRITING}
    for name, limit in LIMITS[way.model.id].items():
        rules["properties"][name] |= limit
    jsonschema.validate(body, rules)
    assert broken_rule(way.action, body) is None


def test_what_a_model_cannot_do_with_a_picture_is_changed_with_a_word() -> None:
    wide = replace(CAT, shape=Size(width=1280, height=720), seed=7)
    assert fit(wide, IMAGE) == (wide, ())
    assert fit(replace(wide, images=(PHOTO,)), IMAGE) == (
        replace(CAT, shape=Size(width=1024, height=768), images=(PHOTO,)),
        (
            Adjustment(field="resolution", message="hunyuan-image does not draw 1280x720 from a picture; 1024x768 is nearest."),
            Adjustment(field="seed", message="hunyuan-image takes no seed together with a picture."),
        ),
    )
    assert fit(replace(CAT, shape=Size(width=64, height=64)), CHAT) == (
        CAT,
        (Adjustment(field="resolution", message="hunyuan-image-chat takes no size; the model decides."),),
    )


@pytest.mark.parametrize(("seed", "sent"), [(0, 1), (2**32, 2**32 - 1)])
def test_a_seed_that_tencent_does_not_take_becomes_the_nearest_one(seed: int, sent: int) -> None:
    fitted, adjustments = fit(replace(CAT, seed=seed), V3)
    assert fitted.seed == sent
    assert adjustments == (Adjustment(field="seed", message=f"Tencent's seeds go from 1 to 4294967295; {seed} became {sent}."),)


def test_the_predecessors_sizes_are_drawn_as_they_are_by_one_model_and_nearly_so_by_the_other() -> None:
    tall = replace(CAT, shape=Size(width=512, height=1024))
    assert negotiate(tall, V3.model, styles={}).request == tall
    fitted = negotiate(tall, IMAGE.model, styles={})
    assert fitted.request.shape == Size(width=720, height=1280)
    assert [adjustment.field for adjustment in fitted.adjustments] == ["resolution"]
    assert isinstance(V3.model.sizes, SizeRange)


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def recorded(name: str, action: str, **changes: Any) -> Any:
    return Envelope.model_validate({"Response": {**SPECS[name]["examples"][action]["Response"], **changes}}).response


def test_a_recorded_answer_becomes_a_picture_with_its_rewritten_prompt() -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageJob")
    ((link, revised),) = answer.results
    assert link.startswith("https://cos.ap-guangzhou.myqcloud.com/xxx?q-sign-algorithm=sha1&q-ak=xxx&q-sign-time=1731655045;1731658645&")
    assert from_wire(answer, [b"1"], {"Revise": 1}) == Generated(
        images=(Drawn(data=b"1", revised_prompt=revised),), request_id="56b2ecae-46e4-4697-87d2-dc2b3bbbc2c6"
    )
    assert from_wire(answer, [b"1"], {"Seed": 7, "Revise": 0, "Num": 1}).images[0].seed == 7
    assert recorded("hunyuan", "SubmitHunyuanImageJob").job_id == "251197749-1731412663-d4e1f224-fa21-40bc-9ee7-4bb13abece6e-0"
    assert recorded("aiart", "QueryTextToImageJob").results[0][0] == "https://cos.ap-guangzhou.myqcloud.com/xxx.jpg"
    assert len(recorded("hunyuan", "TextToImageLite").results) == 1


def test_a_recorded_round_of_a_conversation_tells_how_to_go_on() -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageChatJob")
    assert from_wire(answer, [b"1"], {}) == Generated(
        images=(Drawn(data=b"1", seed=1549130027, revised_prompt="风格为摄影风格，桌子上摆放着一个红润的苹果，镜头为近景镜头"),),
        request_id="54c4d31e-234b-44b8-802b-7d10fa2e77dc",
        adjustments=(
            Adjustment(
                field="options",
                message='To change this picture, send the next prompt with options {"ChatId": "1248907282106990592"} within 7 days.',
            ),
        ),
    )


@pytest.mark.parametrize(
    ("images", "details", "results", "complaints"),
    [
        (None, None, [], []),
        ([], [], [], []),
        ("u1", None, ["u1"], []),
        (["u1", "u2"], ["Success", "Success"], ["u1", "u2"], []),
        (["u1", ""], ["Success", "blocked"], ["u1"], ["blocked"]),
        (["u1", "u2"], ["Success", "blocked"], ["u1"], ["blocked"]),
        (["u2"], ["blocked", "Success"], ["u2"], ["blocked"]),
        ([None, None], ["blocked", "blocked"], [], ["blocked"]),
    ],
)
def test_pictures_and_complaints_are_told_apart(images: Any, details: Any, results: list[str], complaints: list[str]) -> None:
    answer = recorded("hunyuan", "QueryHunyuanImageJob", ResultImage=images, ResultDetails=details, RevisedPrompt=None)
    assert ([link for link, _ in answer.results], answer.complaints) == (results, complaints)


def test_a_seed_is_told_only_where_it_made_the_picture() -> None:
    bodies = [{"Seed": 7, "Revise": 0}, {"seed": 7, "revise": False}, {"seed": 7}, {"Seed": 7, "Revise": 1}, {"Seed": 7, "Num": 2}, {}]
    assert [seed_of(body) for body in bodies] == [7, 7, 7, None, None, None]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AuthFailure.SecretIdNotFound", AuthError),
        ("UnauthorizedOperation", AuthError),
        ("ResourceUnavailable.NotExist", AuthError),
        ("ResourceUnavailable.LowBalance", QuotaError),
        ("ResourceInsufficient.ChargeResourceExhaust", QuotaError),
        ("LimitExceeded", QuotaError),
        ("RequestLimitExceeded.JobNumExceed", RateLimitedError),
        ("ConcurrentExceeded", RateLimitedError),
        ("OperationDenied.ImageIllegalDetected", RefusedError),
        ("FailedOperation.ModerationFailed", RefusedError),
        ("InternalError.Whatever.Next", UnavailableError),
        ("FailedOperation", ProviderError),
        ("InvalidParameterValue.StyleConflict", ProviderError),
        ("", ProviderError),
    ],
)
def test_tencents_codes_have_their_class(code: str, kind: type[ProviderError]) -> None:
    assert kind_of(code) is kind


@pytest.mark.parametrize("body", [None, [], {}, {"Response": None}, {"Response": {"RequestId": "1"}}, {"error": None}, "text"])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None
    assert read_tokenhub_fault(500, body) in (None, Fault(message="text"))


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (422, {"error": {"code": "1", "message": "no"}}, Fault(message="no", kind=RefusedError, details={"service_code": "1"})),
        (400, {"code": 400004, "message": "no model"}, Fault(message="no model", details={"service_code": "400004"})),
        (200, {"error": {"code": "content_filter"}}, Fault(message="no reason given", kind=RefusedError, details={"service_code": "content_filter"})),
    ],
)
def test_tokenhubs_errors_are_understood(status: int, body: Any, fault: Fault) -> None:
    assert read_tokenhub_fault(status, body) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_a_task_is_submitted_looked_at_and_fetched(fake: FakeHunyuan) -> None:
    fake.looks = 3
    ear = Ear(lambda: len(fake.seen))
    made = await draw(fake, IMAGE, replace(WISH, count=2, style="riman"), ear=ear)
    assert made == Generated(images=(Drawn(data=drawn("768:1024"), revised_prompt="雨中, 竹林"),) * 2, request_id=made.request_id)
    assert made.request_id
    submit, look, file = "SubmitHunyuanImageJob", "QueryHunyuanImageJob", "/files/768:1024/"
    assert actions(fake) == [submit, look, look, look, look, f"{file}0.png", f"{file}1.png"]
    assert (ear.tasks, ear.calls_before_acceptance) == (list(fake.tasks), [1])
    assert [json.loads(seen.body) for seen in fake.seen[1:3]] == [{"JobId": ear.tasks[0]}] * 2
    assert [words for _, words in ear.said] == ["The service has the job in line.", *["The service is drawing."] * 2]
    fractions = [fraction for fraction, _ in ear.said]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] < 1


async def test_calls_are_signed_and_downloads_carry_no_key(fake: FakeHunyuan) -> None:
    await draw(fake)
    submit, _, file = fake.seen
    assert submit.headers["authorization"].startswith(f"TC3-HMAC-SHA256 Credential={fake.secret_id}/")
    assert {name: value for name, value in submit.headers.items() if name.startswith("x-tc-") and name != "x-tc-timestamp"} == {
        "x-tc-action": "SubmitHunyuanImageJob",
        "x-tc-version": "2023-09-01",
        "x-tc-region": "ap-guangzhou",
        "x-tc-language": "en-US",
    }
    assert [name for name in file.headers if name == "authorization" or name.startswith("x-tc-")] == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.model.id)
async def test_every_way_leads_to_a_picture(fake: FakeHunyuan, way: Way) -> None:
    shape = Size(width=768, height=1024)
    fitted = negotiate(replace(WISH, images=(PHOTO,) * min(way.model.max_images, 2), shape=shape), way.model, styles=CATALOGUE.styles).request
    made = await draw(fake, way, fitted)
    assert [image.data for image in made.images] == [drawn("768:1024" if way.model.sizes else "1024:1024")]
    assert made.request_id
    seeds = {"hunyuan-image-3.0": 7, "hunyuan-image-chat": 1549130027, "hy-image-v3": 7, "hy-image-v3.5-preview": 7, "hy-image-lite": 7}
    assert made.images[0].seed == seeds.get(way.model.id)
    assert len(actions(fake)) == (3 if way.query else 1 if way is LITE else 2)


async def test_the_next_round_of_a_conversation_goes_on_where_the_last_one_ended(fake: FakeHunyuan) -> None:
    first = await draw(fake, CHAT)
    (word,) = first.adjustments
    options = json.loads(word.message.partition("options ")[2].partition(" within")[0])
    await draw(fake, CHAT, ImageRequest(prompt="now in green", options=options))
    assert json.loads(fake.seen[3].body) == {"Prompt": "now in green", "LogoAdd": 0, **options}


async def test_a_link_that_was_asked_for_through_options_is_followed(fake: FakeHunyuan) -> None:
    made = await draw(fake, LITE, replace(CAT, options={"RspImgType": "url"}))
    assert made.images == (Drawn(data=drawn("768:768")),)


async def test_work_that_was_accepted_is_resumed_without_submitting_again(fake: FakeHunyuan) -> None:
    fake.looks = 10**6
    ear, provider = Ear(), provider_at(fake)
    with anyio.move_on_after(0.2) as scope:
        await provider.generate(WISH, IMAGE.model, ear)
    assert scope.cancelled_caught
    looked = len(fake.seen)
    await provider.check()
    assert len(fake.seen) == looked + 1  # nobody looks any more, and the service was not told to stop: it cannot be
    fake.looks = 0
    fake.seen.clear()
    made = await provider.resume(ear.tasks[0], WISH, IMAGE.model, Ear())
    await provider.aclose()
    assert made.images == (Drawn(data=drawn("768:1024"), seed=7, revised_prompt="雨中, 竹林"),)
    assert actions(fake) == ["QueryHunyuanImageJob", "/files/768:1024/0.png"]


async def test_a_job_waits_for_a_place_while_the_account_has_none_free(fake: FakeHunyuan) -> None:
    fake.trouble.extend([Trouble.TAKEN, Trouble.TAKEN, Trouble.TOO_FAST])
    ear = Ear()
    assert len((await draw(fake, queueing=AT_ONCE, ear=ear)).images) == 1
    assert actions(fake)[:4] == ["SubmitHunyuanImageJob"] * 4
    assert ear.said[:3] == [(0, "The account's places are taken; waiting for one.")] * 3


async def test_two_jobs_of_an_account_with_one_place_come_one_after_the_other(fake: FakeHunyuan) -> None:
    fake.looks = 5
    made = []

    async def one() -> None:
        made.append(await draw(fake, queueing=AT_ONCE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert [len(generated.images) for generated in made] == [1, 1]
    assert len(fake.tasks) == 2


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, Way, type[ProviderError], str, bool, bool, bool, int]] = [
    # trouble, way, class, code, retryable, may have been billed, surely not accepted, calls
    (T.TAKEN, IMAGE, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.TOO_FAST, V3, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.ENGINE_BUSY, LITE, RateLimitedError, "rate_limited", True, False, True, 1),
    (T.BLOCKED, IMAGE, RefusedError, "refused", False, False, False, 1),
    (T.ARREARS, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.EXHAUSTED, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.SOLD_OUT, IMAGE, QuotaError, "quota", False, False, True, 1),
    (T.NOT_ACTIVATED, IMAGE, AuthError, "auth", False, False, True, 1),
    (T.NOT_ALLOWED, IMAGE, AuthError, "auth", False, False, True, 1),
    (T.NO_SUCH_ACTION, V3, ProviderError, "provider_error", False, False, True, 1),
    (T.WRONG_VALUE, IMAGE, ProviderError, "provider_error", False, False, True, 1),
    (T.INTERNAL, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.TIMED_OUT, LITE, UnavailableError, "unavailable", True, True, False, 1),
    (T.KEY_ECHO, IMAGE, ProviderError, "provider_error", False, False, True, 1),
    (T.ERROR_500, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.ERROR_500, HUB, UnavailableError, "unavailable", True, False, False, 1),
    (T.ERROR_503_SIGNED, IMAGE, UnavailableError, "unavailable", True, False, False, 1),
    (T.HANG, IMAGE, UnavailableError, "unavailable", True, True, False, 1),
    (T.HANG, HUB_35, UnavailableError, "unavailable", True, True, False, 1),
    (T.CUT, IMAGE, UnavailableError, "unavailable", True, True, False, 1),
    (T.PAGE, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.PAGE, HUB, BadReplyError, "bad_reply", False, True, False, 1),
    (T.REDIRECT, IMAGE, BadReplyError, "bad_reply", False, False, True, 1),
    (T.NO_JSON, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.NO_JOB_ID, IMAGE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.BAD_BASE64, LITE, BadReplyError, "bad_reply", False, True, False, 1),
    (T.JOB_BLOCKED, IMAGE, RefusedError, "refused", False, False, False, 2),
    (T.JOB_REVIEWED, V3, RefusedError, "refused", False, False, False, 2),
    (T.JOB_BROKE, IMAGE, UnavailableError, "unavailable", True, False, False, 2),
    (T.JOB_LATE, IMAGE, UnavailableError, "unavailable", True, True, False, 2),
    (T.JOB_MUTE, IMAGE, ProviderError, "provider_error", False, False, False, 2),
    (T.JOB_EMPTY, IMAGE, BadReplyError, "bad_reply", False, True, False, 2),
    (T.JOB_ALL_BAD, IMAGE, RefusedError, "refused", False, False, False, 2),
    (T.JOB_FORGOTTEN, CHAT, ProviderError, "provider_error", False, False, False, 2),
    (T.LINK_GONE, IMAGE, BadReplyError, "bad_reply", False, True, False, 3),
    (T.HUB_FILTERED, HUB_35, RefusedError, "refused", False, False, False, 1),
    (T.HUB_REFUSED, HUB, RefusedError, "refused", False, False, False, 1),
    (T.HUB_FAILED, HUB, ProviderError, "provider_error", False, True, False, 1),
    (T.HUB_NO_CREDIT, HUB, QuotaError, "quota", False, False, True, 1),
    (T.HUB_BUSY, HUB, RateLimitedError, "rate_limited", True, False, True, 3),
    (T.HUB_FORBIDDEN, HUB, AuthError, "auth", False, False, True, 1),
    (T.HUB_NO_MODEL, HUB, ProviderError, "provider_error", False, False, True, 1),
    (T.HUB_EMPTY, HUB, BadReplyError, "bad_reply", False, True, False, 1),
]


@pytest.mark.parametrize(
    ("trouble", "way", "kind", "code", "retryable", "billed", "not_accepted", "calls"),
    FAILURES,
    ids=lambda value: value.model.id if isinstance(value, Way) else getattr(value, "name", None),
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeHunyuan,
    trouble: Trouble,
    way: Way,
    kind: type[ProviderError],
    code: str,
    retryable: bool,
    billed: bool,
    not_accepted: bool,
    calls: int,
) -> None:
    fake.trouble.extend([trouble] * calls)
    with pytest.raises(ProviderError) as caught:
        await draw(fake, way, slow=trouble is not T.HANG)
    error = caught.value
    found = (type(error), error.code, error.retryable, error.may_have_been_billed, error.not_accepted, len(fake.seen))
    assert found == (kind, code, retryable, billed, not_accepted, calls)
    assert error.provider == "hunyuan"
    for secret in (fake.secret_id, fake.secret_key, fake.hub_key):
        assert secret not in f"{error!r}{error.details}"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    harmless = {T.MORE_FIELDS, T.JOB_PARTLY, T.JOB_ONE_TEXT, T.LOOK_BUSY, T.LOOK_BROKE}
    assert {row[0] for row in FAILURES} | harmless == set(Trouble)


@pytest.mark.parametrize("trouble", [T.MORE_FIELDS, T.JOB_ONE_TEXT, T.LOOK_BUSY, T.LOOK_BROKE])
async def test_what_is_strange_but_no_failure_does_no_harm(fake: FakeHunyuan, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert [image.data for image in (await draw(fake)).images] == [drawn("1024:1024")]
    assert actions(fake).count("SubmitHunyuanImageJob") == 1


@pytest.mark.parametrize("way", [LITE, HUB, HUB_35, HUB_LITE], ids=lambda way: way.model.id)
async def test_fields_that_nobody_knows_do_no_harm(fake: FakeHunyuan, way: Way) -> None:
    fake.trouble.append(T.MORE_FIELDS)
    assert len((await draw(fake, way)).images) == 1


async def test_the_pictures_that_were_drawn_are_kept_when_others_fail(fake: FakeHunyuan) -> None:
    fake.trouble.append(T.JOB_PARTLY)
    made = await draw(fake, IMAGE, replace(CAT, count=3))
    assert len(made.images) == 2
    assert made.adjustments == (Adjustment(field="n", message="2 of 3 pictures were drawn; the rest failed: did not pass the review."),)


@pytest.mark.parametrize(
    ("trouble", "words", "details"),
    [
        (T.JOB_BLOCKED, "The picture contains illegal content. (OperationDenied.ImageIllegalDetected)", "OperationDenied.ImageIllegalDetected"),
        (T.NO_SUCH_ACTION, "(InvalidAction). Tencent does not offer this any more; name another model of this provider.", "InvalidAction"),
        (T.NOT_ACTIVATED, "Activate it in Tencent's console", "FailedOperation.ServiceNotActivated"),
        (T.ERROR_503_SIGNED, "answered 503: Down for a moment. (InternalError)", "InternalError"),
    ],
)
async def test_a_failure_gives_the_services_own_reason_code_and_id(fake: FakeHunyuan, trouble: Trouble, words: str, details: str) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert words in caught.value.message
    assert caught.value.details["service_code"] == details
    assert trouble is T.ERROR_503_SIGNED or caught.value.details["request_id"] == caught.value.request_id != ""


async def test_a_refusal_at_tokenhub_gives_its_id(fake: FakeHunyuan) -> None:
    fake.trouble.append(T.HUB_FILTERED)
    with pytest.raises(RefusedError, match="No picture was made") as caught:
        await draw(fake, HUB_35)
    assert caught.value.request_id == "hub-2"


@pytest.mark.parametrize(
    ("changes", "way", "words"),
    [
        ({"TENCENT_SECRET_ID": "AKIDwrong9876543210"}, IMAGE, "Check TENCENT_SECRET_ID and TENCENT_SECRET_KEY"),
        ({"TENCENT_SECRET_KEY": "wrongSECRET9876543210"}, LITE, "Check TENCENT_SECRET_ID and TENCENT_SECRET_KEY"),
        ({"TENCENT_TOKENHUB_API_KEY": "sk-wrong-9876543210"}, HUB, "Check TENCENT_TOKENHUB_API_KEY"),
    ],
)
async def test_a_wrong_key_names_the_variable(fake: FakeHunyuan, changes: dict[str, str], way: Way, words: str) -> None:
    provider = provider_at(fake, {"TENCENT_MODEL": way.model.id, **changes})
    for call in (provider.generate(CAT, way.model, Ear()), provider.check()):
        with pytest.raises(AuthError, match=words) as caught:
            await call
        assert next(iter(changes.values())) not in f"{caught.value!r}{caught.value.details}"
    await provider.aclose()


async def test_a_clock_that_is_wrong_is_named(fake: FakeHunyuan) -> None:
    fake.clock = lambda: 1_000_000_000.0
    with pytest.raises(AuthError, match="The clock of this machine differs from Tencent's by more than five minutes"):
        await draw(fake)


async def test_a_wrong_region_names_the_variable(fake: FakeHunyuan) -> None:
    provider = provider_at(fake, {"TENCENT_REGION": "na-siliconvalley"})
    for call in (provider.generate(CAT, IMAGE.model, Ear()), provider.check()):
        with pytest.raises(ProviderError, match="Check TENCENT_REGION"):
            await call
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = Hunyuan(parse(Config, {**SIGNED, "TENCENT_ENDPOINT": f"http://127.0.0.1:{closed_port()}"}), tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.generate(CAT, IMAGE.model, Ear())
    await provider.aclose()
    assert caught.value.not_accepted


async def test_a_model_whose_key_was_taken_away_cannot_be_resumed() -> None:
    provider = load(HUB_ONLY)
    assert provider is not None
    with pytest.raises(ConfigError, match=r"hunyuan-image cannot be used with the keys that are set\. With these there are: hy-image-v3, "):
        await provider.resume("1", CAT, IMAGE.model, Ear())
    await provider.aclose()


async def test_a_task_that_never_ends_is_given_up_and_may_have_been_billed(fake: FakeHunyuan) -> None:
    fake.looks = 10**6
    provider = provider_at(fake)
    with pytest.raises(UnavailableError, match=r"was not done after 0\.05 seconds") as caught:
        await provider.generate(replace(CAT, polling={"interval": 0.01, "attempts": 5}), IMAGE.model, Ear())
    await provider.aclose()
    assert caught.value.may_have_been_billed


# Checking -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words", "call"),
    [
        ("hunyuan-image", "Tencent Hunyuan accepts the key; hunyuan-image draws with SubmitHunyuanImageJob.", "QueryHunyuanImageJob"),
        ("hunyuan-image-3.0", "Tencent Hunyuan accepts the key; hunyuan-image-3.0 draws with SubmitTextToImageJob.", "QueryTextToImageJob"),
        ("hunyuan-image-lite", "Tencent Hunyuan accepts the key; hunyuan-image-lite draws with TextToImageLite.", "QueryHunyuanImageJob"),
        ("hy-image-v3", "Tencent TokenHub accepts the key, and the model hy-image-v3 is listed.", "/v1/models"),
    ],
)
async def test_the_check_costs_nothing(fake: FakeHunyuan, model: str, words: str, call: str) -> None:
    provider = provider_at(fake, {"TENCENT_MODEL": model})
    assert await provider.check() == words
    await provider.aclose()
    assert actions(fake) == [call]


async def test_a_tokenhub_without_a_list_of_models_passes_the_check(fake: FakeHunyuan) -> None:
    fake.lists_models = False
    provider = provider_at(fake, {"TENCENT_MODEL": "hy-image-v3"})
    assert await provider.check() == "Tencent TokenHub answers but lists no models, so whether it has hy-image-v3 is not known."
    await provider.aclose()


# The fake is faithful: Tencent's own library is its witness ----------------------------------------------------------------------------------

library = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")


def library_client(fake: FakeHunyuan, kind: Any = hunyuan_client.HunyuanClient, **credential: str) -> Any:
    keys = {"secret_id": fake.secret_id, "secret_key": fake.secret_key, **credential}
    http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{fake.port}", reqTimeout=5)
    return kind(Credential(keys["secret_id"], keys["secret_key"]), "ap-guangzhou", ClientProfile(httpProfile=http))


def library_request(models: Any, way: Way, body: Mapping[str, Any]) -> Any:
    """The library's own request with those parameters; it complains about names it does not know."""
    made = getattr(models, f"{way.action}Request")()
    made.from_json_string(json.dumps(body))
    return made


@library
@pytest.mark.parametrize(("way", "request_", "body"), [row for row in BODIES if row[0].form is Form.ACTION])
async def test_the_library_sends_the_same_call_with_the_same_signature(
    fake: FakeHunyuan, way: Way, request_: ImageRequest, body: dict[str, Any]
) -> None:
    client, models = (aiart_client.AiartClient, aiart_models) if way is V3 else (hunyuan_client.HunyuanClient, hunyuan_models)
    answer = getattr(library_client(fake, client), way.action)(library_request(models, way, body))
    assert base64.b64decode(answer.ResultImage) == drawn(body.get("Resolution", "768:768")) if way is LITE else answer.JobId in fake.tasks
    fake.tasks.clear()
    await draw(fake, way, request_)
    theirs, ours = fake.seen[:2]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    for name in ("content-type", "host", "x-tc-action", "x-tc-version", "x-tc-region"):
        assert theirs.headers[name] == ours.headers[name]
    signed = sign(
        secret_id=fake.secret_id,
        secret_key=fake.secret_key,
        service=way.service,
        host=theirs.headers["host"],
        body=theirs.body,
        timestamp=int(theirs.headers["x-tc-timestamp"]),
    )
    assert signed["Authorization"] == theirs.headers["authorization"]


@library
def test_the_library_sees_a_task_through(fake: FakeHunyuan) -> None:
    fake.looks = 2
    client = library_client(fake)
    job_id = client.SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat", "Num": 2})).JobId
    look = hunyuan_models.QueryHunyuanImageJobRequest()
    look.JobId = job_id
    answers = [client.QueryHunyuanImageJob(look) for _ in range(3)]
    assert [answer.JobStatusCode for answer in answers] == ["1", "2", "5"]
    assert answers[-1].ResultDetails == ["Success"] * 2
    assert len(answers[-1].ResultImage) == 2


@library
@pytest.mark.parametrize(
    "trouble", [T.TAKEN, T.TOO_FAST, T.BLOCKED, T.ARREARS, T.NOT_ACTIVATED, T.NOT_ALLOWED, T.NO_SUCH_ACTION, T.WRONG_VALUE, T.INTERNAL, T.TIMED_OUT]
)
def test_the_library_sees_the_same_failures(fake: FakeHunyuan, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(TencentCloudSDKException) as caught:
        library_client(fake).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
    assert caught.value.get_code() == str(trouble)
    assert caught.value.get_request_id()


@library
@pytest.mark.parametrize(
    ("way", "body", "code"),
    [
        (IMAGE, {}, "MissingParameter"),
        (IMAGE, {"Prompt": "a cat", "Num": "2"}, "InvalidParameter"),
        (IMAGE, {"Prompt": "a cat", "Num": 5}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "a cat", "Style": "cubism"}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "a cat", "Resolution": "512:512"}, "InvalidParameterValue.ParameterValueError"),
        (IMAGE, {"Prompt": "x" * 1025}, "InvalidParameterValue.TextLengthExceed"),
        (LITE, {"Prompt": "x" * 257}, "InvalidParameterValue.TextLengthExceed"),
    ],
)
def test_the_library_sees_the_same_rules(fake: FakeHunyuan, way: Way, body: dict[str, Any], code: str) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        getattr(library_client(fake), way.action)(library_request(hunyuan_models, way, body))
    assert caught.value.get_code() == code


@library
def test_the_library_is_let_in_with_the_right_key_only(fake: FakeHunyuan) -> None:
    for wrong, code in (({"secret_id": "AKIDother"}, "AuthFailure.SecretIdNotFound"), ({"secret_key": "other"}, "AuthFailure.SignatureFailure")):
        with pytest.raises(TencentCloudSDKException) as caught:
            library_client(fake, **wrong).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
        assert caught.value.get_code() == code
    fake.clock = lambda: 1_000_000_000.0
    with pytest.raises(TencentCloudSDKException) as caught:
        library_client(fake).SubmitHunyuanImageJob(library_request(hunyuan_models, IMAGE, {"Prompt": "a cat"}))
    assert caught.value.get_code() == "AuthFailure.SignatureExpire"


# The house ----------------------------------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "tencentcloud", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.hunyuan as h; h.load({SIGNED!r}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_old_names_lead_to_todays_models() -> None:
    assert {name: found.id for name in ("SubmitTextToImageJob", "hy-image-v3.0") if (found := find_model(CATALOGUE.models, name))} == {
        "SubmitTextToImageJob": "hunyuan-image-3.0",
        "hy-image-v3.0": "hy-image-v3",
    }
    assert catalogue_for(parse(Config, {**HUB_ONLY, "TENCENT_MODEL": "hy-image-v3.0"})).default_model == "hy-image-v3"


def test_a_reply_of_tokenhub_with_nothing_in_it_is_read() -> None:
    assert TokenHubAnswer.model_validate({"choices": [{"finish_reason": "error"}, {"delta": {"type": "text"}}], "data": None}).entries == []
