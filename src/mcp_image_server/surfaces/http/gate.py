"""Who may come in over HTTP: the host name, the web page's origin and the token are looked at before anything else, on every path."""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import b64decode
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...models import Caller
from ...settings import LOCALHOST, Settings
from ...studio import Studio
from .callers import STATE

OPEN_PATHS = frozenset({"/health"})
"""Answered to anybody, so that a load balancer can ask."""


class Gate:
    """An ASGI application in front of another.

    * A request under a host name that is not ours is answered 421: it comes from a page that points its own name at us (DNS rebinding).
    * A request from a web page of another origin is answered 403.
    * Where the server has a token, a request without it is answered 401. A picture's signed link needs none. Browsers may send it as the password of HTTP Basic.
    """

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self._app = app
        self._studio = studio
        settings = studio.settings
        self._hosts = frozenset(_hosts(settings))
        self._origins = frozenset(_origins(settings))
        self._token = settings.auth_token.get_secret_value().encode() if settings.auth_token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # RFC 9110 5.5: white space around a value is no part of it; the parser leaves it there.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            words = f"The host {headers.get('host', '')!r} is not this server; the operator adds it to MCP_ALLOWED_HOSTS."
            await _refuse(send, 421, -32002, words)
        elif not self._is_friend(headers.get("origin")):
            await _refuse(send, 403, -32002, f"Forbidden: Origin '{headers['origin']}' is not allowed")
        elif not self._may_enter(scope, headers):
            challenge = 'Basic realm="image-gen-mcp-server"' if "text/html" in headers.get("accept", "") else "Bearer"
            await _refuse(send, 401, -32001, "Unauthorized: Missing or invalid authentication", (b"www-authenticate", challenge.encode()))
        else:
            scope.setdefault("state", {})[STATE] = Caller()
            await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        return "*" in self._hosts or host.lower() in self._hosts or f"{_without_port(host.lower())}:*" in self._hosts

    def _is_friend(self, origin: str | None) -> bool:
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return True
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.hostname in LOCALHOST

    def _may_enter(self, scope: Scope, headers: Headers) -> bool:
        if self._token is None or scope["path"] in OPEN_PATHS or hmac.compare_digest(_token(headers.get("authorization", "")), self._token):
            return True
        name = unquote(scope["path"]).removeprefix("/images/")
        if scope["method"] not in ("GET", "HEAD") or name == scope["path"]:
            return False
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return self._studio.settings.public_images or self._studio.link_is_good(
            name, query.get("expires", [None])[0], query.get("signature", [None])[0]
        )


def _hosts(settings: Settings) -> Iterable[str]:
    for host in (*LOCALHOST, settings.host):
        yield f"[{host}]:*" if ":" in host else f"{host}:*"
    for host in settings.allowed_hosts:
        yield host.lower()
        yield host.lower() if host == "*" or ":" in host.rpartition("]")[2] else f"{host.lower()}:*"
    if settings.public_base_url:
        parts = urlsplit(settings.public_base_url)
        yield parts.netloc.lower()
        yield f"{parts.hostname}:*"


def _origins(settings: Settings) -> Iterable[str]:
    yield from (origin.lower().rstrip("/") for origin in settings.allowed_origins)
    if settings.public_base_url:
        parts = urlsplit(settings.public_base_url)
        yield f"{parts.scheme}://{parts.netloc}".lower()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _token(authorization: str) -> bytes:
    """The token in the header, as bytes, so that any characters can be compared."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


async def _refuse(send: Send, status: int, code: int, message: str, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
