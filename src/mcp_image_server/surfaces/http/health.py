"""Whether the server can take work, for load balancers and for whoever looks after it."""

from __future__ import annotations

import logging
from time import monotonic

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...condition import Part
from ...studio import Studio
from .callers import caller_of

log = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds for which a look is good enough: whoever asks more often, be it with ill will, costs nothing more."""


class Health:
    """What this process says about itself.

    Attributes:
        leaving: it is about to end, and nothing new should be sent to it: from then on `/ready` says 503.
    """

    def __init__(self, studio: Studio) -> None:
        self.leaving = False
        self._studio = studio
        self._looking = anyio.Lock()
        self._seen: tuple[Part, ...] = ()
        self._seen_at = float("-inf")

    @property
    def routes(self) -> list[BaseRoute]:
        """`/ready` for everybody, without words; `/ready/details` for administrators."""
        return [Route("/ready", self._ready, methods=["GET"]), Route("/ready/details", self._details, methods=["GET"])]

    async def _ready(self, _: Request) -> Response:
        parts = await self._parts()
        body = {"status": self._status(parts), "parts": {part.name: "ok" if part.ok else "failing" for part in parts}}
        return JSONResponse(body, status_code=self._code(parts), headers={"cache-control": "no-store"})

    async def _details(self, request: Request) -> Response:
        if not caller_of(request).is_admin:
            return JSONResponse({"error": "Only an administrator may see this."}, status_code=403)
        parts = await self._parts()
        told = {part.name: {"ok": part.ok, "words": part.words} for part in parts}
        return JSONResponse({"status": self._status(parts), "parts": told}, status_code=self._code(parts), headers={"cache-control": "no-store"})

    def _status(self, parts: tuple[Part, ...]) -> str:
        if self.leaving:
            return "leaving"
        if not all(part.ok for part in parts if part.vital):
            return "failing"
        return "ready" if all(part.ok for part in parts) else "degraded"

    def _code(self, parts: tuple[Part, ...]) -> int:
        return 200 if self._status(parts) in ("ready", "degraded") else 503

    async def _parts(self) -> tuple[Part, ...]:
        """The parts as they were at the last look, or as they are if that is too long ago. A server that is leaving is not looked at any more."""
        async with self._looking:
            if monotonic() - self._seen_at >= FRESH and not self.leaving:
                before, self._seen = self._seen, await self._studio.upkeep.condition()
                self._seen_at = monotonic()
                for part in self._seen:
                    if not part.ok and part not in before:
                        log.warning("%s is failing: %s", part.name, part.words)
            return self._seen
