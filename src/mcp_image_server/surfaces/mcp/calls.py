"""What every call of a tool goes through: arguments checked, failures answered, progress told; and which tools are offered at all."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec

from mcp import types
from mcp.server.mcpserver.tools import Tool
from pydantic import Field, ValidationError

from ... import telemetry
from ...errors import ConfigError, ImageServerError, RequestError
from ...models import Headway, Job
from ...settings import Settings
from ..facts import headway_words
from .answers import Voice, error_answer, fitted
from .callers import Audience, Session, Unanswered

log = logging.getLogger(__name__)

MAX_PROBLEMS = 100
"""Of a call's arguments that are told one by one."""

P = ParamSpec("P")

Answer = types.CallToolResult | types.InputRequiredResult
Work = Callable[P, Awaitable[Answer]]


def answering(voice: Voice) -> Callable[[Work[P]], Work[P]]:
    """Makes expected failures error results, sends open questions, and logs bugs."""

    def decorate(tool: Work[P]) -> Work[P]:
        @wraps(tool)
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                return await tool(*args, **kwargs)
            except Unanswered as question:
                return question.result
            except ImageServerError as error:
                return voice.error(error)
            except Exception:
                log.exception("A tool broke; this is a bug.")
                return voice.error(ImageServerError("The server made a mistake; its log has the details."))

        return wrapped

    return decorate


class Murmur:
    """Progress notifications for one call. They must grow from one to the next, also while a service says nothing new."""

    def __init__(self, context: Session) -> None:
        self._context = context
        self._told = 0.0

    async def job(self, job: Job) -> None:
        """Tells how far the job is."""
        await self._tell(job.progress, job.message or str(job.state))

    async def batch(self, headway: Headway) -> None:
        """Tells how far the batch is."""
        await self._tell(headway.progress, headway_words(headway))

    async def _tell(self, progress: float, words: str) -> None:
        self._told = max(progress, self._told + 0.0001)
        await self._context.report_progress(self._told, 1.0, words)


class CheckedTool(Tool):
    """A tool that says in plain words what is wrong with its arguments, instead of ignoring those it does not know; and whose answers suit who gets them."""

    answers: dict[str, Any] | None
    """JSON schema of what it answers, where clients that read structured content may see it."""
    audience: Callable[[Session], Audience] = Field(exclude=True)
    core: bool
    """Whether it is among those that are offered unless the operator says otherwise."""

    async def run(self, arguments: dict[str, Any], context: Session, convert_result: bool = False) -> Any:
        """The answer to a call, after its arguments were checked."""
        begun, outcome = monotonic(), "broken_off"
        try:
            self.check(arguments)
            result = await super().run(arguments, context, convert_result)
            outcome = _outcome(result)
        except RequestError as error:
            result, outcome = error_answer(error), error.code
        finally:
            telemetry.TOOL_SECONDS.observe(monotonic() - begun, tool=self.name, outcome=outcome)
        if not isinstance(result, types.CallToolResult):
            return result
        return fitted(result, structured=self.answers is not None and self.audience(context).structured)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Passes when the tool can be called like this.

        Raises:
            RequestError: it cannot; the message names each argument at fault and what it may be.
        """
        known = list(self.parameters["properties"])
        if unknown := [argument for argument in arguments if argument not in known]:
            raise RequestError(f"{self.name} has no argument {', '.join(map(repr, unknown[:MAX_PROBLEMS]))}. Its arguments: {', '.join(known)}.")
        try:
            self.fn_metadata.validate_arguments(dict(arguments))
        except ValidationError as error:
            if error.error_count() > MAX_PROBLEMS:
                raise RequestError(f"{self.name} cannot be called like this. {error.error_count():,} things are wrong with it.") from None
            problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors(include_url=False)]
            raise RequestError(f"{self.name} cannot be called like this. {'. '.join(problems)}.", details={"problems": problems}) from None


def _outcome(result: object) -> str:
    """What came of a call, in a word."""
    if isinstance(result, types.InputRequiredResult):
        return "question"
    if not isinstance(result, types.CallToolResult) or not result.is_error:
        return "ok"
    error = (result.structured_content or {}).get("error")
    return str(error["code"]) if error else "failed"


def offered(every: Sequence[CheckedTool], settings: Settings) -> list[CheckedTool]:
    """Those of the tools that the operator lets clients see and call.

    Raises:
        ConfigError: a setting names a tool that there is not.
    """
    names = [tool.name for tool in every]
    for variable, listed in (("MCP_TOOLS_ON", settings.tools_on), ("MCP_TOOLS_OFF", settings.tools_off)):
        if unknown := [name for name in listed if name not in names]:
            raise ConfigError(f"{variable} names {', '.join(unknown)}, which no tool is called. There are: {', '.join(names)}.")
    wanted = {tool.name for tool in every if tool.core or settings.toolset == "full"} | set(settings.tools_on)
    return [tool for tool in every if tool.name in wanted.difference(settings.tools_off)]
