"""MCP for programs that know nothing of server-sent events: they get each answer as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BOTH = b"application/json, text/event-stream"
"""What the SDK wants to read in Accept."""

ENDLESS = "subscriptions/listen"
"""The method whose answer is nothing but news."""

INVALID_REQUEST = -32600
"""What JSON-RPC says to a message that is none."""


class Plain:
    """Answers with JSON whoever does not name `text/event-stream` in Accept, as curl and most HTTP libraries do unasked: progress on the way is left out.

    Clients of MCP name both, and are answered as before. A message that is no JSON-RPC is refused in a sentence, to everybody.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        if wants_json(asked.getlist("accept")) and asked.get("mcp-method") != ENDLESS:
            headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
            scope = {**scope, "headers": [*headers, (b"accept", BOTH)]}
            await self._app(scope, receive, _Answer(send, events=True))
        else:
            await self._app(scope, receive, _Answer(send, events=False))


def wants_json(accept: Iterable[str]) -> bool:
    """Whether these Accept headers ask for JSON and do not name event streams."""
    kinds = {kind.partition(";")[0].strip().lower() for line in accept for kind in line.split(",")} - {""}
    return not kinds & {"text/event-stream", "text/*"} and (not kinds or bool(kinds & {"application/json", "application/*", "*/*"}))


class _Answer:
    """Sends a response on, and makes another of it where it has to be whole.

    Args:
        events: a stream of events becomes its answer.
    """

    def __init__(self, send: Send, *, events: bool) -> None:
        self._send = send
        self._events = events
        self._start: Message | None = None
        """Of a response that is being collected."""
        self._streams = False
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._streams = kind.startswith("text/event-stream")
            if (self._streams and self._events) or message["status"] == 400:
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if self._streams:
            self._body = _without_news(self._body)
        if not message.get("more_body", False):
            await self._whole(self._start)

    async def _whole(self, start: Message) -> None:
        body = (_data(self._body) or _refusal(None, -32603, "The session ended before the answer.")) if self._streams else _in_a_sentence(self._body)
        headers = [(name, value) for name, value in start["headers"] if name.lower() not in (b"content-type", b"content-length")]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _without_news(stream: bytes) -> bytes:
    """The stream without those of its whole events that are no answer, so that a long one does not pile up."""
    *events, rest = stream.replace(b"\r\n", b"\n").split(b"\n\n")
    return b"".join(event + b"\n\n" for event in events if _is_answer(_data(event))) + rest


def _data(event: bytes) -> bytes:
    return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:"))


def _is_answer(data: bytes) -> bool:
    message = _object(data)
    return "result" in message or ("error" in message and "method" not in message)


def _in_a_sentence(body: bytes) -> bytes:
    """The SDK's refusal of what is no message, without the validator's own words."""
    message = _object(body)
    if not str(message.get("error", {}).get("message", "")).startswith("Validation error:"):
        return body
    words = "Invalid Request: the message must be one JSON object with 'jsonrpc' (\"2.0\"), 'method', and an 'id' unless it is a notification."
    return _refusal(message.get("id"), INVALID_REQUEST, words)


def _refusal(identity: object, code: int, words: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": words}}).encode()


def _object(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
