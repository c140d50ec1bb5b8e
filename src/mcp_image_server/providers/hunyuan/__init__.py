"""Tencent's Hunyuan image models: the signed actions of Tencent Cloud, and TokenHub with a key of its own.

Facts about the calls from https://cloud.tencent.com/document/api/1729/101848, https://cloud.tencent.com/document/api/1668/88063 and
https://cloud.tencent.com/document/product/1823/135745.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ...errors import BadReplyError, ConfigError, ProviderError, RateLimitedError
from ...fields import BaseUrl, Key
from ...models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, find_model
from ...net import Net, Pace, Reply, Service, Tries
from ...settings import Environment, parse
from ..base import Context, account_of, guessed
from .models import CATALOGUE, TOKENHUB, WAYS, Way
from .sign import sign
from .tokenhub import ModelList, TokenHubAnswer, read_tokenhub_fault
from .wire import ADVICE, DONE, FAILED, WAITING, Answer, Envelope, failure, fault_for, fit, from_wire, read_fault, seed_of, to_wire

__all__ = ["CATALOGUE", "Config", "Hunyuan", "load"]


# Config -------------------------------------------------------------------------------------------------------------------------------------


def _with_scheme(value: object) -> object:
    """Tencent's own settings name a host alone."""
    return f"https://{value}" if isinstance(value, str) and "://" not in value else value


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    secret_id: Key | None = Field(None, alias="TENCENT_SECRET_ID", description="Id of the account's key; needed with TENCENT_SECRET_KEY.")
    secret_key: Key | None = Field(None, alias="TENCENT_SECRET_KEY", description="The account's key, which signs each call.")
    endpoint: Annotated[BaseUrl, BeforeValidator(_with_scheme)] = Field(
        "https://{service}.tencentcloudapi.com",
        alias="TENCENT_ENDPOINT",
        description="Address of the signed actions; {service} stands for hunyuan or aiart. A port and http:// are allowed.",
    )
    region: str = Field("ap-guangzhou", alias="TENCENT_REGION", pattern=r"^[a-z0-9-]+$", description="Region that draws.")
    model: str | None = Field(None, alias="TENCENT_MODEL", description="Model for requests that name none. Unset: the first whose key is set.")
    concurrency: int = Field(
        1, alias="TENCENT_CONCURRENCY", ge=1, description="Jobs the account may have under way at once; Tencent gives 1 and sells more."
    )
    tokenhub_api_key: Key | None = Field(None, alias="TENCENT_TOKENHUB_API_KEY", description="Key for the models at TokenHub.")
    tokenhub_endpoint: Annotated[BaseUrl, BeforeValidator(_with_scheme)] = Field(
        "https://tokenhub.tencentmaas.com",
        alias="TENCENT_TOKENHUB_ENDPOINT",
        description="Address of TokenHub; keys from outside China belong to https://tokenhub-intl.tencentcloudmaas.com.",
    )

    @property
    def account_secret(self) -> str:
        """What tells this account from others."""
        key = self.secret_id if self.secret_id is not None else self.tokenhub_api_key
        return key.get_secret_value() if key is not None else ""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways whose keys are set."""
        signed = self.secret_id is not None and self.secret_key is not None
        return tuple(way for way in WAYS if (self.tokenhub_api_key is not None if way.service == TOKENHUB else signed))


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings.

    Raises:
        ConfigError: TENCENT_MODEL is none of that.
    """
    models = tuple(way.model for way in config.ways)
    chosen = find_model(models, config.model) if config.model is not None else models[0]
    if chosen is None:
        names = ", ".join(model.id for model in models)
        elsewhere = find_model(CATALOGUE.models, config.model or "")
        reason = "needs a key that is not set" if elsewhere else "is not known"
        raise ConfigError(f"TENCENT_MODEL: {config.model!r} {reason}. With the keys that are set there are: {names}.")
    return replace(CATALOGUE, models=models, default_model=chosen.id)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=1, factor=1.5, longest=5)
_QUEUEING = Pace(first=1, factor=1.5, longest=5, deadline=60)
_NO_TASK = "0"
"""Looking at a task that cannot be tells whether the key is taken, and costs nothing."""


class Hunyuan:
    """The service at work. Opens no connection before it is first used.

    Args:
        looking: how often to look at a task, where the request does not say.
        queueing: how often to ask for a place while all of the account's are taken, perhaps by other programs.
    """

    name = "hunyuan"
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING, queueing: Pace = _QUEUEING, tries: Tries | None = None) -> None:
        self.catalogue = catalogue_for(config)
        self.account = account_of(self.name, config.account_secret)
        self.limits = Limits(concurrent=config.concurrency)
        self._ways = {way.model.id: way for way in config.ways}
        self._nets = {name: Net(service(config, name), tries=tries) for name in {way.service for way in config.ways}}
        self._looking = looking
        self._queueing = queueing

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures. A task is waited for; so is a place in line, where the account has none free."""
        way = self._way(model)
        fitted, adjustments = fit(request, way)
        body = await anyio.to_thread.run_sync(to_wire, fitted, way) if fitted.images else to_wire(fitted, way)
        if way.service == TOKENHUB:
            made = await self._draw_at_tokenhub(way, body)
        else:
            reply, answer = await self._submit(way, body, context)
            if not way.query:
                made = await self._collect(way, body, reply, answer)
            elif answer.job_id:
                await context.accepted(answer.job_id)
                made = await self._wait(way, body, answer.job_id, context, request.polling)
            else:
                raise reply.failure(BadReplyError, f"{self._title(way)} took the job but gave it no id", request_id=answer.request_id)
        return replace(made, adjustments=adjustments + made.adjustments)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a task that was submitted earlier."""
        way = self._way(model)
        fitted, adjustments = fit(request, way)
        sent = to_wire(replace(fitted, images=()), way)  # the pictures are there already, and need not be here any more
        made = await self._wait(way, sent, task_id, context, request.polling)
        return replace(made, adjustments=adjustments + made.adjustments)

    async def check(self) -> str:
        """Whether the key of the default model is taken, asked without paying."""
        model = self.catalogue.default_model
        way = self._ways[model]
        if way.service == TOKENHUB:
            return await self._check_tokenhub(model)
        look = next(other for other in WAYS if other.service == way.service and other.query)
        try:
            await self._act(look, look.query, {"JobId": _NO_TASK}, looking=True)
        except ProviderError as error:
            code = error.details.get("service_code")
            if type(error) is not ProviderError or code is None or code in ADVICE:
                raise  # anything else is a complaint about the task, so the key was taken
        return f"{self._title(way)} accepts the key; {model} draws with {way.action}."

    async def aclose(self) -> None:
        """Close the connections."""
        for net in self._nets.values():
            await net.aclose()

    def _way(self, model: Model) -> Way:
        if model.id not in self._ways:
            raise ConfigError(f"{model.id} cannot be used with the keys that are set. With these there are: {', '.join(self._ways)}.")
        return self._ways[model.id]

    def _title(self, way: Way) -> str:
        return self._nets[way.service].service.title

    async def _act(self, way: Way, action: str, body: Mapping[str, Any], *, looking: bool = False) -> tuple[Reply, Answer]:
        """The answer of a signed action. It comes with status 200 even when it tells of a failure. To look at a task is free and may be repeated."""
        headers = {"X-TC-Action": action, "X-TC-Version": way.version}
        reply = await self._nets[way.service].send("POST", "", json=body, headers=headers, repeatable=looking)
        answer = reply.parse(Envelope).response
        if answer.error is not None:
            fault = fault_for(answer.error.code, answer.error.message, way.service)
            raise failure(reply, fault, request_id=answer.request_id, accepted=looking)
        return reply, answer

    async def _submit(self, way: Way, body: Mapping[str, Any], context: Context) -> tuple[Reply, Answer]:
        """The answer of the service that has taken the work."""
        pause, ends = self._queueing.first, anyio.current_time() + self._queueing.deadline
        while True:
            try:
                return await self._act(way, way.action, body)
            except RateLimitedError as error:
                if error.status == 429 or anyio.current_time() + pause > ends:  # 429 speaks of calls, not of places for jobs
                    raise
            await context.report(0, "The account's places are taken; waiting for one.")
            await anyio.sleep(pause)
            pause = min(pause * self._queueing.factor, self._queueing.longest)

    async def _wait(self, way: Way, body: Mapping[str, Any], task_id: str, context: Context, polling: Mapping[str, float]) -> Generated:
        looks = count(1)

        async def look() -> tuple[Reply, Answer] | None:
            reply, answer = await self._act(way, way.query, {"JobId": task_id}, looking=True)
            if answer.job_status_code in (FAILED, DONE):
                return reply, answer
            words = "The service has the job in line." if answer.job_status_code == WAITING else "The service is drawing."
            await context.report(guessed(next(looks)), words)
            return None

        reply, answer = await self._nets[way.service].poll(look, pace=self._looking.within(polling))
        if answer.job_status_code == FAILED:
            fault = fault_for(answer.job_error_code or "", answer.job_error_msg or answer.job_status_msg or "", way.service)
            raise failure(reply, fault, request_id=answer.request_id, accepted=True)
        return await self._collect(way, body, reply, answer)

    async def _collect(self, way: Way, body: Mapping[str, Any], reply: Reply, answer: Answer) -> Generated:
        """The pictures of an answer that has them, inside or behind links."""
        if not answer.results:
            if answer.complaints:
                raise failure(reply, fault_for(answer.complaints[0], "", way.service), request_id=answer.request_id, accepted=True)
            words = f"{self._title(way)} answered without a picture"
            raise reply.failure(BadReplyError, words, request_id=answer.request_id, may_have_been_billed=True)
        net = self._nets[way.service]
        pictures = await net.all_of(net.download(text) if "://" in text[:10] else reply.decode(text) for text, _ in answer.results)
        return from_wire(answer, pictures, body)

    async def _draw_at_tokenhub(self, way: Way, body: Mapping[str, Any]) -> Generated:
        net = self._nets[way.service]
        reply = await net.send("POST", way.action, json=body)
        answer = reply.parse(TokenHubAnswer)
        fault = read_tokenhub_fault(reply.status, {"error": answer.error})
        if fault is not None:
            words = f"{net.service.title} failed: {fault.message}"
            raise reply.failure(fault.kind or ProviderError, words, request_id=answer.error_id, details=fault.details)
        if not answer.entries:
            raise reply.failure(BadReplyError, f"{net.service.title} answered without a picture", request_id=answer.request_id)
        seed = seed_of(body)
        pictures = await net.download_all(entry.url for entry in answer.entries)
        images = (Drawn(data=data, seed=seed, revised_prompt=entry.revised_prompt) for data, entry in zip(pictures, answer.entries, strict=True))
        return Generated(images=tuple(images), request_id=answer.request_id)

    async def _check_tokenhub(self, model: str) -> str:
        net = self._nets[TOKENHUB]
        try:
            reply = await net.send("GET", "v1/models", read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return f"{net.service.title} answers but lists no models, so whether it has {model} is not known."
            raise
        listed = {entry.id for entry in reply.parse(ModelList).data}
        return f"{net.service.title} accepts the key, and the model {model} is {'listed' if model in listed else 'not listed'}."


def load(environment: Environment) -> Hunyuan | None:
    """The provider, when the two parts of the account's key or a key for TokenHub are set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not ({"TENCENT_SECRET_ID", "TENCENT_SECRET_KEY"} <= environment.keys() or "TENCENT_TOKENHUB_API_KEY" in environment):
        return None
    return Hunyuan(parse(Config, environment))


def service(config: Config, name: str) -> Service:
    """How to reach that service with these settings."""
    if name == TOKENHUB:
        key = _shown(config.tokenhub_api_key)
        return Service(
            provider="hunyuan",
            title="Tencent TokenHub",
            base_url=config.tokenhub_endpoint,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            read_fault=read_tokenhub_fault,
            key_variable="TENCENT_TOKENHUB_API_KEY",
            url_variable="TENCENT_TOKENHUB_ENDPOINT",
        )
    secret_id, secret_key = _shown(config.secret_id), _shown(config.secret_key)

    def signed(method: str, url: str, body: bytes) -> Mapping[str, str]:
        host = urlsplit(url).netloc.rpartition("@")[2]
        return sign(secret_id=secret_id, secret_key=secret_key, service=name, host=host, body=body, timestamp=int(time.time()))

    return Service(
        provider="hunyuan",
        title="Tencent Hunyuan",
        base_url=config.endpoint.replace("{service}", name),
        headers={"X-TC-Region": config.region, "X-TC-Language": "en-US"},
        secrets=(secret_id, secret_key),
        sign=signed,
        read_fault=read_fault,
        key_variable="TENCENT_SECRET_ID and TENCENT_SECRET_KEY",
        url_variable="TENCENT_ENDPOINT",
    )


def _shown(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""
