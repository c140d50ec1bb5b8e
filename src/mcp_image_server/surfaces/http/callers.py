"""Who is calling over HTTP, as the gate found out."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from ...errors import RequestError
from ...models import Caller

STATE = "caller"
"""Under which the gate leaves the caller in the state of a request."""


def caller_of(request: HTTPConnection) -> Caller:
    """Whoever the gate let in with this request. Nobody is ever assumed.

    Raises:
        RequestError: it did not come through the gate (`unauthorized`).
    """
    caller = getattr(request.state, STATE, None)
    if not isinstance(caller, Caller):
        raise RequestError("Unauthorized: the request did not come through the gate.", code="unauthorized")
    return caller
