from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.net import Fault, words_in
from mcp_image_server.net.failures import retry_after

from .acme import fails


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "not_accepted", "billed"),
    [
        (400, ProviderError, False, True, False),
        (401, AuthError, False, True, False),
        (402, QuotaError, False, True, False),
        (403, AuthError, False, True, False),
        (404, ProviderError, False, True, False),
        (408, UnavailableError, True, True, False),
        (409, UnavailableError, True, False, False),
        (413, ProviderError, False, True, False),
        (422, ProviderError, False, True, False),
        (429, RateLimitedError, True, True, False),
        (500, UnavailableError, True, False, False),
        (501, ProviderError, False, False, False),
        (502, UnavailableError, True, False, False),
        (503, UnavailableError, True, False, False),
        (504, UnavailableError, True, False, True),
        (524, UnavailableError, True, False, True),
        (529, UnavailableError, True, False, False),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[ProviderError], retryable: bool, not_accepted: bool, billed: bool) -> None:
    error = fails(status, {"message": "no"}, {"x-request-id": "r1"})
    assert type(error) is kind
    assert (error.status, error.request_id, error.retryable, error.not_accepted, error.may_have_been_billed) == (
        *(status, "r1", retryable, not_accepted, billed),
    )
    assert error.message.startswith(f"Acme answered {status}: no.")


def test_the_adapters_reading_of_the_body_wins_over_the_status() -> None:
    fault = Fault(message="unsafe", kind=RefusedError, details={"reasons": ["violence"]})
    error = fails(400, {"code": 7}, read_fault=lambda status, body: fault if (status, body) == (400, {"code": 7}) else None)
    assert (type(error), error.message, error.details) == (
        RefusedError,
        "Acme answered 400: unsafe. The same words will be refused again: ask for something else.",
        {"provider": "acme", "status": 400, "reasons": ["violence"]},
    )
    assert not error.not_accepted


def test_a_waiting_time_in_the_body_is_heard() -> None:
    error = fails(429, {}, read_fault=lambda status, body: Fault(message="slow down", retry_after=27))
    assert (error.retry_after, error.message) == (27, "Acme answered 429: slow down. Try again in 27 seconds.")


def test_a_web_page_is_quoted_without_tags_and_points_at_the_base_url() -> None:
    page = b"<!DOCTYPE html><html><style>p {}</style><script>x()</script><body><h1>Welcome &amp; hello</h1></body></html>"
    hint = "Check that ACME_BASE_URL (http://127.0.0.1:1/v1) is the address of the programming interface; many services want it to end in a version such as /v1."
    below = fails(404, page)
    assert (type(below), below.message) == (BadReplyError, f"Acme answered 404 with a web page (Welcome & hello). {hint}")
    above = fails(502, page)
    assert (type(above), above.message) == (
        UnavailableError,
        f"Acme answered 502: a web page (Welcome & hello). {hint} Try again later, or use another provider.",
    )
    assert type(fails(429, page)) is RateLimitedError


def test_a_redirect_of_a_call_is_not_followed_and_shown_without_its_query() -> None:
    error = fails(307, b"", {"location": "https://elsewhere.example/v1?signature=abc"})
    assert type(error) is BadReplyError
    assert "https://elsewhere.example/v1, which" in error.message
    assert "signature" not in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("text", "text"),
        ({"message": "a"}, "a"),
        ({"error": {"message": "b"}}, "b"),
        ({"detail": [{"loc": ["x"], "msg": "c"}, {"msg": "d"}]}, "c; d"),
        ({"errors": ["e", "f"]}, "e; f"),
        ({"error": None, "code": 3}, ""),
        (None, ""),
        (17, ""),
    ],
)
def test_the_words_for_people_are_found(body: Any, words: str) -> None:
    assert words_in(body) == words


def test_the_time_to_wait_is_read_in_every_form() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert 28 < (retry_after({"retry-after": format_datetime(soon, usegmt=True)}) or 0) <= 30
    assert 28 < (retry_after({"retry-after": f"{soon:%a, %d %b %Y %H:%M:%S} -0000"}) or 0) <= 30
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert retry_after({"retry-after": "later"}) is None
    assert retry_after({}) is None


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading_of_the_time_to_wait(text: str) -> None:
    wait = retry_after({"retry-after": text})
    assert wait is None or wait >= 0
