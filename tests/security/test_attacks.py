"""Attacks on a server as it is run: each is refused, nothing is told that should not be, and the server goes on answering."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mcp_image_server.identity.doorkeeper import FAILURES
from tests.fakes.issuer import Issuer
from tests.transports.server_process import on_a_port
from tests.web import token_of, tokens_in

TOKEN = token_of("alice")

MCP = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call"}

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}

LIMIT = 200_000
"""Bytes of a request, so that what is too large is small enough to be tried."""


class Target:
    """The server, and one picture on it."""

    def __init__(self, url: str, issuer: Issuer) -> None:
        self.url, self.issuer = url, issuer
        self.client = httpx2.Client(base_url=url, trust_env=False, timeout=60)
        image = self.tool("generate_image", prompt="a cat", size="64x64")["images"][0]
        self.image, self.file, self.link = image["id"], image["file_name"], image["url"]

    def send(self, method: str, path: str, *, token: str | None = TOKEN, **more: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def tool(self, name: str, **arguments: Any) -> Any:
        """What the tool answers: its JSON, or the text of a refusal."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": META}}
        text = self.send("POST", "/mcp", json=body, headers={**MCP, "mcp-name": name}).text
        lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith(("data: {", "{"))]
        reply = json.loads(lines[-1])
        if "error" in reply:
            return {"error": {"code": str(reply["error"]["code"]), "message": reply["error"]["message"]}}
        words = reply["result"]["content"][0]["text"]
        return json.loads(words) if words.startswith("{") else {"error": {"code": "text", "message": words}}

    def raw(self, data: bytes, *, patience: float = 5) -> bytes:
        """What comes back over a bare connection, until it is closed or silent."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=patience) as connection:
            connection.sendall(data)
            found = b""
            try:
                while piece := connection.recv(65_536):
                    found += piece
                    if b"\r\n\r\n" in found and len(found) > 200:
                        break
            except (TimeoutError, ConnectionError):
                pass
            return found


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked")
    with Issuer() as issuer:
        settings = {
            "MCP_TOKENS_FILE": tokens_in(folder, alice={}),
            "MCP_OAUTH_ISSUER": issuer.url,
            "MCP_OAUTH_AUDIENCE": '["https://art.example/mcp"]',
            "MCP_MAX_BODY_BYTES": str(LIMIT),
            "MCP_TOOLSET": "full",
        }
        with on_a_port(folder, **settings) as url:
            found = Target(url, issuer)
            yield found
            found.client.close()


@pytest.fixture(autouse=True)
def _alive_afterwards(target: Target) -> Iterator[None]:
    yield
    assert target.send("GET", "/health", token=None).json()["status"] == "healthy"
    assert target.tool("get_image_data", image_id=target.image)["ok"]


# ---------------------------------------------------------------------- paths

PATHS = [
    "/images/..%2f..%2f..%2fetc%2fpasswd",
    "/images/%2e%2e/%2e%2e/etc/passwd",
    "/images/..%5c..%5cwindows%5cwin.ini",
    "/images//etc/passwd",
    "/images/%00.png",
    "/images/.thumbnails/x.webp",
    "/images/..;/data/history.sqlite3",
    "/images/%252e%252e%252fsecret",
    "/images/",
    "/static/../../../etc/passwd",
    "/data/tokens.toml",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_pictures(target: Target, path: str) -> None:
    answer = target.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] == b"404"
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "arguments",
    [
        {"images": ["/etc/passwd"]},
        {"images": ["file:///etc/passwd"]},
        {"images": ["../../../../etc/passwd"]},
        {"images": ["image://../../etc/passwd"]},
        {"images": ["image://%2e%2e%2fetc"]},
        {"images": ["\\\\evil.example\\share\\x.png"]},
    ],
    ids=lambda arguments: arguments["images"][0],
)
def test_no_input_is_read_from_the_servers_disk(target: Target, arguments: dict[str, Any]) -> None:
    answer = target.tool("edit_image", prompt="x", **arguments)
    assert answer["error"]["code"] in ("path_not_allowed", "image_not_found", "invalid_image", "invalid_arguments")
    assert "root:" not in json.dumps(answer)


@pytest.mark.parametrize("arguments", [{"output_filename": "../../x.png"}, {"output_filename": "/tmp/x.png"}, {"file_prefix": "../../x"}])
def test_no_output_is_written_where_the_caller_says(target: Target, arguments: dict[str, str]) -> None:
    answer = target.tool("generate_image", prompt="x", size="64x64", **arguments)
    if not answer.get("error"):
        assert "/" not in answer["images"][0]["file_name"]
        assert ".." not in answer["images"][0]["file_name"]


# ---------------------------------------------------------------------- other sites

SITES: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "a name that was pointed at us": (421, {"host": "evil.example"}),
    "that name with our port": (421, {"host": "evil.example:8000"}),
    "a name that ends like ours": (421, {"host": "localhost.evil.example"}),
    "a name with a user": (421, {"host": "localhost@evil.example"}),
    "another site": (403, {"origin": "https://evil.example"}),
    "a sandboxed page": (403, {"origin": "null"}),
    "a site with a name like ours": (403, {"origin": "http://localhost.evil.example"}),
    "a browser's extension": (403, {"origin": "chrome-extension://abcdef"}),
    "a page without origin": (403, {"sec-fetch-site": "cross-site"}),
    "a neighbour's page": (403, {"sec-fetch-site": "same-site"}),
}


@pytest.mark.parametrize("way", SITES)
def test_no_page_of_another_site_calls_us_in_its_readers_name(target: Target, way: str) -> None:
    status, headers = SITES[way]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate_image", "arguments": {"prompt": "x"}, "_meta": META}}
    answer = target.send(
        "POST", "/mcp", content=json.dumps(body), headers={**MCP, "mcp-name": "generate_image", "content-type": "text/plain", **headers}
    )
    assert answer.status_code == status


def test_a_body_of_another_type_is_no_call(target: Target) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = target.send("POST", "/mcp", content="{}", headers={**MCP, "mcp-name": "generate_image", "content-type": kind})
        assert answer.status_code in (400, 415), kind


def test_two_hosts_are_none(target: Target) -> None:
    answer = target.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in (b"400", b"421")


# ---------------------------------------------------------------------- tokens

TOKENS: Mapping[str, bytes | None] = {
    "none": None,
    "an empty one": b"Bearer",
    "a wrong one": b"Bearer nobody",
    "the beginning of a right one": f"Bearer {TOKEN[:-1]}".encode(),
    "a right one and more": f"Bearer {TOKEN}x".encode(),
    "bytes outside ASCII": "Bearer ünï".encode(),
    "bytes that are no UTF-8": b"Bearer \xff\xfe",
    "a long one": b"Bearer " + b"a" * 30_000,
    "half a password": b"Basic !!!",
    "another scheme": b"Digest " + TOKEN.encode(),
}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[str]:
    """A server of its own, where nobody has guessed yet."""
    with on_a_port(tmp_path, MCP_TOKENS_FILE=tokens_in(tmp_path, alice={})) as url:
        yield url


def test_no_wrong_token_opens_anything(fresh: str) -> None:
    with httpx2.Client(base_url=fresh, trust_env=False) as client:
        for way, value in list(TOKENS.items())[: FAILURES - 1]:
            answer = client.get("/", headers=[] if value is None else [(b"authorization", value)])
            assert answer.status_code == 401, way
        two = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"authorization", b"Bearer x")]
        assert client.get("/", headers=two).status_code == 401
        assert client.get(f"/?token={TOKEN}&access_token={TOKEN}").status_code == 401


def test_who_guesses_is_stopped_and_others_are_not(fresh: str) -> None:
    with httpx2.Client(base_url=fresh, trust_env=False) as client:
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        answers = [client.get("/", headers={"authorization": f"Bearer guess{number}"}) for number in range(FAILURES + 5)]
        assert [answer.status_code for answer in answers] == [401] * FAILURES + [429] * 5
        assert int(answers[-1].headers["retry-after"]) > 0
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


FORGED = ["alg none", "shared secret", "another audience", "expired", "another issuer", "another key", "a key of its own", "a path as key id"]


@pytest.mark.parametrize("way", FORGED)
def test_no_forged_jwt_opens_anything(target: Target, way: str) -> None:
    issuer, now = target.issuer, int(time.time())
    claims = {"iss": issuer.url, "aud": "https://art.example/mcp", "sub": "admin", "roles": ["admin"], "exp": now + 60}
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = {
        "alg none": lambda: jwt.encode(claims, "", algorithm="none", headers={"kid": "first"}),
        "shared secret": lambda: jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "first"}),
        "another audience": lambda: issuer.token(aud="https://other.example/mcp"),
        "expired": lambda: issuer.token(exp=now - 600),
        "another issuer": lambda: issuer.token(iss="https://evil.example"),
        "another key": lambda: jwt.encode(claims, mine, algorithm="RS256", headers={"kid": "first"}),
        "a key of its own": lambda: jwt.encode(claims, mine, algorithm="RS256", headers={"kid": "first", "jku": f"{issuer.url}/evil"}),
        "a path as key id": lambda: jwt.encode(claims, mine, algorithm="RS256", headers={"kid": "../../dev/null"}),
    }[way]()
    assert target.send("GET", "/", token=token).status_code in (401, 429)


def test_a_good_jwt_opens_its_bearers_things_alone(target: Target) -> None:
    token = target.issuer.token()
    body = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": f"image://{target.image}", "_meta": META}}
    headers = {**MCP, "mcp-method": "resources/read", "mcp-name": f"image://{target.image}"}
    answer = target.send("POST", "/mcp", token=token, json=body, headers=headers)
    assert answer.status_code in (400, 429)  # where others have guessed from here before, even it has to wait
    assert "blob" not in answer.text


# ---------------------------------------------------------------------- links


def test_no_link_opens_more_than_it_was_given_out_for(target: Target) -> None:
    path = target.link.removeprefix(target.url)
    name, query = path.split("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    later = str(int(expires) + 1)
    wrong = {
        "expired": f"{name}?expires=1&signature={signature}",
        "prolonged": f"{name}?expires={later}&signature={signature}",
        "without an end": f"{name}?signature={signature}",
        "without a proof": f"{name}?expires={expires}",
        "with half a proof": f"{name}?expires={expires}&signature={signature[:-2]}",
        "with another's proof": f"{name}?expires={expires}&signature={'A' * len(signature)}",
        "for another file": f"{name.replace('.png', '.jpg')}?{query}",
        "for the gallery": f"/?{query}",
        "for the service": f"/mcp?{query}",
        "with letters outside ASCII": f"{name}?expires={expires}&signature=%C3%A9",
        "with an endless number": f"{name}?expires={'9' * 4000}&signature={signature}",
    }
    assert target.send("GET", path, token=None).status_code == 200
    for way, link in wrong.items():
        assert target.send("GET", link, token=None).status_code == 401, way
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert target.send(method, path, token=None).status_code == 401, method


# ---------------------------------------------------------------------- too much


def test_a_large_body_is_not_read(target: Target) -> None:
    assert target.send("POST", "/mcp", content=b"x" * (LIMIT + 1), headers=MCP).status_code == 413


def test_a_large_body_without_a_length_is_cut_off(target: Target) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(LIMIT // 10_000 + 5):
            yield b" " * 10_000

    assert target.send("POST", "/mcp", content=pieces(), headers={**MCP, "content-type": "application/json"}).status_code in (400, 413)


@pytest.mark.parametrize("length", ["-1", "abc", "1e9", "9" * 40, "０"])
def test_a_length_that_is_none_is_refused(target: Target, length: str) -> None:
    request = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{{}}"
    assert target.raw(request.encode()).split(b" ", 2)[1] in (b"400", b"413")


JSON: Mapping[str, bytes] = {
    "deep lists": b"[" * 90_000,
    "deep objects": b'{"a":' * 30_000,
    "deep arguments": json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}).encode()[:-1]
    + b', "params": {"name": "generate_image", "arguments": '
    + b'{"options":' * 10_000
    + b"1"
    + b"}" * 10_000
    + b"}}",
    "no UTF-8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
    "an endless number": b'{"jsonrpc": "2.0", "id": ' + b"9" * 50_000 + b', "method": "ping"}',
    "no object": b'"tools/call"',
    "nothing": b"",
    "many at once": b"[" + b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"},' * 1000 + b"{}]",
}


@pytest.mark.parametrize("way", JSON)
def test_strange_json_is_refused_in_words(target: Target, way: str) -> None:
    answer = target.send("POST", "/mcp", content=JSON[way], headers={**MCP, "mcp-name": "generate_image", "content-type": "application/json"})
    assert answer.status_code in (400, 413, 422)
    assert "Traceback" not in answer.text


def test_what_is_packed_is_not_unpacked(target: Target) -> None:
    answer = target.send(
        "POST", "/mcp", content=b"\x1f\x8b" + b"x" * 100, headers={**MCP, "content-type": "application/json", "content-encoding": "gzip"}
    )
    assert answer.status_code in (400, 415)


@pytest.mark.parametrize(
    "arguments",
    [{"prompt": "x" * 150_000}, {"prompt": "x", "n": 10**9}, {"prompt": "x", "size": "99999x99999"}, {"prompt": "x", "seed": 2**70}, {"prompt": ""}],
    ids=["a long prompt", "many pictures", "a huge picture", "a huge seed", "no prompt"],
)
def test_too_much_is_refused_or_made_to_fit(target: Target, arguments: dict[str, Any]) -> None:
    answer = target.tool("generate_image", **arguments)
    assert answer.get("error") or all(image["width"] * image["height"] <= 2**24 for image in answer["images"])


def test_long_headers_and_addresses_are_refused(target: Target) -> None:
    for request in (
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 30_000 + b"\r\n",
    ):
        answer = target.raw(request)
        assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"401", b"414", b"431")


# ---------------------------------------------------------------------- too slow


@contextmanager
def connections(target: Target, beginnings: Sequence[bytes]) -> Iterator[None]:
    host, port = target.url.removeprefix("http://").split(":")
    found = []
    try:
        for beginning in beginnings:
            found.append(socket.create_connection((host, int(port)), timeout=60))
            found[-1].sendall(beginning)
        yield
    finally:
        for each in found:
            each.close()


def test_many_who_dawdle_do_not_keep_others_waiting(target: Target) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    body = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n{{".encode()
    with connections(target, [head] * 60 + [body] * 60):
        for _ in range(5):
            assert target.send("GET", "/health", token=None).status_code == 200


# ---------------------------------------------------------------------- smuggling


def test_no_line_end_gets_into_a_header(target: Target) -> None:
    for arguments in (
        {"prompt": "x\r\nSet-Cookie: a=b"},
        {"prompt": "x", "file_prefix": "a\r\nX-Evil: 1"},
        {"prompt": "x", "idempotency_key": "a\r\nX-Evil: 1"},
    ):
        answer = target.tool("generate_image", size="64x64", **arguments)
        if not answer.get("error"):
            picture = target.client.get(answer["images"][0]["url"])
            assert "set-cookie" not in picture.headers
            assert "x-evil" not in picture.headers
    for path in (f"/images/{target.file}%0d%0aX-Evil:1", "/?q=%0d%0aX-Evil:%201", "/%0d%0aLocation:%20http://evil.example"):
        answer = target.send("GET", path)
        assert "x-evil" not in answer.headers
        assert "location" not in answer.headers


SMUGGLED = [
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /secret HTTP/1.1\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"NONSENSE\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", SMUGGLED, ids=range(len(SMUGGLED)))
def test_no_second_request_hides_in_the_first(target: Target, request_bytes: bytes) -> None:
    answer = target.raw(request_bytes, patience=3)
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"405", b"505")
    assert answer.count(b"HTTP/1.1 200") == 0


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PUT", "DELETE"])
def test_methods_that_mean_nothing_do_nothing(target: Target, method: str) -> None:
    answer = target.raw(
        f"{method} /images/{target.file} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.split(b" ", 2)[1] in (b"400", b"404", b"405", b"501")


# ---------------------------------------------------------------------- pictures that are none

SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"

NONE: Mapping[str, str] = {
    "SVG with script": f"data:image/svg+xml;base64,{base64.b64encode(SCRIPT).decode()}",
    "SVG that says it is PNG": f"data:image/png;base64,{base64.b64encode(SCRIPT).decode()}",
    "a web page": f"data:image/png;base64,{base64.b64encode(b'<html><script>1</script>').decode()}",
    "nothing": "data:image/png;base64,",
    "no base64": "data:image/png;base64,!!!!",
    "the head of a PNG": f"data:image/png;base64,{base64.b64encode(bytes.fromhex('89504e470d0a1a0a')).decode()}",
}


@pytest.mark.parametrize("way", NONE)
def test_what_is_no_picture_does_not_get_in(target: Target, way: str) -> None:
    assert target.tool("transform_image", images=[NONE[way]], rotate=90)["error"]["code"] in ("invalid_image", "invalid_arguments")


def test_a_picture_is_served_as_nothing_else(target: Target) -> None:
    headers = target.send("GET", f"/images/{target.file}").headers
    assert headers["content-type"] == "image/png"
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


# ---------------------------------------------------------------------- addresses inside

INSIDE = [
    "http://127.0.0.1/x.png",
    "http://127.0.0.1:22/x.png",
    "http://localhost/x.png",
    "http://[::1]/x.png",
    "http://[::ffff:127.0.0.1]/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/",
    "http://2130706433/x.png",
    "http://0177.0.0.1/x.png",
    "http://0x7f.1/x.png",
    "http://0.0.0.0/x.png",
    "http://10.0.0.1/x.png",
    "http://192.168.1.1/x.png",
    "http://user@127.0.0.1/x.png",
    "ftp://127.0.0.1/x.png",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("url", INSIDE)
def test_the_server_fetches_nothing_from_inside(target: Target, url: str) -> None:
    answer = target.tool("edit_image", prompt="x", images=[url])
    assert answer["error"]["code"] in ("address_not_allowed", "invalid_arguments", "path_not_allowed", "invalid_image", "image_not_found")
