"""Requests that may take a day, drawn in batches for half the price. Facts from https://ai.google.dev/gemini-api/docs/batch-api."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from ...errors import ProviderError
from ...net import Net, Reply, Service
from ..economy import Letter, Look
from .wire import Answer, InCamels, Named

_MAX_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class BatchDesk:
    """Gemini's batches, with the requests and the answers inside the calls."""

    net: Net
    most: int = 30
    """The answers come in one reply, with all their pictures."""

    async def post(self, letters: Sequence[Letter]) -> str:
        """The name of a batch of these requests."""
        requests = [{"request": letter.body, "metadata": {"key": letter.key}} for letter in letters]
        body = {"batch": {"displayName": f"pictures-{letters[0].key}", "inputConfig": {"requests": {"requests": requests}}}}
        return (await self.net.send("POST", f"v1beta/models/{letters[0].model}:batchGenerateContent", json=body)).parse(Named).name

    async def look(self, batch_id: str) -> Look:
        """The batch as it stands."""
        reply = await self.net.send("GET", f"v1beta/{batch_id}", max_bytes=_MAX_BYTES)
        work = (await anyio.to_thread.run_sync(reply.parse, BatchReply)).metadata
        state = work.state.removeprefix("BATCH_STATE_")
        if state == "FAILED":
            raise reply.failure(ProviderError, f"Google Gemini turned the batch {batch_id} away", may_have_been_billed=False)
        stats = work.batch_stats or Stats()
        ended = stats.request_count - stats.pending_request_count
        return Look(
            done=state in ("SUCCEEDED", "EXPIRED", "CANCELLED"),
            fraction=ended / stats.request_count if stats.request_count else 0.0,
            words=f"Google Gemini has drawn {ended} of the {stats.request_count} in the batch." if stats.request_count else "It waits its turn.",
            source=work.output and work.output.inlined_responses,
            stopped=state == "CANCELLED",
        )

    async def stop(self, batch_id: str) -> None:
        """Asks that nothing more is drawn."""
        await self.net.send("POST", f"v1beta/{batch_id}:cancel", repeatable=True)

    async def answers(self, look: Look) -> AsyncGenerator[tuple[str, bytes]]:
        """For each request its key and the answer."""
        for answer in look.source.inlined_responses if look.source else ():
            yield answer.metadata.key, (await anyio.to_thread.run_sync(json.dumps, {"response": answer.response, "error": answer.error})).encode()


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class BatchKey(InCamels):
    """The name of a request in a batch."""

    key: str = ""


class InlinedResponse(InCamels):
    """The answer to a request in a batch."""

    metadata: BatchKey = BatchKey()
    response: Any = None
    error: Any = None


class InlinedResponses(InCamels):
    """All of them."""

    inlined_responses: tuple[InlinedResponse, ...] = ()


class Output(InCamels):
    """Where they are."""

    inlined_responses: InlinedResponses | None = None


class Stats(InCamels):
    """Requests of a batch."""

    request_count: int = 0
    pending_request_count: int = 0


class BatchWork(InCamels):
    """How far a batch has come."""

    state: str = ""
    batch_stats: Stats | None = None
    output: Output | None = None


class BatchReply(InCamels):
    """A batch."""

    metadata: BatchWork


class BatchAnswer(InCamels):
    """One answer out of a batch, as it was put aside."""

    response: Answer | None = None
    error: Any = None


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def answer_in(data: bytes, service: Service) -> tuple[Answer, Reply]:
    """What the model would have answered to the request had it been sent alone.

    Raises:
        ProviderError: what it would have raised then, or the batch never came to the request.
    """
    reply = Reply(service=service, body=data)
    line = reply.parse(BatchAnswer)
    if line.response is None:
        raise replace(reply, paid=False).fault({"error": line.error})
    return line.response, reply
