"""Failures as HTTP tells them: a status, and a body in the shape that the callers of a path know.

Under `/v1` that is OpenAI's `{"error": {message, type, param, code}}`, under the other paths of this interface problem details (RFC 9457), and everywhere else,
where MCP is spoken, an error of JSON-RPC. None says more than the message was written to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ...errors import ConfigError, ImageServerError, NotFoundError, ProviderError, RequestError, StorageError
from ...models import Failure

OPENAI_PREFIX = "/v1"
PROBLEM_PREFIXES = ("/api", "/uploads")
PROBLEM = "application/problem+json"

KINDS: Mapping[str, tuple[int, str]] = {
    "unauthorized": (401, "the caller"),
    "forbidden": (403, "the caller"),
    "method_not_allowed": (405, "the caller"),
    "precondition_failed": (412, "the caller"),
    "unsupported_media_type": (415, "the caller"),
    "misdirected": (421, "the operator"),
    "payload_too_large": (413, "the caller"),
    "quota_exceeded": (429, "the caller"),
    "budget_exceeded": (403, "the operator"),
    "price_unknown": (403, "the operator"),
    "confirmation_required": (403, "the operator"),
    "declined": (403, "the person"),
    "idempotency_conflict": (409, "the caller"),
    "upload_conflict": (409, "the caller"),
    "file_not_found": (404, "the operator"),
    "cancelled": (409, "nobody"),
    "interrupted": (503, "the caller"),
    "timeout": (504, "the service"),
    "refused": (400, "the caller"),
    "auth": (502, "the operator"),
    "quota": (429, "the operator"),
    "rate_limited": (429, "the service"),
    "unavailable": (503, "the service"),
    "bad_reply": (502, "the service"),
    "provider_error": (502, "the service"),
    "internal_error": (500, "the developers"),
}
"""Status, and who can do something about it, of codes for which the class of the error does not say it all.

No money is 403 and not 402 or 429: the same call will not do later unless somebody raises the budget, and clients repeat a 429 by themselves.
"""

_CLASSES: tuple[tuple[type[ImageServerError], int, str], ...] = (
    (NotFoundError, 404, "the caller"),
    (RequestError, 400, "the caller"),
    (ConfigError, 503, "the operator"),
    (StorageError, 503, "the operator"),
    (ProviderError, 502, "the service"),
    (ImageServerError, 500, "the developers"),
)

_OPENAI_WORDS = {
    "unauthorized": "invalid_api_key",
    "refused": "moderation_blocked",
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "rate_limit_exceeded",
    "quota": "insufficient_quota",
}
"""Codes that programs written for OpenAI look for."""

_OPENAI_TYPES = {"moderation_blocked": "image_generation_user_error", "insufficient_quota": "insufficient_quota"}
_TYPES_BY_STATUS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_PARAMETERS = {
    "model_not_found": "model",
    "provider_unavailable": "model",
    "invalid_resolution": "size",
    "invalid_style": "style",
    "invalid_image": "image",
}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A failure, ready to be told."""

    status: int
    code: str
    message: str
    who: str
    retryable: bool = False
    """The same call may do later, and nothing is paid twice."""
    details: Mapping[str, Any] = field(default_factory=dict)
    job_id: str | None = None

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait."""
        seconds = self.details.get("retry_after")
        return max(0, math.ceil(seconds)) if isinstance(seconds, int | float) and math.isfinite(seconds) else None


def trouble_of(error: ImageServerError | Failure, *, job_id: str | None = None) -> Trouble:
    """What there is to tell about the failure of a call, or of a job."""
    if isinstance(error, ImageServerError):
        fallback = next((status, who) for kind, status, who in _CLASSES if isinstance(error, kind))
        billed = bool(error.details.get("may_have_been_billed"))
    else:
        fallback = (502, "the service") if "provider" in error.details else (400, "the caller")
        billed = error.may_have_been_billed
    status, who = KINDS.get(error.code, fallback)
    return Trouble(
        status=status,
        code=error.code,
        message=error.message,
        who=who,
        retryable=error.retryable and not billed,
        details={**error.details, "may_have_been_billed": True} if billed else error.details,
        job_id=job_id,
    )


def at_the_door(status: int, message: str) -> Trouble:
    """What there is to tell about a request that was turned away before anything was begun."""
    code = _DOOR.get(status, "invalid_arguments" if status < 500 else "internal_error")
    who = "the caller" if status < 500 else KINDS.get(code, (0, "the operator"))[1]
    return Trouble(status=status, code=code, message=message, who="the operator" if status == 421 else who, retryable=status in (408, 429, 503))


_DOOR = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "payload_too_large", 421: "misdirected"}
_DOOR |= {408: "timeout", 429: "rate_limited", 503: "unavailable"}


def speaks_openai(path: str) -> bool:
    """Whether the callers of this path are written for OpenAI."""
    return _is_under(OPENAI_PREFIX, path)


def _is_under(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def problem(trouble: Trouble) -> dict[str, Any]:
    """Problem details. The type is left at `about:blank`: what is particular stands in `code`."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(trouble.status).phrase,
        "status": trouble.status,
        "detail": trouble.message,
        "code": trouble.code,
        "who_can_fix_it": trouble.who,
        "retryable": trouble.retryable,
        "details": dict(trouble.details),
    }
    return {**body, "job_id": trouble.job_id} if trouble.job_id else body


def openai_error(trouble: Trouble) -> dict[str, Any]:
    """The same in OpenAI's shape, with our details beside."""
    code = _OPENAI_WORDS.get(trouble.code, trouble.code)
    kind = _OPENAI_TYPES.get(code) or _TYPES_BY_STATUS.get(trouble.status) or ("server_error" if trouble.status >= 500 else "invalid_request_error")
    parameter = trouble.details.get("parameter") or _PARAMETERS.get(trouble.code)
    error: dict[str, Any] = {"message": trouble.message, "type": kind, "param": parameter, "code": code}
    if trouble.details:
        error["details"] = dict(trouble.details)
    if trouble.job_id:
        error["job_id"] = trouble.job_id
    return {"error": error}


def rpc_error(trouble: Trouble) -> dict[str, Any]:
    """The same as an error of JSON-RPC. Nobody knows which request it answers: its body was not read."""
    return {"jsonrpc": "2.0", "id": None, "error": {"code": _RPC_CODES.get(trouble.code, INVALID_REQUEST), "message": trouble.message}}


INVALID_REQUEST = -32600

_RPC_CODES = {"unauthorized": -32001, "forbidden": -32002, "misdirected": -32002, "unavailable": -32003, "rate_limited": -32005}
"""Of those that JSON-RPC leaves to servers."""


def answer(path: str, trouble: Trouble, headers: Mapping[str, str] | None = None) -> Response:
    """The response by which the callers of that path are told.

    OpenAI's own libraries repeat a 409, a 429 and every 5xx unless they are told not to; a call that may have been paid for must not be repeated by itself.
    """
    own = {"cache-control": "no-store", **({"x-job-id": trouble.job_id} if trouble.job_id else {})}
    if trouble.retry_after is not None:
        own["retry-after"] = str(trouble.retry_after)
    if speaks_openai(path):
        own |= {"content-type": "application/json", "x-should-retry": "true" if trouble.retryable else "false"}
        body = openai_error(trouble)
    elif any(_is_under(prefix, path) for prefix in PROBLEM_PREFIXES):
        own["content-type"] = PROBLEM
        body = problem(trouble)
    else:
        own["content-type"] = "application/json"
        body = rpc_error(trouble)
    content = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return Response(content, trouble.status, {**own, **(headers or {})})


def refused(path: str, error: ImageServerError | Failure, *, job_id: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The response to a call that failed."""
    return answer(path, trouble_of(error, job_id=job_id), headers)
