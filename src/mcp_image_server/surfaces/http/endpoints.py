"""What can be called: one table from which both the routes and their description are made, so that neither can differ from the other."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ...errors import ImageServerError, NotFoundError, RequestError
from ...models import Caller
from . import bodies
from .callers import caller_of
from .problems import answer, at_the_door, refused

log = logging.getLogger(__name__)

MAX_KEY = 200
"""Characters of an idempotency key."""

IDEMPOTENCY = {"Idempotency-Key": "A second call with the same key is the first one: nothing is drawn or paid twice."}
"""The header of calls that may be repeated, for the description."""

Q = TypeVar("Q", bound=BaseModel | None)
B = TypeVar("B", bound=BaseModel | None)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Q, B]):
    """One call, its arguments read and checked."""

    request: Request
    query: Q
    body: B

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return caller_of(self.request)

    @property
    def idempotency_key(self) -> str | None:
        """What tells a repeated call from a new one.

        Raises:
            RequestError: it is too long.
        """
        key = self.request.headers.get("idempotency-key", "").strip()
        if len(key) > MAX_KEY:
            raise RequestError(
                f"The idempotency key has {len(key)} characters; at most {MAX_KEY} are taken.", details={"parameter": "Idempotency-Key"}
            )
        return key or None

    def named(self, name: str) -> str:
        """What stands in the path under that name."""
        return str(self.request.path_params[name])


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a call may answer."""

    words: str
    model: type[BaseModel] | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Name to meaning."""
    streams: bool = False
    """Comes as server-sent events as well, where the caller wishes."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    """With `{name}` or `{name:path}` for what varies."""
    tag: str
    summary: str
    words: str = ""
    answer: Callable[[Call[Any, Any]], Awaitable[Response]]
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What varies in the path, to its meaning."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers it looks at, to their meaning."""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    """The body, where it comes as a form."""
    many: tuple[str, ...] = ()
    """Fields of the form that may come several times."""
    raw: str = ""
    """Media type of a body that is read by the endpoint itself."""
    max_body: int | None = None
    """Bytes of the body; None: as many as the server takes."""
    replies: Mapping[int, Reply] = field(default_factory=dict)
    faults: tuple[int, ...] = ()
    """Statuses of the failures that are its own, besides those that any call may meet."""
    is_open: bool = False
    """Needs no token: the link itself is one."""


def routes_of(endpoints: Sequence[Endpoint], prefixes: Sequence[str], *, max_body: int) -> list[BaseRoute]:
    """The routes of the table, and for whatever else is asked for under these prefixes a refusal in their shape.

    Args:
        max_body: bytes that the server takes.
    """
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, []).append(endpoint)
    routes: list[BaseRoute] = [Route(path, _Resource(methods, max_body)) for path, methods in paths.items()]
    return [*routes, *(Route(f"{prefix}/{{rest:path}}", _Resource([], max_body)) for prefix in prefixes)]


class _Resource:
    """Everything that can be done at one path."""

    def __init__(self, endpoints: Sequence[Endpoint], max_body: int) -> None:
        self._max_body = max_body
        self._methods = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._methods:
            self._methods.setdefault("HEAD", self._methods["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ImageServerError as error:
            response = refused(request.url.path, error)
        except ClientDisconnect:
            return
        except HTTPException as error:  # of the gate, which watches what comes in
            response = answer(request.url.path, at_the_door(error.status_code, error.detail), error.headers)
        except Exception:
            log.exception("A call broke; this is a bug.")
            response = refused(request.url.path, ImageServerError("The server made a mistake; its log has the details."))
        response.headers.setdefault("cache-control", "no-store")  # it is for whoever asked
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if not self._methods:
            raise NotFoundError(f"There is nothing at {path}. What there is says /api/openapi.json.")
        endpoint = self._methods.get(request.method)
        if endpoint is None:
            allow = ", ".join(sorted({*self._methods, "OPTIONS"}))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers={"allow": allow})
            words = f"{request.method} is not for {path}; there is {allow}."
            return refused(path, RequestError(words, code="method_not_allowed"), headers={"allow": allow})
        query = bodies.read_query(request, endpoint.query) if endpoint.query is not None else None
        body: BaseModel | None = None
        most = self._max_body if endpoint.max_body is None else endpoint.max_body
        if endpoint.form is not None and bodies.is_form(request):
            body = await bodies.read_form(request, endpoint.form, most, many=endpoint.many)
        elif endpoint.body is not None:
            body = await bodies.read_json(request, endpoint.body, most)
        return await endpoint.answer(Call(request=request, query=query, body=body))


async def while_listening(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """What the work brings. It is broken off when whoever asked has gone.

    Raises:
        ClientDisconnect: so it was.
    """
    done: list[T] = []
    failed: list[Exception] = []

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        try:
            done.append(await work())
        except Exception as error:  # comes out below as it is, not in a group
            failed.append(error)
        tasks.cancel_scope.cancel()
    if failed:
        raise failed[0]
    if not done:
        raise ClientDisconnect
    return done[0]
