"""What the gate answers to those it does not let in, in the form that the path's clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping

from . import problems


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """The request goes no further.

    Args:
        status: of HTTP.
        code: of JSON-RPC.
        words: what was wrong.
    """

    def __init__(self, status: int, code: int, words: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.code, self.words = status, code, words
        self.headers = dict(headers or {})


def refusal(path: str, no: Refusal) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the answer."""
    if (told := problems.refusal(path, no.status, no.words)) is not None:
        return told
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": no.code, "message": no.words}}
    return {"content-type": "application/json"}, json.dumps(body, ensure_ascii=False).encode()
