"""A chat model's server with the interface that most of them share, and faults on demand."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Any

import anyio
import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .server import Server

RULES: dict[str, Any] = {
    "type": "object",
    "required": ["model", "messages"],
    "additionalProperties": False,
    "properties": {
        "model": {"const": "wordsmith-1"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {"role": {"enum": ["system", "user"]}, "content": {"type": "string", "minLength": 1}},
            },
        },
    },
}


class Trouble(StrEnum):
    """What the server can do to the next call instead of answering well."""

    NO_WORDS = "a message without content"
    NO_CHOICES = "no message at all"
    CUT_OFF = "the answer ended at the limit of tokens"
    TOO_LONG = "many more words than there is room for"
    KEY_ECHO = "an error that repeats the key"
    BROKEN = "an error of the server"
    SILENT = "no answer"


class FakeChat(Server):
    """The server on a port of this machine. It answers with `says`, in which {prompt} stands for the words it was sent."""

    def __init__(self, *, key: str = "chat-fake-0123456789", says: str = "{prompt}, seen from far away in the last light") -> None:
        self.key = key
        self.says = says
        self.trouble: deque[Trouble] = deque()
        routes = [Route("/v1/chat/completions", self._complete, methods=["POST"]), Route("/v1/models", self._models)]
        super().__init__(Starlette(routes=routes))

    @property
    def settings(self) -> dict[str, str]:
        """What the operator sets to use it."""
        return {"MCP_IMPROVE_URL": f"{self.url}/v1", "MCP_IMPROVE_KEY": self.key, "MCP_IMPROVE_MODEL": "wordsmith-1"}

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "wordsmith-1", "object": "model"}]}) if self._known(request) else unknown_key()

    def _known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    async def _complete(self, request: Request) -> Response:
        if not self._known(request):
            return unknown_key()
        body = await request.json()
        try:
            jsonschema.validate(body, RULES)
        except jsonschema.ValidationError as error:
            return failure(400, error.message, "invalid_request_error")
        words = self.says.replace("{prompt}", body["messages"][-1]["content"])
        match self.trouble.popleft() if self.trouble else None:
            case Trouble.NO_WORDS:
                return completion(None)
            case Trouble.NO_CHOICES:
                return JSONResponse({"id": "chatcmpl-1", "object": "chat.completion", "model": "wordsmith-1", "choices": []})
            case Trouble.CUT_OFF:
                return completion(words[:20], finish_reason="length")
            case Trouble.TOO_LONG:
                return completion("word " * 1000)
            case Trouble.KEY_ECHO:
                return failure(400, f"Bad header {request.headers['authorization']}", "invalid_request_error")
            case Trouble.BROKEN:
                return failure(500, "The server had an error", "server_error")
            case Trouble.SILENT:
                await anyio.sleep(60)
        return completion(words)


def completion(content: str | None, *, finish_reason: str = "stop") -> Response:
    """An answer in the interface's form."""
    message = {"role": "assistant", "content": content, "refusal": None}
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}]
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return JSONResponse({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "wordsmith-1", "choices": choices, "usage": usage})


def failure(status: int, message: str, kind: str) -> Response:
    """An error in the interface's form."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


def unknown_key() -> Response:
    """What a caller without the right key gets."""
    return failure(401, "Incorrect API key provided", "invalid_request_error")
