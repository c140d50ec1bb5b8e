"""How long the event loop is held by one step of one task."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from asyncio.events import Handle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

HELD = 0.05
"""Seconds that no step may take. What does so only once is the machine's doing; what holds the loop does it every time."""


@dataclass
class Steps:
    """The longest steps between two moments at which the loop could do something else."""

    longest: dict[str, float] = field(default_factory=dict)
    """What was run, and the processor's seconds that it took: those of other threads and processes do not count, however busy the machine is."""

    def over(self, seconds: float) -> dict[str, float]:
        """Those that took longer."""
        return {name: round(took, 3) for name, took in self.longest.items() if took > seconds}


@contextmanager
def steps_of_the_loop() -> Iterator[Steps]:
    """Looks at every step of the loop in this thread. The collector of garbage is at rest meanwhile: what it takes is due to the whole suite."""
    steps = Steps()
    thread = threading.get_ident()
    run = Handle._run

    def timed(handle: Handle) -> Any:
        if threading.get_ident() != thread:
            return run(handle)
        began = time.thread_time()
        try:
            return run(handle)
        finally:
            took = time.thread_time() - began
            if took > 0.005 and Handle._run is timed:  # and not the step in which the looking ended
                name = _name_of(handle)
                steps.longest[name] = max(took, steps.longest.get(name, 0.0))

    Handle._run = timed  # type: ignore[assignment,method-assign]
    gc.disable()
    try:
        yield steps
    finally:
        gc.enable()
        Handle._run = run  # type: ignore[method-assign]


def _name_of(handle: Handle) -> str:
    """The task, or the function, that was run."""
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        stack = task.get_stack()
        where = f" at {stack[-1].f_code.co_name}:{stack[-1].f_lineno}" if stack else ""
        return f"{task.get_name()}{where}"
    return repr(callback)
