"""Half the price for work that may take a day: requests gathered into a batch of the service's own, which is looked after for all of them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field, replace
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

import anyio

from ..errors import AuthError, BadReplyError, ImageServerError, ProviderError, RateLimitedError, UnavailableError
from ..models import Generated
from ..net import Pace, Service
from .base import Context

log = logging.getLogger(__name__)

PACE = Pace(first=20, factor=1.5, longest=300, deadline=25 * 3600)
"""How often a batch is looked at. The services promise a day."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A request on its way into a batch."""

    key: str
    """Its name there."""
    model: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A batch as it stands."""

    done: bool
    fraction: float = 0.0
    words: str = "The service has taken the batch."
    source: Any = None
    """Where its answers are, once it is done."""
    stopped: bool = False
    """It ended before its time, since somebody wished it: what has no answer was not drawn."""


class Desk(Protocol):
    """A service's own batches. It raises nothing but ProviderError."""

    @property
    def most(self) -> int:
        """Requests in one batch."""
        ...

    async def post(self, letters: Sequence[Letter]) -> str:
        """The id of a batch of these requests, which are all for one model."""
        ...

    async def look(self, batch_id: str) -> Look:
        """The batch as it stands."""
        ...

    async def stop(self, batch_id: str) -> None:
        """Asks that nothing more of the batch is drawn. What has been drawn by then is among its answers."""
        ...

    def answers(self, look: Look) -> AsyncGenerator[tuple[str, bytes]]:
        """For each request its key and the answer, as JSON; in any order."""
        ...


@dataclass
class _Sending:
    """Requests on their way to the service."""

    result: str | ImageServerError
    """The id of their batch, or why there is none."""
    arrived: anyio.Event = field(default_factory=anyio.Event)


@dataclass
class _Batch:
    """A batch that somebody here waits for."""

    wait: float
    stopped: bool = False
    """The service was asked to stop."""
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    look: Look = field(default_factory=lambda: Look(done=False))
    next_look: float = 0.0
    shelf: IO[bytes] | None = None
    """Its answers, one behind the other, on disk: they may be more than fits into memory."""
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where each answer begins, and how long it is."""


class Economy:
    """Gathers requests for a moment, sends them as batches, and has the answer for each.

    Args:
        quiet: seconds without a new request after which those that came are sent.
    """

    def __init__(self, desk: Desk, service: Service, *, quiet: float = 2.0, pace: Pace = PACE) -> None:
        self._desk = desk
        self._service = service
        self._quiet = quiet
        self._pace = pace
        self._counter = anyio.Lock()
        self._waiting: dict[str, Letter] = {}
        self._came = anyio.Event()
        self._sent: dict[str, _Sending] = {}
        """Requests of which it is not written down yet what became of them."""
        self._batches: dict[str, _Batch] = {}

    async def draw(self, model: str, body: Mapping[str, Any], context: Context) -> bytes:
        """The answer to the request, as JSON. The id under which it is accepted names the batch and the request."""
        letter = Letter(key=secrets.token_hex(8), model=model, body=body)
        self._waiting[letter.key] = letter
        self._came.set()
        try:
            async with self._counter:  # whoever is first sends for all who came
                while letter.key in self._waiting:
                    await self._send(model)
        finally:
            if self._waiting.pop(letter.key, None) is None:
                sent = await self._noted(letter.key, context)
        if isinstance(sent, ImageServerError):
            raise copy(sent) from sent
        return await self.collect(f"{sent}/{letter.key}", context)

    async def _noted(self, key: str, context: Context) -> str | ImageServerError:
        """What became of a request that is on its way, written down. Whoever has lost patience waits for that: what will be paid for must be found again."""
        sending = self._sent[key]
        with anyio.CancelScope(shield=True):
            await sending.arrived.wait()
            if isinstance(sending.result, str):
                await context.accepted(f"{sending.result}/{key}")
        del self._sent[key]
        return sending.result

    async def _send(self, model: str) -> None:
        """Sends the requests for a model, as many as a batch may have, once no more have come for a while."""
        more = True
        while more:
            self._came = anyio.Event()
            with anyio.move_on_after(self._quiet) as patience:
                await self._came.wait()
            more = not patience.cancelled_caught
        letters = [letter for letter in self._waiting.values() if letter.model == model][: self._desk.most]
        words = f"The requests for {self._service.title} could not be sent as a batch"
        sending = _Sending(self._service.failure(ProviderError, words, may_have_been_billed=True))
        for letter in letters:
            del self._waiting[letter.key]
            self._sent[letter.key] = sending
        with anyio.CancelScope(shield=True):  # whoever has lost patience, the others are not sent twice
            try:
                sending.result = await self._desk.post(letters)
            except ImageServerError as error:
                sending.result = error
            finally:
                sending.arrived.set()

    async def stop(self, task_id: str, wanted: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the batch of this request ends now; not while anybody wants something else out of it. What was drawn by then can be collected.

        Args:
            wanted: as for `Stoppable.stop`.
        """
        batch_id = task_id.rpartition("/")[0]
        if any(sending.result == batch_id for sending in self._sent.values()) or await wanted(f"{batch_id}/"):
            return False
        batch = self._batches.setdefault(batch_id, _Batch(wait=self._pace.first))
        async with batch.lock:
            if not batch.stopped and batch.shelf is None:
                batch.stopped, batch.wait, batch.next_look = True, self._pace.first, 0.0
                try:
                    await self._desk.stop(batch_id)
                except ProviderError as error:  # it may have ended by itself just now
                    log.warning("%s was not stopped: %s", batch_id, error.message)
        return True

    async def collect(self, task_id: str, context: Context) -> bytes:
        """The answer to a request that was sent earlier, perhaps by another process.

        Raises:
            UnavailableError: the batch was not done after more than a day; it may have been billed.
        """
        batch_id, _, key = task_id.rpartition("/")
        batch = self._batches.setdefault(batch_id, _Batch(wait=self._pace.first))
        ends = anyio.current_time() + self._pace.deadline
        while not await self._is_there(batch_id, batch):
            await context.report(0.9 * batch.look.fraction, batch.look.words)
            if anyio.current_time() > ends:
                words = f"{self._service.title} was not done with the batch after {self._pace.deadline / 3600:.0f} hours"
                raise self._service.failure(UnavailableError, words, may_have_been_billed=True)
            await anyio.sleep(max(0.0, batch.next_look - anyio.current_time()))
        return await self._taken(batch_id, batch, key)

    async def _is_there(self, batch_id: str, batch: _Batch) -> bool:
        """Whether the answers of a batch are on the shelf; it is looked at when it is time to."""
        async with batch.lock:
            if batch.shelf is None and anyio.current_time() >= batch.next_look:
                await self._look(batch_id, batch)
            return batch.shelf is not None

    async def _look(self, batch_id: str, batch: _Batch) -> None:
        """Looks at a batch for all who wait for it. Where it cannot be looked at, that is waited out: it is paid for."""
        try:
            batch.look = await self._desk.look(batch_id)
            if batch.look.done:
                await self._shelve(batch)
        except (UnavailableError, RateLimitedError, AuthError) as error:  # a key, too, can be set right within the day that a batch may take
            batch.look = replace(batch.look, words=f"The batch cannot be looked at just now: {error.message}")
            batch.wait = max(batch.wait, error.retry_after or 0.0)
        batch.next_look = anyio.current_time() + batch.wait
        batch.wait = min(batch.wait * self._pace.factor, self._pace.longest)

    async def _shelve(self, batch: _Batch) -> None:
        """Puts the answers on disk."""
        shelf: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed when its last answer is taken, or with the provider
        places: dict[str, tuple[int, int]] = {}
        try:
            async with aclosing(self._desk.answers(batch.look)) as answers:
                async for key, answer in answers:
                    places[key] = (shelf.tell(), len(answer))
                    await anyio.to_thread.run_sync(shelf.write, answer)
        except BaseException:
            shelf.close()
            raise
        # Where something was drawn and there is no answer at all, nobody can tell what.
        batch.look = replace(batch.look, source=None, stopped=batch.look.stopped and bool(places or not batch.look.fraction))
        batch.places, batch.shelf = places, shelf

    async def _taken(self, batch_id: str, batch: _Batch, key: str) -> bytes:
        """The answer, which is then gone from the shelf."""
        if key not in batch.places and batch.look.stopped:
            raise self._service.failure(ProviderError, f"{self._service.title} was stopped before it came to this request, and bills nothing")
        if key not in batch.places:
            words = f"{self._service.title} ended the batch {batch_id} without an answer to this request"
            raise self._service.failure(BadReplyError, words, may_have_been_billed=True)
        shelf = batch.shelf
        assert shelf is not None
        async with batch.lock:
            start, length = batch.places.pop(key)
            shelf.seek(start)
            answer = await anyio.to_thread.run_sync(shelf.read, length)
        if not batch.places:
            shelf.close()
            self._batches.pop(batch_id, None)
        return answer

    def close(self) -> None:
        """Lets go of what is on disk."""
        for batch in self._batches.values():
            if batch.shelf is not None:
                batch.shelf.close()
        self._batches.clear()


def halved(generated: Generated) -> Generated:
    """The same for half the price."""
    cost = generated.cost
    return replace(generated, cost=replace(cost, micros=-(-cost.micros // 2))) if cost is not None else generated
