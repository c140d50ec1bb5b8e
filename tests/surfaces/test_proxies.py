"""Who is calling, when a proxy says so: believed where the operator says, else not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web import web

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("trusted", "last"), [("[]", 429), ('["10.0.0.0/8"]', 429), ('["127.0.0.1"]', 401), ('["127.0.0.0/8"]', 401)])
async def test_only_a_trusted_proxy_says_who_guesses_tokens(tmp_path: Path, trusted: str, last: int) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "right", "MCP_TRUSTED_PROXIES": trusted}) as site:
        for number in range(11):
            headers = {"authorization": "Bearer wrong", "x-forwarded-for": f"203.0.113.{number}"}
            status = (await site.client.get("/", headers=headers)).status_code
    assert status == last
