"""How long a call waits for what it began."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import Field

from .bodies import Arguments
from .endpoints import Call

PREFER = {"Prefer": "`wait=10`: as the query's `wait` (RFC 7240)."}
"""The header by which a client says how long it waits, for the description."""

_PREFERENCE = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,5})", re.IGNORECASE)

W = TypeVar("W", bound="WaitQuery")


class WaitQuery(Arguments):
    """How long to wait."""

    wait: float | None = Field(
        None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Longest wait in seconds before answering with what there is by then. As good: `Prefer: wait=10`.",
    )


def wait_of(call: Call[W, Any]) -> float:
    """Seconds to wait: as the query says, else as the client prefers, else none."""
    if call.query.wait is not None:
        return call.query.wait
    preferred = _PREFERENCE.search(call.request.headers.get("prefer", ""))
    return min(3600.0, float(preferred[1])) if preferred else 0.0


def applied(call: Call[W, Any], seconds: float) -> dict[str, str]:
    """The header that says that the client's preference was kept to."""
    return {"preference-applied": f"wait={seconds:g}"} if call.query.wait is None and seconds else {}
