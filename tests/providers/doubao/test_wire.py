"""Requests and answers, translated."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import Adjustment, AspectRatio, Cost, Drawn, Generated, ImageRequest, Model, Picture, Shape, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault
from mcp_image_server.providers.doubao.models import MODELS, PRICES
from mcp_image_server.providers.doubao.wire import ImagesReply, from_wire, read_fault, to_wire, within_group

from ...fakes.doubao import MODELS as FAKE_MODELS
from ..service import judge, reply
from .place import CAT, FLASH, LITE, NUMBER_SAID, PNG, PRO, TRIPTYCH, V40, V45

pytestmark = pytest.mark.anyio

JPEG = Picture(data=b"\xff\xd8\xff", media_type="image/JPEG", size=Size(width=1, height=1))
recorded = partial(reply, "doubao")

RULES = judge(
    {
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
)
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
    RULES.validate(body)
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
