from __future__ import annotations

import gzip
import inspect
import ssl

import httpx2
import pytest
from starlette.responses import JSONResponse, Response

from mcp_image_server.errors import BadReplyError, ConfigError, ProviderError, UnavailableError
from mcp_image_server.net import Timeouts
from mcp_image_server.net.client import certificates, connection_failure

from ..fakes.server import Broken, Hanging, Scripted, closed_port
from .acme import ACME, KEY, net_to

pytestmark = pytest.mark.anyio

EXCEPTIONS = [value for name in httpx2.__all__ if inspect.isclass(value := getattr(httpx2, name)) and issubclass(value, Exception)]
OURS_TO_FIX = (httpx2.StreamError, httpx2.CookieConflict, httpx2.HTTPStatusError, httpx2.HTTPError)
"""Raised when the client is used wrongly, or not at all by the way we use it."""


def made(kind: type[Exception]) -> Exception:
    needs = inspect.signature(kind).parameters
    if kind is httpx2.HTTPStatusError:
        request = httpx2.Request("GET", "http://a")
        return httpx2.HTTPStatusError("x", request=request, response=httpx2.Response(500, request=request))
    return kind("x") if any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in needs.values()) else kind()


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_no_exception_of_the_http_client_is_forgotten(kind: type[Exception]) -> None:
    failure = connection_failure(ACME, made(kind), paid=True, where="acme.example")
    if issubclass(kind, OURS_TO_FIX) and not issubclass(kind, httpx2.RequestError):
        assert failure is None
    else:
        assert isinstance(failure, ProviderError | ConfigError)
        if isinstance(failure, ProviderError):
            assert failure.may_have_been_billed is not failure.not_accepted


@pytest.mark.parametrize("kind", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError])
def test_what_never_arrived_was_not_accepted(kind: type[Exception]) -> None:
    failure = connection_failure(ACME, made(kind), paid=True, where="acme.example")
    assert isinstance(failure, UnavailableError)
    assert (failure.not_accepted, failure.may_have_been_billed) == (True, False)


async def test_a_closed_door_is_tried_again_and_named() -> None:
    port = closed_port()
    net = net_to(f"http://127.0.0.1:{port}")
    with pytest.raises(UnavailableError, match=r"Acme at 127\.0\.0\.1 cannot be reached") as caught:
        await net.send("POST", "x")
    await net.aclose()
    assert caught.value.not_accepted
    assert not caught.value.may_have_been_billed
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)


async def test_silence_ends_in_a_word_on_the_bill_and_in_no_second_try() -> None:
    with Scripted(Hanging()) as server:
        net = net_to(server, timeouts=Timeouts(read=0.1))
        with pytest.raises(UnavailableError, match=r"silent for too long.*may have been billed") as caught:
            await net.send("POST", "x")
        await net.aclose()
    assert (caught.value.may_have_been_billed, caught.value.not_accepted, len(server.seen)) == (True, False, 1)


async def test_a_cut_answer_is_never_taken_for_a_whole_one() -> None:
    with Scripted(Broken(b'{"id": "t1"}')) as server:
        net = net_to(server)
        with pytest.raises(UnavailableError, match="broke the connection") as caught:
            await net.send("POST", "x")
        assert (caught.value.may_have_been_billed, len(server.seen)) == (True, 1)
        with pytest.raises(UnavailableError) as caught:
            await net.send("GET", "x")
        await net.aclose()
    assert (caught.value.may_have_been_billed, len(server.seen)) == (False, 4)


@pytest.mark.parametrize("base", ["http://a:b:c", "gopher://acme.example", "http://127.0.0.1:99999"])
async def test_a_base_url_that_cannot_be_is_the_operators_to_fix(base: str) -> None:
    with pytest.raises(ConfigError, match="ACME_BASE_URL"):
        await net_to(base).send("GET", "x")


@pytest.mark.parametrize("key", [f"{KEY}\n", "schlüssel-0123456789"])
async def test_a_key_that_cannot_be_sent_is_the_operators_to_fix_and_stays_unsaid(key: str) -> None:
    with Scripted(JSONResponse({})) as server:
        net = net_to(server, headers={"X-Key": key}, secrets=(key,))
        with pytest.raises(ConfigError, match="ACME_API_KEY") as caught:
            await net.send("GET", "x")
        await net.aclose()
    assert key.strip() not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(JSONResponse({"by": "proxy"})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        net = net_to("http://api.acme.example/v1")
        reply = await net.send("GET", "models")
        await net.aclose()
    assert reply.json() == {"by": "proxy"}
    assert proxy.seen[0].headers["host"] == "api.acme.example"


async def test_a_proxy_that_cannot_be_used_is_the_operators_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy.example")
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        await net_to("http://127.0.0.1:1").send("GET", "models")


async def test_a_reply_larger_than_the_limit_is_refused_while_it_arrives() -> None:
    bomb = Response(gzip.compress(bytes(2**22)), headers={"content-encoding": "gzip"})
    with Scripted(bomb) as server:
        net = net_to(server)
        with pytest.raises(BadReplyError, match="more than 1048576 bytes") as caught:
            await net.send("POST", "x", max_bytes=2**20)
        await net.aclose()
    assert caught.value.may_have_been_billed


def test_certificates_are_read_once() -> None:
    assert certificates() is certificates()
    assert isinstance(certificates(), ssl.SSLContext)
