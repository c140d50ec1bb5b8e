"""Every failure that is expected, arranged by who can fix it.

::

    ImageServerError            code, retryable, details
    ├── RequestError            the caller       invalid_arguments, invalid_style, invalid_resolution, invalid_parameters …
    │   ├── NotFoundError                        image_not_found, job_not_found, file_not_found, provider_unavailable …
    │   ├── UnsupportedError                     unsupported
    │   └── LimitError                           payload_too_large, quota_exceeded, budget_exceeded
    ├── ConfigError             the operator     provider_missing, invalid_config, restart_required
    ├── StorageError            the operator     storage_unavailable (folder not writable, database locked or broken)
    └── ProviderError           the service      provider_error  (provider, status, request_id, retry_after, may_have_been_billed)
        ├── RefusedError                         refused
        ├── AuthError                            auth
        ├── QuotaError                           quota
        ├── RateLimitedError    retryable        rate_limited
        ├── UnavailableError    retryable        unavailable
        └── BadReplyError                        bad_reply

Anything else that escapes is a bug and is logged as one. A message says what was wrong and what would work: a language model reads it as its next turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ImageServerError(Exception):
    """Any expected failure; `code` is stable and part of the public contract, `details` is JSON-ready."""

    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details: dict[str, Any] = dict(details or {})


class RequestError(ImageServerError):
    """The caller asked for something that cannot be; asking differently helps."""

    default_code = "invalid_arguments"


class NotFoundError(RequestError):
    """What the caller named does not exist for this caller."""

    default_code = "not_found"


class UnsupportedError(RequestError):
    """The chosen model cannot do this; the message names models that can."""

    default_code = "unsupported"


class LimitError(RequestError):
    """A limit of the server was reached: bytes, quota or money."""

    default_code = "quota_exceeded"


class ConfigError(ImageServerError):
    """The operator's settings are missing or wrong; the message names the variable."""

    default_code = "invalid_config"


class StorageError(ImageServerError):
    """The folder or database cannot be used; the message names it and what to check."""

    default_code = "storage_unavailable"


class ProviderError(ImageServerError):
    """A service failed.

    Args:
        provider: the service's name in our words.
        status: its HTTP status, where there was one.
        request_id: the service's own id for the call, for its support desk.
        retry_after: seconds the service asked us to wait.
        may_have_been_billed: the service may have accepted the work although no picture came back.
        not_accepted: the service surely did not take the work, so repeating it cannot be paid twice.
    """

    default_code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        may_have_been_billed: bool = False,
        not_accepted: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        facts: dict[str, Any] = {
            "provider": provider or None,
            "status": status,
            "request_id": request_id,
            "retry_after": retry_after,
            "may_have_been_billed": may_have_been_billed or None,
        }
        super().__init__(message, code=code, details={**{k: v for k, v in facts.items() if v is not None}, **(details or {})})
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.may_have_been_billed = may_have_been_billed
        self.not_accepted = not_accepted


class RefusedError(ProviderError):
    """The service's moderation said no; the same words will be refused again."""

    default_code = "refused"


class AuthError(ProviderError):
    """The key is wrong, or is not allowed to use this model."""

    default_code = "auth"


class QuotaError(ProviderError):
    """The account's money or allowance is used up."""

    default_code = "quota"


class RateLimitedError(ProviderError):
    """Too many calls just now; nothing was accepted."""

    default_code = "rate_limited"
    retryable = True


class UnavailableError(ProviderError):
    """The service is down, overloaded or out of reach."""

    default_code = "unavailable"
    retryable = True


class TimedOutError(UnavailableError):
    """The service took the work, and was not done with it in the time that it was given."""

    default_code = "timeout"


class BadReplyError(ProviderError):
    """The service answered, but not with what its documentation promises."""

    default_code = "bad_reply"
