"""Requests, translated."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcp_image_server.models import Adjustment, AspectRatio, ImageRequest, Picture, Shape, Size, SizeRange
from mcp_image_server.negotiate import negotiate
from mcp_image_server.providers.hunyuan.models import CATALOGUE, TOKENHUB, WAYS, Way
from mcp_image_server.providers.hunyuan.wire import fit, to_wire

from ...fakes.hunyuan import HUB_PARAMETERS, LITE_STYLES, PRESETS, SPECS, STYLES, broken_hub_rule, broken_rule
from ...fakes.server import picture
from ..service import judge
from .place import BODIES, CAT, CHAT, HUB, HUB_35, IMAGE, PHOTO, V3

pytestmark = pytest.mark.anyio


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


def judge_of(way: Way) -> Draft202012Validator:
    """Who tells whether a body keeps all that is written about its action."""
    spec = SPECS[way.service]
    rules = {**rules_for(spec, spec["actions"][way.action]["input"]), **SEED_AND_REWRITING}
    for name, limit in LIMITS[way.model.id].items():
        rules["properties"][name] |= limit
    return judge(rules)


JUDGES = {way.model.id: judge_of(way) for way in WAYS if way.service != TOKENHUB}


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
    JUDGES[way.model.id].validate(body)
    assert broken_rule(way.action, body) is None


def test_a_picture_in_webp_becomes_a_png_where_tencent_reads_no_webp() -> None:
    webp = Picture(data=picture(64, 64, "webp"), media_type="image/webp", size=Size(width=64, height=64))
    asked = replace(CAT, images=(webp,))
    sent = [
        to_wire(asked, IMAGE)["ContentImage"]["ImageBase64"],
        to_wire(asked, HUB)["images"][0],
        to_wire(asked, HUB_35)["messages"][0]["content"][1]["image_url"]["url"].removeprefix("data:image/png;base64,"),
        to_wire(asked, V3)["Images"][0],
    ]
    assert [base64.b64decode(text)[:4] for text in sent] == [b"\x89PNG", b"\x89PNG", b"\x89PNG", b"RIFF"]


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
