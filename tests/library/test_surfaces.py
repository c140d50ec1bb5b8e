"""Styles and templates as clients and people at a terminal meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, types
from mcp.shared.exceptions import MCPError

from mcp_image_server.library.styles import STYLES
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from tests.easel import Easel
from tests.surfaces.test_cli import run, run_json
from tests.surfaces.test_mcp import body

from .test_styles import write

pytestmark = pytest.mark.anyio

HOUSE = "house:\n  label: 自家 House\n  phrase: soft pastel\n"


async def read(client: Client, uri: str) -> Any:
    contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, types.TextResourceContents)
    return json.loads(contents.text)


async def test_ones_own_styles_are_listed_with_every_provider(studio: Studio, tmp_path: Path) -> None:
    write(tmp_path, "styles", "house.yaml", HOUSE)
    async with Client(build_server(studio)) as client:
        listed = {"plain": "素色 plain", "ink": "水墨 ink", "house": "自家 House"}
        assert await read(client, "styles://list") == {"easel": listed}
        assert await read(client, "styles://provider/easel") == listed
        library = {style["key"]: style for style in await read(client, "styles://library")}
        assert library.keys() == STYLES.keys() | {"house"}
        assert library["house"] == {
            "key": "house",
            "label": "自家 House",
            "phrase": "soft pastel",
            "file": str(tmp_path / ".mcp-image" / "styles" / "house.yaml"),
        }
        models = body(await client.call_tool("list_models", {}))["result"]
        assert models["styles"] == {key: style["label"] for key, style in library.items()}
        assert models["templates"]["logo"] == {
            "title": "标志 Logo",
            "variables": "brand (required); business (required); symbol (default 'an abstract shape that fits the name'); "
            "form (The symbol stands alone without any letters|The name is written below the symbol|The name is part of the symbol, "
            "default 'The name is written below the symbol'); colours (default 'two colours at most')",
        }
        assert {"styles", "templates"}.isdisjoint(body(await client.call_tool("list_models", {"provider": "easel"}))["result"])
        reference = types.PromptReference(type="ref/prompt", name="image_generation_prompt")
        assert (await client.complete(reference, {"name": "style", "value": "ho"})).completion.values == ["house"]


async def test_the_tool_fills_a_template(studio: Studio, easel: Easel) -> None:
    async with Client(build_server(studio)) as client:
        wish = {
            "prompt": "On a sunny day.",
            "template": "isometric_room",
            "variables": {"room": "a bakery", "look": "clay model"},
            "resolution": "64x64",
        }
        assert not (await client.call_tool("generate_image", wish)).is_error
    assert easel.asked[0].prompt.startswith("Isometric view of a bakery as a small cut-open model")
    assert easel.asked[0].prompt.endswith("clay model. No text. On a sunny day.")
    assert str(easel.asked[0].shape) == "64x64"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"template": "logo"}, "invalid_variables", "missing: brand, business"),
        ({"template": "nope"}, "template_not_found", "Templates: app_icon"),
        ({"variables": {"a": "b"}}, "template_not_found", "Templates: app_icon"),
    ],
)
async def test_the_tool_says_what_a_template_wants(studio: Studio, easel: Easel, arguments: dict[str, Any], code: str, words: str) -> None:
    async with Client(build_server(studio)) as client:
        result = await client.call_tool("generate_image", {"prompt": "", **arguments})
    assert result.is_error
    error = body(result)["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert easel.asked == []


async def test_templates_are_prompts_with_completions(studio: Studio, tmp_path: Path) -> None:
    write(
        tmp_path,
        "templates",
        "card.yaml",
        "title: Card\nprompt: a {mood} card for {whom}\nvariables: {whom: , mood: {choices: [calm, cheerful], default: calm}}",
    )
    async with Client(build_server(studio)) as client:
        listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert next(iter(listed)) == "image_generation_prompt"
        assert len(listed) == 14
        assert listed["card"] == types.Prompt(
            name="card",
            title="Card",
            arguments=[
                types.PromptArgument(name="whom", required=True),
                types.PromptArgument(name="mood", description="One of: calm, cheerful. Default: calm.", required=False),
            ],
        )
        prompt = await client.get_prompt("card", {"whom": "爷爷", "mood": ""})
        [message] = prompt.messages
        assert isinstance(message.content, types.TextContent)
        assert (prompt.description, message.role) == ("Card", "user")
        assert message.content.text.splitlines() == [
            "Please draw a picture: call generate_image with these arguments.",
            "",
            '{"prompt": "", "template": "card", "variables": {"whom": "爷爷"}}',
            "",
            "The template makes this prompt of them:",
            "",
            "a calm card for 爷爷",
        ]
        with pytest.raises(MCPError, match="missing: whom") as caught:
            await client.get_prompt("card", {"mood": "calm"})
        assert caught.value.error.code == types.INVALID_PARAMS
        reference = types.PromptReference(type="ref/prompt", name="card")
        assert (await client.complete(reference, {"name": "mood", "value": "c"})).completion.values == ["calm", "cheerful"]
        assert (await client.complete(reference, {"name": "mood", "value": "ch"})).completion.values == ["cheerful"]
        assert (await client.complete(reference, {"name": "whom", "value": ""})).completion.values == []
        facts = {template["template"]: template for template in await read(client, "templates://list")}
        assert facts["card"]["variables"] == {
            "whom": {"type": "string", "required": True},
            "mood": {"type": "choice", "default": "calm", "choices": ["calm", "cheerful"]},
        }


async def test_a_template_cannot_take_the_place_of_the_prompt_that_is_always_there(studio: Studio, tmp_path: Path) -> None:
    write(tmp_path, "templates", "image_generation_prompt.yaml", "prompt: mine")
    async with Client(build_server(studio)) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert names.count("image_generation_prompt") == 1
        assert (await client.get_prompt("image_generation_prompt", {"description": "a fox"})).description == "Image generation prompt for: a fox"


# The command line ---------------------------------------------------------------------------------------------------------------------------


def test_a_style_of_ones_own_is_added_shown_and_used(tmp_path: Path) -> None:
    path = run("styles", "add", "自家", "soft pastel", "--zh", "柔和粉彩", "--label", "自家 House").stdout.strip()
    assert path == str(tmp_path / ".mcp-image" / "styles" / "自家.yaml")
    assert run("styles", "show", "自家").stdout == Path(path).read_text(encoding="utf-8")
    assert run_json("styles", "show", "自家") == {
        "key": "自家",
        "label": "自家 House",
        "phrase": "soft pastel",
        "phrase_zh": "柔和粉彩",
        "file": path,
    }
    assert run_json("styles", "list")[-1]["key"] == "自家"
    assert "* is one of your own." in run("styles", "list").stdout
    assert "is there already" in run("styles", "add", "自家", "x", code=2).stderr
    assert "is no name" in run("styles", "add", "../x", "x", code=2).stderr
    assert "There is no style 'nope'" in run("styles", "show", "nope", code=2).stderr
    plan = json.loads(run("generate", "a fox", "--style", "自家", "--dry-run").stdout)
    assert plan["prompt"] == "a fox, soft pastel"
    beside = run("styles", "add", "other", "x", "--beside-pictures").stdout.strip()
    assert beside == str(tmp_path / "generated_images" / ".mcp-image" / "styles" / "other.yaml")


def test_a_template_is_listed_shown_begun_and_drawn(tmp_path: Path) -> None:
    assert "product! surface light" in run("templates", "list").stdout
    path = Path(run("templates", "new", "mine").stdout.strip())
    assert path == tmp_path / ".mcp-image" / "templates" / "mine.yaml"
    assert run("templates", "show", "mine").stdout == path.read_text(encoding="utf-8")
    copied = run("templates", "new", "my_logo", "--like", "标志").stdout.strip()
    assert Path(copied).read_text(encoding="utf-8") == run("templates", "show", "logo").stdout
    assert "There is no template 'nope'" in run("templates", "new", "x", "--like", "nope", code=2).stderr
    assert [template["template"] for template in run_json("templates", "list")][-2:] == ["mine", "my_logo"]
    assert run_json("templates", "show", "logo")["resolution"] == "1:1"
    plan = json.loads(run("generate", "At night.", "-t", "mine", "--var", "subject=a = b", "--var", "mood=lively", "--dry-run").stdout)
    assert plan["prompt"] == "A lively picture of a = b. At night."
    assert "missing: subject" in run("generate", "-t", "mine", code=2).stderr
    assert "write name=value" in run("generate", "-t", "mine", "--var", "subject", code=2).stderr
    assert Path(run("generate", "-t", "mine", "--var", "subject=a fox", "--size", "64x64", "-q").stdout.strip()).is_file()


def test_a_wish_for_a_better_prompt_is_answered_at_the_terminal() -> None:
    assert "No chat model is there" in run("generate", "a fox", "--size", "64x64", "--improve").stderr
