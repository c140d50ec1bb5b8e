"""A server with the wire shape of OpenAI's image interface, and the faults of the true one on demand.

`python -m tests.fakes.openai --port 9001 --seconds 2` runs it by hand.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from enum import StrEnum
from io import BytesIO
from typing import Any

import anyio
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from mcp_image_server.net import File

from .multipart import parts_of
from .server import Broken, Hanging, Seen, Server, picture

FLEXIBLE = (
    "gpt-image-2.6-sunburst",
    "gpt-image-2.6-flare",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-sunburst-2026-09-08",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-flare-2026-09-08",
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
)
CLASSIC = ("gpt-image-1.5", "gpt-image-1-mini", "chatgpt-image-latest")
CLASSIC_SIZES = ("1024x1024", "1536x1024", "1024x1536")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "quality": ("auto", "low", "medium", "high"),
    "background": ("auto", "transparent", "opaque"),
    "output_format": ("png", "jpeg", "webp"),
    "moderation": ("auto", "low"),
}
PARAMETERS = {"model", "prompt", "n", "size", "output_compression", "stream", "partial_images", "user", "safety_identifier", "complexity", *CHOICES}
EDIT_PARAMETERS = {*PARAMETERS, "input_fidelity"} - {"moderation"}
MAX_CHARS = 32_000
MAX_IMAGES = 16
USAGE = {
    "total_tokens": 1066,
    "input_tokens": 10,
    "output_tokens": 1056,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1056},
}


class Trouble(StrEnum):
    """What the server can do to the next generation instead of drawing."""

    RATE_LIMITED = "rate limited, come back at once"
    RATE_LIMITED_LONG = "rate limited, come back in an hour"
    RATE_LIMITED_MUTE = "rate limited, no word on when to come back"
    NO_QUOTA = "insufficient quota"
    NO_BUDGET = "billing hard limit reached"
    BLOCKED = "prompt blocked by moderation"
    UNVERIFIED = "organization not verified"
    COUNTRY = "country not supported"
    ERROR_500 = "internal error"
    ERROR_502_PAGE = "gateway error as a web page"
    ERROR_503 = "overloaded, no word on when to come back"
    ERROR_503_SOON = "overloaded, come back at once"
    ERROR_504 = "gateway timeout"
    HANG = "accepts the call and never answers"
    CUT = "ends the connection in the middle of the body"
    PAGE = "a web page with status 200"
    PAGE_404 = "a web page with status 404"
    REDIRECT = "points elsewhere"
    NO_JSON = "status 200 and broken JSON"
    BAD_BASE64 = "a picture that is no base64"
    CUT_BASE64 = "a picture whose base64 ends early"
    NO_DATA = "an empty list of pictures"
    NO_PICTURE = "an entry without a picture"
    NO_USAGE = "a picture and no bill"
    ODD_USAGE = "a picture and a bill of an unknown form"
    MORE_FIELDS = "a picture and fields nobody knows"
    LINKS = "links instead of pictures"
    KEY_ECHO = "an error that repeats the key"
    STREAM_ERROR = "an error after a preview"
    STREAM_BLOCKED = "a refusal after a preview"
    STREAM_CUT = "the connection ends after a preview"
    STREAM_SHORT = "the stream ends, orderly, after a preview"
    STREAM_BAD_PREVIEW = "a preview that is no base64"
    UNKNOWN_QUALITY = "does not know the parameter quality"
    FORBIDDEN_QUALITY = "does not know it, and says so as FastAPI does"


class FakeOpenAI(Server):
    """OpenAI on a port of this machine; `base_url` is what goes into OPENAI_BASE_URL.

    `trouble` is a queue: each generation takes the first one from it. `streams` off makes a server that answers at once although asked for events.
    """

    def __init__(self, *, port: int = 0, key: str | None = "sk-fake-0123456789", seconds: float = 0.0) -> None:
        self.key = key
        self.seconds = seconds
        self.streams = True
        self.deployments: Mapping[str, str] = {}
        self.trouble: deque[Trouble] = deque()
        self.looks = self.last_looks = 0
        self.uploads: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        super().__init__(Starlette(routes=self._routes()), port=port)
        self.base_url = f"{self.url}/v1"

    def _routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._models),
            Route("/v1/images/generations", self._draw, methods=["POST"]),
            Route("/v1/images/edits", self._draw, methods=["POST"]),
            Route("/files/{name}", self._file),
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files/{name}/content", self._content),
            Route("/v1/batches", self._batch, methods=["POST"]),
            Route("/v1/batches/{name}", self._look),
            Route("/v1/batches/{name}/cancel", self._cancel, methods=["POST"]),
        ]

    def reset(self) -> None:
        """Forget requests and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.streams = True
        self.looks = self.last_looks = 0
        self.uploads.clear()
        self.batches.clear()

    async def _models(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        entries = [{"id": name, "object": "model", "created": 1_776_000_000, "owned_by": "system"} for name in (*FLEXIBLE, *CLASSIC, "gpt-6")]
        return JSONResponse({"object": "list", "data": entries})

    async def _file(self, request: Request) -> Response:
        return Response(picture(64, 64), media_type="image/png")

    def _refuse_key(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is None or given == self.key:
            return None
        message = (
            f"Incorrect API key provided: {given[:3]}****{given[-4:]}. You can find your API key at https://platform.openai.com/account/api-keys."
        )
        return failure(401, message, code="invalid_api_key")

    async def _draw(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (answer := self._troubled(trouble, request)) is not None:
            return answer
        edit = request.url.path.endswith("/edits")
        try:
            body = form_of(self.seen[-1]) if edit else await request.json()
        except ValueError:
            return failure(400, "We could not parse the body of your request.")
        if isinstance(body, dict) and "deployment" in request.path_params:  # as Azure has it
            body["model"] = self.deployments[request.path_params["deployment"]]
        if complaint := (edit and complain_about_pictures(self.seen[-1])) or complain(body, EDIT_PARAMETERS if edit else PARAMETERS):
            return complaint
        if self.seconds:
            await anyio.sleep(self.seconds)
        if body.get("stream") and self.streams:
            return StreamingResponse(
                self._events("image_edit" if edit else "image_generation", body, trouble),
                media_type="text/event-stream",
                headers={"x-request-id": "req_fake"},
            )
        if trouble is Trouble.STREAM_SHORT:
            return failure(500, "asked to end a stream that was not asked for", type_="server_error")
        return JSONResponse(self._answer(body, trouble), headers={"x-request-id": "req_fake"})

    async def _upload(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        parts = dict(parts_of(self.seen[-1]))
        file = parts.get("file")
        if parts.get("purpose") != "batch" or not isinstance(file, File):
            return failure(400, "Invalid value for 'purpose'.", param="purpose")
        name = f"file-{len(self.uploads)}"
        self.uploads[name] = file.data
        facts = {"object": "file", "bytes": len(file.data), "created_at": 1, "filename": file.name, "purpose": "batch", "status": "processed"}
        return JSONResponse({"id": name, **facts})

    async def _content(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        data = self.uploads.get(request.path_params["name"])
        return Response(data, media_type="application/jsonl") if data is not None else failure(404, "No such File object.")

    async def _batch(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        body = await request.json()
        lines = [json.loads(line) for line in self.uploads.get(body.get("input_file_id"), b"").splitlines()]
        if not lines or body.get("completion_window") != "24h" or {line["url"] for line in lines} != {body.get("endpoint")}:
            return failure(400, "Invalid batch.")
        name = f"batch_{len(self.batches)}"
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        errors = None
        if len({line["body"]["model"] for line in lines}) > 1:
            errors = {"object": "list", "data": [{"code": "mismatched_model", "message": "A batch is for one model.", "line": 2, "param": None}]}
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "created_at": 1,
            "status": "failed" if errors else "validating",
            "errors": errors,
            "request_counts": counts,
            "output_file_id": None,
            "error_file_id": None,
            "left": self.looks,
        }
        return JSONResponse(self._shown(name))

    async def _look(self, request: Request) -> Response:
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        name = request.path_params["name"]
        if name not in self.batches:
            return failure(404, f"No batch found with id '{name}'.")
        if self.trouble and self.trouble[0] is Trouble.ERROR_503:
            self.trouble.popleft()
            return failure(503, "The engine is currently overloaded, please try again later", type_="server_error")
        batch = self.batches[name]
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress" if batch["left"] > 0 else "completed"
            batch["left"] -= 1
            if batch["status"] == "completed":
                self._draw_batch(batch)
        elif batch["status"] == "cancelling" and self.last_looks > 0:
            self.last_looks -= 1
        elif batch["status"] == "cancelling":
            self._draw_batch(batch, only="quick")
            batch["status"] = "cancelled"
        return JSONResponse(self._shown(name))

    async def _cancel(self, request: Request) -> Response:
        """Prompts with the word "quick" have been drawn by then."""
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        name = request.path_params["name"]
        if name not in self.batches:
            return failure(404, f"No batch found with id '{name}'.")
        batch = self.batches[name]
        if batch["status"] not in ("validating", "in_progress"):
            return failure(409, f"Cannot cancel a batch with status '{batch['status']}'.")
        batch["status"] = "cancelling"
        return JSONResponse(self._shown(name))

    def _shown(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.batches[name].items() if key != "left"}

    def _draw_batch(self, batch: dict[str, Any], only: str = "") -> None:
        """Prompts with the word "forbidden" are refused, and those with "late" are not come to."""
        good, bad = [], []
        for line in reversed([json.loads(line) for line in self.uploads[batch["input_file_id"]].splitlines()]):
            about, body = {"id": "batch_req_1", "custom_id": line["custom_id"]}, line["body"]
            if only not in body["prompt"]:
                continue
            complaint = complain(body)
            if "late" in body["prompt"]:
                words = {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}
                bad.append({**about, "response": None, "error": words})
            elif "forbidden" in body["prompt"]:
                error = {"message": BLOCKED_MESSAGE, "type": "image_generation_user_error", "param": None, "code": "moderation_blocked"}
                bad.append({**about, "response": {"status_code": 400, "request_id": "req_line", "body": {"error": error}}, "error": None})
            elif complaint is not None:
                response = {"status_code": complaint.status_code, "request_id": "req_line", "body": json.loads(bytes(complaint.body))}
                bad.append({**about, "response": response, "error": None})
            else:
                response = {"status_code": 200, "request_id": "req_line", "body": self._answer(body, None)}
                good.append({**about, "response": response, "error": None})
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}
        for key, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[key] = f"file-{key}-{batch['id']}"
                self.uploads[batch[key]] = "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.RATE_LIMITED | Trouble.RATE_LIMITED_LONG | Trouble.RATE_LIMITED_MUTE:
                wait = {Trouble.RATE_LIMITED: "0", Trouble.RATE_LIMITED_LONG: "3600"}.get(trouble)
                message = "Rate limit reached for images per minute: Limit 5, Used 5, Requested 1."
                return failure(429, message, code="rate_limit_exceeded", type_="input-images", headers={"retry-after": wait} if wait else None)
            case Trouble.NO_QUOTA:
                message = "You exceeded your current quota, please check your plan and billing details."
                return failure(429, message, code="insufficient_quota", type_="insufficient_quota")
            case Trouble.NO_BUDGET:
                return failure(400, "Billing hard limit has been reached.", code="billing_hard_limit_reached", type_="billing_limit_user_error")
            case Trouble.BLOCKED:
                return failure(400, BLOCKED_MESSAGE, code="moderation_blocked", type_="image_generation_user_error")
            case Trouble.UNVERIFIED:
                return failure(403, "Your organization must be verified to use the model `gpt-image-2`. Please go to the settings and verify it.")
            case Trouble.COUNTRY:
                return failure(
                    403, "Country, region, or territory not supported", code="unsupported_country_region_territory", type_="request_forbidden"
                )
            case Trouble.ERROR_500:
                return failure(
                    500, "The server had an error while processing your request. Sorry about that!", code="server_error", type_="server_error"
                )
            case Trouble.ERROR_502_PAGE:
                page = "<html><head><title>502 Bad Gateway</title><style>p{}</style></head><body><h1>502 Bad Gateway</h1></body></html>"
                return Response(page, 502, media_type="text/html")
            case Trouble.ERROR_503 | Trouble.ERROR_503_SOON:
                headers = {"retry-after": "0"} if trouble is Trouble.ERROR_503_SOON else None
                return failure(503, "The engine is currently overloaded, please try again later", type_="server_error", headers=headers)
            case Trouble.ERROR_504:
                return Response("upstream request timeout", 504, media_type="text/plain")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"created": 1, "data": [')
            case Trouble.PAGE:
                return Response("<!DOCTYPE html><html><body><p>Welcome to the <b>gateway</b></p></body></html>", media_type="text/html")
            case Trouble.PAGE_404:
                return Response("<html><body>Not here</body></html>", 404, media_type="text/html")
            case Trouble.REDIRECT:
                return RedirectResponse("/elsewhere?signature=abc", 307)
            case Trouble.NO_JSON:
                return Response('{"created": 17', media_type="application/json")
            case Trouble.KEY_ECHO:
                return failure(400, f"The header authorization: {request.headers['authorization']} is malformed", code=self.key)
            case Trouble.UNKNOWN_QUALITY if b'"quality"' in self.seen[-1].body:
                self.trouble.append(trouble)
                return failure(400, "Unknown parameter: 'quality'.", code="unknown_parameter", param="quality")
            case Trouble.FORBIDDEN_QUALITY if b'"quality"' in self.seen[-1].body:
                self.trouble.append(trouble)
                problem = {"type": "extra_forbidden", "loc": ["body", "quality"], "msg": "Extra inputs are not permitted", "input": "low"}
                return JSONResponse({"detail": [problem]}, 422)
            case _:
                return None

    def _answer(self, body: Mapping[str, Any], trouble: Trouble | None) -> dict[str, Any]:
        data: list[dict[str, Any]] = [{"b64_json": drawn(body)} for _ in range(body.get("n") or 1)]
        answer: dict[str, Any] = {**settings_of(body), "created": int(time.time()), "data": data, "usage": USAGE}
        match trouble:
            case Trouble.BAD_BASE64:
                data[0]["b64_json"] = "this is no base64 at all!"
            case Trouble.CUT_BASE64:
                data[0]["b64_json"] = data[0]["b64_json"][:-7]
            case Trouble.NO_DATA:
                answer["data"] = []
            case Trouble.NO_PICTURE:
                answer["data"] = [{}]
            case Trouble.NO_USAGE:
                del answer["usage"]
            case Trouble.ODD_USAGE:
                answer["usage"] = {"prompt_tokens": "many"}
            case Trouble.MORE_FIELDS:
                answer |= {"id": "x", "peak_memory_mb": 12.5, "usage": {**USAGE, "cached": {"tokens": 1}}}
                data[0] |= {"file_path": None, "score": [1, 2]}
            case Trouble.LINKS:
                answer["data"] = [{"url": f"{self.url}/files/{number}.png", "revised_prompt": "a finer prompt"} for number in range(len(data))]
        return answer

    async def _events(self, kind: str, body: Mapping[str, Any], trouble: Trouble | None) -> AsyncIterator[str]:
        settings = {**settings_of(body), "created_at": int(time.time())}
        for index in range(body.get("partial_images") or 0):
            b64 = "not base64!" if trouble is Trouble.STREAM_BAD_PREVIEW else base64.b64encode(picture(64, 64, "jpeg")).decode()
            yield event(f"{kind}.partial_image", {"partial_image_index": index, "b64_json": b64, **settings})
            if trouble in (Trouble.STREAM_ERROR, Trouble.STREAM_BLOCKED):
                blocked = {"type": "image_generation_user_error", "code": "moderation_blocked", "message": BLOCKED_MESSAGE, "param": None}
                broken = {"type": "server_error", "code": "server_error", "message": "The server had an error.", "param": None}
                yield event("error", {"error": blocked if trouble is Trouble.STREAM_BLOCKED else broken})
                return
            if trouble is Trouble.STREAM_CUT:
                raise ConnectionError("cut on purpose")
            if trouble is Trouble.STREAM_SHORT:
                return
        usage = {} if trouble is Trouble.NO_USAGE else {"usage": {k: v for k, v in USAGE.items() if k != "output_tokens_details"}}
        yield event(f"{kind}.completed", {"b64_json": drawn(body), **settings, **usage})


BLOCKED_MESSAGE = "Your request was rejected by the safety system. safety_violations=[violence, self-harm]"


def failure(
    status: int,
    message: str,
    *,
    code: str | None = None,
    type_: str = "invalid_request_error",
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": type_, "param": param, "code": code}}
    return JSONResponse(body, status, headers={"x-request-id": "req_fake", **(headers or {})})


def form_of(seen: Seen) -> dict[str, Any]:
    """The settings of an edit, with numbers and truth values out of their words."""
    settings = {name: value for name, value in parts_of(seen) if isinstance(value, str)}
    return {name: json.loads(value) if value.isdigit() or value in ("true", "false") else value for name, value in settings.items()}


def complain_about_pictures(seen: Seen) -> Response | None:
    """OpenAI's answer to the files of an edit; None for good ones."""
    files = [(name, value) for name, value in parts_of(seen) if isinstance(value, File)]
    images = [(name, file) for name, file in files if name in ("image", "image[]")]
    if not images:
        return failure(400, "Missing required parameter: 'image'.", code="missing_required_parameter", param="image")
    if len(images) > MAX_IMAGES or (len(images) > 1 and any(name == "image" for name, _ in images)):
        return failure(400, f"Invalid 'image': too many images, at most {MAX_IMAGES} as image[].", code="invalid_value", param="image")
    for name, file in files:
        if file.media_type not in ("image/png", "image/jpeg", "image/webp"):
            message = f"Invalid file '{name}': unsupported mimetype ('{file.media_type}'). Supported are 'image/jpeg', 'image/png', and 'image/webp'."
            return failure(400, message, code="unsupported_file_mimetype", param=name)
    for mask in [file for name, file in files if name == "mask"]:
        with Image.open(BytesIO(mask.data)) as holes, Image.open(BytesIO(images[0][1].data)) as first:
            if holes.format != "PNG" or "A" not in holes.getbands() or holes.size != first.size:
                message = "Invalid mask image format - mask must be a PNG with an alpha channel and the size of the first image."
                return failure(400, message, code="invalid_image_file", param="mask", type_="image_generation_user_error")
    return None


def complain(body: Any, parameters: Collection[str] = PARAMETERS) -> Response | None:
    """OpenAI's answer to a request that breaks its rules; None for a good one."""
    if not isinstance(body, dict):
        return failure(400, "We could not parse the JSON body of your request.")
    for name in body:
        if name not in parameters:
            return failure(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    model, prompt = body.get("model"), body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        return failure(400, "Missing required parameter: 'prompt'.", code="missing_required_parameter", param="prompt")
    if len(prompt) > MAX_CHARS:
        message = f"Invalid 'prompt': string too long. Expected a string with maximum length {MAX_CHARS}, but got length {len(prompt)} instead."
        return failure(400, message, code="string_above_max_length", param="prompt")
    if model not in (*FLEXIBLE, *CLASSIC):
        return failure(404, f"The model '{model}' does not exist or you do not have access to it.", code="model_not_found")
    if not 1 <= (body.get("n") or 1) <= 10:
        return failure(400, "Invalid 'n': integer out of range. Expected a value between 1 and 10.", code="invalid_value", param="n")
    for name, allowed in CHOICES.items():
        more = ("xhigh", "max") if name == "quality" and str(model).startswith("gpt-image-2.5") else ()
        if body.get(name) is not None and body[name] not in (*allowed, *more):
            options = ", ".join(f"'{option}'" for option in (*allowed, *more))
            return failure(400, f"Invalid value: '{body[name]}'. Supported values are: {options}.", code="invalid_value", param=name)
    output_format = body.get("output_format") or "png"
    if body.get("output_compression") is not None and output_format == "png":
        message = "Compression less than 100 is not supported for PNG output format"
        return failure(400, message, code="invalid_png_output_compression", param="output_compression", type_="image_generation_user_error")
    if body.get("background") == "transparent" and output_format == "jpeg":
        message = "Transparent background is not supported for JPEG output format"
        return failure(400, message, code="invalid_value", param="background", type_="image_generation_user_error")
    return complain_about_size(str(body.get("size") or "auto"), str(model))


def complain_about_size(size: str, model: str) -> Response | None:
    """OpenAI's answer to a size it does not draw."""

    def no(reason: str) -> Response:
        return failure(400, f"Invalid size '{size}'. {reason}", code="invalid_value", param="size", type_="image_generation_user_error")

    if size == "auto":
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if model in CLASSIC or match is None:
        return None if size in CLASSIC_SIZES else no("Supported sizes are 1024x1024, 1024x1536, 1536x1024, and auto.")
    width, height = int(match[1]), int(match[2])
    if width % 16 or height % 16:
        return no("Width and height must both be divisible by 16.")
    if max(width, height) > 3 * min(width, height):
        return no("The aspect ratio must be between 1:3 and 3:1.")
    if max(width, height) > 3840 or not 655_360 <= width * height <= 8_294_400:
        return no("The size is outside of the model's limits.")
    return None


def settings_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that OpenAI repeats in its answer."""
    chosen = {"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024"}
    return {name: default if body.get(name) in (None, "auto") else body[name] for name, default in chosen.items()}


def drawn(body: Mapping[str, Any]) -> str:
    """A picture as asked for, in base64."""
    settings = settings_of(body)
    width, height = map(int, settings["size"].split("x"))
    return base64.b64encode(picture(width, height, settings["output_format"])).decode()


def event(kind: str, data: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake OpenAI image service.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    arguments.add_argument("--seconds", type=float, default=0.0, help="how long one generation takes")
    given = arguments.parse_args()
    fake = FakeOpenAI(port=given.port, key=given.key, seconds=given.seconds)
    print(f"OPENAI_BASE_URL={fake.base_url}", flush=True)
    fake.run()
