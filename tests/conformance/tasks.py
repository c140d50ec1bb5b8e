"""The tools that the official conformance suite's tasks scenarios call, with tasks in memory under the product's tasks extension."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import types
from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError

from mcp_image_server.surfaces.mcp.callers import Request, Session
from mcp_image_server.surfaces.mcp.tasks import Task, Tasks, Underway, require_tasks, speaks_tasks

Responses = Mapping[str, Any]
AskAll = Callable[[Mapping[str, types.InputRequest]], Awaitable[Responses]]
Work = Callable[[AskAll], Awaitable[types.CallToolResult]]

HOUR_MS = 3_600_000


@dataclass
class Running:
    """One task and what goes on in it."""

    task: Task
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    responses: dict[str, Any] = field(default_factory=dict)
    answered: anyio.Event = field(default_factory=anyio.Event)

    def move(self, **changes: Any) -> None:
        self.task = replace(self.task, updated_at=datetime.now(UTC), **changes)

    async def ask(self, questions: Mapping[str, types.InputRequest]) -> Responses:
        self.move(status="input_required", questions=questions)
        await self.answered.wait()
        return self.responses


class Memory:
    """Tasks that end with the process."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self.tasks: TaskGroup | None = None

    async def begin(self, work: Work) -> types.CallToolResult:
        """What a tool answers whose work has begun."""
        assert self.tasks is not None
        now = datetime.now(UTC)
        running = Running(Task(id=secrets.token_urlsafe(24), status="working", created_at=now, updated_at=now, ttl_ms=HOUR_MS, poll_ms=200))
        self._running[running.task.id] = running
        self.tasks.start_soon(self._run, running, work)
        return Underway(content=[], task_id=running.task.id)

    async def _run(self, running: Running, work: Work) -> None:
        with running.scope:
            try:
                running.move(status="completed", result=await work(running.ask))
            except MCPError as error:
                running.move(status="failed", error=error.error)

    async def task(self, request: Request, task_id: str) -> Task | None:
        running = self._running.get(task_id)
        return running.task if running else None

    async def answer(self, request: Request, task_id: str, responses: Responses) -> None:
        running = self._running[task_id]
        running.responses.update(responses)
        left = {key: question for key, question in running.task.questions.items() if key not in responses}
        running.move(status="input_required" if left else "working", questions=left)
        if not left:
            running.answered.set()

    async def cancel(self, request: Request, task_id: str) -> None:
        running = self._running[task_id]
        running.scope.cancel()
        running.move(status="cancelled", questions={})


def text(words: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)], is_error=is_error)


def question(words: str, name: str) -> types.ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=words, requested_schema=schema))


def server() -> MCPServer:
    """A server with nothing but these tools."""
    memory = Memory()

    @asynccontextmanager
    async def lifespan(_: MCPServer) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            memory.tasks = tasks
            yield
            tasks.cancel_scope.cancel()

    made = MCPServer("tasks", lifespan=lifespan, extensions=[Tasks(memory)], log_level="ERROR")
    add_tasks(made, memory)
    return made


def add_tasks(made: MCPServer, memory: Memory) -> None:
    """Registers the tools."""

    async def nobody(questions: Mapping[str, types.InputRequest]) -> Responses:
        raise AssertionError(f"nobody can be asked {questions}")

    async def answer(ctx: Session, work: Work) -> types.CallToolResult:
        return await memory.begin(work) if speaks_tasks(ctx.request_context) else await work(nobody)

    async def answer_after_asking(
        ctx: Session, questions: Mapping[str, types.InputRequest], work: Callable[[Responses], types.CallToolResult]
    ) -> types.CallToolResult | types.InputRequiredResult:
        async def asking(ask: AskAll) -> types.CallToolResult:
            return work(await ask(questions))

        if speaks_tasks(ctx.request_context):
            return await memory.begin(asking)
        if ctx.input_responses is None:
            return types.InputRequiredResult(input_requests=dict(questions))
        return work(ctx.input_responses)

    @made.tool(description="Greets at once.")
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    @made.tool(description="Takes a while.")
    async def slow_compute(ctx: Session, seconds: float = 1.0, label: str = "") -> types.CallToolResult:
        async def work(_: AskAll) -> types.CallToolResult:
            await anyio.sleep(seconds)
            return text(f"Computed {label}")

        return await answer(ctx, work)

    @made.tool(description="Fails after a while, and only as a task.")
    async def failing_job(ctx: Session) -> types.CallToolResult:
        require_tasks(ctx.request_context)

        async def work(_: AskAll) -> types.CallToolResult:
            await anyio.sleep(1)
            return text("It failed.", is_error=True)

        return await answer(ctx, work)

    @made.tool(description="Ends with a protocol error.")
    async def protocol_error_job(ctx: Session) -> types.CallToolResult:
        async def work(_: AskAll) -> types.CallToolResult:
            raise MCPError(code=types.INTERNAL_ERROR, message="It broke.")

        return await answer(ctx, work)

    @made.tool(description="Asks before it deletes.")
    async def confirm_delete(ctx: Session, filename: str) -> types.CallToolResult | types.InputRequiredResult:
        return await answer_after_asking(ctx, {"confirm": question(f"Delete {filename}?", "confirmation")}, lambda _: text(f"Deleted {filename}"))

    @made.tool(description="Asks two things.")
    async def multi_input(ctx: Session) -> types.CallToolResult | types.InputRequiredResult:
        questions = {"first": question("First?", "first"), "second": question("Second?", "second")}
        return await answer_after_asking(ctx, questions, lambda _: text("Both were answered."))

    @made.tool(description="Asks first, then goes on as a task.")
    async def test_tool_with_task(ctx: Session) -> types.CallToolResult | types.InputRequiredResult:
        responses = ctx.input_responses
        if responses is None:
            return types.InputRequiredResult(input_requests={"user_name": question("Your name?", "name")})
        given = responses["user_name"]
        assert isinstance(given, types.ElicitResult)
        name = (given.content or {})["name"]

        async def work(_: AskAll) -> types.CallToolResult:
            return text(f"Task completed for {name}")

        return await answer(ctx, work)
