"""Alibaba Cloud Model Studio (百炼) through its own interface, DashScope: Qwen-Image, Wan and Z-Image.

Facts from https://www.alibabacloud.com/help/en/model-studio/image-generation and the pages beneath it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError
from ...fields import BaseUrl, HeaderValue, Key
from ...models import Adjustment, Drawn, Generated, ImageRequest, Limits, Model
from ...negotiate import Fitted
from ...net import Net, Pace, Reply, Service
from ...settings import Environment, parse
from ..base import Context, account_of, guessed, with_default
from .models import CATALOGUE, DEFAULT_MODEL, MODELS, call_for
from .wire import DOING, Answer, read_fault, seed_of, suited, to_wire

__all__ = ["CATALOGUE", "MODELS", "Config", "DashScope", "load"]

log = logging.getLogger(__name__)

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service, under the names that DashScope's own library reads."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="DASHSCOPE_API_KEY", description="Key of the account at Alibaba Cloud Model Studio (百炼).")
    base_url: BaseUrl = Field(
        "https://dashscope.aliyuncs.com/api/v1",
        alias="DASHSCOPE_HTTP_BASE_URL",
        description="Address of the region that made the key, outside China a workspace's own: https://WORKSPACE.ap-southeast-1.maas.aliyuncs.com/api/v1 "
        "for Singapore. What is new since October 2026 does not come to the older https://dashscope-intl.aliyuncs.com/api/v1.",
    )
    workspace: HeaderValue | None = Field(None, alias="DASHSCOPE_WORKSPACE_ID", description="Workspace to work in, for keys that belong to several.")
    model: str = Field(DEFAULT_MODEL, alias="DASHSCOPE_MODEL", min_length=1, description="Model for requests that name none.")


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class DashScope:
    """The service at work. Opens no connection before it is first used."""

    name = "dashscope"
    limits = Limits(concurrent=5, per_second=2)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace | None = None) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))
        self._pace = pace or Pace(first=1, longest=8)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: in the answer, or of a task that is waited for."""
        fitted, call = suited(request, model), call_for(model.id)
        body = await anyio.to_thread.run_sync(to_wire, fitted.request, model)
        reply = await self._net.send("POST", call.path, json=body, headers={"X-DashScope-Async": "enable"} if call.task else None)
        answer = reply.parse(Answer)
        if not call.task:
            return await self._fetch(reply, answer, fitted, context)
        if not answer.output.task_id:
            raise reply.fault(reply.json()) if answer.code else reply.failure(BadReplyError, "DashScope took the work but gave the task no id")
        await context.accepted(answer.output.task_id)
        return await self._finish(answer.output.task_id, fitted, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a task that was submitted earlier. The service forgets it after a day."""
        return await self._finish(task_id, suited(request, model), context)

    async def stop(self, task_id: str, wanted: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the service drops the task, which it does as long as the task is in line; then nothing is billed. Each request has a task of its own."""
        try:
            await self._net.send("POST", f"tasks/{task_id}/cancel", repeatable=True, read_timeout=30)
        except ProviderError as error:
            log.info("The task %s goes on: %s", task_id, error.message)
            return False
        return True

    async def check(self) -> str:
        """Whether the key works, found by asking for the list of tasks."""
        try:
            await self._net.send("GET", "tasks", params={"page_size": "1"}, read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return "DashScope answers but lists no tasks, so whether the key works is not known."
            raise
        return "DashScope accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _finish(self, task_id: str, fitted: Fitted, context: Context) -> Generated:
        looks = count(1)

        async def look() -> tuple[Reply, Answer] | None:
            reply = await self._net.look(f"tasks/{task_id}")
            answer = reply.parse(Answer)
            if answer.has_ended:
                return reply, answer
            seen = next(looks)
            await context.report(guessed(seen), f"DashScope {DOING.get(answer.output.state, 'works on the task')}.")
            return None

        reply, answer = await self._net.poll(look, pace=self._pace)
        return await self._fetch(reply, answer, fitted, context)

    async def _fetch(self, reply: Reply, answer: Answer, fitted: Fitted, context: Context) -> Generated:
        """The pictures behind the links of an answer, which live for a day. One that failed does not lose the others."""
        unpaid = replace(reply, paid=False)  # what fails is not billed, say the terms
        if answer.has_failed:
            raise unpaid.fault(reply.json())
        images: list[Drawn] = []
        failures: list[tuple[int, ProviderError]] = []
        await context.report(0.9, "The pictures are drawn and on their way.")
        for number, result in enumerate(answer.output.pictures, 1):
            try:
                if not result.url:
                    raise unpaid.fault(result.model_dump())
                images.append(Drawn(data=await self._net.download(result.url), seed=seed_of(fitted.request), revised_prompt=result.actual_prompt))
            except ProviderError as error:
                failures.append((number, error))
        if not images:
            raise failures[0][1] if failures else reply.failure(BadReplyError, "DashScope answered without a picture")
        missing = tuple(Adjustment(field="images", message=f"Picture {number} did not come: {error.message}") for number, error in failures)
        return Generated(images=tuple(images), request_id=reply.request_id or answer.request_id, adjustments=(*fitted.adjustments, *missing))


def load(environment: Environment) -> DashScope | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return DashScope(parse(Config, environment)) if "DASHSCOPE_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    workspace = {"X-DashScope-WorkSpace": config.workspace} if config.workspace else {}
    return Service(
        provider="dashscope",
        title="DashScope",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}", **workspace},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="DASHSCOPE_API_KEY",
        url_variable="DASHSCOPE_HTTP_BASE_URL",
    )
