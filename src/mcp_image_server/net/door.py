"""The door itself: calls to one service."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import anyio

from ..errors import BadReplyError, ProviderError, RateLimitedError, TimedOutError, UnavailableError
from .client import beginning, certificates, chunks, new_client, read, translated, url_of
from .downloads import MAX_PICTURE_BYTES, Downloads
from .events import MAX_EVENT_BYTES, Events
from .failures import failure_of, shortened
from .reply import Reply
from .service import Service
from .sockets import Messages, conversation
from .tries import Tries
from .watching import watched

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

MAX_REPLY_BYTES = 512 * 2**20
"""Largest reply that is read: ten of the largest pictures any service draws, as base64."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds to wait for each step. `read` is the longest silence, generous because some services draw for minutes without a word."""

    connect: float = 10
    write: float = 120
    read: float = 600
    download: float = 300
    """For one whole download."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often to ask whether a task is done: at once, then after `first` seconds, then ever slower up to `longest`."""

    first: float = 1.0
    factor: float = 1.5
    longest: float = 10.0
    deadline: float = inf
    """Seconds after which we stop asking; infinite where the job's own deadline is enough."""

    def within(self, polling: Mapping[str, float]) -> Pace:
        """The same pace within a caller's bounds, as `ImageRequest.polling` has them; without any, unchanged."""
        longest = polling.get("interval", self.longest)
        if polling.get("backoff"):
            longest = polling.get("max_interval", max(longest, 30.0))
        deadline = polling["attempts"] * longest if "attempts" in polling else self.deadline
        return replace(self, first=min(self.first, longest), longest=longest, deadline=deadline)


@dataclass(frozen=True, kw_only=True)
class File:
    """One file part of a multipart body."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


Parts = Sequence[tuple[str, str | File]]
"""A multipart body in order; a name may come more than once."""


_PIECE = 2**18


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines, each without its end; the last may have none."""
    begun: list[bytes] = []
    async for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield b"".join((*begun, end))
            begun = []
        begun.append(rest)
    if last := b"".join(begun):
        yield last


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A long body so that the loop does something else between two pieces: handed over in one, megabytes are copied at once."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call, so that it can be made again."""

    method: str
    url: httpx2.URL
    paid: bool
    """It may cost money, so it is not simply repeated."""
    arguments: Mapping[str, Any]
    """What else the client needs to build the request."""

    @property
    def has_body(self) -> bool:
        return any(self.arguments.get(name) is not None for name in ("json", "files", "content"))


class Net:
    """Everything an adapter does over the network, for one service. Made cheaply; connects at the first call; close it with `aclose`.

    Proxies are taken from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), certificates from the system or `SSL_CERT_FILE`.
    Every method raises ProviderError, or ConfigError when the settings cannot work.
    """

    def __init__(self, service: Service, *, timeouts: Timeouts | None = None, tries: Tries | None = None) -> None:
        self.service = service
        self._timeouts = timeouts or Timeouts()
        self._tries = tries or Tries()
        self._client: httpx2.AsyncClient | None = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        parts: Parts | None = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        read_timeout: float | None = None,
        max_bytes: int = MAX_REPLY_BYTES,
    ) -> Reply:
        """The service's answer.

        Args:
            path: below the base URL, or a whole URL from one of its replies, which must lead to a trusted host.
            json: body, one of three.
            parts: body as multipart.
            content: body as it is; give its Content-Type in `headers`.
            repeatable: the call costs nothing and may be made twice. Unset: a GET or HEAD is, anything else is not.
            read_timeout: seconds of silence to bear, when it differs from the usual.
            max_bytes: size at which the answer is refused.
        """
        call = await self._call(
            method,
            path,
            repeatable=repeatable,
            read_timeout=read_timeout,
            headers=headers,
            params=params,
            json=json,
            files=_files(parts),
            content=content,
        )

        async def once() -> Reply:
            async with self._open(call) as response:
                return self._reply(call, response, await read(self.service, response, max_bytes, paid=call.paid))

        return await self._tries.run(once, repeatable=not call.paid)

    async def look(self, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """The service's answer about work that it took earlier. To look is free; whatever comes of it, the work has been taken and may have been billed."""
        try:
            reply = await self.send("GET", path, params=params, headers=headers)
        except ProviderError as error:
            error.not_accepted, error.may_have_been_billed = False, True
            raise
        return replace(reply, paid=True)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        parts: Parts | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> AsyncIterator[Events]:
        """The service's answer as server-sent events, while the block lasts. A service that sends one answer instead is read like `send`."""
        accept = {"Accept": "text/event-stream, application/json", **(headers or {})}
        call = await self._call(method, path, headers=accept, params=params, json=json, files=_files(parts))
        async with AsyncExitStack() as stack:
            response = await self._tries.run(lambda: stack.enter_async_context(self._open(call)), repeatable=not call.paid)
            if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
                body, stream = b"", chunks(self.service, response, paid=call.paid)
            else:
                body, stream = await read(self.service, response, MAX_REPLY_BYTES, paid=call.paid), None
            events = Events(self._reply(call, response, body), stream, max_event_bytes=max_event_bytes)
            yield await stack.enter_async_context(aclosing(events))

    @asynccontextmanager
    async def lines(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that may be longer than memory, while the block lasts. Reading costs nothing."""
        call = await self._call("GET", path)
        async with self._open(call) as response, aclosing(chunks(self.service, response, paid=False)) as pieces:
            yield _lines(pieces)

    @asynccontextmanager
    async def listen(self, path: str, *, params: Mapping[str, str] | None = None) -> AsyncIterator[Messages]:
        """What the service says over a WebSocket, while the block lasts. Listening costs nothing; it is not taken up again when it breaks."""
        client, url = await self._connected(), self._address(path)
        with watched(self.service, "listen", "GET", url) as seen:
            async with conversation(self.service, client, url, params=params, timeout=self._timeout(self._timeouts.connect)) as messages:
                seen.status = 101
                yield messages

    async def poll(self, ask: Callable[[], Awaitable[T | None]], *, pace: Pace | None = None) -> T:
        """What `ask` returns once that is not None. Asked at once, then at that pace.

        A hiccup of the service while we wait does not lose work that is paid for: failures that pass are waited out until the deadline.

        Raises:
            TimedOutError: the deadline passed; it may have been billed.
        """
        pace = pace or Pace()
        ends = anyio.current_time() + pace.deadline
        wait = pace.first
        while True:
            pause, hiccup = wait, None
            try:
                answer = await ask()
            except (UnavailableError, RateLimitedError) as error:
                pause, hiccup = max(wait, error.retry_after or 0), error
            else:
                if answer is not None:
                    return answer
            if anyio.current_time() + pause > ends:
                words = f"{self.service.title} was not done after {pace.deadline:g} seconds"
                raise self.service.failure(TimedOutError, words, may_have_been_billed=True) from hiccup
            await anyio.sleep(pause)
            wait = min(wait * pace.factor, pace.longest)

    async def download(self, url: str, *, max_bytes: int = MAX_PICTURE_BYTES) -> bytes:
        """The bytes behind a link from one of the service's replies; fetched without the key.

        The link was written by a stranger: each step of it must lead to a public address, or to the very host and port of the base URL.
        A `data:` link is decoded.
        """
        if url.startswith("data:"):
            return await Reply(service=self.service).decode(url)
        downloads = Downloads(service=self.service, client=await self._connected(), timeout=self._timeout())

        async def once() -> bytes:
            try:
                with anyio.fail_after(self._timeouts.download):
                    return await downloads.fetch(url, max_bytes=max_bytes)
            except TimeoutError as error:
                words = f"The picture from {self.service.title} did not arrive within {self._timeouts.download:g} seconds"
                raise self.service.failure(UnavailableError, words, may_have_been_billed=True) from error

        # It is paid for, and its link holds for an hour and more: a minute without the place where it lies must not lose it.
        return await replace(self._tries, attempts=3 * self._tries.attempts).run(once, repeatable=True)

    async def download_all(self, urls: Iterable[str]) -> list[bytes]:
        """The bytes behind each of these links from one reply; otherwise as `all_of`."""
        return await self.all_of(self.download(url) for url in urls)

    async def all_of(self, pictures: Iterable[Awaitable[bytes]]) -> list[bytes]:
        """The bytes of each picture of one reply, all paid for: one that cannot be had leaves its place empty, and the others are not lost with it.

        Raises:
            ProviderError: none can be had; why the first cannot.
        """
        found: list[bytes] = []
        lost: list[ProviderError] = []
        for picture in pictures:
            try:
                found.append(await picture)
            except ProviderError as error:
                log.warning("One of several pictures from %s cannot be had: %s", self.service.title, error.message)
                found.append(b"")
                lost.append(error)
        if lost and not any(found):
            raise lost[0]
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            await anyio.to_thread.run_sync(certificates)
        if self._client is None:  # no other call was quicker
            self._client = new_client()
        return self._client

    async def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool | None = None,
        read_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> _Call:
        await self._connected()
        return _Call(
            method=method,
            url=self._address(path),
            paid=method not in ("GET", "HEAD") if repeatable is None else not repeatable,
            arguments={**content, "headers": {**self.service.headers, **(headers or {})}, "timeout": self._timeout(read_timeout)},
        )

    def _timeout(self, read_timeout: float | None = None) -> httpx2.Timeout:
        import httpx2

        seconds = self._timeouts
        return httpx2.Timeout(connect=seconds.connect, write=seconds.write, read=read_timeout or seconds.read, pool=seconds.connect)

    def _address(self, path: str) -> httpx2.URL:
        with translated(self.service, paid=False, where=self.service.base_url):
            base = url_of(self.service.base_url)
            if not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(path.partition("?")[0]))):
                # The name of a model would lead to another call than the one that draws.
                words = f"{shortened(path)!r} leads elsewhere at {self.service.title}; write the model as the service does"
                raise self.service.failure(ProviderError, words, not_accepted=True)
            if "://" not in path:
                return base.copy_with(path=f"{base.path.rstrip('/')}/{path.lstrip('/')}")
            url = url_of(path)
        trusted = url.host == base.host or any(url.host == host or url.host.endswith(f".{host}") for host in self.service.trusted_hosts)
        if not trusted or url.scheme not in ("https", base.scheme):
            words = f"{self.service.title} pointed to {url.scheme}://{url.host}, which must not see the key"
            raise self.service.failure(BadReplyError, words, may_have_been_billed=True)  # the picture was to be had there
        return url

    @asynccontextmanager
    async def _open(self, call: _Call) -> AsyncIterator[httpx2.Response]:
        """The head of a successful answer; its body is read inside."""
        client = await self._connected()
        with watched(self.service, "draw" if call.paid else "ask", call.method, call.url) as seen:
            with translated(self.service, paid=call.paid, where=call.url.host):
                # Pictures in a body are some megabytes, which are written as JSON and signed elsewhere than in the loop.
                request = await anyio.to_thread.run_sync(self._request, client, call) if call.has_body else self._request(client, call)
                response = await client.send(request, stream=True)
            seen.status = response.status_code
            try:
                if not response.is_success:
                    raise failure_of(self.service, response.status_code, dict(response.headers), await beginning(response), paid=call.paid)
                yield response
            finally:
                await response.aclose()

    def _request(self, client: httpx2.AsyncClient, call: _Call) -> httpx2.Request:
        """The call as it is sent."""
        request = client.build_request(call.method, call.url, **call.arguments)
        if self.service.sign is not None:
            request.headers.update(self.service.sign(request.method, str(request.url), request.read()))
        if call.arguments.get("json") is None or len(request.content) <= _PIECE:
            return request
        return client.build_request(
            call.method, request.url, content=_in_pieces(request.content), headers=request.headers, timeout=call.arguments["timeout"]
        )

    def _reply(self, call: _Call, response: httpx2.Response, body: bytes) -> Reply:
        return Reply(service=self.service, status=response.status_code, headers=dict(response.headers), body=body, paid=call.paid)


def _files(parts: Parts | None) -> list[tuple[str, tuple[str | None, str | bytes] | tuple[str, bytes, str]]] | None:
    if parts is None:
        return None
    return [(name, (part.name, part.data, part.media_type) if isinstance(part, File) else (None, part)) for name, part in parts]
