"""What is noted of a job while it is worked on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

import anyio

from ..errors import StorageError
from .attempt import Workplace
from .here import Here
from .work import show

if TYPE_CHECKING:
    from ..history import History

log = logging.getLogger(__name__)


class Notes:
    """What is noted of a job while it is worked on. Progress and previews that come faster than anybody looks are thinned out.

    Args:
        owner: this process, in the record.
        tell: wakes whoever waits for the job of that id.
    """

    INTERVAL = 0.2
    """Seconds between progress records."""
    PREVIEW_INTERVAL = 1.0

    def __init__(self, here: Here, history: History, owner: str, place: Workplace, tell: Callable[[str], None]) -> None:
        self._here = here
        self._history = history
        self._owner = owner
        self._place = place
        self._tell = tell
        self._reported_at = self._shown_at = float("-inf")
        self._fraction = 0.0
        self._words = "a first look"

    @property
    def task_id(self) -> str | None:
        return self._here.job.task_id

    def paying(self, paying: bool) -> None:
        self._here.paying = paying

    async def drawn(self) -> None:
        with suppress(StorageError):
            await self._history.count_attempt(self._here.job.id, self._owner)

    async def report(self, fraction: float, words: str) -> None:
        self._fraction, self._words = max(self._fraction, min(max(fraction, 0.0), 1.0)), words
        if monotonic() - self._reported_at < self.INTERVAL:
            return
        self._reported_at = monotonic()
        await self._note()

    async def accepted(self, task_id: str) -> None:
        import stamina

        here = self._here
        here.job = replace(here.job, task_id=task_id)
        try:
            with anyio.CancelScope(shield=True):  # without the id, what the service draws from now on is lost to whoever comes next
                async for attempting in stamina.retry_context(on=StorageError, attempts=3, timeout=10):
                    with attempting:
                        await self._history.accepted(here.job.id, self._owner, task_id)
        except StorageError as error:  # the service draws all the same, so it is waited for
            log.error("That %s has taken job %s as %s cannot be recorded: %s", here.job.provider, here.job.id, task_id, error.message)
            return
        here.paying = False  # whoever takes the job up asks for this task, and pays nothing again

    async def preview(self, data: bytes) -> None:
        if monotonic() - self._shown_at < self.PREVIEW_INTERVAL:
            return
        self._shown_at = monotonic()
        job = self._here.job
        try:
            key = await show(job, data, self._place.open_store(job.store_url))
        except (StorageError, ValueError) as error:  # an ornament; its loss does not end the work
            log.debug("The preview of job %s was not kept: %s", job.id, error)
            return
        await self._note(key)

    async def _note(self, preview: str | None = None) -> None:
        job = self._here.job
        with suppress(StorageError):  # no work is worth less for not being talked about
            await self._history.progress(job.id, self._owner, self._fraction, self._words, now=self._place.clock(), preview_key=preview)
        self._tell(job.id)
