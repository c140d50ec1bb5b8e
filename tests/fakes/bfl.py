"""A server with the wire shape of Black Forest Labs, and the faults of the true one on demand.

Its rules for bodies follow the service's own OpenAPI description. `python -m tests.fakes.bfl --port 9005 --looks 3` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Server, picture

TEXT: Mapping[str, Any] = {"type": "string"}
RATIOS = ["21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "1:1", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2", "9:21"]


def whole(lowest: int, highest: int, multiple: int = 1) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": lowest, "maximum": highest, "multipleOf": multiple}


def number(lowest: float, highest: float) -> Mapping[str, Any]:
    return {"type": "number", "minimum": lowest, "maximum": highest}


def rules(*required: str, **properties: Any) -> Mapping[str, Any]:
    return {"type": "object", "required": list(required), "additionalProperties": False, "properties": properties}


FORMAT: Mapping[str, Any] = {"enum": ["jpeg", "png", "webp"]}
COMMON: Mapping[str, Any] = {"prompt": TEXT, "seed": {"type": "integer"}, "output_format": FORMAT}
NUMBERED = {"input_image": TEXT, **{f"input_image_{number}": TEXT for number in range(2, 9)}}
FOUR = dict(list(NUMBERED.items())[:4])
FLUX_2: Mapping[str, Any] = {**COMMON, "width": whole(64, 4096, 16), "height": whole(64, 4096, 16), "safety_tolerance": whole(0, 5)}
FLUX_1: Mapping[str, Any] = {**COMMON, "prompt_upsampling": {"type": "boolean"}, "safety_tolerance": whole(0, 6)}
PIXELS = {"width": whole(256, 1440, 32), "height": whole(256, 1440, 32), "image_prompt": TEXT}
STEPS = {"steps": whole(15, 50), "guidance": number(1.5, 100)}
FLUX_3 = rules(
    "prompt",
    prompt=TEXT,
    images={"type": "array", "minItems": 1, "maxItems": 10, "items": TEXT},
    aspect_ratio={"enum": [*RATIOS, "auto"]},
    resolution={"enum": ["768sq", "1k", "1.5k", "2k", "4k"]},
    safety_tolerance=whole(0, 4),
    grounding={"type": "boolean"},
    version=TEXT,
)
ULTRA: Mapping[str, Any] = {
    **FLUX_1,
    "aspect_ratio": {"enum": RATIOS},
    "raw": {"type": "boolean"},
    "image_prompt": TEXT,
    "image_prompt_strength": number(0, 1),
}
FILL: Mapping[str, Any] = {**FLUX_1, **STEPS, "image": TEXT, "mask": TEXT}
FINETUNE = {"finetune_id": TEXT, "finetune_strength": number(0, 2)}
RULES: Mapping[str, Mapping[str, Any]] = {
    "flux-3-image": FLUX_3,
    "flux-3-image-klein": FLUX_3,
    **{name: rules("prompt", **FLUX_2, **NUMBERED) for name in ("flux-2-max", "flux-2-pro", "flux-2-pro-preview")},
    "flux-2-flex": rules("prompt", **FLUX_2, **NUMBERED, steps=whole(1, 50), guidance=number(1.5, 10), prompt_upsampling={"type": "boolean"}),
    **{name: rules("prompt", **FLUX_2, **FOUR) for name in ("flux-2-klein-9b", "flux-2-klein-9b-preview", "flux-2-klein-4b")},
    **{name: rules("prompt", **FLUX_1, **FOUR, aspect_ratio={"enum": RATIOS}) for name in ("flux-kontext-pro", "flux-kontext-max")},
    "flux-pro-1.1": rules(**FLUX_1, **PIXELS),
    "flux-dev": rules(**FLUX_1, **PIXELS, steps=whole(1, 50), guidance=number(1.5, 5)),
    "flux-pro-1.1-ultra": rules(**ULTRA),
    "flux-pro-1.1-ultra-finetuned": rules("finetune_id", **ULTRA, **FINETUNE),
    "flux-pro-1.0-fill": rules("image", **FILL),
    "flux-pro-1.0-fill-finetuned": rules("finetune_id", "image", **FILL, **FINETUNE),
    "flux-pro-1.0-expand": rules("image", **FLUX_1, **STEPS, image=TEXT, **{edge: whole(0, 2048) for edge in ("top", "bottom", "left", "right")}),
    "flux-tools/erase-v1": rules("image", "mask", image=TEXT, mask=TEXT, dilate_pixels=whole(0, 25)),
}


class Trouble(StrEnum):
    """What the server can do to the next submission, or to its task, instead of drawing."""

    NO_CREDITS = "the account has no credits"
    BUSY = "too many tasks at once"
    NO_ADDRESS = "a task without an address"
    KEY_ECHO = "an error that repeats the key"
    ELSEWHERE = "the address to look at is a stranger's"
    NO_COST = "the cost is not told"

    BLOCKED = "the prompt is turned away"
    BLOCKED_503 = "the prompt is turned away, under an HTTP status of failure"
    BLOCKED_AFTER = "the picture is turned away"
    FAILED = "the task fails"
    LATE = "the task is not known at the first looks"
    LOST = "the task is never known"
    LOOK_500 = "internal error at each of the first looks"
    LOOK_403 = "the key is turned away at the look"
    READY_503 = "the task is done, under an HTTP status of failure"
    NEVER = "the task is never done"
    ODD = "states and fields that nobody knows"
    EMPTY = "the task is done and has no picture"
    LINK_GONE = "the picture's link has expired"


@dataclass
class Work:
    """A task of the server."""

    body: Mapping[str, Any]
    trouble: Trouble | None
    states: list[str]
    """Told one after another before the end."""
    failures: int = 0


class FakeBlackForestLabs(Server):
    """The service on a port of this machine; `url` is what goes into BFL_BASE_URL.

    `trouble` is a queue: each submission takes the first one from it. `states` are told of each task before its end.
    """

    def __init__(self, *, port: int = 0, key: str | None = "bfl-fake-0123456789", states: tuple[str, ...] = ()) -> None:
        self.key = key
        self.states = states
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Work] = {}
        routes = [
            Route("/v1/credits", self._credits),
            Route("/v1/get_result", self._result),
            Route("/v1/{model:path}", self._submit, methods=["POST"]),
            Route("/delivery/{name}", self._deliver),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()
        self.states = ()

    def _stranger(self, request: Request) -> Response | None:
        return None if self.key in (None, request.headers.get("x-key")) else JSONResponse({"detail": "Not authenticated"}, 403)

    async def _credits(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse({"credits": 123.4})

    async def _deliver(self, request: Request) -> Response:
        if request.headers.get("x-key") or request.url.query != "sig=a%2Bb":
            return Response("<Error><Code>AuthenticationFailed</Code></Error>", 403, media_type="application/xml")
        return Response(picture(48, 32, "jpeg"), media_type="image/jpeg")

    async def _submit(self, request: Request) -> ASGIApp:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        match trouble:
            case Trouble.NO_CREDITS:
                return JSONResponse({"detail": "Insufficient credits"}, 402)
            case Trouble.BUSY:
                return JSONResponse({"detail": "Too many active tasks"}, 429)
            case Trouble.KEY_ECHO:
                return JSONResponse({"detail": f"x-key {self.key} is odd"}, 400)
        body, model = await request.json(), request.path_params["model"]
        if model not in RULES:
            return JSONResponse({"detail": "Not Found"}, 404)
        if problems := [problem(error) for error in jsonschema.Draft202012Validator(RULES[model]).iter_errors(body)]:
            return JSONResponse({"detail": problems}, 422)
        identity = f"00000000-0000-4000-8000-{len(self.tasks):012}"
        states = ["Paused", "Resting"] if trouble is Trouble.ODD else list(self.states)
        states += ["Task not found"] * {Trouble.LATE: 3, Trouble.LOST: 99}.get(trouble or Trouble.ODD, 0) + ["Pending"] * (
            99 if trouble is Trouble.NEVER else 0
        )
        self.tasks[identity] = Work(body=body, trouble=trouble, states=states, failures=4 if trouble is Trouble.LOOK_500 else 0)
        base = "https://api.bfl.example" if trouble is Trouble.ELSEWHERE else self.url
        answer: dict[str, Any] = {
            "id": identity,
            "polling_url": f"{base}/v1/get_result?id={identity}",
            "cost": 4.5,
            "input_mp": 0.0,
            "output_mp": 1.05,
        }
        if trouble in (Trouble.NO_ADDRESS, Trouble.NO_COST):
            del answer["polling_url" if trouble is Trouble.NO_ADDRESS else "cost"]
        return JSONResponse(answer)

    async def _result(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        identity = request.query_params["id"]
        work = self.tasks.get(identity)
        if work is None:
            return JSONResponse({"id": identity, "status": "Task not found"}, 404)
        if work.failures:
            work.failures -= 1
            return JSONResponse({"detail": "Internal server error"}, 500)
        if work.trouble is Trouble.LOOK_403:
            return JSONResponse({"detail": "Not authenticated"}, 403)
        told: dict[str, Any] = {"id": identity, "status": "Ready", "progress": None, "result": None, "details": None, "preview": None}
        if work.states:
            return JSONResponse({**told, "status": work.states.pop(0), "progress": 0.25})
        match work.trouble:
            case Trouble.BLOCKED | Trouble.BLOCKED_503:
                status = 503 if work.trouble is Trouble.BLOCKED_503 else 200
                return JSONResponse({**told, "status": "Request Moderated", "details": {"Moderation Reasons": ["Safety Filter"]}}, status)
            case Trouble.BLOCKED_AFTER:
                return JSONResponse({**told, "status": "Content Moderated"})
            case Trouble.FAILED:
                return JSONResponse({**told, "status": "Error", "details": {"error": "out of memory"}})
            case Trouble.EMPTY:
                return JSONResponse(told)
        result = {
            "sample": f"{self.url}/delivery/sample.jpeg?sig={'gone' if work.trouble is Trouble.LINK_GONE else 'a%2Bb'}",
            "prompt": f"{work.body['prompt']}, sitting" if "images" in work.body or "resolution" in work.body else work.body.get("prompt", ""),
            "seed": work.body.get("seed", 42),
            "duration": 2.5,
        }
        more = {"queue": {"depth": 3}} if work.trouble is Trouble.ODD else {}
        return JSONResponse({**told, **more, "result": result}, 503 if work.trouble is Trouble.READY_503 else 200)


def problem(error: jsonschema.ValidationError) -> dict[str, Any]:
    """A broken rule, as the service words it."""
    return {"loc": ["body", *error.absolute_path], "msg": error.message[:80], "type": f"{error.validator}_error"}


def decoded(text: str) -> bytes:
    """The bytes of a picture in a body."""
    return base64.b64decode(text, validate=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake Black Forest Labs.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    arguments.add_argument("--looks", type=int, default=2, help="how often a task is not done when looked at")
    given = arguments.parse_args()
    fake = FakeBlackForestLabs(port=given.port, key=given.key, states=("Pending",) * given.looks)
    print(f"BFL_BASE_URL={fake.url}", flush=True)
    fake.run()
