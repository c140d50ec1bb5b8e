from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.net import Fault, Reply

from .acme import ACME, KEY, fails


def test_secrets_are_taken_out_of_whatever_the_service_says() -> None:
    read: Callable[[int, Any], Fault] = lambda status, body: Fault(message=f"bad {KEY}", details={"a": [KEY, {"b": KEY}], "n": 1})  # noqa: E731
    error = fails(400, {"x": 1}, read_fault=read)
    assert KEY not in f"{error!r}{error.message}{error.details}"
    assert error.details["a"] == ["***", {"b": "***"}]
    for body in ({"error": KEY}, KEY.encode(), f"<html>{KEY}</html>".encode()):
        assert KEY not in repr(fails(400, body))
    for start in range(390, 401):
        assert KEY[:8] not in repr(fails(400, {"error": "x" * start + KEY}))
    for start in range(150, 161):
        assert KEY[:8] not in repr(fails(500, b"x" * start + KEY.encode()))
    assert "pass" not in repr(fails(404, b"", base_url="https://user:pass@acme.example/v1"))
    assert KEY not in repr(ACME)
    assert KEY not in repr(Reply(service=ACME, body=KEY.encode()))


@pytest.mark.parametrize(
    ("kind", "retry_after", "advice"),
    [
        (ProviderError, None, ""),
        (AuthError, None, " Check ACME_API_KEY, and what its account is allowed to use."),
        (QuotaError, None, " Credit or allowance of the account is used up: raise it with the service, or use another provider."),
        (RateLimitedError, None, " Try again a little later."),
        (RateLimitedError, 7, " Try again in 7 seconds."),
        (RefusedError, None, " The same words will be refused again: ask for something else."),
        (UnavailableError, None, " Try again later, or use another provider."),
        (UnavailableError, 0.5, " Try again in 0.5 seconds."),
        (BadReplyError, None, ""),
    ],
)
def test_each_class_of_failure_comes_with_what_would_help(kind: type[ProviderError], retry_after: float | None, advice: str) -> None:
    assert ACME.failure(kind, f"It said {KEY}", retry_after=retry_after).message == f"It said ***.{advice}"


def test_a_sentence_that_is_one_gets_no_second_full_stop() -> None:
    assert ACME.failure(ProviderError, "不行。").message == "不行。"


def test_no_error_of_the_operators_own_engine_speaks_of_a_bill() -> None:
    error = replace(ACME, free=True).failure(ProviderError, "it broke", may_have_been_billed=True)
    assert (error.message, error.may_have_been_billed, error.details) == ("it broke.", False, {"provider": "acme"})
