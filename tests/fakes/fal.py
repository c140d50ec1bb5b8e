"""A server with the wire shape of fal's queue, and the faults of the true one on demand.

Inputs are checked against fal's own description of its apps (tests/specs/fal). `python -m tests.fakes.fal --port 9006 --looks 3` runs it by hand.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import jsonschema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Server, picture

INPUTS: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "specs" / "fal" / "inputs.json").read_text(encoding="utf-8"))


class Trouble(StrEnum):
    """What the server can do to the next submission, or to its work, instead of drawing."""

    NO_BALANCE = "the account's balance is used up"
    BUSY = "too many requests at once"
    NO_ADDRESS = "no address to look at"
    ELSEWHERE = "the address to look at is a stranger's"
    KEY_ECHO = "an error that repeats the key"
    OWN_STATUS = "the status is at an address that does not follow from the result's"

    BLOCKED = "the work is turned away by moderation"
    FAILED = "the work fails"
    TIMEOUT = "no machine took the work in time"
    TOO_SMALL = "the work fails for a picture that is too small"
    LOOK_500 = "internal error at each of the first looks"
    LOOK_401 = "the key is turned away at the look"
    LOST = "the result is behind a gateway that is down"
    NEVER = "the work is never done"
    ODD = "states and fields that nobody knows"
    EMPTY = "the work is done and made no picture"
    BLACK = "every picture is blackened"
    GREY = "the first picture is blackened"
    INLINE = "the picture is inside the link"
    LINK_GONE = "the picture's link has expired"


ERRORS: Mapping[Trouble, tuple[int, Any]] = {
    Trouble.BLOCKED: (422, [{"loc": ["body", "prompt"], "msg": "The content could not be processed.", "type": "content_policy_violation"}]),
    Trouble.FAILED: (500, [{"loc": ["body"], "msg": "Internal server error", "type": "internal_server_error"}]),
    Trouble.TOO_SMALL: (422, [{"loc": ["body", "image_url"], "msg": "Image is too small", "type": "image_too_small", "ctx": {"min_height": 256}}]),
}


@dataclass
class Work:
    """A request in the queue."""

    app: str
    body: Mapping[str, Any]
    trouble: Trouble | None
    states: list[dict[str, Any]]
    """Told one after another before the end."""
    failures: int = 0


class FakeFal(Server):
    """fal's queue on a port of this machine; `url` is what goes into FAL_BASE_URL.

    `trouble` is a queue: each submission takes the first one from it. `states` are told of each request before its end.
    """

    def __init__(self, *, port: int = 0, key: str | None = "fal-fake-0123456789", states: tuple[dict[str, Any], ...] = ()) -> None:
        self.key = key
        self.states = states
        self.trouble: deque[Trouble] = deque()
        self.work: dict[str, Work] = {}
        routes = [
            Route("/v1/models/pricing", self._pricing),
            Route("/files/{name}", self._file),
            Route("/elsewhere/{identity}", self._status),
            Route("/{owner}/{alias}/requests/{identity}/status", self._status),
            Route("/{owner}/{alias}/requests/{identity}", self._result),
            Route("/{app:path}", self._submit, methods=["POST"]),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests, work and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.work.clear()
        self.states = ()

    def _stranger(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Key {self.key}":
            return None
        return JSONResponse({"detail": "Cannot access application. Authentication is required to access this application."}, 401)

    async def _pricing(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        name = request.query_params["endpoint_id"]
        if name not in INPUTS:
            return JSONResponse({"error": {"type": "not_found", "message": f"Endpoint {name} not found"}}, 404)
        price = {"endpoint_id": name, "unit_price": 0.012, "unit": "megapixels", "currency": "USD"}
        return JSONResponse({"prices": [price], "next_cursor": None, "has_more": False})

    async def _file(self, request: Request) -> Response:
        if "authorization" in request.headers or request.path_params["name"] == "gone.png":
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        return Response(picture(48, 32), media_type="image/png")

    async def _submit(self, request: Request) -> ASGIApp:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        match trouble:
            case Trouble.NO_BALANCE:
                return JSONResponse({"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}, 403)
            case Trouble.BUSY:
                return JSONResponse({"detail": "Concurrent requests limit exceeded.", "error_type": "concurrent_requests_limit"}, 429)
            case Trouble.KEY_ECHO:
                return JSONResponse({"detail": f"Key {self.key} is odd"}, 400)
        app = request.path_params["app"]
        if app not in INPUTS:
            return JSONResponse({"detail": f"Application '{app.partition('/')[2]}' not found"}, 404)
        body = await request.json()
        if problems := complaints(app, body):
            return JSONResponse({"detail": problems}, 422)
        identity = f"764cabcf-0000-4000-8000-{len(self.work):012}"
        states = [*self.states, *([{"status": "IN_QUEUE", "queue_position": 7}] * (99 if trouble is Trouble.NEVER else 0))]
        if trouble is Trouble.ODD:
            states = [{"status": "WARMING_UP", "logs": None}]
        self.work[identity] = Work(app=app, body=body, trouble=trouble, states=states, failures=4 if trouble is Trouble.LOOK_500 else 0)
        base = "https://queue.fal.example" if trouble is Trouble.ELSEWHERE else self.url
        address = f"{base}/{'/'.join(app.split('/')[:2])}/requests/{identity}"  # without what follows the app's name
        answer = {
            "request_id": identity,
            "response_url": address,
            "status_url": f"{base}/elsewhere/{identity}" if trouble is Trouble.OWN_STATUS else f"{address}/status",
            "cancel_url": f"{address}/cancel",
            "queue_position": 0,
            "status": "IN_QUEUE",
        }
        if trouble is Trouble.NO_ADDRESS:
            del answer["response_url"]
        return JSONResponse(answer)

    async def _status(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        work = self.work[request.path_params["identity"]]
        if work.failures:
            work.failures -= 1
            return JSONResponse({"detail": "Internal server error"}, 500)
        if work.trouble is Trouble.LOOK_401:
            return JSONResponse({"detail": "Invalid key"}, 401)
        if work.states:
            return JSONResponse({"logs": [], **work.states.pop(0)}, 202)
        failed = "internal_server_error" if work.trouble in ERRORS else None
        return JSONResponse({"status": "COMPLETED", "logs": [], "metrics": {"inference_time": 2.5}, "error": failed, "error_type": failed})

    async def _result(self, request: Request) -> Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        work = self.work[request.path_params["identity"]]
        headers = {"x-fal-request-id": request.path_params["identity"], "x-fal-billable-units": "1.5"}
        if work.trouble is not None and work.trouble in ERRORS:
            status, detail = ERRORS[work.trouble]
            return JSONResponse({"detail": detail}, status, {**headers, "x-fal-error-type": detail[0]["type"]})
        match work.trouble:
            case Trouble.TIMEOUT:
                return JSONResponse({"detail": "Request timed out", "error_type": "startup_timeout"}, 504, headers)
            case Trouble.LOST:
                return Response("<html><body>Bad gateway</body></html>", 502, media_type="text/html")
        link = f"{self.url}/files/{'gone' if work.trouble is Trouble.LINK_GONE else 'cat'}.png"
        if work.trouble is Trouble.INLINE:
            link = "data:image/png;base64,iVBORw0KGgo="
        files = [{"url": link, "width": 48, "height": 32, "content_type": "image/png"}] * work.body.get("num_images", 1)
        if work.trouble is Trouble.EMPTY:
            files = []
        if INPUTS[work.app]["picture"] == "image":
            return JSONResponse({"image": files[0] if files else None, "timings": {}}, headers=headers)
        black = [work.trouble in (Trouble.BLACK, Trouble.GREY), *([work.trouble is Trouble.BLACK] * (len(files) - 1))]
        answer = {"images": files, "seed": work.body.get("seed", 42), "has_nsfw_concepts": black, "prompt": work.body.get("prompt", "")}
        if work.trouble is Trouble.ODD:
            answer |= {"description": "a cat", "timings": {"inference": 2.5}}
        return JSONResponse(answer, headers=headers)


def complaints(app: str, body: Any) -> list[dict[str, Any]]:
    """What is wrong with the input of an app, as the service words it."""
    rules = {"type": "object", "additionalProperties": False, **{name: INPUTS[app][name] for name in ("required", "properties")}}
    errors = jsonschema.Draft202012Validator(rules).iter_errors(body)
    return [{"loc": ["body", *error.absolute_path], "msg": error.message[:80], "type": f"{error.validator}_error"} for error in errors]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake fal queue.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", help="the only key that is let in; without it, every key is")
    arguments.add_argument("--looks", type=int, default=2, help="how often work is not done when looked at")
    given = arguments.parse_args()
    fake = FakeFal(port=given.port, key=given.key, states=({"status": "IN_PROGRESS"},) * given.looks)
    print(f"FAL_BASE_URL={fake.url}", flush=True)
    fake.run()
