"""The example configuration for nginx, in the real nginx, in front of one server and of two that share everything."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mcp import Client, types

from tests.ports import free_port
from tests.surfaces.test_mcp_tasks import Speaker, ask_about, begin, facts

from .server_process import Served, until

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx" / "image-gen-mcp-server.conf"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.skipif(NGINX is None, reason="needs nginx"),
]

Mode = Literal["legacy", "auto"]
both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])

MAIN = """{user}
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format upstreams '$upstream_addr'; access_log {folder}/upstreams.log upstreams;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What people see."""

    url: str
    plain: str
    folder: Path

    def client(self) -> httpx2.Client:
        """One that trusts the site's certificate."""
        trust = ssl.create_default_context(cafile=self.folder / "site.pem")
        return httpx2.Client(base_url=self.url, verify=trust, trust_env=False, timeout=60)

    def servers(self) -> set[str]:
        """Which servers have answered something so far."""
        return set((self.folder / "upstreams.log").read_text().split())


def certificate(folder: Path) -> None:
    """One for localhost, that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).add_extension(names, critical=False)
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    (folder / "site.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "site.key").write_bytes(private)


@contextmanager
def site(folder: Path, *, servers: int = 1, **settings: str) -> Iterator[Site]:
    """The example, with other ports and names, in front of so many servers that share their folders."""
    certificate(folder)
    secure, plain = free_port(), free_port()
    made = Site(url=f"https://localhost:{secure}", plain=f"http://localhost:{plain}", folder=folder)
    ours = {"MCP_PUBLIC_BASE_URL": made.url, "MCP_TRUSTED_PROXIES": '["127.0.0.1"]', **settings}
    with ExitStack() as stack:
        running = [stack.enter_context(Served(folder / "server", **ours)) for _ in range(servers)]
        changes = {
            "server 127.0.0.1:8000;": " ".join(f"server {server.url.removeprefix('http://')};" for server in running),
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen [::]:80;": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
            "listen [::]:443 ssl;": "",
            "server_name images.example.com;": "server_name localhost;",
            "/etc/ssl/certs/images.example.com.pem": str(folder / "site.pem"),
            "/etc/ssl/private/images.example.com.key": str(folder / "site.key"),
        }
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "site.conf").write_text(text)
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""  # otherwise root's nginx works as somebody who may not write here
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        nginx = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            until(lambda: nginx.poll() is not None or listens(secure), "nginx listens")
            assert nginx.poll() is None, nginx.communicate()[1].decode()
            yield made
        finally:
            nginx.terminate()
            complaints = nginx.communicate()[1].decode()
        assert complaints == ""


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The official client trusts the site's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "site.pem"))


def first(result: types.CallToolResult) -> dict[str, Any]:
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    body = json.loads(block.text)
    assert isinstance(body, dict)
    return body


@both_eras
@pytest.mark.usefixtures("trusting")
async def test_one_server_behind_nginx_draws_tells_how_far_it_is_and_shows_the_picture(tmp_path: Path, mode: Mode) -> None:
    told: list[float] = []
    with site(tmp_path) as front:
        started = time.monotonic()

        async def listen(progress: float, total: float | None, message: str | None) -> None:
            told.append(time.monotonic() - started)

        with anyio.fail_after(180):
            async with Client(f"{front.url}/mcp", mode=mode) as client:
                wish = {"prompt": "a red fox under a full moon", "resolution": "1024x1024", "n": 2}
                body = first(await client.call_tool("generate_image", wish, progress_callback=listen))
                ended = time.monotonic() - started
                url = body["images"][0]["url"]
                assert url.startswith(f"{front.url}/images/")
                # A proxy that keeps back what it is told would hand over everything at the end.
                assert ended - told[0] > 0.05
                blob = {"prompt": "x", "resolution": "64x64", "options": {"blob": "A" * 8_000_000}}
                assert first(await client.call_tool("generate_image", blob))["ok"]
        with front.client() as browser:
            picture = browser.get(url)
            assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
            assert len(picture.content) == body["images"][0]["size_bytes"]
            assert picture.headers["strict-transport-security"] == "max-age=31536000"
            assert browser.get("/").status_code == 200
            assert browser.post("/mcp", content=b" " * (65 << 20)).status_code == 413
        moved = httpx2.get(f"{front.plain}/images/x?y=1", trust_env=False, timeout=60)
        assert (moved.status_code, moved.headers["location"]) == (301, "https://localhost/images/x?y=1")


def test_the_server_sees_through_nginx_who_guesses_tokens(tmp_path: Path) -> None:
    """And nobody becomes somebody else by saying so: nginx puts its word in place of the client's."""
    with site(tmp_path, MCP_AUTH_TOKEN="right") as front, front.client() as client:

        def knock(address: str) -> int:
            return client.get("/", headers={"authorization": "Bearer wrong", "x-forwarded-for": address}).status_code

        assert [knock(f"203.0.113.{number}") for number in range(12)][-1] == 429


SHARED: Mapping[str, str] = {"MCP_ENABLE_SESSIONS": "false", "MCP_PRICES": '{"sketch": 0.05}', "MCP_CONFIRM_ABOVE": "0.07"}


@both_eras
@pytest.mark.usefixtures("trusting")
async def test_two_servers_are_one_to_their_clients(tmp_path: Path, mode: Mode) -> None:
    told: list[float] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    with site(tmp_path, servers=2, **SHARED) as front, anyio.fail_after(180):
        async with Client(f"{front.url}/mcp", mode=mode) as client:
            drawn = first(await client.call_tool("generate_image", {"prompt": "a cat", "resolution": "64x64"}, progress_callback=listen))
            assert told
            for _ in range(4):
                assert [image["id"] for image in first(await client.call_tool("search_images", {}))["images"]] == [drawn["images"][0]["id"]]
            begun = first(await client.call_tool("generate_image", {"prompt": "a dog", "resolution": "64x64", "wait_seconds": 0}))
            for _ in range(2):
                waited = first(await client.call_tool("get_job", {"job_id": begun["job"]["id"], "wait_seconds": 60}))
                assert waited["job"]["state"] == "succeeded"
            read = await client.read_resource(drawn["images"][0]["uri"])
            assert len(read.contents) == 1
        with front.client() as browser:
            assert [browser.get(drawn["images"][0]["url"]).status_code for _ in range(2)] == [200, 200]
        assert len(front.servers()) == 2


@pytest.mark.usefixtures("trusting")
async def test_a_question_of_one_server_is_answered_to_the_other(tmp_path: Path) -> None:
    asked: list[str] = []

    async def person(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"yes": True})

    wish = {"prompt": "two cats", "resolution": "64x64", "n": 2}
    with site(tmp_path, servers=2, **SHARED) as front, anyio.fail_after(180):
        async with Client(f"{front.url}/mcp", mode="2026-07-28", elicitation_callback=person) as client:
            for number in range(2):
                assert first(await client.call_tool("generate_image", {**wish, "seed": number}))["ok"]
        log = (tmp_path / "upstreams.log").read_text().split()
        assert len(asked) == 2
        assert all(one != other for one, other in pairwise(log))
        # Without a session there is no way to ask, before 2026; then nothing is drawn that wanted a yes.
        async with Client(f"{front.url}/mcp", mode="legacy", elicitation_callback=person) as client:
            refused = first(await client.call_tool("generate_image", {**wish, "seed": 9}))
        assert (refused["ok"], len(asked)) == (False, 2)
        assert re.search("MCP_CONFIRM_ABOVE|confirm|ask", refused["error"]["message"])


@pytest.mark.usefixtures("trusting")
async def test_a_task_of_one_server_is_known_to_the_other(tmp_path: Path) -> None:
    with site(tmp_path, servers=2, **SHARED) as front, anyio.fail_after(180):
        async with Client(f"{front.url}/mcp", mode="2026-07-28", extensions=[Speaker()]) as client:
            started = await begin(client, prompt="a red fox under a full moon", resolution="512x512", wait_seconds=0)
            seen = [await ask_about(client, started.task_id) for _ in range(2)]
            assert {looked.status for looked in seen} <= {"working", "completed"}
            until_done = [looked async for looked in polled(client, started.task_id)]
            again = await ask_about(client, started.task_id)
        assert until_done[-1].status == again.status == "completed"
        assert facts(again)["result"]["content"][0]["type"] == "text"
        assert len(front.servers()) == 2


async def polled(client: Client, task_id: str) -> Any:
    while True:
        looked = await ask_about(client, task_id)
        yield looked
        if looked.status not in ("working", "input_required"):
            return
        await anyio.sleep(0.1)
