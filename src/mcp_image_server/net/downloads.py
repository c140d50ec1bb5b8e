"""Pictures behind links. A link was written by a stranger: each step of it is checked before it is followed, and none of them sees the key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from ..errors import BadReplyError, ProviderError, RateLimitedError, UnavailableError
from ..guard import ForbiddenAddressError, public_addresses
from ..settings import LOCALHOST
from .client import new_client, port_of, read, translated, url_of
from .service import Service
from .watching import watched

if TYPE_CHECKING:
    import httpx2

MAX_PICTURE_BYTES = 64 * 2**20
"""Largest picture that is downloaded."""

MAX_REDIRECTS = 5


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """The pictures of one service: each step of a link leads to a public address, or to the very host and port of the base URL."""

    service: Service
    client: httpx2.AsyncClient
    """For links to the service's own place; it carries no key."""
    timeout: httpx2.Timeout

    async def fetch(self, link: str, *, max_bytes: int) -> bytes:
        """The bytes behind an http or https link.

        Raises:
            BadReplyError: the link may not be followed, or what is there is no picture or is larger.
            UnavailableError: it cannot be had just now.
        """
        import httpx2

        with translated(self.service, paid=True, where="the picture's address"):
            try:
                url = url_of(link)
                for _ in range(MAX_REDIRECTS + 1):
                    with watched(self.service, "download", "GET", url) as seen:
                        async with self._visit(url) as response:
                            seen.status = response.status_code
                            if not response.has_redirect_location:
                                return await self._picture(response, url, max_bytes)
                            before, url = url, url_of(str(url.join(response.headers["location"])))
                    if before.scheme == "https" and url.scheme != "https":
                        raise self._lost(BadReplyError, f"The picture's link from {self.service.title} leads from https to {url.scheme}")
            except httpx2.InvalidURL as error:
                raise self._lost(BadReplyError, f"{self.service.title} sent a picture link that is no address") from error
        raise self._lost(BadReplyError, f"The picture's link from {self.service.title} was redirected more than {MAX_REDIRECTS} times")

    async def _picture(self, response: httpx2.Response, url: httpx2.URL, max_bytes: int) -> bytes:
        status = response.status_code
        if not response.is_success:
            kind = RateLimitedError if status == 429 else UnavailableError if status >= 500 else BadReplyError
            raise self._lost(kind, f"The picture's link from {self.service.title} ({url.host}) answered {status}", status=status)
        return await read(self.service, response, max_bytes, paid=True)

    @asynccontextmanager
    async def _visit(self, url: httpx2.URL) -> AsyncIterator[httpx2.Response]:
        """The answer of one step of a link."""
        import httpx2

        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise self._lost(BadReplyError, f"{self.service.title} sent a picture link of a kind that is not followed ({url.scheme}://{url.host})")
        if _place(url) == _place(httpx2.URL(self.service.base_url)):
            async with self.client.stream("GET", url, timeout=self.timeout) as response:
                yield response
            return
        proxy = _proxy_for(url)
        targets = await self._targets(url, proxy)
        # No connection is kept: the next name on the same address would find itself behind this one's certificate.
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with new_client(proxy=proxy, trust_env=False, timeout=self.timeout, limits=limits) as client:
            response = await _first_to_answer(client, url, targets)
            try:
                yield response
            finally:
                await response.aclose()

    async def _targets(self, url: httpx2.URL, proxy: str | None) -> list[httpx2.URL]:
        """Where to connect to for a URL. A proxy is given the name, since proxies filter by name; else it is the addresses that were checked."""
        host = url.raw_host.decode("ascii")
        try:
            addresses = await public_addresses(host, port_of(url))
        except ForbiddenAddressError as error:
            raise self._lost(BadReplyError, f"The picture's link from {self.service.title} is not followed: {error.message}") from error
        except OSError as error:
            if proxy is None:
                raise self._lost(UnavailableError, f"The picture's host {host} cannot be found") from error
            return [url]  # names of the outer world may be known to the proxy alone
        return [url] if proxy else [url.copy_with(host=str(address)) for address in addresses]

    def _lost(self, kind: type[ProviderError], words: str, *, status: int | None = None) -> ProviderError:
        """A picture was made, and probably paid for, but cannot be had."""
        return self.service.failure(kind, words, status=status, may_have_been_billed=True)


async def _first_to_answer(client: httpx2.AsyncClient, url: httpx2.URL, targets: list[httpx2.URL]) -> httpx2.Response:
    """The answer to a GET of `url` that connects to one of the targets: the name stays in the Host header and in the certificate check."""
    import httpx2

    headers = {"Host": url.netloc.decode("ascii")}
    extensions = {"sni_hostname": url.raw_host.decode("ascii")}
    requests = [client.build_request("GET", target, headers=headers, extensions=extensions) for target in targets]
    for request in requests[:-1]:
        try:
            return await client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            continue
    return await client.send(requests[-1], stream=True)


def _place(url: httpx2.URL) -> tuple[str, int]:
    return "localhost" if url.host in LOCALHOST else url.host, port_of(url)


def _proxy_for(url: httpx2.URL) -> str | None:
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.raw_host.decode("ascii")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
