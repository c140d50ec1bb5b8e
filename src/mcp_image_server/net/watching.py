"""Single calls to services, timed and traced for whoever listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Literal

from .. import telemetry
from ..errors import ProviderError
from .client import port_of
from .service import Service

if TYPE_CHECKING:
    import httpx2


@dataclass
class Seen:
    """What has come of a call so far."""

    status: int | None = None
    """Of HTTP; None while no answer has come."""


@contextmanager
def watched(service: Service, operation: Literal["draw", "ask", "download", "listen"], method: str, url: httpx2.URL) -> Iterator[Seen]:
    """One call, while the block lasts.

    Its span says where it went: host and port, and in the service's own interface the path. Links to pictures are as good as keys, so of those there is no more
    than the host. The service is not told of the trace.
    """
    seen, begun = Seen(), monotonic()
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method,
        "server.address": url.host,
        "server.port": port_of(url),
        "mcp_image.operation": operation,
        "gen_ai.provider.name": service.provider,
    }
    if operation != "download":
        attributes["url.full"] = service.hides(str(url.copy_with(query=None, fragment=None, userinfo=b"")))
    with telemetry.span(method, kind="client", attributes=attributes) as span:
        try:
            yield seen
        except ProviderError as error:
            seen.status = error.status or seen.status
            raise
        finally:
            status = "none" if seen.status is None else str(seen.status)
            if seen.status is not None:
                span.note({"http.response.status_code": seen.status})
            telemetry.UPSTREAM_SECONDS.observe(monotonic() - begun, provider=service.provider, operation=operation, status=status)
