"""The contract of `mcp-image-server` 0.2.0, row by row. Where a row says otherwise than it was there, the reason stands beside it."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, types

from mcp_image_server import providers
from mcp_image_server.configuration import Configuration, read_environment
from mcp_image_server.errors import ConfigError, ProviderError
from mcp_image_server.models import Generated, ImageRequest
from mcp_image_server.providers import Context
from mcp_image_server.settings import OBSOLETE, Settings, parse
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import Easel
from tests.fakes.modelscope import FakeModelScope
from tests.surfaces.test_mcp import body
from tests.transports.server_process import Piped, initialize
from tests.web import web

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("MCP_TRANSPORT", "stdio", "transport", "stdio"),
        ("MCP_HOST", "localhost", "host", "localhost"),
        ("MCP_PORT", "9000", "port", 9000),
        ("MCP_ALLOWED_ORIGINS", '["*"]', "allowed_origins", ("*",)),
        ("MCP_SESSION_TIMEOUT", "60", "session_timeout", 60),
        ("MCP_ENABLE_SESSIONS", "false", "enable_sessions", False),
        ("MCP_ENABLE_SSE", "false", "enable_sse", False),
        ("MCP_IMAGE_SAVE_DIR", "./art", "save_dir", Path("art")),
        ("MCP_PUBLIC_BASE_URL", "https://art.example/", "public_base_url", "https://art.example"),
        ("MCP_IMAGE_RECORD_TTL", "86400", "image_record_ttl", 86400),
        ("MCP_GET_IMAGE_DATA_MAX_BYTES", "10", "get_image_data_max_bytes", 10),
        ("MCP_DEFAULT_PROVIDER", "OpenAI", "default_provider", "openai"),
        ("MCP_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("MCP_DEBUG", "true", "debug", True),
    ],
)
def test_variable(variable: str, value: str, field: str, expected: object) -> None:
    assert getattr(parse(Settings, {variable: value}), field) == expected


def test_variable_mcp_auth_token() -> None:
    token = parse(Settings, {"MCP_AUTH_TOKEN": "t"}).auth_token
    assert token is not None
    assert token.get_secret_value() == "t"


@pytest.mark.parametrize("variable", ["MCP_SESSION_CLEANUP_INTERVAL", "MCP_SSE_KEEPALIVE"])
def test_a_variable_that_does_nothing_any_more_is_reported_at_start(variable: str, tmp_path: Path) -> None:
    assert variable in OBSOLETE
    with Piped(tmp_path, None, **{variable: "30"}) as server:
        server.handshake()
        assert f"{variable} does nothing any more" in server.close()[1]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MCP_PORT", "0"),
        ("MCP_PORT", "65536"),
        ("MCP_PUBLIC_BASE_URL", "/art"),
        ("MCP_IMAGE_RECORD_TTL", "0"),
        ("MCP_GET_IMAGE_DATA_MAX_BYTES", "0"),
        ("MCP_ALLOWED_ORIGINS", "https://one.example"),
        ("MCP_DEFAULT_PROVIDER", "nobody"),
    ],
)
def test_a_wrong_value_ends_the_start(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        Configuration.read({variable: value})


def test_the_dotenv_file_takes_names_in_any_case_and_without_their_prefix(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("mcp_port=9001\nhost=localhost\nopenai_api_key=sk-1\n", encoding="utf-8")
    assert read_environment(tmp_path / ".env", process={"HOST": "build-17"}) == {
        "MCP_PORT": "9001",
        "MCP_HOST": "localhost",
        "OPENAI_API_KEY": "sk-1",
        "HOST": "build-17",
    }


def test_the_first_configured_provider_is_the_default_in_their_order() -> None:
    keys = {
        "TENCENT_SECRET_ID": "id",
        "TENCENT_SECRET_KEY": "key",
        "OPENAI_API_KEY": "sk-1",
        "DOUBAO_API_KEY": "key",
        "MODELSCOPE_SDK_TOKEN": "token",
    }
    assert list(Configuration.read(keys).providers) == ["hunyuan", "openai", "doubao", "modelscope", "sketch"]


# ---------------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("argument", "value", "field", "expected"),
    [
        ("provider", "easel", "provider", "easel"),
        ("style", "easel:ink", "prompt", "a cat, ink wash"),
        ("resolution", "easel:128:64", "shape", "128x64"),
        ("negative_prompt", "rain", "prompt", "a cat. Avoid: rain"),
        ("file_prefix", "my", "file_prefix", "my"),
    ],
)
async def test_argument_of_generate_image(studio: Studio, easel: Easel, argument: str, value: str, field: str, expected: str) -> None:
    async with Client(build_server(studio)) as client:
        assert not (await client.call_tool("generate_image", {"prompt": "a cat", argument: value})).is_error
    assert str(getattr(easel.asked[0], field)) == expected


@pytest.mark.parametrize(
    ("argument", "value"), [("background", "transparent"), ("output_format", "webp"), ("output_compression", 80), ("moderation", "low")]
)
async def test_an_argument_of_openai_alone_is_adapted_elsewhere_and_said(studio: Studio, argument: str, value: object) -> None:
    """There it was refused as `invalid_parameters`; here only what no model understands is."""
    async with Client(build_server(studio)) as client:
        answer = body(await client.call_tool("generate_image", {"prompt": "a cat", argument: value}))
    assert answer["ok"]
    assert [adjustment["field"] for adjustment in answer["adjustments"]] == [argument]


async def test_the_documented_form_with_a_prefixed_style_and_resolution_works(studio: Studio) -> None:
    """There it was refused as `invalid_resolution`, although its own documentation shows it."""
    async with Client(build_server(studio)) as client:
        wish = {"prompt": "a cat", "style": "easel:ink", "resolution": "easel:128:64"}
        (image,) = body(await client.call_tool("generate_image", wish))["images"]
    assert (image["width"], image["height"]) == (128, 64)


async def test_the_result_of_generate_image_has_every_field_it_had(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        answer = body(await client.call_tool("generate_image", {"prompt": "a cat"}))
    assert {"version", "ok", "images", "error"} <= answer.keys()
    assert answer["version"] == "1.0"
    fields = {"id", "provider", "mime_type", "file_name", "local_path", "url", "size_bytes", "revised_prompt", "save_error"}
    assert fields <= answer["images"][0].keys()


async def test_the_result_of_get_image_data_has_every_field_it_had(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
        (entry,) = body(await client.call_tool("get_image_data", {"image_id": image["id"]}))["images"]
    assert set(entry) == {"id", "provider", "mime_type", "file_name", "local_path", "url", "size_bytes", "base64_data"}
    assert b64decode(entry["base64_data"]).startswith(b"\x89PNG")


async def test_the_result_of_reload_config_has_every_field_it_had(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_IMAGE_SAVE_DIR", str(tmp_path / "pictures"))
    async with Client(build_server(studio)) as client:
        answer = body(await client.call_tool("reload_config", {"dotenv_override": False}))
    assert set(answer["result"]) == {"changed_fields", "providers", "default_provider", "provider_models", "restart_required_fields"}


@pytest.mark.long
async def test_two_hundred_prompts_in_a_burst_make_two_hundred_pictures(tmp_path: Path) -> None:
    """There 384 prompts left 7 files, since names were made of seconds; and over stdio each was submitted twice."""
    folders = {"MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"), "MCP_DATA_DIR": str(tmp_path / "d")}
    answers: list[dict[str, Any]] = []
    with FakeModelScope() as fake:
        service = providers.load({"MODELSCOPE_SDK_TOKEN": fake.token or "", "MODELSCOPE_BASE_URL": fake.url})
        async with studio_with({"modelscope": service["modelscope"]}, folders) as studio, Client(build_server(studio)) as client:

            async def one(number: int) -> None:
                wish = {"prompt": f"cat number {number}", "resolution": "64x64", "wait_seconds": 300}
                answers.append(body(await client.call_tool("generate_image", wish)))

            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(one, number)
        posted = [seen.json()["prompt"] for seen in fake.seen if seen.method == "POST"]
    assert sorted(posted) == sorted(f"cat number {number}" for number in range(200))
    images = [image for answer in answers for image in answer["images"]]
    assert len({image["id"] for image in images}) == 200
    assert len({image["local_path"] for image in images if Path(image["local_path"]).is_file()}) == 200


# ---------------------------------------------------------------------- error codes


async def failure_of(studio: Studio, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    async with Client(build_server(studio)) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error  # there it was too, for its own failures
    answer = body(result)
    assert (answer["version"], answer["ok"], answer["images"]) == ("1.0", False, [])
    error = answer["error"]
    assert set(error) == {"code", "message", "details"}
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize(
    ("code", "tool", "arguments", "details"),
    [
        ("provider_unavailable", "generate_image", {"prompt": "x", "provider": "y"}, {"provider": "y", "available_providers": ["easel"]}),
        ("invalid_style", "generate_image", {"prompt": "x", "style": "y"}, {"provider": "easel", "style": "y"}),
        ("invalid_resolution", "generate_image", {"prompt": "x", "resolution": "y"}, {"resolution": "y"}),
        ("invalid_parameters", "generate_image", {"prompt": "x", "output_compression": 101}, {}),
        ("invalid_arguments", "get_image_data", {}, {}),
        ("image_not_found", "get_image_data", {"image_id": "y"}, {"image_id": "y"}),
        ("unknown_tool", "y", {}, {"tool_name": "y"}),
    ],
)
async def test_error_code(studio: Studio, code: str, tool: str, arguments: dict[str, Any], details: dict[str, Any]) -> None:
    error = await failure_of(studio, tool, arguments)
    assert error["code"] == code
    assert details.items() <= error["details"].items()


async def test_error_code_provider_error(studio: Studio, easel: Easel) -> None:
    async def fail(request: ImageRequest, context: Context) -> Generated:
        raise ProviderError("It broke.", provider="easel")

    easel.work = fail
    error = await failure_of(studio, "generate_image", {"prompt": "x"})
    assert (error["code"], error["details"]["provider"]) == ("provider_error", "easel")


async def test_error_code_internal_error(studio: Studio, easel: Easel) -> None:
    async def fail(request: ImageRequest, context: Context) -> Generated:
        raise ZeroDivisionError

    easel.work = fail
    assert (await failure_of(studio, "generate_image", {"prompt": "x"}))["code"] == "internal_error"


async def test_error_code_file_not_found(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
    Path(image["local_path"]).unlink()
    error = await failure_of(studio, "get_image_data", {"image_id": image["id"]})
    assert (error["code"], error["details"]) == ("file_not_found", {"image_id": image["id"], "local_path": image["local_path"]})


async def test_error_code_payload_too_large(easel: Easel, tmp_path: Path) -> None:
    folders = {"MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"), "MCP_DATA_DIR": str(tmp_path / "d"), "MCP_GET_IMAGE_DATA_MAX_BYTES": "9"}
    async with studio_with({"easel": easel}, folders) as studio:
        async with Client(build_server(studio)) as client:
            (image,) = body(await client.call_tool("generate_image", {"prompt": "a cat"}))["images"]
        error = await failure_of(studio, "get_image_data", {"image_id": image["id"]})
    assert error["code"] == "payload_too_large"
    assert error["details"] == {"image_id": image["id"], "size_bytes": image["size_bytes"], "max_bytes": 9}
    assert "Use images[].url to access the file directly" in error["message"]


@pytest.mark.parametrize(("code", "text"), [("invalid_config", "MCP_WAIT_SECONDS=soon"), ("restart_required", "MCP_PORT=9")])
async def test_error_code_of_reload_config(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, text: str) -> None:
    monkeypatch.setenv("MCP_IMAGE_SAVE_DIR", str(tmp_path / "pictures"))
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    assert (await failure_of(studio, "reload_config", {}))["code"] == code


# ---------------------------------------------------------------------- resources and prompt


@pytest.mark.parametrize(
    "uri", ["providers://list", "styles://list", "resolutions://list", "styles://provider/easel", "resolutions://provider/easel"]
)
async def test_resource(studio: Studio, uri: str) -> None:
    async with Client(build_server(studio)) as client:
        contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, types.TextResourceContents)
    assert contents.mime_type == "application/json"
    value = json.loads(contents.text)
    assert contents.text == json.dumps(value, ensure_ascii=False, indent=2)
    assert value


async def test_prompt_image_generation_prompt(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        listed, *_ = (await client.list_prompts()).prompts
        assert listed.arguments is not None
        assert [(argument.name, argument.required) for argument in listed.arguments] == [
            ("description", True),
            ("provider", False),
            ("style", False),
            ("resolution", False),
            ("file_prefix", False),
        ]
        prompt = await client.get_prompt("image_generation_prompt", {"description": "a fox"})
    assert prompt.description == "Image generation prompt for: a fox"
    (message,) = prompt.messages
    assert message.role == "user"


# ---------------------------------------------------------------------- HTTP


async def rpc(client: httpx2.AsyncClient, content: bytes | str, **headers: str) -> httpx2.Response:
    accept = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    return await client.post("/mcp/v1/messages", content=content, headers={**accept, **headers})


async def test_route_get_health(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        answer = await site.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy", "service": "mcp-image-generation-http"})


async def test_route_get_images(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        name = await site.draw()
        assert (await site.client.get(f"/images/{name}")).status_code == 200
        missing = await site.client.get("/images/nope.png")
    assert (missing.status_code, missing.text) == (404, "Not Found")


async def test_route_post_messages_invalid_json(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        answer = await rpc(site.client, "{")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


@pytest.mark.parametrize("content", ["[]", '{"id": 1, "method": "ping"}', '{"jsonrpc": "2.0", "id": 1}', '"hello"'])
async def test_route_post_messages_invalid_request(tmp_path: Path, content: str) -> None:
    """There -32600; the protocol's library says -32602 for some, and 400 for all."""
    async with web(tmp_path) as site:
        answer = await rpc(site.client, content)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32600, -32602)


async def test_route_messages_unknown_session(tmp_path: Path) -> None:
    """There a new session was made in silence; the protocol says 404, and clients begin anew."""
    async with web(tmp_path) as site:
        for method in ("GET", "DELETE"):
            answer = await site.client.request(method, "/mcp/v1/messages", headers={"mcp-session-id": "gone", "accept": "text/event-stream"})
            assert answer.status_code == 404
        answer = await rpc(site.client, '{"jsonrpc": "2.0", "id": 1, "method": "ping"}', **{"mcp-session-id": "gone"})
        assert answer.status_code == 404


async def test_route_delete_messages_ends_the_session(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        opened = await rpc(site.client, json.dumps(initialize("2024-11-05")))
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert (await site.client.delete("/mcp/v1/messages", headers=session)).status_code in (200, 204)
        assert (await rpc(site.client, '{"jsonrpc": "2.0", "id": 1, "method": "ping"}', **session)).status_code == 404


async def test_route_get_messages_without_sse(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_ENABLE_SSE": "false"}) as site:
        answer = await site.client.get("/mcp/v1/messages", headers={"accept": "text/event-stream"})
        assert (answer.status_code, answer.json()) == (501, {"error": "SSE is not enabled on this server"})
        async with Client(site.url + "/mcp/v1/messages", mode="legacy") as client:
            assert (await client.list_tools()).tools


async def test_route_get_messages_needs_a_session(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        answer = await site.client.get("/mcp/v1/messages", headers={"accept": "text/event-stream"})
    assert answer.status_code == 400


async def test_route_messages_other_method(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        assert (await site.client.put("/mcp/v1/messages")).status_code == 405


async def test_without_sessions_each_request_stands_alone(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_ENABLE_SESSIONS": "false"}) as site:
        opened = await rpc(site.client, json.dumps(initialize("2025-06-18")))
        assert "mcp-session-id" not in opened.headers
        async with Client(site.url + "/mcp", mode="legacy") as client:
            assert not (await client.call_tool("generate_image", {"prompt": "a cat"})).is_error


async def test_forbidden_origin(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        answer = await site.client.get("/health", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    expected = {"code": -32002, "message": "Forbidden: Origin 'https://evil.example' is not allowed"}
    assert answer.json() == {"jsonrpc": "2.0", "id": None, "error": expected}


async def test_any_origin_is_a_setting(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_ALLOWED_ORIGINS": '["*"]'}) as site:
        assert (await site.client.get("/health", headers={"origin": "https://evil.example"})).status_code == 200


async def test_missing_token(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "t"}) as site:
        for path in ("/", "/mcp/v1/messages", "/mcp"):
            answer = await site.client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            expected = {"code": -32001, "message": "Unauthorized: Missing or invalid authentication"}
            assert answer.json() == {"jsonrpc": "2.0", "id": None, "error": expected}
        assert (await site.client.request("OPTIONS", "/mcp")).status_code == 401
        assert (await site.client.get("/health")).status_code == 200


async def test_lists_have_no_explicit_nulls(tmp_path: Path) -> None:
    """There they did, and clients in TypeScript showed no tools."""
    async with web(tmp_path) as site:
        opened = await rpc(site.client, json.dumps(initialize("2025-11-25")))
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
            answer = await rpc(site.client, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}), **session)
            (message,) = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            for entries in message["result"].values():
                for entry in entries:
                    assert None not in entry.values()


# ---------------------------------------------------------------------- stdio


def test_stdio_a_ping_and_an_unknown_method(tmp_path: Path) -> None:
    with Piped(tmp_path) as server:
        server.handshake("2024-11-05")
        server.send({"id": 1, "method": "ping"})
        assert server.receive(1)["result"] == {}
        server.send({"id": 2, "method": "images/paint"})
        assert server.receive(2)["error"]["code"] == -32601  # there -32603; the protocol's own code says more
        assert server.close() == (0, "")


def test_stdio_with_only_their_variables(tmp_path: Path) -> None:
    with Piped(tmp_path, MCP_TRANSPORT="stdio", MCP_LOG_LEVEL="WARNING") as server:
        assert server.handshake("2024-11-05")["result"]["protocolVersion"] == "2024-11-05"
        answer = server.call(1, "generate_image", prompt="一只猫", resolution="64x64", file_prefix="cat")
        assert Path(answer["images"][0]["local_path"]).name.startswith("cat_sketch_")
        assert server.close()[0] == 0
