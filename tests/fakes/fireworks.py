"""A server with the wire shape of Fireworks AI for pictures, and the faults of the true one on demand."""

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

RATIO = {"type": "string", "pattern": "^[0-9]+:[0-9]+$"}
SEED = {"type": "integer", "minimum": 0}
FLUX_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "aspect_ratio": RATIO,
        "seed": SEED,
        "guidance_scale": {"type": "number"},
        "num_inference_steps": {"type": "integer"},
        "samples": {"type": "integer"},
    },
}
KONTEXT_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "aspect_ratio": RATIO,
        "seed": SEED,
        "input_image": {"type": "string", "pattern": "^(https://|data:image/)"},
        "output_format": {"enum": ["png", "jpeg"]},
        "safety_tolerance": {"type": "integer", "minimum": 0, "maximum": 6},
        "prompt_upsampling": {"type": "boolean"},
    },
}
XL_RULES: dict[str, Any] = {
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "negative_prompt": {"type": "string"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "seed": SEED,
        "steps": {"type": "integer"},
        "cfg_scale": {"type": "number"},
    },
}


class Trouble(StrEnum):
    """What the server can do to the next call, or to its task, instead of drawing."""

    FILTERED = "the picture is turned away, with status 200"
    BLOCKED = "the prompt is turned away"
    SUSPENDED = "the account is suspended"
    RATE_LIMITED = "too many requests"
    ERROR_200 = "status 200 and an error"
    KEY_ECHO = "an error that repeats the key"
    NO_ID = "a task without an id"

    REQUEST_MODERATED = "the task is turned away for its prompt"
    CONTENT_MODERATED = "the task is turned away for its picture"
    FAILED = "the task fails"
    NOT_YET = "the task is not found at first"
    LOST = "the task is never found"
    NEVER = "the task is never done"
    EMPTY = "the task is done without a picture"
    LINK = "the picture is behind a link"
    MORE_FIELDS = "fields nobody knows"


class FakeFireworks(Server):
    """Fireworks on a port of this machine. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, key: str = "fw-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, tuple[Trouble | None, list[str]]] = {}
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/workflows/accounts/fireworks/models/{model}/text_to_image", self._flux, methods=["POST"]),
            Route("/v1/workflows/accounts/fireworks/models/{model}/get_result", self._result, methods=["POST"]),
            Route("/v1/workflows/accounts/fireworks/models/{model}", self._kontext, methods=["POST"]),
            Route("/v1/image_generation/accounts/fireworks/models/{model}", self._xl, methods=["POST"]),
            Route("/files/a.png", lambda request: Response(picture(32, 32))),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """As if nobody had called yet."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()

    def _turned_away(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return failure(401, "The API key you provided is invalid.", "UNAUTHORIZED")
        match self.trouble[0] if self.trouble else None:
            case Trouble.BLOCKED:
                answer = failure(400, "The prompt was flagged by moderation", "invalid_request_error")
            case Trouble.SUSPENDED:
                answer = failure(412, "Account is suspended, possibly due to reaching the monthly spending limit", "PRECONDITION_FAILED")
            case Trouble.RATE_LIMITED:
                answer = failure(429, "Too many requests", "RESOURCE_EXHAUSTED", {"retry-after": "3600"})
            case Trouble.ERROR_200:
                answer = failure(200, "The model is overloaded", "UNAVAILABLE")
            case Trouble.KEY_ECHO:
                answer = failure(400, f"bad {request.headers['authorization']}", "invalid_request_error")
            case _:
                return None
        self.trouble.popleft()
        return answer

    async def _models(self, request: Request) -> Response:
        return self._turned_away(request) or JSONResponse({"object": "list", "data": []})

    async def _flux(self, request: Request) -> Response:
        return await self._bytes(request, FLUX_RULES)

    async def _xl(self, request: Request) -> Response:
        return await self._bytes(request, XL_RULES)

    async def _bytes(self, request: Request, rules: dict[str, Any]) -> Response:
        if (refusal := self._turned_away(request) or await refused(request, rules)) is not None:
            return refusal
        body, trouble = await request.json(), self.trouble.popleft() if self.trouble else None
        kind = request.headers["accept"]
        data = picture(body.get("width", 64), body.get("height", 64), kind.removeprefix("image/"))
        reason = "CONTENT_FILTERED" if trouble is Trouble.FILTERED else "SUCCESS"
        return Response(data, media_type=kind, headers={"Finish-Reason": reason, "Seed": str(body.get("seed", 5)), "x-request-id": "R1"})

    async def _kontext(self, request: Request) -> Response:
        if (refusal := self._turned_away(request) or await refused(request, KONTEXT_RULES)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is Trouble.NO_ID:
            return JSONResponse({})
        request_id = f"task-{len(self.tasks) + 1}"
        states = {Trouble.NOT_YET: ["Task not found", "Pending"], Trouble.LOST: ["Task not found"] * 99, Trouble.NEVER: ["Pending"] * 9999}
        self.tasks[request_id] = (trouble, list(states.get(trouble, ["Pending"]) if trouble else ["Pending"]))
        return JSONResponse({"request_id": request_id})

    async def _result(self, request: Request) -> Response:
        if (refusal := self._turned_away(request)) is not None:
            return refusal
        task_id = (await request.json())["id"]
        trouble, states = self.tasks.get(task_id, (None, ["Task not found"]))
        if states:
            state = states.pop(0) if task_id in self.tasks else "Task not found"
            return JSONResponse({"id": task_id, "status": state, "result": None, "progress": 0.5, "details": None})
        answer: dict[str, Any] = {"id": task_id, "status": "Ready", "result": None, "progress": 1, "details": None}
        match trouble:
            case Trouble.REQUEST_MODERATED:
                answer["status"] = "Request Moderated"
            case Trouble.CONTENT_MODERATED:
                answer |= {"status": "Content Moderated", "details": {"Moderation Reasons": ["Safety Filter"]}}
            case Trouble.FAILED:
                answer |= {"status": "Error", "details": {"message": "worker died"}}
            case Trouble.EMPTY:
                answer["result"] = {}
            case Trouble.LINK:
                answer["result"] = {"sample": f"{self.url}/files/a.png"}
            case _:
                link = f"data:image/png;base64,{base64.b64encode(picture(64, 64)).decode()}"
                answer["result"] = {"sample": link, "seed": 7, "prompt": "a cat"}
        if trouble is Trouble.MORE_FIELDS:
            answer |= {"preview": {"a": 1}}
        return JSONResponse(answer)


async def refused(request: Request, rules: dict[str, Any]) -> Response | None:
    """The answer to a body that breaks a rule; None for a good one."""
    try:
        jsonschema.validate(await request.json(), rules)
    except jsonschema.ValidationError as error:
        return failure(400, error.message, "invalid_request_error")
    return None


def failure(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> Response:
    """An error in the service's form."""
    return JSONResponse({"error": {"object": "error", "type": code, "code": code, "message": message}}, status, headers=headers)
