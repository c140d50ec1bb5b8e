"""A server with the wire shape of Together AI for pictures, and the faults of the true one on demand.

The rules follow the schema of `/images/generations`; the wording of its errors was made up to fit them.
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

from .server import Server, picture

IMAGE = {"type": "string", "pattern": "^(https://|data:image/)"}
RULES: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "model"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "model": {"type": "string", "pattern": "/"},
        "steps": {"type": "integer"},
        "image_url": IMAGE,
        "seed": {"type": "integer"},
        "n": {"type": "integer", "minimum": 1, "maximum": 4},
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "negative_prompt": {"type": "string"},
        "response_format": {"enum": ["base64", "url"]},
        "guidance_scale": {"type": "number"},
        "output_format": {"enum": ["jpeg", "png"]},
        "image_loras": {"type": "array", "items": {"type": "object", "required": ["path", "scale"]}},
        "reference_images": {"type": "array", "items": IMAGE},
        "disable_safety_checker": {"type": "boolean"},
    },
}

PLAIN = ("seed", "negative_prompt", "steps", "guidance_scale")
"""What the resold models refuse."""


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    NSFW = "the safety checker was triggered"
    NO_CREDIT = "the account has no credit"
    RATE_LIMITED = "too many requests"
    EMPTY = "status 200 and no picture"
    ERROR_200 = "status 200 and an error"
    LINKS = "links instead of pictures"
    MORE_FIELDS = "fields nobody knows"
    KEY_ECHO = "an error that repeats the key"


class FakeTogether(Server):
    """Together AI on a port of this machine. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, key: str = "tg-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/v1/images/generations", self._draw, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/files/{name}", lambda request: Response(picture(32, 32))),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """As if nobody had called yet."""
        self.seen.clear()
        self.trouble.clear()

    def _known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    async def _models(self, request: Request) -> Response:
        if not self._known(request):
            return failure(401, "Invalid API key provided", "invalid_api_key")
        return JSONResponse([{"id": "black-forest-labs/FLUX.2-pro", "object": "model", "created": 0, "type": "image"}])

    async def _draw(self, request: Request) -> Response:
        if not self._known(request):
            return failure(401, "Invalid API key provided", "invalid_api_key")
        match self.trouble.popleft() if self.trouble else None:
            case Trouble.NSFW:
                return failure(422, "NSFW content detected in the prompt", "nsfw_content")
            case Trouble.NO_CREDIT:
                return failure(402, "Credit limit exceeded, please navigate to the billing page", "credit_limit")
            case Trouble.RATE_LIMITED:
                return failure(429, "You have reached the rate limit specific to this model", "rate_limit", {"retry-after": "3600"})
            case Trouble.EMPTY:
                return JSONResponse({"id": "o1", "model": "m", "object": "list", "data": []})
            case Trouble.ERROR_200:
                return failure(200, "The model is overloaded", "server_error")
            case Trouble.KEY_ECHO:
                return failure(400, f"Bad header {request.headers['authorization']}", "bad_request")
            case trouble:
                return await self._picture(await request.json(), trouble)

    async def _picture(self, body: Any, trouble: Trouble | None) -> Response:
        try:
            jsonschema.validate(body, RULES)
        except jsonschema.ValidationError as error:
            return failure(400, error.message, "invalid_request_error", param=".".join(map(str, error.path)))
        if not body["model"].startswith("black-forest-labs/") and (refused := [name for name in PLAIN if name in body]):
            return failure(400, f"{refused[0]} is not supported by this model", "invalid_request_error", param=refused[0])
        if "kontext" in body["model"] and "reference_images" in body:
            return failure(400, "reference_images is not supported by this model", "invalid_request_error", param="reference_images")
        data = base64.b64encode(picture(body.get("width", 1024), body.get("height", 1024), body.get("output_format", "jpeg"))).decode()
        entries: list[dict[str, Any]] = [{"index": number, "type": "b64_json", "b64_json": data} for number in range(body.get("n", 1))]
        if trouble is Trouble.LINKS:
            entries = [{"index": 0, "type": "url", "url": f"{self.url}/files/a.png"}]
        more = {"timings": {"inference": 1.5}, "usage": None} if trouble is Trouble.MORE_FIELDS else {}
        return JSONResponse({"id": "oGEB-1", "model": body["model"], "object": "list", "data": entries, **more})


def failure(status: int, message: str, code: str, headers: dict[str, str] | None = None, *, param: str | None = None) -> Response:
    """An error in the service's form."""
    return JSONResponse({"id": "oGEB-2", "error": {"message": message, "type": code, "param": param, "code": code}}, status, headers=headers)
