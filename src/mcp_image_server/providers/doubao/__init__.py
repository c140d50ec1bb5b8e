"""ByteDance's Seedream models, called Doubao (豆包), at Volcengine Ark or at BytePlus. Facts from https://www.volcengine.com/docs/82379/1541523."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError, RequestError
from ...fields import BaseUrl, Key
from ...models import Adjustment, Catalogue, Generated, ImageRequest, Limits, Model
from ...negotiate import negotiate
from ...net import Events, Net, Reply, Service
from ...settings import Environment, parse
from ..base import Context, account_of, is_at
from .models import CATALOGUE, DEFAULT_MODEL, FALLBACK_MODEL, MODELS, catalogue_of, named
from .wire import Entry, ImagesReply, StreamPart, Usage, from_wire, is_out_of_reach, read_fault, to_wire, within_group

__all__ = ["CATALOGUE", "MODELS", "Config", "Doubao", "load"]

_PATH = "/api/v3"
_OVERSEAS_HOST = "bytepluses.com"


# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="DOUBAO_API_KEY", description="Key of the account at Volcengine Ark. It works in one region only.")
    endpoint: BaseUrl = Field(
        "https://ark.cn-beijing.volces.com",
        alias="DOUBAO_ENDPOINT",
        description=f"Address of the service, without {_PATH}; for a key of BytePlus https://ark.ap-southeast.bytepluses.com, or eu-west.",
    )
    model: str = Field(
        DEFAULT_MODEL,
        alias="DOUBAO_MODEL",
        min_length=1,
        description="Model for requests that name none: a model's name, or the id of an inference endpoint (ep-…).",
    )
    fallback_model: str = Field(
        FALLBACK_MODEL,
        alias="DOUBAO_FALLBACK_MODEL",
        min_length=1,
        description="Model that draws when the service says that the account cannot use DOUBAO_MODEL. The same name as DOUBAO_MODEL: none.",
    )
    # Not the service's own choice, which is a mark: nobody gets it out of a picture again, and where a picture comes from stands in its file anyway.
    watermark: bool = Field(
        False,
        alias="DOUBAO_WATERMARK",
        description="Let the service write a visible mark for generated pictures into a corner. Switch it on where a law asks you for one.",
    )

    @property
    def is_overseas(self) -> bool:
        """The service is BytePlus, where the same models have other ids and prices."""
        return is_at(self.endpoint, _OVERSEAS_HOST)


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings."""
    return catalogue_of(config.model, config.fallback_model, overseas=config.is_overseas)


def fallback_for(config: Config, catalogue: Catalogue) -> Model | None:
    """The model that draws where the account cannot use the default one."""
    model = named(config.fallback_model, catalogue.models)
    return model if model.id != catalogue.default_model else None


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_GENERATIONS = "images/generations"


@dataclass(kw_only=True)
class _Album:
    """What has come of one answer so far. One picture's failure does not lose the others."""

    drawn: list[Entry] = field(default_factory=list)
    """All that is billed, also what could not be fetched."""
    pictures: list[bytes] = field(default_factory=list)
    failures: list[tuple[int | None, ProviderError]] = field(default_factory=list)
    """With the picture's number, from 0; None: the whole answer broke off."""
    usage: Usage | None = None


class Doubao:
    """The service at work. Opens no connection before it is first used."""

    name = "doubao"
    limits = Limits(concurrent=8, images_per_minute=500)  # it counts them by model
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = catalogue_for(config)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._fallback = fallback_for(config, self.catalogue)
        self._watermark = config.watermark
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures; of a set, each is shown as soon as it is there. The operator's second model draws where the first cannot be used."""
        try:
            return await self._draw(request, model, context)
        except ProviderError as error:
            second = self._fallback if model.id == self.catalogue.default_model else None
            if second is None or not is_out_of_reach(error):
                raise
            return await self._draw_instead(request, second, context, error)

    async def check(self) -> str:
        """Whether the key works and its account may use the model, found with a request for one pixel, which the service refuses before it draws."""
        model = self.catalogue.default_model
        try:
            await self._ask_for_nothing(model)
        except ProviderError as error:
            if self._fallback is None or not is_out_of_reach(error):
                raise
            await self._ask_for_nothing(self._fallback.id)
            return f"Doubao accepts the key, but not for {model}; {self._fallback.id} draws instead."
        return f"Doubao accepts the key, and the account may use {model}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _ask_for_nothing(self, model: str) -> None:
        try:
            await self._net.send("POST", _GENERATIONS, json={"model": model, "prompt": "nothing", "size": "1x1"}, read_timeout=30)
        except ProviderError as error:
            if not str(error.details.get("service_code")).startswith("InvalidParameter"):
                raise

    async def _draw_instead(self, request: ImageRequest, model: Model, context: Context, reason: ProviderError) -> Generated:
        """The pictures of the second model; when it cannot draw them either, the first one's error."""
        try:
            fitted = negotiate(request, model, styles={})
            generated = await self._draw(fitted.request, model, context)
        except (RequestError, ProviderError) as error:
            if isinstance(error, RequestError) or is_out_of_reach(error):
                raise reason from error
            raise
        words = Adjustment(field="model", message=f"{model.id} drew instead. {reason.message}")
        return replace(generated, model=model.id, adjustments=(words, *fitted.adjustments, *generated.adjustments))

    async def _draw(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        request, adjustments = within_group(request)
        wire = partial(to_wire, request, model, watermark=self._watermark)
        body = await anyio.to_thread.run_sync(wire) if request.images else wire()
        album = _Album()
        if body.get("stream"):
            async with self._net.stream("POST", _GENERATIONS, json=body) as events:
                reply = events.reply
                if events.is_stream:
                    await self._follow(events, album, request, context)
                else:
                    await self._take(reply, album, request, context)
        else:
            reply = await self._net.send("POST", _GENERATIONS, json=body)
            await self._take(reply, album, request, context)
        if not album.pictures:
            raise album.failures[0][1] if album.failures else reply.failure(BadReplyError, "Doubao answered without a picture")
        generated = from_wire(album.drawn, album.pictures, usage=album.usage, model=model, request_id=reply.request_id)
        return replace(generated, adjustments=(*adjustments, *_what_is_missing(album, request.count)))

    async def _take(self, reply: Reply, album: _Album, request: ImageRequest, context: Context) -> None:
        """A whole answer."""
        answer = reply.parse(ImagesReply)
        if answer.error is not None:
            raise reply.fault({"error": answer.error})
        album.usage = answer.usage
        for number, entry in enumerate(answer.data or ()):
            await self._add(number, entry, reply, album, request, context)

    async def _follow(self, events: Events, album: _Album, request: ImageRequest, context: Context) -> None:
        """An answer in events. What has come before it breaks off is kept."""
        completed = False
        try:
            async for event in events:
                if event.data == "[DONE]":
                    continue
                part = events.parse(event, StreamPart)
                if part.type.endswith((".partial_succeeded", ".partial_failed")):
                    number = len(album.drawn) + len(album.failures) if part.image_index is None else part.image_index
                    await self._add(number, part, events.reply, album, request, context)
                elif part.error is not None:
                    raise events.reply.fault({"error": part.error})
                elif part.type.endswith(".completed"):
                    album.usage, completed = part.usage, True
            if not completed:
                raise events.ended_early()
        except ProviderError as error:
            album.failures.append((None, error))

    async def _add(self, number: int, entry: Entry, reply: Reply, album: _Album, request: ImageRequest, context: Context) -> None:
        """One picture, fetched at once: links live for a day."""
        if entry.b64_json or entry.url:
            album.drawn.append(entry)
        try:
            data = await self._bytes(entry, reply)
        except ProviderError as error:
            album.failures.append((number, error))
            return
        album.pictures.append(data)
        if request.count > 1:
            await context.report(len(album.pictures) / request.count, f"{len(album.pictures)} of {request.count} pictures are there.")
            await context.preview(data)

    async def _bytes(self, entry: Entry, reply: Reply) -> bytes:
        if entry.error is not None:
            raise replace(reply, paid=False).fault({"error": entry.error})  # what is drawn is billed, and nothing else
        if entry.b64_json:
            return await reply.decode(entry.b64_json)
        if entry.url:
            return await self._net.download(entry.url)
        raise reply.failure(BadReplyError, "Doubao answered with an entry that holds no picture")


def _what_is_missing(album: _Album, asked: int) -> list[Adjustment]:
    """A word on each picture that was asked for and did not come."""
    words = []
    for number, error in album.failures:
        what = f"{len(album.pictures)} of {asked} pictures came" if number is None else f"Picture {number + 1} did not come"
        words.append(Adjustment(field="images", message=f"{what}: {error.message}"))
    if not words and len(album.pictures) < asked:
        message = f"{len(album.pictures)} of {asked} pictures came: the model decides how many a set has. A prompt that describes each one helps."
        words.append(Adjustment(field="n", message=message))
    return words


def load(environment: Environment) -> Doubao | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Doubao(parse(Config, environment)) if "DOUBAO_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="doubao",
        title="Doubao",
        base_url=config.endpoint.removesuffix(_PATH) + _PATH,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="DOUBAO_API_KEY",
        url_variable="DOUBAO_ENDPOINT",
    )
