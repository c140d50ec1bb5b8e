"""Black Forest Labs: the FLUX models at their makers. Facts from https://docs.bfl.ai."""

from __future__ import annotations

import json
from itertools import count
from typing import Annotated

import anyio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError
from ...fields import BaseUrl, Key
from ...models import Generated, ImageRequest, Limits, Model
from ...net import Net, Pace, Reply, Service, Timeouts
from ...settings import Environment, parse
from ..base import Context, account_of, guessed, is_at, with_default
from .models import CATALOGUE, DEFAULT_MODEL, MODELS
from .wire import DOING, ENDS, READY, UNKNOWN, Credits, Submitted, Task, from_wire, read_fault, to_wire

__all__ = ["CATALOGUE", "MODELS", "BlackForestLabs", "Config", "load"]

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="BFL_API_KEY", description="Key of the account, from https://dashboard.bfl.ai.")
    base_url: Annotated[BaseUrl, AfterValidator(lambda url: url.removesuffix("/v1"))] = Field(
        "https://api.bfl.ai",
        alias="BFL_BASE_URL",
        description="Address of the service, with or without /v1; https://api.eu.bfl.ai or https://api.us.bfl.ai keeps the work in that region.",
    )
    model: str = Field(DEFAULT_MODEL, alias="BFL_MODEL", pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$", description="Model for requests that name none.")

    @property
    def is_vendor(self) -> bool:
        """The service is Black Forest Labs itself and no gateway before it."""
        return is_at(self.base_url, "bfl.ai")


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=0.5, factor=1.3, longest=3)

_PATIENCE = 6
"""Looks at which a task may still be unknown: the service hears of it in one place before the others."""


class BlackForestLabs:
    """The service at work. Opens no connection before it is first used."""

    name = "bfl"
    limits = Limits(concurrent=24)
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING) -> None:
        self.catalogue = with_default(CATALOGUE, config.model, like=Model(provider="bfl", id="", polled=True))
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._looking = looking
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture: a task is submitted and waited for."""
        body = await anyio.to_thread.run_sync(to_wire, request, model) if request.inputs else to_wire(request, model)
        reply = await self._net.send("POST", f"v1/{model.id}", json=body)
        task_id = reply.parse(Submitted).task_id
        if task_id is None:
            raise reply.failure(BadReplyError, "Black Forest Labs took the work but did not say where to look for it")
        await context.accepted(task_id)
        return await self.resume(task_id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier; its id is the address to look at, with the cost in credits behind a #."""
        address, _, credits_spent = task_id.partition("#")
        looks = count(1)

        async def look() -> tuple[Reply, Task] | None:
            seen = next(looks)
            reply = await self._look(address)
            task = reply.parse(Task)
            if task.status == UNKNOWN and seen <= _PATIENCE:
                return None
            if task.status == READY or task.status in ENDS:
                return reply, task
            drawn = task.progress if task.progress is not None and 0 <= task.progress <= 1 else guessed(seen)
            await context.report(0.9 * drawn, f"Black Forest Labs {DOING.get(task.status, 'works on the task')}.")
            return None

        reply, task = await self._net.poll(look, pace=self._looking.within(request.polling))
        if task.status != READY:
            raise reply.fault(reply.json())
        if task.result is None or not task.result.sample:
            raise reply.failure(BadReplyError, "Black Forest Labs finished the task without a picture")
        await context.report(0.95, "The picture is drawn and on its way.")
        data = await self._net.download(task.result.sample)
        return from_wire(task.result, data, request, model, credits_spent=credits_spent, request_id=reply.request_id or task.id)

    async def check(self) -> str:
        """Whether the key works and what is left of the account's credits, asked without spending any."""
        account = (await self._net.send("GET", "v1/credits", read_timeout=30)).parse(Credits)
        return f"Black Forest Labs accepts the key; {account.credits:g} credits are left."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _look(self, address: str) -> Reply:
        try:
            return await self._net.look(address)
        except ProviderError as error:
            if (task := error.details.get("task")) is not None:
                return Reply(service=self._net.service, body=json.dumps(task).encode())
            raise


def load(environment: Environment) -> BlackForestLabs | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return BlackForestLabs(parse(Config, environment)) if "BFL_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="bfl",
        title="Black Forest Labs",
        base_url=config.base_url,
        headers={"x-key": key},
        secrets=(key,),
        trusted_hosts=("bfl.ai",) if config.is_vendor else (),  # a task is looked at where the cluster that took it says
        read_fault=read_fault,
        key_variable="BFL_API_KEY",
        url_variable="BFL_BASE_URL",
    )
