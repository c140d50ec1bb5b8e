"""A server with the wire shape of Volcengine Ark's image interface, and the faults of the true one on demand.

`python -m tests.fakes.doubao --port 9002 --seconds 2` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

REQUEST_ID = "021795304300000000000000000000000ffffac1500fake"
CREATED = 1_795_304_300


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one model takes."""

    pixels: tuple[int, int]
    presets: tuple[str, ...]
    inputs: int
    groups: bool
    formats: bool


_FIVE = Rules(pixels=(921_600, 4_624_220), presets=("1K", "1.5K", "2K"), inputs=10, groups=False, formats=True)
MODELS: Mapping[str, Rules] = {
    "doubao-seedream-5-0-pro-260628": _FIVE,
    "doubao-seedream-5-0-flash-260915": _FIVE,
    "doubao-seedream-5-0-260128": Rules(pixels=(3_686_400, 16_777_216), presets=("2K", "3K", "4K"), inputs=14, groups=True, formats=True),
    "doubao-seedream-4-5-251128": Rules(pixels=(3_686_400, 16_777_216), presets=("2K", "4K"), inputs=14, groups=True, formats=False),
    "doubao-seedream-4-0-250828": Rules(pixels=(921_600, 16_777_216), presets=("1K", "2K", "4K"), inputs=14, groups=True, formats=False),
}
GROUP_KEYS = ("sequential_image_generation", "sequential_image_generation_options")


class Trouble(StrEnum):
    """What the server can do to the next generation instead of drawing."""

    RATE_LIMITED = "images per minute used up"
    BURST = "requests come too fast"
    OVERLOADED = "server overloaded"
    OVERDUE = "the account owes money"
    SERVICE_OVERDUE = "the service's bill is overdue"
    SAFE_LIMIT = "the account's own limit for the model is reached"
    TRIAL_OVER = "the free allowance is used up"
    DENIED = "no access to the resource"
    NOT_OPEN = "the account has not activated the model"
    SERVICE_NOT_OPEN = "the model's service is not activated"
    NO_MODEL = "no such model or endpoint"
    NO_MODEL_IDS = "the account may not name models, only endpoints"
    UNSUPPORTED_MODEL = "the model is not in the account's plan"
    CLOSED = "the inference endpoint is closed"
    BLOCKED_PROMPT = "prompt refused"
    BLOCKED_INPUT = "input image refused"
    BLOCKED_OUTPUT = "picture refused after it was drawn"
    RISK = "prompt refused by the risk detection"
    ERROR_500 = "internal error"
    ERROR_502_PAGE = "gateway error as a web page"
    ERROR_504 = "gateway timeout"
    EMPTY_404 = "status 404 and nothing else"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    PAGE = "a web page with status 200"
    NO_JSON = "status 200 and broken JSON"
    TOP_ERROR = "status 200 and an error in place of pictures"
    ALL_FAILED = "status 200 and an error in place of each picture"
    BAD_BASE64 = "a picture that is no base64"
    NO_DATA = "an empty list of pictures"
    NO_PICTURE = "an entry without a picture"
    NO_USAGE = "a picture and no bill"
    ODD_USAGE = "a picture and a bill of an unknown form"
    MORE_FIELDS = "a picture and fields nobody knows"
    KEY_ECHO = "an error that repeats the key"
    LINKS = "links although base64 was asked for"
    ONE_REFUSED = "the second picture of a set is refused, the others come"
    ONE_BROKEN = "an internal error at the second picture ends the set"
    ONE_LINK_DEAD = "the second picture's link is dead"
    LINKS_DEAD = "every link is dead"
    AT_ONCE = "one answer although events were asked for"
    STREAM_ERROR = "an error in place of events"
    STREAM_BREAKS = "an error after the first picture"
    STREAM_CUT = "the connection ends after the first picture"
    STREAM_SHORT = "the events end, orderly, after the first picture"
    STREAM_GARBLED = "an event after the first picture that is no JSON"
    STREAM_EMPTY = "the events end before the first picture"


T = Trouble
_OVERDUE = "The request failed because your account has an overdue balance."
_SENSITIVE = "The request failed because the {} may contain sensitive information."
_FAULTS: Mapping[Trouble, tuple[int, str, str]] = {
    T.RATE_LIMITED: (429, "ModelAccountIpmRateLimitExceeded", "The images per minute limit of your account for this model has been exceeded."),
    T.BURST: (429, "RequestBurstTooFast", "The request is blocked because of a sudden increase of traffic."),
    T.OVERLOADED: (429, "ServerOverloaded", "The service is currently unable to handle additional requests due to server overload."),
    T.OVERDUE: (403, "AccountOverdueError", _OVERDUE),
    T.SERVICE_OVERDUE: (403, "OperationDenied.ServiceOverdue", "Operation is denied because your account balance is overdue."),
    T.SAFE_LIMIT: (429, "SetLimitExceeded", "Your account has reached the set inference limit for this model, and the service has been paused."),
    T.TRIAL_OVER: (429, "QuotaExceeded", "Your account has used up its free trial quota. It will reset at 2026-12-01 00:00:00 +0800."),
    T.DENIED: (403, "AccessDenied", "The request failed because you do not have access to the requested resource."),
    T.NOT_OPEN: (
        404,
        "ModelNotOpen",
        "Your account 2100000000 has not activated the model {}. Please activate the model service in the Ark Console.",
    ),
    T.SERVICE_NOT_OPEN: (403, "OperationDenied.ServiceNotOpen", "Operation is denied because the model service is unavailable."),
    T.NO_MODEL: (404, "InvalidEndpointOrModel.NotFound", "The model or endpoint {} does not exist or you do not have access to it."),
    T.NO_MODEL_IDS: (404, "InvalidEndpointOrModel.ModelIDAccessDisabled", "Accessing the model via Model ID is not allowed for your account."),
    T.UNSUPPORTED_MODEL: (404, "UnsupportedModel", "The {} model does not support the plan feature."),
    T.CLOSED: (400, "InvalidEndpoint.ClosedEndpoint", "The request targeted an endpoint that is currently closed or temporarily unavailable."),
    T.BLOCKED_PROMPT: (400, "InputTextSensitiveContentDetected", _SENSITIVE.format("input text")),
    T.BLOCKED_INPUT: (400, "InputImageSensitiveContentDetected.PrivacyInformation", _SENSITIVE.format("input image")),
    T.BLOCKED_OUTPUT: (400, "OutputImageSensitiveContentDetected", _SENSITIVE.format("output image")),
    T.RISK: (400, "InputTextRiskDetection", "The request failed because the input text was found to be a risk."),
    T.ERROR_500: (500, "InternalServiceError", "The service encountered an unexpected internal error."),
}
_TYPES = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 429: "TooManyRequests", 500: "InternalServerError"}


class FakeDoubao(Server):
    """Volcengine Ark on a port of this machine; `url` is what goes into DOUBAO_ENDPOINT.

    `trouble` is a queue: each generation takes the first one from it. Models in `closed` are those that the account has not activated.
    """

    def __init__(self, *, port: int = 0, key: str | None = "ark-fake-0123456789", seconds: float = 0.0) -> None:
        self.key = key
        self.seconds = seconds
        self.trouble: deque[Trouble] = deque()
        self.closed: set[str] = set()
        routes = [
            Route("/api/v3/images/generations", self._generations, methods=["POST"]),
            Route("/files/{size}/{name}", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/api/v3"

    def reset(self) -> None:
        """Forget requests, troubles and closed models."""
        self.seen.clear()
        self.trouble.clear()
        self.closed.clear()

    async def _file(self, request: Request) -> Response:
        if request.path_params["name"].startswith("dead"):
            return Response("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", 403, media_type="application/xml")
        width, height = map(int, request.path_params["size"].split("x"))
        kind = request.path_params["name"].rpartition(".")[2]
        return Response(picture(width, height, kind), media_type=f"image/{kind}")

    async def _generations(self, request: Request) -> ASGIApp:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            return failure(401, "AuthenticationError", "The API key or AK/SK in the request is missing or invalid.")
        try:
            body = {name: value for name, value in (await request.json()).items() if value is not None}
        except ValueError:
            return failure(400, "InvalidParameter", "The request body is not valid JSON.")
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (answer := self._troubled(trouble, request, str(body.get("model")))) is not None:
            return answer
        if (complaint := complain(body, self.closed)) is not None:
            return complaint
        if self.seconds:
            await anyio.sleep(self.seconds)
        if body.get("stream") and trouble is not T.AT_ONCE:
            return StreamingResponse(self._events(body, trouble), media_type="text/event-stream", headers={"x-request-id": REQUEST_ID})
        return JSONResponse(self._answer(body, trouble), headers={"x-request-id": REQUEST_ID})

    def _troubled(self, trouble: Trouble, request: Request, model: str) -> ASGIApp | None:
        if trouble in _FAULTS:
            status, code, message = _FAULTS[trouble]
            return failure(status, code, message.format(model))
        match trouble:
            case Trouble.ERROR_502_PAGE:
                return Response("<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>", 502, media_type="text/html")
            case Trouble.ERROR_504:
                return Response("upstream request timeout", 504, media_type="text/plain")
            case Trouble.EMPTY_404:
                return Response(status_code=404)
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"model": "doubao-seedream-4-5-251128", "data": [')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body><p>Welcome</p></body></html>", media_type="text/html")
            case Trouble.NO_JSON:
                return Response('{"model": 17', media_type="application/json")
            case Trouble.KEY_ECHO:
                return failure(400, "InvalidParameter", f"The header authorization: {request.headers['authorization']} is malformed.")
            case Trouble.TOP_ERROR:
                return JSONResponse({"model": model, "created": CREATED, "error": fault(T.BLOCKED_OUTPUT)}, headers={"x-request-id": REQUEST_ID})
            case _:
                return None

    def _answer(self, body: Mapping[str, Any], trouble: Trouble | None) -> dict[str, Any]:
        data = [self._entry(body, number, trouble) for number in range(number_of(body))]
        if trouble is T.ONE_BROKEN:
            data = data[:2]
        answer: dict[str, Any] = {"model": body["model"], "created": CREATED, "data": data, "usage": usage_of(body, data)}
        match trouble:
            case Trouble.BAD_BASE64:
                data[0]["b64_json"] = "this is no base64 at all!"
            case Trouble.NO_DATA:
                answer["data"] = []
            case Trouble.NO_PICTURE:
                answer["data"] = [{"size": "2048x2048"}]
            case Trouble.NO_USAGE:
                del answer["usage"]
            case Trouble.ODD_USAGE:
                answer["usage"] = {"input_images": "many"}
            case Trouble.MORE_FIELDS:
                answer |= {"id": "x", "usage": {**answer["usage"], "tool_usage": {"web_search": 0}}}
                data[0] |= {"output_format": "jpeg", "z_index": 0, "bounding_box": {"absolute": [0, 0, 1, 1]}}
        return answer

    def _entry(self, body: Mapping[str, Any], number: int, trouble: Trouble | None) -> dict[str, Any]:
        """One picture of the answer, or the reason why there is none."""
        if trouble is T.ALL_FAILED or (trouble is T.ONE_REFUSED and number == 1):
            return {"error": fault(T.BLOCKED_OUTPUT)}
        if trouble is T.ONE_BROKEN and number == 1:
            return {"error": fault(T.ERROR_500)}
        size, kind = drawn_size(body), body.get("output_format") or "jpeg"
        if body.get("response_format") == "b64_json" and trouble is not T.LINKS:
            width, height = map(int, size.split("x"))
            return {"b64_json": base64.b64encode(picture(width, height, kind)).decode(), "size": size}
        dead = trouble is T.LINKS_DEAD or (trouble is T.ONE_LINK_DEAD and number == 1)
        return {"url": f"{self.url}/files/{size}/{'dead' if dead else 'drawn'}_{number}.{kind}?X-Tos-Signature=abc%2Fdef", "size": size}

    async def _events(self, body: Mapping[str, Any], trouble: Trouble | None) -> AsyncIterator[str]:
        shared = {"model": body["model"], "created": CREATED}
        if trouble is T.STREAM_ERROR:
            yield f"data: {json.dumps({'error': fault(T.BLOCKED_OUTPUT)})}\n\n"
            return
        if trouble is T.STREAM_EMPTY:
            return
        data = []
        for number in range(number_of(body)):
            entry = self._entry(body, number, trouble)
            data.append(entry)
            kind = "image_generation.partial_failed" if "error" in entry else "image_generation.partial_succeeded"
            yield event(kind, {**shared, "image_index": number, **entry})
            if trouble is T.STREAM_BREAKS:
                yield f"data: {json.dumps({'error': fault(T.ERROR_500)})}\n\n"
                return
            if trouble is T.STREAM_GARBLED:
                yield 'data: {"type": "image_generation.partial_succ\n\n'
                return
            if trouble is T.STREAM_CUT:
                raise ConnectionError("cut on purpose")
            if trouble is T.STREAM_SHORT:
                return
            if trouble is T.ONE_BROKEN and number == 1:
                break
        more = {"id": "x"} if trouble is T.MORE_FIELDS else {}
        bill = {"usage": {"input_images": "many"} if trouble is T.ODD_USAGE else usage_of(body, data)} if trouble is not T.NO_USAGE else {}
        yield event("image_generation.completed", {**shared, **bill, **more})
        yield "data: [DONE]\n\n"


def failure(status: int, code: str, message: str, *, param: str = "") -> Response:
    """An error in Ark's shape."""
    error = {"code": code, "message": f"{message} Request id: {REQUEST_ID}", "param": param, "type": _TYPES[status]}
    return JSONResponse({"error": error}, status, headers={"x-request-id": REQUEST_ID})


def fault(trouble: Trouble) -> dict[str, str]:
    """An error inside an answer, where there is no status."""
    _, code, message = _FAULTS[trouble]
    return {"code": code, "message": f"{message} Request id: {REQUEST_ID}"}


def complain(body: Mapping[str, Any], closed: set[str]) -> Response | None:
    """Ark's answer to a request that breaks its rules; None for a good one."""

    def invalid(param: str, message: str) -> Response:
        return failure(400, "InvalidParameter", message, param=param)

    model, prompt = body.get("model"), body.get("prompt")
    if not isinstance(model, str) or not model:
        return failure(400, "MissingParameter", "The request failed because it is missing one or multiple required parameters.", param="model")
    if model in closed:
        status, code, message = _FAULTS[T.NOT_OPEN]
        return failure(status, code, message.format(model))
    if model not in MODELS:
        status, code, message = _FAULTS[T.NO_MODEL]
        return failure(status, code, message.format(model))
    if not isinstance(prompt, str) or not prompt:
        return failure(400, "MissingParameter", "The request failed because it is missing one or multiple required parameters.", param="prompt")
    rules = MODELS[model]
    for name in () if rules.groups else (*GROUP_KEYS, "stream"):
        if name in body and (name != "stream" or body[name]):
            return invalid(name, f"The parameter `{name}` specified in the request is not supported by the current model.")
    if "output_format" in body and (not rules.formats or body["output_format"] not in ("png", "jpeg")):
        return invalid("output_format", "The parameter `output_format` specified in the request must be one of: jpeg, png.")
    if body.get("response_format", "url") not in ("url", "b64_json"):
        return invalid("response_format", "The parameter `response_format` specified in the request is not valid.")
    if not isinstance(body.get("watermark", True), bool):
        return invalid("watermark", "The parameter `watermark` specified in the request is not valid.")
    inputs = inputs_of(body)
    if len(inputs) > rules.inputs:
        return invalid("image", f"The number of reference images cannot exceed {rules.inputs}.")
    if not all(re.match(r"https?://|data:image/(png|jpeg|webp|bmp|tiff|gif|heic|heif);base64,[A-Za-z0-9+/]+=*$", link) for link in inputs):
        return invalid("image", "The parameter `image` specified in the request is not valid.")
    most = (body.get("sequential_image_generation_options") or {}).get("max_images", 15 - len(inputs) or 1)
    if not 1 <= most <= 15 or (body.get("sequential_image_generation") == "auto" and len(inputs) + most > 15):
        return invalid("sequential_image_generation_options.max_images", "The number of input and output images cannot exceed 15.")
    return complain_about_size(str(body.get("size", "2048x2048")), rules)


def complain_about_size(size: str, rules: Rules) -> Response | None:
    """Ark's answer to a size that the model does not draw."""

    def no(reason: str) -> Response:
        return failure(400, "InvalidParameter", f"The parameter `size` specified in the request is not valid: {reason}.", param="size")

    if size in rules.presets:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        return no("expected WIDTHxHEIGHT or one of " + ", ".join(rules.presets))
    width, height = int(match[1]), int(match[2])
    least, most = rules.pixels
    if width * height < least:
        return no(f"image size must be at least {least} pixels")
    if width * height > most:
        return no(f"image size must be at most {most} pixels")
    if max(width, height) > 16 * min(width, height):
        return no("the aspect ratio must be between 1/16 and 16")
    return None


def inputs_of(body: Mapping[str, Any]) -> list[str]:
    """The input images, of which one may come without a list."""
    given = body.get("image", [])
    return [given] if isinstance(given, str) else list(given)


def number_of(body: Mapping[str, Any]) -> int:
    """How many pictures are drawn: as many as the prompt says, within the limit given."""
    if body.get("sequential_image_generation") != "auto":
        return 1
    most: int = (body.get("sequential_image_generation_options") or {}).get("max_images", 15)
    said = re.search(r"(\d+)\s*(?:张|幅|pictures|images)", str(body["prompt"]))
    return min(int(said[1]) if said else 1, most)


def drawn_size(body: Mapping[str, Any]) -> str:
    """The size that is drawn; for a preset, the square one."""
    size = str(body.get("size", "2048x2048"))
    presets = {"1K": "1024x1024", "1.5K": "1536x1536", "2K": "2048x2048", "3K": "3072x3072", "4K": "4096x4096"}
    return presets.get(size, size)


def usage_of(body: Mapping[str, Any], data: list[dict[str, Any]]) -> dict[str, int]:
    """The bill: only pictures that were drawn are on it."""
    drawn = [entry for entry in data if "error" not in entry]
    width, height = map(int, drawn_size(body).split("x"))
    tokens = len(drawn) * width * height // 256
    inputs = {"input_images": len(inputs_of(body))} if inputs_of(body) else {}
    return {**inputs, "generated_images": len(drawn), "output_tokens": tokens, "total_tokens": tokens}


def event(kind: str, data: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake image service of Volcengine Ark.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    arguments.add_argument("--seconds", type=float, default=0.0, help="how long one generation takes")
    given = arguments.parse_args()
    fake = FakeDoubao(port=given.port, key=given.key, seconds=given.seconds)
    print(f"DOUBAO_ENDPOINT={fake.url}", flush=True)
    fake.run()
