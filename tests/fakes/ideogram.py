"""A server with the wire shape of Ideogram's interface, and the faults of the true one on demand."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mcp_image_server.net import File

from .multipart import parts_of
from .server import Broken, Hanging, Seen, Server, picture

SEED = 12345
FINER = "A finer prompt, made longer by magic."
SPEEDS = ("FLASH", "TURBO", "BALANCED", "DEFAULT", "QUALITY")
TYPES = ("AUTO", "GENERAL", "REALISTIC", "DESIGN", "CUSTOM", "FICTION", "STYLIZED")
RATIOS = "1x3 3x1 1x2 2x1 9x16 16x9 10x16 16x10 2x3 3x2 3x4 4x3 4x5 5x4 1x1".split()  # noqa: SIM905 - one line
SIZES_V4 = (
    "2048x2048 1440x2880 2880x1440 1664x2496 2496x1664 1792x2240 2240x1792 1440x2560 2560x1440 1600x2560 2560x1600 1728x2304 2304x1728 1296x3168 "
    "3168x1296 1152x2944 2944x1152 1248x3328 3328x1248 1280x3072 3072x1280"
)
SIZES_V3 = (
    "512x1536 576x1408 576x1472 576x1536 640x1344 640x1408 640x1472 640x1536 704x1152 704x1216 704x1280 704x1344 704x1408 704x1472 736x1312 768x1088 "
    "768x1216 768x1280 768x1344 800x1280 832x960 832x1024 832x1088 832x1152 832x1216 832x1248 864x1152 896x960 896x1024 896x1088 896x1120 896x1152 "
    "960x832 960x896 960x1024 960x1088 1024x832 1024x896 1024x960 1024x1024 1088x768 1088x832 1088x896 1088x960 1120x896 1152x704 1152x832 1152x864 "
    "1152x896 1216x704 1216x768 1216x832 1248x832 1280x704 1280x768 1280x800 1312x736 1344x640 1344x704 1344x768 1408x576 1408x640 1408x704 1472x576 "
    "1472x640 1472x704 1536x512 1536x576 1536x640"
)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one endpoint takes, as names with blanks between; those with a star are files."""

    required: str
    optional: str = ""
    sizes: str = SIZES_V3


_V3 = "num_images seed rendering_speed style_preset color_palette style_codes *style_reference_images"
_WORDS = f"{_V3} magic_prompt style_type custom_model_uri"
ENDPOINTS: Mapping[str, Rules] = {
    "v1/ideogram-v4/generate": Rules(required="", optional="text_prompt json_prompt resolution rendering_speed", sizes=SIZES_V4),
    "v1/ideogram-v3/generate": Rules(required="prompt", optional=f"{_WORDS} negative_prompt resolution aspect_ratio"),
    "v1/ideogram-v3/remix": Rules(required="prompt *image", optional=f"{_WORDS} negative_prompt resolution aspect_ratio image_weight"),
    "v1/ideogram-v3/inpaint": Rules(required="prompt *image *mask", optional=_WORDS),
    "v1/ideogram-v3/reframe": Rules(required="*image resolution", optional=_V3),
    "v1/ideogram-v3/replace-background": Rules(required="prompt *image", optional=f"{_V3} magic_prompt"),
    "v1/ideogram-v3/generate-transparent": Rules(
        required="prompt", optional="num_images seed upscale_factor aspect_ratio rendering_speed magic_prompt negative_prompt custom_model_uri"
    ),
    "v1/edit": Rules(required="prompt *images", optional="num_images seed magic_prompt resolution aspect_ratio transparent_background"),
    "v2/image/precise-edit/ideogram-4-5": Rules(required="prompt *image", optional="*mask *reference_images quality num_images seed context_window"),
    "v1/remove-background": Rules(required="*image"),
    "upscale": Rules(required="image_request *image_file"),
}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    UNSAFE_PROMPT = "the prompt is turned away by moderation"
    NO_CREDITS = "no credits"
    RATE_LIMITED = "too many requests"
    ERROR_503 = "unavailable for a while"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the answer"
    PAGE = "a web page with status 200"
    NO_DATA = "an empty list of pictures"
    HELD_ONE = "the first picture is held back by moderation"
    HELD_ALL = "every picture is held back by moderation"
    LINK_GONE = "the picture's link has expired"
    KEY_ECHO = "an error that repeats the key"
    MORE_FIELDS = "fields nobody knows"


class FakeIdeogram(Server):
    """Ideogram on a port of this machine; `url` is what goes into IDEOGRAM_BASE_URL. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, key: str = "ideogram-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/models", self._models),
            Route("/api/images/ephemeral/{name}", self._file),
            Route("/{path:path}", self._work, methods=["POST"]),
        ]
        super().__init__(Starlette(routes=routes))

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()

    def _refuse(self, request: Request) -> Response | None:
        return None if request.headers.get("api-key") == self.key else failure(401, "Unauthorized")

    async def _models(self, request: Request) -> Response:
        return self._refuse(request) or JSONResponse({"models": []})

    async def _file(self, request: Request) -> Response:
        if request.url.query != "exp=1795000000&sig=a%2Bb":
            return Response("expired", 403)
        return Response(picture(64, 64), media_type="image/png")

    async def _work(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        rules = ENDPOINTS.get(request.path_params["path"])
        if rules is None:
            return failure(404, "Not found")
        if (complaint := complain(self.seen[-1], rules)) is not None:
            return failure(400, complaint)
        return JSONResponse(self._answer(self.seen[-1], trouble))

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.UNSAFE_PROMPT:
                return failure(422, "Prompt provided failed safety check due to the inclusion of prohibited content.")
            case Trouble.NO_CREDITS:
                return failure(402, "Insufficient credits or quota.")
            case Trouble.RATE_LIMITED:
                return failure(429, "Too many requests.")
            case Trouble.ERROR_503:
                return failure(503, "Image generation service temporarily unavailable.")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"created": "2026')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body>Welcome</body></html>", media_type="text/html")
            case Trouble.KEY_ECHO:
                return failure(400, f"api-key {request.headers['api-key']} is odd")
            case _:
                return None

    def _answer(self, seen: Seen, trouble: Trouble | None) -> dict[str, Any]:
        fields = fields_of(seen)
        signature = "exp=0&sig=gone" if trouble is Trouble.LINK_GONE else "exp=1795000000&sig=a%2Bb"
        entry: dict[str, Any] = {
            "url": f"{self.url}/api/images/ephemeral/x.png?{signature}",
            "prompt": fields.get("prompt") or fields.get("text_prompt") or FINER,
            "resolution": fields.get("resolution", "1024x1024"),
            "is_image_safe": True,
            "seed": int(fields.get("seed", SEED)),
        }
        data = [dict(entry) for _ in range(int(fields.get("num_images", 1)))]
        held = {Trouble.HELD_ONE: data[:1], Trouble.HELD_ALL: data}.get(trouble, []) if trouble else []
        for one in held:
            one.update(is_image_safe=False, url=None)
        if trouble is Trouble.MORE_FIELDS:
            data[0] |= {"style_type": "GENERAL", "upscaled_resolution": None, "prompt": FINER}
        return {"created": "2026-11-22T05:00:00Z", "data": [] if trouble is Trouble.NO_DATA else data}


def failure(status: int, words: str) -> Response:
    """An error in Ideogram's shape."""
    return JSONResponse({"error": words}, status, headers={"x-request-id": "req_fake"})


def fields_of(seen: Seen) -> dict[str, Any]:
    """The fields of a request; those of an upscaling stand in one of them."""
    fields: dict[str, Any] = {name: value for name, value in parts_of(seen) if isinstance(value, str)}
    return json.loads(fields["image_request"]) if "image_request" in fields else fields


def complain(seen: Seen, rules: Rules) -> str | None:
    """What is wrong with a request; None for a good one."""
    try:
        parts = parts_of(seen)
    except ValueError as error:
        return str(error)
    names = [f"*{name}" if isinstance(value, File) else name for name, value in parts]
    if missing := [name for name in rules.required.split() if name not in names]:
        return f"{missing[0]} is required"
    if unknown := [name for name in names if name not in f"{rules.required} {rules.optional}".split()]:
        return f"unknown field {unknown[0]}"
    fields = fields_of(seen)
    if "text_prompt" in rules.optional and ("text_prompt" in fields) == ("json_prompt" in fields):
        return "supply either text_prompt or json_prompt"
    if (
        not 1 <= int(fields.get("num_images", 1)) <= 8
        or not 0 <= int(fields.get("seed", 0)) < 2**31
        or not 1 <= int(fields.get("image_weight", 1)) <= 100
    ):
        return "num_images, seed or image_weight is out of range"
    if fields.get("resolution", rules.sizes.split()[0]) not in rules.sizes.split() or fields.get("aspect_ratio", "1x1") not in RATIOS:
        return "resolution or aspect_ratio is not supported"
    if fields.get("rendering_speed", "DEFAULT") not in (SPEEDS if rules.sizes is SIZES_V3 else ("TURBO", "DEFAULT", "QUALITY")):
        return "unknown rendering_speed"
    if fields.get("quality", "medium") not in ("very_low", "low", "medium", "high") or fields.get("style_type", "AUTO") not in TYPES:
        return "unknown quality or style_type"
    files = {name: value for name, value in parts if isinstance(value, File)}
    if "mask" in files:
        mask = Image.open(BytesIO(files["mask"].data))
        if mask.mode != "L" or set(mask.tobytes()) - {0, 255}:
            return "the mask must be black and white"
    return None
