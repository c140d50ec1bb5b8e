"""Who is calling over HTTP, as the gate found out."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from ...models import Caller

STATE = "caller"
"""Under which the gate leaves the caller in the state of a request."""


def caller_of(request: HTTPConnection) -> Caller:
    """Whoever the gate let in with this request."""
    caller = getattr(request.state, STATE)
    assert isinstance(caller, Caller)
    return caller
