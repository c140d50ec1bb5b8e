"""Whether the server works here: starts it over stdio, as an assistant does, reads everything that it lists, and draws a picture.

    python test_mcp_server.py               free, and without a network
    python test_mcp_server.py --with-api    also one picture with each service that has a key, which may cost money

Settings are read from the environment and from `.env` in the working directory, as always. Ends with 0 when all is well, else with 1.
"""

# ruff: noqa: T201 - it speaks to a person at a terminal

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent

try:
    import anyio
    from mcp import Client, StdioServerParameters
    from mcp.types import TextContent, TextResourceContents
except ImportError as missing:
    sys.exit(f"{missing}. Run `uv sync --dev` in {ROOT} and then `uv run python test_mcp_server.py`; or `make demo` and .venv/bin/python.")

SERVER = StdioServerParameters(command=sys.executable, args=[str(ROOT / "mcp-server"), "serve", "--transport", "stdio"], env=dict(os.environ))
FREE = "sketch"
"""The provider that is built in."""

Step = Callable[[Client], Awaitable[str]]
"""Looks at one thing; says what it found, or raises."""


async def check(*, with_api: bool) -> bool:
    """Whether every step went well. Prints a line for each."""
    well = True
    async with Client(SERVER) as client:
        info = client.server_info
        assert info is not None
        print(f"ok      server: {info.name} {info.version}, protocol {client.protocol_version}")
        steps: dict[str, Step] = {"tools": tools, "resources": resources, "prompt": prompt, "picture": lambda client: picture(client, FREE)}
        if with_api:
            steps |= await paid(client)
        for name, step in steps.items():
            try:
                print(f"ok      {name}: {await step(client)}")
            except Exception as error:
                well = False
                print(f"FAILED  {name}: {error}")
    return well


async def tools(client: Client) -> str:
    """The names of the tools."""
    return ", ".join(tool.name for tool in (await client.list_tools()).tools)


async def resources(client: Client) -> str:
    """The lists, each read once."""
    found = []
    for resource in (await client.list_resources()).resources:
        content = (await client.read_resource(str(resource.uri))).contents[0]
        assert isinstance(content, TextResourceContents)
        found.append(f"{resource.uri} ({len(json.loads(content.text))})")
    return ", ".join(found)


async def prompt(client: Client) -> str:
    """The one prompt, asked for."""
    name = (await client.list_prompts()).prompts[0].name
    messages = (await client.get_prompt(name, {"description": "a red fox in the snow"})).messages
    return f"{name} ({len(messages)} message)"


async def picture(client: Client, provider: str) -> str:
    """The path of a new picture, which is there."""
    wish = {"prompt": "a red fox under a full moon in a snowy pine forest", "provider": provider, "quality": "low", "file_prefix": "check"}
    answer = await call(client, "generate_image", wish)
    while answer["ok"] and not answer["images"]:
        print(f"...     {answer['job'].get('message') or answer['job']['state']}")
        answer = await call(client, "get_job", {"job_id": answer["job"]["id"]})
    if not answer["ok"]:
        raise RuntimeError(answer["error"]["message"])
    (image,) = answer["images"]
    if (await anyio.Path(image["local_path"]).stat()).st_size != image["size_bytes"]:
        raise RuntimeError(f"{image['local_path']} is not the picture that was drawn")
    return f"{image['local_path']} ({image['width']}x{image['height']}, {image['model']})"


async def paid(client: Client) -> dict[str, Step]:
    """A step for each service that is configured. Says first that they may cost money."""
    answer = await call(client, "list_models", {})
    names = [entry["provider"] for entry in answer["result"]["providers"] if entry["provider"] != FREE]
    if not names:
        print("note    no service is configured; .env.example names their keys")
        return {}
    print(f"note    one picture each is now drawn by: {', '.join(names)}. This may cost money.")
    return {f"picture by {name}": lambda client, name=name: picture(client, name) for name in names}  # type: ignore[misc]


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> Any:
    """The JSON of a tool's answer."""
    content = (await client.call_tool(tool, arguments)).content[0]
    assert isinstance(content, TextContent)
    return json.loads(content.text)


def cause(error: BaseException) -> BaseException:
    """The error inside, where tasks that ran together have wrapped it."""
    return cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def main() -> None:
    """Runs the check; what went wrong is said, and is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with-api", action="store_true", help="also draw with each configured service; may cost money")
    options = parser.parse_args()
    well = False
    try:
        well = await check(with_api=options.with_api)
    except Exception as error:
        print(f"FAILED  server: it did not start, or it ended too early ({cause(error)}). What it said is on standard error.")
    print("All is well." if well else "Something is wrong. `mcp-image-server doctor` looks closer.")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a console may not know every letter of a path
    anyio.run(main)
