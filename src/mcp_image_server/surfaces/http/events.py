"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) about work that goes on meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ...errors import ImageServerError
from ...models import Job
from .endpoints import while_listening
from .problems import Trouble, refused, trouble_of

log = logging.getLogger(__name__)

EVENT_LIMIT = 1024 * 1024
"""Bytes of one event; many readers of streams refuse a longer one."""

INLINE_LIMIT = 650_000
"""Bytes of a picture whose base64 fits into an event with what else it says."""

KEEP_ALIVE = b": still here\n\n"

Watch = Callable[[Job], Awaitable[None]]


def event(name: str, value: Any) -> bytes:
    """One event, its data as JSON in one line."""
    written = f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False, default=str)}\n\n".encode("utf-8", "replace")
    assert len(written) <= EVENT_LIMIT, f"an event of {len(written)} bytes"
    return written


class JobStream(Response):
    """The events of a job while somebody listens. What is wrong before the first of them is told as any other failure.

    Args:
        path: what was called, which decides the shape of failures.
        work: does what was asked for and tells the watch about the job as it goes.
        meanwhile: the events about a job under way; without any, a sign of life is sent.
        finally_: the events about what has come of it.
        broken: the event about a failure.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        path: str,
        work: Callable[[Watch], Awaitable[Job]],
        *,
        meanwhile: Callable[[Job], AsyncIterator[bytes]],
        finally_: Callable[[Job], AsyncIterator[bytes]],
        broken: Callable[[Trouble], bytes],
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._path = path
        self._work = work
        self._meanwhile = meanwhile
        self._finally = finally_
        self._broken = broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def begin(job: Job) -> None:
            nonlocal begun
            if not begun:
                begun = True
                headers = [*self.raw_headers, (b"x-job-id", job.id.encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def watch(job: Job) -> None:
            await begin(job)
            told = False
            if not job.state.ended:
                async for each in self._meanwhile(job):
                    told = True
                    await send(_piece(each))
            if not told:
                await send(_piece(KEEP_ALIVE))

        async def tell() -> None:
            job = await self._work(watch)
            await begin(job)
            async for each in self._finally(job):
                await send(_piece(each))

        try:
            await while_listening(Request(scope, receive), tell)
        except ClientDisconnect:
            return
        except Exception as error:
            expected = error if isinstance(error, ImageServerError) else ImageServerError("The server made a mistake; its log has the details.")
            if expected is not error:
                log.exception("A stream broke; this is a bug.")
            if not begun:
                await refused(self._path, expected)(scope, receive, send)
                return
            await send(_piece(self._broken(trouble_of(expected))))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _piece(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}
