"""A job in the hands of this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

import anyio

from .. import telemetry
from ..models import Failure, Job, JobState
from .attempt import Outcome, Setback, failed


@dataclass
class Here:
    """A job that this process holds: waiting, or under way."""

    job: Job
    due: float
    """Its deadline by this process's own clock, which nobody can set; infinite for one that has none until it is begun."""
    taken_up: bool = False
    begun: bool = False
    scope: anyio.CancelScope | None = None
    paying: bool = False
    """A call that costs money has been made and cannot be made again."""
    reason: Literal["cancelled", "closing"] | None = None
    scene: telemetry.Scene = field(default_factory=telemetry.Scene)
    """In which it was asked for."""
    since: float = field(default_factory=monotonic)
    """When it came into line."""

    def stop(self, reason: Literal["cancelled", "closing"]) -> None:
        """Breaks its work off, if it is under way. The first reason counts."""
        self.reason = self.reason or reason
        if self.scope is not None:
            self.scope.cancel()

    def broken_off(self) -> Outcome | Setback | None:
        """What becomes of a job whose work was broken off; None when somebody else is to go on with it."""
        if self.reason == "cancelled":
            billed = self.paying or self.job.task_id is not None
            words = "Cancelled." + (" The call may have been billed all the same." if billed else "")
            return Outcome(state=JobState.CANCELLED, failure=Failure(code="cancelled", message=words, may_have_been_billed=billed))
        if self.reason == "closing" and not self.paying and self.job.task_id is None:
            return Setback(words="The server was closed; the next one draws it.")
        if self.reason == "closing" and self.paying:
            words = f"The server was closed while {self.job.provider} was drawing. The call may have been billed, so it is not repeated."
            return failed("interrupted", words, may_have_been_billed=True)
        return None
