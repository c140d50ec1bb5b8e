"""The web surface on a real port: MCP, pictures, the gallery, and the gate before them."""

from __future__ import annotations

import json
import random
import socket
from base64 import b64encode
from pathlib import Path

import pytest
from mcp import Client, types

from mcp_image_server.errors import ConfigError
from mcp_image_server.models import Drawn, Generated, ImageRequest, Size
from mcp_image_server.providers import Context
from mcp_image_server.settings import Settings, parse
from mcp_image_server.surfaces.serve import _listener, base_url, may_listen
from tests.easel import Easel, png_of
from tests.web import CALLER, web

pytestmark = pytest.mark.anyio


async def test_health_is_answered_to_anybody(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "t"}) as site:
        answer = await site.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy", "service": "mcp-image-generation-http"})


async def test_a_picture_is_served_as_nothing_but_a_picture(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        name = await site.draw()
        answer = await site.client.get(f"/images/{name}")
        assert answer.content == (tmp_path / "pictures" / name).read_bytes()
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        again = await site.client.get(f"/images/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        small = await site.client.get(f"/images/{name}?thumbnail=1")
        assert small.headers["content-type"] == "image/webp"
        assert small.headers["etag"] != answer.headers["etag"]


async def test_any_part_of_a_picture_can_be_had(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        name = await site.draw()
        whole = (tmp_path / "pictures" / name).read_bytes()
        part = await site.client.get(f"/images/{name}", headers={"range": "bytes=8-15"})
        assert (part.status_code, part.content) == (206, whole[8:16])
        assert part.headers["content-range"] == f"bytes 8-15/{len(whole)}"
        assert part.headers["x-content-type-options"] == "nosniff"
        beyond = await site.client.get(f"/images/{name}", headers={"range": "bytes=99999999-"})
        assert beyond.status_code == 416
        head = await site.client.head(f"/images/{name}")
        assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")


@pytest.mark.parametrize("name", ["nope.png", "..%2f..%2fetc%2fpasswd", "../data/history.sqlite3", ".thumbnails/x.webp", "%00.png", "img_easel_.png"])
async def test_nothing_else_is_served_from_the_folder(tmp_path: Path, name: str) -> None:
    async with web(tmp_path) as site:
        real = await site.draw()
        (tmp_path / "pictures" / "secret.txt").write_text("x")
        for wrong in (name, "secret.txt", real.upper(), f"{real}.png"):
            answer = await site.client.get(f"/images/{wrong}")
            assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_the_gallery_shows_the_latest_first_finds_by_words_and_escapes_them(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        assert "No pictures yet" in (await site.client.get("/")).text
        await site.draw("a red fox")
        await site.draw('<script>alert("x")</script>')
        page = await site.client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
        assert page.text.index("&lt;script&gt;") < page.text.index("a red fox")
        found = (await site.client.get("/", params={"q": "RED"})).text
        assert "a red fox" in found
        assert "alert" not in found
        assert "No picture's prompt holds" in (await site.client.get("/", params={"q": "<b>"})).text
        assert "&lt;b&gt;" in (await site.client.get("/", params={"q": "<b>"})).text


async def test_the_gallery_has_pages(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        for number in range(49):
            await site.draw(f"cat number {number};")
        first = (await site.client.get("/")).text
        older = first[first.index("/?before=") :].split('"')[0]
        second = (await site.client.get(older)).text
    assert "cat number 48;" in first
    assert "cat number 0;" not in first
    assert "cat number 0;" in second
    assert second.count("<li>") == 1


# ---------------------------------------------------------------------- the gate


@pytest.mark.parametrize("path", ["/mcp", "/mcp/v1/messages", "/", "/images/x.png", "/nowhere"])
async def test_without_the_token_nothing_opens(tmp_path: Path, path: str) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "s3cret"}) as site:
        for value in (None, b"Bearer wrong", b"Bearer s3cretX", b"Bearer \xc3\xa9", b"Basic ??"):
            headers = [] if value is None else [(b"authorization", value)]
            answer = await site.client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json() == {
                "jsonrpc": "2.0",
                "id": None,
                "error": {"code": -32001, "message": "Unauthorized: Missing or invalid authentication"},
            }


async def test_the_token_opens_also_as_a_browsers_password(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "s3cret"}) as site:
        basic = b64encode(b"me:s3cret").decode()
        assert (await site.client.get("/", headers={"authorization": "Bearer s3cret"})).status_code == 200
        assert (await site.client.get("/", headers={"authorization": f"Basic {basic}"})).status_code == 200
        asked = await site.client.get("/", headers={"accept": "text/html"})
        assert asked.headers["www-authenticate"] == 'Basic realm="image-gen-mcp-server"'


async def test_a_signed_link_opens_its_picture_and_nothing_else(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "s3cret"}) as site:
        mine, other = await site.draw("mine"), await site.draw("other")
        link = site.studio.images.link(await site.studio.images.of_file(CALLER, mine))
        assert link is not None
        assert link.startswith(f"{site.url}/images/{mine}?expires=")
        assert (await site.client.get(link)).status_code == 200
        assert (await site.client.get(link + "&thumbnail=1")).headers["content-type"] == "image/webp"
        assert (await site.client.get(link.replace(mine, other))).status_code == 401
        assert (await site.client.get(link.replace("expires=", "expires=9"))).status_code == 401
        assert (await site.client.get(link[:-4])).status_code == 401
        assert (await site.client.get(f"/images/{mine}")).status_code == 401
        assert (await site.client.post(link)).status_code == 401
        page = (await site.client.get("/", headers={"authorization": "Bearer s3cret"})).text
        assert page.count("signature=") == 4  # a link and a thumbnail for each picture


async def test_public_pictures_are_a_setting(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "s3cret", "MCP_PUBLIC_IMAGES": "true"}) as site:
        name = await site.draw()
        assert site.studio.images.link(await site.studio.images.of_file(CALLER, name)) == f"{site.url}/images/{name}"
        assert (await site.client.get(f"/images/{name}")).status_code == 200
        assert (await site.client.get("/")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example:8000"}, 421),
        ({"host": ""}, 421),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "art.example"}, 200),
        ({"host": "art.example:444"}, 200),
        ({"host": "cdn.example:99"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "http://[::1]:3000"}, 200),
        ({"origin": "https://art.example"}, 200),
        ({"origin": "https://friend.example"}, 200),
    ],
)
async def test_names_and_origins_that_are_not_ours_are_turned_away(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    environment = {
        "MCP_PUBLIC_BASE_URL": "https://art.example",
        "MCP_ALLOWED_HOSTS": '["cdn.example"]',
        "MCP_ALLOWED_ORIGINS": '["https://friend.example"]',
    }
    async with web(tmp_path, environment) as site:
        answer = await site.client.get("/", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"] == {"code": -32002, "message": f"Forbidden: Origin '{headers['origin']}' is not allowed"}


def test_listening_to_the_world_without_a_token_is_refused_unless_told() -> None:
    with pytest.raises(ConfigError, match="MCP_AUTH_TOKEN"):
        may_listen(parse(Settings, {"MCP_HOST": "0.0.0.0"}))
    may_listen(parse(Settings, {"MCP_HOST": "0.0.0.0", "MCP_AUTH_TOKEN": "t"}))
    may_listen(parse(Settings, {"MCP_HOST": "0.0.0.0", "MCP_ALLOW_UNAUTHENTICATED": "true"}))
    may_listen(parse(Settings, {"MCP_HOST": "::1"}))


def test_a_port_that_is_taken_is_named_with_what_would_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"port {port}.*set MCP_PORT"):
            _listener(parse(Settings, {"MCP_PORT": port}))


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000"), ("0.0.0.0", None)])
def test_pictures_have_the_address_the_server_listens_on(host: str, url: str | None) -> None:
    assert base_url(parse(Settings, {"MCP_HOST": host})) == url


# ---------------------------------------------------------------------- MCP over HTTP


@pytest.mark.parametrize("path", ["/mcp", "/mcp/v1/messages"])
async def test_both_paths_speak_mcp(tmp_path: Path, path: str) -> None:
    async with web(tmp_path) as site, Client(site.url + path) as client:
        result = await client.call_tool("generate_image", {"prompt": "a cat"})
        first = result.content[0]
        assert isinstance(first, types.TextContent)
        (image,) = json.loads(first.text)["images"]
        assert image["url"] == f"{site.url}/images/{image['file_name']}"
        assert (await site.client.get(image["url"])).status_code == 200


async def test_no_inline_picture_is_larger_than_clients_take(tmp_path: Path) -> None:
    async def noise(request: ImageRequest, context: Context) -> Generated:
        size = Size(width=600, height=400)
        return Generated(images=(Drawn(data=png_of(size, random.Random(1).randbytes(3 * size.pixels))),))

    async with web(tmp_path, easel=Easel(work=noise)) as site, Client(site.url + "/mcp") as client:
        name = await site.draw()
        image = await site.studio.images.of_file(CALLER, name)
        assert image.size_bytes > 525_000
        result = await client.call_tool("get_image_data", {"image_id": image.id})
        first = result.content[0]
        assert isinstance(first, types.TextContent)
        error = json.loads(first.text)["error"]
        assert error["code"] == "payload_too_large"
        assert f"{site.url}/images/{name}" in error["message"]


async def test_over_http_no_file_is_written_for_a_caller_elsewhere(tmp_path: Path) -> None:
    async with web(tmp_path) as site, Client(site.url + "/mcp") as client:
        result = await client.call_tool("generate_image", {"prompt": "a cat", "output_filename": "cat.png"})
        assert "path_not_allowed" in str(result.content)
    assert not (tmp_path / "outputs").exists()


async def test_an_upload_of_several_megabytes_is_read(tmp_path: Path) -> None:
    async with web(tmp_path) as site, Client(site.url + "/mcp") as client:
        result = await client.call_tool("generate_image", {"prompt": "x", "options": {"blob": "A" * 6_000_000}})
        assert not result.is_error
