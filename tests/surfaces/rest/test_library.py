"""Styles and templates: kept, used, read and thrown away."""

from __future__ import annotations

from typing import Any

import pytest

from tests.easel import Easel
from tests.web import Person

pytestmark = pytest.mark.anyio


async def test_a_template_is_kept_used_read_and_thrown_away(ann: Person, easel: Easel) -> None:
    path = "/api/v1/templates/card"
    words = {
        "title": "Card",
        "prompt": "a {mood} card for {whom}",
        "variables": {"whom": {}, "mood": {"choices": ["calm", "gay"], "default": "calm"}},
    }
    await ann("GET", path, 404)
    kept = await ann("PUT", path, 201, json={**words, "variables": {**words["variables"], "whom": None}})  # type: ignore[dict-item]
    typed = {"whom": {"type": "string"}, "mood": {"type": "choice", "choices": ["calm", "gay"], "default": "calm"}}
    assert kept == {"key": "card", "origin": "own", "template": {**words, "variables": typed}}
    assert await ann("PUT", path, 200, json=kept["template"]) == kept == await ann("GET", path, 200)
    await ann("POST", "/api/v1/jobs?wait=10", 201, json={"template": "card", "variables": {"whom": "Li"}})
    assert easel.asked[-1].prompt == "a calm card for Li"
    listed = (await ann("GET", "/api/v1/templates", 200))["templates"]
    assert [each["origin"] for each in listed] == ["builtin"] * 12 + ["own"]
    assert "card" in (await ann("GET", "/api/v1/models", 200))["templates"]
    await ann("DELETE", path, 204)
    assert (await ann("DELETE", path, 404))["code"] == "template_not_found"


async def test_a_style_is_kept_used_read_and_thrown_away(ann: Person, easel: Easel) -> None:
    path = "/api/v1/styles/house"
    words = {"label": "自家 House", "phrase": "soft pastel", "phrase_zh": "柔和粉彩"}
    kept = await ann("PUT", path, 201, json=words)
    assert kept == {"key": "house", "origin": "own", "style": words} == await ann("GET", path, 200)
    await ann("POST", "/api/v1/jobs?wait=10", 201, json={"prompt": "a fox", "style": "house"})
    assert easel.asked[-1].prompt == "a fox, soft pastel"
    assert [each["key"] for each in (await ann("GET", "/api/v1/styles", 200))["styles"] if each["origin"] == "own"] == ["house"]
    await ann("DELETE", path, 204)
    assert (await ann("GET", path, 404))["code"] == "invalid_style"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("templates/a%20b", {"prompt": "x"}, 400, "invalid_parameters"),
        ("templates/..%2F..%2Fx", {"prompt": "x"}, 404, "not_found"),
        ("templates/..", {"prompt": "x"}, 404, "not_found"),
        ("templates/x", {"prompt": "a {gap}"}, 400, "invalid_parameters"),
        ("templates/x", {"prompt": "x", "colour": "red"}, 400, "invalid_arguments"),
        ("templates/x", {"prompt": ""}, 400, "invalid_arguments"),
        ("templates/x", {"prompt": "字" * 11_000}, 413, "payload_too_large"),
        ("templates/x", {"prompt": "x" * 70_000}, 413, "payload_too_large"),
        ("templates/x?shared=true", {"prompt": "x"}, 403, "forbidden"),
        ("styles/x", {"phrase": "x" * 1001}, 400, "invalid_arguments"),
        ("styles/x", {}, 400, "invalid_arguments"),
        ("styles/x?shared=true", {"phrase": "x"}, 403, "forbidden"),
    ],
)
async def test_what_cannot_be_kept_is_refused(ann: Person, path: str, body: dict[str, Any], status: int, code: str) -> None:
    assert (await ann("PUT", f"/api/v1/{path}", status, json=body))["code"] == code
