"""Every request over HTTP is given an id, counted, timed, traced and logged, whatever becomes of it."""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import AbstractContextManager
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ... import telemetry
from ...errors import RequestError
from .callers import caller_of
from .problems import refused

access = logging.getLogger("mcp_image_server.access")

ID_HEADER = "x-request-id"

_GOOD_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_QUIET = frozenset({"/health", "/ready", "/metrics"})
"""What machines ask every few seconds: counted, but neither traced nor logged unless everything is."""


class Watch:
    """An ASGI application in front of all others.

    A request's id is the one it brings in `X-Request-ID`, if that can be one, or a new one; it goes back in the same header, and stands in each line of the log
    and in the job that the request leads to.

    Args:
        log_requests: each is logged; otherwise only with MCP_DEBUG.
    """

    def __init__(self, app: ASGIApp, *, log_requests: bool) -> None:
        self._app = app
        self._level = logging.INFO if log_requests else logging.DEBUG

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"] if scope["method"] in _METHODS else "OTHER"
        given = headers.get(ID_HEADER, "").strip()
        request_id = given if _GOOD_ID.fullmatch(given) else secrets.token_hex(8)
        quiet, begun, status, sent = scope["path"] in _QUIET, monotonic(), 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[ID_HEADER] = request_id
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        with telemetry.about(request_id=request_id), _span(method, scope, headers, quiet=quiet) as span:
            try:
                await self._app(scope, receive, sending)
            finally:
                # Without an answer it was the client who went away, or a bug, which is answered 500 further out.
                route, seconds = _route(scope), monotonic() - begun
                span.rename(f"{method} {route}")
                span.note({"http.route": route, **({"http.response.status_code": status} if status else {})})
                if status >= 500:
                    span.fail(str(status))
                telemetry.HTTP_SECONDS.observe(seconds, route=route, method=method, status=str(status or "none"))
                telemetry.HTTP_SENT_BYTES.add(sent, route=route)
                level = logging.DEBUG if quiet else self._level
                # Not the query: it may hold what somebody looks for, or the proof of a link.
                access.log(level, "%s %s %d %d bytes %.0f ms", method, scope["path"], status, sent, seconds * 1000)


def naming(app: ASGIApp) -> ASGIApp:
    """The application behind the gate, with lines of the log that tell who is calling. What did not come through the gate is answered 401."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            caller = caller_of(HTTPConnection(scope))
        except RequestError as error:
            await refused(scope["path"], error)(scope, receive, send)
            return
        with telemetry.about(principal=caller.principal):
            await app(scope, receive, send)

    return named


def _span(method: str, scope: Scope, headers: Headers, *, quiet: bool) -> AbstractContextManager[telemetry.Span]:
    if quiet:
        return telemetry.no_span()
    attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
    return telemetry.span(method, kind="server", attributes=attributes, carrier=headers)


def _route(scope: Scope) -> str:
    """The template that the path fitted, such as `/images/{name:path}`: as few as there are routes."""
    return getattr(scope.get("route"), "path", "") or "none"
