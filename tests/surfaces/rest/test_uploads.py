"""Uploads: a link that takes a picture, whole or in pieces."""

from __future__ import annotations

import random
import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_image_server.models import Size
from tests.easel import Easel, png_of
from tests.fakes.server import picture
from tests.web import Person

pytestmark = pytest.mark.anyio


PNG = picture(64, 48)
TUS = {"tus-resumable": "1.0.0"}


def pieces_of(person: Person) -> list[str]:
    """Of uploads on their way."""
    return [path.name for path in (person.site.studio.save_folder / ".uploads").glob("*")]


async def test_whoever_has_the_link_sends_a_picture_without_a_token(ann: Person, easel: Easel) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={"name": "my cat.png"})
    plain = ann.site.client
    answer = await plain.put(begun["url"], content=PNG)
    assert answer.status_code == 201
    stored = answer.json()
    assert (stored["provider"], stored["width"], stored["height"], stored["prompt"]) == ("upload", 64, 48, "my cat.png")
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 200))["image_id"] == stored["id"]
    assert (await ann("GET", f"/api/v1/images/{stored['id']}", 200))["size_bytes"] == stored["size_bytes"]
    assert (await plain.put(begun["url"], content=PNG)).json()["code"] == "upload_conflict"
    assert (await plain.put(begun["url"][:-1], content=PNG)).json()["code"] == "upload_not_found"
    assert (await plain.put(begun["url"].partition("?")[0], content=PNG)).json()["code"] == "upload_not_found"


async def test_what_is_no_picture_is_thrown_away_and_the_link_takes_another(ann: Person) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={})
    refused = await ann.site.client.put(begun["url"], content=b"MZ" * 500)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_image")
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 200))["offset"] == 0
    assert (await ann.site.client.put(begun["url"], content=PNG)).status_code == 201


async def test_a_large_picture_comes_in_pieces_and_goes_on_where_it_was_broken_off(ann: Person) -> None:
    large = png_of(Size(width=128, height=128), random.Random(1).randbytes(3 * 128 * 128))
    plain, half = ann.site.client, len(large) // 2
    name = b64encode(b"cat.png").decode()
    fields = {**TUS, "upload-length": str(len(large)), "upload-metadata": f"filename {name},filetype aW1hZ2UvcG5n"}
    begun = await ann("POST", "/api/v1/uploads", 201, headers=fields)
    link, pieces = begun["url"], {**TUS, "content-type": "application/offset+octet-stream"}

    async def breaking_off() -> AsyncIterator[bytes]:
        yield large[:half]
        with anyio.fail_after(60):
            while not pieces_of(ann):
                await anyio.sleep(0.01)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await plain.patch(link, content=breaking_off(), headers={**pieces, "upload-offset": "0"})
    with anyio.fail_after(60):
        while (standing := await plain.head(link, headers=TUS)).headers["upload-offset"] != str(half):
            await anyio.sleep(0.01)
    assert standing.headers["upload-length"] == str(len(large))
    assert standing.headers["cache-control"] == "no-store"
    with anyio.fail_after(60):
        while (astray := await plain.patch(link, content=b"x", headers={**pieces, "upload-offset": "3"})).json()["details"] == {}:
            await anyio.sleep(0.02)  # until it is known that the first sender has gone
    assert (astray.status_code, astray.json()["details"]) == (409, {"offset": half})
    done = await plain.patch(link, content=large[half:], headers={**pieces, "upload-offset": str(half)})
    assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(large)))
    assert (await ann("GET", f"/api/v1/images/{done.headers['image-id']}", 200))["prompt"] == "cat.png"
    assert (await plain.head(link, headers=TUS)).headers["upload-offset"] == str(len(large))
    assert pieces_of(ann) == []
    assert (await plain.patch(link, content=b"", headers={**pieces, "tus-resumable": "0.2"})).status_code == 412
    told = await ann("OPTIONS", "/api/v1/uploads", 204)
    assert told.headers["tus-extension"] == "creation,expiration,termination"


async def test_an_upload_ends_with_its_time_and_takes_no_more_than_was_said(ann: Person) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={"length": 10})
    assert (await ann.site.client.put(begun["url"], content=PNG)).json()["code"] == "payload_too_large"
    assert (await ann("POST", "/api/v1/uploads", 413, json={"length": 10**9}))["code"] == "payload_too_large"
    assert (await ann.site.client.delete(begun["url"])).status_code == 204
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 404))["code"] == "upload_not_found"
    tus = {**TUS, "content-type": "application/offset+octet-stream", "upload-offset": "0"}
    begun = await ann("POST", "/api/v1/uploads", 201, json={"length": 10})
    assert (await ann.site.client.patch(begun["url"], content=b"MZ", headers=tus)).status_code == 204
    assert [name.partition("-")[0] for name in pieces_of(ann)] == [begun["id"]]
    with closing(sqlite3.connect(Path(str(ann.site.studio.settings.data_dir)) / "history.sqlite3", isolation_level=None)) as record:
        record.execute("UPDATE uploads SET expires_at = 0")
    assert (await ann.site.client.put(begun["url"], content=PNG)).status_code == 404
    await ann("POST", "/api/v1/uploads", 201, json={})
    assert pieces_of(ann) == []
