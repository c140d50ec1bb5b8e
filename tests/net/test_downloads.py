from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import RedirectResponse, Response

from mcp_image_server.errors import BadReplyError, ProviderError, RateLimitedError, UnavailableError
from mcp_image_server.net import Timeouts
from mcp_image_server.net.client import certificates

from ..fakes.server import Broken, Hanging, Scripted, closed_port, picture
from .acme import net_to
from .internet import Internet

pytestmark = pytest.mark.anyio


def png() -> Response:
    return Response(picture(8, 8), media_type="image/png")


async def downloaded(url: str, *, base: str = "http://127.0.0.1:1/v1", **limits: Any) -> bytes:
    net = net_to(base)
    try:
        return await net.download(url, **limits)
    finally:
        await net.aclose()


async def test_a_picture_is_fetched_from_a_checked_address_under_its_name_and_without_the_key(internet: Internet) -> None:
    with Scripted(png()) as cdn:
        # The second answer is the one that a name server of bad intent would give to whoever asks again.
        internet.names["cdn.example"] = [["8.8.8.8"], ["127.0.0.1"]]
        internet.hosts["8.8.8.8"] = cdn.port
        assert await downloaded("http://cdn.example:8080/a.png?signature=s") == picture(8, 8)
    (seen,) = cdn.seen
    assert (seen.path, seen.query, seen.headers["host"]) == ("/a.png", {"signature": "s"}, "cdn.example:8080")
    assert "x-key" not in seen.headers
    assert (internet.asked, internet.connected) == (["cdn.example"], ["8.8.8.8"])


async def test_the_next_address_is_tried_when_one_does_not_answer(internet: Internet) -> None:
    with Scripted(png()) as cdn:
        internet.names["cdn.example"] = [["8.8.4.4", "8.8.8.8"]]
        internet.hosts |= {"8.8.4.4": closed_port(), "8.8.8.8": cdn.port}
        assert await downloaded("http://cdn.example/a.png") == picture(8, 8)
    assert internet.connected == ["8.8.4.4", "8.8.8.8"]


@contextmanager
def trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "certificate.pem"
    file.write_bytes(secret + pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    certificates.cache_clear()
    yield str(file)
    certificates.cache_clear()


async def test_the_certificate_is_checked_against_the_name_although_an_address_is_called(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trusted_certificate(tmp_path, monkeypatch, "cdn.example") as certificate, Scripted(png(), certificate=certificate) as cdn:
        internet.names |= {"cdn.example": [["8.8.8.8"]], "other.example": [["8.8.8.8"]]}
        internet.hosts["8.8.8.8"] = cdn.port
        assert await downloaded("https://cdn.example/a.png") == picture(8, 8)
        with pytest.raises(UnavailableError, match="certificate is not trusted") as caught:
            await downloaded("https://other.example/a.png")
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    assert len(internet.connected) == 2
    assert len(cdn.seen) == 1


INNER = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
)


@pytest.mark.parametrize("link", [*INNER, "http://169.254.169.254/latest/meta-data/", "http://inner.example/", "http://mixed.example/"])
async def test_a_link_to_an_inner_address_is_not_followed(internet: Internet, link: str) -> None:
    internet.names |= {"localhost": [["127.0.0.1"]], "inner.example": [["10.0.0.5"]], "mixed.example": [["8.8.8.8", "10.0.0.5"]]}
    with Scripted(png()) as inner, pytest.raises(BadReplyError, match=r"is not followed.*public internet.*may have been billed") as caught:
        await downloaded(link.format(port=inner.port), base="https://api.acme.example/v1")
    assert (inner.seen, internet.connected) == ([], [])
    assert (caught.value.may_have_been_billed, caught.value.retryable) == (True, False)


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd",
        "ftp://cdn.example/a.png",
        "http://user:pass@cdn.example/",
        "//cdn.example/a.png",
        "",
        "http://8.8.8.8:99999/",
        "http://a:b:c/",
    ],
)
async def test_a_link_of_another_kind_is_not_followed(internet: Internet, link: str) -> None:
    internet.names["cdn.example"] = [["8.8.8.8"]]
    with pytest.raises(BadReplyError, match=r"not followed|no address"):
        await downloaded(link)
    assert internet.connected == []


async def test_the_operators_own_server_may_send_a_link_to_itself_and_the_key_stays_home(internet: Internet) -> None:
    with Scripted(png()) as server, Scripted(png()) as other:
        assert await downloaded(f"{server.url}/files/a.png", base=f"{server.url}/v1") == picture(8, 8)
        with pytest.raises(BadReplyError, match="not followed"):
            await downloaded(f"{other.url}/a.png", base=f"{server.url}/v1")
    assert "x-key" not in server.seen[0].headers
    assert other.seen == []


async def test_each_redirect_is_checked_again(internet: Internet) -> None:
    with Scripted(RedirectResponse("http://two.example/b.png"), RedirectResponse("/c.png"), png()) as cdn:
        internet.names |= {"one.example": [["8.8.8.8"]], "two.example": [["8.8.4.4"]]}
        internet.hosts |= {"8.8.8.8": cdn.port, "8.8.4.4": cdn.port}
        assert await downloaded("http://one.example/a.png") == picture(8, 8)
    assert [(seen.headers["host"], seen.path) for seen in cdn.seen] == [
        ("one.example", "/a.png"),
        ("two.example", "/b.png"),
        ("two.example", "/c.png"),
    ]
    assert internet.asked == ["one.example", "two.example", "two.example"]


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/secret", "http://2130706433:{port}/", "file:///etc/passwd", "http://inner.example/"])
async def test_a_redirect_to_an_inner_address_is_not_followed(internet: Internet, target: str) -> None:
    with Scripted(png()) as inner, Scripted(RedirectResponse(target.format(port=inner.port))) as cdn:
        internet.names |= {"cdn.example": [["8.8.8.8"]], "inner.example": [["192.168.0.1"]]}
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(BadReplyError, match="not followed"):
            await downloaded("http://cdn.example/a.png")
    assert inner.seen == []


async def test_redirects_without_end_are_left(internet: Internet) -> None:
    with Scripted(RedirectResponse("/again")) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(BadReplyError, match="redirected more than 5 times"):
            await downloaded("http://cdn.example/a.png")
    assert len(cdn.seen) == 6


async def test_a_download_larger_than_the_limit_is_left_while_it_arrives(internet: Internet) -> None:
    with Scripted(Response(gzip.compress(bytes(2**22)), headers={"content-encoding": "gzip"})) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(BadReplyError, match="more than 1000 bytes") as caught:
            await downloaded("http://cdn.example/a.png", max_bytes=1000)
    assert caught.value.may_have_been_billed


@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [(403, BadReplyError, 1), (404, BadReplyError, 1), (410, BadReplyError, 1), (429, RateLimitedError, 9), (503, UnavailableError, 9)],
)
async def test_a_link_that_fails_is_not_the_keys_fault(internet: Internet, status: int, kind: type[ProviderError], calls: int) -> None:
    with Scripted(Response("no", status)) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(kind, match=str(status)) as caught:
            await downloaded("http://cdn.example/a.png")
    assert (caught.value.may_have_been_billed, len(cdn.seen)) == (True, calls)


async def test_a_cut_download_is_fetched_again(internet: Internet) -> None:
    with Scripted(Broken(b"half"), png()) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        assert await downloaded("http://cdn.example/a.png") == picture(8, 8)


async def test_a_picture_is_not_lost_when_its_place_cannot_serve_it_for_a_minute(internet: Internet) -> None:
    """A call for work is tried three times within seconds; what has been drawn is worth more."""
    with Scripted(*[Response("overloaded", 503)] * 7, png()) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        assert await downloaded("http://cdn.example/a.png") == picture(8, 8)


async def test_one_picture_of_several_that_cannot_be_had_does_not_lose_the_others(internet: Internet) -> None:
    links = [f"http://cdn.example/{name}.png" for name in "abc"]
    with Scripted(png(), Response("gone", 410), png()) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        net = net_to("http://127.0.0.1:1")
        assert await net.download_all(links) == [picture(8, 8), b"", picture(8, 8)]
    with Scripted(Response("gone", 410)) as cdn:
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(BadReplyError, match="answered 410"):
            await net.download_all(links)
        assert await net.download_all([]) == []
    await net.aclose()


async def test_a_download_that_never_ends_is_left(internet: Internet) -> None:
    with Scripted(Hanging()) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        net = net_to("http://127.0.0.1:1", timeouts=Timeouts(download=0.05))
        with pytest.raises(UnavailableError, match=r"did not arrive within 0\.05 seconds"):
            await net.download("http://cdn.example/a.png")
        await net.aclose()


async def test_a_name_nobody_knows_is_unavailable(internet: Internet) -> None:
    with pytest.raises(UnavailableError, match=r"host gone\.example cannot be found"):
        await downloaded("http://gone.example/a.png")


async def test_a_proxy_is_asked_by_name_and_only_for_what_may_be_fetched(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(png()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        internet.names |= {"cdn.example": [["8.8.8.8"]], "inner.example": [["10.0.0.5"]]}
        assert await downloaded("http://cdn.example/a.png", base="https://api.acme.example/v1") == picture(8, 8)
        assert await downloaded("http://known-to-the-proxy.example/a.png", base="https://api.acme.example/v1") == picture(8, 8)
        for link in ("http://inner.example/", "http://10.0.0.5/", "http://2130706433/"):
            with pytest.raises(BadReplyError, match="not followed"):
                await downloaded(link, base="https://api.acme.example/v1")
    assert [seen.headers["host"] for seen in proxy.seen] == ["cdn.example", "known-to-the-proxy.example"]


async def test_a_picture_inside_its_link_needs_no_connection(internet: Internet) -> None:
    data = base64.b64encode(picture(8, 8)).decode()
    assert await downloaded(f"data:image/png;base64,{data}") == picture(8, 8)
    assert internet.connected == []


async def test_what_is_packed_more_than_once_is_not_unpacked(internet: Internet) -> None:
    packed = gzip.compress(gzip.compress(picture(8, 8)))
    with Scripted(Response(packed, media_type="image/png", headers={"content-encoding": "gzip, gzip"})) as cdn:
        internet.names["cdn.example"] = [["8.8.8.8"]]
        internet.hosts["8.8.8.8"] = cdn.port
        with pytest.raises(BadReplyError, match="packed more than once"):
            await downloaded("http://cdn.example/a.png")
