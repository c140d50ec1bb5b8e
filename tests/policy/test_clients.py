from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_image_server.errors import ConfigError
from mcp_image_server.models import Client
from mcp_image_server.policy.clients import ROWS, ClientFacts, facts_of
from mcp_image_server.settings import Settings, parse


def facts(name: str, version: str = "1.0.0", **variables: str) -> ClientFacts:
    return facts_of(Client(name=name, version=version), parse(Settings, variables))


def told(**changes: Any) -> str:
    return json.dumps({"nobody*": {"previews": 1}, "Claude-*": changes})


@pytest.mark.parametrize("name", ["", "mcp", "somebody's agent", "not-claude-code", "cursor-vscode"])
def test_a_client_that_nobody_knows_gets_what_any_can_read(name: str) -> None:
    assert facts(name) == ClientFacts(wait_seconds=40, structured=False, previews=10, preview_edge=512, preview_bytes=100_000, links="uri")


@pytest.mark.parametrize(
    ("name", "version", "wait", "structured", "previews", "links"),
    [
        ("Anthropic/ClaudeAI", "1.0.0", 40, False, 10, "uri"),
        ("claude-ai", "0.1.0", 50, False, 10, "uri"),
        ("claude-ai (via mcp-remote 0.1.37)", "0.1.0", 50, False, 10, "uri"),
        ("claude-code", "2.1.237", 180, False, 10, "uri"),
        ("codex-mcp-client", "0.92.0", 50, False, 10, "path"),
        ("codex-mcp-client", "0.144.1", 240, False, 10, "path"),
        ("codex-mcp-client", "1.0", 240, False, 10, "path"),
        ("Codex", "unknown", 50, False, 10, "path"),
        ("opencode", "1.2.3", 40, False, 10, "path"),
        ("gemini-cli-mcp-client-images", "0.0.1", 40, False, 10, "path"),
        ("qwen-code-mcp-client-images", "0.0.1", 300, False, 10, "path"),
        ("Visual Studio Code", "1.120.0", 120, False, 10, "uri"),
        ("Visual-Studio-Code", "1.120.0", 120, False, 10, "uri"),
        ("Cherry Studio", "1.7.22", 40, False, 0, "url"),
        ("openai-mcp", "1.0.0", 40, True, 10, "url"),
        ("mcp-inspector", "2.12.0", 40, True, 10, "uri"),
    ],
)
def test_a_known_client_is_answered_as_suits_it(name: str, version: str, wait: float, structured: bool, previews: int, links: Any) -> None:
    assert facts(name, version) == ClientFacts(wait_seconds=wait, structured=structured, previews=previews, links=links)


def test_who_is_not_known_waits_as_long_as_everybody_else() -> None:
    assert ClientFacts().wait_seconds == parse(Settings, {}).wait_seconds


def test_every_row_can_be_reached() -> None:
    for row in ROWS:
        client = Client(name=row.name.replace("*", "").replace("?", " "), version=".".join(map(str, row.since)))
        assert next(other for other in ROWS if other.fits(client)) is row


def test_the_operators_wait_is_above_the_row_and_its_word_on_the_client_above_both() -> None:
    assert facts("claude-code").wait_seconds == 180
    assert facts("claude-code", MCP_WAIT_SECONDS="7").wait_seconds == 7
    assert facts("claude-code", MCP_WAIT_SECONDS="7", MCP_CLIENTS=told(wait_seconds=9)).wait_seconds == 9
    assert facts("claude-code", MCP_CLIENTS=told(previews=2)).wait_seconds == 180
    assert facts("claude-code", MCP_WAIT_SECONDS="7", MCP_CLIENTS=told(previews=2)).wait_seconds == 7


def test_what_the_operator_does_not_say_stays() -> None:
    assert facts("openai-mcp", MCP_CLIENTS='{"openai-*": {"previews": 1, "links": null}}') == ClientFacts(
        wait_seconds=40, structured=True, previews=1, links="url"
    )
    assert facts("mcp", MCP_CLIENTS=told(structured=True)) == facts("mcp")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[]", 'MCP_CLIENTS: write a JSON object, for example {"my-client*": {"wait_seconds": 20}} (it is \'[]\').'),
        ("claude", 'MCP_CLIENTS: write a JSON object, for example {"my-client*": {"wait_seconds": 20}} (it is \'claude\').'),
        ('{"x": 5}', 'MCP_CLIENTS → x: write a JSON object, for example {"wait_seconds": 20}.'),
        (
            '{"x": {"wait": 5}}',
            "MCP_CLIENTS → x: there is no wait; there are wait_seconds, structured, previews, preview_edge, preview_bytes, links.",
        ),
        ('{"x": {"wait_seconds": -1}}', "MCP_CLIENTS → x → wait_seconds: Input should be greater than or equal to 0."),
        ('{"x": {"links": "ftp"}}', "MCP_CLIENTS → x → links: Input should be 'uri', 'url' or 'path' (it is 'ftp')."),
    ],
)
def test_a_wrong_setting_is_named_down_to_the_field(value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Settings, {"MCP_CLIENTS": value})
    assert caught.value.details == {"problems": [words]}
