"""A server with the wire shape of OpenRouter's interface for images, and the faults of the true one on demand.

`python -m tests.fakes.openrouter --port 9004` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

RATIOS = {"type": "enum", "values": ["1:1", "16:9", "9:16", "3:2", "2:3", "21:9"]}
SCALES = {"type": "enum", "values": ["1K", "2K", "4K"]}
YES = {"type": "boolean"}


def upto(most: int) -> dict[str, Any]:
    """A parameter that takes numbers up to that."""
    return {"type": "range", "min": 0, "max": most}


def one_of(*values: str) -> dict[str, Any]:
    """A parameter that takes one of these."""
    return {"type": "enum", "values": list(values)}


MODELS: Mapping[str, dict[str, Any]] = {
    "bytedance-seed/seedream-4.5": {
        "name": "Seedream 4.5",
        "supported_parameters": {"resolution": SCALES, "aspect_ratio": RATIOS, "n": upto(10), "input_references": upto(14), "seed": YES},
    },
    "black-forest-labs/flux.2-pro": {"name": "FLUX.2 Pro", "supported_parameters": {"aspect_ratio": RATIOS, "seed": YES}},
    "openai/gpt-image-2": {
        "name": "GPT Image 2",
        "supported_parameters": {
            "aspect_ratio": RATIOS,
            "n": upto(10),
            "input_references": upto(16),
            "quality": one_of("auto", "low", "medium", "high"),
            "background": one_of("auto", "opaque", "transparent"),
            "output_format": one_of("png", "jpeg", "webp"),
            "output_compression": upto(100),
        },
        "supports_streaming": True,
    },
    "quiver/arrow": {"name": "Arrow", "supported_parameters": {"output_format": one_of("svg")}},
}
"""What the service offers; a parameter that is not named is refused."""

RULES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "prompt"],
    "properties": {
        "model": {"type": "string"},
        "prompt": {"type": "string", "minLength": 1},
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "size": {"type": "string", "pattern": "^([124]K|512|[0-9]+x[0-9]+)$"},
        "resolution": {"enum": ["512", "768", "1K", "1.5K", "2K", "4K"]},
        "aspect_ratio": {
            "enum": [
                "1:1",
                "1:2",
                "1:4",
                "1:8",
                "2:1",
                "2:3",
                "3:2",
                "3:4",
                "4:1",
                "4:3",
                "4:5",
                "5:4",
                "8:1",
                "9:16",
                "16:9",
                "9:19.5",
                "19.5:9",
                "9:20",
                "20:9",
                "9:21",
                "21:9",
                "auto",
            ],
        },
        "quality": {"enum": ["auto", "low", "medium", "high", "xhigh", "max"]},
        "background": {"enum": ["auto", "transparent", "opaque"]},
        "output_format": {"enum": ["png", "jpeg", "webp", "svg"]},
        "output_compression": {"type": "integer", "minimum": 0, "maximum": 100},
        "seed": {"type": "integer"},
        "stream": {"type": "boolean"},
        "user": {"type": "string"},
        "provider": {"type": "object"},
        "input_references": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "image_url"],
                "properties": {
                    "type": {"const": "image_url"},
                    "image_url": {"type": "object", "required": ["url"], "properties": {"url": {"pattern": "^(https?://|data:image/)"}}},
                },
            },
        },
    },
}
"""The interface's rules for a body, written from its specification."""

ALWAYS = {"model", "prompt", "size", "stream", "user", "provider"}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    NO_CREDIT = "the credits are used up"
    FLAGGED = "the prompt is flagged before any model sees it"
    UPSTREAM_BLOCKED = "the service behind turns the prompt away"
    FORBIDDEN = "the key may not use this model"
    RATE_LIMITED = "too many requests"
    UPSTREAM_DOWN = "the service behind is down"
    OVERLOADED = "the service behind is overloaded"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    ERROR_200 = "status 200 and an error"
    NO_DATA = "no picture"
    BAD_BASE64 = "a picture that is no base64"
    FEWER = "one picture, however many were asked for"
    NO_BILL = "a picture and no bill"
    ODD_BILL = "a picture and a bill of an unknown form"
    OWN_KEY = "a picture that the service behind bills to a key of the caller's"
    STREAM_BLOCKED = "a refusal after a preview"
    STREAM_CUT = "the stream ends after a preview"
    STREAM_BAD_PREVIEW = "a preview that is no base64"


class FakeOpenRouter(Server):
    """OpenRouter on a port of this machine; `base_url` is what goes into OPENROUTER_BASE_URL.

    `trouble` is a queue: each call to draw takes the first one from it. `lists` off: the list of models cannot be had.
    """

    def __init__(self, *, port: int = 0, key: str | None = "sk-or-fake-0123456789") -> None:
        self.key = key
        self.left: float | None = 3.25
        self.lists = True
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/api/v1/images", self._images, methods=["POST"]),
            Route("/api/v1/images/models", self._models),
            Route("/api/v1/key", self._key),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/api/v1"

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.left, self.lists = 3.25, True

    def _refuse_key(self, request: Request) -> Response | None:
        right = self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"
        return None if right else failure(401, "User not found.")

    async def _key(self, request: Request) -> Response:
        return self._refuse_key(request) or JSONResponse({"data": {"label": "sk-or-...789", "usage": 1.75, "limit": 5, "limit_remaining": self.left}})

    async def _models(self, request: Request) -> Response:
        if not self.lists:
            return failure(500, "Internal Server Error")
        described = {"created": 1_692_901_234, "description": "", "architecture": {"input_modalities": ["text"], "output_modalities": ["image"]}}
        entries = [
            {"supports_streaming": False, **described, "id": name, "endpoints": f"/api/v1/images/models/{name}/endpoints", **facts}
            for name, facts in MODELS.items()
        ]
        return JSONResponse({"data": entries})

    async def _images(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := troubled(trouble)) is not None:
            return instead
        body = await request.json()
        if (complaint := complain(body)) is not None:
            return complaint
        if body.get("stream") and MODELS[body["model"]].get("supports_streaming"):
            return StreamingResponse(events(body, trouble), media_type="text/event-stream")
        return JSONResponse(answer(body, trouble))


def complain(body: Any) -> Response | None:
    """The service's answer to a request that breaks its rules or the model's; None for a good one."""
    try:
        jsonschema.validate(body, RULES)
    except jsonschema.ValidationError as error:
        return failure(400, f"Invalid request: {error.message}")
    facts = MODELS.get(body["model"])
    if facts is None:
        return failure(404, f"No endpoints found for {body['model']}.")
    takes = facts["supported_parameters"]
    for name in body.keys() - ALWAYS:
        if name not in takes:
            return failure(400, f"Parameter {name} is not supported by {body['model']}.")
    if body.get("n", 1) > takes.get("n", {}).get("max", 1) or len(body.get("input_references", ())) > takes.get("input_references", {}).get("max", 0):
        return failure(400, "Too many pictures.")
    return None


def answer(body: Mapping[str, Any], trouble: Trouble | None) -> dict[str, Any]:
    """Pictures and a bill of three cents for each."""
    width, height = map(int, body["size"].split("x")) if "x" in body.get("size", "") else (64, 64)
    count = 0 if trouble is Trouble.NO_DATA else 1 if trouble is Trouble.FEWER else body.get("n", 1)
    b64 = "not base64!" if trouble is Trouble.BAD_BASE64 else base64.b64encode(picture(width, height)).decode()
    usage: Any = {"prompt_tokens": 0, "completion_tokens": 4175, "total_tokens": 4175, "cost": 0.03 * count, "is_byok": False}
    if trouble is Trouble.OWN_KEY:
        details = {"upstream_inference_cost": 0.04, "upstream_inference_prompt_cost": 0, "upstream_inference_completions_cost": 0.04}
        usage |= {"is_byok": True, "cost": 0.002, "cost_details": details}
    whole: dict[str, Any] = {"created": 1_748_372_400, "data": [{"b64_json": b64, "media_type": "image/png"}] * count, "usage": usage}
    if trouble is Trouble.NO_BILL:
        del whole["usage"]
    if trouble is Trouble.ODD_BILL:
        whole["usage"] = ["many"]
    return whole


async def events(body: Mapping[str, Any], trouble: Trouble | None) -> AsyncIterator[str]:
    """A preview, some words, and the picture."""
    yield ": OPENROUTER PROCESSING\n\n"
    b64 = "not base64!" if trouble is Trouble.STREAM_BAD_PREVIEW else base64.b64encode(picture(16, 16)).decode()
    yield event({"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": b64})
    if trouble is Trouble.STREAM_CUT:
        return
    if trouble is Trouble.STREAM_BLOCKED:
        error = {"message": "Your request was rejected by the safety system.", "code": "moderation_blocked", "type": "image_generation_user_error"}
        yield event({"type": "error", "error": error})
        return
    yield event({"type": "image_generation.text_chunk", "phase": "draft", "text": "Here it is"})
    whole = answer(body, trouble)
    yield event({"type": "image_generation.completed", "created": whole["created"], **whole["data"][0], "usage": whole["usage"]})
    yield "data: [DONE]\n\n"


def event(data: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data)}\n\n"


def troubled(trouble: Trouble) -> ASGIApp | None:
    """What is answered instead of a picture, where it is no picture at all."""
    match trouble:
        case Trouble.NO_CREDIT:
            return failure(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits")
        case Trouble.FLAGGED:
            facts = {"reasons": ["violence"], "flagged_input": "a cat…", "provider_name": "OpenAI", "model_slug": "openai/gpt-image-2"}
            return failure(403, "Input was flagged", facts)
        case Trouble.UPSTREAM_BLOCKED:
            return failure(400, "Provider returned error", {"raw": '{"error":{"code":"moderation_blocked"}}', "provider_name": "OpenAI"})
        case Trouble.FORBIDDEN:
            return failure(403, "This key is not allowed to use this model")
        case Trouble.RATE_LIMITED:
            return failure(429, "Rate limit exceeded", headers={"retry-after": "0"})
        case Trouble.UPSTREAM_DOWN:
            return failure(502, "Provider returned error", {"raw": "upstream connect error", "provider_name": "Seed"})
        case Trouble.OVERLOADED:
            return failure(529, "Provider is overloaded")
        case Trouble.HANG:
            return Hanging()
        case Trouble.CUT:
            return Broken(b'{"created": 1, "data": [')
        case Trouble.ERROR_200:
            return JSONResponse({"error": {"code": 429, "message": "The provider limits its rate"}})
        case _:
            return None


def failure(status: int, message: str, metadata: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """An error in OpenRouter's shape."""
    error = {"code": status, "message": message, **({"metadata": metadata} if metadata else {})}
    return JSONResponse({"error": error, "user_id": "user_1"}, status, headers)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake OpenRouter image service.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    given = arguments.parse_args()
    fake = FakeOpenRouter(port=given.port, key=given.key)
    print(f"OPENROUTER_BASE_URL={fake.base_url}", flush=True)
    fake.run()
