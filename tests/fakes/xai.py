"""A server with the wire shape of xAI's interface for images, and the faults of the true one on demand.

`python -m tests.fakes.xai --port 9005` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
from collections import deque
from enum import StrEnum
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

MODELS = ("grok-imagine-image-2.0", "grok-imagine-image")
EDIT_RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "2:1", "1:2", "auto"]
RATIOS = [*EDIT_RATIOS, "19.5:9", "9:19.5", "20:9", "9:20"]

_PICTURE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "url"],
    "properties": {"type": {"const": "image_url"}, "url": {"type": "string", "pattern": "^(https://|data:image/(png|jpeg|webp);base64,)"}},
}
_BOTH: dict[str, Any] = {
    "model": {"enum": list(MODELS)},
    "prompt": {"type": "string", "minLength": 1},
    "n": {"type": "integer", "minimum": 1, "maximum": 10},
    "resolution": {"enum": ["1k", "2k"]},
    "response_format": {"enum": ["url", "b64_json"]},
    "quality": {"enum": ["low", "medium", "high"]},
    "user": {"type": "string"},
}
GENERATION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "prompt"],
    "properties": {**_BOTH, "aspect_ratio": {"enum": RATIOS}},
}
EDIT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "prompt"],
    "properties": {
        **_BOTH,
        "aspect_ratio": {"enum": EDIT_RATIOS},
        "image": _PICTURE,
        "images": {"type": "array", "minItems": 1, "maxItems": 5, "items": _PICTURE},
    },
    "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
}
"""The interface's rules for bodies, written from its specification."""


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    NO_CREDIT = "the credits are used up"
    DENIED = "the key may not use this model"
    GUIDELINES = "the prompt breaks the usage guidelines"
    RATE_LIMITED = "too many requests"
    OVERLOADED = "overloaded"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    WITHHELD = "moderation keeps every picture back and the list is empty"
    WITHHELD_WHY = "moderation keeps every picture back and says why"
    WITHHELD_EACH = "moderation keeps every picture back, one by one"
    WITHHELD_ONE = "moderation keeps the first picture back"
    NO_PICTURE = "an entry without a picture"
    BAD_BASE64 = "a picture that is no base64"
    NO_BILL = "a picture and no bill"
    ODD_BILL = "a picture and a bill of an unknown form"
    OPENAI_FORM = "an error in another form"


class FakeXAI(Server):
    """xAI on a port of this machine; `base_url` is what goes into XAI_BASE_URL.

    `trouble` is a queue: each call to draw takes the first one from it.
    """

    def __init__(self, *, port: int = 0, key: str | None = "xai-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/v1/images/generations", self._draw, methods=["POST"]),
            Route("/v1/images/edits", self._draw, methods=["POST"]),
            Route("/v1/image-generation-models", self._models),
            Route("/files/{number}.png", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/v1"

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()

    def _refuse_key(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is None or given == self.key:
            return None
        words = (
            f"Incorrect%20API%20key%20provided:%20{given[:2]}***{given[-2:]}.%20You%20can%20obtain%20an%20API%20key%20from%20https://console.x.ai."
        )
        return failure(400, words, "Client specified an invalid argument")

    async def _models(self, request: Request) -> Response:
        aliases = {"grok-imagine-image": ["grok-imagine-image-latest"]}
        entries = [{"id": name, "object": "model", "owned_by": "xai", "aliases": aliases.get(name, [])} for name in MODELS]
        return self._refuse_key(request) or JSONResponse({"models": entries})

    async def _file(self, request: Request) -> Response:
        return Response(picture(64, 64), media_type="image/png")

    async def _draw(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := troubled(trouble)) is not None:
            return instead
        body = await request.json()
        try:
            jsonschema.validate(body, EDIT if request.url.path.endswith("/edits") else GENERATION)
        except jsonschema.ValidationError as error:
            return failure(400, f"Argument not supported: {error.message}", "Client specified an invalid argument")
        return JSONResponse(self._answer(body, trouble))

    def _answer(self, body: Any, trouble: Trouble | None) -> dict[str, Any]:
        b64 = base64.b64encode(picture(64, 64)).decode()
        inline = body.get("response_format") == "b64_json"
        data = [
            {
                **({"b64_json": b64} if inline else {"url": f"{self.url}/files/{number}.png"}),
                "mime_type": "image/png",
                "revised_prompt": "",
                "respect_moderation": True,
            }
            for number in range(body.get("n", 1))
        ]
        withheld = {"b64_json": "", "mime_type": "image/png", "revised_prompt": "", "respect_moderation": False}
        answer: dict[str, Any] = {"data": data, "usage": {"cost_in_usd_ticks": 200_000_000 * len(data)}}
        match trouble:
            case Trouble.WITHHELD:
                answer["data"] = []
            case Trouble.WITHHELD_WHY:
                answer |= {"data": [], "block_reason": "violence"}
            case Trouble.WITHHELD_EACH:
                answer["data"] = [withheld] * len(data)
            case Trouble.WITHHELD_ONE:
                data[0] = withheld
            case Trouble.NO_PICTURE:
                answer["data"] = [{}]
            case Trouble.BAD_BASE64:
                data[0]["b64_json"] = "not base64!"
            case Trouble.NO_BILL:
                del answer["usage"]
            case Trouble.ODD_BILL:
                answer["usage"] = {"cost_in_usd_ticks": "many"}
        return answer


def troubled(trouble: Trouble) -> ASGIApp | None:
    """What is answered instead of a picture, where it is no picture at all."""
    match trouble:
        case Trouble.NO_CREDIT:
            words = (
                "Your team has either used all available credits or reached its monthly spending limit. To continue, please purchase more credits."
            )
            return failure(403, words, "The caller does not have permission to execute the specified operation")
        case Trouble.DENIED:
            return failure(403, "Your team may not use this model.", "The caller does not have permission to execute the specified operation")
        case Trouble.GUIDELINES:
            return failure(403, "Content violates usage guidelines.", "The caller does not have permission to execute the specified operation")
        case Trouble.RATE_LIMITED:
            return failure(429, "Too many requests for this team.", "Some resource has been exhausted", headers={"retry-after": "0"})
        case Trouble.OVERLOADED:
            return failure(503, "The service is temporarily at capacity.", "The service is currently unavailable")
        case Trouble.HANG:
            return Hanging()
        case Trouble.CUT:
            return Broken(b'{"data": [')
        case Trouble.OPENAI_FORM:
            return JSONResponse({"error": {"message": "Rejected by content moderation.", "type": "invalid_request_error", "code": "blocked"}}, 400)
        case _:
            return None


def failure(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> Response:
    """An error in xAI's shape."""
    return JSONResponse({"code": code, "error": message}, status, {"x-request-id": "req_fake", **(headers or {})})


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake xAI image service.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    given = arguments.parse_args()
    fake = FakeXAI(port=given.port, key=given.key)
    print(f"XAI_BASE_URL={fake.base_url}", flush=True)
    fake.run()
