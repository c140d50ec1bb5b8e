"""WebSockets: what a service says while it works, message by message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .client import translated
from .failures import failure_of
from .service import Service

if TYPE_CHECKING:
    import httpx2
    from httpx2.websockets import AsyncWebSocketSession

MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest message that is read: a preview, uncompressed as it may be. A larger one ends the conversation."""


class Messages:
    """The messages of one service, as they come: texts and bytes. `async for message in messages` inside `async with net.listen(…) as messages`.

    They end when the service closes the connection, and as quietly when the connection breaks: neither tells how the work ended, so ask for that elsewhere.
    A connection that dies without a word is not noticed, so bound each wait.
    """

    def __init__(self, session: AsyncWebSocketSession) -> None:
        self._session = session

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> str | bytes:
        from httpx2.websockets import HTTPXWSException

        while True:
            try:
                event = await self._session.receive()
            except HTTPXWSException:
                raise StopAsyncIteration from None
            data = getattr(event, "data", None)
            if isinstance(data, str | bytes | bytearray):
                return data if isinstance(data, str) else bytes(data)


@asynccontextmanager
async def conversation(
    service: Service, client: httpx2.AsyncClient, url: httpx2.URL, *, params: Mapping[str, str] | None, timeout: httpx2.Timeout
) -> AsyncIterator[Messages]:
    """The messages of the service at that address, while the block lasts.

    Args:
        timeout: for the handshake; afterwards a silence may last as long as it likes.
    """
    from httpx2.websockets import WebSocketUpgradeError

    options: dict[str, Any] = {"timeout": timeout, "max_message_size_bytes": MAX_MESSAGE_BYTES, "keepalive_ping_interval_seconds": None}
    raised: Exception | None = None
    try:
        with translated(service, paid=False, where=url.host):
            async with client.websocket(url, headers=service.headers, params=params, **options) as session:
                try:
                    yield Messages(session)
                except Exception as error:  # kept from the session, whose tasks would wrap it in a group
                    raised = error
    except WebSocketUpgradeError as error:
        raise failure_of(service, error.response.status_code, dict(error.response.headers), b"", paid=False) from error
    if raised is not None:
        raise raised
