"""Requests that may take a day, drawn in batches for half the price. Facts from https://platform.openai.com/docs/guides/batch."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ...errors import ProviderError
from ...net import File, Net, Reply, Service, words_in
from ..economy import Letter, Look
from .wire import GENERATIONS


@dataclass(frozen=True, kw_only=True)
class BatchDesk:
    """OpenAI's batches: a file of requests goes in, a file of answers comes out."""

    net: Net
    most: int = 1000
    """The service takes 50,000, and 200 MB."""

    async def post(self, letters: Sequence[Letter]) -> str:
        """The id of a batch of these requests."""
        lines = [{"custom_id": each.key, "method": "POST", "url": f"/v1/{GENERATIONS}", "body": each.body} for each in letters]
        file = File(name="batch.jsonl", media_type="application/jsonl", data="".join(f"{json.dumps(line)}\n" for line in lines).encode())
        uploaded = (await self.net.send("POST", "files", parts=[("purpose", "batch"), ("file", file)], repeatable=True)).parse(Named)
        body = {"input_file_id": uploaded.id, "endpoint": f"/v1/{GENERATIONS}", "completion_window": "24h"}
        return (await self.net.send("POST", "batches", json=body)).parse(Named).id

    async def look(self, batch_id: str) -> Look:
        """The batch as it stands."""
        reply = await self.net.send("GET", f"batches/{batch_id}")
        batch = reply.parse(BatchReply)
        if batch.status == "failed":
            reason = words_in(batch.errors) or "no reason given"
            raise reply.failure(ProviderError, f"OpenAI turned the batch {batch_id} away: {reason}", may_have_been_billed=False)
        counts = batch.request_counts or Counts()
        ended = counts.completed + counts.failed
        return Look(
            done=batch.status in ("completed", "expired", "cancelled"),
            fraction=ended / counts.total if counts.total else 0.0,
            words=f"OpenAI has drawn {ended} of the {counts.total} in the batch." if counts.total else "OpenAI has taken the batch.",
            source=[file for file in (batch.output_file_id, batch.error_file_id) if file],
            stopped=batch.status == "cancelled",
        )

    async def stop(self, batch_id: str) -> None:
        """Asks that nothing more is drawn; the service takes up to ten minutes for that."""
        await self.net.send("POST", f"batches/{batch_id}/cancel", repeatable=True)

    async def answers(self, look: Look) -> AsyncGenerator[tuple[str, bytes]]:
        """For each request its key and the line about it."""
        for file in look.source:
            async with self.net.lines(f"files/{file}/content") as lines:
                async for line in lines:
                    if found := re.search(rb'"custom_id":\s*"(\w+)"', line[:1000]):
                        yield found[1].decode(), line


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Named(BaseModel):
    """Something that was made."""

    id: str


class Counts(BaseModel):
    """Requests of a batch."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchReply(BaseModel):
    """A batch."""

    status: str
    request_counts: Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Any = None


class BatchResponse(BaseModel):
    """What the interface answered to a request in a batch."""

    status_code: int
    request_id: str | None = None
    body: Any = None


class BatchError(BaseModel):
    """Why there is no such answer."""

    code: str = ""
    message: str = ""


class BatchLine(BaseModel):
    """A line of a file of answers."""

    response: BatchResponse | None = None
    error: BatchError | None = None


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def reply_in(data: bytes, service: Service) -> Reply:
    """What the interface would have answered to the request of this line, had it been sent alone.

    Raises:
        ProviderError: what it would have raised then, or the batch never came to the request.
    """
    line = Reply(service=service, body=data).parse(BatchLine)
    if line.response is None:
        error = line.error or BatchError()
        expired = error.code == "batch_expired"
        words = "did not come to it within a day, and bills nothing" if expired else f"did not draw it ({error.message or 'no reason given'})"
        raise service.failure(ProviderError, f"{service.title} {words}")
    reply = Reply(
        service=service,
        status=line.response.status_code,
        headers={"x-request-id": line.response.request_id or ""},
        body=json.dumps(line.response.body).encode(),
        paid=line.response.status_code == 200,
    )
    if reply.status != 200:
        raise reply.fault(line.response.body)
    return reply
