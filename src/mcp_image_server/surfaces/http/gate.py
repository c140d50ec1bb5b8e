"""Who may come in over HTTP: the host name, the web page's origin, the token and the size are looked at before anything else, on every path."""

from __future__ import annotations

import binascii
import logging
from base64 import b64decode
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import ImageServerError
from ...identity import Doorkeeper, Forbidden, Standing, TooMany, Unknown
from ...models import GUEST, Caller
from ...settings import LOCALHOST, Settings
from ...studio import Studio
from .callers import STATE
from .links import UPLOAD_LINKS
from .metadata import PATH as METADATA
from .metadata import metadata_url
from .problems import answer, at_the_door

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Answered to anybody, so that a load balancer can ask."""

BODY_PATIENCE = 60.0
"""Seconds to wait for the next piece of a request's body."""

_EXPOSED = (
    *("mcp-session-id", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy", "location", "link", "x-request-id", "x-job-id"),
    *("upload-offset", "upload-length", "upload-expires", "tus-resumable", "image-id"),
)
"""Headers of answers that pages of other origins may read."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """An ASGI application in front of another. It leaves the `Caller` in the request's state.

    * A request under a host name that is not ours is answered 421: it comes from a page that points its own name at us (DNS rebinding).
    * A request from a web page of another origin is answered 403.
    * Where the server has identities, a request without a good token is answered 401, and 429 where too many were tried. A picture's signed link
      needs none. Browsers may send a token as the password of HTTP Basic.
    * A body that is too large is answered 413, one that does not come 408, and more requests than the principal may make 429.
    """

    def __init__(self, app: ASGIApp, studio: Studio, doorkeeper: Doorkeeper) -> None:
        self._app = app
        self._studio = studio
        self._doorkeeper = doorkeeper
        settings = studio.settings
        self._hosts = frozenset(_hosts(settings))
        self._origins = frozenset(_origins(settings))
        self._takes_passwords = settings.auth_token is not None or settings.tokens_file is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # RFC 9110 5.5: white space around a value is no part of it; the parser leaves it there.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        headers = Headers(scope=scope)
        try:
            self._look(scope, headers)
            caller = await self._caller(scope, headers)
            standing = await self._doorkeeper.count(caller) if caller.principal != GUEST else None
            if standing is not None and not standing.allowed:
                raise _Refusal(429, f"More than {standing.limit} requests in a minute. Wait {standing.reset} s.", headers=_rates(standing))
        except _Refusal as no:
            await answer(scope["path"], at_the_door(no.status, no.words), no.headers)(scope, receive, send)
            return
        _let_in(scope, caller)
        answers = _with_headers(send, _rates(standing)) if standing is not None else send
        await self._app(scope, _Body(receive, self._studio.settings.max_body_bytes), answers)

    def _look(self, scope: Scope, headers: Headers) -> None:
        """Passes what may come at all, whoever sends it."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) > 1:
            raise _Refusal(400, "The request names several hosts.")
        if not self._is_ours(host) and scope["path"] not in OPEN_PATHS:  # where a load balancer may ask by a bare address
            raise _Refusal(421, f"The host {host!r} is not this server; the operator adds it to MCP_ALLOWED_HOSTS.")
        if not self._is_friend(origin):
            raise _Refusal(403, f"Forbidden: Origin '{origin}' is not allowed")
        if origin is None and scope["method"] not in _SAFE and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise _Refusal(403, "Forbidden: the request comes from a page of another site")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self._studio.settings.max_body_bytes:
            raise _Refusal(
                413, f"The request is larger than {self._studio.settings.max_body_bytes} bytes; the operator can raise MCP_MAX_BODY_BYTES."
            )

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        if scope["path"] in OPEN_PATHS or scope["path"] == METADATA or scope["path"].startswith(f"{METADATA}/"):
            return Caller(principal=GUEST, roles=frozenset())
        given = headers.getlist("authorization")
        token = _token(given[0]) if len(given) == 1 else None
        try:
            return await self._doorkeeper.admit(token, (scope.get("client") or ("", 0))[0])
        except Unknown as unknown:
            if self._may_follow(scope):
                return Caller(principal=GUEST, roles=frozenset())
            raise _Refusal(
                401, "Unauthorized: Missing or invalid authentication", headers=self._challenge(scope, headers, shown=unknown.shown)
            ) from None
        except Forbidden as forbidden:
            challenge = self._bearer(scope, error="insufficient_scope", scopes=forbidden.scopes)
            words = f"Forbidden: the token lacks a scope; needed are {' '.join(forbidden.scopes)}"
            raise _Refusal(403, words, headers={"www-authenticate": challenge}) from None
        except TooMany as many:
            words = f"Too many wrong tokens came from there. Wait {many.seconds} s."
            raise _Refusal(429, words, headers={"retry-after": str(many.seconds)}) from None
        except ImageServerError as error:
            log.error("Nobody can be let in by the issuer: %s", error.message)
            raise _Refusal(503, "The issuer of tokens cannot be reached just now.", headers={"retry-after": "10"}) from error

    def _may_follow(self, scope: Scope) -> bool:
        """A signed link is all that is needed, and that of an upload, whose own route looks at it."""
        if scope["path"].startswith(UPLOAD_LINKS):
            return True
        name = scope["path"].removeprefix("/images/")
        if scope["method"] not in ("GET", "HEAD") or name == scope["path"]:
            return False
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return self._studio.images.link_is_good(name, query.get("expires", [None])[0], query.get("signature", [None])[0])

    def _challenge(self, scope: Scope, headers: Headers, *, shown: bool) -> Mapping[str, str]:
        if self._takes_passwords and "text/html" in headers.get("accept", ""):
            return {"www-authenticate": 'Basic realm="image-gen-mcp-server"'}
        return {"www-authenticate": self._bearer(scope, error="invalid_token" if shown else "", scopes=self._studio.settings.oauth_scopes)}

    def _bearer(self, scope: Scope, *, error: str, scopes: Iterable[str]) -> str:
        """A challenge of RFC 6750; with an issuer it says where the client finds it (RFC 9728)."""
        where = metadata_url(self._studio, scope["path"])
        if where is None:
            return "Bearer"
        parts = {"error": error, "scope": " ".join(scopes), "resource_metadata": where}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items() if value)

    def _is_ours(self, host: str) -> bool:
        return "*" in self._hosts or host.lower() in self._hosts or f"{_without_port(host.lower())}:*" in self._hosts

    def _is_friend(self, origin: str | None) -> bool:
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:  # half an address of IPv6, and the like
            return False
        return parts.scheme in ("http", "https") and parts.hostname in LOCALHOST


def across_origins(gate: ASGIApp, settings: Settings) -> ASGIApp:
    """The gate, and before it the answers by which a browser lets pages of the allowed origins call us."""
    if not settings.allowed_origins:
        return gate
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        gate,
        allow_origins=[origin.rstrip("/") for origin in settings.allowed_origins],
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
        allow_headers=["*", "authorization"],
        expose_headers=_EXPOSED,
        max_age=300,
    )


class _Body:
    """What comes in, watched: not more than so many bytes, and not slower than we can wait."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        with anyio.move_on_after(BODY_PATIENCE) as scope:
            message = await self._receive()
        if scope.cancelled_caught:
            raise HTTPException(408, f"Nothing came for {BODY_PATIENCE:g} s.", headers={"connection": "close"})
        self._limit -= len(message.get("body", b""))
        if self._limit < 0:
            # The connection stays open, and what still comes is thrown away: closing it would take the answer from a client that is still sending.
            raise HTTPException(413, "The request is too large; the operator can raise MCP_MAX_BODY_BYTES.")
        self._whole = not message.get("more_body", False)
        return message


class _Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """The request goes no further."""

    def __init__(self, status: int, words: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers


def _let_in(scope: Scope, caller: Caller) -> None:
    """Leaves the caller where our routes look, and where the SDK does: it ties sessions and open questions to whoever began them."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    scope.setdefault("state", {})[STATE] = caller
    scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=caller.principal, scopes=[], subject=caller.principal))


def _rates(standing: Standing) -> Mapping[str, str]:
    """How many requests are left, in the fields of draft-ietf-httpapi-ratelimit-headers."""
    fields = {"ratelimit-policy": f'"requests";q={standing.limit};w=60', "ratelimit": f'"requests";r={standing.remaining};t={standing.reset}'}
    return fields if standing.allowed else {**fields, "retry-after": str(max(1, standing.reset))}


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sending


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
    return name if colon and port.isascii() and port.isdigit() else host


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
