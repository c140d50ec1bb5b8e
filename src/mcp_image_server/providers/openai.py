"""OpenAI's image models, and any server that speaks the same interface. Facts from https://platform.openai.com/docs/api-reference/images."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ..fields import BaseUrl, HeaderValue, Key
from ..models import (
    MAX_PROMPT_CHARS,
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
    SizeList,
    SizeRange,
    Style,
    find_model,
)
from ..net import Events, Fault, File, Net, Pace, Reply, Service, words_in
from ..settings import LOCALHOST, Environment, parse
from .base import OR_NONE, Context, account_of, that_draw
from .economy import PACE, Economy, Letter, Look, halved

VENDOR_HOST = "api.openai.com"
DEFAULT_MODEL = "gpt-image-2.5-sunburst"


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
        host = urlsplit(self.base_url).hostname or ""
        return host == VENDOR_HOST or host.endswith(f".{VENDOR_HOST}")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_PRICED = date(2026, 11, 21)
_CLASSIC_ENDS = date(2026, 12, 1)


@dataclass(frozen=True, kw_only=True)
class TokenPrices:
    """US dollars for a million tokens, which is millionths of a dollar for one (https://openai.com/api/pricing)."""

    text_in: float
    image_in: float
    image_out: float
    text_out: float


ANY = Model(
    provider="openai",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT}),
    max_images=16,
    mask=True,
)
"""What the interface offers, and so what may be tried with a model that nobody knows."""

_FLEXIBLE = replace(
    ANY,
    sizes=SizeRange(min_edge=16, max_edge=3840, min_pixels=655_360, max_pixels=8_294_400, multiple=16, max_ratio=3.0),
    default_size=Size(width=1024, height=1024),
    max_count=10,
    max_prompt_chars=MAX_PROMPT_CHARS,
    qualities=("auto", "low", "medium", "high"),
    backgrounds=("auto", "transparent", "opaque"),
    formats=("png", "jpeg", "webp"),
    compression=frozenset({"jpeg", "webp"}),
    moderation=("auto", "low"),
    previews=True,
    economy=True,
    writes=frozenset({"latin", "han"}),  # Chinese since GPT Image 2 (https://platform.openai.com/docs/guides/image-generation)
)
_CLASSIC = replace(
    _FLEXIBLE,
    writes=frozenset({"latin"}),
    sizes=SizeList(sizes=(Size(width=1024, height=1024), Size(width=1536, height=1024), Size(width=1024, height=1536))),
    ends=_CLASSIC_ENDS,
)
_COMPLEXITY = "Options: complexity low, medium or high, for how much is planned."
_ALL_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max")


def _usd(amount: float, **others: float) -> Price:
    """List price of a square of 1024 pixels at medium quality, and at others."""
    return Price(amount=amount, currency="USD", as_of=_PRICED, factors={quality: other / amount for quality, other in others.items()})


_PRICE_2_5 = _usd(0.0132, low=0.0059, high=0.0527, xhigh=0.0937, max=0.2107)
_PRICE_1_5 = _usd(0.034, low=0.009, high=0.133)


_SUNBURST_2_5 = replace(
    _FLEXIBLE,
    id=DEFAULT_MODEL,
    title="GPT Image 2.5 Sunburst",
    aliases=("gpt-image-1", "dall-e-3", "dall-e-2"),  # switched off in 2026; OpenAI names the 2.5 models as successors
    qualities=_ALL_QUALITIES,
    price=_PRICE_2_5,
)
_FLARE_2_5 = replace(_FLEXIBLE, id="gpt-image-2.5-flare", title="GPT Image 2.5 Flare", qualities=_ALL_QUALITIES, price=_PRICE_2_5)
_IMAGE_2 = replace(_FLEXIBLE, id="gpt-image-2", title="GPT Image 2", price=_usd(0.053, low=0.006, high=0.211))

MODELS = (
    replace(_FLEXIBLE, id="gpt-image-2.6-sunburst", title="GPT Image 2.6 Sunburst", note=_COMPLEXITY),
    replace(_FLEXIBLE, id="gpt-image-2.6-flare", title="GPT Image 2.6 Flare", note=_COMPLEXITY),
    _SUNBURST_2_5,
    replace(_SUNBURST_2_5, id="gpt-image-2.5-sunburst-2026-09-08", title="GPT Image 2.5 Sunburst (2026-09-08)", aliases=()),
    _FLARE_2_5,
    replace(_FLARE_2_5, id="gpt-image-2.5-flare-2026-09-08", title="GPT Image 2.5 Flare (2026-09-08)"),
    _IMAGE_2,
    replace(_IMAGE_2, id="gpt-image-2-2026-04-21", title="GPT Image 2 (2026-04-21)"),
    replace(_CLASSIC, id="gpt-image-1.5", title="GPT Image 1.5", price=_PRICE_1_5),
    replace(_CLASSIC, id="gpt-image-1-mini", title="GPT Image 1 mini", price=_usd(0.011, low=0.005)),
    replace(_CLASSIC, id="chatgpt-image-latest", title="ChatGPT Image", price=_PRICE_1_5),
)

_TOKENS_2 = TokenPrices(text_in=5, image_in=8, image_out=30, text_out=30)
_TOKENS_1_5 = TokenPrices(text_in=5, image_in=8, image_out=32, text_out=10)
TOKEN_PRICES: Mapping[str, TokenPrices] = {
    "gpt-image-2.5-sunburst": _TOKENS_2,
    "gpt-image-2.5-sunburst-2026-09-08": _TOKENS_2,
    "gpt-image-2.5-flare": _TOKENS_2,
    "gpt-image-2.5-flare-2026-09-08": _TOKENS_2,
    "gpt-image-2": _TOKENS_2,
    "gpt-image-2-2026-04-21": _TOKENS_2,
    "gpt-image-1.5": _TOKENS_1_5,
    "gpt-image-1-mini": TokenPrices(text_in=2, image_in=2.5, image_out=8, text_out=8),
    "chatgpt-image-latest": _TOKENS_1_5,
}
"""As published in November 2026; those of the 2.6 models were not."""

_STYLES = {
    "natural": "自然风格",
    "vivid": "生动风格",
    "realistic": "写实风格",
    "artistic": "艺术风格",
    "cartoon": "卡通风格",
    "anime": "动漫风格",
    "oil_painting": "油画风格",
    "watercolor": "水彩风格",
    "sketch": "素描风格",
    "digital_art": "数字艺术",
    "photographic": "摄影风格",
    "minimalist": "极简风格",
}

CATALOGUE = Catalogue(
    provider="openai",
    title="OpenAI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={key: Style(key=key, label=label) for key, label in _STYLES.items()},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形)",
        "1536x1024": "1536x1024 (3:2 横向)",
        "1024x1536": "1024x1536 (2:3 竖向)",
        "auto": "auto (由模型自动选择最佳尺寸)",
    },
    variables=("OPENAI_API_KEY",),
    unknown=ANY,
)


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

_GENERATIONS = "images/generations"
_EDITS = "images/edits"

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
        request = await _with_png_mask(request)
        work = _EDITS if request.images else _GENERATIONS
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
        pictures = [await self._picture(picture, reply) for picture in answer.data or ()]
        if not pictures:
            raise reply.failure(BadReplyError, f"{self._net.service.title} answered without a picture")
        return from_wire(answer, pictures, prices=self._prices.get(model.id), request_id=reply.request_id)

    async def _watch(self, events: Events, context: Context) -> ImagesReply:
        """The answer put together from the events that finish a picture."""
        finished, usage, previews = [], None, 0
        async for event in events:
            if event.data == "[DONE]":
                continue
            part = _event(event.data, events.reply)
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

    async def _picture(self, picture: Answered, reply: Reply) -> bytes:
        if picture.b64_json:
            return await reply.decode(picture.b64_json)
        if picture.url:
            return await self._net.download(picture.url)
        raise reply.failure(BadReplyError, f"{self._net.service.title} answered with an entry that holds no picture")


@dataclass(frozen=True, kw_only=True)
class BatchDesk:
    """OpenAI's batches: a file of requests goes in, a file of answers comes out (https://platform.openai.com/docs/guides/batch)."""

    net: Net
    most: int = 1000
    """The service takes 50,000, and 200 MB."""

    async def post(self, letters: Sequence[Letter]) -> str:
        """The id of a batch of these requests."""
        lines = [{"custom_id": each.key, "method": "POST", "url": f"/v1/{_GENERATIONS}", "body": each.body} for each in letters]
        file = File(name="batch.jsonl", media_type="application/jsonl", data="".join(f"{json.dumps(line)}\n" for line in lines).encode())
        uploaded = (await self.net.send("POST", "files", parts=[("purpose", "batch"), ("file", file)], repeatable=True)).parse(Named)
        body = {"input_file_id": uploaded.id, "endpoint": f"/v1/{_GENERATIONS}", "completion_window": "24h"}
        return (await self.net.send("POST", "batches", json=body)).parse(Named).id

    async def look(self, batch_id: str) -> Look:
        """The batch as it stands."""
        reply = await self.net.send("GET", f"batches/{batch_id}")
        batch = reply.parse(BatchReply)
        if batch.status == "failed":
            reason = words_in(batch.errors) or "no reason given"
            raise reply.failure(ProviderError, f"OpenAI turned the batch {batch_id} away: {reason}", may_have_been_billed=False)
        counts = batch.request_counts or Counts()
        ended = counts.completed + counts.failed
        return Look(
            done=batch.status in ("completed", "expired", "cancelled"),
            fraction=ended / counts.total if counts.total else 0.0,
            words=f"OpenAI has drawn {ended} of the {counts.total} in the batch." if counts.total else "OpenAI has taken the batch.",
            source=[file for file in (batch.output_file_id, batch.error_file_id) if file],
        )

    async def answers(self, look: Look) -> AsyncGenerator[tuple[str, bytes]]:
        """For each request its key and the line about it."""
        for file in look.source:
            async with self.net.lines(f"files/{file}/content") as lines:
                async for line in lines:
                    if found := re.search(rb'"custom_id":\s*"(\w+)"', line[:1000]):
                        yield found[1].decode(), line


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

    async def _from_line(self, data: bytes, model: Model) -> Generated:
        """The pictures in an answer out of a batch."""
        service = self._net.service
        line = await anyio.to_thread.run_sync(Reply(service=service, body=data).parse, BatchLine)
        if line.response is None:
            error = line.error or BatchError()
            expired = error.code == "batch_expired"
            words = "did not come to it within a day, and bills nothing" if expired else f"did not draw it ({error.message or 'no reason given'})"
            raise service.failure(ProviderError, f"{service.title} {words}")
        about = {"x-request-id": line.response.request_id or ""}
        reply = Reply(service=service, status=line.response.status_code, headers=about, paid=line.response.status_code == 200)
        if reply.status != 200:
            raise reply.fault(line.response.body)
        answer = await anyio.to_thread.run_sync(ImagesReply.model_validate, line.response.body)
        pictures = [await self._picture(picture, reply) for picture in answer.data or ()]
        if not pictures:
            raise reply.failure(BadReplyError, f"{service.title} answered without a picture")
        return halved(from_wire(answer, pictures, prices=self._prices.get(model.id), request_id=reply.request_id))

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


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class TokenDetails(BaseModel):
    """Tokens by kind."""

    text_tokens: int = 0
    image_tokens: int = 0


class Usage(BaseModel):
    """What was used up."""

    output_tokens: int
    input_tokens_details: TokenDetails
    output_tokens_details: TokenDetails | None = None


class Answered(BaseModel):
    """One picture of an answer, inline or behind a link."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesReply(BaseModel):
    """A whole answer."""

    usage: Annotated[Usage | None, OR_NONE] = None
    data: list[Answered] | None = None


class StreamPart(BaseModel):
    """The data of one event of a stream."""

    usage: Annotated[Usage | None, OR_NONE] = None
    type: str = ""
    b64_json: str | None = None
    url: str | None = None
    error: Any = None


class Named(BaseModel):
    """Something that was made."""

    id: str


class Counts(BaseModel):
    """Requests of a batch."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchReply(BaseModel):
    """A batch."""

    status: str
    request_counts: Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Any = None


class BatchResponse(BaseModel):
    """What the interface answered to a request in a batch."""

    status_code: int
    request_id: str | None = None
    body: Any = None


class BatchError(BaseModel):
    """Why there is no such answer."""

    code: str = ""
    message: str = ""


class BatchLine(BaseModel):
    """A line of a file of answers."""

    response: BatchResponse | None = None
    error: BatchError | None = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models that the key may use."""

    data: list[ListedModel]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model, *, partial_images: int = 0) -> dict[str, Any]:
    """The settings of a generation or an edit. The GPT image models refuse `response_format` and `style`, so neither is there."""
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count,
        "size": str(request.shape) if request.shape else None,
        "quality": request.quality,
        "background": request.background,
        "output_format": request.output_format,
        "output_compression": request.output_compression,
        "moderation": request.moderation,
        "stream": True if partial_images else None,
        "partial_images": partial_images or None,
    }
    return {**{name: value for name, value in body.items() if value is not None}, **request.options}


def to_parts(settings: Mapping[str, Any], request: ImageRequest) -> list[tuple[str, str | File]]:
    """The body of an edit: its settings as text, then the pictures. Several pictures share one name, which then ends in `[]`."""
    parts: list[tuple[str, str | File]] = [field for name, value in settings.items() for field in _as_text(name, value)]
    name = "image" if len(request.images) == 1 else "image[]"
    parts += [(name, _file(f"image-{number}", picture)) for number, picture in enumerate(request.images, start=1)]
    return [*parts, ("mask", _file("mask", request.mask))] if request.mask else parts


def _as_text(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A setting as fields of a form: `svg[model]` for what lies inside another, `name[]` for each of a list."""
    if isinstance(value, Mapping):
        for inner, one in value.items():
            yield from _as_text(f"{name}[{inner}]", one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _as_text(f"{name}[]", one)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _file(stem: str, picture: Picture) -> File:
    """The service goes by the name's ending and the media type."""
    return File(name=f"{stem}.{picture.media_type.removeprefix('image/')}", media_type=picture.media_type, data=picture.data)


async def _with_png_mask(request: ImageRequest) -> ImageRequest:
    """The mask means the same here as at the service: transparent is painted anew. Only its format is prescribed."""
    mask = request.mask
    if mask is None or mask.media_type == "image/png":
        return request
    from ..pictures import to_png

    data = await anyio.to_thread.run_sync(to_png, mask.data)
    return replace(request, mask=replace(mask, data=data, media_type="image/png"))


def from_wire(reply: ImagesReply, pictures: Sequence[bytes], *, prices: TokenPrices | None, request_id: str | None) -> Generated:
    """The answer in our words; `pictures` are the bytes of its entries, in order."""
    images = tuple(Drawn(data=data, revised_prompt=entry.revised_prompt) for entry, data in zip(reply.data or (), pictures, strict=True))
    return Generated(images=images, cost=cost(reply.usage, prices), request_id=request_id)


def cost(usage: Usage | None, prices: TokenPrices | None) -> Cost | None:
    """What the tokens that were used cost at these prices; None where either is not known."""
    if usage is None or prices is None:
        return None
    text_out = usage.output_tokens_details.text_tokens if usage.output_tokens_details else 0
    micros = (
        usage.input_tokens_details.text_tokens * prices.text_in
        + usage.input_tokens_details.image_tokens * prices.image_in
        + (usage.output_tokens - text_out) * prices.image_out
        + text_out * prices.text_out
    )
    return Cost(micros=round(micros), currency="USD", source="computed")


_KINDS: Mapping[str, type[ProviderError]] = {
    "moderation_blocked": RefusedError,
    "content_policy_violation": RefusedError,
    "contentFilter": RefusedError,  # Azure
    "ResponsibleAIPolicyViolation": RefusedError,  # Azure
    "insufficient_quota": QuotaError,
    "billing_hard_limit_reached": QuotaError,
    "billing_limit_user_error": QuotaError,
    "invalid_api_key": AuthError,
    "unsupported_country_region_territory": AuthError,
    "rate_limit_exceeded": RateLimitedError,
    "server_error": UnavailableError,
}
"""OpenAI's codes and types, where the HTTP status alone would mislead or there is none, as in a stream."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://platform.openai.com/docs/guides/error-codes); compatible servers' simpler forms are understood too."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        text = words_in(body)
        return Fault(message=text) if text else None
    message, code, parameter = words_in(error), error.get("code"), error.get("param")
    inner = error.get("inner_error") or error.get("innererror")  # Azure's reasons
    inner = inner if isinstance(inner, dict) else {}
    names = [name for name in (code, error.get("type"), inner.get("code")) if isinstance(name, str)]
    details: dict[str, Any] = {}
    if names:
        details["service_code"] = names[0]
    unknown = re.search(r"Unknown parameter: '([\w.]+)'", message)
    if unknown:
        details |= {"service_code": "unknown_parameter", "parameter": unknown[1]}
    elif isinstance(parameter, str):
        details["parameter"] = parameter
    if violations := re.search(r"safety_violations=\[([^\]]*)\]", message):
        details["safety_violations"] = [word.strip() for word in violations[1].split(",") if word.strip()]
    elif isinstance(filters := inner.get("content_filter_results"), dict):
        details["safety_violations"] = [name for name, found in filters.items() if isinstance(found, dict) and found.get("filtered")]
    kind = next((_KINDS[name] for name in names if name in _KINDS), None)
    return Fault(message=message or "no reason given", kind=kind, details=details)


def _event(data: str, reply: Reply) -> StreamPart:
    return replace(reply, body=data.encode()).parse(StreamPart)
