"""A server with the wire shape of ModelScope's API-Inference for pictures, and the faults of the true one on demand.

The wording of the quota, token, model and task-not-found errors is the service's own; that of the rules for parameters was made up to fit them.
`python -m tests.fakes.modelscope --port 9002 --looks 3` runs it by hand.
"""

from __future__ import annotations

import argparse
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Broken, Hanging, Server, picture

FAMILIES: Mapping[str, tuple[int, int]] = {"qwen-image": (64, 1664), "z-image-turbo": (512, 2048), "flux": (64, 1024), "majicflus": (64, 1024)}
"""Words in a model's id to the shortest and longest edge; any other is a Stable Diffusion model with 64 to 2048."""

PARAMETERS = {"model", "prompt", "negative_prompt", "size", "seed", "steps", "guidance", "image_url", "loras", "n"}
SIGNATURE = "Expires=1795000000&Signature=a%2Bb%2Fc%3D"
UNSERVED = "someone/unserved-model"


class Trouble(StrEnum):
    """What the server can do to the next submission, or to its task, instead of drawing."""

    UNBOUND = "the account is not bound"
    RATE_LIMITED = "too many requests"
    DAILY_QUOTA = "the day's quota for the model is used up"
    NO_QUOTA = "insufficient quota, in the other form of errors"
    BLOCKED = "the prompt is turned away by moderation"
    ERROR_500 = "internal error"
    ERROR_502_PAGE = "gateway error as a web page"
    ERROR_503_SOON = "overloaded, come back at once"
    ERROR_504 = "gateway timeout"
    HANG = "accepts the submission and never answers"
    CUT = "ends the connection in the middle of the answer"
    PAGE = "a web page with status 200"
    PAGE_404 = "a web page with status 404"
    REDIRECT = "points elsewhere"
    NO_JSON = "status 200 and broken JSON"
    ERRORS_200 = "status 200 and an error"
    NO_TASK = "a task without an id"
    KEY_ECHO = "an error that repeats the token"
    NUMBER_ID = "a task id that is a number"
    MORE_FIELDS = "fields nobody knows"

    FAILED = "the task fails with a reason"
    FAILED_MUTE = "the task fails without a reason"
    FAILED_BLOCKED = "the task is turned away by moderation"
    FAILED_400 = "the task fails, with an HTTP status of its own"
    LOST = "the task is not found"
    NEVER = "the task is never done"
    ODD_STATE = "the task is in states nobody knows before it is done"
    SUCCESS = "the task is done, in another word"
    EMPTY = "the task is done and its list of pictures empty"
    NO_LIST = "the task is done and has no list of pictures"
    LOOK_500 = "internal error at each of the first looks"
    LOOK_QUOTA = "insufficient quota at the first look"
    LOOK_401 = "the token is turned away at the look"
    LOOK_PAGE = "a web page with status 200 at the look"
    LINK_GONE = "the picture's link has expired"
    LINK_INSIDE = "the picture's link leads to a private address"
    LINK_NOWHERE = "the picture's link is no address"


@dataclass
class Work:
    """A task of the server."""

    body: Mapping[str, Any]
    trouble: Trouble | None
    states: list[str] = field(default_factory=list)
    """Told one after another before the end."""
    failures: int = 0
    """Looks that are still to be answered with an error."""


class FakeModelScope(Server):
    """ModelScope on a port of this machine; `url` is what goes into MODELSCOPE_BASE_URL.

    `trouble` is a queue: each submission takes the first one from it. `looks` is how often a task is not done when looked at, `outputs` how many
    pictures it makes.
    """

    def __init__(self, *, port: int = 0, token: str | None = "ms-fake-0123456789", looks: int = 0) -> None:
        self.token = token
        self.looks = looks
        self.outputs = 1
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Work] = {}
        routes = [
            Route("/v1/images/generations", self._generations, methods=["POST"]),
            Route("/v1/tasks/{task_id}", self._task),
            Route("/openapi/v1/magicubes/balance", self._balance),
            Route("/files/{size}.png", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()
        self.looks, self.outputs = 0, 1

    async def _balance(self, request: Request) -> Response:
        if (refusal := self._refuse_token(request)) is not None:
            return refusal
        credits_left = {"total_balance": 250, "available_balance": 248, "frozen_amount": 2}
        return JSONResponse({"success": True, "request_id": "req_fake", "data": credits_left})

    async def _file(self, request: Request) -> Response:
        if request.url.query != SIGNATURE:  # an object store signs the very letters
            return Response('<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code></Error>', 403, media_type="application/xml")
        width, height = map(int, request.path_params["size"].split("x"))
        return Response(picture(width, height), media_type="application/octet-stream")

    def _refuse_token(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.token is None or given == self.token:
            return None
        return failure(401, "Authentication failed, please make sure that a valid ModelScope token is supplied.")

    async def _generations(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_token(request)) is not None:
            return refusal
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and (instead := self._troubled(trouble, request)) is not None:
            return instead
        if request.headers.get("x-modelscope-async-mode") != "true":
            return failure(400, "Only asynchronous calls are supported for this task.")
        try:
            body = await request.json()
        except ValueError:
            return failure(400, "Invalid request body.")
        if (complaint := complain(body)) is not None:
            return failure(400, complaint)
        number = 7_000_001 + len(self.tasks)
        work = Work(body=body, trouble=trouble, states=["PENDING", "RUNNING", "PROCESSING"][: self.looks])
        work.states += ["PROCESSING"] * (self.looks - len(work.states))
        if trouble is Trouble.ODD_STATE:
            work.states = ["QUEUED_AGAIN", "", "POSTPROCESS"]
        work.failures = {Trouble.LOOK_500: 4, Trouble.LOOK_QUOTA: 1}.get(trouble, 0) if trouble else 0
        self.tasks[str(number)] = work
        answer: dict[str, Any] = {"task_status": "SUCCEED", "task_id": str(number), "request_id": "req_submit"}
        match trouble:
            case Trouble.NO_TASK:
                del answer["task_id"]
            case Trouble.NUMBER_ID:
                answer["task_id"] = number
            case Trouble.MORE_FIELDS:
                answer |= {"queue": {"position": 3}, "outputs": None}
        return JSONResponse(answer, headers={"x-request-id": "req_submit"})

    def _troubled(self, trouble: Trouble, request: Request) -> ASGIApp | None:
        match trouble:
            case Trouble.UNBOUND:
                return failure(401, "Please bind your Alibaba Cloud account before use.")
            case Trouble.RATE_LIMITED:
                return failure(429, "Requests rate limit exceeded, please try again later.", headers={"retry-after": "0"})
            case Trouble.DAILY_QUOTA:
                return failure(429, "You have exceeded today's quota for model Qwen/Qwen-Image, please try again tomorrow")
            case Trouble.NO_QUOTA:
                return NO_QUOTA_ANSWER
            case Trouble.BLOCKED:
                return failure(400, "Input text may contain inappropriate content.")
            case Trouble.ERROR_500:
                return failure(500, "Internal server error")
            case Trouble.ERROR_502_PAGE:
                return Response("<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>", 502, media_type="text/html")
            case Trouble.ERROR_503_SOON:
                return failure(503, "Service unavailable", headers={"retry-after": "0"})
            case Trouble.ERROR_504:
                return Response("upstream request timeout", 504, media_type="text/plain")
            case Trouble.HANG:
                return Hanging()
            case Trouble.CUT:
                return Broken(b'{"task_status": "SUCCEED", "task_')
            case Trouble.PAGE:
                return WELCOME
            case Trouble.PAGE_404:
                return Response("<html><body>Not here</body></html>", 404, media_type="text/html")
            case Trouble.REDIRECT:
                return RedirectResponse("/elsewhere?signature=abc", 307)
            case Trouble.NO_JSON:
                return Response('{"task_status": "SUC', media_type="application/json")
            case Trouble.ERRORS_200:
                return failure(200, "The model is being loaded", code=400)
            case Trouble.KEY_ECHO:
                return failure(400, f"The header authorization: {request.headers['authorization']} is malformed", code=self.token)
        return None

    async def _task(self, request: Request) -> ASGIApp:
        if (refusal := self._refuse_token(request)) is not None:
            return refusal
        work = self.tasks.get(request.path_params["task_id"])
        if work is None or work.trouble is Trouble.LOST or request.headers.get("x-modelscope-task-type") != "image_generation":
            return self._told("FAILED", errors={"code": 500, "message": "task not found"})
        if work.failures:
            work.failures -= 1
            return failure(500, "Internal server error") if work.trouble is Trouble.LOOK_500 else NO_QUOTA_ANSWER
        if work.states:
            return self._told(work.states.pop(0), output_images=[])
        return self._end(work, request.path_params["task_id"])

    def _end(self, work: Work, task_id: str) -> ASGIApp:
        links = [f"{self.url}/files/{work.body.get('size') or '1024x1024'}.png?{SIGNATURE}"] * self.outputs
        match work.trouble:
            case Trouble.FAILED:
                return self._told("FAILED", task_id=task_id, errors={"code": 500, "message": "CUDA out of memory"})
            case Trouble.FAILED_MUTE:
                return self._told("FAILED", task_id=task_id)
            case Trouble.FAILED_BLOCKED:
                return self._told("FAILED", task_id=task_id, errors={"code": 400, "message": "Output data may contain inappropriate content."})
            case Trouble.FAILED_400:
                return self._told("FAILED", status=500, task_id=task_id, errors={"code": 500, "message": "The worker died"})
            case Trouble.NEVER:
                return self._told("RUNNING", output_images=[])
            case Trouble.LOOK_401:
                return failure(401, "Authentication failed, please make sure that a valid ModelScope token is supplied.")
            case Trouble.LOOK_PAGE:
                return WELCOME
            case Trouble.EMPTY:
                links = []
            case Trouble.NO_LIST:
                return self._told("SUCCEED", task_id=task_id, time_taken=12345.6)
            case Trouble.LINK_GONE:
                links = [f"{self.url}/files/64x64.png?Expires=1"]
            case Trouble.LINK_INSIDE:
                links = ["http://10.0.0.1/picture.png"]
            case Trouble.LINK_NOWHERE:
                links = ["picture.png"]
        more: dict[str, Any] = {"usage": {"credits": 2}, "errors": {}, "message": ""} if work.trouble is Trouble.MORE_FIELDS else {}
        state = "Success" if work.trouble is Trouble.SUCCESS else "SUCCEED"
        return self._told(state, task_id=task_id, output_images=links, outputs={"images": links}, time_taken=12345.6, **more)

    def _told(self, state: str, *, status: int = 200, **facts: Any) -> Response:
        return JSONResponse({"task_status": state, "request_id": "req_look", **facts}, status, headers={"x-request-id": "req_look"})


def failure(status: int, message: str, *, code: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """An error in ModelScope's usual shape."""
    errors = {"message": message} if code is None else {"message": message, "code": code}
    return JSONResponse({"errors": errors, "request_id": "req_fault"}, status, headers={"x-request-id": "req_fault", **(headers or {})})


NO_QUOTA_ANSWER = JSONResponse(
    {
        "error": {
            "code": "insufficient_quota",
            "message": "You exceeded your current quota, please check your plan and billing details.",
        },
        "request_id": "req_fault",
    },
    429,
)
"""The other shape of errors: no list, and the call's id only inside."""

WELCOME = Response("<!DOCTYPE html><html><body><p>Welcome to the <b>gateway</b></p></body></html>", media_type="text/html")


def complain(body: Any) -> str | None:
    """What is wrong with a submission; None for a good one."""
    if not isinstance(body, dict):
        return "Invalid request body."
    if unknown := sorted(body.keys() - PARAMETERS):
        return f"Unknown parameter: {unknown[0]}"
    model, prompt = body.get("model"), body.get("prompt")
    if not isinstance(model, str) or "/" not in model or model == UNSERVED:
        return f"Model id : {model} , has no provider supported"
    if not isinstance(prompt, str) or not prompt:
        return "prompt is required"
    for name in ("prompt", "negative_prompt"):
        if len(str(body.get(name) or "")) > 2000:
            return f"{name} must be shorter than 2000 characters"
    for name, lowest, highest in (("seed", 0, 2**31 - 1), ("steps", 1, 100), ("guidance", 1.5, 20)):
        if name in body and not (isinstance(body[name], int | float) and lowest <= body[name] <= highest):
            return f"{name} must be in [{lowest},{highest}]"
    return complain_about_size(model, body.get("size")) or complain_about_material(model, body)


def complain_about_size(model: str, size: Any) -> str | None:
    """What is wrong with a size for that model."""
    if size is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", str(size))
    if match is None:
        return "size must be pixels like 1024x1024"
    shortest, longest = next((edges for words, edges in FAMILIES.items() if words in model.lower()), (64, 2048))
    if not all(shortest <= int(edge) <= longest for edge in match.groups()):
        return f"size must be in [{shortest}x{shortest},{longest}x{longest}]"
    return None


def complain_about_material(model: str, body: Mapping[str, Any]) -> str | None:
    """What is wrong with input pictures and LoRAs."""
    images = body.get("image_url")
    links = [images] if isinstance(images, str) else images or []
    if not isinstance(links, list) or not all(isinstance(link, str) and link.startswith(("https://", "http://", "data:image/")) for link in links):
        return "image_url must be an url"
    if "edit" in model.lower() and not links:
        return "image_url is required"
    loras = body.get("loras")
    if isinstance(loras, dict) and (len(loras) > 6 or abs(sum(loras.values()) - 1) > 1e-6):
        return "Up to 6 LoRAs, all weight-coefficients must sum to 1.0"
    return None


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A fake ModelScope API-Inference.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--token", help="the only token that is let in; without it, every token is")
    arguments.add_argument("--looks", type=int, default=2, help="how often a task is not done when looked at")
    given = arguments.parse_args()
    fake = FakeModelScope(port=given.port, token=given.token, looks=given.looks)
    print(f"MODELSCOPE_BASE_URL={fake.url}", flush=True)
    fake.run()
