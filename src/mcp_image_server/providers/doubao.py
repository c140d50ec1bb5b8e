"""ByteDance's Seedream models, called Doubao (豆包), at Volcengine Ark or at BytePlus. Facts from https://www.volcengine.com/docs/82379/1541523."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from math import ceil, isqrt
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, RequestError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import (
    Adjustment,
    Catalogue,
    Cost,
    Drawn,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Picture,
    Price,
    Size,
    SizeRange,
    Style,
    find_model,
)
from ..negotiate import fits, negotiate
from ..net import Event, Events, Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import OR_NONE, Context, account_of

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
        "doubao-seedream-4.5",
        alias="DOUBAO_MODEL",
        min_length=1,
        description="Model for requests that name none: a model's name, or the id of an inference endpoint (ep-…).",
    )
    fallback_model: str = Field(
        "doubao-seedream-4.0",
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
        host = urlsplit(self.endpoint).hostname or ""
        return host == _OVERSEAS_HOST or host.endswith(f".{_OVERSEAS_HOST}")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_PRICED = date(2026, 10, 1)

LARGE = 2_610_000
"""Pixels above which a picture of the model with two prices costs the higher one."""

GROUP_LIMIT = 15
"""Pictures of a set, input images counted in."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Yuan for one picture (https://www.volcengine.com/docs/82379/1544106). Only pictures that were drawn are billed."""

    picture: float
    large: float | None = None
    """For a picture of more than LARGE pixels, where that differs."""
    input_image: float = 0.0
    """For each input image after the first."""


def _between(lowest: int, highest: int) -> SizeRange:
    """Any size with so many pixels; one edge may be 16 times the other."""
    return SizeRange(min_edge=ceil((lowest / 16) ** 0.5), max_edge=isqrt(highest * 16), min_pixels=lowest, max_pixels=highest, max_ratio=16.0)


_SINGLE = Model(
    provider="doubao",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    sizes=_between(921_600, 4_624_220),
    default_size=Size(width=2048, height=2048),
    formats=("png", "jpeg"),
    max_images=10,
    languages=frozenset({"en", "zh"}),
    writes=frozenset({"latin", "han"}),  # https://arxiv.org/abs/2503.07703, and each version since
    note="Options: background (transparent: needs one input picture with transparency, and png), layer_decomposition.",
)
"""Draws one picture at a time, and refuses any request in which a set is so much as mentioned."""

_IN_GROUPS = replace(_SINGLE, sizes=_between(3_686_400, 16_777_216), max_count=GROUP_LIMIT, max_images=14, note="")
"""Draws sets, and sends each picture of a set as soon as it is drawn."""

_UNKNOWN = replace(_SINGLE, sizes=_between(3_686_400, 4_624_220), formats=(), note="")
"""What each of the models takes: for the id of an inference endpoint, which does not tell the model behind it."""

PRICES: Mapping[str, Prices] = {
    "doubao-seedream-5-0-pro-260628": Prices(picture=0.30, large=0.60, input_image=0.02),
    "doubao-seedream-5-0-260128": Prices(picture=0.22),
    "doubao-seedream-4-5-251128": Prices(picture=0.25),
    "doubao-seedream-4-0-250828": Prices(picture=0.20),
}


def _model(like: Model, name: str, title: str, *aliases: str, **facts: Any) -> Model:
    prices = PRICES.get(name)
    price = Price(amount=prices.large or prices.picture, currency="CNY", as_of=_PRICED) if prices else None
    return replace(like, id=name, title=title, aliases=aliases, price=price, **facts)


MODELS = (
    _model(_SINGLE, "doubao-seedream-5-0-pro-260628", "Seedream 5.0 Pro", "doubao-seedream-5.0-pro", "doubao-seedream-5-0-pro"),
    _model(_SINGLE, "doubao-seedream-5-0-flash-260915", "Seedream 5.0 Flash", "doubao-seedream-5.0-flash", "doubao-seedream-5-0-flash"),
    _model(
        _IN_GROUPS,
        "doubao-seedream-5-0-260128",
        "Seedream 5.0 Lite",
        "doubao-seedream-5-0-lite-260128",
        "doubao-seedream-5.0-lite",
        "doubao-seedream-5-0-lite",
        "doubao-seedream-5.0",
        "doubao-seedream-5-0",
        note="The service said in October 2026 that it will close this model; the day is not known. Options: tools ([{type: web_search}]).",
    ),
    _model(
        _IN_GROUPS,
        "doubao-seedream-4-5-251128",
        "Seedream 4.5",
        "doubao-seedream-4.5",
        "doubao-seedream-4-5",
        "doubao-seedream-3-0-t2i-250415",  # both 3.0 models were switched off on 13 May 2026
        "doubao-seedream-3.0-t2i",
        "doubao-seededit-3-0-i2i-250628",
        "doubao-seededit-3.0-i2i",
        formats=(),
    ),
    _model(
        _IN_GROUPS,
        "doubao-seedream-4-0-250828",
        "Seedream 4.0",
        "doubao-seedream-4.0",
        "doubao-seedream-4-0",
        sizes=_between(921_600, 16_777_216),
        formats=(),
        note="The service is withdrawing this model; the day is not known.",
    ),
)

OVERSEAS_IDS: Mapping[str, str] = {
    "doubao-seedream-5-0-pro-260628": "dola-seedream-5-0-pro-260628",
    "doubao-seedream-5-0-flash-260915": "dola-seedream-5-0-flash-260915",
    "doubao-seedream-5-0-260128": "seedream-5-0-260128",
    "doubao-seedream-4-5-251128": "seedream-4-5-251128",
    "doubao-seedream-4-0-250828": "seedream-4-0-250828",
}
"""The same models at BytePlus (https://docs.byteplus.com/en/docs/ModelArk/1541523)."""

_STYLES = {
    "general": "通用风格",
    "anime": "动漫风格 anime style",
    "realistic": "写实风格 realistic photographic",
    "oil_painting": "油画风格 oil painting",
    "watercolor": "水彩风格 watercolor painting",
    "sketch": "素描风格 pencil sketch",
    "cartoon": "卡通风格 cartoon illustration",
    "chinese_painting": "国画风格 traditional Chinese painting",
    "pixel_art": "像素艺术 pixel art",
    "cyberpunk": "赛博朋克 cyberpunk style",
    "fantasy": "奇幻风格 fantasy art",
    "sci_fi": "科幻风格 sci-fi concept art",
}

_RESOLUTIONS = {
    (2048, 2048): "2K 正方形，推荐",
    (2560, 1440): "2K 16:9 横向",
    (1440, 2560): "2K 9:16 竖向",
    (2304, 1728): "2K 4:3 横向",
    (1728, 2304): "2K 3:4 竖向",
    (2496, 1664): "2K 3:2 横向",
    (1664, 2496): "2K 2:3 竖向",
    (3024, 1296): "2K 21:9 横向",
    (1296, 3024): "2K 9:21 竖向",
    (1024, 1024): "1:1 大正方形",
}
"""Those that neither the default model nor the one in its place draws are not shown."""


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings."""
    models = tuple(map(_overseas, MODELS)) if config.is_overseas else MODELS
    default = _named(config.model, models)
    if default not in models:
        models = (default, *models)
    drawing = (default, _named(config.fallback_model, models))
    sizes = {Size(width=width, height=height): label for (width, height), label in _RESOLUTIONS.items()}
    return Catalogue(
        provider="doubao",
        title="Doubao Seedream",
        models=models,
        default_model=default.id,
        styles={key: Style(key=key, label=label) for key, label in _STYLES.items()},
        resolutions={str(size): f"{size} ({label})" for size, label in sizes.items() if all(fits(size, model.sizes) for model in drawing)},
        variables=("DOUBAO_API_KEY",),
        unknown=_UNKNOWN,
    )


def fallback_for(config: Config, catalogue: Catalogue) -> Model | None:
    """The model that draws where the account cannot use the default one."""
    model = _named(config.fallback_model, catalogue.models)
    return model if model.id != catalogue.default_model else None


def _named(name: str, models: Sequence[Model]) -> Model:
    return find_model(models, name.strip()) or replace(_UNKNOWN, id=name.strip())


def _overseas(model: Model) -> Model:
    """The model as BytePlus names it; its prices there are others."""
    return replace(model, id=OVERSEAS_IDS[model.id], aliases=(model.id, *model.aliases), price=None)


CATALOGUE = catalogue_for(Config.model_validate({"DOUBAO_API_KEY": "none"}))


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
                part = _part(event, events.reply)
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
            raise reply.fault({"error": entry.error})
        if entry.b64_json:
            return await reply.decode(entry.b64_json)
        if entry.url:
            return await self._net.download(entry.url)
        raise reply.failure(BadReplyError, "Doubao answered with an entry that holds no picture")


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


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Usage(BaseModel):
    """What was used up."""

    input_images: int = 0


class Entry(BaseModel):
    """One picture, inline or behind a link, or the reason why there is none."""

    url: str | None = None
    b64_json: str | None = None
    size: str = ""
    error: Any = None


class ImagesReply(BaseModel):
    """A whole answer."""

    usage: Annotated[Usage | None, OR_NONE] = None
    data: list[Entry] | None = None
    error: Any = None


class StreamPart(Entry):
    """The data of one event of a stream. "Partial" in its type means one whole picture of a set."""

    usage: Annotated[Usage | None, OR_NONE] = None
    type: str = ""
    image_index: int | None = None


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def within_group(request: ImageRequest) -> tuple[ImageRequest, tuple[Adjustment, ...]]:
    """The request with no larger a set than its input images leave room for; and the word that the number is put where the model looks for it."""
    most = max(1, GROUP_LIMIT - len(request.images))
    words = []
    if request.count > most:
        message = f"With {len(request.images)} input image(s) a set has room for {most} new one(s): {GROUP_LIMIT} in all."
        words.append(Adjustment(field="n", message=message))
        request = replace(request, count=most)
    if request.count > 1:
        words.append(Adjustment(field="prompt", message="The model reads the number of pictures from the prompt, so it was written there."))
    return request, tuple(words)


def to_wire(request: ImageRequest, model: Model, *, watermark: bool) -> dict[str, Any]:
    """The body of a generation. A key that is not needed is not there, since some models refuse a key for being there.

    A single picture comes inline; the pictures of a set come as links, the one form that every source knows for sets.
    """
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "image": _inputs(request.images),
        "size": str(request.shape) if request.shape else None,
        "output_format": request.output_format,
        "response_format": "b64_json",
        "watermark": watermark,
    }
    if request.count > 1:
        body |= {
            "prompt": f"{request.prompt}\n{_number_words(request)}",
            "response_format": "url",
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": request.count},
            "stream": True,
        }
    return {**{name: value for name, value in body.items() if value is not None}, **request.options}


def _inputs(images: Sequence[Picture]) -> str | list[str] | None:
    links = [f"data:{image.media_type.lower()};base64,{base64.b64encode(image.data).decode('ascii')}" for image in images]
    return links[0] if len(links) == 1 else links or None


def _number_words(request: ImageRequest) -> str:
    """In the prompt's language. The number in `max_images` is only the most that may come; the model takes its own from the prompt."""
    is_chinese = re.search(r"[\u4e00-\u9fff]", request.prompt) is not None
    return f"生成一组共{request.count}张图片。" if is_chinese else f"Generate a set of {request.count} pictures."


def from_wire(drawn: Sequence[Entry], pictures: Sequence[bytes], *, usage: Usage | None, model: Model, request_id: str | None) -> Generated:
    """The answer in our words. `drawn` are the entries that are billed, `pictures` the bytes that came of them."""
    return Generated(images=tuple(Drawn(data=data) for data in pictures), cost=cost(drawn, usage, model), request_id=request_id)


def cost(drawn: Sequence[Entry], usage: Usage | None, model: Model) -> Cost | None:
    """What the pictures cost at Volcengine Ark: by number, for one model by size too; unknown for a model whose price is."""
    prices = PRICES.get(model.id)
    if prices is None:
        return None
    usual = model.default_size.pixels if model.default_size else 0
    yuan = sum(prices.large if prices.large and _pixels(entry.size, usual) > LARGE else prices.picture for entry in drawn)
    yuan += prices.input_image * max(0, usage.input_images - 1 if usage else 0)
    return Cost(micros=round(yuan * 1_000_000), currency="CNY", source="computed" if usage else "list_price")


def _pixels(size: str, unknown: int) -> int:
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    return int(match[1]) * int(match[2]) if match else unknown


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


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    ("OperationDenied.ServiceOverdue", QuotaError),
    ("AccountOverdueError", QuotaError),
    ("SetLimitExceeded", QuotaError),
    ("QuotaExceeded", QuotaError),
    ("AuthenticationError", AuthError),
    ("InvalidAccountStatus", AuthError),
    ("InvalidSubscription", AuthError),
    ("AccessDenied", AuthError),
    ("OperationDenied", AuthError),
    ("ModelNotOpen", AuthError),
    ("InvalidEndpointOrModel.ModelIDAccessDisabled", AuthError),
    ("RateLimitExceeded", RateLimitedError),
    ("ModelAccount", RateLimitedError),  # ModelAccountIpmRateLimitExceeded and its kin
    ("APIAccount", RateLimitedError),
    ("AccountRateLimitExceeded", RateLimitedError),
    ("RequestBurstTooFast", RateLimitedError),
    ("InflightBatchsizeExceeded", RateLimitedError),
    ("ServerOverloaded", RateLimitedError),
    ("InternalServiceError", UnavailableError),
)
"""How a code begins, to its class: money hides under 403 and 429 alike, and in a stream there is no status. The first that fits counts."""

_REFUSALS = ("SensitiveContentDetected", "RiskDetection")
"""What the code of a refusal holds; before it stands what was looked at, behind it may stand why."""

_OUT_OF_REACH = ("ModelNotOpen", "UnsupportedModel", "InvalidEndpoint", "OperationDenied.ServiceNotOpen")
"""How the codes begin which say that there is no such model or endpoint for this account. Nothing can have been drawn, so nothing is billed."""


def is_out_of_reach(error: ProviderError) -> bool:
    """Whether the service surely said that the account cannot use the model."""
    return str(error.details.get("service_code")).startswith(_OUT_OF_REACH)


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://www.volcengine.com/docs/82379/1299023)."""
    error = body.get("error") if isinstance(body, dict) else None
    message = words_in(error) or words_in(body)
    if not isinstance(error, dict):
        return Fault(message=message) if message else None
    code = error["code"] if isinstance(error.get("code"), str) else ""
    kind = RefusedError if any(word in code for word in _REFUSALS) else next((kind for start, kind in _KINDS if code.startswith(start)), None)
    parameter = error.get("param") if isinstance(error.get("param"), str) else ""
    advice = ""
    if code.startswith(_OUT_OF_REACH):
        advice = "Activate the model in the service's console, or name another one: DOUBAO_MODEL is the one for requests that name none."
    elif code == "AuthenticationError":
        advice = "A key works only in the region where it was made, and DOUBAO_ENDPOINT has to be that region's address."
    message = message or code or "no reason given"
    if advice:
        message = f"{message.rstrip('.')}. {advice}"
    return Fault(message=message, kind=kind, details={k: v for k, v in {"service_code": code, "parameter": parameter}.items() if v})


def _part(event: Event, reply: Reply) -> StreamPart:
    return StreamPart() if event.data == "[DONE]" else replace(reply, body=event.data.encode()).parse(StreamPart)
