"""A service's answer: what is inside, and what is wrong with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from pydantic import BaseModel, ValidationError

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from .failures import quoted, request_id, words_in
from .service import Fault, Service

M = TypeVar("M", bound=BaseModel)

MAX_VALUES = 1_000_000
"""Commas in a reply."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A service's answer with a status of success. That is no proof of success: look inside."""

    service: Service = field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    body: bytes = field(default=b"", repr=False)
    paid: bool = True
    """The call may cost money, so a failure from here on may have been billed."""

    @property
    def request_id(self) -> str | None:
        """The service's own id for the call."""
        return request_id(self.headers)

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            BadReplyError: it is something else; the message quotes it.
        """
        self._check_values()
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise self.not_json() from error

    def parse(self, kind: type[M]) -> M:
        """The body as that type.

        Raises:
            BadReplyError: it is no JSON or does not fit; the message says where.
        """
        self._check_values()
        try:
            return kind.model_validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            if first["type"] == "json_invalid":
                failure = self.not_json()
            else:
                where = ".".join(map(str, first["loc"]))
                failure = self.failure(BadReplyError, f"{self.service.title} sent a reply of an unknown form ({where}: {first['msg']})")
            raise failure from None  # the cause holds the reply, which may hold what must not be logged

    def _check_values(self) -> None:
        """Raises for what would take a hundred times its length in memory when it is read: pictures in base64 have no commas, and nothing else is as long."""
        if len(self.body) > MAX_VALUES and self.body.count(b",") > MAX_VALUES:
            raise self.failure(BadReplyError, f"{self.service.title} sent more than {MAX_VALUES:,} values") from None

    async def decode(self, text: str) -> bytes:
        """The bytes of a base64 text or `data:` URL from this reply, decoded beside the event loop.

        Raises:
            BadReplyError: it is not base64.
        """
        try:
            return await anyio.to_thread.run_sync(_decode_base64, text)
        except ValueError as error:
            raise self.failure(BadReplyError, f"{self.service.title} sent a picture that is not valid base64") from error

    def failure(self, kind: type[ProviderError], words: str, **facts: Any) -> ProviderError:
        """An error about this reply; `facts` as for `Service.failure`. A paid call that was accepted may have been billed."""
        accepted = self.paid and not facts.get("not_accepted") and kind not in (RefusedError, RateLimitedError, AuthError, QuotaError)
        known = {"status": self.status, "request_id": self.request_id, "may_have_been_billed": accepted}
        return self.service.failure(kind, words, **{**known, **facts})

    def fault(self, body: Any) -> ProviderError:
        """The error that a JSON value inside this reply stands for: an event of a stream, the reason of a failed task."""
        fault = self.service.read_fault(self.status, body) or Fault(message=words_in(body) or "no reason given")
        kind = fault.kind or ProviderError
        words = f"{self.service.title} failed: {fault.message}"
        return self.failure(kind, words, retry_after=fault.retry_after, details=fault.details)

    def not_json(self) -> ProviderError:
        """The error for a body that should have been JSON."""
        words = f"{self.service.title} answered with {quoted(self.service, self.body)} instead of JSON"
        return self.failure(BadReplyError, f"{words}. {self.service.check_base_url()}")


def _decode_base64(text: str) -> bytes:
    """Strict base64 in slices: the decoder holds the interpreter while it works, and between slices the event loop gets its turn."""
    if text[:5] == "data:":
        text = text.partition(",")[2]
    padding = text.find("=")
    if padding >= 0 and padding < len(text) - 2:
        raise ValueError("padding in the middle")
    step = 2**18
    return b"".join(base64.b64decode(text[start : start + step], validate=True) for start in range(0, len(text), step))
