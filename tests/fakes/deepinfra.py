"""A server with the wire shape of DeepInfra for pictures, and the faults of the true one on demand.

The rules of the OpenAI routes are those of its specification; those of its own route follow what its models have in common.
"""

from __future__ import annotations

import base64
from collections import deque
from enum import StrEnum
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .multipart import parts_of
from .server import Server, picture

SIZE = {"type": "string", "pattern": "^[0-9]+x[0-9]+$"}
OPENAI_RULES: dict[str, Any] = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "n": {"type": "integer", "minimum": 1, "maximum": 4},
        "response_format": {"enum": ["b64_json"]},
        "size": SIZE,
        "user": {"type": "string"},
        "prompt": {"type": "string"},
        "quality": {"type": "string"},
        "style": {"type": "string"},
    },
}
OWN_RULES: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "width": {"type": "integer", "minimum": 128, "maximum": 2048},
        "height": {"type": "integer", "minimum": 128, "maximum": 2048},
        "num_images": {"type": "integer", "minimum": 1, "maximum": 4},
        "seed": {"type": "integer", "minimum": 0},
        "num_inference_steps": {"type": "integer"},
        "guidance_scale": {"type": "number"},
    },
}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    NSFW = "every picture is turned away"
    ONE_NSFW = "the first picture is turned away"
    BLOCKED = "the prompt is turned away"
    NO_BALANCE = "the account has no balance"
    RATE_LIMITED = "too many requests"
    FAILED = "status 200 and work that failed"
    EMPTY = "status 200 and no picture"
    MORE_FIELDS = "fields nobody knows"
    KEY_ECHO = "an error that repeats the key"


class FakeDeepInfra(Server):
    """DeepInfra on a port of this machine. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, key: str = "di-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/v1/inference/{model:path}", self._own, methods=["POST"]),
            Route("/v1/openai/images/generations", self._openai, methods=["POST"]),
            Route("/v1/openai/images/{route}", self._openai, methods=["POST"]),
            Route("/v1/me", self._me),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """As if nobody had called yet."""
        self.seen.clear()
        self.trouble.clear()

    def _turned_away(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"detail": {"error": "User is not authenticated"}}, 401)
        match self.trouble[0] if self.trouble else None:
            case Trouble.BLOCKED:
                answer: Response = JSONResponse({"error": {"message": "Prompt violates the content policy", "type": "invalid_request_error"}}, 400)
            case Trouble.NO_BALANCE:
                answer = JSONResponse({"detail": {"error": "inference prohibited, check balance"}}, 402)
            case Trouble.RATE_LIMITED:
                answer = JSONResponse({"detail": {"error": "rate limited"}}, 429, headers={"retry-after": "3600"})
            case Trouble.KEY_ECHO:
                answer = JSONResponse({"detail": {"error": f"bad {request.headers['authorization']}"}}, 400)
            case _:
                return None
        self.trouble.popleft()
        return answer

    async def _me(self, request: Request) -> Response:
        return self._turned_away(request) or JSONResponse({"uid": "u1", "email": "a@example.com"})

    async def _own(self, request: Request) -> Response:
        if (refusal := self._turned_away(request)) is not None:
            return refusal
        body = await request.json()
        if errors := list(jsonschema.Draft202012Validator(OWN_RULES).iter_errors(body)):
            return JSONResponse({"detail": [{"loc": ["body", *error.path], "msg": error.message, "type": "value_error"} for error in errors]}, 422)
        trouble = self.trouble.popleft() if self.trouble else None
        count = body.get("num_images", 1)
        link = f"data:image/png;base64,{base64.b64encode(picture(body.get('width', 1024), body.get('height', 1024))).decode()}"
        flags = [trouble is Trouble.NSFW or (trouble is Trouble.ONE_NSFW and number == 0) for number in range(count)]
        status: dict[str, Any] = {"status": "succeeded", "runtime_ms": 900, "cost": 0.0105 * count, "tokens_generated": None}
        answer = {
            "images": [link] * count,
            "nsfw_content_detected": flags,
            "seed": body.get("seed", 5),
            "request_id": "R1",
            "inference_status": status,
        }
        match trouble:
            case Trouble.FAILED:
                answer |= {"images": [], "inference_status": {"status": "failed"}, "error": "CUDA error"}
            case Trouble.EMPTY:
                answer |= {"images": [None], "nsfw_content_detected": None}
            case Trouble.MORE_FIELDS:
                answer |= {"timings": {"a": 1}}
        return JSONResponse(answer)

    async def _openai(self, request: Request) -> Response:
        if (refusal := self._turned_away(request)) is not None:
            return refusal
        route = request.path_params.get("route", "generations")
        if route == "generations":
            body, rules = await request.json(), OPENAI_RULES
        else:
            parts = parts_of(self.seen[-1])
            body = {name: int(value) if name == "n" else value for name, value in parts if isinstance(value, str)}
            rules = {**OPENAI_RULES, "required": ["model"] if route == "variations" else ["model", "prompt"]}
            if "image" not in {name for name, value in parts if not isinstance(value, str)}:
                return JSONResponse({"detail": [{"loc": ["body", "image"], "msg": "Field required", "type": "missing"}]}, 422)
        if errors := list(jsonschema.Draft202012Validator(rules).iter_errors(body)):
            return JSONResponse({"detail": [{"loc": ["body", *error.path], "msg": error.message, "type": "value_error"} for error in errors]}, 422)
        trouble = self.trouble.popleft() if self.trouble else None
        width, _, height = body.get("size", "1024x1024").partition("x")
        entry = {"url": None, "revised_prompt": None, "b64_json": base64.b64encode(picture(int(width), int(height))).decode()}
        return JSONResponse({"created": 1, "data": [] if trouble is Trouble.EMPTY else [entry] * body.get("n", 1)})
