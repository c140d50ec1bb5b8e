"""A job in the hands of this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

import anyio

from .. import telemetry
from ..models import Job
from .attempt import Outcome, Setback, cancelled, failed


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
    stopping: bool = False
    """It was cancelled, and its service is asked to stop: what that has drawn by then is waited for."""
    reason: Literal["cancelled", "closing"] | None = None
    scene: telemetry.Scene = field(default_factory=telemetry.Scene)
    """In which it was asked for."""
    since: float = field(default_factory=monotonic)
    """When it came into line."""

    @property
    def may_have_been_billed(self) -> bool:
        """A call that costs money has been made, or the service has taken the work."""
        return self.paying or self.job.task_id is not None

    def stop(self, reason: Literal["cancelled", "closing"]) -> None:
        """Breaks its work off, if it is under way. The first reason counts."""
        if self.stopping and reason == "cancelled":
            return
        self.reason = self.reason or reason
        if self.scope is not None:
            self.scope.cancel()

    def broken_off(self) -> Outcome | Setback | None:
        """What becomes of a job whose work was broken off; None when somebody else is to go on with it."""
        if self.reason == "cancelled":
            return cancelled(may_have_been_billed=self.may_have_been_billed)
        if self.reason == "closing" and not self.may_have_been_billed:
            return Setback(words="The server was closed; the next one draws it.")
        if self.reason == "closing" and self.paying:
            words = f"The server was closed while {self.job.provider} was drawing. The call may have been billed, so it is not repeated."
            return failed("interrupted", words, may_have_been_billed=True)
        return None
