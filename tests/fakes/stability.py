"""A server with the wire shape of Stability AI's image interface, and the faults of the true one on demand."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mcp_image_server.net import File

from .multipart import parts_of
from .server import Broken, Hanging, Seen, Server, picture

SEED = 343_940_597
TASK = "a6dc6c6e20acda010fe14d71f180658f2896ed9b4ec25aa99a6ff06c796987c4"
RATIOS = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
PRESETS = "enhance anime photographic digital-art comic-book fantasy-art line-art analog-film neon-punk isometric low-poly origami modeling-compound "
PRESETS += "cinematic 3d-model pixel-art tile-texture"
CHOICES: Mapping[str, tuple[str, ...]] = {
    "aspect_ratio": RATIOS,
    "style_preset": tuple(PRESETS.split()),
    "output_format": ("png", "jpeg", "webp"),
    "model": ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash"),
    "mode": ("text-to-image", "image-to-image"),
}
BOUNDS: Mapping[str, tuple[float, float]] = {
    "seed": (0, 4_294_967_294),
    "strength": (0, 1),
    "style_strength": (0, 1),
    "control_strength": (0, 1),
    "fidelity": (0, 1),
    "creativity": (0, 1),
    "change_strength": (0.1, 1),
    "composition_fidelity": (0, 1),
    "cfg_scale": (1, 10),
    "grow_mask": (0, 100),
    **dict.fromkeys(("left", "right", "up", "down"), (0, 2000)),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one endpoint takes, as names with blanks between."""

    required: str = ""
    optional: str = ""
    files: str = "image"
    needed_files: str = "image"
    is_task: bool = False


_COMMON = "negative_prompt seed output_format"
ENDPOINTS: Mapping[str, Rules] = {
    "generate/core": Rules(required="prompt", optional=f"{_COMMON} aspect_ratio style_preset", files="", needed_files=""),
    "generate/ultra": Rules(required="prompt", optional=f"{_COMMON} aspect_ratio style_preset strength", needed_files=""),
    "generate/sd3": Rules(required="prompt", optional=f"{_COMMON} aspect_ratio style_preset strength model mode cfg_scale", needed_files=""),
    "edit/inpaint": Rules(required="prompt", optional=f"{_COMMON} grow_mask style_preset", files="image mask"),
    "edit/erase": Rules(optional="grow_mask seed output_format", files="image mask"),
    "edit/outpaint": Rules(optional="left right up down prompt creativity seed output_format style_preset"),
    "edit/search-and-replace": Rules(required="prompt search_prompt", optional=f"{_COMMON} grow_mask style_preset"),
    "edit/search-and-recolor": Rules(required="prompt select_prompt", optional=f"{_COMMON} grow_mask style_preset"),
    "edit/remove-background": Rules(optional="output_format"),
    "edit/replace-background-and-relight": Rules(
        optional=f"{_COMMON} background_prompt foreground_prompt preserve_original_subject original_background_depth keep_original_background "
        "light_source_direction light_source_strength",
        files="subject_image background_reference light_reference",
        needed_files="subject_image",
        is_task=True,
    ),
    "control/sketch": Rules(required="prompt", optional=f"{_COMMON} control_strength style_preset"),
    "control/structure": Rules(required="prompt", optional=f"{_COMMON} control_strength style_preset"),
    "control/style": Rules(required="prompt", optional=f"{_COMMON} aspect_ratio fidelity style_preset"),
    "control/style-transfer": Rules(
        optional=f"{_COMMON} prompt style_strength composition_fidelity change_strength",
        files="init_image style_image",
        needed_files="init_image style_image",
    ),
    "upscale/fast": Rules(optional="output_format"),
    "upscale/conservative": Rules(required="prompt", optional=f"{_COMMON} creativity"),
    "upscale/creative": Rules(required="prompt", optional=f"{_COMMON} creativity style_preset", is_task=True),
}


class Trouble(StrEnum):
    """What the server can do to the next call, or to its task, instead of drawing."""

    MODERATED = "the prompt is turned away by moderation"
    FORBIDDEN = "the account may not use this"
    NO_CREDITS = "no credits"
    RATE_LIMITED = "too many requests, timed out"
    TOO_LARGE = "the request is larger than 10 MiB"
    ERROR_500 = "internal error"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the answer"
    PAGE = "a web page with status 200"
    FILTERED = "a blurred picture, with a word on it"
    NO_PICTURE = "an answer without a picture"
    BAD_BASE64 = "a picture that is no base64"
    KEY_ECHO = "an error that repeats the key"
    MORE_FIELDS = "fields nobody knows"
    NO_TASK = "a task without an id"
    LOST = "the task is not found"
    LOOK_LIMITED = "too many requests at the first look"
    LOOK_MODERATED = "the task is turned away by moderation"
    NEVER = "the task is never done"


@dataclass
class Work:
    """A task of the server."""

    trouble: Trouble | None
    seen: Seen
    looks: int = field(default=0)


class FakeStability(Server):
    """Stability AI on a port of this machine; `url` is what goes into STABILITY_BASE_URL.

    `trouble` is a queue: each submission takes the first one from it. `looks` is how often a task is not done when looked at.
    """

    def __init__(self, *, key: str = "sk-fake-0123456789") -> None:
        self.key = key
        self.looks = 0
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Work] = {}
        routes = [
            Route("/v2beta/stable-image/{group}/{name}", self._work, methods=["POST"]),
            Route("/v2beta/results/{task_id}", self._result),
            Route("/v1/user/balance", self._balance),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()
        self.looks = 0

    def _refuse_key(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return failure(401, "unauthorized", "authorization: is invalid")

    async def _balance(self, request: Request) -> Response:
        return self._refuse_key(request) or JSONResponse({"credits": 112.5})

    async def _work(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        rules = ENDPOINTS.get(f"{request.path_params['group']}/{request.path_params['name']}")
        if rules is None:
            return failure(404, "not_found", "The requested resource was not found.")
        if complaints := complain(self.seen[-1], rules):
            return failure(400, "bad_request", *complaints)
        if not rules.is_task:
            return drawn(self.seen[-1], trouble, "image")
        self.tasks[TASK] = Work(trouble=trouble, seen=self.seen[-1], looks=self.looks)
        return JSONResponse({} if trouble is Trouble.NO_TASK else {"id": TASK}, headers={"x-request-id": "req_submit"})

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.MODERATED:
                return failure(403, "content_moderation", MODERATED)
            case Trouble.FORBIDDEN:
                return failure(403, "forbidden", "You lack the permission to use this service.")
            case Trouble.NO_CREDITS:
                return failure(
                    402, "payment_required", "You lack sufficient credits to make this request. Please purchase more credits and try again."
                )
            case Trouble.RATE_LIMITED:
                return failure(429, "rate_limit_exceeded", LIMITED)
            case Trouble.TOO_LARGE:
                return failure(413, "payload_too_large", "body: payloads cannot be larger than 10MiB in size")
            case Trouble.ERROR_500:
                return failure(500, "internal_error", "An unexpected server error has occurred, please try again later.")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"image": "iVBOR')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body>Welcome</body></html>", media_type="text/html")
            case Trouble.KEY_ECHO:
                return failure(400, self.key, f"authorization: {request.headers['authorization']} is odd")
            case _:
                return None

    async def _result(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        work = self.tasks.get(request.path_params["task_id"])
        if work is None or work.trouble is Trouble.LOST:
            return failure(404, "not_found", "id: Generation not found")
        if work.trouble is Trouble.LOOK_MODERATED:
            return failure(403, "content_moderation", MODERATED)
        if work.trouble is Trouble.LOOK_LIMITED:
            work.trouble = None
            return failure(429, "rate_limit_exceeded", "You have exceeded the rate limit.")
        if work.looks or work.trouble is Trouble.NEVER:
            work.looks -= 1
            return JSONResponse({"id": request.path_params["task_id"], "status": "in-progress"}, 202)
        return drawn(work.seen, work.trouble, "result")


MODERATED = "Your request was flagged by our content moderation system, as a result your request was denied and you were not charged."
LIMITED = "You have exceeded the rate limit of 150 requests within a 10 second period, and have been timed out for 60 seconds."


def failure(status: int, name: str, *errors: str) -> Response:
    """An error in Stability AI's shape."""
    return JSONResponse({"id": "4212a4b66fbe1cedca4bf2133d35dca5", "name": name, "errors": errors}, status, headers={"x-request-id": "req_fake"})


def complain(seen: Seen, rules: Rules) -> list[str]:
    """What is wrong with a request; empty for a good one."""
    try:
        parts = parts_of(seen)
    except ValueError:
        return ["content-type: must be multipart/form-data"]
    fields = {name: value for name, value in parts if isinstance(value, str)}
    files = {name: value for name, value in parts if isinstance(value, File)}
    wrong = [f"{name}: is required" for name in rules.required.split() if not fields.get(name)]
    wrong += [f"{name}: is required" for name in rules.needed_files.split() if name not in files]
    wrong += [f"{name}: is not allowed" for name in fields if name not in f"{rules.required} {rules.optional}".split()]
    wrong += [f"{name}: is not allowed" for name in files if name not in rules.files.split()]
    wrong += [f"{name}: must be one of {', '.join(CHOICES[name])}" for name in fields.keys() & CHOICES.keys() if fields[name] not in CHOICES[name]]
    for name in fields.keys() & BOUNDS.keys():
        low, high = BOUNDS[name]
        if not low <= float(fields[name]) <= high:
            wrong.append(f"{name}: must be between {low:g} and {high:g}")
    if "image" in files and "strength" in rules.optional.split() and "strength" not in fields:
        wrong.append("strength: is required")
    if ("image" in files) != (fields.get("mode") == "image-to-image") and "mode" in rules.optional.split():
        wrong.append("mode: image-to-image needs an image, and an image needs image-to-image")
    if "left" in rules.optional.split() and not any(int(fields.get(name, 0)) for name in ("left", "right", "up", "down")):
        wrong.append("At least one outpainting direction must be supplied with a non-zero value")
    wrong += [
        f"{name}: must be jpeg, png or webp" for name, file in files.items() if file.media_type not in ("image/jpeg", "image/png", "image/webp")
    ]
    return wrong


def drawn(seen: Seen, trouble: Trouble | None, name: str) -> Response:
    """A picture in JSON, under that name."""
    fields = dict(parts_of(seen))
    data = base64.b64encode(picture(64, 64, str(fields.get("output_format", "png")))).decode()
    answer: dict[str, object] = {name: data, "finish_reason": "SUCCESS", "seed": int(str(fields.get("seed", SEED)))}
    match trouble:
        case Trouble.FILTERED:
            answer["finish_reason"] = "CONTENT_FILTERED"
        case Trouble.NO_PICTURE:
            del answer[name]
        case Trouble.BAD_BASE64:
            answer[name] = "not base64!"
        case Trouble.MORE_FIELDS:
            answer |= {"credits_used": 3, "safety": {"score": 0.1}}
    return JSONResponse(answer, headers={"x-request-id": "req_fake"})
