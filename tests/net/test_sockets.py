from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from starlette.types import ASGIApp, Receive, Scope, Send
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, TextMessage

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, UnavailableError
from mcp_image_server.net import Net

from ..fakes.server import Scripted, closed_port
from .acme import KEY, net_to

pytestmark = pytest.mark.anyio


def says(*messages: str | bytes, ends: bool = True) -> ASGIApp:
    """A conversation in which only the service speaks."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        for message in messages:
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
        if ends:
            await send({"type": "websocket.close", "code": 1000})
        else:
            await receive()

    return app


def refuses(status: int) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    return app


async def heard(server: Scripted) -> list[str | bytes]:
    net = net_to(server)
    try:
        with anyio.fail_after(60):
            async with net.listen("ws", params={"clientId": "c1"}) as messages:
                return [message async for message in messages]
    finally:
        await net.aclose()


async def test_texts_and_bytes_come_in_order_until_the_service_has_said_all() -> None:
    large = bytes(200_000)
    with Scripted(says("小猫", b"\x00\x01", large, "last"), websockets=True) as server:
        assert await heard(server) == ["小猫", b"\x00\x01", large, "last"]
    (seen,) = server.seen
    assert (seen.path, seen.query, seen.headers["x-key"]) == ("/v1/ws", {"clientId": "c1"}, KEY)


@pytest.mark.parametrize("last_words", [b"", b"\xff\xff\xff\xff nonsense"], ids=["nothing", "nonsense"])
async def test_a_broken_connection_ends_the_messages_quietly(last_words: bytes) -> None:
    async def handle(stream: SocketStream) -> None:
        connection = WSConnection(ConnectionType.SERVER)
        connection.receive_data(await stream.receive())
        list(connection.events())
        await stream.send(connection.send(AcceptConnection()) + connection.send(TextMessage(data="half")) + last_words)
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    net = net_to(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        with anyio.fail_after(60):
            async with net.listen("ws") as messages:
                assert [message async for message in messages] == ["half"]
        tasks.cancel_scope.cancel()
    await net.aclose()
    await listener.aclose()


async def test_a_message_that_is_too_large_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_image_server.net.sockets.MAX_MESSAGE_BYTES", 1000)
    with Scripted(says("small", bytes(5000), "never heard"), websockets=True) as server:
        assert await heard(server) == ["small"]


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is() -> None:
    class OddError(Exception):
        pass

    async def stumble(net: Net) -> None:
        async with net.listen("ws") as messages:
            async for _ in messages:
                raise OddError

    with Scripted(says("one", ends=False), websockets=True) as server:
        net = net_to(server)
        with pytest.raises(OddError):
            await stumble(net)
        await net.aclose()


async def test_whoever_is_cancelled_stops_listening() -> None:
    with Scripted(says("one", ends=False), websockets=True) as server:
        net = net_to(server)
        with anyio.fail_after(60):
            async with net.listen("ws") as messages:
                with anyio.move_on_after(0.05) as scope:
                    assert [message async for message in messages] == ["one"]
        assert scope.cancelled_caught
        await net.aclose()


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (404, ProviderError), (503, UnavailableError)])
async def test_a_service_that_does_not_want_to_talk_is_named_by_its_status(status: int, kind: type[Exception]) -> None:
    with Scripted(refuses(status), websockets=True) as server:
        net = net_to(server)
        with pytest.raises(kind, match=str(status)):
            async with net.listen("ws"):
                pass
        await net.aclose()


async def test_a_service_that_is_not_there_cannot_be_heard() -> None:
    net = net_to(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        async with net.listen("ws"):
            pass
    await net.aclose()


async def test_strangers_are_not_listened_to_with_the_key() -> None:
    net = net_to("http://127.0.0.1:1")
    with pytest.raises(BadReplyError, match="must not see the key"):
        async with net.listen("http://elsewhere.example/ws"):
            pass
    await net.aclose()


async def test_an_address_that_is_none_is_the_operators_to_fix() -> None:
    net = net_to("http://127.0.0.1:99999")
    with pytest.raises(ConfigError, match="ACME_BASE_URL"):
        async with net.listen("ws"):
            pass
    await net.aclose()
