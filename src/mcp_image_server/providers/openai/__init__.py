"""OpenAI's image models, and any server that speaks the same interface. Facts from https://platform.openai.com/docs/api-reference/images."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError
from ...fields import BaseUrl, HeaderValue, Key
from ...models import Adjustment, Catalogue, Generated, ImageRequest, Limits, Model, find_model
from ...net import Events, Net, Pace, Reply, Service
from ...settings import LOCALHOST, Environment, parse
from ..base import Context, account_of, is_at, that_draw
from ..economy import PACE, Economy, halved
from .batches import BatchDesk, reply_in
from .models import ANY, CATALOGUE, DEFAULT_MODEL, MODELS, TOKEN_PRICES, TokenPrices
from .wire import EDITS, GENERATIONS, Answered, ImagesReply, ModelList, StreamPart, from_wire, read_fault, to_parts, to_wire, with_png_mask

__all__ = ["CATALOGUE", "MODELS", "Compatible", "Config", "OpenAI", "load"]

VENDOR_HOST = "api.openai.com"


# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service, under the names that OpenAI's own libraries use."""

    model_config = ConfigDict(frozen=True)

    api_key: Key | None = Field(None, alias="OPENAI_API_KEY", description="Key of the account. Not needed for a server on this machine.")
    base_url: BaseUrl = Field(
        f"https://{VENDOR_HOST}/v1",
        alias="OPENAI_BASE_URL",
        description="Address of the interface, used as written; set it for a compatible server, for example http://localhost:8080/v1.",
    )
    model: str = Field(DEFAULT_MODEL, alias="OPENAI_MODEL", min_length=1, description="Model for requests that name none.")
    organization: HeaderValue | None = Field(None, alias="OPENAI_ORGANIZATION", description="Organization to bill, for keys that belong to several.")
    project: HeaderValue | None = Field(None, alias="OPENAI_PROJECT", description="Project to bill, for keys that belong to several.")
    partial_images: int = Field(
        0,
        alias="OPENAI_PARTIAL_IMAGES",
        ge=0,
        le=3,
        description="Previews while a single picture is drawn; OpenAI bills about 100 output tokens for each.",
    )

    @property
    def is_vendor(self) -> bool:
        """The service is OpenAI itself, so its models, prices and limits are the ones we know."""
        return is_at(self.base_url, VENDOR_HOST)


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings.

    A compatible server gives ids its own meaning and has its own prices: there, no old name stands for a new one, and no price is known.
    """
    models = MODELS if config.is_vendor else tuple(replace(model, aliases=(), price=None, economy=False) for model in MODELS)
    default = find_model(models, config.model)
    if default is None:
        default = replace(ANY, id=config.model)
        models = (default, *models)
    return replace(CATALOGUE, models=models, default_model=default.id)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_DROPPABLE = ("quality", "background", "moderation", "output_format", "output_compression", "partial_images", "stream")
"""Parameters without which a picture is still the picture asked for; a compatible server, or the editing, may not know them."""


class Compatible:
    """A service that speaks OpenAI's image interface. Opens no connection before it is first used.

    Args:
        previews: how many to ask for while a single picture is drawn.
        prices: what tokens cost, by model; a model that is not among them has a bill of unknown height.
    """

    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, *, service: Service, catalogue: Catalogue, account: str, previews: int, prices: Mapping[str, TokenPrices]) -> None:
        self.name = service.provider
        self.catalogue = catalogue
        self.account = account
        self._net = Net(service)
        self._previews = previews
        self._prices = prices
        self._unknown: set[tuple[str, str]] = set()
        """Parameters that this server has refused, and where."""

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures; one at a time they come with previews, where the operator pays for these."""
        request = await with_png_mask(request)
        work = EDITS if request.images else GENERATIONS
        # The events of several pictures do not say which one they belong to.
        body = to_wire(request, model, partial_images=self._previews if request.count == 1 else 0)
        while True:
            sent = {name: value for name, value in body.items() if (work, name) not in self._unknown or name in request.options}
            try:
                generated = await self._draw(work, sent, request, model, context)
            except ProviderError as error:
                name = error.details.get("parameter")
                if error.details.get("service_code") != "unknown_parameter" or name not in _DROPPABLE or name not in sent or name in request.options:
                    raise
                self._unknown.add((work, name))
                continue
            dropped = [name for name in body if name not in sent and name not in ("stream", "partial_images")]
            words = f"{self._net.service.title} does not know this parameter, so it was left out"
            return replace(generated, adjustments=tuple(Adjustment(field=name, message=words) for name in dropped))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    def _place(self, work: str, model: Model) -> tuple[str, Mapping[str, str] | None]:
        """Path and query to which the work is sent."""
        return work, None

    async def _draw(self, work: str, body: Mapping[str, Any], request: ImageRequest, model: Model, context: Context) -> Generated:
        path, params = self._place(work, model)
        content: dict[str, Any] = {"parts": to_parts(body, request)} if request.images else {"json": body}
        if body.get("stream"):
            async with self._net.stream("POST", path, params=params, **content) as events:
                reply = events.reply
                answer = await self._watch(events, context) if events.is_stream else reply.parse(ImagesReply)
        else:
            reply = await self._net.send("POST", path, params=params, **content)
            answer = reply.parse(ImagesReply)
        return await self._read(answer, reply, model)

    async def _watch(self, events: Events, context: Context) -> ImagesReply:
        """The answer put together from the events that finish a picture."""
        finished, usage, previews = [], None, 0
        async for event in events:
            if event.data == "[DONE]":
                continue
            part = events.parse(event, StreamPart)
            if part.error is not None or part.type == "error":
                raise events.reply.fault(json.loads(event.data))
            if part.type.endswith(".partial_image") and part.b64_json:
                previews += 1
                await context.report(previews / (previews + 1), "The picture takes shape.")
                with suppress(BadReplyError):  # a preview is an ornament; its loss does not end the work
                    await context.preview(await events.reply.decode(part.b64_json))
            elif part.type.endswith(".completed"):
                finished.append(Answered(b64_json=part.b64_json, url=part.url))
                usage = part.usage or usage
        if not finished:
            raise events.ended_early()
        return ImagesReply(data=finished, usage=usage)

    async def _read(self, answer: ImagesReply, reply: Reply, model: Model) -> Generated:
        """The answer in our words, its pictures fetched where they lie behind links."""
        pictures = await self._net.all_of(self._picture(picture, reply) for picture in answer.data or ())
        if not pictures:
            raise reply.failure(BadReplyError, f"{self._net.service.title} answered without a picture")
        return from_wire(answer, pictures, prices=self._prices.get(model.id), request_id=reply.request_id)

    async def _picture(self, picture: Answered, reply: Reply) -> bytes:
        if picture.b64_json:
            return await reply.decode(picture.b64_json)
        if picture.url:
            return await self._net.download(picture.url)
        raise reply.failure(BadReplyError, f"{self._net.service.title} answered with an entry that holds no picture")


class OpenAI(Compatible):
    """OpenAI, or the compatible server at the base URL.

    Args:
        pace: how often a batch is looked at, for requests that may take a day.
        quiet: seconds for which such requests are gathered.
    """

    def __init__(self, config: Config, *, pace: Pace = PACE, quiet: float = 2.0) -> None:
        super().__init__(
            service=service(config),
            catalogue=catalogue_for(config),
            account=account_of("openai", config.api_key.get_secret_value() if config.api_key else ""),
            previews=config.partial_images,
            prices=TOKEN_PRICES if config.is_vendor else {},
        )
        self._config = config
        self._economy = Economy(BatchDesk(net=self._net), self._net.service, pace=pace, quiet=quiet)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures; those that may take a day go into a batch, for half the price."""
        if not request.economy:
            return await super().generate(request, model, context)
        return await self._from_line(await self._economy.draw(model.id, to_wire(request, model), context), model)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a request that went into a batch earlier."""
        return await self._from_line(await self._economy.collect(task_id, context), model)

    async def stop(self, task_id: str, wanted: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the batch that a request went into ends now, since nobody wants anything out of it any more."""
        return await self._economy.stop(task_id, wanted)

    async def _from_line(self, data: bytes, model: Model) -> Generated:
        """The pictures in an answer out of a batch."""
        reply = await anyio.to_thread.run_sync(reply_in, data, self._net.service)
        answer = await anyio.to_thread.run_sync(reply.parse, ImagesReply)
        return halved(await self._read(answer, reply, model))

    async def aclose(self) -> None:
        """Close the connections."""
        self._economy.close()
        await super().aclose()

    async def check(self) -> str:
        """Whether the key works and the model is listed, asked without paying."""
        service, model = self._net.service, self.catalogue.default_model
        try:
            reply = await self._net.send("GET", "models", read_timeout=30)
        except ProviderError as error:
            if error.status == 404 and not self._config.is_vendor:
                return f"{service.title} answers but lists no models, so whether it has {model} is not known."
            raise
        listed = {entry.id for entry in reply.parse(ModelList).data}
        works = "accepts the key" if self._config.api_key else "answers"
        return f"{service.title} {works}, and the model {model} is {'listed' if model in listed else 'not listed'}."

    async def listed(self) -> tuple[str, ...]:
        """The models that the key may use and that draw, judged by their names: the list has those of all kinds."""
        reply = await self._net.send("GET", "models", read_timeout=30)
        return that_draw((entry.id for entry in reply.parse(ModelList).data), self.catalogue)


def load(environment: Environment) -> OpenAI | None:
    """The provider, when a key is set or the base URL is a server on this machine.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not {"OPENAI_API_KEY", "OPENAI_BASE_URL"} & environment.keys():
        return None
    config = parse(Config, environment)
    if config.api_key is None and urlsplit(config.base_url).hostname not in LOCALHOST:
        return None
    return OpenAI(config)


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value() if config.api_key else ""
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Organization": config.organization, "OpenAI-Project": config.project}
    return Service(
        provider="openai",
        title="OpenAI" if config.is_vendor else "The OpenAI-compatible service",
        base_url=config.base_url,
        headers={name: value for name, value in headers.items() if value and value != "Bearer "},
        secrets=(key,) if key else (),
        read_fault=read_fault,
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
    )
