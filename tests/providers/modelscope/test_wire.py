"""Requests and answers, translated."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import ProviderError, QuotaError, RateLimitedError, RefusedError
from mcp_image_server.models import Adjustment, AspectRatio, Drawn, Generated, ImageRequest, Model, Size
from mcp_image_server.net import Fault
from mcp_image_server.providers.modelscope import MAX_SEED, MODELS, Submitted, Task, from_wire, read_fault, to_wire

from ..service import judge, reply
from .place import CAT, DRAWING, EDITOR, FULL, MODEL, PHOTO

pytestmark = pytest.mark.anyio

recorded = partial(reply, "modelscope")
RULES = judge(
    {
        "type": "object",
        "required": ["model", "prompt"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string", "pattern": "^[^/]+/[^/]+$"},
            "prompt": {"type": "string", "minLength": 1, "maxLength": 2000},
            "negative_prompt": {"type": "string", "maxLength": 2000},
            "size": {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "steps": {"type": "integer", "minimum": 1, "maximum": 100},
            "guidance": {"type": "number", "minimum": 1.5, "maximum": 20},
            "image_url": {
                "anyOf": [{"$ref": "#/$defs/link"}, {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/link"}}],
            },
            "loras": {
                "anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 6, "additionalProperties": {"type": "number"}}],
            },
        },
        "$defs": {"link": {"type": "string", "pattern": "^(https?://|data:image/[a-z]+;base64,)"}},
    }
)
"""ModelScope's rules for the body of a submission, written from its documentation."""


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=50),
        negative_prompt=st.none() | st.text(max_size=50),
        shape=st.none() | st.builds(Size, width=st.integers(1, 4000), height=st.integers(1, 4000)),
        seed=st.none() | st.integers(0, 2**32 - 1),
        images=st.lists(st.sampled_from([PHOTO, DRAWING]), max_size=3).map(tuple),
        options=st.fixed_dictionaries({}, optional={"steps": st.integers(1, 100), "guidance": st.floats(1.5, 20), "loras": st.just("org/lora")}),
    ),
    model=st.sampled_from(MODELS),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model) -> None:
    RULES.validate(to_wire(request, model))


def test_a_full_request_becomes_this_body() -> None:
    assert to_wire(FULL, MODEL) == {
        "model": "Qwen/Qwen-Image",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "size": "1664x928",
        "seed": 7,
        "steps": 30,
        "guidance": 4.0,
        "loras": {"org/a": 0.6, "org/b": 0.4},
    }
    assert to_wire(CAT, MODEL) == {"model": "Qwen/Qwen-Image", "prompt": "a cat"}


def test_input_pictures_go_inside_the_body_one_as_a_text_and_several_as_a_list() -> None:
    photo = f"data:image/jpeg;base64,{base64.b64encode(PHOTO.data).decode()}"
    drawing = f"data:image/png;base64,{base64.b64encode(DRAWING.data).decode()}"
    asked = {"model": EDITOR.id, "prompt": "a cat"}
    assert to_wire(replace(CAT, images=(PHOTO,)), EDITOR) == {**asked, "image_url": photo}
    assert to_wire(replace(CAT, images=(PHOTO, DRAWING)), EDITOR) == {**asked, "image_url": [photo, drawing]}


def test_options_win_and_a_model_nobody_knows_gets_the_wish_as_written() -> None:
    request = replace(FULL, shape=AspectRatio(width=16, height=9), options={"size": "1024x1024", "seed": 9, "image_url": "https://example.com/1.png"})
    assert to_wire(request, Model(provider="modelscope", id="someone/own-model")) == {
        "model": "someone/own-model",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "size": "1024x1024",
        "seed": 9,
        "image_url": "https://example.com/1.png",
    }


def test_recorded_answers_are_understood() -> None:
    assert Submitted.model_validate(recorded("submitted")).task_id == "4291877"
    waiting, done, failed = (Task.model_validate(recorded(name)) for name in ("waiting", "done", "failed"))
    assert (waiting.is_done, waiting.has_failed) == (False, False)
    assert (done.is_done, done.has_failed) == (True, False)
    assert (failed.is_done, failed.has_failed) == (False, True)
    assert done.output_images == ["https://muse-ai.oss-cn-hangzhou.aliyuncs.com/img/1a2b3c.png?Expires=1795000000&Signature=a%2Bb%3D"]
    assert Task.model_validate(recorded("unauthorized")).has_failed


def test_the_answer_says_which_seed_was_used() -> None:
    assert from_wire([b"1", b"2"], FULL, request_id="req_1") == Generated(
        images=(Drawn(data=b"1", seed=7), Drawn(data=b"2", seed=7)), request_id="req_1"
    )
    assert from_wire([b"1"], replace(FULL, options={"seed": 9}), request_id=None) == Generated(images=(Drawn(data=b"1", seed=9),))
    assert from_wire([b"1"], CAT, request_id=None) == Generated(images=(Drawn(data=b"1"),))


def test_a_seed_that_is_too_large_is_made_smaller_with_a_word() -> None:
    request = replace(CAT, seed=MAX_SEED + 6)
    assert to_wire(request, MODEL)["seed"] == 5
    assert from_wire([b"1"], request, request_id=None) == Generated(
        images=(Drawn(data=b"1", seed=5),),
        adjustments=(Adjustment(field="seed", message="ModelScope takes seeds up to 2147483647; 2147483653 became 5."),),
    )


@pytest.mark.parametrize(
    ("name", "status", "kind", "code", "more"),
    [
        ("failed", 200, ProviderError, 400, ""),
        ("task_not_found", 200, ProviderError, 500, ""),
        ("unauthorized", 401, None, None, ""),
        ("daily_quota", 429, QuotaError, None, ""),
        ("insufficient_quota", 429, QuotaError, "insufficient_quota", ""),
        ("no_provider", 400, None, None, ". Only models whose page on ModelScope offers API-Inference can be used, such as Qwen/Qwen-Image"),
    ],
)
def test_a_recorded_error_is_understood(name: str, status: int, kind: type[ProviderError] | None, code: Any, more: str) -> None:
    body = recorded(name)
    error = body.get("errors") or body.get("error")
    details = {key: value for key, value in (("service_code", code), ("request_id", body.get("request_id"))) if value is not None}
    assert read_fault(status, body) == Fault(message=error["message"] + more, kind=kind, details=details)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Output data may contain inappropriate content.", RefusedError),
        ("data_inspection_failed", RefusedError),
        ("NSFW content detected", RefusedError),
        ("输入内容包含敏感信息", RefusedError),
        ("图片审核不通过", RefusedError),
        ("parameter names are case sensitive", None),
        ("Your magicube balance is not enough", QuotaError),
        ("Too many requests", RateLimitedError),
        ("Requests rate limit exceeded", RateLimitedError),
        ("size must be pixels like 1024x1024", None),
    ],
)
def test_a_failure_is_known_by_its_words(words: str, kind: type[ProviderError] | None) -> None:
    assert read_fault(400, {"errors": {"message": words}}) == Fault(message=words, kind=kind)
    assert read_fault(200, {"task_status": "FAILED", "error": words}) == Fault(message=words, kind=kind or ProviderError)


@pytest.mark.parametrize("body", [None, [], {}, 3, {"errors": None}, {"errors": {"code": 500}}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None
