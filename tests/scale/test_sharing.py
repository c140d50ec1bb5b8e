"""What people keep, send and ask for is the same on every server of one database and one object store."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from mcp_image_server.errors import LimitError, NotFoundError, RequestError
from mcp_image_server.library import StyleEntry, TemplateEntry
from mcp_image_server.models import Caller, Size
from mcp_image_server.store import open_store
from mcp_image_server.studio import Studio
from tests.conftest import studio_with
from tests.easel import Easel, png_of
from tests.scale.servers import BUCKET, ObjectStore, Postgres, emptied
from tests.transports.server_process import Served
from tests.web import token_of, tokens_in

pytestmark = pytest.mark.anyio

ME, ANN, BOB = Caller(), *(Caller(principal=name, roles=frozenset()) for name in ("ann", "bob"))
BOSS = Caller(principal="boss", roles=frozenset({"admin"}))


def template(prompt: str, **more: object) -> TemplateEntry:
    return TemplateEntry.model_validate({"prompt": prompt, **more})


CARD = template("a {mood} card", variables={"mood": {"choices": ["calm", "lively"], "default": "calm"}})


def style(phrase: str) -> StyleEntry:
    return StyleEntry.model_validate({"phrase": phrase})


@pytest.fixture
async def servers(postgres_server: Postgres, tmp_path: Path) -> AsyncIterator[tuple[Studio, Studio]]:
    """Two servers without a folder in common."""
    url = await emptied(postgres_server, "history")
    environments = [
        {"MCP_DATABASE_URL": url, "MCP_DATA_DIR": str(tmp_path / name / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / name / "pictures")}
        for name in ("a", "b")
    ]
    async with studio_with({"easel": Easel()}, environments[0]) as first, studio_with({"easel": Easel()}, environments[1]) as second:
        yield first, second


async def test_what_is_kept_by_one_server_is_used_by_all(servers: tuple[Studio, Studio], tmp_path: Path) -> None:
    here, there = (studio.library for studio in servers)

    async def seen(caller: Caller) -> tuple[str, str]:
        found = await there.style(caller, "watercolor")
        return found.phrase[:12], there.origin(caller, found)

    assert await here.put_style(BOSS, "watercolor", style("the operator's"), shared=True)
    assert await here.put_style(ANN, "watercolor", style("ann's own way"))
    assert not await there.put_style(ANN, "watercolor", style("ann's new way"))
    assert await here.put_template(ANN, "card", CARD)
    assert [await seen(caller) for caller in (ANN, BOB, ME)] == [("ann's new wa", "own"), ("the operator", "shared"), ("the operator", "own")]
    card = await there.template(ANN, "Card")
    assert (card.filled({}).prompt, there.origin(ANN, card)) == ("a calm card", "own")
    assert TemplateEntry.of(card).template("card", card.source) == card
    assert there.library(ME).text_of(card).startswith("title: card\nprompt: a {mood} card\n")
    assert "card" not in await there.templates(BOB)
    assert list(await there.templates(ANN))[:-1] == list(await there.templates(BOB))
    with pytest.raises(NotFoundError, match="no style 'watercolor' of your own"):
        await there.remove_style(BOB, "watercolor")
    with pytest.raises(NotFoundError, match="no template 'card' of your own"):
        await there.remove_template(BOB, "card")
    await there.remove_style(ANN, "watercolor")
    await there.remove_template(ANN, "card")
    await there.remove_style(ME, "watercolor")
    assert (await here.own_styles(ANN), "card" in await here.templates(ANN)) == ({}, False)
    assert list(tmp_path.rglob("*.json")) == []


async def test_what_is_kept_in_the_record_has_the_bounds_of_a_folder(servers: tuple[Studio, Studio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_image_server.bookshelf.MAX_KEPT", 2)
    here = servers[0].library
    for key, entry, words in (("a b", CARD, "is no name"), ("x", template("a {gap}"), "which variables does not name")):
        with pytest.raises(RequestError, match=words):
            await here.put_template(ANN, key, entry)
    with pytest.raises(LimitError) as large:
        await here.put_template(ANN, "large", template("字" * 11_000))
    history = await servers[0]._workshop.history()
    for key in ("s1", "s2"):
        await here.put_style(ANN, key, style("x"))
    await history.kept.put("ann", "templates", "newer", {"prompt": "x", "made_by": "a newer version"}, most=2)
    with pytest.raises(LimitError, match="100 styles already"):
        await here.put_style(ANN, "another", style("x"))
    assert (large.value.code, await here.put_style(ANN, "s2", style("anew"))) == ("payload_too_large", False)
    assert (await here.put_style(BOB, "another", style("x")), "newer" in await here.templates(ANN)) == (True, False)


async def test_requests_are_counted_for_all_servers_together(servers: tuple[Studio, Studio]) -> None:
    counts = [studio.count_together for studio in servers]
    history = await servers[0]._workshop.history()
    answers: list[tuple[bool, int, int]] = []

    async def ask(number: int) -> None:
        count = counts[number % 2]
        assert count is not None
        answers.append(await count("ann", 5))

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(ask, number)
    assert sum(allowed for allowed, _, _ in answers) in (5, 6)  # one more where a minute ends just then
    assert {(left, 0 < seconds <= 120) for allowed, left, seconds in answers if not allowed} == {(0, True)}
    assert (await history.windows.count("bob", 5))[:2] == (True, 4)

    async def minutes_later(minutes: int) -> tuple[bool, int]:
        async with history._transactions.note() as connection:
            await connection.execute(sa.text(f"UPDATE windows SET minute = minute - {minutes} WHERE principal = 'ann'"))
        return (await history.windows.count("ann", 1000))[:2]

    allowed, left = await minutes_later(1)
    assert allowed
    assert 993 <= left <= 999  # of those, as many as lie within the last sixty seconds
    assert await minutes_later(3) == (True, 999)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="PostgreSQL and the object store are started as on Linux and macOS")
def test_two_servers_take_one_picture_list_one_template_and_count_together(tmp_path: Path, postgres_server: Postgres, s3: ObjectStore) -> None:
    settings = {
        **s3.access,
        "MCP_DATABASE_URL": anyio.run(emptied, postgres_server, "replicas"),
        "MCP_STORE_URL": f"s3://{BUCKET}/{tmp_path.name}",
        "MCP_TOKENS_FILE": tokens_in(tmp_path, ann={}, bob={}, eve={"requests_per_minute": 3}),
        "MCP_SECRET": "one for all" * 4,
    }
    large = png_of(Size(width=1024, height=1024), random.Random(1).randbytes(3 * 1024 * 1024))
    store = open_store(settings["MCP_STORE_URL"], s3.access)

    def call(server: Served, who: str, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {token_of(who)}"} if who else {}), **more.pop("headers", {})}
        return httpx2.request(method, server.url + path, headers=headers, trust_env=False, timeout=60, **more)

    with Served(tmp_path / "a", **settings) as first, Served(tmp_path / "b", **settings) as second:
        begun = call(first, "ann", "POST", "/api/v1/uploads", json={"length": len(large), "name": "noise"}).json()
        link = begun["url"].removeprefix(first.url)
        for number, start in enumerate(range(0, len(large), 700_000)):
            server, other = (first, second) if number % 2 else (second, first)
            tus = {"tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream", "upload-offset": str(start)}
            assert call(other, "", "HEAD", link).headers["upload-offset"] == str(start)
            assert call(other, "bob", "GET", f"/api/v1/uploads/{begun['id']}").status_code == 404
            sent = call(server, "", "PATCH", link, content=large[start : start + 700_000], headers=tus)
            assert sent.status_code == 204, sent.text
            for key in anyio.run(store.keys, ".uploads/"):
                assert call(other, "ann", "GET", f"/images/{key}").status_code == 404
        image = sent.headers["image-id"]
        kept = call(other, "ann", "GET", f"/api/v1/images/{image}/content", follow_redirects=True)
        assert anyio.run(store.keys, ".uploads/") == []

        assert call(first, "ann", "PUT", "/api/v1/templates/card", json={"prompt": "a card"}).status_code == 201
        listed = [[each["key"] for each in call(second, who, "GET", "/api/v1/templates").json()["templates"]] for who in ("ann", "bob")]
        asked = [call((first, second)[number % 2], "eve", "GET", "/api/v1/styles").status_code for number in range(5)]
    assert kept.headers["content-type"] == "image/png"
    assert kept.content.startswith(large[:8])
    assert ("card" in listed[0], "card" in listed[1]) == (True, False)
    assert (asked[:3], asked[-1]) == ([200, 200, 200], 429)  # the fourth passes where a minute ends just then
