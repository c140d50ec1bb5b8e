"""The extension `io.modelcontextprotocol/tasks` (https://modelcontextprotocol.io/seps/2663-tasks-extension): work that outlives a tool call.

A client that declares the extension may be answered with a task instead of a result, and asks for it until it has ended. The server decides: a tool that
answers with `Underway` offers the task. Where tasks live is the backend's business; in the product they are the jobs.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from mcp import types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from pydantic import Field

from ...errors import ImageServerError, NotFoundError
from ...models import Job, JobState
from ...studio import Studio
from .answers import Voice, fitted
from .callers import Request, audience_of, caller_of, headers_of, is_modern

TASKS = "io.modelcontextprotocol/tasks"

POLL_MS = 2000
"""How often a client may ask for a job, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work under way or ended."""

    id: str
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    created_at: datetime
    updated_at: datetime
    message: str = ""
    result: types.CallToolResult | None = None
    """Of a completed one, which may be an error result: `failed` is for calls that would have ended with a protocol error."""
    error: types.ErrorData | None = None
    questions: Mapping[str, types.InputRequest] = field(default_factory=dict)
    """That are open, by key, while input is required."""
    ttl_ms: int | None = None
    """For how long after its creation it can be asked for; None for ever."""
    poll_ms: int = POLL_MS


class TaskBackend(Protocol):
    """Where tasks live. Each method is handed the request, and sees only what belongs to who sent it."""

    async def task(self, request: Request, task_id: str) -> Task | None: ...

    async def answer(self, request: Request, task_id: str, responses: Mapping[str, Any]) -> None: ...

    async def cancel(self, request: Request, task_id: str) -> None: ...


class Underway(types.CallToolResult):
    """A tool's answer about work that has not ended. Clients with tasks get the task instead; the others get it as it stands."""

    task_id: str = Field(exclude=True)

    @classmethod
    def of(cls, result: types.CallToolResult, task_id: str) -> Underway:
        """That result, offered as the task of this id."""
        return cls(content=result.content, structured_content=result.structured_content, is_error=result.is_error, task_id=task_id)


def speaks_tasks(request: Request) -> bool:
    """Whether the client may be answered with a task."""
    capabilities = request.session.client_capabilities
    return is_modern(request) and capabilities is not None and TASKS in (capabilities.extensions or {})


class _TaskParams(types.RequestParams):
    task_id: str


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict)


class Tasks(Extension):
    """The extension over a backend."""

    identifier = TASKS

    def __init__(self, backend: TaskBackend) -> None:
        self._backend = backend

    def methods(self) -> Sequence[MethodBinding]:
        """tasks/get, tasks/update and tasks/cancel."""
        versions = frozenset({"2026-07-28"})
        return [
            MethodBinding("tasks/get", _TaskParams, self._get, versions),
            MethodBinding("tasks/update", _UpdateParams, self._update, versions),
            MethodBinding("tasks/cancel", _TaskParams, self._cancel, versions),
        ]

    async def intercept_tool_call(self, params: types.CallToolRequestParams, ctx: Request, call_next: CallNext) -> HandlerResult:
        """The tool's answer, or the task that it offers."""
        answer = await call_next(ctx)
        if not isinstance(answer, Underway) or not speaks_tasks(ctx):
            return answer
        task = await self._backend.task(ctx, answer.task_id)
        if task is None:
            return answer
        return task.result or {"resultType": "task", **_facts(task)}

    async def _get(self, ctx: Request, params: _TaskParams) -> HandlerResult:
        task = await self._known(ctx, params)
        wire = {"resultType": "complete", **_facts(task)}
        match task.status:
            case "completed":
                wire["result"] = _json(task.result)
            case "failed":
                wire["error"] = _json(task.error)
            case "input_required":
                wire["inputRequests"] = {key: _json(question) for key, question in task.questions.items()}
        return wire

    async def _update(self, ctx: Request, params: _UpdateParams) -> HandlerResult:
        task = await self._known(ctx, params)
        answers = {key: response for key, response in params.input_responses.items() if key in task.questions}
        if answers:
            await self._backend.answer(ctx, task.id, answers)
        return types.EmptyResult()

    async def _cancel(self, ctx: Request, params: _TaskParams) -> HandlerResult:
        task = await self._known(ctx, params)
        if task.status in ("working", "input_required"):
            await self._backend.cancel(ctx, task.id)
        return types.EmptyResult()

    async def _known(self, ctx: Request, params: _TaskParams) -> Task:
        """The task that is meant.

        Raises:
            MCPError: the client knows no tasks, has no such task, or its header names another.
        """
        require_tasks(ctx)
        named = (headers_of(ctx) or {}).get("mcp-name")
        if named is not None and _plain(named) != params.task_id:
            raise MCPError(code=types.HEADER_MISMATCH, message="The header Mcp-Name names another task than taskId.")
        task = await self._backend.task(ctx, params.task_id)
        if task is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown task: {params.task_id}")
        return task


def require_tasks(request: Request) -> None:
    """Passes when the client declares the extension.

    Raises:
        MCPError: it does not; the error names the extension.
    """
    if not speaks_tasks(request):
        data: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise MCPError(code=types.MISSING_REQUIRED_CLIENT_CAPABILITY, message=f"The client does not declare {TASKS}.", data=data)


def _facts(task: Task) -> dict[str, Any]:
    """What every message about a task says of it. An absent life span would be another statement than one without end, so that one is null."""
    facts = {
        "taskId": task.id,
        "status": task.status,
        "createdAt": task.created_at.isoformat(timespec="milliseconds"),
        "lastUpdatedAt": task.updated_at.isoformat(timespec="milliseconds"),
        "ttlMs": task.ttl_ms,
        "pollIntervalMs": task.poll_ms,
    }
    return {**facts, "statusMessage": task.message} if task.message else facts


def _json(value: types.CallToolResult | types.ErrorData | types.InputRequest | None) -> Any:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True) if value is not None else None


def _plain(header: str) -> str:
    """The value of a header, which may be in base64 where it does not fit into one."""
    if not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return b64decode(header[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return header


class JobTasks:
    """The jobs of a studio as tasks. A job's id is its task's; it asks nothing once it has begun, and can be asked for as long as there is a history."""

    def __init__(self, studio: Studio, voice: Voice) -> None:
        self._studio = studio
        self._voice = voice

    async def task(self, request: Request, task_id: str) -> Task | None:
        try:
            job = await self._studio.job(caller_of(request), task_id)
            return Task(
                id=job.id,
                status="cancelled" if job.state is JobState.CANCELLED else "completed" if job.state.ended else "working",
                created_at=job.created_at,
                updated_at=job.finished_at or job.started_at or job.created_at,
                message="" if job.state.ended else job.message,
                result=await self._result(request, job) if job.state.ended else None,
            )
        except NotFoundError:
            return None
        except ImageServerError as error:
            raise MCPError(code=types.INTERNAL_ERROR, message=error.message) from error

    async def answer(self, request: Request, task_id: str, responses: Mapping[str, Any]) -> None:
        """Nothing: a job has no questions."""

    async def cancel(self, request: Request, task_id: str) -> None:
        await self._studio.cancel(caller_of(request), task_id)

    async def _result(self, request: Request, job: Job) -> types.CallToolResult:
        audience = audience_of(self._studio, request, structured=self._voice.structured)
        return fitted(await self._voice.job(self._studio, job, audience), structured=audience.structured)
