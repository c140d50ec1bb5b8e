"""Changing pictures without a service, and looking into their files: the tool and the commands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from mcp import Client, types
from typer.testing import CliRunner, Result

from mcp_image_server.pictures import AI_LABELS, aigc_label, embed
from mcp_image_server.surfaces.cli import app
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.mcp.schemas import TRANSFORMED
from tests.conftest import studio_with
from tests.easel import Easel
from tests.pictures.made import encoded, opened, quarters, scene

# ---------------------------------------------------------------------- the tool


@pytest.fixture
async def client(easel: Easel, tmp_path: Path) -> AsyncIterator[Client]:
    environment = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"), "MCP_TOOLSET": "full"}
    async with studio_with({"easel": easel}, environment) as studio, Client(build_server(studio)) as opened_client:
        yield opened_client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], list[types.ContentBlock]]:
    """The JSON of an answer, and what follows it."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, types.CallToolResult)
    first, *rest = result.content
    assert isinstance(first, types.TextContent)
    answer: dict[str, Any] = json.loads(first.text)
    assert result.is_error == (not answer["ok"])
    return answer, rest


@pytest.mark.anyio
async def test_a_stored_picture_becomes_another_one_with_a_preview_and_a_link(client: Client) -> None:
    drawn, _ = await call(client, "generate_image", prompt="a cat", resolution="128x64")
    answer, blocks = await call(client, "transform_image", images=[drawn["images"][0]["id"]], crop="1:1", resize="32x32", format="webp")
    (image,) = answer["images"]
    assert (image["provider"], image["mime_type"], image["width"], image["height"]) == ("transform", "image/webp", 32, 32)
    assert answer["job"] == {"id": image["id"].removesuffix("-1"), "state": "succeeded", "provider": "transform", "model": "local"}
    assert "cost" not in answer
    assert [block.type for block in blocks] == ["image", "resource_link"]
    validate(answer, TRANSFORMED)
    found, _ = await call(client, "search_images", query="cat")
    assert [entry["id"] for entry in found["images"]] == [image["id"], drawn["images"][0]["id"]]


@pytest.mark.anyio
async def test_a_file_is_written_into_the_project(client: Client, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(quarters(80, 60), "JPEG"))
    answer, blocks = await call(client, "transform_image", images=["photo.jpg"], flip="vertical", save_as="public/photo.png")
    path = tmp_path / "public" / "photo.png"
    assert answer == {
        "version": "1.0",
        "ok": True,
        "images": [],
        "error": None,
        "files": [{"path": str(path), "mime_type": "image/png", "width": 80, "height": 60, "size_bytes": path.stat().st_size}],
    }
    assert [block.type for block in blocks] == ["image"]
    validate(answer, TRANSFORMED)
    refused, _ = await call(client, "transform_image", images=["photo.jpg"], flip="vertical", save_as="/elsewhere/photo.png")
    assert refused["error"]["code"] == "path_not_allowed"


@pytest.mark.anyio
async def test_the_tool_is_one_of_the_full_set(client: Client, easel: Easel) -> None:
    (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == "transform_image"]
    assert tool.annotations is not None
    assert (tool.annotations.read_only_hint, tool.annotations.open_world_hint) == (False, False)
    async with studio_with({"easel": easel}, {}) as studio, Client(build_server(studio)) as plain:
        assert "transform_image" not in {tool.name for tool in (await plain.list_tools()).tools}


# ---------------------------------------------------------------------- the commands


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_a_picture_is_changed_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(quarters(80, 60), "JPEG"))
    words = ["--crop", "10,10,60,40", "--resize", "50x50", "--pad", "--ground", "navy", "--rotate", "90", "--watermark", "AI 生成", "-o", "out.webp"]
    assert run("transform", "photo.jpg", *words).stdout == f"{tmp_path / 'out.webp'}\n"
    picture = opened((tmp_path / "out.webp").read_bytes())
    assert (picture.format, picture.size) == ("WEBP", (50, 50))
    stored = Path(run("transform", "photo.jpg", "--format", "png", "--max-bytes", "100kB", "-q").stdout.strip())
    assert (stored.parent, stored.suffix) == (tmp_path / "generated_images", ".png")
    answer = json.loads(run("transform", "photo.jpg", "photo.jpg", "--sheet", "--json").stdout)
    assert (answer["images"][0]["mime_type"], answer["job"]["provider"]) == ("image/jpeg", "transform")
    assert len(run("transform", "photo.jpg", "--icons", "icons").stdout.splitlines()) == 7
    assert (tmp_path / "icons" / "favicon.ico").exists()
    assert "exclude each other" in run("transform", "photo.jpg", "--resize", "9x9", "--fit", "--fill", code=2).stderr
    assert "There is no file" in run("transform", "none.jpg", "--flip", "vertical", code=2).stderr


def test_a_file_says_what_it_is_and_where_it_comes_from(tmp_path: Path) -> None:
    label = aigc_label("somebody", "9")
    (tmp_path / "fox.png").write_bytes(embed(encoded(scene(), "PNG"), {"prompt": "a fox", "model": "m", "aigc": label}))
    facts = json.loads(run("inspect", "fox.png", "--json").stdout)
    assert [facts[name] for name in ("mime_type", "width", "height", "provenance")] == [
        "image/png",
        96,
        64,
        {"prompt": "a fox", "model": "m", "aigc": label},
    ]
    assert facts["aigc"] == json.loads(label)
    assert facts["texts"] == {"Description": "a fox"}
    assert (facts["c2pa"]["signed"], facts["exif"]) == (False, {})
    words = run("inspect", "fox.png").stdout.splitlines()
    assert {"mime_type: image/png", "provenance prompt: a fox", "aigc ContentProducer: somebody", "c2pa signed: no"} <= set(words)


def test_a_stored_picture_is_inspected_by_its_id() -> None:
    drawn = json.loads(run("generate", "a red fox", "--size", "64x64", "--json").stdout)["images"][0]
    facts = json.loads(run("inspect", drawn["id"], "--json").stdout)
    assert (facts["provenance"]["prompt"], facts["size_bytes"]) == ("a red fox", drawn["size_bytes"])
    assert facts["digital_source_type"] == "algorithmicMedia"
    assert facts["aigc"] is None
    assert "There is no file 'nope', and no stored picture" in " ".join(run("inspect", "nope", code=2).stderr.split())


def test_the_visible_label_is_one_word_away(tmp_path: Path) -> None:
    assert set(AI_LABELS) == {"en", "zh"}
    (tmp_path / "a.png").write_bytes(encoded(scene(200, 200), "PNG"))
    run("transform", "a.png", "--watermark", "ai:zh", "-o", "zh.png")
    run("transform", "a.png", "--watermark", AI_LABELS["zh"], "-o", "words.png")
    assert (tmp_path / "zh.png").read_bytes() == (tmp_path / "words.png").read_bytes()
