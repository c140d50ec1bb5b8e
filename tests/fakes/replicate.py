"""A server with the wire shape of Replicate's predictions, and the faults of the true one on demand.

Its rules for inputs follow the pages of the models, the shape of its answers the service's own OpenAPI description.
`python -m tests.fakes.replicate --port 9007 --looks 3` runs it by hand.
"""

from __future__ import annotations

import argparse
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

VERSION = "someone/finetune:" + "0123456789abcdef" * 4
TEXT: Mapping[str, Any] = {"type": "string"}
WHOLE: Mapping[str, Any] = {"type": "integer"}
FLAG: Mapping[str, Any] = {"type": "boolean"}
LINK: Mapping[str, Any] = {"type": "string", "pattern": "^(https?://|data:image/)"}
PAIR: Mapping[str, Any] = {"type": "array", "items": WHOLE, "minItems": 2, "maxItems": 2}


def whole(lowest: int, highest: int, multiple: int = 1) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": lowest, "maximum": highest, "multipleOf": multiple}


def one_of(words: str) -> Mapping[str, Any]:
    return {"enum": words.split()}


def links(most: int) -> Mapping[str, Any]:
    return {"type": "array", "items": LINK, "maxItems": most}


SHARE: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
RATIOS = "1:1 16:9 21:9 3:2 2:3 4:5 5:4 9:16 9:21"
MORE_RATIOS = f"{RATIOS} 3:4 4:3"
SAVED = {"output_format": one_of("webp jpg png"), "output_quality": whole(0, 100)}
JPG_PNG = {"output_format": one_of("jpg png")}
SEEDED = {"prompt": TEXT, "seed": WHOLE}
FLUX_2 = {
    **SEEDED,
    **SAVED,
    "aspect_ratio": one_of(f"match_input_image custom {MORE_RATIOS}"),
    "width": whole(256, 2048, 32),
    "height": whole(256, 2048, 32),
    "safety_tolerance": whole(1, 5),
}
KONTEXT = {
    **SEEDED,
    **JPG_PNG,
    "input_image": LINK,
    "aspect_ratio": one_of(f"match_input_image {MORE_RATIOS} 2:1 1:2"),
    "safety_tolerance": whole(0, 6),
}
FLUX_1 = {**SEEDED, **SAVED, "aspect_ratio": one_of(RATIOS), "num_outputs": whole(1, 4), "go_fast": FLAG, "disable_safety_checker": FLAG}
INPUTS: Mapping[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    **{
        f"black-forest-labs/flux-2-{name}": ({**FLUX_2, "input_images": links(most)}, ("prompt",))
        for name, most in (("pro", 8), ("max", 8), ("flex", 10))
    },
    "black-forest-labs/flux-3-image": (
        {
            "prompt": TEXT,
            **SAVED,
            "images": links(10),
            "aspect_ratio": one_of("auto 21:9 2:1 16:9 3:2 7:5 4:3 5:4 1:1 4:5 3:4 5:7 2:3 9:16 1:2 9:21"),
            "resolution": one_of("768sq 1k 1.5k 2k 4k"),
            "grounding": FLAG,
            "safety_tolerance": whole(0, 4),
        },
        ("prompt",),
    ),
    "black-forest-labs/flux-kontext-pro": (KONTEXT, ("prompt",)),
    "black-forest-labs/flux-kontext-max": (KONTEXT, ("prompt",)),
    "black-forest-labs/flux-1.1-pro-ultra": (
        {**SEEDED, **JPG_PNG, "aspect_ratio": one_of(MORE_RATIOS), "raw": FLAG, "image_prompt": LINK, "image_prompt_strength": SHARE},
        ("prompt",),
    ),
    "black-forest-labs/flux-1.1-pro": (
        {
            **SEEDED,
            **SAVED,
            "aspect_ratio": one_of(f"custom {MORE_RATIOS}"),
            "width": whole(256, 1440, 32),
            "height": whole(256, 1440, 32),
            "image_prompt": LINK,
        },
        ("prompt",),
    ),
    "black-forest-labs/flux-dev": ({**FLUX_1, "image": LINK, "prompt_strength": SHARE}, ("prompt",)),
    "black-forest-labs/flux-schnell": (FLUX_1, ("prompt",)),
    "black-forest-labs/flux-fill-pro": ({**SEEDED, **JPG_PNG, "image": LINK, "mask": LINK, "steps": whole(15, 50)}, ("prompt", "image")),
    "black-forest-labs/flux-fill-dev": ({**SEEDED, **SAVED, "image": LINK, "mask": LINK, "num_outputs": whole(1, 4)}, ("prompt", "image")),
    "stability-ai/stable-diffusion-3.5-large": ({**SEEDED, **SAVED, "aspect_ratio": one_of(MORE_RATIOS), "steps": whole(1, 50)}, ("prompt",)),
    "qwen/qwen-image-2512": (
        {
            **SEEDED,
            **SAVED,
            "negative_prompt": TEXT,
            "image": LINK,
            "strength": SHARE,
            "aspect_ratio": one_of(f"custom {MORE_RATIOS}"),
            "width": whole(256, 2048, 16),
            "height": whole(256, 2048, 16),
        },
        ("prompt",),
    ),
    "qwen/qwen-image-edit-plus": (
        {**SEEDED, **SAVED, "image": links(3), "aspect_ratio": one_of("match_input_image 1:1 16:9 9:16 4:3 3:4")},
        ("prompt", "image"),
    ),
    "bria/expand-image": (
        {
            **SEEDED,
            "negative_prompt": TEXT,
            "image": LINK,
            "aspect_ratio": one_of("none 1:1 16:9"),
            "canvas_size": PAIR,
            "original_image_size": PAIR,
            "original_image_location": PAIR,
        },
        (),
    ),
    "recraft-ai/recraft-crisp-upscale": ({"image": LINK}, ("image",)),
    "topazlabs/image-upscale": ({"image": LINK, "upscale_factor": one_of("None 2x 4x 6x")}, ("image",)),
    "bria/remove-background": ({"image": LINK}, ("image",)),
    "recraft-ai/recraft-remove-background": ({"image": LINK}, ("image",)),
    VERSION: ({"prompt": TEXT, "lora_scale": {"type": "number"}}, ("prompt",)),
}
ONE_LINK = ("flux-2", "flux-3", "kontext", "flux-1.1", "fill-pro", "bria", "recraft", "topaz")
"""Words in the names of models that answer with one address instead of a list."""


class Trouble(StrEnum):
    """What the server can do to the next prediction instead of drawing."""

    NO_CREDIT = "the account has no credit"
    THROTTLED = "too many predictions in a minute"
    NO_ID = "a prediction without an id"
    TOKEN_ECHO = "an error that repeats the token"

    BLOCKED = "the prediction fails: flagged as sensitive"
    NSFW = "the prediction fails: NSFW content"
    FAILED = "the prediction fails with a reason"
    MUTE = "the prediction fails without a reason"
    INTERRUPTED = "the prediction fails for a machine that went away"
    CANCELED = "somebody cancels the prediction"
    ABORTED = "the prediction is over before it began"
    LOOK_500 = "internal error at each of the first looks"
    LOOK_404 = "the prediction is not found at the look"
    NEVER = "the prediction is never done"
    ODD = "states and fields that nobody knows"
    REMOVED = "what the prediction made is deleted"
    EMPTY = "the prediction is done and made nothing"
    LINK_GONE = "the picture's link has expired"


FAILURES: Mapping[Trouble, tuple[str, str | None]] = {
    Trouble.BLOCKED: ("failed", "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"),
    Trouble.NSFW: ("failed", "NSFW content detected. Try running it again, or try a different prompt."),
    Trouble.FAILED: ("failed", "CUDA out of memory."),
    Trouble.MUTE: ("failed", None),
    Trouble.INTERRUPTED: ("failed", "Prediction interrupted; please retry (code: PA)"),
    Trouble.CANCELED: ("canceled", None),
    Trouble.ABORTED: ("aborted", None),
}


@dataclass
class Work:
    """A prediction."""

    model: str
    body: Mapping[str, Any]
    trouble: Trouble | None
    states: list[str]
    """Told one after another before the end."""
    failures: int = 0


class FakeReplicate(Server):
    """Replicate on a port of this machine; `url` and /v1 behind it is what goes into REPLICATE_BASE_URL.

    `trouble` is a queue: each prediction takes the first one from it. `states` are told of each before its end.
    """

    def __init__(self, *, port: int = 0, token: str | None = "r8_fake0123456789", states: tuple[str, ...] = ()) -> None:
        self.token = token
        self.states = states
        self.trouble: deque[Trouble] = deque()
        self.work: dict[str, Work] = {}
        self.uploads: dict[str, bytes] = {}
        routes = [
            Route("/v1/account", self._account),
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/predictions", self._create, methods=["POST"]),
            Route("/v1/predictions/{identity}", self._prediction),
            Route("/v1/models/{owner}/{name}/predictions", self._create, methods=["POST"]),
            Route("/delivery/{name}", self._deliver),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests, predictions, uploads and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.work.clear()
        self.uploads.clear()
        self.states = ()

    def _stranger(self, request: Request) -> Response | None:
        if self.token is None or request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return trouble_of(401, "Unauthenticated", "You did not pass a valid authentication token")

    async def _account(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse({"type": "organization", "username": "acme", "name": "Acme Corp, Inc."})

    async def _upload(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        identity = f"file{len(self.uploads)}"
        async with request.form() as form:
            content = form["content"]
            assert not isinstance(content, str)
            self.uploads[identity] = await content.read()
            answer = {"id": identity, "content_type": content.content_type, "urls": {"get": f"{self.url}/v1/files/{identity}"}}
        return JSONResponse(answer, 201)

    async def _deliver(self, request: Request) -> Response:
        if "authorization" in request.headers or request.path_params["name"] == "gone.webp":
            return Response("Not Found", 404)
        return Response(picture(48, 32, "webp"), media_type="image/webp")

    async def _create(self, request: Request) -> ASGIApp:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        match trouble:
            case Trouble.NO_CREDIT:
                return trouble_of(402, "Insufficient credit", "You have insufficient credit to run this model. Go to your account to buy credit.")
            case Trouble.THROTTLED:
                words = "Request was throttled. Your rate limit is reduced while you have less than $5.0 in credit."
                return JSONResponse({"detail": words, "status": 429, "retry_after": 0}, 429)
            case Trouble.TOKEN_ECHO:
                return trouble_of(400, "Bad request", f"Bearer {self.token} is odd")
        body = await request.json()
        names = request.path_params
        model = f"{names['owner']}/{names['name']}" if names else body["version"]
        if model not in INPUTS:
            return trouble_of(404, "Not found", "The requested resource could not be found.")
        properties, required = INPUTS[model]
        rules = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
        if errors := list(jsonschema.Draft202012Validator(rules).iter_errors(body["input"])):
            where = ".".join(map(str, ("input", *errors[0].absolute_path)))
            return trouble_of(422, "Input validation failed", f"- {where}: {errors[0].message[:80]}")
        identity = f"ufawqhfynnddngldkgtslldr{len(self.work):02}"
        states = list(self.states) + ["processing"] * (99 if trouble is Trouble.NEVER else 0) + (["booting"] if trouble is Trouble.ODD else [])
        self.work[identity] = Work(model=model, body=body["input"], trouble=trouble, states=states, failures=4 if trouble is Trouble.LOOK_500 else 0)
        answer = self._told(identity, "starting")
        if trouble is Trouble.NO_ID:
            del answer["id"]
        return JSONResponse(answer, 201)

    async def _prediction(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        identity = request.path_params["identity"]
        work = self.work[identity]
        if work.failures:
            work.failures -= 1
            return trouble_of(500, "Internal server error", "Something went wrong")
        if work.trouble is Trouble.LOOK_404:
            return trouble_of(404, "Not found", "The requested resource could not be found.")
        if work.states:
            state = work.states.pop(0)
            logs = "Using seed: 7\n 0%|  | 0/4\n 50%|##  | 2/4" if state == "processing" else ""
            return JSONResponse(self._told(identity, state, logs=logs))
        if work.trouble is not None and work.trouble in FAILURES:
            status, error = FAILURES[work.trouble]
            return JSONResponse(self._told(identity, status, error=error))
        link = f"{self.url}/delivery/{'gone' if work.trouble is Trouble.LINK_GONE else 'out-0'}.webp"
        output: Any = link if any(word in work.model for word in ONE_LINK) else [link] * work.body.get("num_outputs", 1)
        if work.trouble in (Trouble.REMOVED, Trouble.EMPTY):
            output = None if work.trouble is Trouble.REMOVED else []
        more = {"metrics": {"predict_time": 1.2}, "source": "api"} if work.trouble is Trouble.ODD else {}
        return JSONResponse(self._told(identity, "succeeded", output=output, data_removed=work.trouble is Trouble.REMOVED, **more))

    def _told(self, identity: str, status: str, **facts: Any) -> dict[str, Any]:
        work = self.work[identity]
        address = f"{self.url}/v1/predictions/{identity}"
        usual = {"output": None, "error": None, "logs": "", "data_removed": False, "input": work.body, "version": "hidden"}
        urls = {"get": address, "cancel": f"{address}/cancel", "web": f"https://replicate.com/p/{identity}"}
        return {"id": identity, "model": work.model, "status": status, "created_at": "2026-11-21T00:00:00Z", "urls": urls, **usual, **facts}


def trouble_of(status: int, title: str, detail: str) -> Response:
    """An error in the service's shape."""
    return JSONResponse({"title": title, "detail": detail, "status": status}, status)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake Replicate.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--token", help="the only token that is let in; without it, every token is")
    arguments.add_argument("--looks", type=int, default=2, help="how often a prediction is not done when looked at")
    given = arguments.parse_args()
    fake = FakeReplicate(port=given.port, token=given.token, states=("processing",) * given.looks)
    print(f"REPLICATE_BASE_URL={fake.url}/v1", flush=True)
    fake.run()
