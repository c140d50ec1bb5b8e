"""Draws the pictures of this page anew, through the server: starts it over stdio, as an assistant does, and asks for each with `generate_image`.

The provider is `sketch`, which is built in: no key, no network, and the same pictures every time.
"""

# ruff: noqa: T201 - it speaks to a person at a terminal

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent

ROOT = Path(__file__).resolve().parent.parent
SERVER = StdioServerParameters(
    command=sys.executable, args=[str(ROOT / "mcp-server"), "serve", "--transport", "stdio"], env=dict(os.environ), cwd=ROOT
)

LOOK: dict[str, Any] = {
    "provider": "sketch",
    "style": "picture_book",
    "output_format": "webp",
    "output_compression": 70,
    "output_dir": "web-design-demo/pictures",
}

PICTURES: dict[str, dict[str, Any]] = {
    "harbour.webp": {"prompt": "a lighthouse on an island at sunset, a sailing boat on the calm sea", "resolution": "1600x900", "seed": 1},
    "spring.webp": {"prompt": "a windmill and two blossoming cherry trees in a spring meadow", "resolution": "960x720", "seed": 1},
    "summer.webp": {"prompt": "a summer beach with a palm tree, a starfish and a sailing boat", "resolution": "960x720", "seed": 1},
    "autumn.webp": {"prompt": "a red maple tree and a bench in an autumn park, a squirrel", "resolution": "960x720", "seed": 1},
    "winter.webp": {"prompt": "a small house in the snow at night, pine trees, a fox", "resolution": "960x720", "seed": 3},
}


async def main() -> None:
    """Asks for every picture, one after the other."""
    async with Client(SERVER) as client:
        for name, wish in PICTURES.items():
            result = await client.call_tool("generate_image", {**LOOK, **wish, "output_filename": name, "wait_seconds": 300})
            first = result.content[0]
            assert isinstance(first, TextContent)
            answer = json.loads(first.text)
            print(f"{name}: {wish['prompt'] if answer['ok'] else answer['error']['message']}")


if __name__ == "__main__":
    anyio.run(main)
