"""A server with the wire shape of Cloudflare's Workers AI for pictures, and the faults of the true one on demand."""

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

ACCOUNT = "0123456789abcdef0123456789abcdef"


def edge(longest: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 256, "maximum": longest}


BYTES = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}
FORM_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "width": edge(1920),
        "height": edge(1920),
        "steps": {"type": "integer"},
        "seed": {"type": "integer"},
        "guidance": {"type": "number"},
    },
}
SCHNELL_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 2048},
        "steps": {"type": "integer", "maximum": 8},
    },
}
JSON_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "negative_prompt": {"type": "string"},
        "width": edge(2048),
        "height": edge(2048),
        "num_steps": {"type": "integer", "maximum": 20},
        "guidance": {"type": "number"},
        "seed": {"type": "integer"},
        "image_b64": {"type": "string"},
        "mask": BYTES,
        "strength": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
ANSWERS_IN_JSON = ("/flux-", "/lucid-origin")


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    NSFW = "the prompt is turned away"
    FREE_DAY_OVER = "the day's free allocation is used up"
    NO_CAPACITY = "no data center has room"
    NO_ROUTE = "the account's id is wrong"
    FAILED_200 = "status 200 and no success"
    EMPTY = "status 200 and no picture"
    MORE_FIELDS = "fields nobody knows"
    KEY_ECHO = "an error that repeats the token"


class FakeCloudflare(Server):
    """Workers AI on a port of this machine. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, token: str = "cf-fake-0123456789") -> None:
        self.token = token
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route(f"/client/v4/accounts/{ACCOUNT}/ai/run/{{model:path}}", self._run, methods=["POST"]),
            Route(f"/client/v4/accounts/{ACCOUNT}/ai/models/search", self._search),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """As if nobody had called yet."""
        self.seen.clear()
        self.trouble.clear()

    def _known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.token}"

    async def _search(self, request: Request) -> Response:
        if not self._known(request):
            return failure(401, 10000, "Authentication error")
        listed = [{"id": "1", "name": "@cf/black-forest-labs/flux-2-klein-9b", "task": {"name": "Text-to-Image"}}]
        return JSONResponse({"success": True, "result": listed, "errors": [], "messages": []})

    async def _run(self, request: Request) -> Response:
        if not self._known(request):
            return failure(401, 10000, "Authentication error")
        match self.trouble.popleft() if self.trouble else None:
            case Trouble.NSFW:
                return failure(400, 3030, "AiError: Input prompt contains NSFW content.")
            case Trouble.FREE_DAY_OVER:
                return failure(429, 3036, "AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade")
            case Trouble.NO_CAPACITY:
                return failure(429, 3040, "AiError: Capacity temporarily exceeded", {"retry-after": "3600"})
            case Trouble.NO_ROUTE:
                return failure(400, 7003, "Could not route to /accounts/x/ai/run, perhaps your object identifier is invalid?")
            case Trouble.FAILED_200:
                return failure(200, 3043, "AiError: Internal server error")
            case Trouble.EMPTY:
                return JSONResponse({"success": True, "result": {}, "errors": [], "messages": []})
            case Trouble.KEY_ECHO:
                return failure(400, 3003, f"bad header {request.headers['authorization']}")
            case trouble:
                return await self._draw(request, request.path_params["model"], trouble)

    async def _draw(self, request: Request, model: str, trouble: Trouble | None) -> Response:
        if "/flux-2-" in model:
            try:
                parts = parts_of(self.seen[-1])
            except ValueError:
                return failure(400, 5006, "AiError: Bad input: required properties at '/' are 'multipart'")
            numbers = ("width", "height", "steps", "seed")
            body: Any = {name: int(value) if name in numbers else value for name, value in parts if isinstance(value, str)}
            body |= {"guidance": float(body["guidance"])} if "guidance" in body else {}
            rules = FORM_RULES
        else:
            body, rules = await request.json(), SCHNELL_RULES if model.endswith("flux-1-schnell") else JSON_RULES
        try:
            jsonschema.validate(body, rules)
        except jsonschema.ValidationError as error:
            return failure(400, 5006, f"AiError: Bad input: {error.message}")
        if ("img2img" in model or "inpainting" in model) and "image_b64" not in body:
            return failure(400, 5006, "AiError: Bad input: image is required")
        if "inpainting" in model and "mask" not in body:
            return failure(400, 5006, "AiError: Bad input: mask is required")
        data = picture(body.get("width", 1024), body.get("height", 768))
        if not any(part in model for part in ANSWERS_IN_JSON):
            return Response(data, media_type="image/png", headers={"cf-ray": "RAY1"})
        more = {"usage": {"neurons": 12}} if trouble is Trouble.MORE_FIELDS else {}
        result = {"image": base64.b64encode(data).decode(), **more}
        return JSONResponse({"success": True, "result": result, "errors": [], "messages": []}, headers={"cf-ray": "RAY1"})


def failure(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error in the service's form."""
    body = {"success": False, "result": None, "errors": [{"code": code, "message": message}], "messages": []}
    return JSONResponse(body, status, headers=headers)
