"""How large an answer over HTTP may be: clients refuse a server-sent event of more than a megabyte, and then have no answer at all.

Pictures never come near it, because what is larger is not sent inline. This is for the rest: many pictures with long prompts, long lists of templates.
"""

from __future__ import annotations

from typing import Any

from mcp import types
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter

from ...errors import LimitError
from .answers import error_answer, fitted
from .callers import Request

EVENT_LIMIT = 1_000_000
"""Bytes of a result; the rest of the mebibyte is for what the protocol puts around it."""

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


async def within_an_event(ctx: Request, call_next: CallNext) -> HandlerResult:
    """The answer, where it fits; else one that says that it does not."""
    try:
        result = await call_next(ctx)
    except MCPError as error:
        if len(_ANYTHING.dump_json(error.error)) <= EVENT_LIMIT:
            raise
        raise MCPError(code=error.error.code, message=error.error.message[:1000]) from error
    size = len(_ANYTHING.dump_json(result))
    if size <= EVENT_LIMIT:
        return result
    words = (
        f"The answer has {size} bytes, and over HTTP at most {EVENT_LIMIT} are sent at once. Ask for less: a lower limit, one picture, one provider."
    )
    if ctx.method != "tools/call" or not isinstance(result, dict):
        raise MCPError(code=types.INTERNAL_ERROR, message=words)
    refused = fitted(error_answer(LimitError(words, code="payload_too_large")), structured="structuredContent" in result)
    wire = refused.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in wire.items() if key != "resultType" or key in result}  # which versions before 2026 do not have
