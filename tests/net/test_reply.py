from __future__ import annotations

import base64
import os

import pytest

from mcp_image_server.errors import BadReplyError
from mcp_image_server.net import Reply

from .acme import ACME, Task

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"id": 1}', r"unknown form \(id: Input should be a valid string\)"),
        (b'{"id"', "instead of JSON"),
        (b"<html><body>Log in</body></html>", r"a web page \(Log in\) instead of JSON\. Check that ACME_BASE_URL"),
        (b"", "nothing instead of JSON"),
        (b'{"id": [' + b"0," * 1_000_001 + b"0]}", "more than 1,000,000 values"),
    ],
)
def test_a_success_of_another_form_is_a_bad_reply_that_may_have_been_billed(body: bytes, words: str) -> None:
    with pytest.raises(BadReplyError, match=words) as caught:
        Reply(service=ACME, body=body, headers={"cf-ray": "c1"}).parse(Task)
    assert (caught.value.may_have_been_billed, caught.value.request_id) == (True, "c1")
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)  # it would show the reply


def test_json_that_is_nested_without_end_is_a_bad_reply() -> None:
    with pytest.raises(BadReplyError, match="instead of JSON"):
        Reply(service=ACME, body=b"[" * 200_000).json()


async def test_base64_of_any_size_is_decoded_and_nothing_else_is() -> None:
    reply = Reply(service=ACME)
    data = os.urandom(1_000_003)
    assert await reply.decode(base64.b64encode(data).decode()) == data
    assert await reply.decode("data:image/png;base64,QUJD") == b"ABC"
    for text in ("QUJD!", "QUJ", "QQ==QUJD", "Q" * (2**18) + "=", "é" * 8):
        with pytest.raises(BadReplyError, match="not valid base64"):
            await reply.decode(text)
