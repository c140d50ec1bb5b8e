"""Pictures in an S3 store that holds its users to their rights: kept, shown, looked through, thrown away, and saved elsewhere when it is away."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from mcp_image_server.errors import ConfigError, NotFoundError, StorageError
from mcp_image_server.models import Caller, Generated, ImageRequest, JobState
from mcp_image_server.providers import Context
from mcp_image_server.store import Store, folder_url, open_store
from mcp_image_server.studio import Studio
from tests.conftest import studio_with
from tests.easel import Easel, draw
from tests.fakes.server import closed_port
from tests.scale.servers import BUCKET, ObjectStore

pytestmark = pytest.mark.anyio

ADMIN = Caller()


@pytest.fixture
def url() -> str:
    """A part of the bucket that nobody else uses."""
    return f"s3://{BUCKET}/{secrets.token_hex(4)}/pictures"


@pytest.fixture
def store(s3: ObjectStore, url: str) -> Store:
    return open_store(url, s3.access)


@pytest.fixture
async def studio(s3: ObjectStore, url: str, easel: Easel, tmp_path: Path) -> AsyncIterator[Studio]:
    environment = {**s3.access, "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_STORE_URL": url}
    async with studio_with({"easel": easel}, environment) as opened:
        yield opened


async def test_a_bucket_keeps_what_a_folder_keeps(store: Store) -> None:
    await store.ready()
    assert await store.keys() == []
    await store.put("a_1.png", b"first")
    await store.put("a_1.png", b"second")
    await store.put(".thumbnails/a.webp", b"small")
    assert await store.get("a_1.png") == b"second"
    assert await store.size("a_1.png") == 6
    assert await store.size("b.png") is None
    assert await store.keys() == [".thumbnails/a.webp", "a_1.png"]
    assert await store.keys("a") == ["a_1.png"]
    assert await store.find("a_1") == ["a_1.png"]
    assert store.path("a_1.png") is None
    await store.delete("a_1.png")
    await store.delete("a_1.png")
    with pytest.raises(NotFoundError, match=r"no file 'a_1\.png' in the store"):
        await store.get("a_1.png")


async def test_more_keys_than_a_page_holds_are_all_listed(store: Store) -> None:
    keys = [f"{number:04}.png" for number in range(1005)]
    async with anyio.create_task_group() as tasks:
        for start in range(50):

            async def fill(start: int) -> None:
                for key in keys[start::50]:
                    await store.put(key, b"x")

            tasks.start_soon(fill, start)
    assert await store.keys() == keys


async def test_who_may_only_look_is_told_before_anything_is_paid(s3: ObjectStore, url: str, easel: Easel, tmp_path: Path) -> None:
    refused = f"cannot use the pictures at {url}: the keys that this server has do not allow it, or there is no such bucket"
    for access in (s3.reading, {**s3.access, "AWS_SECRET_ACCESS_KEY": "guessed"}):
        async with studio_with({"easel": easel}, {**access, "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_STORE_URL": url}) as studio:
            checks = {check.name: check async for check in studio.upkeep.doctor(ADMIN)}
            assert not checks["pictures"].ok
            assert checks["pictures"].words.startswith(refused)
            assert "guessed" not in checks["pictures"].words
            job = await studio.generate(ADMIN, ImageRequest(prompt="a cat"))
            assert job.failure is not None
            assert (job.state, job.failure.code, easel.asked) == (JobState.FAILED, "storage_unavailable", [])


async def test_a_picture_is_drawn_shown_found_and_thrown_away(studio: Studio, store: Store, url: str) -> None:
    checks = {check.name: check async for check in studio.upkeep.doctor(ADMIN)}
    assert (checks["pictures"].ok, checks["pictures"].words) == (True, f"{url} can be written")
    job = await studio.generate(ADMIN, ImageRequest(prompt="a cat"))
    image = job.images[0]
    assert image.store_url == url
    assert await store.keys() == sorted([image.key, image.thumbnail_key or ""])
    assert await studio.images.read(image) == await store.get(image.key)
    assert (await studio.images.read(image, thumbnail=True))[8:12] == b"WEBP"
    assert studio.images.path(image) is None
    assert await studio.images.search(ADMIN, "cat") == [image]
    assert (await studio.upkeep.verify(ADMIN)).ok
    await studio.images.manage(ADMIN, [image.id], "delete")
    assert [each.id for each in await studio.images.purge(ADMIN, everything=True)] == [image.id]
    assert await store.keys() == []


class Road:
    """The way to the store, which can be closed."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.open = True

    async def carry(self, client: SocketStream) -> None:
        """Everything both ways, as long as the road is open."""
        async with client:
            if not self.open:
                return
            async with await anyio.connect_tcp("127.0.0.1", self._to) as server, anyio.create_task_group() as tasks:
                tasks.start_soon(self._one_way, client, server)
                await self._one_way(server, client)
                tasks.cancel_scope.cancel()

    async def _one_way(self, source: SocketStream, target: SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while self.open:
                await target.send(await source.receive())


async def test_a_paid_picture_is_kept_while_the_store_is_away_and_brought_there_when_it_is_back(s3: ObjectStore, url: str, tmp_path: Path) -> None:
    road = Road(s3.port)

    async def draw_and_close(request: ImageRequest, context: Context) -> Generated:
        road.open = False
        return draw(request)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, road.carry)
        access = {**s3.access, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"}
        environment = {**access, "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_STORE_URL": url}
        async with studio_with({"easel": Easel(work=draw_and_close)}, environment) as studio:
            job = await studio.generate(ADMIN, ImageRequest(prompt="a cat"))
            image = job.images[0]
            assert (job.state, image.store_url) == (JobState.SUCCEEDED, folder_url(tmp_path / "data" / "rescued"))
            assert f"saved to {image.store_url} instead" in job.adjustments[-1].message
            data = await studio.images.read(image)
            road.open = True
            assert (await studio.upkeep.verify(ADMIN)).ok
            home = await studio.images.get(ADMIN, image.id)
            assert home == replace(image, store_url=url)
            assert await studio.images.read(home) == data
        assert [path for path in (tmp_path / "data" / "rescued").rglob("*") if path.is_file()] == []
        tasks.cancel_scope.cancel()


async def test_what_is_missing_or_damaged_there_is_named(studio: Studio, store: Store) -> None:
    images = [(await studio.generate(ADMIN, ImageRequest(prompt=f"cat {number}"))).images[0] for number in range(3)]
    await store.delete(images[0].key)
    await store.put(images[1].key, b"holes")
    found = await studio.upkeep.verify(ADMIN)
    assert (found.images, found.missing, found.damaged, found.unrecorded) == (3, (images[0].id,), (images[1].id,), ())


async def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be opened as a place for pictures"):
        open_store("s3://bucket/prefix", {"AWS_ACCESS_KEY_ID": "half"})


async def test_a_store_that_is_away_says_so_soon(s3: ObjectStore, url: str) -> None:
    away = open_store(url, {**s3.access, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}"})
    with anyio.fail_after(10), pytest.raises(StorageError, match=f"cannot use the pictures at {url}: "):
        await away.ready()
