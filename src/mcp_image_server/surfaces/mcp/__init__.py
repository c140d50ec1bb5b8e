"""The Model Context Protocol surface: one server object for stdio and for HTTP, in every protocol version the SDK speaks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_bytes

from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.request_state import RequestStateSecurity

from ... import __version__
from ...studio import Studio
from .answers import Voice
from .callers import Request, audience_of, caller_of, remembering
from .reference import ImageServer, add_completions, add_prompt, add_resources
from .tasks import JobTasks, TaskBackend, Tasks
from .tools import tools

__all__ = ["Voice", "build_server"]

INSTRUCTIONS = """\
Turns prompts into stored pictures. Call generate_image with a prompt; everything else has a default.
The answer names each picture's id, path and link, and shows a small preview. Show people the link or path; do not fetch the original bytes unless they are needed.
If the answer says a job is running, call get_job with its id until it has ended. Asking for the same picture again would draw, and may bill, it twice.
An entry in "adjustments" says what was changed so that the request fits the model: tell the user when it matters."""


TOOLS_TTL_MS = 300_000
"""For how long a client may go by its list of tools, in milliseconds. The list is private: it depends on who asks."""


def build_server(studio: Studio, voice: Voice | None = None, *, tasks: TaskBackend | None = None, state_key: bytes | None = None) -> MCPServer:
    """The MCP server over this studio, in that voice.

    Args:
        tasks: where its tasks live; None: they are the studio's jobs.
        state_key: seals what a question to the caller carries from one round to the next. Servers that share it can take up each other's rounds;
            None: one that ends with this server.
    """
    voice = voice or Voice()
    offered = tools(studio, voice)
    schemas = {tool.name: tool.answers for tool in offered if tool.answers is not None}

    async def schemas_for_those_who_read_them(ctx: Request, call_next: CallNext) -> HandlerResult:
        """An output schema promises structured content, so a client is shown it only where `CheckedTool` will give that."""
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict) or not audience_of(studio, ctx, structured=voice.structured).structured:
            return result
        return {**result, "tools": [{**tool, "outputSchema": schemas[tool["name"]]} if tool["name"] in schemas else tool for tool in result["tools"]]}

    with _without_rich():
        server = ImageServer(
            voice.server_name,
            title="Image generation",
            version=__version__,
            instructions=INSTRUCTIONS,
            tools=list(offered),
            extensions=[Tasks(tasks or JobTasks(studio, voice))],
            request_state_security=RequestStateSecurity(
                keys=[state_key or token_bytes(32)], bind_principal=lambda request: caller_of(request).principal
            ),
            cache_hints={"tools/list": CacheHint(ttl_ms=TOOLS_TTL_MS, scope="private")},
            middleware=[remembering, schemas_for_those_who_read_them],
        )
    server.studio, server.voice = studio, voice
    add_resources(server, studio)
    add_prompt(server, studio)
    add_completions(server, studio)
    return server


@contextmanager
def _without_rich() -> Iterator[None]:
    """Hides `rich` for a moment: where it is installed the SDK imports it and sets up logging with it, which costs a start-up 60 ms and us our log format."""
    if "rich" in sys.modules:
        yield
        return
    hidden = ("rich", "rich.console", "rich.logging")
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None in sys.modules is how Python itself marks "not to be had"
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
