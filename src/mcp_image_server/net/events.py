"""Server-sent events: the bytes of a stream, taken apart as they arrive."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from ..errors import BadReplyError, ProviderError, UnavailableError
from .reply import M, Reply

MAX_EVENT_BYTES = 96 * 2**20
"""Largest server-sent event that is read: one of the largest pictures, as base64."""


class Event(NamedTuple):
    """One server-sent event."""

    event: str
    data: str


class EventParser:
    """Server-sent events out of bytes that may be cut anywhere (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Args:
        max_bytes: size at which an event, finished or not, is refused with ValueError.
    """

    _line_end = re.compile(rb"\r\n|\n|\r")

    def __init__(self, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []  # pieces of the line under way; joined once, so that a long line stays linear
        self._size = 0
        self._event = ""
        self._data: list[str] = []
        self._first_line = True
        self._after_return = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes complete."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")  # the second half of a line end whose first half came before
            self._after_return = False
        events = []
        start = 0
        for end in self._line_end.finditer(chunk):
            self._add(chunk[start : end.start()])
            start = end.end()
            self._after_return = start == len(chunk) and chunk.endswith(b"\r")
            event = self._take_line()
            if event is not None:
                events.append(event)
        self._add(chunk[start:])
        return events

    @property
    def unfinished(self) -> bool:
        """An event has begun and not ended. At the end of a stream this means that it was cut."""
        return bool(self._line or self._data or self._event)

    def _add(self, piece: bytes) -> None:
        if piece:
            self._line.append(piece)
            self._size += len(piece)
            if self._size > self._max_bytes:
                raise ValueError(f"a server-sent event is larger than {self._max_bytes} bytes")

    def _take_line(self) -> Event | None:
        line = b"".join(self._line)
        self._line.clear()
        if self._first_line:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first_line = False
        if not line:
            event = Event(self._event or "message", "\n".join(self._data)) if self._data else None
            self._event, self._data, self._size = "", [], 0
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        else:  # a comment, or a field we have no use for: nothing of it is kept
            self._size -= len(line)
        return None


class Events:
    """The events of one answer, as they come. `async for event in events` inside `async with net.stream(…) as events`.

    Args:
        reply: the head of the answer; with the whole body when the service sent one answer instead of events.
        chunks: the bytes of the stream; None when there is none. They are closed with the events.
        max_event_bytes: size at which an event is refused.
    """

    def __init__(self, reply: Reply, chunks: AsyncGenerator[bytes] | None, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.reply = reply
        """The head of the answer; with the whole body when the service sent one answer instead of events."""
        self.is_stream = chunks is not None
        """False: the service sent one answer, which `reply` holds, and there are no events."""
        self._parser = EventParser(max_bytes=max_event_bytes)
        self._events = self._parsed(chunks)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    def parse(self, event: Event, kind: type[M]) -> M:
        """What an event says, as that type.

        Raises:
            BadReplyError: it is no JSON or does not fit; the message says where.
        """
        return replace(self.reply, body=event.data.encode()).parse(kind)

    @property
    def cut_short(self) -> bool:
        """The stream ended in the middle of an event. Whether it ended too early otherwise, only its last event can tell."""
        return self._parser.unfinished

    def ended_early(self) -> ProviderError:
        """The error for a stream that ended before the event that finishes it."""
        return self.reply.failure(UnavailableError, f"{self.reply.service.title} ended its answer before the picture was complete")

    async def aclose(self) -> None:
        """Stop reading."""
        await self._events.aclose()

    async def _parsed(self, chunks: AsyncGenerator[bytes] | None) -> AsyncGenerator[Event]:
        if chunks is None:
            return
        async with aclosing(chunks):
            async for chunk in chunks:
                try:
                    events = self._parser.feed(chunk)
                except ValueError as error:
                    raise self.reply.failure(BadReplyError, f"{self.reply.service.title} cannot be followed: {error}") from error
                for event in events:
                    yield event
