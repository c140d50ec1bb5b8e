"""A server with the wire shape of Zhipu's image interface, and the faults of the true one on demand."""

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

REQUEST_ID = "20261121100000fake"
GRIDS: Mapping[str, tuple[int, int, int, int]] = {
    "glm-image": (1024, 2048, 32, 2**22),
    "cogview-4-250304": (512, 2048, 16, 2**21),
    "cogview-4": (512, 2048, 16, 2**21),
    "cogview-3-flash": (512, 2048, 16, 2**21),
}
"""Shortest and longest side, their step, and the most pixels."""


class Trouble(StrEnum):
    """What the server can do to the next call, or to its task, instead of drawing."""

    OWING = "the account owes money, told with status 429"
    DAILY = "the day's calls are used up"
    CONCURRENT = "too many calls at once"
    BLOCKED = "the prompt is turned away"
    NO_RIGHT = "the account may not use the model"
    ERROR_500 = "internal error"
    HANG = "accepts the call and never answers"
    KEY_ECHO = "an error that repeats the key"
    MORE_FIELDS = "fields nobody knows"
    EMPTY = "no picture"
    ERROR_200 = "status 200 and an error"
    LINK_DEAD = "a link that has expired"
    NO_TASK = "a task without an id"
    FAILED = "the task fails with a reason"
    FAILED_MUTE = "the task fails without a reason"
    FAILED_BLOCKED = "the task is turned away by moderation"
    NEVER = "the task is never done"
    LOOK_500 = "internal error at the first look"


T = Trouble
_FAULTS: Mapping[Trouble, tuple[int, str, str]] = {
    T.OWING: (429, "1113", "您的账户已欠费，请充值后重试。"),
    T.DAILY: (429, "1304", "该 API 已达到今日调用次数限额。"),
    T.CONCURRENT: (429, "1302", "您当前使用该 API 的并发数过高，请降低并发。"),
    T.BLOCKED: (400, "1301", "系统检测到输入或生成内容可能包含不安全或敏感内容。"),
    T.NO_RIGHT: (403, "1220", "您无权访问该模型。"),
    T.ERROR_500: (500, "500", "内部错误"),
    T.ERROR_200: (200, "1301", "系统检测到输入或生成内容可能包含不安全或敏感内容。"),
}


@dataclass
class Work:
    """A task of the server."""

    body: Mapping[str, Any]
    trouble: Trouble | None
    looks: int
    """How often it is not done when looked at."""
    failures: int = 0


class FakeZhipu(Server):
    """Zhipu on a port of this machine; `base_url` is what goes into ZAI_BASE_URL."""

    def __init__(self, *, port: int = 0, key: str = "fakeid0123456789.fakesecret") -> None:
        self.key = key
        self.trouble: deque[Trouble] = deque()
        self.tasks: dict[str, Work] = {}
        routes = [
            Route("/api/paas/v4/images/generations", self._draw, methods=["POST"]),
            Route("/api/paas/v4/async/images/generations", self._submit, methods=["POST"]),
            Route("/api/paas/v4/async-result/{task_id}", self._task),
            Route("/files/{size}/{name}", self._file),
        ]
        super().__init__(Starlette(routes=routes), port=port)
        self.base_url = f"{self.url}/api/paas/v4"

    def reset(self) -> None:
        """Forget requests, tasks and troubles."""
        self.seen.clear()
        self.trouble.clear()
        self.tasks.clear()

    async def _file(self, request: Request) -> Response:
        if "authorization" in request.headers or "dead" in request.path_params["name"]:
            return Response(status_code=403)
        width, height = map(int, request.path_params["size"].split("x"))
        return Response(picture(width, height), media_type="application/octet-stream")

    def _stranger(self, request: Request) -> Response | None:
        return None if request.headers.get("authorization") == f"Bearer {self.key}" else fault(401, "1002", "Authorization Token 非法")

    def _instead(self, request: Request, trouble: Trouble | None) -> ASGIApp | None:
        if (stranger := self._stranger(request)) is not None:
            return stranger
        if trouble is not None and trouble in _FAULTS:
            return fault(*_FAULTS[trouble])
        if trouble is T.KEY_ECHO:
            return fault(400, "1214", f"Header authorization: {request.headers['authorization']} 参数非法")
        return Hanging() if trouble is T.HANG else None

    async def _draw(self, request: Request) -> ASGIApp:
        trouble = self.trouble.popleft() if self.trouble else None
        if (instead := self._instead(request, trouble)) is not None:
            return instead
        body = await request.json()
        if (complaint := complain(body, is_task=False)) is not None:
            return fault(400, *complaint)
        answer = {"created": 1795304300, "data": self._pictures(body, trouble), "content_filter": [{"role": "assistant", "level": 3}]}
        return JSONResponse({**answer, **_more(trouble)}, headers={"x-request-id": REQUEST_ID})

    async def _submit(self, request: Request) -> ASGIApp:
        trouble = self.trouble.popleft() if self.trouble else None
        if (instead := self._instead(request, trouble)) is not None:
            return instead
        body = await request.json()
        if (complaint := complain(body, is_task=True)) is not None:
            return fault(400, *complaint)
        task_id = f"88880000{len(self.tasks)}"
        self.tasks[task_id] = Work(body=body, trouble=trouble, looks=2, failures=1 if trouble is T.LOOK_500 else 0)
        named = {} if trouble is T.NO_TASK else {"id": task_id}
        return JSONResponse({**named, "model": body["model"], "request_id": REQUEST_ID, "task_status": "PROCESSING", **_more(trouble)})

    async def _task(self, request: Request) -> Response:
        if (stranger := self._stranger(request)) is not None:
            return stranger
        work = self.tasks.get(request.path_params["task_id"])
        if work is None:
            return fault(400, "1214", "任务不存在")
        if work.failures:
            work.failures -= 1
            return fault(*_FAULTS[T.ERROR_500])
        facts = {"model": work.body["model"], "request_id": REQUEST_ID}
        if work.looks or work.trouble is T.NEVER:
            work.looks = max(0, work.looks - 1)
            return JSONResponse({**facts, "task_status": "PROCESSING"})
        failed: Mapping[Trouble | None, dict[str, Any]] = {
            T.FAILED: {"error": {"code": "1234", "message": "网络错误"}},
            T.FAILED_MUTE: {},
            T.FAILED_BLOCKED: {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容。"}},
        }
        if work.trouble in failed:
            return JSONResponse({**facts, "task_status": "FAIL", **failed[work.trouble]})
        done = {"task_status": "SUCCESS", "image_result": self._pictures(work.body, work.trouble)}
        return JSONResponse({**facts, **done, **_more(work.trouble)}, headers={"x-request-id": REQUEST_ID})

    def _pictures(self, body: Mapping[str, Any], trouble: Trouble | None) -> list[dict[str, str]]:
        if trouble is T.EMPTY:
            return []
        return [{"url": f"{self.url}/files/{body.get('size', '1024x1024')}/{'dead' if trouble is T.LINK_DEAD else 'drawn'}.png"}]


def _more(trouble: Trouble | None) -> dict[str, Any]:
    return {"usage": {"pictures": 1}, "queue": None} if trouble is T.MORE_FIELDS else {}


def fault(status: int, code: str, message: str) -> Response:
    """An error in Zhipu's shape; the code is a text."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers={"x-request-id": REQUEST_ID})


def complain(body: Mapping[str, Any], *, is_task: bool) -> tuple[str, str] | None:
    """What is wrong with a call; None for a good one."""
    model = str(body.get("model"))
    if model not in GRIDS:
        return "1211", "模型不存在，请检查模型代码。"
    if is_task and model != "glm-image":
        return "1222", "该模型不支持异步调用"
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        return "1213", "未正常接收到 prompt 参数。"
    if body.get("quality", "hd") not in ({"hd"} if model == "glm-image" else {"hd", "standard"}):
        return "1214", "quality 参数非法。"
    if "size" in body:
        shortest, longest, step, pixels = GRIDS[model]
        match = re.fullmatch(r"(\d+)x(\d+)", str(body["size"]))
        edges = [int(edge) for edge in match.groups()] if match else [0, 0]
        if not all(shortest <= edge <= longest and edge % step == 0 for edge in edges) or edges[0] * edges[1] > pixels:
            return "1214", "size 参数非法。"
    return None
