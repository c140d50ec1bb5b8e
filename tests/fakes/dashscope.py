"""A server with the wire shape of Alibaba Cloud's DashScope for pictures, and the faults of the true one on demand."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .server import Hanging, Server, picture

REQUEST_ID = "c0ffee00-1111-9222-b333-444455556666"
MESSAGES = {"multimodal-generation/generation": False, "image-generation/generation": True}
"""Where messages are taken: at once, or as a task."""
AT_ONCE = ("qwen-image", "z-image")
TASKS = ("wan",)
BOTH = ("qwen-image", "qwen-image-plus")
"""Models that are drawn at once, and as a task of the older kind."""
PARAMETERS = {
    "size", "n", "seed", "negative_prompt", "watermark", "prompt_extend", "thinking_mode", "enable_sequential", "strength", "upscale_factor",
    "top_scale", "bottom_scale", "left_scale", "right_scale", "is_sketch",
}  # fmt: skip


class Trouble(StrEnum):
    """What the server can do to the next call, or to its task, instead of drawing."""

    ARREARAGE = "the account owes money"
    FREE_TIER = "the free allowance is used up"
    ALLOCATION = "the allocated quota is exceeded"
    THROTTLED = "too many requests"
    BLOCKED = "the prompt is turned away"
    BLOCKED_200 = "the prompt is turned away, with status 200"
    UNPURCHASED = "the account has not bought the model"
    NO_MODEL = "no such model"
    ERROR_500 = "internal error"
    OVERLOADED = "model unavailable"
    HANG = "accepts the call and never answers"
    KEY_ECHO = "an error that repeats the key"
    MORE_FIELDS = "fields nobody knows"
    EMPTY = "an answer without a picture"
    WORDS = "an answer of words alone"
    LINK_DEAD = "a link that has expired"
    ONE_FAILED = "the second picture failed"
    ALL_FAILED = "each picture failed"
    ALL_LATE = "each picture came too late"
    NO_TASK = "a task without an id"
    FAILED = "the task fails"
    FAILED_MUTE = "the task fails without a reason"
    FAILED_BLOCKED = "the task is turned away by moderation"
    UNKNOWN = "the task is not known"
    CANCELED = "the task was cancelled"
    NEVER = "the task is never done"
    ODD_STATE = "the task is in a state nobody knows before it is done"
    LOOK_500 = "internal error at the first looks"
    LOOK_401 = "the key is turned away at the look"


T = Trouble
_BLOCKED = ("DataInspectionFailed", "Input data may contain inappropriate content.")
_FAULTS: Mapping[Trouble, tuple[int, str, str]] = {
    T.ARREARAGE: (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
    T.FREE_TIER: (403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
    T.ALLOCATION: (429, "Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
    T.THROTTLED: (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    T.BLOCKED: (400, *_BLOCKED),
    T.BLOCKED_200: (200, *_BLOCKED),
    T.UNPURCHASED: (403, "AccessDenied.Unpurchased", "Access to model denied. Please make sure you are eligible for using the model."),
    T.NO_MODEL: (404, "ModelNotFound", "Model not exist."),
    T.ERROR_500: (500, "InternalError", "An internal error has occurred, please try again later or contact service support."),
    T.OVERLOADED: (503, "ModelUnavailable", "Model is unavailable, please try again later."),
}


@dataclass
class Work:
    """A task of the server."""

    body: Mapping[str, Any]
    trouble: Trouble | None
    messages: bool
    states: list[str]
    """Told one after another before the end."""
    failures: int = 0


class FakeDashScope(Server):
    """DashScope on a port of this machine; `base_url` is what goes into DASHSCOPE_HTTP_BASE_URL.

    `trouble` is a queue: each call takes the first one from it. `states` are those in which a task is found before it is done.
    """

    def __init__(self, *, port: int = 0, key: str = "sk-fake-0123456789") -> None:
        self.key = key
        self.states = ["PENDING", "RUNNING"]
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Work] = {}
        routes = [
            Route("/api/v1/services/aigc/{kind}/{what}", self._call, methods=["POST"]),
            Route("/api/v1/tasks", self._list),
            Route("/api/v1/tasks/{task_id}", self._task),
            Route("/api/v1/tasks/{task_id}/cancel", self._cancel, methods=["POST"]),
            Route("/files/{size}/{name}", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/api/v1"

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()

    async def _file(self, request: Request) -> Response:
        if "authorization" in request.headers or not request.url.query:
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        width, height = map(int, request.path_params["size"].split("x"))
        return Response(picture(width, height), media_type="application/octet-stream")

    def _stranger(self, request: Request) -> Response | None:
        return None if request.headers.get("authorization") == f"Bearer {self.key}" else fault(401, "InvalidApiKey", "Invalid API-key provided.")

    async def _list(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse({"request_id": REQUEST_ID, "data": [], "total": 0, "page_no": 1, "page_size": 1})

    async def _call(self, request: Request) -> ASGIApp:
        if (stranger := self._stranger(request)) is not None:
            return stranger
        trouble = self.trouble.popleft() if self.trouble else None
        if trouble is not None and trouble in _FAULTS:
            return fault(*_FAULTS[trouble])
        if trouble is T.HANG:
            return Hanging()
        if trouble is T.KEY_ECHO:
            return fault(400, "InvalidParameter", f"Header authorization: {request.headers['authorization']} is malformed.")
        body, place = await request.json(), f"{request.path_params['kind']}/{request.path_params['what']}"
        is_task = request.headers.get("x-dashscope-async") == "enable"
        if (complaint := complain(body, place, is_task=is_task)) is not None:
            return complaint
        if not is_task:
            return JSONResponse(self._done(body, trouble, messages=True))
        task_id = f"0385dc79-5ff8-4d82-bcb6-{len(self.tasks):012d}"
        states = ["POSTPROCESSING"] if trouble is T.ODD_STATE else list(self.states)
        self.tasks[task_id] = Work(body=body, trouble=trouble, messages=place in MESSAGES, states=states, failures=2 if trouble is T.LOOK_500 else 0)
        output = {"task_status": "PENDING", "task_id": task_id}
        if trouble is T.NO_TASK:
            del output["task_id"]
        return JSONResponse({"output": output, "request_id": REQUEST_ID})

    async def _task(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        work = self.tasks.get(task_id)
        trouble = work.trouble if work else T.UNKNOWN
        if (stranger := self._stranger(request)) is not None:
            return stranger
        if trouble is T.LOOK_401:
            return fault(401, "InvalidApiKey", "Invalid API-key provided.")
        if work is None or trouble is T.UNKNOWN:
            return told(task_id, "UNKNOWN")
        if work.failures:
            work.failures -= 1
            return fault(*_FAULTS[T.ERROR_500])
        if work.states or trouble is T.NEVER:
            return told(task_id, work.states.pop(0) if work.states else "RUNNING", submit_time="2026-11-21 10:00:00.000")
        match trouble:
            case Trouble.FAILED:
                return told(task_id, "FAILED", code="InternalError.Algo", message="The algorithm failed.")
            case Trouble.FAILED_MUTE:
                return told(task_id, "FAILED")
            case Trouble.FAILED_BLOCKED:
                return told(task_id, "FAILED", code="DataInspectionFailed", message="Output data may contain inappropriate content.")
            case Trouble.CANCELED:
                return told(task_id, "CANCELED")
        answer = self._done(work.body, trouble, messages=work.messages)
        answer["output"] |= {"task_id": task_id, "task_status": "SUCCEEDED", "end_time": "2026-11-21 10:00:09.000"}
        return JSONResponse(answer)

    async def _cancel(self, request: Request) -> Response:
        work = self.tasks.get(request.path_params["task_id"])
        if (stranger := self._stranger(request)) is not None:
            return stranger
        if work is None or work.states[:1] != ["PENDING"]:
            return fault(400, "UnsupportedOperation", "Failed to cancel the task, please confirm if the task is in PENDING status.")
        work.states, work.trouble = [], T.CANCELED
        return JSONResponse({"request_id": REQUEST_ID})

    def _done(self, body: Mapping[str, Any], trouble: Trouble | None, *, messages: bool) -> dict[str, Any]:
        parameters = body["parameters"]
        size = str(parameters.get("size", "1024*1024")).replace("*", "x")
        signature = "" if trouble is T.LINK_DEAD else "?Expires=1795304300&Signature=a%2Bb%3D"
        links = [f"{self.url}/files/{size}/{number}.png{signature}" for number in range(parameters.get("n", 1))]
        if trouble is T.EMPTY:
            links = []
        more = {"finished": True, "audio": None} if trouble is T.MORE_FIELDS else {}
        if messages:
            contents: list[list[dict[str, Any]]] = [[{"type": "image", "image": link}] for link in links]
            if trouble is T.WORDS:
                contents = [[{"text": "I had rather not."}]]
            if body["model"] == "z-image-turbo":
                contents[0].append({"text": "a cat, drawn well"})
            choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}} for content in contents]
            output: dict[str, Any] = {"choices": choices, **more}
        else:
            results: list[dict[str, Any]] = [{"orig_prompt": body["input"]["prompt"], "actual_prompt": "a fine cat", "url": link} for link in links]
            failed = range(len(results)) if trouble in (T.ALL_FAILED, T.ALL_LATE) else [1] if trouble is T.ONE_FAILED else []
            blocked = {"code": "DataInspectionFailed", "message": "Output data may contain inappropriate content."}
            late = {"code": "InternalError.Timeout", "message": "Timed out."}
            for number in failed:
                results[number] = late if trouble is T.ALL_LATE else blocked
            output = {"results": results, "task_metrics": {"TOTAL": len(links), "SUCCEEDED": len(links), "FAILED": 0}, **more}
        return {"output": output, "usage": {"image_count": len(links)}, "request_id": REQUEST_ID}


def fault(status: int, code: str, message: str) -> Response:
    """An error in DashScope's flat shape."""
    return JSONResponse({"code": code, "message": message, "request_id": REQUEST_ID}, status)


def told(task_id: str, state: str, **facts: str) -> Response:
    """A task that is not done, or has failed; either with status 200."""
    return JSONResponse({"output": {"task_id": task_id, "task_status": state, **facts}, "request_id": REQUEST_ID})


def complain(body: Any, place: str, *, is_task: bool) -> Response | None:
    """What is wrong with a call; None for a good one."""
    model, given, parameters = body.get("model", ""), body.get("input") or {}, body.get("parameters") or {}
    older = place in ("text2image/image-synthesis", "image2image/image-synthesis")
    wants_task = model.startswith(TASKS) or (older and model in BOTH)
    if not model.startswith((*AT_ONCE, *TASKS)):
        return fault(404, "ModelNotFound", f"Model {model} not exist.")
    if is_task != wants_task or (older and not is_task) or (place in MESSAGES and MESSAGES[place] != is_task):
        return fault(403, "AccessDenied", f"current user api does not support {'a' if is_task else ''}synchronous calls.")
    if unknown := parameters.keys() - PARAMETERS:
        return fault(400, "InvalidParameter", f"Unknown parameter {min(unknown)}")
    if "size" in parameters and not re.fullmatch(r"\d+\*\d+|[124]K", str(parameters["size"])):
        return fault(400, "InvalidParameter", "size must be in the format of width*height")
    if not 0 <= parameters.get("seed", 0) <= 2**31 - 1:
        return fault(400, "InvalidParameter", "seed must be in [0, 2147483647]")
    if older:
        links = [given[name] for name in ("base_image_url", "mask_image_url") if name in given] + given.get("images", [])
        complete = isinstance(given.get("prompt"), str) and "negative_prompt" not in parameters and bool(links) == place.startswith("image2image")
    else:
        parts = [part for message in given.get("messages", ()) for part in message["content"]]
        links = [part["image"] for part in parts if "image" in part]
        complete = [list(part) for part in parts] == [["image"]] * len(links) + [["text"]] and (bool(links) or "-edit" not in model)
    if not complete or not all(re.match(r"https?://|data:image/\w+;base64,", link) for link in links):
        return fault(400, "InvalidParameter", "url error, please check url！")
    return None
