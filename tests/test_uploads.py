"""Pictures on their way in, sent to two servers that share a record and a store."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_image_server import uploads
from mcp_image_server.errors import LimitError, NotFoundError, RequestError
from mcp_image_server.models import Caller
from mcp_image_server.studio import Studio
from tests.conftest import studio_with
from tests.easel import Easel
from tests.fakes.server import picture

pytestmark = pytest.mark.anyio

PNG = picture(64, 48)
ANN, BOB = (Caller(principal=name, roles=frozenset()) for name in ("ann", "bob"))


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[Studio, Studio]]:
    environment = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    async with studio_with({"easel": Easel()}, environment) as first, studio_with({"easel": Easel()}, environment) as second:
        yield first, second


async def sent(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def lying(servers: tuple[Studio, Studio]) -> list[tuple[str, int]]:
    """Where each piece on its way begins, and how long it is."""
    pieces = (servers[0].save_folder / ".uploads").glob("*")
    return sorted((path.name.split("-")[1], path.stat().st_size) for path in pieces)


async def test_pieces_that_come_to_different_servers_are_one_picture(servers: tuple[Studio, Studio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PIECE", 40)
    monkeypatch.setattr(uploads, "SMALL", 20)
    upload, key = await servers[0].uploads.begin(ANN, length=len(PNG), name="cat")
    assert await servers[1].uploads.behind(upload.id, key) == upload == await servers[1].uploads.get(ANN, upload.id)
    for studio, refused in ((servers[0], servers[1].uploads.behind(upload.id, key[:-1])), (servers[1], servers[0].uploads.get(BOB, upload.id))):
        with pytest.raises(NotFoundError):
            await refused
        offset = (await studio.uploads.get(ANN, upload.id)).offset
        await studio.uploads.receive(upload, sent(PNG[offset : offset + 30], PNG[offset + 30 : offset + 35]), offset=offset)
    for number in range(70, 74):  # what comes crumb by crumb is put together
        await servers[number % 2].uploads.receive(upload, sent(PNG[number : number + 1]), offset=number)
    assert lying(servers) == [("0", 30), ("30", 35), ("65", 9)]
    assert (await servers[1].upkeep.verify(Caller())).removed == ()
    await servers[0].uploads.receive(upload, sent(PNG[74:]), offset=74)
    image = await servers[1].uploads.finish(upload)
    assert (image.principal, image.prompt, image.size.width, lying(servers)) == ("ann", "cat", 64, [])
    ended = await servers[0].uploads.get(ANN, upload.id)
    assert (ended.image_id, ended.offset) == (image.id, len(PNG))
    with pytest.raises(RequestError, match=f"it is image {image.id}"):
        await servers[0].uploads.finish(upload)
    await servers[0].uploads.remove(upload)
    assert (await servers[1].images.get(ANN, image.id)).id == image.id


async def test_one_sends_at_a_time_and_whoever_was_silent_too_long_changes_nothing_more(servers: tuple[Studio, Studio], tmp_path: Path) -> None:
    first, second = servers
    upload, _ = await first.uploads.begin(ANN, length=len(PNG))
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PNG[:10]
        begun.set()
        await go_on.wait()
        yield b"too late"

    async def send_slowly() -> None:
        with pytest.raises(RequestError, match="Somebody else has gone on"):
            await first.uploads.receive(upload, slow(), offset=0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_slowly)
        await begun.wait()
        for refused in (second.uploads.receive(upload, sent(PNG), offset=10), second.uploads.finish(upload), second.uploads.remove(upload)):
            with pytest.raises(RequestError, match="Somebody sends bytes to this link just now"):
                await refused
        with closing(sqlite3.connect(tmp_path / "data" / "history.sqlite3", isolation_level=None)) as record:
            record.execute("UPDATE uploads SET held_until = 0")
        with pytest.raises(RequestError, match="10 bytes are here"):
            await second.uploads.receive(upload, sent(PNG), offset=0)
        await second.uploads.receive(upload, sent(PNG[10:]), offset=10)
        go_on.set()
    assert lying(servers) == [("0", len(PNG))]
    assert (await second.uploads.finish(upload)).size_bytes >= len(PNG)


async def test_uploads_are_counted_and_swept_together(servers: tuple[Studio, Studio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_OPEN", 2)
    first, second = servers
    upload, _ = await first.uploads.begin(ANN)
    await second.uploads.begin(ANN)
    await second.uploads.begin(BOB)
    with pytest.raises(LimitError) as caught:
        await first.uploads.begin(ANN)
    assert caught.value.code == "quota_exceeded"
    await first.uploads.receive(upload, sent(PNG))
    nobodys = first.save_folder / ".uploads" / f"{'0' * 32}-0-12345678"
    nobodys.write_bytes(PNG)
    found = await first.upkeep.verify(Caller())
    assert (found.ok, found.removed, nobodys.exists()) == (True, (f".uploads/{nobodys.name}",), False)
    with closing(sqlite3.connect(tmp_path / "data" / "history.sqlite3", isolation_level=None)) as record:
        record.execute("UPDATE uploads SET expires_at = 0")
    await second.uploads.begin(ANN)
    assert lying(servers) == []
