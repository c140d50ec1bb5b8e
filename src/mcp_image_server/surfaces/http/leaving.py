"""An HTTP server that says it is leaving before it leaves."""

from __future__ import annotations

import signal
from time import monotonic
from types import FrameType

import uvicorn

from .health import Health


class Server(uvicorn.Server):
    """Told to stop, it says so at `/ready`, goes on for a while, and then takes no more connections and returns from `serve`.

    It does not end the process by the signal that it was sent, as its base does: what is under way is brought to an end by whoever called `serve`.

    Args:
        drain: seconds in which whoever sends requests here can notice; a second signal cuts them short.
    """

    def __init__(self, config: uvicorn.Config, health: Health, *, drain: float) -> None:
        super().__init__(config)
        self._health = health
        self._drain = drain
        self._leaves_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to stop; from a second Ctrl-C on, without waiting for answers under way."""
        self._health.leaving = True
        if self._leaves_at is None:
            self._leaves_at = monotonic() + self._drain
            return
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to leave; asked ten times a second."""
        if self._leaves_at is not None and monotonic() >= self._leaves_at:
            self.should_exit = True
        return await super().on_tick(counter)
