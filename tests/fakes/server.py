"""A real HTTP server for a test: any ASGI application on a free port, in a thread, with every request written down."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

import uvicorn
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: MutableMapping[str, str]
    headers: MutableMapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`with Server(app) as server:` serves at `server.url` until the block ends; `server.seen` holds the requests in order.

    Bodies are read before the application answers, so that what is seen is whole. The application reads them again as usual.
    """

    def __init__(self, app: ASGIApp, *, port: int = 0, certificate: str | None = None, websockets: bool = False) -> None:
        self.seen: list[Seen] = []
        self._app = app
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self._recorded,
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            ws="wsproto" if websockets else "none",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=0,
            ssl_certfile=certificate,  # with its key in the same file
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Not waited for: it looks up ten times a second, and a suite has hundreds of servers.
        self._server.should_exit = self._server.force_exit = True

    def run(self) -> None:
        """Serve in this thread until interrupted."""
        self._server.run([self._socket])

    async def _recorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = scope["type"] == "http"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode()))
        self.seen.append(Seen(method=scope.get("method", "WEBSOCKET"), path=scope["path"], query=query, headers=headers, body=body))
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if scope["type"] == "http" else []

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, receive_again, send)


class Scripted(Server):
    """Answers each request with the next of `replies`; the last one stays."""

    def __init__(self, *replies: ASGIApp, certificate: str | None = None, websockets: bool = False) -> None:
        self.replies = list(replies)
        super().__init__(self._next, certificate=certificate, websockets=websockets)

    async def _next(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        await reply(scope, receive, send)


class Hanging:
    """Says nothing until the caller leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


class Broken:
    """Promises a long body, sends this much of it and ends the connection."""

    def __init__(self, body: bytes, *, media_type: str = "application/json") -> None:
        self._body = body
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", self._media_type.encode()), (b"content-length", b"99999")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": True})


def closed_port() -> int:
    """A port of this machine at which nobody listens. One that was free a moment ago may be somebody else's by now; this one is no one's anywhere."""
    return 1


@lru_cache(maxsize=64)
def picture(width: int, height: int, format: str = "png") -> bytes:  # noqa: A002  # Pillow's own word
    """A small real picture of that size."""
    file = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, format=format.upper(), **_CHEAP.get(format, {}))
    return file.getvalue()


_CHEAP: dict[str, dict[str, int]] = {"png": {"compress_level": 1}, "webp": {"method": 0}}
