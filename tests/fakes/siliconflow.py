"""A server with the wire shape of SiliconFlow's image interface, and the faults of the true one on demand."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Hanging, Server, picture

TRACE_ID = "ti_fake0123456789"
SIZES: Mapping[str, set[str]] = {
    "Qwen/Qwen-Image": {"1328x1328", "1664x928", "928x1664", "1472x1140", "1140x1472", "1584x1056", "1056x1584"},
    "Kwai-Kolors/Kolors": {"1024x1024", "960x1280", "768x1024", "720x1440", "720x1280"},
    "Qwen/Qwen-Image-Edit-2509": set(),
    "Qwen/Qwen-Image-Edit": set(),
}
"""Models of the Chinese site; those without sizes edit."""


class Trouble(StrEnum):
    """What the server can do to the next call instead of drawing."""

    PER_MINUTE = "images per minute used up"
    PER_MINUTE_TEXT = "images per minute used up, told in a mere text"
    PER_DAY = "images per day used up"
    PER_DAY_TEXT = "images per day used up, told in a mere text"
    NO_BALANCE = "no money left, with status 403"
    NO_MONEY = "no money left, with status 402"
    NO_NAME = "the account's holder is not verified"
    BLOCKED = "the prompt is turned away"
    ERROR_500 = "internal error"
    OVERLOADED = "overloaded"
    TIMEOUT = "timed out behind the gateway"
    HANG = "accepts the call and never answers"
    KEY_ECHO = "an error that repeats the key"
    CODE_200 = "status 200 and an error"
    EMPTY = "no picture"
    LINK_DEAD = "a link that has expired"
    AS_DATA = "pictures under another name"
    MORE_FIELDS = "fields nobody knows"


T = Trouble
_FAULTS: Mapping[Trouble, tuple[int, int, str]] = {
    T.PER_MINUTE: (429, 50603, "Request was rejected due to rate limiting. Details: IPM limit reached."),
    T.PER_DAY: (429, 50603, "Request was rejected due to rate limiting. Details: IPD limit reached."),
    T.NO_BALANCE: (403, 30001, "Sorry, your account balance is insufficient"),
    T.NO_MONEY: (402, 30001, "insufficient balance"),
    T.NO_NAME: (403, 30011, "Please complete the real-name verification."),
    T.BLOCKED: (400, 20015, "The prompt contains sensitive content."),
    T.ERROR_500: (500, 60000, "Internal error."),
    T.OVERLOADED: (503, 50505, "Model service overloaded. Please try again later."),
    T.CODE_200: (200, 20015, "The prompt contains sensitive content."),
}


class FakeSiliconFlow(Server):
    """SiliconFlow on a port of this machine; `base_url` is what goes into SILICONFLOW_BASE_URL."""

    def __init__(self, *, port: int = 0, key: str = "sk-fake-0123456789") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        routes = [
            Route("/v1/images/generations", self._generations, methods=["POST"]),
            Route("/v1/user/info", self._account),
            Route("/files/{size}/{name}", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/v1"

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()

    async def _file(self, request: Request) -> Response:
        if "authorization" in request.headers or not request.url.query:
            return Response(status_code=403)
        width, height = map(int, request.path_params["size"].split("x"))
        return Response(picture(width, height), media_type="application/octet-stream")

    def _stranger(self, request: Request) -> Response | None:
        return None if request.headers.get("authorization") == f"Bearer {self.key}" else JSONResponse("Invalid token", 401)

    async def _account(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse(
            {"code": 20000, "message": "OK", "status": True, "data": {"id": "u1", "totalBalance": "88.88"}}
        )

    async def _generations(self, request: Request) -> ASGIApp:
        if (stranger := self._stranger(request)) is not None:
            return stranger
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and trouble in _FAULTS:
            return fault(*_FAULTS[trouble])
        match trouble:
            case Trouble.HANG:
                return Hanging()
            case Trouble.PER_MINUTE_TEXT:
                return PlainTextResponse("IPM limit reached", 429)
            case Trouble.PER_DAY_TEXT:
                return PlainTextResponse("IPD limit reached", 429)
            case Trouble.TIMEOUT:
                return PlainTextResponse("504 page not found", 504)
            case Trouble.KEY_ECHO:
                return fault(400, 20015, f"Header authorization: {request.headers['authorization']} is malformed.")
        body = await request.json()
        if (complaint := complain(body)) is not None:
            return fault(400, *complaint)
        signature = "" if trouble is T.LINK_DEAD else "?X-Amz-Signature=a%2Bb"
        names = range(0 if trouble is T.EMPTY else body.get("batch_size", 1))
        entries = [{"url": f"{self.url}/files/{body.get('image_size', '1024x1024')}/{number}.png{signature}"} for number in names]
        answer: dict[str, Any] = {"images": entries, "timings": {"inference": 3.1}, "seed": body.get("seed", 123)}
        if trouble is T.AS_DATA:
            answer = {"created": 1795304300, "data": answer.pop("images"), **answer}
        if trouble is T.MORE_FIELDS:
            answer |= {"shared_id": "0", "data": [{"url": "elsewhere", "revised": True}]}
        return JSONResponse(answer, headers={"x-siliconcloud-trace-id": TRACE_ID})


def fault(status: int, code: int, message: str) -> Response:
    """An error in SiliconFlow's shape."""
    return JSONResponse({"code": code, "message": message, "data": None}, status, headers={"x-siliconcloud-trace-id": TRACE_ID})


def complain(body: Mapping[str, Any]) -> tuple[int, str] | None:
    """What is wrong with a call; None for a good one."""
    model = body.get("model")
    sizes = SIZES.get(str(model))
    links = [body[name] for name in ("image", "image2", "image3") if name in body]
    if sizes is None:
        return 20012, "Model does not exist. Please check it carefully."
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        return 20015, "The parameter is invalid: prompt is required."
    if (body.get("image_size") not in sizes) if sizes else ("image_size" in body):
        return 20015, f"The parameter is invalid: image_size {body.get('image_size')}."
    if bool(links) == bool(sizes) or not all(re.match(r"https?://|data:image/\w+;base64,", link) for link in links):
        return 20015, "The parameter is invalid: image."
    bounds = {"batch_size": (1, 4 if "Kolors" in str(model) else 1), "seed": (0, 9_999_999_999), "num_inference_steps": (1, 100), "cfg": (0.1, 20)}
    for name, (lowest, highest) in bounds.items():
        if name in body and not lowest <= body[name] <= highest:
            return 20015, f"The parameter is invalid: {name} must be in [{lowest}, {highest}]."
    return None
