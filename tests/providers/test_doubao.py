from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import jsonschema
import openai
import pytest
import volcenginesdkarkruntime as ark  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from volcenginesdkarkruntime.types.images import SequentialImageGenerationOptions  # type: ignore[import-untyped]

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
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
    Cost,
    Drawn,
    Generated,
    ImageRequest,
    Model,
    Operation,
    Picture,
    Shape,
    Size,
    SizeRange,
    find_model,
)
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Service, Timeouts, Tries
from mcp_image_server.providers.doubao import (
    CATALOGUE,
    MODELS,
    OVERSEAS_IDS,
    PRICES,
    Config,
    Doubao,
    ImagesReply,
    catalogue_for,
    fallback_for,
    from_wire,
    load,
    read_fault,
    service,
    to_wire,
    within_group,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.doubao import MODELS as FAKE_MODELS
from ..fakes.doubao import REQUEST_ID, FakeDoubao, Trouble
from ..fakes.server import closed_port, picture
from .service import drawn_by, failure_of, reply, served

pytestmark = pytest.mark.anyio

PRO, FLASH, LITE, V45, V40 = MODELS
SMALL = Size(width=1280, height=720)
CAT = ImageRequest(prompt="a cat")
TRIPTYCH = ImageRequest(prompt="a cat", count=3)
PNG = Picture(data=b"\x89PNG", media_type="image/png", size=Size(width=1, height=1))
JPEG = Picture(data=b"\xff\xd8\xff", media_type="image/JPEG", size=Size(width=1, height=1))
NUMBER_SAID = Adjustment(field="prompt", message="The model reads the number of pictures from the prompt, so it was written there.")

recorded = partial(reply, "doubao")
server, fake = served(FakeDoubao)


ALONE = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-4.5"}
V40_INSTEAD = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-4.0"}
PRO_INSTEAD = {"DOUBAO_FALLBACK_MODEL": "doubao-seedream-5.0-pro"}


def provider_at(fake: FakeDoubao, variables: Mapping[str, str] = ALONE, *, timeouts: Timeouts | None = None) -> Doubao:
    """The provider with its usual settings, shorter waits and, unless told otherwise, no second model."""
    config = parse(Config, {"DOUBAO_API_KEY": fake.key or "", "DOUBAO_ENDPOINT": fake.url, **variables})
    provider = Doubao(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeDoubao,
    request: ImageRequest = CAT,
    model: Model = V45,
    *,
    variables: Mapping[str, str] = ALONE,
    ear: Ear | None = None,
    timeouts: Timeouts | None = None,
) -> Generated:
    return await drawn_by(provider_at(fake, variables, timeouts=timeouts), request, model, ear)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


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


# Models -------------------------------------------------------------------------------------------------------------------------------------


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
    assert {model.id: model.price.amount for model in MODELS if model.price} == {
        PRO.id: 0.60,
        LITE.id: 0.22,
        V45.id: 0.25,
        V40.id: 0.20,
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


# To wire ------------------------------------------------------------------------------------------------------------------------------------

RULES: dict[str, Any] = {
    "type": "object",
    "required": ["model", "prompt", "watermark"],
    "additionalProperties": False,
    "properties": {
        "model": {"enum": list(FAKE_MODELS)},
        "prompt": {"type": "string", "minLength": 1},
        "image": {
            "oneOf": [
                {"type": "string", "pattern": "^data:image/[a-z]+;base64,[A-Za-z0-9+/]+=*$"},
                {"type": "array", "minItems": 2, "maxItems": 14, "items": {"type": "string", "pattern": "^data:image/[a-z]+;base64,"}},
            ]
        },
        "size": {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"},
        "output_format": {"enum": ["png", "jpeg"]},
        "response_format": {"enum": ["url", "b64_json"]},
        "watermark": {"type": "boolean"},
        "stream": {"const": True},
        "sequential_image_generation": {"const": "auto"},
        "sequential_image_generation_options": {
            "type": "object",
            "required": ["max_images"],
            "additionalProperties": False,
            "properties": {"max_images": {"type": "integer", "minimum": 2, "maximum": 15}},
        },
    },
    "dependentRequired": {
        "stream": ["sequential_image_generation"],
        "sequential_image_generation": ["sequential_image_generation_options"],
    },
    "allOf": [
        {
            "if": {"properties": {"model": {"pattern": "5-0-(pro|flash)"}}},
            "then": {
                "properties": {
                    "image": {"maxItems": 10},
                    "stream": False,
                    "sequential_image_generation": False,
                    "sequential_image_generation_options": False,
                }
            },
        },
        {"if": {"properties": {"model": {"pattern": "-4-[05]-"}}}, "then": {"properties": {"output_format": False}}},
    ],
}
"""Ark's rules for the body of a generation, written from its reference."""

SHAPES: st.SearchStrategy[Shape | None] = st.one_of(
    st.none(),
    st.builds(Size, width=st.integers(900, 4000), height=st.integers(900, 4000)),
    st.sampled_from([AspectRatio(width=16, height=9), AspectRatio(width=1, height=3)]),
)


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=20).filter(str.strip),
        count=st.integers(1, 20),
        shape=SHAPES,
        output_format=st.sampled_from([None, "png", "jpeg", "webp"]),
        images=st.lists(st.sampled_from([PNG, JPEG]), max_size=10).map(tuple),
    ),
    model=st.sampled_from(MODELS),
    watermark=st.booleans(),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model, watermark: bool) -> None:
    fitted, _ = within_group(negotiate(request, model, styles={}).request)
    body = to_wire(fitted, model, watermark=watermark)
    jsonschema.validate(body, RULES)
    most = body.get("sequential_image_generation_options", {}).get("max_images", 0)
    assert most + len(fitted.images) <= 15
    if "size" in body:
        width, height = map(int, body["size"].split("x"))
        least, largest = FAKE_MODELS[model.id].pixels
        assert least <= width * height <= largest
        assert max(width, height) <= 16 * min(width, height)


def test_a_full_request_becomes_this_body() -> None:
    request = ImageRequest(
        prompt="a cat",
        shape=Size(width=2560, height=1440),
        output_format="png",
        images=(PNG, JPEG),
        options={"optimize_prompt_options": {"mode": "standard"}},
    )
    assert to_wire(request, LITE, watermark=True) == {
        "model": "doubao-seedream-5-0-260128",
        "prompt": "a cat",
        "image": ["data:image/png;base64,iVBORw==", "data:image/jpeg;base64,/9j/"],
        "size": "2560x1440",
        "output_format": "png",
        "response_format": "b64_json",
        "watermark": True,
        "optimize_prompt_options": {"mode": "standard"},
    }


def test_a_small_request_says_nothing_that_is_not_needed() -> None:
    assert to_wire(CAT, PRO, watermark=False) == {"model": PRO.id, "prompt": "a cat", "response_format": "b64_json", "watermark": False}
    assert to_wire(replace(CAT, images=(PNG,)), PRO, watermark=False)["image"] == "data:image/png;base64,iVBORw=="


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [("a cat", "a cat\nGenerate a set of 3 pictures."), ("一只猫", "一只猫\n生成一组共3张图片。")],
)
def test_a_set_is_asked_for_in_the_prompt_too_since_there_the_model_looks(prompt: str, sent: str) -> None:
    request, words = within_group(replace(TRIPTYCH, prompt=prompt))
    assert words == (NUMBER_SAID,)
    assert to_wire(request, V45, watermark=False) == {
        "model": V45.id,
        "prompt": sent,
        "response_format": "url",
        "watermark": False,
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": {"max_images": 3},
        "stream": True,
    }


def test_input_images_take_room_from_a_set() -> None:
    request, words = within_group(replace(CAT, count=8, images=(PNG,) * 12))
    assert request.count == 3
    assert words == (Adjustment(field="n", message="With 12 input image(s) a set has room for 3 new one(s): 15 in all."), NUMBER_SAID)
    request, words = within_group(replace(CAT, count=2, images=(PNG,) * 14))
    assert (request.count, [word.field for word in words]) == (1, ["n"])
    assert within_group(CAT) == (CAT, ())


def test_options_are_passed_on_and_win() -> None:
    options = {"watermark": True, "size": "2K", "response_format": "url", "tools": [{"type": "web_search"}], "stream": False}
    body = to_wire(replace(TRIPTYCH, shape=Size(width=2048, height=2048), options=options), LITE, watermark=False)
    assert {name: body[name] for name in options} == options


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_a_recorded_answer_becomes_a_picture_and_a_bill() -> None:
    answer = ImagesReply.model_validate(recorded("generated"))
    assert answer.data is not None
    pictures = [base64.b64decode(entry.b64_json or "") for entry in answer.data]
    assert from_wire(answer.data, pictures, usage=answer.usage, model=V45, request_id="0217") == Generated(
        images=(Drawn(data=b"\xff\xd8\xff\xe0\x00\x10"),), cost=Cost(micros=250_000, currency="CNY", source="computed"), request_id="0217"
    )


@pytest.mark.parametrize(
    ("model", "size", "usage", "expected"),
    [
        (PRO, "1024x1024", True, Cost(micros=300_000, currency="CNY", source="computed")),
        (PRO, "1536x1536", True, Cost(micros=300_000, currency="CNY", source="computed")),
        (PRO, "2048x2048", True, Cost(micros=600_000, currency="CNY", source="computed")),
        (PRO, "", False, Cost(micros=600_000, currency="CNY", source="list_price")),
        (V40, "4096x4096", False, Cost(micros=200_000, currency="CNY", source="list_price")),
        (FLASH, "1024x1024", True, None),
        (Model(provider="doubao", id="ep-1"), "1024x1024", True, None),
    ],
)
def test_the_bill_follows_the_price_list(model: Model, size: str, usage: bool, expected: Cost | None) -> None:
    body = {"data": [{"url": "https://example.com/1", "size": size}], **({"usage": {"generated_images": 1}} if usage else {})}
    answer = ImagesReply.model_validate(body)
    assert answer.data is not None
    assert from_wire(answer.data, [b"1"], usage=answer.usage, model=model, request_id=None).cost == expected


def test_input_images_after_the_first_are_on_the_bill() -> None:
    answer = ImagesReply.model_validate(recorded("layers"))
    assert answer.data is not None
    made = from_wire(answer.data, [b"1", b"2"], usage=answer.usage, model=PRO, request_id=None)
    assert made.cost == Cost(micros=600_000 + 300_000 + 2 * 20_000, currency="CNY", source="computed")
    assert PRICES.keys() == {model.id for model in MODELS if model.price}


MISSING = ". Activate the model in the service's console, or name another one: DOUBAO_MODEL is the one for requests that name none."
REGION = ". A key works only in the region where it was made, and DOUBAO_ENDPOINT has to be that region's address."


@pytest.mark.parametrize(
    ("name", "status", "kind", "details", "advice"),
    [
        ("refused", 400, RefusedError, {"service_code": "InputImageSensitiveContentDetected.PrivacyInformation"}, ""),
        ("rate_limited", 429, RateLimitedError, {"service_code": "ModelAccountIpmRateLimitExceeded"}, ""),
        ("not_open", 404, AuthError, {"service_code": "ModelNotOpen"}, MISSING),
        ("no_model", 404, None, {"service_code": "InvalidEndpointOrModel.NotFound"}, MISSING),
        ("overdue", 403, QuotaError, {"service_code": "AccountOverdueError"}, ""),
        ("unauthorized", 401, AuthError, {"service_code": "AuthenticationError"}, REGION),
        ("too_small", 400, None, {"service_code": "InvalidParameter", "parameter": "size"}, ""),
    ],
)
def test_a_recorded_error_is_understood(name: str, status: int, kind: type[ProviderError] | None, details: dict[str, str], advice: str) -> None:
    body = recorded(name)
    assert read_fault(status, body) == Fault(message=body["error"]["message"] + advice, kind=kind, details=details)
    assert "Request id: 0217767662493338a2cc6176b4dc89676d1081d755bfbd14c1758" in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": "no such route"}, Fault(message="no such route")),
        ({"message": "too many"}, Fault(message="too many")),
        ({"error": {"code": "InternalServiceError", "message": ""}}, Fault(message="InternalServiceError", kind=UnavailableError)),
        ({"error": {"code": 7, "message": "odd"}}, Fault(message="odd")),
        ({"error": {}}, Fault(message="no reason given")),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_errors_of_another_form_are_understood_as_far_as_they_go(body: Any, fault: Fault | None) -> None:
    found = read_fault(500, body)
    assert (found and replace(found, details={})) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_a_request_comes_back_as_a_picture_with_its_cost(fake: FakeDoubao) -> None:
    ear = Ear()
    made = await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)), ear=ear)
    assert made == Generated(
        images=(Drawn(data=picture(2560, 1440, "jpeg")),),
        cost=Cost(micros=250_000, currency="CNY", source="computed"),
        request_id=REQUEST_ID,
    )
    assert (ear.said, ear.previews) == ([], [])
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/api/v3/images/generations", f"Bearer {fake.key}")


async def test_the_pictures_of_a_set_are_shown_as_they_come_and_fetched_without_the_key(fake: FakeDoubao) -> None:
    ear = Ear()
    made = await draw(fake, replace(TRIPTYCH, shape=SMALL), V40, ear=ear)
    drawn = picture(1280, 720, "jpeg")
    assert made == Generated(
        images=(Drawn(data=drawn),) * 3,
        cost=Cost(micros=600_000, currency="CNY", source="computed"),
        request_id=REQUEST_ID,
        adjustments=(NUMBER_SAID,),
    )
    assert ear.previews == [drawn] * 3
    assert [(round(fraction, 2), words) for fraction, words in ear.said] == [
        (0.33, "1 of 3 pictures are there."),
        (0.67, "2 of 3 pictures are there."),
        (1.0, "3 of 3 pictures are there."),
    ]
    assert [(seen.method, "authorization" in seen.headers) for seen in fake.seen] == [("POST", True), ("GET", False), ("GET", False), ("GET", False)]
    assert fake.seen[1].query == {"X-Tos-Signature": "abc/def"}


async def test_the_visible_mark_is_the_operators_choice(fake: FakeDoubao) -> None:
    for variables in (ALONE, {"DOUBAO_WATERMARK": "true"}):
        await draw(fake, replace(CAT, shape=SMALL), V40, variables=variables)
    await draw(fake, replace(CAT, shape=SMALL, options={"watermark": True}), V40)
    assert [seen.json()["watermark"] for seen in fake.seen] == [False, True, True]


async def test_input_images_are_edited_at_the_same_address(fake: FakeDoubao) -> None:
    source = Picture(data=picture(16, 16), media_type="image/png", size=Size(width=16, height=16))
    made = await draw(fake, replace(CAT, shape=SMALL, images=(source, source)), PRO)
    assert made.cost == Cost(micros=320_000, currency="CNY", source="computed")
    sent = fake.seen[0].json()["image"]
    assert [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in sent] == [source.data] * 2


async def test_a_service_that_answers_at_once_instead_of_in_events_is_understood(fake: FakeDoubao) -> None:
    fake.trouble.append(Trouble.AT_ONCE)
    assert len((await draw(fake, replace(TRIPTYCH, shape=SMALL), V40)).images) == 3


async def test_links_are_understood_where_base64_was_asked_for(fake: FakeDoubao) -> None:
    fake.trouble.append(Trouble.LINKS)
    assert (await draw(fake, replace(CAT, shape=SMALL), V40)).images == (Drawn(data=picture(1280, 720, "jpeg")),)


@pytest.mark.parametrize("trouble", [Trouble.MORE_FIELDS, Trouble.NO_USAGE, Trouble.ODD_USAGE])
@pytest.mark.parametrize("count", [1, 2])
async def test_what_the_answer_has_too_much_or_too_little_of_does_no_harm(fake: FakeDoubao, trouble: Trouble, count: int) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(CAT, shape=SMALL, count=count), V40)
    assert made.images == (Drawn(data=picture(1280, 720, "jpeg")),) * count
    source = "computed" if trouble is Trouble.MORE_FIELDS else "list_price"
    assert made.cost is not None
    assert (made.cost.micros, made.cost.source) == (200_000 * count, source)


async def test_a_set_with_fewer_pictures_than_asked_for_says_so(fake: FakeDoubao) -> None:
    made = await draw(fake, replace(TRIPTYCH, prompt="2 pictures of a cat", shape=SMALL), V40)
    words = "2 of 3 pictures came: the model decides how many a set has. A prompt that describes each one helps."
    assert (len(made.images), made.adjustments) == (2, (NUMBER_SAID, Adjustment(field="n", message=words)))


REFUSED = "Doubao failed: The request failed because the output image may contain sensitive information."
LOST: list[tuple[Trouble, int, int, str]] = [
    # trouble, pictures that come, pictures on the bill, the word on it
    (Trouble.ONE_REFUSED, 2, 2, f"Picture 2 did not come: {REFUSED}"),
    (Trouble.ONE_BROKEN, 1, 1, "Picture 2 did not come: Doubao failed: The service encountered an unexpected internal error."),
    (Trouble.ONE_LINK_DEAD, 2, 3, "Picture 2 did not come: The picture's link from Doubao (127.0.0.1) answered 403."),
    (Trouble.STREAM_BREAKS, 1, 1, "1 of 3 pictures came: Doubao failed: The service encountered an unexpected internal error."),
    (Trouble.STREAM_CUT, 1, 1, "1 of 3 pictures came: Doubao at 127.0.0.1 broke the connection"),
    (Trouble.STREAM_SHORT, 1, 1, "1 of 3 pictures came: Doubao ended its answer before the picture was complete."),
    (Trouble.STREAM_GARBLED, 1, 1, "1 of 3 pictures came: Doubao answered with "),
]


IN_EVENTS: list[tuple[Any, ...]] = [(*row, {}) for row in LOST]
AT_ONCE: list[tuple[Any, ...]] = [(*row, {"stream": False}) for row in LOST if not row[0].name.startswith("STREAM")]


@pytest.mark.parametrize(("trouble", "come", "billed", "words", "options"), [*IN_EVENTS, *AT_ONCE], ids=lambda value: getattr(value, "name", None))
async def test_what_is_lost_of_a_set_is_named_and_the_rest_is_kept(
    fake: FakeDoubao, trouble: Trouble, come: int, billed: int, words: str, options: Mapping[str, Any]
) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(TRIPTYCH, shape=SMALL, options=options), V40)
    assert made.images == (Drawn(data=picture(1280, 720, "jpeg")),) * come
    assert made.cost is not None
    assert made.cost.micros == 200_000 * billed
    said, lost = made.adjustments
    assert (said, lost.field) == (NUMBER_SAID, "images")
    assert lost.message.startswith(words)
    assert len([seen for seen in fake.seen if seen.method == "POST"]) == 1


# Another model in the place of the first -----------------------------------------------------------------------------------------------------

OUT_OF_REACH = [
    Trouble.NOT_OPEN,
    Trouble.SERVICE_NOT_OPEN,
    Trouble.NO_MODEL,
    Trouble.NO_MODEL_IDS,
    Trouble.UNSUPPORTED_MODEL,
    Trouble.CLOSED,
]


@pytest.mark.parametrize("trouble", OUT_OF_REACH)
async def test_the_second_model_draws_where_the_account_has_no_first_one_and_the_answer_says_so(fake: FakeDoubao, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    made = await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)), variables=V40_INSTEAD)
    assert [seen.json()["model"] for seen in fake.seen] == [V45.id, V40.id]
    (words,) = made.adjustments
    assert words.field == "model"
    assert words.message.startswith(f"{V40.id} drew instead. Doubao answered 4")
    assert made.images == (Drawn(data=picture(2560, 1440, "jpeg")),)
    assert made.cost == Cost(micros=200_000, currency="CNY", source="computed")


async def test_the_request_is_fitted_to_the_second_model(fake: FakeDoubao) -> None:
    fake.closed.add(V45.id)
    made = await draw(fake, replace(TRIPTYCH, shape=Size(width=4096, height=4096)), variables=PRO_INSTEAD)
    assert [adjustment.field for adjustment in made.adjustments] == ["model", "resolution", "n"]
    body = fake.seen[-1].json()
    assert (body["model"], body["size"], "sequential_image_generation" in body) == (PRO.id, "2144x2144", False)


async def test_a_second_model_that_cannot_take_the_request_leaves_the_first_ones_error(fake: FakeDoubao) -> None:
    fake.closed.add(V45.id)
    with pytest.raises(AuthError, match=f"has not activated the model {V45.id}"):
        await draw(fake, replace(CAT, images=(PNG,) * 12), variables=PRO_INSTEAD)
    assert len(fake.seen) == 1


async def test_a_second_model_that_is_out_of_reach_too_leaves_the_first_ones_error(fake: FakeDoubao) -> None:
    fake.closed |= {V45.id, V40.id}
    with pytest.raises(AuthError, match=f"has not activated the model {V45.id}"):
        await draw(fake, variables=V40_INSTEAD)
    assert len(fake.seen) == 2


async def test_a_second_models_own_failure_is_told(fake: FakeDoubao) -> None:
    fake.trouble.extend([Trouble.NOT_OPEN, Trouble.BLOCKED_PROMPT])
    with pytest.raises(RefusedError):
        await draw(fake, variables=V40_INSTEAD)


@pytest.mark.parametrize("trouble", [Trouble.RISK, Trouble.DENIED, Trouble.OVERDUE, Trouble.EMPTY_404, Trouble.ERROR_500, Trouble.TOP_ERROR])
async def test_no_other_failure_calls_the_second_model(fake: FakeDoubao, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError):
        await draw(fake, variables=V40_INSTEAD)
    assert len(fake.seen) == 1


async def test_a_model_that_was_asked_for_by_name_is_not_replaced(fake: FakeDoubao) -> None:
    fake.closed.add(PRO.id)
    with pytest.raises(AuthError, match=f"has not activated the model {PRO.id}"):
        await draw(fake, CAT, PRO, variables=V40_INSTEAD)
    assert len(fake.seen) == 1


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, int, type[ProviderError], str, bool, bool, int]] = [
    # trouble, pictures asked for, class, code, retryable, may have been billed, calls
    (T.RATE_LIMITED, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.RATE_LIMITED, 2, RateLimitedError, "rate_limited", True, False, 3),
    (T.BURST, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.OVERLOADED, 1, RateLimitedError, "rate_limited", True, False, 3),
    (T.OVERDUE, 1, QuotaError, "quota", False, False, 1),
    (T.SERVICE_OVERDUE, 1, QuotaError, "quota", False, False, 1),
    (T.SAFE_LIMIT, 1, QuotaError, "quota", False, False, 1),
    (T.TRIAL_OVER, 1, QuotaError, "quota", False, False, 1),
    (T.DENIED, 1, AuthError, "auth", False, False, 1),
    (T.NOT_OPEN, 1, AuthError, "auth", False, False, 1),
    (T.SERVICE_NOT_OPEN, 1, AuthError, "auth", False, False, 1),
    (T.NO_MODEL, 1, ProviderError, "provider_error", False, False, 1),
    (T.NO_MODEL_IDS, 1, AuthError, "auth", False, False, 1),
    (T.UNSUPPORTED_MODEL, 1, ProviderError, "provider_error", False, False, 1),
    (T.CLOSED, 1, ProviderError, "provider_error", False, False, 1),
    (T.BLOCKED_PROMPT, 1, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_PROMPT, 2, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_INPUT, 1, RefusedError, "refused", False, False, 1),
    (T.BLOCKED_OUTPUT, 1, RefusedError, "refused", False, False, 1),
    (T.RISK, 1, RefusedError, "refused", False, False, 1),
    (T.ERROR_500, 1, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_502_PAGE, 1, UnavailableError, "unavailable", True, False, 1),
    (T.ERROR_504, 1, UnavailableError, "unavailable", True, True, 1),
    (T.EMPTY_404, 1, ProviderError, "provider_error", False, False, 1),
    (T.HANG, 1, UnavailableError, "unavailable", True, True, 1),
    (T.HANG, 2, UnavailableError, "unavailable", True, True, 1),
    (T.CUT, 1, UnavailableError, "unavailable", True, True, 1),
    (T.PAGE, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_JSON, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.TOP_ERROR, 1, RefusedError, "refused", False, False, 1),
    (T.ALL_FAILED, 1, RefusedError, "refused", False, False, 1),
    (T.ALL_FAILED, 2, RefusedError, "refused", False, False, 1),
    (T.BAD_BASE64, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_DATA, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.NO_PICTURE, 1, BadReplyError, "bad_reply", False, True, 1),
    (T.KEY_ECHO, 1, ProviderError, "provider_error", False, False, 1),
    (T.LINKS_DEAD, 2, BadReplyError, "bad_reply", False, True, 1),
    (T.STREAM_ERROR, 2, RefusedError, "refused", False, False, 1),
    (T.STREAM_EMPTY, 2, UnavailableError, "unavailable", True, True, 1),
]


@pytest.mark.parametrize(
    ("trouble", "count", "kind", "code", "retryable", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None)
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeDoubao, trouble: Trouble, count: int, kind: type[ProviderError], code: str, retryable: bool, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(
        draw(fake, replace(CAT, shape=SMALL, count=count), V40, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key
    )
    posts = len([seen for seen in fake.seen if seen.method == "POST"])
    assert (type(error), error.code, error.retryable, error.may_have_been_billed, posts) == (kind, code, retryable, billed, calls)
    assert error.provider == "doubao"


def test_every_trouble_is_in_a_table_or_does_no_harm() -> None:
    harmless = {T.LINKS, T.MORE_FIELDS, T.NO_USAGE, T.ODD_USAGE, T.AT_ONCE}
    assert {row[0] for row in FAILURES} | {row[0] for row in LOST} | harmless == set(Trouble)


async def test_a_refusal_names_its_reason_and_its_id(fake: FakeDoubao) -> None:
    fake.trouble.append(T.BLOCKED_INPUT)
    with pytest.raises(RefusedError, match="the input image may contain sensitive information") as caught:
        await draw(fake)
    assert caught.value.details == {
        "provider": "doubao",
        "status": 400,
        "request_id": REQUEST_ID,
        "service_code": "InputImageSensitiveContentDetected.PrivacyInformation",
    }


async def test_a_wrong_key_names_the_variables(fake: FakeDoubao) -> None:
    provider = provider_at(fake, {"DOUBAO_API_KEY": "ark-wrong-9876543210"})
    for call in (provider.generate(CAT, V45, Ear()), provider.check()):
        with pytest.raises(AuthError, match=r"region.*DOUBAO_ENDPOINT.*Check DOUBAO_API_KEY") as caught:
            await call
        assert "ark-wrong-9876543210" not in str(caught.value)
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = load({"DOUBAO_API_KEY": "ark-1", "DOUBAO_ENDPOINT": f"http://127.0.0.1:{closed_port()}"})
    assert provider is not None
    provider._net = Net(provider._net.service, tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.generate(CAT, V45, Ear())
    await provider.aclose()
    assert caught.value.not_accepted


@pytest.mark.parametrize("count", [1, 2])
async def test_work_under_way_can_be_cancelled(fake: FakeDoubao, count: int) -> None:
    fake.trouble.append(T.HANG)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake, replace(CAT, count=count))
    assert scope.cancelled_caught


async def test_a_set_can_be_cancelled_between_two_pictures(fake: FakeDoubao) -> None:
    first = anyio.Event()

    class Leaving(Ear):
        async def preview(self, data: bytes) -> None:
            await super().preview(data)
            first.set()
            await anyio.sleep_forever()

    ear = Leaving()
    async with anyio.create_task_group() as tasks:

        async def work() -> None:
            await draw(fake, replace(TRIPTYCH, shape=SMALL), V40, ear=ear)

        tasks.start_soon(work)
        with anyio.fail_after(5):
            await first.wait()
        tasks.cancel_scope.cancel()
    assert len(ear.previews) == 1
    assert len(fake.seen) == 2


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_asks_for_what_the_service_refuses_to_draw_and_tells_whether_the_model_may_be_used(fake: FakeDoubao) -> None:
    provider = provider_at(fake)
    assert await provider.check() == f"Doubao accepts the key, and the account may use {V45.id}."
    assert [seen.json() for seen in fake.seen] == [{"model": V45.id, "prompt": "nothing", "size": "1x1"}]
    fake.closed.add(V45.id)
    with pytest.raises(AuthError, match="has not activated the model"):
        await provider.check()
    await provider.aclose()


async def test_the_check_looks_at_the_second_model_where_the_first_cannot_be_used(fake: FakeDoubao) -> None:
    provider = provider_at(fake, V40_INSTEAD)
    fake.closed.add(V45.id)
    assert await provider.check() == f"Doubao accepts the key, but not for {V45.id}; {V40.id} draws instead."
    fake.closed.add(V40.id)
    with pytest.raises(AuthError, match=f"has not activated the model {V40.id}"):
        await provider.check()
    await provider.aclose()


# The fake is faithful: the vendor's own library and OpenAI's are its witnesses ------------------------------------------------------------------


@pytest.fixture
async def library(fake: FakeDoubao) -> AsyncIterator[ark.AsyncArk]:
    async with ark.AsyncArk(api_key=fake.key, base_url=fake.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
async def compatible(fake: FakeDoubao) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=fake.base_url, api_key=fake.key, max_retries=0) as client:
        yield client


def said(body: dict[str, Any]) -> dict[str, Any]:
    """A body without the keys that Ark's library sends as null."""
    return {name: value for name, value in body.items() if value is not None}


async def test_arks_library_sends_the_same_body_to_the_same_place_and_understands_the_answer(fake: FakeDoubao, library: ark.AsyncArk) -> None:
    source = Picture(data=picture(16, 16), media_type="image/png", size=Size(width=16, height=16))
    answer = await library.images.generate(
        model=LITE.id,
        prompt="a cat",
        image=f"data:image/png;base64,{base64.b64encode(source.data).decode()}",
        size="2560x1440",
        output_format="png",
        response_format="b64_json",
        watermark=False,
    )
    wish = ImageRequest(prompt="a cat", shape=Size(width=2560, height=1440), output_format="png", images=(source,))
    made = await draw(fake, wish, LITE)
    theirs, ours = fake.seen
    assert (theirs.method, theirs.path, said(theirs.json())) == (ours.method, ours.path, ours.json())
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert answer.model == LITE.id
    assert [(base64.b64decode(entry.b64_json), entry.size) for entry in answer.data] == [(made.images[0].data, "2560x1440")]
    assert answer.usage is not None
    assert (answer.usage.input_images, answer.usage.generated_images, answer.usage.output_tokens) == (1, 1, 14400)


async def test_arks_library_sees_the_same_stream(fake: FakeDoubao, library: ark.AsyncArk) -> None:
    stream = await library.images.generate(
        model=V40.id,
        prompt="a cat\nGenerate a set of 3 pictures.",
        size="1280x720",
        response_format="url",
        watermark=False,
        sequential_image_generation="auto",
        sequential_image_generation_options=SequentialImageGenerationOptions(max_images=3),
        stream=True,
    )
    events = [event async for event in stream]
    await draw(fake, replace(TRIPTYCH, shape=SMALL), V40)
    theirs, ours = (seen for seen in fake.seen if seen.method == "POST")
    assert said(theirs.json()) == ours.json()
    assert [event.type.removeprefix("image_generation.") for event in events] == [*["partial_succeeded"] * 3, "completed"]
    assert [getattr(event, "image_index", None) for event in events] == [0, 1, 2, None]
    assert events[-1].usage["generated_images"] == 3


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (T.RATE_LIMITED, 429, "ModelAccountIpmRateLimitExceeded"),
        (T.OVERDUE, 403, "AccountOverdueError"),
        (T.NOT_OPEN, 404, "ModelNotOpen"),
        (T.BLOCKED_PROMPT, 400, "InputTextSensitiveContentDetected"),
        (T.ERROR_500, 500, "InternalServiceError"),
    ],
)
async def test_both_libraries_see_the_same_failures(
    fake: FakeDoubao, library: ark.AsyncArk, compatible: openai.AsyncOpenAI, trouble: Trouble, status: int, code: str
) -> None:
    fake.trouble.extend([trouble, trouble])
    with pytest.raises(ark._exceptions.ArkAPIStatusError) as ours:
        await library.images.generate(model=V45.id, prompt="a cat")
    with pytest.raises(openai.APIStatusError) as theirs:
        await compatible.images.generate(model=V45.id, prompt="a cat")
    assert (ours.value.status_code, ours.value.code) == (theirs.value.status_code, theirs.value.code) == (status, code)


async def test_openais_library_sends_the_same_body_and_understands_the_answer(fake: FakeDoubao, compatible: openai.AsyncOpenAI) -> None:
    answer = await compatible.images.generate(
        model=V45.id, prompt="a cat", size="2560x1440", response_format="b64_json", extra_body={"watermark": False}
    )
    await draw(fake, replace(CAT, shape=Size(width=2560, height=1440)))
    theirs, ours = fake.seen
    assert (theirs.path, theirs.json()) == (ours.path, ours.json())
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == picture(2560, 1440, "jpeg")
    assert answer._request_id == REQUEST_ID


async def test_openais_library_sees_the_same_rules(fake: FakeDoubao, compatible: openai.AsyncOpenAI) -> None:
    png = "data:image/png;base64,iVBORw=="
    bad: list[tuple[Model, dict[str, Any], str | None]] = [
        (V45, {"size": "1024x1024"}, "size"),
        (V45, {"size": "1K"}, "size"),
        (V45, {"output_format": "png"}, "output_format"),
        (LITE, {"output_format": "webp"}, "output_format"),
        (PRO, {"size": "4096x4096"}, "size"),
        (PRO, {"sequential_image_generation": "disabled"}, "sequential_image_generation"),
        (PRO, {"image": [png] * 11}, "image"),
        (V45, {"image": "data:image/PNG;base64,iVBORw=="}, "image"),
        (V45, {"image": [png] * 15}, "image"),
        (
            V45,
            {"image": [png] * 10, "sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 6}},
            "sequential_image_generation_options.max_images",
        ),
    ]
    for model, change, parameter in bad:
        with pytest.raises(openai.BadRequestError) as caught:
            await compatible.images.generate(model=model.id, prompt="a cat", extra_body=change)
        assert (caught.value.code, caught.value.param) == ("InvalidParameter", parameter)
    with pytest.raises(openai.NotFoundError) as missing:
        await compatible.images.generate(model="doubao-seedream-3-0-t2i-250415", prompt="a cat")
    assert missing.value.code == "InvalidEndpointOrModel.NotFound"
    with pytest.raises(openai.AuthenticationError):
        await compatible.with_options(api_key="ark-wrong-9876543210").images.generate(model=V45.id, prompt="a cat")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    import subprocess
    import sys

    heavy = ("httpx2", "httpcore2", "stamina", "openai", "volcenginesdkarkruntime", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.doubao as o; o.load({{'DOUBAO_API_KEY': 'a'}}); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
