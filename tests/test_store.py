"""Bytes under keys: in a folder of this machine, and in obstore's memory, which stands for every object store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import ConfigError, NotFoundError, RequestError, StorageError
from mcp_image_server.store import Store, _Objects, folder_url, image_key, open_store, thumbnail_key

pytestmark = pytest.mark.anyio

STALE = "a.png#0123456789ab"
"""The name of a write that was cut off."""


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(folder_url(tmp_path / "pictures") if request.param == "folder" else "memory://")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


async def test_what_was_put_can_be_got(store: Store) -> None:
    await store.put("a.png", b"first")
    await store.put(".thumbnails/a.webp", b"small")
    assert await store.get("a.png") == b"first"
    assert await store.get(".thumbnails/a.webp") == b"small"
    assert await store.size("a.png") == 5


async def test_a_second_put_replaces_the_first(store: Store) -> None:
    await store.put("a.png", b"first")
    await store.put("a.png", b"second")
    assert await store.get("a.png") == b"second"
    assert await store.keys() == ["a.png"]


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"no file 'a\.png' in the store") as missing:
        await store.get("a.png")
    assert missing.value.code == "file_not_found"
    assert await store.size("a.png") is None
    await store.put("a.png", b"")
    with pytest.raises(NotFoundError):
        await store.get("a.png/b.png")


async def test_what_was_deleted_is_gone_and_deleting_again_does_nothing(store: Store) -> None:
    await store.put("a.png", b"first")
    await store.delete("a.png")
    await store.delete("a.png")
    assert await store.keys() == []


async def test_keys_begin_with_the_characters_asked_for(store: Store) -> None:
    for key in ("fox_1.png", "fox_2.webp", "dog_1.png", "deep/er/fox_3.png"):
        await store.put(key, b"x")
    assert await store.keys() == ["deep/er/fox_3.png", "dog_1.png", "fox_1.png", "fox_2.webp"]
    assert await store.keys("fox_") == ["fox_1.png", "fox_2.webp"]
    assert await store.keys("deep/e") == ["deep/er/fox_3.png"]
    assert await store.keys("nothing") == []


async def test_a_picture_is_found_without_its_extension(store: Store) -> None:
    for key in ("a_1.png", "a_1.webp", "a_10.png", "a_1.tar.gz", "b/a_1.png"):
        await store.put(key, b"x")
    assert await store.find("a_1") == ["a_1.png", "a_1.webp"]
    assert await store.find("b/a_1") == ["b/a_1.png"]
    assert await store.find("c/a_1") == []


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\0b", "a\\b", "C:a", "a\n", STALE])
async def test_a_key_that_could_lead_elsewhere_is_refused(store: Store, key: str) -> None:
    for attempt in (store.put(key, b"x"), store.get(key), store.size(key), store.delete(key)):
        with pytest.raises(RequestError, match="no key of a picture"):
            await attempt
    with pytest.raises(RequestError):
        store.path(key)


async def test_many_at_once_are_all_stored_whole(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(store.put, f"{number % 5}.png", bytes([number % 5]) * 100_000)
    assert await store.keys() == [f"{number}.png" for number in range(5)]
    for number in range(5):
        assert await store.get(f"{number}.png") == bytes([number]) * 100_000


async def test_a_store_that_can_be_written_is_ready(store: Store) -> None:
    await store.ready()
    assert await store.keys() == []
    assert await store.sweep(0) == []


async def test_an_object_store_is_told_what_a_picture_is() -> None:
    store = open_store("memory://")
    for key in ("a.webp", "a.jpg", "a.img"):
        await store.put(key, b"x")
    assert isinstance(store, _Objects)
    told = [(await obstore.get_async(store._store, key)).attributes["Content-Type"] for key in ("a.webp", "a.jpg", "a.img")]
    assert told == ["image/webp", "image/jpeg", "application/octet-stream"]


async def test_a_folder_is_made_with_the_first_picture_and_not_before(folder: Path) -> None:
    store = open_store(folder_url(folder))
    assert await store.keys() == []
    assert await store.find("a") == []
    assert await store.sweep(0) == []
    assert not folder.exists()
    await store.put("a.png", b"x")
    assert [path.name for path in folder.iterdir()] == ["a.png"]


async def test_a_file_has_a_path_only_in_a_folder(folder: Path) -> None:
    assert open_store(folder_url(folder)).path(".thumbnails/a.webp") == folder / ".thumbnails" / "a.webp"
    assert open_store("memory://").path("a.png") is None


@pytest.mark.parametrize("name", ["plain", "with space", "图片", "100% #1 & more?", "ünï+", "a;b=c"])
async def test_a_folder_of_any_name_survives_the_url(tmp_path: Path, name: str) -> None:
    url = folder_url(tmp_path / name)
    store = open_store(url)
    assert store.url == url
    await store.put("a.png", b"x")
    assert (tmp_path / name / "a.png").read_bytes() == b"x"


def test_a_relative_folder_becomes_absolute(tmp_path: Path) -> None:
    assert open_store(folder_url(Path("pictures"))).path("a.png") == tmp_path / "pictures" / "a.png"


@pytest.mark.parametrize("url", ["file:pictures", "nowhere://a", "pictures"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"Write file:///absolute/folder|write file:///absolute/folder"):
        open_store(url)


async def test_a_path_that_is_a_file_is_refused_in_words(folder: Path) -> None:
    folder.write_text("not a folder")
    store = open_store(folder_url(folder))
    for attempt in (store.put("a.png", b"x"), store.put("b/a.png", b"x"), store.ready()):
        with pytest.raises(StorageError, match=rf"cannot write pictures in {folder}: .*is a file\. .*MCP_IMAGE_SAVE_DIR"):
            await attempt
    assert folder.read_text() == "not a folder"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user whom permissions bind")
async def test_a_folder_that_cannot_be_written_is_refused_in_words(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    store = open_store(folder_url(folder))
    for attempt in (store.put("a.png", b"x"), store.ready()):
        with pytest.raises(StorageError, match="this user may not do that there"):
            await attempt


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_when_there_is_no_room_the_old_picture_stays_and_nothing_else(folder: Path) -> None:
    program = f"""
import anyio, resource, signal
from mcp_image_server.errors import StorageError
from mcp_image_server.store import open_store

async def main():
    store = open_store({folder_url(folder)!r})
    await store.put("a.png", b"old")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        await store.put("a.png", b"n" * 100_000)
    except StorageError as error:
        print(error.message)

anyio.run(main)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"cannot write pictures in {folder}: the file is larger than allowed there")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.png": b"old"}


def test_a_crash_in_the_middle_of_a_write_leaves_only_what_sweep_removes(folder: Path) -> None:
    program = f"""
import anyio, os
from mcp_image_server.store import open_store

os.fsync = lambda descriptor: os._exit(1)  # the machine stops before the bytes are on disk
anyio.run(open_store({folder_url(folder)!r}).put, "a.png", b"n" * 100_000)
"""
    folder.mkdir()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 1
    assert len(list(folder.iterdir())) == 1

    async def look() -> None:
        store = open_store(folder_url(folder))
        assert await store.keys() == []
        assert await store.find("a") == []
        assert await store.sweep(3600) == []
        swept = await store.sweep(-1)
        assert [name.partition("#")[0] for name in swept] == ["a.png"]
        assert list(folder.iterdir()) == []

    anyio.run(look)


async def test_sweeping_takes_what_is_stale_and_ours_and_nothing_else(folder: Path) -> None:
    store = open_store(folder_url(folder))
    await store.put("deep/a.png", b"x")
    names = [STALE, f"deep/{STALE}", "notes#1", "b.png#0123456789zz", "fresh.png#0123456789ab"]
    for name in names:
        (folder / name).write_bytes(b"x")
        if not name.startswith("fresh"):
            os.utime(folder / name, (time.time() - 100,) * 2)
    assert await store.sweep(60) == [STALE, f"deep/{STALE}"]
    assert await store.keys() == ["b.png#0123456789zz", "deep/a.png", "notes#1"]
    assert (folder / "fresh.png#0123456789ab").exists()


async def test_cancelling_never_leaves_half_a_picture(folder: Path) -> None:
    store = open_store(folder_url(folder))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.put("a.png", b"x" * 1_000_000)
    assert await store.size("a.png") in (None, 1_000_000)
    assert await store.sweep(0) == []


@pytest.mark.parametrize(
    ("prefix", "media_type", "key"),
    [
        (None, "image/png", "img_openai_0123-1.png"),
        ("", "image/jpeg", "img_openai_0123-1.jpg"),
        ("my fox/../x", "image/webp", "my_fox____x_openai_0123-1.webp"),
        ("狐狸_v2", "image/gif", "狐狸_v2_openai_0123-1.gif"),
        ("a.b-c", "image/avif", "a_b_c_openai_0123-1.avif"),
        ("x", "image/bmp", "x_openai_0123-1.bmp"),
        ("x", "image/tiff", "x_openai_0123-1.img"),
    ],
)
def test_a_picture_is_named_after_prefix_provider_and_id(prefix: str | None, media_type: str, key: str) -> None:
    assert image_key(prefix, "openai", "0123-1", media_type) == key


def test_a_thumbnail_is_named_after_its_picture() -> None:
    assert thumbnail_key("0123-1") == ".thumbnails/0123-1.webp"


@given(st.text(max_size=300))
def test_every_prefix_makes_a_name_that_fits_and_stays_inside(prefix: str) -> None:
    key = image_key(prefix, "openai", "0123-1", "image/png")
    assert len(key.encode()) <= 200
    assert key.endswith("_openai_0123-1.png")
    assert open_store("memory://").path(key) is None


def test_a_place_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(ConfigError, match="'nowhere://user:\\*\\*\\*@bucket' cannot be opened") as caught:
        open_store("nowhere://user:hunter2@bucket")
    assert "hunter2" not in str(caught.value)
