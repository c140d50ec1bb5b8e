"""What TokenHub answers. Facts from https://cloud.tencent.com/document/product/1823/135745."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ...errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...net import Fault, words_in

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture behind a link."""

    url: str
    revised_prompt: str | None = None


class Delta(BaseModel):
    """What a choice adds to the conversation."""

    image: Entry | None = None


class Choice(BaseModel):
    """One of the answers of a conversation."""

    delta: Delta | None = None


class TokenHubAnswer(BaseModel):
    """What TokenHub answers: entries, or choices, or, also with status 200, an error."""

    request_id: str | None = None
    error: Any = None
    data: list[Entry] | None = None
    choices: list[Choice] | None = None

    @property
    def entries(self) -> list[Entry]:
        """The pictures."""
        return [*(self.data or ()), *(choice.delta.image for choice in self.choices or () if choice.delta and choice.delta.image)]

    @property
    def error_id(self) -> str | None:
        """The id of a call that failed."""
        inside = self.error.get("request_id") if isinstance(self.error, dict) else None
        return self.request_id or (inside if isinstance(inside, str) else None)


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models that the key may use."""

    data: list[ListedModel]


# From wire ----------------------------------------------------------------------------------------------------------------------------------

_TOKENHUB_KINDS: Mapping[str, type[ProviderError]] = {
    "content_filter": RefusedError,
    "insufficient_quota": QuotaError,
    "invalid_api_key": AuthError,
    "rate_limit_exceeded": RateLimitedError,
    "server_error": UnavailableError,
}


def read_tokenhub_fault(status: int, body: Any) -> Fault | None:
    """What TokenHub's error bodies mean, with whatever status they come. 422 is its word for a refusal."""
    error = body.get("error") if isinstance(body, dict) else None
    message = words_in(body)
    code = error.get("code") if isinstance(error, dict) else body.get("code") if isinstance(body, dict) else None
    if not message and code is None and status != 422:
        return None
    kind = RefusedError if status == 422 else _TOKENHUB_KINDS.get(str(code))
    return Fault(message=message or "no reason given", kind=kind, details={"service_code": str(code)} if code is not None else {})
