"""What the official conformance suite expects to find on a server, put beside the product's own tools, resources and prompts in the product's own application.

`make conformance` runs it. Alone: `python -m tests.conformance.fixtures 8765`, and then the suite against http://127.0.0.1:8765/mcp.
"""

from __future__ import annotations

import json
import socket
import sys
import warnings
from base64 import b64decode
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import anyio
from mcp import types
from mcp.server import MCPServer
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import Field

from mcp_image_server.studio import open_studio
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.mcp.callers import Request, Session
from mcp_image_server.surfaces.serve import web_server

from .tasks import Memory, add_tasks, text

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""

CLICK = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
"""A WAV of one sample."""


def add_everything(server: MCPServer) -> None:
    """Registers all fixtures but those of tasks."""
    _add_contents(server)
    _add_conversation(server)
    _add_questions(server)
    _add_rounds(server)
    _add_resources(server)
    _add_prompts(server)


def _add_contents(server: MCPServer) -> None:
    picture = types.ImageContent(type="image", data=PIXEL, mime_type="image/png")

    @server.tool(description="Answers with text.")
    async def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @server.tool(description="Answers with a picture.", structured_output=False)
    async def test_image_content() -> types.CallToolResult:
        return types.CallToolResult(content=[picture])

    @server.tool(description="Answers with sound.", structured_output=False)
    async def test_audio_content() -> types.CallToolResult:
        return types.CallToolResult(content=[types.AudioContent(type="audio", data=CLICK, mime_type="audio/wav")])

    @server.tool(description="Answers with a resource.", structured_output=False)
    async def test_embedded_resource() -> types.CallToolResult:
        return types.CallToolResult(content=[_embedded("test://embedded-resource", "This is an embedded resource content.")])

    @server.tool(description="Answers with text, a picture and a resource.", structured_output=False)
    async def test_multiple_content_types() -> types.CallToolResult:
        words = types.TextContent(type="text", text="Multiple content types test:")
        resource = _embedded("test://mixed-content-resource", json.dumps({"test": "data", "value": 123}), "application/json")
        return types.CallToolResult(content=[words, picture, resource])

    @server.tool(description="Fails.")
    async def test_error_handling() -> str:
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool(description="Takes an argument that a header repeats.")
    async def test_header(region: Annotated[str, Field(description="Where.", json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        return region

    @server.tool(description="Has a schema with the vocabulary of JSON Schema 2020-12.", structured_output=False)
    async def json_schema_2020_12_tool(name: str = "") -> types.CallToolResult:
        return text(name)

    schema_tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert schema_tool is not None
    schema_tool.parameters = SCHEMA_2020_12


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}},
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _add_conversation(server: MCPServer) -> None:
    @server.tool(description="Writes to the client's log.")
    async def test_tool_with_logging(ctx: Session) -> str:
        for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await _log(ctx, words)
        return "Tool with logging executed successfully"

    @server.tool(description="Writes to the client's log, where it wants one.")
    async def test_logging_tool(ctx: Session) -> str:
        await _log(ctx, "A line for the log")
        return "Logged."

    @server.tool(description="Tells how far it has come.")
    async def test_tool_with_progress(ctx: Session) -> str:
        for step in (0, 50, 100):
            await ctx.report_progress(step, 100, f"Completed step {step} of 100")
            await anyio.sleep(0.02)
        return "Done."

    @server.tool(description="Needs a client that can sample.", structured_output=False)
    async def test_missing_capability(ctx: Session) -> types.CallToolResult:
        if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
            data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(code=types.MISSING_REQUIRED_CLIENT_CAPABILITY, message="The client cannot sample.", data=data)
        return text("It can sample.")

    @server.tool(description="Says that the list of tools has changed.")
    async def test_trigger_tool_change(ctx: Session) -> str:
        await ctx.notify_tools_changed()
        return "Said."

    @server.tool(description="Says that the list of prompts has changed.")
    async def test_trigger_prompt_change(ctx: Session) -> str:
        await ctx.notify_prompts_changed()
        return "Said."


async def _log(ctx: Session, words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)  # on its way out, and still asked for
        await ctx.info(words)


# ---------------------------------------------------------------------- questions on the way to the client, until 2025-11-25


DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}


def _options(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


_VALUES = _options(value1="First", value2="Second", value3="Third")

CHOICES: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": _VALUES},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": _VALUES}},
}


def _add_questions(server: MCPServer) -> None:
    async def asked(ctx: Session, message: str, properties: dict[str, Any]) -> str:
        schema = {"type": "object", "properties": properties}
        result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
        return f"action={result.action}, content={json.dumps(result.content or {})}"

    @server.tool(description="Lets the client's model speak.")
    async def test_sampling(prompt: str, ctx: Session) -> str:
        params = types.CreateMessageRequestParams(
            messages=[types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))], max_tokens=100
        )
        beside = ServerMessageMetadata(related_request_id=ctx.request_id)
        result = await ctx.session.send_request(types.CreateMessageRequest(params=params), types.CreateMessageResult, metadata=beside)
        return f"LLM response: {result.content.text if isinstance(result.content, types.TextContent) else ''}"

    @server.tool(description="Asks the person.")
    async def test_elicitation(message: str, ctx: Session) -> str:
        return f"User response: {await asked(ctx, message, {'response': {'type': 'string'}})}"

    @server.tool(description="Asks with defaults.")
    async def test_elicitation_sep1034_defaults(ctx: Session) -> str:
        return f"Elicitation completed: {await asked(ctx, 'Who are you?', DEFAULTS)}"

    @server.tool(description="Asks with choices.")
    async def test_elicitation_sep1330_enums(ctx: Session) -> str:
        return f"Elicitation completed: {await asked(ctx, 'Choose.', CHOICES)}"


# ---------------------------------------------------------------------- questions in answers, since 2026-07-28


def _form(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(prompt: str, most: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=most))


def _said(response: object, name: str) -> Any:
    """What the person wrote; None where that is no answer."""
    return (response.content or {}).get(name) if isinstance(response, types.ElicitResult) and response.action == "accept" else None


Round = types.CallToolResult | types.InputRequiredResult


def _add_rounds(server: MCPServer) -> None:
    @server.tool(description="Asks for a name.", structured_output=False)
    async def test_input_required_result_elicitation(ctx: Session) -> Round:
        name = _said((ctx.input_responses or {}).get("user_name"), "name")
        if name is None:
            return types.InputRequiredResult(input_requests={"user_name": _form("What is your name?", "name")})
        return text(f"Hello, {name}!")

    @server.tool(description="Lets the client's model answer.", structured_output=False)
    async def test_input_required_result_sampling(ctx: Session) -> Round:
        response = (ctx.input_responses or {}).get("capital_question")
        if not isinstance(response, types.CreateMessageResult) or not isinstance(response.content, types.TextContent):
            return types.InputRequiredResult(input_requests={"capital_question": _sampling("What is the capital of France?", 100)})
        return text(response.content.text)

    @server.tool(description="Asks which folders are open.", structured_output=False)
    async def test_input_required_result_list_roots(ctx: Session) -> Round:
        response = (ctx.input_responses or {}).get("client_roots")
        if not isinstance(response, types.ListRootsResult):
            return types.InputRequiredResult(input_requests={"client_roots": types.ListRootsRequest()})
        return text(" ".join(str(root.uri) for root in response.roots))

    @server.tool(description="Keeps something for the next round.", structured_output=False)
    async def test_input_required_result_request_state(ctx: Session) -> Round:
        if ctx.request_state is None:
            return types.InputRequiredResult(input_requests={"confirm": _form("Please confirm", "ok", "boolean")}, request_state="kept")
        return text("state-ok" if ctx.request_state == "kept" else "another state")

    @server.tool(description="Keeps something that nobody may change.", structured_output=False)
    async def test_input_required_result_tampered_state(ctx: Session) -> Round:
        if ctx.request_state is None:
            return types.InputRequiredResult(input_requests={"confirm": _form("Please confirm", "ok", "boolean")}, request_state="kept")
        return text("It came back as it was.")

    @server.tool(description="Asks three things at once.", structured_output=False)
    async def test_input_required_result_multiple_inputs(ctx: Session) -> Round:
        requests: dict[str, types.InputRequest] = {
            "user_name": _form("What is your name?", "name"),
            "greeting": _sampling("Generate a greeting", 50),
            "client_roots": types.ListRootsRequest(),
        }
        if requests.keys() - (ctx.input_responses or {}).keys():
            return types.InputRequiredResult(input_requests=requests, request_state="asked")
        return text("All three came.")

    @server.tool(description="Asks, and asks again.", structured_output=False)
    async def test_input_required_result_multi_round(ctx: Session) -> Round:
        responses = ctx.input_responses or {}
        if ctx.request_state is None:
            return types.InputRequiredResult(input_requests={"step1": _form("Step 1: What is your name?", "name")}, request_state="{}")
        known = json.loads(ctx.request_state)
        if "name" not in known:
            state = json.dumps({"name": _said(responses.get("step1"), "name")})
            return types.InputRequiredResult(input_requests={"step2": _form("Step 2: What is your favorite color?", "color")}, request_state=state)
        return text(f"{known['name']} likes {_said(responses.get('step2'), 'color')}.")

    @server.tool(description="Asks only what the client can answer.", structured_output=False)
    async def test_input_required_result_capabilities(ctx: Session) -> Round:
        can = ctx.client_capabilities
        requests: dict[str, types.InputRequest] = {}
        if can is not None and can.sampling is not None:
            requests["greeting"] = _sampling("Generate a greeting", 50)
        if can is not None and can.elicitation is not None:
            requests["user_name"] = _form("What is your name?", "name")
        return types.InputRequiredResult(input_requests=requests) if requests and not ctx.input_responses else text("Enough.")

    @server.tool(description="Tells how far it has come, and then asks.", structured_output=False)
    async def test_streaming_elicitation(ctx: Session) -> Round:
        await ctx.report_progress(1, 2, "half")
        if ctx.input_responses:
            return text("Answered.")
        return types.InputRequiredResult(input_requests={"user_name": _form("What is your name?", "name")})


# ---------------------------------------------------------------------- resources and prompts


def _embedded(uri: str, words: str, media_type: str = "text/plain") -> types.EmbeddedResource:
    return types.EmbeddedResource(type="resource", resource=types.TextResourceContents(uri=uri, mime_type=media_type, text=words))


def _add_resources(server: MCPServer) -> None:
    @server.resource("test://static-text", description="Text.", mime_type="text/plain")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", description="Bytes.", mime_type="image/png")
    async def static_binary() -> bytes:
        return b64decode(PIXEL)

    @server.resource("test://template/{id}/data", description="One of many.", mime_type="application/json")
    async def from_template(id: str) -> str:  # noqa: A002 - what the suite calls it
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", description="Can be subscribed to.", mime_type="text/plain")
    async def watched() -> str:
        return "Watched resource content"

    watching: set[str] = set()

    async def subscribe(_: Request, params: types.SubscribeRequestParams) -> types.EmptyResult:
        watching.add(str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(_: Request, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        watching.discard(str(params.uri))
        return types.EmptyResult()

    async def set_level(_: Request, params: types.SetLevelRequestParams) -> types.EmptyResult:
        return types.EmptyResult()

    handlers = server._lowlevel_server.add_request_handler
    handlers("resources/subscribe", types.SubscribeRequestParams, subscribe)
    handlers("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe)
    handlers("logging/setLevel", types.SetLevelRequestParams, set_level)


def _add_prompts(server: MCPServer) -> None:
    @server.prompt(description="Without arguments.")
    async def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="With two arguments.")
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="With a resource inside.")
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:  # noqa: N803 - what the suite calls it
        return [
            UserMessage(content=_embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage(content="Please process the embedded resource above."),
        ]

    @server.prompt(description="With a picture inside.")
    async def test_prompt_with_image() -> list[Message]:
        picture = types.ImageContent(type="image", data=PIXEL, mime_type="image/png")
        return [UserMessage(content=picture), UserMessage(content="Please analyze the image above.")]

    @server.prompt(description="Asks first.")
    async def test_input_required_result_prompt(ctx: Session) -> Any:
        context = _said((ctx.input_responses or {}).get("user_context"), "context")
        if context is None:
            return types.InputRequiredResult(input_requests={"user_context": _form("What context should the prompt use?", "context")})
        return f"In the context of {context}."


async def serve(port: int) -> None:
    """Serves the product with all fixtures until it is told to stop."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", port)) as listener:
        environment = {"MCP_DATA_DIR": f"{folder}/data", "MCP_IMAGE_SAVE_DIR": f"{folder}/pictures"}
        async with open_studio(environment) as studio, anyio.create_task_group() as tasks:
            memory = Memory()
            memory.tasks = tasks
            server = build_server(studio, tasks=memory)
            add_everything(server)
            add_tasks(server, memory)
            await web_server(studio, server).serve(sockets=[listener])
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(serve, int(sys.argv[1]))
