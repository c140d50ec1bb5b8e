"""What a reply that is no success means: its status, headers and body, as one of our errors. No network here."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from .service import Service

MAX_ERROR_BYTES = 256 * 2**10
"""As much of an error's body is looked at."""

REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-fal-request-id",
    "x-dashscope-request-id",
    "x-siliconcloud-trace-id",
    "x-tt-logid",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "trace-id",
    "cf-ray",
)
"""Where services put their own id for a call; the first that is there counts."""

_KINDS: Mapping[int, type[ProviderError]] = {
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    408: UnavailableError,
    409: UnavailableError,
    425: UnavailableError,
    429: RateLimitedError,
    501: ProviderError,
    505: ProviderError,
}
_GATEWAY_TIMEOUTS = (504, 524)


def failure_of(service: Service, status: int, headers: Mapping[str, str], body: bytes, *, paid: bool) -> ProviderError:
    """The error for a reply that is no success.

    Args:
        headers: names in lower case.
        paid: the call may cost money.
    """
    wait = retry_after(headers)
    facts: dict[str, Any] = {"status": status, "request_id": request_id(headers)}
    words = f"{service.title} answered {status}"
    if 300 <= status < 400:
        words = f"{words} and pointed to {_without_query(headers.get('location', 'nowhere'))}, which calls do not follow. {service.check_base_url()}"
        return service.failure(BadReplyError, words, retry_after=wait, not_accepted=True, **facts)
    is_page = _is_page(body)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = fault = None
        meant = None if is_page else service.read_fault(status, body.decode("utf-8", "replace"))  # a mere text can name the reason, too
    else:
        meant = fault = service.read_fault(status, value)
    kind = (meant and meant.kind) or _KINDS.get(status) or (UnavailableError if status >= 500 else ProviderError)
    if is_page and status < 500 and kind is not RateLimitedError:
        words = f"{words} with {quoted(service, body)}. {service.check_base_url()}"
        return service.failure(BadReplyError, words, retry_after=wait, not_accepted=True, **facts)
    if fault is not None and fault.retry_after is not None:
        wait = fault.retry_after
    text = fault.message if fault else words_in(value) or (quoted(service, body) if body.strip() else "")
    if text:
        words = f"{words}: {shortened(service.hides(text))}"
    if (is_page and status >= 500) or (status == 404 and fault is None):
        words = f"{words}. {service.check_base_url()}"
    return service.failure(
        kind,
        words,
        retry_after=wait,
        may_have_been_billed=paid and status in _GATEWAY_TIMEOUTS,
        # A refusal may come after the picture was drawn.
        not_accepted=kind is not RefusedError and ((status < 500 and status != 409) or (status == 503 and wait is not None)),
        details=fault.details if fault else None,
        **facts,
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    """The service's own id for a call. `headers` have names in lower case."""
    return next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the service asks us to wait, from a number or a date. `headers` have names in lower case."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after", "")
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
            return float(text)
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def words_in(body: Any) -> str:
    """The sentence for people in an error body, looked for where services usually put it; empty when there is none."""
    if isinstance(body, str):
        return body.strip()
    if isinstance(body, list):
        return "; ".join(text for text in map(words_in, body) if text)
    if isinstance(body, dict):
        for name in ("message", "msg", "error", "detail", "errors", "error_message", "reason", "title"):
            if text := words_in(body.get(name)):
                return text
    return ""


def quoted(service: Service, body: bytes) -> str:
    """A body that is no JSON, as a few words for a message."""
    text = service.hides(body[:MAX_ERROR_BYTES].decode("utf-8", "replace"))  # before it is shortened, which could leave half a secret
    if _is_page(body):
        # What is never closed reaches to the end, so that it is gone through once.
        text = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", " ", text)
        text = html.unescape(re.sub(r"<[^<>]*>", " ", text))
        return f"a web page ({shortened(text, 160)})" if text.strip() else "an empty web page"
    return f"the text {shortened(text, 160)!r}" if text.strip() else "nothing"


def shortened(text: str, length: int = 400) -> str:
    """The text on one line, and no longer than that many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length].rstrip()}…"


def _without_query(url: str) -> str:
    return re.split(r"[?#]", url)[0]


def _is_page(body: bytes) -> bool:
    return re.match(rb"\s*(<!doctype html|<html|<head|<body|<\?xml|<!--)", body[:500], re.IGNORECASE) is not None
