"""A server with the wire shape of MiniMax's image interfaces, the older and the newer, and the faults of the true one on demand."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Hanging, Server, picture

TRACE_ID = "0512trace0fake"
SIZES: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
}
OLDER = ("image-01", "image-01-live")
NEWER = ("MiniMax-H3-Image", "MiniMax-H3-Image-Highspeed")
OLDER_FIELDS = {
    "model", "prompt", "aspect_ratio", "width", "height", "n", "seed", "style", "response_format", "prompt_optimizer", "aigc_watermark",
    "subject_reference",
}  # fmt: skip
NEWER_FIELDS = {"model", "prompt", "n", "size", "aspect_ratio", "area", "response_format", "output_format", "output_compression", "images"}


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    RATE_LIMITED = "too many calls"
    TOKENS_LIMITED = "too many tokens"
    PLAN_USED_UP = "the plan's calls are used up"
    NO_MONEY = "no money left, told with status 500"
    NO_NAME = "the account's holder is not verified"
    BLOCKED_INPUT = "the prompt is turned away"
    BLOCKED_OUTPUT = "the picture is turned away"
    TIMEOUT = "the model took too long"
    BROKEN = "unknown error"
    ONE_HELD_BACK = "one of the pictures is held back"
    ALL_HELD_BACK = "each picture is held back"
    HANG = "accepts the call and never answers"
    KEY_ECHO = "an error that repeats the key"
    EMPTY = "no picture"
    NO_BASE = "an answer without its base_resp"
    LINKS = "links although base64 was asked for"
    LINKS_DEAD = "links that have expired"
    BAD_BASE64 = "a picture that is no base64"
    NUMBERS = "counts that are numbers"
    NO_COUNTS = "pictures and no counts of them"
    MORE_FIELDS = "fields nobody knows"


T = Trouble
_FAULTS: Mapping[Trouble, tuple[int, int, str, int]] = {
    # status, code, message, and the status that a newer model names
    T.RATE_LIMITED: (200, 1002, "rate limit", 429),
    T.TOKENS_LIMITED: (200, 1039, "token limit", 429),
    T.PLAN_USED_UP: (200, 2056, "usage limit exceeded", 402),
    T.NO_MONEY: (500, 1008, "insufficient balance", 402),
    T.NO_NAME: (200, 2038, "please complete the real-name verification", 403),
    T.BLOCKED_INPUT: (200, 1026, "new_sensitive", 422),
    T.BLOCKED_OUTPUT: (200, 1027, "output new_sensitive", 422),
    T.TIMEOUT: (200, 1001, "timeout", 504),
    T.BROKEN: (200, 1000, "unknown error", 500),
}


class FakeMiniMax(Server):
    """MiniMax on a port of this machine; `url` is what goes into MINIMAX_API_HOST."""

    def __init__(self, *, port: int = 0, key: str = "mm-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/v1/image_generation", self._older, methods=["POST"]),
            Route("/v1/images/{what}", self._newer, methods=["POST"]),
            Route("/files/{size}/{name}", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()

    async def _file(self, request: Request) -> Response:
        if "authorization" in request.headers or "dead" in request.path_params["name"]:
            return Response(status_code=403)
        width, height = map(int, request.path_params["size"].split("x"))
        return Response(picture(width, height, "jpeg"), media_type="application/octet-stream")

    def _pictures(self, size: str, number: int, trouble: Trouble | None, kind: str = "jpeg") -> tuple[str, list[str]]:
        """Under which name, and what."""
        if trouble is T.EMPTY:
            return "base64", []
        if trouble in (T.LINKS, T.LINKS_DEAD):
            return "urls", [f"{self.url}/files/{size}/{'dead' if trouble is T.LINKS_DEAD else 'drawn'}{n}.jpeg" for n in range(number)]
        width, height = map(int, size.split("x"))
        text = "no base64 at all!" if trouble is T.BAD_BASE64 else base64.b64encode(picture(width, height, kind)).decode()
        return "base64", [text] * number

    async def _older(self, request: Request) -> ASGIApp:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return told(1004, "login fail: Please carry the API secret key in the 'Authorization' field of the request header")
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and trouble in _FAULTS:
            status, code, message, _ = _FAULTS[trouble]
            return told(code, message, status=status)
        if trouble is T.HANG:
            return Hanging()
        if trouble is T.KEY_ECHO:
            return told(2013, f"invalid header authorization: {request.headers['authorization']}")
        body = await request.json()
        if (complaint := complain_older(body)) is not None:
            return told(2013, f"invalid params, {complaint}")
        width, height = SIZES[body["aspect_ratio"]] if "aspect_ratio" in body else (body.get("width", 1024), body.get("height", 1024))
        asked = body.get("n", 1)
        failed = {T.ONE_HELD_BACK: 1, T.ALL_HELD_BACK: asked}.get(trouble, 0) if trouble else 0
        name, entries = self._pictures(f"{width}x{height}", asked - failed, trouble)
        counts: dict[str, Any] = {"success_count": str(asked - failed), "failed_count": str(failed)}
        if trouble is T.NUMBERS:
            counts = {"success_count": asked, "failed_count": 0}
        answer: dict[str, Any] = {
            "id": "03ff3cd0820949eb8a410056b5f21d38",
            "data": {f"image_{name}": entries},
            "metadata": None if trouble is T.NO_COUNTS else counts,
        }
        if trouble is T.MORE_FIELDS:
            answer |= {"usage": {"images": 1}, "trace": None}
        base = {} if trouble is T.NO_BASE else {"base_resp": {"status_code": 0, "status_msg": "success"}}
        return JSONResponse({**answer, **base}, headers={"trace-id": TRACE_ID})

    async def _newer(self, request: Request) -> ASGIApp:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return refused(401, "authentication_error", "invalid api key", status=401)
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and trouble in _FAULTS:
            _, _, message, code = _FAULTS[trouble]
            return refused(code, "unprocessable_entity_error" if code == 422 else "api_error", message)
        body = await request.json()
        edits = request.path_params["what"] == "edits"
        if (complaint := complain_newer(body, edits=edits)) is not None:
            return refused(400, "invalid_request_error", complaint, status=400)
        kind = body.get("output_format", "jpeg")
        _, entries = self._pictures(body.get("size", "1024x1024"), body.get("n", 1), trouble, kind)
        data: list[dict[str, Any]] = [{"b64_json": entry} for entry in entries]
        held_back = range(len(data)) if trouble is T.ALL_HELD_BACK else [1] if trouble is T.ONE_HELD_BACK else []
        for number in held_back:
            data[number] = {"error": {"type": "unprocessable_entity_error", "message": "the picture is sensitive", "http_code": "422"}}
        return JSONResponse({"created": 1795304300, "data": data, "usage": {"total_tokens": 9}}, headers={"trace-id": TRACE_ID})


def told(code: int, message: str, *, status: int = 200) -> Response:
    """An error of the older interface, usually with a status that says that all is well."""
    return JSONResponse({"base_resp": {"status_code": code, "status_msg": message}}, status, headers={"trace-id": TRACE_ID})


def refused(code: int, kind: str, message: str, *, status: int = 200) -> Response:
    """An error of the newer interface, which may also come with status 200."""
    return JSONResponse({"error": {"type": kind, "message": message, "http_code": str(code)}}, status, headers={"trace-id": TRACE_ID})


def complain_older(body: Mapping[str, Any]) -> str | None:
    """What is wrong with a call; None for a good one."""
    live = body.get("model") == "image-01-live"
    if body.get("model") not in OLDER or body.keys() - OLDER_FIELDS:
        return f"unknown model or field: {sorted(body.keys() - OLDER_FIELDS)}"
    if not 1 <= len(str(body.get("prompt") or "")) <= 1500:
        return "prompt"
    if not 1 <= body.get("n", 1) <= 9 or body.get("aspect_ratio", "1:1") not in SIZES or body.get("response_format") not in ("url", "base64"):
        return "n, aspect_ratio or response_format"
    edges = [body[name] for name in ("width", "height") if name in body]
    if edges and (live or len(edges) == 1 or not all(512 <= edge <= 2048 and edge % 8 == 0 for edge in edges)):
        return "width and height"
    if "style" in body and (not live or body["style"].get("style_type") not in ("Comic", "Energetic", "Medieval", "Watercolor")):
        return "style"
    if not all(subject["type"] == "character" and is_link(subject["image_file"]) for subject in body.get("subject_reference", ())):
        return "subject_reference"
    return None


def complain_newer(body: Mapping[str, Any], *, edits: bool) -> str | None:
    """What is wrong with a call; None for a good one."""
    if body.get("model") not in NEWER or body.keys() - NEWER_FIELDS:
        return f"unknown model or field: {sorted(body.keys() - NEWER_FIELDS)}"
    if not 1 <= len(str(body.get("prompt") or "")) <= 32_000 or not 1 <= body.get("n", 1) <= 10:
        return "prompt or n"
    width, height = map(int, str(body.get("size", "1024x1024")).split("x"))
    if not 655_360 <= width * height <= 20_000_000 or max(width, height) > 3 * min(width, height):
        return "size"
    if not edits * 1 <= len(body.get("images", ())) <= edits * 16 or not all(is_link(image["image_url"]) for image in body.get("images", ())):
        return "images"
    return None


def is_link(text: str) -> bool:
    """An address or a picture inside the body."""
    return re.match(r"https?://|data:image/\w+;base64,", text) is not None
