"""The MCP surface through the SDK's in-memory client."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, types
from mcp.shared.exceptions import MCPError

from mcp_image_server.errors import RefusedError
from mcp_image_server.models import Generated, ImageRequest
from mcp_image_server.providers import Context
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import Easel, Gate

pytestmark = pytest.mark.anyio

SNAPSHOTS = Path(__file__).parent / "snapshots"


def body(result: types.CallToolResult) -> dict[str, Any]:
    """The JSON in the first block."""
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    value = json.loads(first.text)
    assert isinstance(value, dict)
    return value


async def test_a_prompt_becomes_json_a_preview_and_a_link(studio: Studio, tmp_path: Path) -> None:
    async with Client(build_server(studio)) as client:
        result = await client.call_tool("generate_image", {"prompt": "a cat", "seed": 7, "resolution": "128x64", "file_prefix": "my cat"})
    assert not result.is_error
    assert result.structured_content is None
    _, preview, link = result.content
    answer = body(result)
    (image,) = answer["images"]
    job = answer["job"]["id"]
    path = tmp_path / "pictures" / f"my_cat_easel_{job}-1.png"
    assert answer == {
        "version": "1.0",
        "ok": True,
        "images": [
            {
                "id": f"{job}-1",
                "provider": "easel",
                "mime_type": "image/png",
                "file_name": path.name,
                "local_path": str(path),
                "url": None,
                "size_bytes": path.stat().st_size,
                "revised_prompt": None,
                "save_error": None,
                "model": "easel-1",
                "width": 128,
                "height": 64,
                "seed": 7,
                "uri": f"image://{job}-1",
            }
        ],
        "error": None,
        "job": {"id": job, "state": "succeeded", "provider": "easel", "model": "easel-1"},
    }
    assert isinstance(preview, types.ImageContent)
    assert preview.mime_type == "image/webp"
    assert b64decode(preview.data)[8:12] == b"WEBP"
    assert len(preview.data) < 100_000
    assert isinstance(link, types.ResourceLink)
    assert (link.uri, link.name, link.mime_type, link.size) == (image["uri"], path.name, "image/png", image["size_bytes"])


async def test_the_original_is_sent_only_when_asked_for(studio: Studio, tmp_path: Path) -> None:
    async with Client(build_server(studio)) as client:
        (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
        data = await client.call_tool("get_image_data", {"image_id": image["id"]})
        (entry,) = body(data)["images"]
        assert set(entry) == {"id", "provider", "mime_type", "file_name", "local_path", "url", "size_bytes", "base64_data"}
        original = Path(image["local_path"]).read_bytes()
        assert b64decode(entry["base64_data"]) == original
        assert len(data.content) == 1
        resource = (await client.read_resource(image["uri"])).contents[0]
        assert isinstance(resource, types.BlobResourceContents)
        assert b64decode(resource.blob) == original


async def test_a_picture_that_is_too_large_inline_comes_with_its_path(easel: Easel, tmp_path: Path) -> None:
    environment = {"MCP_GET_IMAGE_DATA_MAX_BYTES": "10", "MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"), "MCP_DATA_DIR": str(tmp_path / "d")}
    async with studio_with({"easel": easel}, environment) as studio, Client(build_server(studio)) as client:
        (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
        refused = await client.call_tool("get_image_data", {"image_id": image["id"]})
    assert refused.is_error
    error = body(refused)["error"]
    assert error["code"] == "payload_too_large"
    assert error["details"] == {"image_id": image["id"], "size_bytes": image["size_bytes"], "max_bytes": 10}
    assert image["local_path"] in error["message"]


async def test_when_the_wait_is_over_the_answer_names_the_job_and_the_next_call_gets_the_picture(studio: Studio, easel: Easel) -> None:
    easel.work = gate = Gate()
    async with Client(build_server(studio)) as client:
        waiting = await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 0})
        answer = body(waiting)
        assert not waiting.is_error
        assert (answer["ok"], answer["images"]) == (True, [])
        assert answer["job"]["state"] in ("queued", "running")
        assert f"Call get_job with job_id '{answer['job']['id']}'" in answer["next"]
        gate.opened.set()
        done = body(await client.call_tool("get_job", {"job_id": answer["job"]["id"], "wait_seconds": 60}))
    assert len(done["images"]) == 1
    assert len(easel.asked) == 1


async def test_the_job_goes_on_when_its_caller_leaves(studio: Studio, easel: Easel) -> None:
    easel.work = gate = Gate()
    async with Client(build_server(studio)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "generate_image", {"prompt": "a cat"})
        await easel.started.wait()
        tasks.cancel_scope.cancel()
    gate.opened.set()
    async with Client(build_server(studio)) as client:
        with anyio.fail_after(60):
            while not (found := body(await client.call_tool("search_images", {"query": "CAT"}))["images"]):
                await anyio.lowlevel.checkpoint()
    assert [image["prompt"] for image in found] == ["a cat"]


async def test_progress_grows_and_has_words(studio: Studio) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with Client(build_server(studio)) as client:
        await client.call_tool("generate_image", {"prompt": "a cat"}, progress_callback=listen)
    assert heard
    assert [progress for progress, _, _ in heard] == sorted({progress for progress, _, _ in heard})
    assert all(total == 1.0 and message for _, total, message in heard)


async def test_a_running_job_can_be_cancelled(studio: Studio, easel: Easel) -> None:
    easel.work = Gate()
    async with Client(build_server(studio)) as client:
        job = body(await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 0}))["job"]["id"]
        cancelled = await client.call_tool("cancel_job", {"job_id": job})
    assert not cancelled.is_error
    assert body(cancelled)["job"]["state"] == "cancelled"


async def test_a_service_that_refuses_makes_an_error_result(studio: Studio, easel: Easel) -> None:
    async def refuse(request: ImageRequest, context: Context) -> Generated:
        raise RefusedError("Moderation blocked it: violence. Change the prompt.", provider="easel")

    easel.work = refuse
    async with Client(build_server(studio)) as client:
        result = await client.call_tool("generate_image", {"prompt": "x"})
    assert result.is_error
    answer = body(result)
    assert (answer["ok"], answer["images"]) == (False, [])
    assert answer["error"] == {"code": "refused", "message": "Moderation blocked it: violence. Change the prompt.", "details": {"provider": "easel"}}


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "words"),
    [
        (
            "generate_image",
            {"prompt": "x", "sise": "1x1"},
            "invalid_arguments",
            "generate_image has no argument 'sise'. Its arguments: prompt, provider",
        ),
        ("generate_image", {}, "invalid_arguments", "prompt: Field required"),
        ("generate_image", {"prompt": ""}, "invalid_arguments", "Describe the picture"),
        ("generate_image", {"prompt": "x", "n": 11}, "invalid_arguments", "n: Input should be less than or equal to 10"),
        ("generate_image", {"prompt": "x", "resolution": "99999x1"}, "invalid_resolution", "Try 1024x1024"),
        ("generate_image", {"prompt": "x", "resolution": "large"}, "invalid_resolution", "WIDTHxHEIGHT"),
        ("generate_image", {"prompt": "x", "style": "nonsense"}, "invalid_style", "Available styles"),
        ("generate_image", {"prompt": "x", "provider": "dream"}, "provider_unavailable", "Available providers: ['easel']"),
        ("generate_image", {"prompt": "x", "model": "easel/nope"}, "model_not_found", "easel-1"),
        ("generate_image", {"prompt": "x" * 1_000_000}, "invalid_arguments", "takes 32000"),
        ("get_job", {"job_id": "nope"}, "job_not_found", "There is no job 'nope'"),
        ("cancel_job", {"job_id": "nope"}, "job_not_found", "There is no job 'nope'"),
        ("get_image_data", {"image_id": "nope"}, "image_not_found", "Image id 'nope' not found or expired"),
        ("list_models", {"provider": "dream"}, "provider_unavailable", "Available providers"),
    ],
)
async def test_bad_arguments_are_answered_with_what_would_work(studio: Studio, tool: str, arguments: dict[str, Any], code: str, words: str) -> None:
    async with Client(build_server(studio)) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert body(result)["error"]["code"] == code
    assert words in body(result)["error"]["message"]


async def test_what_was_changed_is_said(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        answer = body(await client.call_tool("generate_image", {"prompt": "a cat", "style": "ink", "resolution": "100x100", "quality": "high"}))
    assert [adjustment["field"] for adjustment in answer["adjustments"]] == ["style", "resolution", "quality"]
    assert (answer["images"][0]["width"], answer["images"][0]["height"]) == (104, 104)


async def test_a_picture_older_than_the_operator_allows_is_no_longer_handed_out_but_stays(easel: Easel, tmp_path: Path) -> None:
    environment = {"MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"), "MCP_DATA_DIR": str(tmp_path / "d")}
    async with studio_with({"easel": easel}, environment) as studio, Client(build_server(studio)) as client:
        (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
    async with studio_with({"easel": easel}, {**environment, "MCP_IMAGE_RECORD_TTL": "1"}) as studio, Client(build_server(studio)) as client:
        await anyio.sleep(1.05)
        assert body(await client.call_tool("get_image_data", {"image_id": image["id"]}))["error"]["code"] == "image_not_found"
        assert len(body(await client.call_tool("search_images", {}))["images"]) == 1
    assert Path(image["local_path"]).exists()


async def test_lists_templates_and_completions(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        assert {str(resource.uri) for resource in (await client.list_resources()).resources} == {
            "providers://list",
            "styles://list",
            "styles://library",
            "resolutions://list",
            "templates://list",
        }
        templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
        assert templates == {"styles://provider/{provider}", "resolutions://provider/{provider}", "image://{image_id}"}

        async def read(uri: str) -> Any:
            contents = (await client.read_resource(uri)).contents[0]
            assert isinstance(contents, types.TextResourceContents)
            assert contents.mime_type == "application/json"
            return json.loads(contents.text)

        styles = {"plain": "素色 plain", "ink": "水墨 ink"}
        assert await read("providers://list") == ["easel"]
        assert await read("styles://list") == {"easel": styles}
        assert await read("styles://provider/easel") == styles
        assert await read("resolutions://list") == {"easel": {"64x64": "64x64 (1:1)", "128x64": "128x64 (2:1)"}}
        assert await read("resolutions://provider/easel") == {"64x64": "64x64 (1:1)", "128x64": "128x64 (2:1)"}
        with pytest.raises(MCPError, match="Provider 'nope' not found"):
            await client.read_resource("styles://provider/nope")
        with pytest.raises(MCPError, match="Image id 'nope' not found"):
            await client.read_resource("image://nope")

        reference = types.PromptReference(type="ref/prompt", name="image_generation_prompt")
        assert (await client.complete(reference, {"name": "style", "value": "i"})).completion.values == ["ink", "impressionist"]
        template = types.ResourceTemplateReference(type="ref/resource", uri="styles://provider/{provider}")
        assert (await client.complete(template, {"name": "provider", "value": ""})).completion.values == ["easel"]


async def test_the_prompt_says_what_can_be_chosen(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        prompt = await client.get_prompt("image_generation_prompt", {"description": "a fox", "style": "ink"})
        (message,) = prompt.messages
        assert isinstance(message.content, types.TextContent)
        lines = message.content.text.splitlines()
        assert lines[3:9] == [
            "Description: a fox",
            "Provider: Auto-select from ['easel']",
            "Style: ink",
            "Resolution: Default for selected provider",
            f"Save Path: {studio.save_folder}",
            "Filename Prefix: [AI will generate if not provided]",
        ]
        for name in ("nope", "image_generation_prompt"):
            with pytest.raises(MCPError) as caught:
                await client.get_prompt(name, {})
            assert caught.value.error.code == types.INVALID_PARAMS


async def test_the_tools_as_clients_see_them(studio: Studio) -> None:
    """A changed schema is a diff that somebody reads. To accept one: delete the file and run this test twice."""
    async with Client(build_server(studio)) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [
        "generate_image",
        "edit_image",
        "get_job",
        "cancel_job",
        "list_models",
        "search_images",
        "get_image_data",
        "reload_config",
    ]
    total = 0
    SNAPSHOTS.mkdir(exist_ok=True)
    for tool in listed:
        seen = tool.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n"
        total += len(tool.model_dump_json(by_alias=True, exclude_none=True))
        path = SNAPSHOTS / f"{tool.name}.json"
        if not path.exists():
            path.write_text(seen, encoding="utf-8")
            pytest.fail(f"{path} was not there; it has been written: look at it, commit it, and run again")
        assert json.loads(seen) == json.loads(path.read_text(encoding="utf-8"))
        assert tool.output_schema is None
        assert tool.description
    assert total < 12_000
    async with Client(build_server(studio), client_info=types.Implementation(name="mcp-inspector", version="2")) as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools if tool.output_schema}
    path = SNAPSHOTS / "output_schemas.json"
    if not path.exists():
        path.write_text(json.dumps(schemas, indent=2) + "\n", encoding="utf-8")
        pytest.fail(f"{path} was not there; it has been written: look at it, commit it, and run again")
    assert schemas == json.loads(path.read_text(encoding="utf-8"))
    assert len(json.dumps(schemas, separators=(",", ":"))) < 8_000


async def test_a_copy_is_written_where_the_caller_asks_in_the_format_of_its_name(studio: Studio, tmp_path: Path) -> None:
    async with Client(build_server(studio)) as client:
        wish = {"prompt": "a cat", "n": 2, "output_dir": "art", "output_filename": "cat.jpg"}
        answer = body(await client.call_tool("generate_image", wish))
        assert "adjustments" not in answer
        for name in ("cat.jpg", "cat-2.jpg"):
            assert (tmp_path / "art" / name).read_bytes().startswith(b"\xff\xd8")
        assert all(image["mime_type"] == "image/png" for image in answer["images"])
        (tmp_path / "art" / "cat.jpg").write_bytes(b"older")
        await client.call_tool("generate_image", {**wish, "n": 1})
        assert (tmp_path / "art" / "cat.jpg").read_bytes() != b"older"


@pytest.mark.parametrize("name", ["../../x.png", "/etc/x.png", "link/x.png", "a\0b.png", "x" * 300 + ".png", "con.png", "nul", "dot./x.png"])
async def test_a_copy_cannot_leave_the_open_folders(studio: Studio, easel: Easel, tmp_path: Path, name: str) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "link").symlink_to("/tmp")
    before = sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts)
    async with Client(build_server(studio)) as client:
        refused = await client.call_tool("generate_image", {"prompt": "a cat", "output_filename": name})
    assert refused.is_error
    assert body(refused)["error"]["code"] == "path_not_allowed"
    assert easel.asked == []
    assert sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts) == before


async def test_the_clients_own_folders_are_open_too(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    theirs = tmp_path_factory.mktemp("project")

    async def roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=theirs.as_uri())])  # type: ignore[arg-type]

    wish = {"prompt": "a cat", "output_dir": str(theirs), "output_filename": "cat.png"}
    async with Client(build_server(studio), mode="legacy", list_roots_callback=roots) as client:
        assert not (await client.call_tool("generate_image", wish)).is_error
    assert (theirs / "cat.png").exists()
    async with Client(build_server(studio), mode="legacy") as client:
        assert body(await client.call_tool("generate_image", wish))["error"]["code"] == "path_not_allowed"


async def test_reloading_takes_new_settings_and_refuses_those_that_need_a_restart(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_IMAGE_SAVE_DIR", str(tmp_path / "pictures"))
    monkeypatch.setenv("MCP_DATA_DIR", str(tmp_path / "data"))
    async with Client(build_server(studio)) as client:
        (tmp_path / ".env").write_text("MCP_WAIT_SECONDS=3\nOPENAI_API_KEY=sk-test\n", encoding="utf-8")
        answer = body(await client.call_tool("reload_config", {}))
        assert answer["result"]["changed_fields"] == ["wait_seconds", "openai_api_key"]
        assert answer["result"]["default_provider"] == "openai"
        assert answer["result"]["providers"] == ["openai", "sketch"]
        assert studio.settings.wait_seconds == 3

        (tmp_path / ".env").write_text("MCP_WAIT_SECONDS=4\nMCP_PORT=9\nMCP_AUTH_TOKEN=hush\n", encoding="utf-8")
        refused = await client.call_tool("reload_config", {})
        assert refused.is_error
        error = body(refused)["error"]
        assert error["code"] == "restart_required"
        assert error["details"]["field_diffs"] == {"port": {"before": "8000", "after": "9"}, "auth_token": {"before": "<empty>", "after": "<set>"}}
        assert "hush" not in json.dumps(error)
        assert studio.settings.wait_seconds == 3

        (tmp_path / ".env").write_text("MCP_PORT=x\n", encoding="utf-8")
        assert body(await client.call_tool("reload_config", {}))["error"]["code"] == "invalid_config"


async def test_who_listens_to_a_list_is_told_when_a_reload_may_have_changed_it(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_IMAGE_SAVE_DIR", str(tmp_path / "pictures"))
    monkeypatch.setenv("MCP_DATA_DIR", str(tmp_path / "data"))
    async with Client(build_server(studio)) as client, client.listen(resource_subscriptions=["providers://list"]) as subscription:
        (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-test\n", encoding="utf-8")
        await client.call_tool("reload_config", {})
        with anyio.fail_after(60):
            assert "providers://list" in str(await anext(aiter(subscription)))


async def test_many_calls_at_once_each_get_their_own_picture(studio: Studio, easel: Easel) -> None:
    answers: list[dict[str, Any]] = []

    async def one(number: int) -> None:
        answers.append(body(await client.call_tool("generate_image", {"prompt": f"cat {number}"})))

    async with Client(build_server(studio)) as client, anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(one, number)
    assert all(answer["ok"] for answer in answers)
    assert len({answer["images"][0]["id"] for answer in answers}) == 32
    assert len({answer["images"][0]["local_path"] for answer in answers}) == 32
    assert sorted(request.prompt for request in easel.asked) == sorted(f"cat {number}" for number in range(32))


async def test_several_pictures_have_a_preview_and_a_link_each(studio: Studio, easel: Easel) -> None:
    async with Client(build_server(studio)) as client:
        result = await client.call_tool("generate_image", {"prompt": "a cat", "n": 3})
    assert [block.type for block in result.content] == ["text", *["image"] * 3, *["resource_link"] * 3]
