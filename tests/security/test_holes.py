"""Holes that were found and closed: each test is the way in."""

from __future__ import annotations

import json
import logging
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from mcp_image_server.errors import LimitError, ProviderError, RequestError
from mcp_image_server.models import Caller, ImageRequest, Model
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Net, Service
from mcp_image_server.net.failures import quoted
from mcp_image_server.pictures import NotAPictureError, embed, read_input, read_labels
from mcp_image_server.pictures.containers import container_of
from mcp_image_server.redaction import redacted
from mcp_image_server.surfaces.http.bodies import Arguments, read_query
from mcp_image_server.surfaces.logs import Sentences
from mcp_image_server.transforming import Transformation, read_bytes, read_steps
from tests.conftest import studio_with
from tests.easel import Easel
from tests.pictures.made import encoded, scene
from tests.transports.server_process import on_a_port
from tests.web import token_of, tokens_in

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Site:
    """The server, with Alice, who has a token of the file, and the operator, who has the one for all."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.client = httpx2.Client(base_url=url, trust_env=False, timeout=60)

    def send(self, method: str, path: str, *, token: str | None = token_of("alice"), **more: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def rpc(self, method: str, name: str, params: dict[str, Any], *, token: str = token_of("alice")) -> str:
        """The text of the answer."""
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": name}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
        return self.send("POST", "/mcp", token=token, json=body, headers=headers).text

    def tool(self, name: str, *, token: str = token_of("alice"), **arguments: Any) -> Any:
        """The JSON that the tool answers."""
        text = self.rpc("tools/call", name, {"name": name, "arguments": arguments}, token=token)
        line = next(line for line in reversed(text.splitlines()) if "jsonrpc" in line)
        return json.loads(json.loads(line.removeprefix("data: "))["result"]["content"][0]["text"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("holes")
    settings = {"MCP_TOKENS_FILE": tokens_in(folder, alice={}, bob={}), "MCP_AUTH_TOKEN": "operators", "MCP_TOOLSET": "full"}
    with on_a_port(folder, **settings) as url:
        found = Site(url, folder)
        yield found
        found.client.close()


# ---------------------------------------------------------------------- at the door


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://]:80", "http://localhost\u2100".encode()])
def test_an_origin_that_is_no_address_is_refused_and_breaks_nothing(site: Site, origin: str | bytes) -> None:
    answer = site.client.get("/", headers=[(b"origin", origin.encode() if isinstance(origin, str) else origin)])
    assert answer.status_code == 403


def test_a_port_is_written_in_plain_digits(site: Site) -> None:
    assert site.client.get("/", headers=[(b"host", "localhost:²".encode("latin-1"))]).status_code == 421


@pytest.mark.parametrize(
    "path", ["/.well-known/oauth-protected-resourceXYZ", "/health/", "/ready/details", "/metrics", "/HEALTH", "//health", "/imag%2565s/x.png"]
)
def test_only_the_very_paths_that_are_open_to_everybody_are(site: Site, path: str) -> None:
    assert site.send("GET", path, token=None).status_code == 401


def test_pages_and_facts_are_kept_by_nobody_on_the_way(site: Site) -> None:
    for path in ("/", "/api/v1/images", "/api/v1/jobs", "/api/v1/nothing", "/v1/models"):
        assert site.send("GET", path).headers["cache-control"] == "no-store", path


# ---------------------------------------------------------------------- what is sent


def test_a_field_that_is_nested_without_end_is_text(site: Site) -> None:
    form = {"prompt": "x", "options[a]": "[" * 100_000}
    answer = site.send("POST", "/v1/images/edits", data=form, files={"image": ("a.png", b"none")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_image")


def test_the_last_of_all_days_has_an_end(site: Site) -> None:
    assert site.send("GET", "/api/v1/images?until=9999-12-31").status_code == 400


@pytest.mark.parametrize(
    "options", [{"n": 10}, {"model": "dearer"}, {"numImages": 4}, {"generationConfig": {"candidateCount": 8}}, {"batch_size": 8}]
)
def test_options_name_neither_the_model_nor_the_number_of_pictures(site: Site, options: dict[str, Any]) -> None:
    """The budget and the allowance are looked at by what stands in the call itself."""
    answer = site.tool("generate_image", prompt="x", size="64x64", options=options)
    assert answer["error"]["code"] == "invalid_parameters"
    with pytest.raises(RequestError):
        negotiate(ImageRequest(prompt="x", options=options), Model(provider="p", id="m"), styles={})


@pytest.mark.parametrize("name", ["../../secrets", "x/../../../files", "..", "a/./b", "%2e%2e/files", "..%2ffiles", "a\\..\\b"])
@pytest.mark.anyio
async def test_no_model_name_leads_to_another_call_of_a_service(name: str) -> None:
    net = Net(Service(provider="p", title="P", base_url="https://p.invalid/v1"))
    with pytest.raises(ProviderError) as caught:
        await net.send("POST", f"run/{name}", json={})
    assert "leads elsewhere" in caught.value.message
    await net.aclose()


def test_a_call_with_a_thousand_faults_is_answered_in_a_few_words(site: Site) -> None:
    faults: dict[str, Any] = {f"k{number}": 0 for number in range(20_000)}
    answers = [
        site.send("POST", "/api/v1/jobs", json=faults).text,
        site.send("POST", "/api/v1/batches", json={"items": [{"prompt": "x", **faults}]}).text,
        json.dumps(site.tool("generate_image", prompt="x", **faults)),
        json.dumps(site.tool("manage_images", image_ids=list(range(20_000)), action="delete")),
    ]
    assert [len(answer) < 5000 for answer in answers] == [True] * 4


def test_a_body_of_nothing_but_values_is_not_read(site: Site) -> None:
    answer = site.send("POST", "/api/v1/jobs", content=b'{"images":[' + b"0," * 1_000_000 + b"0]}", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["details"]) == (413, {"max_values": 1_000_000})


def test_a_call_is_no_larger_than_what_one_job_can_be(site: Site) -> None:
    template = {"prompt": "{a}" * 5000, "variables": {"a": {}}}
    assert site.send("PUT", "/api/v1/templates/large", json=template).status_code == 201
    asked: list[dict[str, Any]] = [
        site.tool("generate_image", prompt="", template="large", variables={"a": "x" * 100_000}),
        site.tool("generate_batch", prompts=["x"] * 1000, models=["sketch"] * 1000),
        site.tool("search_images", query="", tags=[str(number) for number in range(2000)]),
        site.tool("generate_image", prompt="x", fallback="sketch," * 10_000),
        site.tool("transform_image", images=[b64encode(PNG).decode()], watermark="W" * 20_000),
    ]
    assert [answer["error"]["code"] for answer in asked] == ["invalid_variables", "invalid_rows", *["invalid_arguments"] * 3]


def test_a_template_has_no_name_that_windows_takes_for_a_device(site: Site) -> None:
    assert site.send("PUT", "/api/v1/templates/con", json={"prompt": "x"}).status_code == 400
    assert site.send("PUT", "/api/v1/styles/Com1", json={"phrase": "x"}).status_code == 400


# ---------------------------------------------------------------------- what anybody writes is gone through once

PNG = encoded(scene(), "png")
OPENED = b'<rdf:Description rdf:about="" xmlns:gen="urn:image-gen-mcp-server:provenance:1"'
QUERY = "&".join(f"{number:x}" for number in range(10_000)).encode()


def _signed_over(xmp: bytes) -> bytes:
    container = container_of(PNG)
    assert container is not None
    return embed(container.with_xmp(PNG, xmp, {}, False), {"prompt": "x"})


ENDLESS: dict[str, Callable[[], object]] = {
    "comments before what is no drawing": lambda: read_input(b"<!---->" * 26),
    "spaces in a size": lambda: read_steps(Transformation(images=("x",), resize=" " * 20_000 + "y"), None),
    "spaces in a number of bytes": lambda: read_bytes("5" + " " * 30_000 + "!"),
    "tags that are not closed": lambda: quoted(Service(provider="", title="", base_url=""), b"<html" + b"<" * 100_000),
    "comments that are not closed": lambda: quoted(Service(provider="", title="", base_url=""), b"<html>" + b"<!--" * 25_000),
    "words with hyphens in the log": lambda: redacted("a-" * 5000),
    "packets that are not closed": lambda: read_labels(b"BM" + b"<x:xmpmeta " * 20_000),
    "labels without an end": lambda: read_labels(b"BM" + (b"{" + b'"ContentProducer"' * 110 + b"x" * 3900) * 500),
    "a label with much in it": lambda: read_labels(b'BM{"ContentProducer": ' + b"[" * 5900 + b"}"),
    "our own packet, not closed": lambda: _signed_over(OPENED * 3000),
    "fields of a query": lambda: read_query(Request({"type": "http", "query_string": QUERY, "headers": []}), Arguments),
}


@pytest.mark.parametrize("way", ENDLESS)
def test_nothing_that_anybody_writes_is_gone_through_again_and_again(way: str) -> None:
    begun = process_time()
    with suppress(RequestError, NotAPictureError):
        ENDLESS[way]()
    assert process_time() - begun < 0.5


# ---------------------------------------------------------------------- what is told


def test_where_files_lie_is_told_to_nobody_but_the_operator(site: Site) -> None:
    asked: dict[str, Any] = {"prompt": "x", "size": "64x64", "wait_seconds": 20}
    alices, operators = site.tool("generate_image", **asked), site.tool("generate_image", token="operators", **asked)
    assert Path(operators["images"][0]["local_path"]).is_file()
    assert alices["images"][0]["local_path"] is None
    image = alices["images"][0]
    answers = [
        alices,
        site.tool("search_images", query=""),
        site.tool("get_image_data", image_id=image["id"]),
        site.tool("get_job", job_id=alices["job"]["id"]),
        site.tool("generate_batch", prompts=["x"], wait_seconds=60),
        site.tool("transform_image", images=[image["id"]], rotate=90),
        site.tool("manage_images", image_ids=[image["id"]], action="favourite"),
        site.send("GET", "/").text,
        site.rpc("prompts/get", "image_generation_prompt", {"name": "image_generation_prompt", "arguments": {"description": "x"}}),
    ]
    (site.folder / "pictures" / image["file_name"]).unlink()
    answers += [site.tool("get_image_data", image_id=image["id"]), site.rpc("resources/read", image["uri"], {"uri": image["uri"]})]
    assert answers[-2]["error"]["code"] == "file_not_found"
    for answer in answers:
        assert str(site.folder) not in json.dumps(answer)


def test_nothing_about_a_foreign_picture_is_told_by_its_cache_marks(site: Site) -> None:
    image = site.tool("generate_image", prompt="x", size="64x64", wait_seconds=60)["images"][0]
    path = f"/images/{image['file_name']}"
    etag = site.send("GET", path).headers["etag"]
    assert site.send("GET", path, headers={"if-none-match": etag}).status_code == 304
    for method, headers in (("GET", {"if-none-match": etag}), ("HEAD", {}), ("GET", {"range": "bytes=0-9"}), ("GET", {"if-none-match": "*"})):
        foreign = site.send(method, path, token=token_of("bob"), headers=headers)
        nothing = site.send(method, f"{path}x", token=token_of("bob"), headers=headers)
        assert (foreign.status_code, foreign.content, sorted(foreign.headers)) == (404, nothing.content, sorted(nothing.headers))


def test_no_address_writes_a_line_of_its_own_into_the_log() -> None:
    record = logging.LogRecord("access", logging.INFO, "", 0, "GET %s 404", ("/x\n2026 INFO audit: let_in\r\x1b[2K\u2028",), None)
    line = Sentences().format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


@pytest.mark.anyio
async def test_who_cannot_be_given_a_link_is_not_given_a_path_instead(tmp_path: Path) -> None:
    settings = {"MCP_IMAGE_SAVE_DIR": str(tmp_path), "MCP_DATA_DIR": str(tmp_path)}
    async with studio_with({"easel": Easel()}, settings) as studio:
        for caller, told in ((Caller(principal="alice"), False), (Caller(), True)):
            job = await studio.generate(caller, ImageRequest(prompt="x"), wait_seconds=60)
            with pytest.raises(LimitError) as error:
                await studio.images.read_limited(job.images[0], 1)
            assert (str(tmp_path) in error.value.message) is told


# ---------------------------------------------------------------------- uploads


def test_an_upload_that_is_being_sent_keeps_its_place(site: Site) -> None:
    """Else who throws it away meanwhile has room for another, as often as there are connections."""
    upload = site.send("POST", "/api/v1/uploads", json={"length": 100_000}).json()
    path = upload["url"].removeprefix(site.url)
    host, port = site.url.removeprefix("http://").split(":")
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head + b"x" * 50_000)
        _until(lambda: site.send("GET", f"/api/v1/uploads/{upload['id']}").json()["offset"] > 0)
        refused = [site.send("DELETE", path, token=None), site.send("DELETE", f"/api/v1/uploads/{upload['id']}")]
        assert [answer.status_code for answer in refused] == [409, 409]
    _until(lambda: site.send("DELETE", f"/api/v1/uploads/{upload['id']}").status_code == 204)
    assert list((site.folder / "pictures" / ".uploads").glob(f"{upload['id']}*")) == []


def test_a_name_is_not_a_path_and_a_secret_is_in_no_answer(site: Site) -> None:
    headers = {"tus-resumable": "1.0.0", "upload-length": "10", "upload-metadata": f"filename {b64encode(b'../../etc/x').decode()}"}
    upload = site.send("POST", "/api/v1/uploads", headers=headers)
    key = upload.headers["location"].partition("key=")[2]
    assert key not in site.send("GET", f"/api/v1/uploads/{upload.json()['id']}").text
    assert key.encode() not in b"".join(path.read_bytes() for path in (site.folder / "data").rglob("*") if path.is_file())
    assert site.send("GET", f"/api/v1/uploads/{upload.json()['id']}", token=token_of("bob")).status_code == 404


def _until(holds: Any) -> None:
    """Returns when that is so."""
    waiting = threading.Event()
    for _ in range(3000):
        if holds():
            return
        waiting.wait(0.02)
    raise AssertionError("it never came to that")
