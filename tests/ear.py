"""A job's side of the conversation with a provider, written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Ear:
    """Hears what a provider tells its job.

    Args:
        calls: how many calls the fake service has seen; noted at the moment a task is accepted.
    """

    calls: Callable[[], int] = lambda: -1
    said: list[tuple[float, str]] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    calls_before_acceptance: list[int] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)

    async def report(self, fraction: float, words: str) -> None:
        assert 0 <= fraction <= 1, fraction
        assert words
        self.said.append((fraction, words))

    async def accepted(self, task_id: str) -> None:
        self.tasks.append(task_id)
        self.calls_before_acceptance.append(self.calls())

    async def preview(self, data: bytes) -> None:
        assert data
        self.previews.append(data)
