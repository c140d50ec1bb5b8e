"""What each program in front of us makes of an answer: how long it waits, what it shows, what it hides. Facts as rows, the operator's word above them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from ..models import Client
from ..settings import Settings


@dataclass(frozen=True, kw_only=True)
class ClientFacts:
    """How to answer one client. The defaults suit one that nobody knows."""

    wait_seconds: float = 40
    """Longest wait of one call, some seconds below the client's own limit."""
    structured: bool = False
    """Reads structured content, and shows the other blocks beside it."""
    previews: int = 10
    """Pictures shown in one answer."""
    preview_edge: int = 512
    """Pixels of the longer edge of a preview, at most."""
    preview_bytes: int = 100_000
    """Of one preview, at most, before base64."""
    links: Literal["uri", "url", "path"] = "uri"
    """Where a resource link leads: to the picture as a resource of this server, to its address over HTTP, or to its file; where there is none, to the next."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of the clients with such a name, from a version on."""

    name: str
    """Of `clientInfo`, any case; `*` stands for anything."""
    since: tuple[int, ...] = ()
    facts: ClientFacts

    def fits(self, client: Client) -> bool:
        """Whether that client is meant."""
        return _is_like(client.name, self.name) and _numbers(client.version) >= self.since


TERMINAL = ClientFacts(links="path")
"""A program in a terminal on this machine that reads no resources, but in which the path of a file can be opened."""

# A star at the end lets in what is put behind a name: `(via mcp-remote 0.1)` by a bridge, the server's name by Gemini CLI and Qwen Code.
ROWS = (
    # Connectors of claude.ai, in the browser, on the desktop and on phones: 45 s, and on Android 25 s of silence, which the stream's pings break.
    # Sessions are shared and some requests come without a name (PostHog/posthog#65812), so a schema would be listed to one and missed by the other.
    Row(name="Anthropic/*", facts=ClientFacts(wait_seconds=40)),
    # Claude Desktop with servers of its own: "claude-ai" 0.1.0 in its logs (0x4m4/hexstrike-ai#11); 60 s.
    Row(name="claude-ai*", facts=ClientFacts(wait_seconds=50)),
    # 300 s of silence, and progress counts (dot-ai#708), but 4 minutes in all on Windows (anthropics/claude-code#44032). Forwards structured content
    # alone and drops the pictures (#54737, #55677, #79944). The name: screenpipe/screenpipe#5796.
    Row(name="claude-code*", facts=ClientFacts(wait_seconds=180)),
    # 300 s (openai/codex#28234; 0.144 is the first release that surely has it), 60 s before. Drops pictures as well (anomalyco/opencode#32868).
    Row(name="codex*", since=(0, 144), facts=replace(TERMINAL, wait_seconds=240)),
    Row(name="codex*", facts=replace(TERMINAL, wait_seconds=50)),
    # Drops pictures beside structured content and means to (anomalyco/opencode#32868).
    Row(name="opencode*", facts=TERMINAL),
    # 10 minutes (QwenLM/qwen-code#574).
    Row(name="qwen-code*", facts=replace(TERMINAL, wait_seconds=300)),
    Row(name="gemini-cli*", facts=TERMINAL),
    # Waits for as long as it takes (microsoft/vscode-copilot-release#14130), and its person with it.
    Row(name="Visual?Studio?Code*", facts=ClientFacts(wait_seconds=120)),
    # Base64 of a picture enters the conversation as text: 300 000 tokens for 362 kB (CherryHQ/cherry-studio#13184).
    Row(name="Cherry Studio*", facts=ClientFacts(previews=0, links="url")),
    # ChatGPT. Both kinds of content arrive (anthropics/claude-code#55677); our disk is not its disk.
    Row(name="openai-mcp*", facts=ClientFacts(structured=True, links="url")),
    Row(name="ChatGPT*", facts=ClientFacts(structured=True, links="url")),
    # Shows both (anthropics/claude-code#54737), and is there to look at everything.
    Row(name="mcp-inspector*", facts=ClientFacts(structured=True)),
    Row(name="inspector-cli*", facts=ClientFacts(structured=True)),
)
"""The first row that fits holds. Names are those of https://github.com/apify/mcp-client-capabilities where no other source stands beside them.

Cursor (`cursor-vscode`) and Windsurf (`windsurf-client`) have no row: they read resources, and nothing is known that would set them apart from others.
"""


def facts_of(client: Client, settings: Settings) -> ClientFacts:
    """How to answer that client.

    What MCP_CLIENTS says of it holds first, then its row. How long to wait, MCP_WAIT_SECONDS says before the row does, where the operator set it.
    """
    known = next((row.facts for row in ROWS if row.fits(client)), ClientFacts())
    if "wait_seconds" in settings.model_fields_set:
        known = replace(known, wait_seconds=settings.wait_seconds)
    told = next((changes for name, changes in settings.clients.items() if _is_like(client.name, name)), None)
    return replace(known, **told.model_dump(exclude_none=True)) if told else known


def _is_like(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
