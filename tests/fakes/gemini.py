"""A server with the wire shape of Google's Gemini interface, and the faults of the true one on demand.

`python -m tests.fakes.gemini --port 9003` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import re
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
SCALES: Mapping[str, tuple[str, ...]] = {
    "gemini-nano-banana-2.1": ("1K", "2K", "4K"),
    "gemini-3.1-flash-lite-image": ("1K",),
    "gemini-3-pro-image": ("1K", "2K", "4K"),
    "gemini-2.5-flash-image": (),
}
"""The models that draw, and the names of sizes that each takes."""

_DATA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["mimeType", "data"],
    "properties": {"mimeType": {"enum": ["image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"]}, "data": {"type": "string"}},
}
_PART = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {"text": {"type": "string"}, "inlineData": _DATA, "thoughtSignature": {"type": "string"}},
}
RULES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["contents"],
    "properties": {
        "contents": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["parts"],
                "properties": {"role": {"enum": ["user", "model"]}, "parts": {"type": "array", "minItems": 1, "items": _PART}},
            },
        },
        "generationConfig": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "responseModalities": {"type": "array", "items": {"enum": ["TEXT", "IMAGE"]}},
                "seed": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
                "temperature": {"type": "number"},
                "imageConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"aspectRatio": {"enum": [*RATIOS, "1:4", "4:1", "1:8", "8:1"]}, "imageSize": {"enum": ["512", "1K", "2K", "4K"]}},
                },
            },
        },
        "safetySettings": {"type": "array"},
        "tools": {"type": "array"},
        "systemInstruction": {"type": "object"},
    },
}
"""The interface's rules for a body, written from its reference: unknown fields are refused."""

USAGE = {
    "promptTokenCount": 9,
    "candidatesTokenCount": 1120,
    "totalTokenCount": 1150,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
    "thoughtsTokenCount": 21,
}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    RATE_LIMITED = "the minute's quota is used up"
    DAILY = "the day's quota is used up"
    NO_QUOTA = "an account without billing has no quota at all"
    COUNTRY = "the country is not supported"
    DENIED = "the key may not use this model"
    OVERLOADED = "the model is overloaded"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    BAD_BASE64 = "a picture that is no base64"
    PROMPT_BLOCKED = "the prompt is blocked"
    FINISHED = "the answer ends without a picture; `reason` says why"
    TALKS = "words instead of a picture"
    ONLY_THOUGHT = "a draft and no picture"
    EMPTY = "no candidate at all"
    NO_USAGE = "a picture and no bill"
    MORE_FIELDS = "a picture and fields nobody knows"
    KEY_ECHO = "an error that repeats the key"


class FakeGemini(Server):
    """Gemini on a port of this machine; `url` is what goes into GOOGLE_GEMINI_BASE_URL.

    `trouble` is a queue: each call takes the first one from it. `reason` is the word for a prompt or an answer that is blocked.
    """

    def __init__(self, *, port: int = 0, key: str | None = "AIza-fake-0123456789") -> None:
        self.key = key
        self.reason = "IMAGE_SAFETY"
        self.trouble: deque[Trouble] = deque()
        self.looks = 0
        self.batches: dict[str, dict[str, Any]] = {}
        routes = [
            Route("/{version:path}/models/{model}:batchGenerateContent", self._batch, methods=["POST"]),
            Route("/{version:path}/batches/{name}:cancel", self._cancel, methods=["POST"]),
            Route("/{version:path}/batches/{name}", self._look),
            Route("/{version:path}/models/{model}:generateContent", self._generate, methods=["POST"]),
            Route("/{version:path}/models/{model}", self._model),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.reason = "IMAGE_SAFETY"
        self.looks = 0
        self.batches.clear()

    def _refuse(self, request: Request) -> Response | None:
        if self.key is not None and request.headers.get("x-goog-api-key") != self.key:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
            return failure(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info)
        model = request.path_params["model"]
        if model not in SCALES:
            return failure(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta, or is not supported for generateContent.")
        return None

    async def _model(self, request: Request) -> Response:
        return self._refuse(request) or JSONResponse({"name": f"models/{request.path_params['model']}", "displayName": "Nano Banana"})

    async def _generate(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        body, model = await request.json(), request.path_params["model"]
        try:
            jsonschema.validate(in_camels(body), RULES)
        except jsonschema.ValidationError as error:
            return failure(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error.message}")
        image = in_camels(body).get("generationConfig", {}).get("imageConfig", {})
        if "imageSize" in image and image["imageSize"] not in SCALES[model]:
            return failure(400, "INVALID_ARGUMENT", f"Image size {image['imageSize']} is not supported by {model}.")
        return JSONResponse(self._answer(trouble, model))

    async def _batch(self, request: Request) -> Response:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        requests = (await request.json())["batch"]["inputConfig"]["requests"]["requests"]
        for each in requests:
            try:
                jsonschema.validate(in_camels({name: value for name, value in each["request"].items() if name != "model"}), RULES)
            except jsonschema.ValidationError as error:
                return failure(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error.message}")
        name = f"b{len(self.batches)}"
        self.batches[name] = {"model": request.path_params["model"], "requests": requests, "left": self.looks, "cancelled": False}
        return JSONResponse(self._work(name, "PENDING"))

    async def _look(self, request: Request) -> Response:
        if self.key is not None and request.headers.get("x-goog-api-key") != self.key:
            return failure(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        name = request.path_params["name"]
        if name not in self.batches:
            return failure(404, "NOT_FOUND", "Batch not found.")
        if self.batches[name]["cancelled"]:
            return JSONResponse(self._work(name, "CANCELLED"))
        self.batches[name]["left"] -= 1
        return JSONResponse(self._work(name, "RUNNING" if self.batches[name]["left"] >= 0 else "SUCCEEDED"))

    async def _cancel(self, request: Request) -> Response:
        if self.key is not None and request.headers.get("x-goog-api-key") != self.key:
            return failure(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        if request.path_params["name"] not in self.batches:
            return failure(404, "NOT_FOUND", "Batch not found.")
        self.batches[request.path_params["name"]]["cancelled"] = True
        return JSONResponse({})

    def _work(self, name: str, state: str) -> dict[str, Any]:
        """Requests with the word "forbidden" are blocked, and those with "broken" fail. Numbers are texts, as in all of Google's JSON."""
        batch, done = self.batches[name], state == "SUCCEEDED"
        number = len(batch["requests"])
        stats = {"requestCount": str(number), "pendingRequestCount": str(0 if done else number)}
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "name": f"batches/{name}",
        }
        metadata |= {"model": f"models/{batch['model']}", "displayName": "pictures", "state": f"BATCH_STATE_{state}", "batchStats": stats}
        if done:
            answers = []
            for each in batch["requests"]:
                text = str(each["request"])
                answer: dict[str, Any] = {"response": self._answer(None, batch["model"])}
                if "forbidden" in text:
                    answer = {"response": {"promptFeedback": {"blockReason": self.reason}, "responseId": "abc"}}
                elif "broken" in text:
                    answer = {"error": {"code": 13, "message": "Internal error encountered."}}
                answers.append({**answer, "metadata": each.get("metadata", {})})
            metadata["output"] = {"inlinedResponses": {"inlinedResponses": answers}}
        return {"name": f"batches/{name}", "metadata": metadata, **({"done": True} if done else {})}

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        quota = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.01s"}
        words = "You exceeded your current quota, please check your plan and billing details."
        match trouble:
            case Trouble.RATE_LIMITED:
                return failure(429, "RESOURCE_EXHAUSTED", words, quota, retry)
            case Trouble.DAILY:
                quota["violations"] = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]
                return failure(429, "RESOURCE_EXHAUSTED", words, quota, retry | {"retryDelay": "40000s"})
            case Trouble.NO_QUOTA:
                return failure(429, "RESOURCE_EXHAUSTED", f"{words} Quota exceeded for metric: free_tier_requests, limit: 0", quota, retry)
            case Trouble.COUNTRY:
                return failure(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")
            case Trouble.DENIED:
                return failure(403, "PERMISSION_DENIED", "The caller does not have permission")
            case Trouble.OVERLOADED:
                return failure(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"candidates": [{"content": {"parts": [')
            case Trouble.KEY_ECHO:
                return failure(400, "INVALID_ARGUMENT", f"The key {request.headers['x-goog-api-key']} is malformed")
            case Trouble.PROMPT_BLOCKED:
                return JSONResponse({"promptFeedback": {"blockReason": self.reason}, "usageMetadata": {"promptTokenCount": 9}, "responseId": "abc"})
            case Trouble.EMPTY:
                return JSONResponse({"usageMetadata": {"promptTokenCount": 9}, "responseId": "abc"})
            case _:
                return None

    def _answer(self, trouble: Trouble | None, model: str) -> dict[str, Any]:
        b64 = base64.b64encode(picture(64, 64)).decode()
        draft = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(picture(8, 8)).decode()}, "thought": True}
        final = {"inlineData": {"mimeType": "image/png", "data": b64}, "thoughtSignature": "c2ln"}
        parts: list[dict[str, Any]] = [{"text": "Let me think.", "thought": True}, draft, final]
        candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts}}
        answer: dict[str, Any] = {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": model, "responseId": "abc"}
        match trouble:
            case Trouble.BAD_BASE64:
                final["inlineData"] = {"mimeType": "image/png", "data": "not base64!"}
            case Trouble.FINISHED:
                answer["candidates"] = [{"index": 0, "finishReason": self.reason, "finishMessage": "Unable to show the image."}]
            case Trouble.TALKS:
                candidate["content"]["parts"] = [{"text": "I would rather "}, {"text": "tell a story."}]
            case Trouble.ONLY_THOUGHT:
                candidate["content"]["parts"] = parts[:2]
            case Trouble.NO_USAGE:
                del answer["usageMetadata"]
            case Trouble.MORE_FIELDS:
                answer |= {"automaticFunctionCallingHistory": [], "usageMetadata": {**USAGE, "trafficType": "ON_DEMAND"}}
                final |= {"partMetadata": {"a": 1}}
        return answer


def in_camels(value: Any) -> Any:
    """The same value with its names in one of the two spellings that the interface takes: `mime_type` is `mimeType`."""
    if isinstance(value, list):
        return [in_camels(inner) for inner in value]
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda letter: letter[1].upper(), name): in_camels(inner) for name, inner in value.items()}
    return value


def failure(status: int, word: str, message: str, *details: Mapping[str, Any]) -> Response:
    """An error in Google's shape."""
    return JSONResponse({"error": {"code": status, "message": message, "status": word, **({"details": details} if details else {})}}, status)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake Gemini image service.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    given = arguments.parse_args()
    fake = FakeGemini(port=given.port, key=given.key)
    print(f"GOOGLE_GEMINI_BASE_URL={fake.url}", flush=True)
    fake.run()
