"""A server with the wire shape of Recraft's interface, and the faults of the true one on demand."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

V4 = ("recraftv4", "recraftv4_1", "recraftv4_1_utility", "recraftv4_styles")
PRO = ("recraftv4_pro", "recraftv4_1_pro", "recraftv4_1_utility_pro", "recraftv4_styles_pro")
FLASH = "recraftv4_1_flash"
SIZES_1K = "1024x1024 1536x768 768x1536 1280x832 832x1280 1216x896 896x1216 1152x896 896x1152 832x1344 1280x896 896x1280 1344x768 768x1344"
SIZES_V3 = "1024x1024 1365x1024 1024x1365 1536x1024 1024x1536 1820x1024 1024x1820 1024x2048 2048x1024 1434x1024 1024x1434 1024x1280 1280x1024 "
SIZES_V3 += "1024x1707 1707x1024"
STYLES = ("any", "realistic_image", "digital_illustration", "logo_raster")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one endpoint takes, as names with blanks between, and what it costs in API units."""

    required: str
    optional: str
    units: int
    models: tuple[str, ...] = ()
    single: bool = False
    """It answers with one picture instead of a list."""


_OUT = "image_format response_format expire"
_PAINTS = f"{_OUT} model n negative_prompt random_seed style substyle style_id style_match controls text_layout creativity block_nsfw"
_DRAWS = Rules(
    required="prompt",
    optional=f"{_PAINTS} size style_reference_urls upscale",
    units=40,
    models=(*V4, *PRO, FLASH, "recraftv3", "recraftv2"),
)
ENDPOINTS: Mapping[str, Rules] = {
    "generations": _DRAWS,
    "generations/raster": _DRAWS,
    "imageToImage": Rules(
        required="prompt image_url strength",
        optional=_PAINTS,
        units=40,
        models=(*(name for name in (*V4, *PRO) if "styles" not in name), "recraftv3"),
    ),
    "inpaint": Rules(required="prompt image_url mask_url", optional=_PAINTS, units=40, models=("recraftv3",)),
    "outpaint": Rules(
        required="prompt image_url",
        optional=f"{_PAINTS} expand_left expand_top expand_right expand_bottom size zoom_out_percentage",
        units=40,
        models=("recraftv3",),
    ),
    "replaceBackground": Rules(required="prompt image_url", optional=_PAINTS, units=40, models=("recraftv3",)),
    "generateBackground": Rules(required="prompt image_url mask_url", optional=_PAINTS, units=40, models=("recraftv3",)),
    "eraseRegion": Rules(required="image_url mask_url", optional=_OUT, units=2, single=True),
    "removeBackground": Rules(required="image_url", optional=f"{_OUT} upscale", units=10, single=True),
    "variateImage": Rules(required="image_url size", optional=f"{_OUT} model n random_seed", units=40),
    "crispUpscale": Rules(required="image_url", optional=f"{_OUT} upscale", units=4, single=True),
    "creativeUpscale": Rules(required="image_url", optional=f"{_OUT} upscale", units=250, single=True),
}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    MODERATED = "the prompt is turned away by moderation"
    NO_UNITS = "no API units, with status 400"
    RATE_LIMITED = "too many requests"
    ERROR_500 = "internal error, as plain text"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the answer"
    PAGE = "a web page with status 200"
    NO_PICTURES = "an empty list of pictures"
    NO_PICTURE = "an entry without a picture"
    BAD_BASE64 = "a picture that is no base64"
    KEY_ECHO = "an error that repeats the token"
    MORE_FIELDS = "fields nobody knows"
    NO_BILL = "an answer without credits"


class FakeRecraft(Server):
    """Recraft on a port of this machine; `base_url` is what goes into RECRAFT_BASE_URL. `trouble` is a queue: each call takes the first one from it."""

    def __init__(self, *, token: str = "recraft-fake-0123456789") -> None:
        self.token = token
        self.trouble: deque[Trouble] = deque()
        routes = [Route("/v1/images/{path:path}", self._work, methods=["POST"]), Route("/v1/users/me", self._user), Route("/files/1.png", self._file)]
        super().__init__(Starlette(routes=routes, exception_handlers={404: _not_found}))
        self.base_url = f"{self.url}/v1"

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()

    def _refuse(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return PlainTextResponse("request unauthorized", 401)

    async def _user(self, request: Request) -> Response:
        account = {"id": "39c1a8e0-0000-4000-8000-000000000000", "credits": 1234, "email": "a@example.com", "name": "A"}
        return self._refuse(request) or JSONResponse(account)

    async def _file(self, request: Request) -> Response:
        return Response(picture(64, 64), media_type="image/png")

    async def _work(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        rules = ENDPOINTS.get(request.path_params["path"])
        if rules is None:
            return await _not_found(request, None)
        body = await request.json()
        if (complaint := complain(body, rules)) is not None:
            return failure(400, "invalid_request_parameter", complaint)
        return JSONResponse(self._answer(body, rules, trouble))

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.MODERATED:
                return failure(400, "prompt_moderation_failed", "The prompt contains inappropriate words.")
            case Trouble.NO_UNITS:
                return failure(400, "not_enough_credits", "Not enough credits.")
            case Trouble.RATE_LIMITED:
                return failure(429, "rate_limit_exceeded", "Too many requests.")
            case Trouble.ERROR_500:
                return PlainTextResponse("internal server error", 500)
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"created": 17')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body>Welcome</body></html>", media_type="text/html")
            case Trouble.KEY_ECHO:
                return failure(400, self.token, f"authorization {request.headers['authorization']} is odd")
            case _:
                return None

    def _answer(self, body: Mapping[str, Any], rules: Rules, trouble: Trouble | None) -> dict[str, Any]:
        link = body.get("response_format") != "b64_json"
        data = base64.b64encode(picture(64, 64, body.get("image_format", "webp"))).decode()
        entry: dict[str, Any] = {
            "image_id": "39c1a8e0-0000-4000-8000-000000000001",
            **({"url": f"{self.url}/files/1.png"} if link else {"b64_json": data}),
        }
        match trouble:
            case Trouble.BAD_BASE64:
                entry["b64_json"] = "not base64!"
            case Trouble.NO_PICTURE:
                del entry["b64_json"]
            case Trouble.MORE_FIELDS:
                entry |= {"revised_prompt": "a finer cat", "features": {"nsfw_score": 0.01}}
        count = body.get("n", 1)
        answer: dict[str, Any] = {"created": 1_795_000_000, "credits": rules.units * count}
        answer |= {"image": entry} if rules.single else {"data": [] if trouble is Trouble.NO_PICTURES else [entry] * count}
        if trouble is Trouble.NO_BILL:
            del answer["credits"]
        return answer


async def _not_found(request: Request, error: Exception | None) -> Response:
    return PlainTextResponse("404 page not found", 404)


def failure(status: int, code: str, message: str) -> Response:
    """An error in Recraft's shape."""
    return JSONResponse({"code": code, "message": message}, status, headers={"x-request-id": "req_fake"})


def complain(body: Mapping[str, Any], rules: Rules) -> str | None:
    """What is wrong with a body; None for a good one."""
    if missing := [name for name in rules.required.split() if body.get(name) in (None, "")]:
        return f"{missing[0]} is required"
    if unknown := [name for name in body if name not in f"{rules.required} {rules.optional}".split()]:
        return f"unknown field {unknown[0]}"
    model = body.get("model", "recraftv4_1")
    if rules.models and model not in rules.models:
        return f"model {model} is not supported here"
    sizes = SIZES_V3 if model in ("recraftv3", "recraftv2") else SIZES_1K
    width, height = map(int, body.get("size", "1024x1024").split("x"))
    if f"{width}x{height}" not in sizes.split() and not (model in PRO and f"{width // 2}x{height // 2}" in sizes.split()):
        return f"size {body['size']} is not supported by {model}"
    if not 1 <= body.get("n", 1) <= 6 or not 0 <= body.get("strength", 0) <= 1 or not 0 <= body.get("random_seed", 0) < 2**32:
        return "n, strength or random_seed is out of range"
    if model.startswith("recraftv4") and (body.get("negative_prompt") or body.get("style")):
        return f"{model} takes neither a negative prompt nor a style"
    if body.get("style") not in (None, *STYLES):
        return f"unknown style {body['style']}"
    if "style_reference_urls" in body and (model == FLASH or not model.startswith("recraftv4")):
        return f"{model} takes no style references"
    if body.get("image_format") not in (None, "png", "webp") or body.get("response_format") not in (None, "url", "b64_json"):
        return "unknown format"
    links = [body.get("image_url"), body.get("mask_url"), *body.get("style_reference_urls", [])]
    if not all(link is None or link.startswith(("data:image/", "https://")) for link in links):
        return "an image must be a URL or a data URL"
    if "mask_url" in body:
        mask = Image.open(BytesIO(base64.b64decode(body["mask_url"].partition(",")[2])))
        if mask.mode != "L" or set(mask.tobytes()) - {0, 255}:
            return "the mask must be black and white"
    return None
