"""The HTTP client: how one is made, how its bodies are read, and what its failures mean for us. Importing this does not load it."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from .. import __version__
from ..errors import BadReplyError, ConfigError, ProviderError, UnavailableError
from .failures import MAX_ERROR_BYTES, shortened
from .service import Service

if TYPE_CHECKING:
    import httpx2


async def load() -> None:
    """Loads it beside the event loop, which takes tenths of a second; at once where it has been loaded."""
    if "httpx2" not in sys.modules:
        await to_thread.run_sync(import_module, "httpx2")


@cache
def certificates() -> ssl.SSLContext:
    """What to trust, read once for all services: it takes tens of milliseconds, so the first time is beside the event loop."""
    import httpx2

    # Its line for each request holds the whole address, and links to pictures carry signatures.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2.create_ssl_context()


def new_client(**options: Any) -> httpx2.AsyncClient:
    """A client that says who we are; `options` are its own.

    Raises:
        ConfigError: the proxy settings in the environment cannot be used.
    """
    import httpx2

    try:
        return httpx2.AsyncClient(verify=certificates(), headers={"User-Agent": f"image-gen-mcp-server/{__version__}"}, **options)
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise ConfigError(f"The proxy settings cannot be used: {error}. Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.") from error


def url_of(text: str) -> httpx2.URL:
    """The address that the text stands for.

    Raises:
        InvalidURL: the client's own; `translated` takes it for a mistake in the settings.
    """
    import httpx2

    url = httpx2.URL(text)
    if (url.port or 0) > 65535:
        raise httpx2.InvalidURL("a port beyond 65535")
    return url


def port_of(url: httpx2.URL) -> int:
    """The port of an http or https address, also where it is not written."""
    return url.port or (443 if url.scheme == "https" else 80)


async def read(service: Service, response: httpx2.Response, max_bytes: int, *, paid: bool) -> bytes:
    """The whole body.

    Raises:
        BadReplyError: it is larger than that.
    """
    pieces, size = [], 0
    with translated(service, paid=paid, where=response.url.host):
        async for piece in _unpacked(response):
            size += len(piece)
            if size > max_bytes:
                words = f"{service.title} sent more than {max_bytes} bytes"
                raise service.failure(BadReplyError, words, status=response.status_code, may_have_been_billed=paid)
            pieces.append(piece)
    return b"".join(pieces)


async def chunks(service: Service, response: httpx2.Response, *, paid: bool) -> AsyncGenerator[bytes]:
    """The body as it comes."""
    with translated(service, paid=paid, where=response.url.host):
        async for chunk in _unpacked(response):
            yield chunk


async def beginning(response: httpx2.Response) -> bytes:
    """The beginning of an error's body; what is missing or broken of it does not hide the status."""
    import httpx2

    body = b""
    try:
        async for chunk in _unpacked(response):
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                break
    except httpx2.HTTPError:
        pass
    return body[:MAX_ERROR_BYTES]


def _unpacked(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body piece by piece. What is packed in what is packed may go on for hours without a byte to count, so it is not begun with."""
    import httpx2

    if "," in response.headers.get("content-encoding", ""):
        raise httpx2.DecodingError("it is packed more than once")
    return response.aiter_bytes()


@contextmanager
def translated(service: Service, *, paid: bool, where: str) -> Iterator[None]:
    """Failures of the client inside come out as ours."""
    try:
        yield
    except Exception as error:
        failure = connection_failure(service, error, paid=paid, where=where)
        if failure is None:
            raise
        # A header that cannot be sent is quoted by the client, and it may be the key.
        raise failure from (None if isinstance(failure, ConfigError) else error)


def connection_failure(service: Service, error: Exception, *, paid: bool, where: str) -> ProviderError | ConfigError | None:
    """Our error for one of the client's; None when it is none of those or tells of a mistake of ours."""
    if isinstance(error, _wrong_settings()):
        settings = " and ".join(name for name in (service.url_variable, service.key_variable) if name) or "its settings"
        return ConfigError(f"{service.title} cannot be called with these settings. Check {settings} for stray spaces, line ends and letters.")
    found = next((row for row in _broken_connections() if isinstance(error, row[0])), None)
    if found is None:
        return None
    _, kind, words, not_accepted = found
    reason = "its certificate is not trusted; SSL_CERT_FILE can name the one to trust" if is_untrusted(error) else str(error)
    text = f"{service.title} at {where} {words}" + (f" ({shortened(reason)})" if reason else "")
    return service.failure(kind, text, may_have_been_billed=paid and not not_accepted, not_accepted=not_accepted)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate that nobody vouches for lies behind the error. Trying again would not help."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


@cache
def _wrong_settings() -> tuple[type[Exception], ...]:
    """What is raised before anything is sent: an address or a header that cannot be."""
    import httpx2

    return (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeEncodeError)


@cache
def _broken_connections() -> tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str, bool], ...]:
    """The client's classes, ours, the words, and whether the call surely was not accepted. The first that fits counts."""
    import httpx2

    return (
        ((httpx2.ConnectTimeout,), UnavailableError, "did not answer the door in time", True),
        ((httpx2.ProxyError,), UnavailableError, "cannot be reached through the proxy", True),
        ((httpx2.PoolTimeout,), UnavailableError, "is busy with our earlier calls", True),
        ((httpx2.ConnectError,), UnavailableError, "cannot be reached", True),
        ((httpx2.TimeoutException,), UnavailableError, "was silent for too long", False),
        ((httpx2.DecodingError, httpx2.TooManyRedirects, httpx2.SSEError), BadReplyError, "sent a reply that cannot be read", False),
        ((httpx2.RequestError,), UnavailableError, "broke the connection", False),
    )
