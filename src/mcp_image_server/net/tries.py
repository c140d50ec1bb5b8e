"""What is tried again, how often, and after what time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import ProviderError
from .client import is_untrusted

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tries:
    """How often a call is made that the service surely did not accept, and how long to wait in between."""

    attempts: int = 3
    first_wait: float = 0.5
    longest_wait: float = 20.0
    """A service that asks for more than this gets no second try; the error says when to come back."""

    async def run(self, work: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """What `work` returns. Only what the service surely did not accept, or what is repeatable, is tried again."""
        import stamina

        def wait(error: Exception) -> bool | float:
            if not isinstance(error, ProviderError) or not error.retryable or not (error.not_accepted or repeatable) or is_untrusted(error):
                return False
            if error.retry_after is None:
                return True
            return error.retry_after if error.retry_after <= self.longest_wait else False

        caller = stamina.AsyncRetryingCaller(
            attempts=self.attempts, timeout=None, wait_initial=self.first_wait, wait_jitter=self.first_wait, wait_max=self.longest_wait
        )
        return await caller(wait, work)
