"""The Model Context Protocol surface: one server object for stdio and for HTTP, in every protocol version the SDK speaks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from ... import __version__
from ...studio import Studio
from .answers import Voice
from .reference import PROMPT, add_completions, add_prompt, add_resources
from .tools import tools

__all__ = ["Voice", "build_server"]

INSTRUCTIONS = """\
Turns prompts into stored pictures. Call generate_image with a prompt; everything else has a default.
The answer names each picture's id, path and link, and shows a small preview. Show people the link or path; do not fetch the original bytes unless they are needed.
If the answer says a job is running, call get_job with its id until it has ended. Asking for the same picture again would draw, and may bill, it twice.
An entry in "adjustments" says what was changed so that the request fits the model: tell the user when it matters."""


def build_server(studio: Studio, voice: Voice | None = None) -> MCPServer:
    """The MCP server over this studio, in that voice."""
    voice = voice or Voice()
    with _without_rich():
        server = MCPServer(
            voice.server_name,
            title="Image generation",
            version=__version__,
            instructions=INSTRUCTIONS,
            tools=tools(studio, voice),
            middleware=[_known_prompts_only],
        )
    add_resources(server, studio)
    add_prompt(server, studio)
    add_completions(server, studio)
    return server


async def _known_prompts_only(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The protocol calls a prompt that is not there, or one without its arguments, invalid parameters; the SDK calls it a breakdown of the server."""
    if ctx.method == "prompts/get":
        params = ctx.params or {}
        if params.get("name") != PROMPT:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown prompt: {params.get('name')}")
        if not (params.get("arguments") or {}).get("description"):
            raise MCPError(code=INVALID_PARAMS, message=f"{PROMPT} needs the argument 'description': what the picture shows.")
        result = await call_next(ctx)
        described = f"Image generation prompt for: {params['arguments']['description']}"
        return {**result, "description": described} if isinstance(result, dict) else result
    return await call_next(ctx)


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
