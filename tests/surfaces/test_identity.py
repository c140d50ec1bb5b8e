"""Identities over HTTP: challenges, metadata, counted requests, other origins; and the command that makes tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcp_image_server.identity import TokenFile
from mcp_image_server.surfaces.cli import app
from tests.fakes.issuer import Issuer
from tests.web import token_of, tokens_in, web

pytestmark = pytest.mark.anyio


async def test_a_client_finds_the_issuer_by_itself(tmp_path: Path) -> None:
    with Issuer() as issuer:
        settings = {"MCP_OAUTH_ISSUER": issuer.url, "MCP_OAUTH_SCOPES": '["images", "more"]', "MCP_PUBLIC_BASE_URL": "https://art.example"}
        async with web(tmp_path, settings) as site:
            where = "https://art.example/.well-known/oauth-protected-resource/mcp"
            asked = await site.client.post("/mcp", json={})
            assert (asked.status_code, asked.headers["www-authenticate"]) == (401, f'Bearer scope="images more", resource_metadata="{where}"')
            guessed = await site.client.post("/mcp", json={}, headers={"authorization": "Bearer x"})
            assert guessed.headers["www-authenticate"].startswith('Bearer error="invalid_token", scope=')
            poor = await site.client.post("/mcp", json={}, headers={"authorization": f"Bearer {issuer.token(scope='images')}"})
            assert (poor.status_code, poor.headers["www-authenticate"]) == (
                403,
                f'Bearer error="insufficient_scope", scope="images more", resource_metadata="{where}"',
            )
            path = where.removeprefix("https://art.example")
            assert (await site.client.get(path)).json() == {
                "resource": "https://art.example/mcp",
                "authorization_servers": [issuer.url],
                "scopes_supported": ["images", "more"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Image generation",
            }
            assert (await site.client.get(path.removesuffix("/mcp"))).json()["resource"] == "https://art.example"
            assert (await site.client.get(f"{path}/v1/messages")).json()["resource"] == "https://art.example/mcp/v1/messages"
            assert (await site.client.get(f"{path}/other")).status_code == 404
            token = issuer.token(scope="images more")
            assert (await site.call("generate_image", token=token, prompt="a cat"))["ok"]


async def test_an_issuer_that_is_down_is_not_taken_for_a_wrong_token(tmp_path: Path) -> None:
    with Issuer() as issuer:
        async with web(tmp_path, {"MCP_OAUTH_ISSUER": issuer.url, "MCP_PUBLIC_BASE_URL": "https://art.example"}) as site:
            issuer.down = True
            answer = await site.client.get("/", headers={"authorization": f"Bearer {issuer.token()}"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_requests_are_counted_and_the_answers_say_so(tmp_path: Path) -> None:
    people = tokens_in(tmp_path, alice={"requests_per_minute": 2}, bob={})
    async with web(tmp_path, {"MCP_TOKENS_FILE": people}) as site:
        alice, bob = [{"authorization": f"Bearer {token_of(name)}"} for name in ("alice", "bob")]
        answers = [await site.client.get("/", headers=alice) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"requests";q=2;w=60'] * 3
        assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == ['"requests";r=1', '"requests";r=0', '"requests";r=0']
        assert 0 < int(answers[2].headers["retry-after"]) <= 61
        other = await site.client.get("/", headers=bob)
        assert (other.status_code, "ratelimit" in other.headers) == (200, False)
        assert (await site.client.get("/health")).status_code == 200


async def test_a_page_of_an_allowed_origin_may_call(tmp_path: Path) -> None:
    settings = {"MCP_AUTH_TOKEN": "t", "MCP_ALLOWED_ORIGINS": '["https://app.example"]'}
    async with web(tmp_path, settings) as site:
        wish = {
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,mcp-method",
        }
        asked = await site.client.options("/mcp", headers=wish)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "https://app.example")
        refused = await site.client.post("/mcp", json={}, headers={"origin": "https://app.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://app.example")
        exposed = set(refused.headers["access-control-expose-headers"].split(", "))
        assert {"upload-offset", "upload-length", "upload-expires", "tus-resumable", "image-id", "x-job-id", "link", "mcp-session-id"} <= exposed
        other = await site.client.options("/mcp", headers={**wish, "origin": "https://evil.example"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


def test_a_token_is_made_listed_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = ["--file", str(tmp_path / "tokens.toml")]
    runner = CliRunner()
    limits = ["--role", "viewer", "--images-per-day", "20", "--budget-day", "1.5", "--requests-per-minute", "60", "--jobs", "2", "--days", "30"]
    made = runner.invoke(app, ["token", "create", "alice", "--team", "design", *limits, *file])
    assert made.exit_code == 0
    token = made.stdout.strip()
    found = TokenFile(tmp_path / "tokens.toml").find(token.encode())
    assert found is not None
    assert (found.name, found.team, found.roles, found.allowance.budget_day) == ("alice", "design", frozenset({"viewer"}), 1_500_000)
    listed = runner.invoke(app, ["token", "list", "--json", *file])
    assert [(entry["name"], entry["images_per_day"]) for entry in json.loads(listed.stdout)] == [("alice", 20)]
    assert "sha256" not in listed.stdout
    assert "60 requests a minute" in runner.invoke(app, ["token", "list", *file], env={"COLUMNS": "200"}).stdout
    assert runner.invoke(app, ["token", "revoke", "alice", *file]).exit_code == 0
    assert TokenFile(tmp_path / "tokens.toml").find(token.encode()) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "Álice"], "A name takes small letters"),
        (["create", "alice", "--role", "root"], "A role is admin or viewer"),
        (["create", "local"], "'local' is a name that the server uses itself"),
        (["revoke", "nobody"], "There is no token for 'nobody'"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["token", *arguments, "--file", str(tmp_path / "tokens.toml"), "--json"])
    assert told.exit_code == 2
    assert words in json.loads(told.stdout)["error"]["message"]
    assert not (tmp_path / "tokens.toml").exists()
