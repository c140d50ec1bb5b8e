"""Requests and answers, translated."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import AspectRatio, Cost, Drawn, Generated, ImageRequest, Model, Size
from mcp_image_server.net import Fault, File
from mcp_image_server.providers.openai.models import DEFAULT_MODEL, MODELS, TOKEN_PRICES
from mcp_image_server.providers.openai.wire import Answered, ImagesReply, from_wire, read_fault, to_parts, to_wire

from ...fakes.openai import CLASSIC, FLEXIBLE, MAX_CHARS
from ...fakes.server import picture
from ..service import judge, reply
from .place import CAT, FULL, HAT, MODEL, PATCH, with_hole

pytestmark = pytest.mark.anyio

recorded = partial(reply, "openai")
RULES = judge(
    {
        "type": "object",
        "required": ["model", "prompt"],
        "additionalProperties": False,
        "properties": {
            "model": {"enum": [*FLEXIBLE, *CLASSIC]},
            "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_CHARS},
            "n": {"type": "integer", "minimum": 1, "maximum": 10},
            "size": {"type": "string", "pattern": "^(auto|[1-9][0-9]*x[1-9][0-9]*)$"},
            "quality": {"enum": ["auto", "low", "medium", "high", "xhigh", "max"]},
            "background": {"enum": ["auto", "transparent", "opaque"]},
            "output_format": {"enum": ["png", "jpeg", "webp"]},
            "output_compression": {"type": "integer", "minimum": 0, "maximum": 100},
            "moderation": {"enum": ["auto", "low"]},
            "stream": {"type": "boolean"},
            "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
            "user": {"type": "string"},
        },
        "dependentRequired": {"output_compression": ["output_format"], "partial_images": ["stream"]},
        "if": {"properties": {"stream": {"const": True}}, "required": ["stream"]},
        "then": {"properties": {"n": {"const": 1}}},
    }
)
"""OpenAI's rules for the body of a generation, written from its reference."""


def choice(*values: str) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=50),
        count=st.integers(1, 10),
        shape=st.none() | st.builds(Size, width=st.integers(1, 4000), height=st.integers(1, 4000)),
        quality=choice("auto", "low", "max"),
        background=choice("auto", "transparent", "opaque"),
        output_format=st.sampled_from(["png", "jpeg", "webp"]),
        output_compression=st.none() | st.integers(0, 100),
        moderation=choice("auto", "low"),
    ),
    model=st.sampled_from(MODELS),
    previews=st.integers(0, 3),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model, previews: int) -> None:
    RULES.validate(to_wire(request, model, partial_images=previews if request.count == 1 else 0))


def test_a_full_request_becomes_this_body() -> None:
    assert MODEL is not None
    assert to_wire(FULL, MODEL) == {
        "model": DEFAULT_MODEL,
        "prompt": "a cat",
        "n": 2,
        "size": "1536x864",
        "quality": "low",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 80,
        "moderation": "low",
        "user": "u1",
    }
    assert to_wire(CAT, MODEL, partial_images=2) == {"model": DEFAULT_MODEL, "prompt": "a cat", "n": 1, "stream": True, "partial_images": 2}


def test_a_wish_for_a_shape_goes_out_as_written_to_a_model_nobody_knows() -> None:
    body = to_wire(replace(CAT, shape=AspectRatio(width=16, height=9)), Model(provider="openai", id="flux"))
    assert body == {"model": "flux", "prompt": "a cat", "n": 1, "size": "16:9"}


def test_an_edit_is_a_form_with_settings_first_and_pictures_after() -> None:
    assert MODEL is not None
    wish = replace(PATCH, options={"input_fidelity": "high", "svg": {"model": "s"}, "tags": ["a", "b"], "stream": True})
    assert to_parts(to_wire(wish, MODEL), wish) == [
        ("model", DEFAULT_MODEL),
        ("prompt", "a hat"),
        ("n", "1"),
        ("input_fidelity", "high"),
        ("svg[model]", "s"),
        ("tags[]", "a"),
        ("tags[]", "b"),
        ("stream", "true"),
        ("image[]", File(name="image-1.png", media_type="image/png", data=picture(64, 48))),
        ("image[]", File(name="image-2.jpeg", media_type="image/jpeg", data=picture(32, 32, "jpeg"))),
        ("mask", File(name="mask.png", media_type="image/png", data=with_hole().data)),
    ]
    assert [name for name, _ in to_parts({}, HAT)] == ["image"]


def test_a_recorded_answer_becomes_pictures_and_a_bill() -> None:
    assert MODEL is not None
    answer = ImagesReply.model_validate(recorded("generated"))
    pictures = [base64.b64decode(entry.b64_json or "") for entry in answer.data or ()]
    # 10 text tokens at 5, 40 image tokens at 8, 50 drawn at 30 dollars a million
    assert from_wire(answer, pictures, prices=TOKEN_PRICES[DEFAULT_MODEL], request_id="req_1") == Generated(
        images=(Drawn(data=b"\x89PNG\r\n\x1a\n"), Drawn(data=b"\x89PNG\r\n\x1a\n\x00", revised_prompt="a finer prompt")),
        cost=Cost(micros=1870, currency="USD", source="computed"),
        request_id="req_1",
    )


def test_a_recorded_answer_of_a_compatible_server_is_a_link_without_a_bill() -> None:
    answer = ImagesReply.model_validate(recorded("linked"))
    assert answer == ImagesReply(data=[Answered(url="http://127.0.0.1:30000/files/1.png")])
    made = from_wire(answer, [b"1"], prices=None, request_id=None)
    assert made == Generated(images=(Drawn(data=b"1"),))


@pytest.mark.parametrize(
    ("model", "usage", "expected"),
    [
        ("gpt-image-1.5", True, Cost(micros=10 * 5 + 40 * 8 + 50 * 32, currency="USD", source="computed")),
        ("gpt-image-1-mini", True, Cost(micros=10 * 2 + 40 * 5 // 2 + 50 * 8, currency="USD", source="computed")),
        ("gpt-image-2", False, None),
        ("gpt-image-2.6-flare", True, None),
    ],
)
def test_the_bill_follows_the_price_list(model: str, usage: bool, expected: Cost | None) -> None:
    body = recorded("generated") if usage else {k: v for k, v in recorded("generated").items() if k != "usage"}
    made = from_wire(ImagesReply.model_validate(body), [b"1", b"2"], prices=TOKEN_PRICES.get(model), request_id=None)
    assert made.cost == expected


@pytest.mark.parametrize(
    ("name", "status", "fault"),
    [
        ("refused", 400, Fault(message="", kind=RefusedError, details={"service_code": "moderation_blocked", "safety_violations": ["violence"]})),
        ("rate_limited", 429, Fault(message="", kind=RateLimitedError, details={"service_code": "rate_limit_exceeded"})),
        ("insufficient_quota", 429, Fault(message="", kind=QuotaError, details={"service_code": "insufficient_quota"})),
        ("organization_not_verified", 403, Fault(message="", details={"service_code": "invalid_request_error"})),
        ("invalid_size", 400, Fault(message="", details={"service_code": "invalid_value", "parameter": "size"})),
    ],
)
def test_a_recorded_error_is_understood(name: str, status: int, fault: Fault) -> None:
    body = recorded(name)
    assert read_fault(status, body) == replace(fault, message=body["error"]["message"])


def test_the_reasons_of_azure_are_understood() -> None:
    message = "Your task failed as a result of our safety system."
    filters = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False, "severity": "safe"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": filters}
    fault = read_fault(400, {"error": {"code": "contentFilter", "message": message, "inner_error": inner}})
    assert fault == Fault(message=message, kind=RefusedError, details={"service_code": "contentFilter", "safety_violations": ["violence"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model not loaded"}, "model not loaded"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "no such route", "code": 404}, "no such route"),
        ({"error": {"code": 500, "message": "out of memory", "type": ""}}, "out of memory"),
    ],
)
def test_the_simpler_errors_of_compatible_servers_are_understood(body: Any, message: str) -> None:
    fault = read_fault(400, body)
    assert fault is not None
    assert (fault.message, fault.kind) == (message, None)


@pytest.mark.parametrize("body", [None, [], {}, 3, {"error": None}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None
