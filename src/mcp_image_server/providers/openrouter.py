"""OpenRouter: image models of many services behind one interface. Facts from https://openrouter.ai/docs/guides/overview/multimodal/image-generation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import log
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, RequestError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import Adjustment, AspectRatio, Catalogue, Cost, Drawn, Generated, ImageRequest, Limits, Model, Operation, find_model
from ..negotiate import negotiate
from ..net import Events, Fault, Net, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, present, with_default

DEFAULT_MODEL = "bytedance-seed/seedream-4.5"


# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="OPENROUTER_API_KEY", description="Key of the account, from https://openrouter.ai/settings/keys.")
    base_url: BaseUrl = Field("https://openrouter.ai/api/v1", alias="OPENROUTER_BASE_URL", description="Address of the interface.")
    model: str = Field(
        DEFAULT_MODEL,
        alias="OPENROUTER_MODEL",
        min_length=1,
        description="Model for requests that name none: any id of https://openrouter.ai/models?output_modalities=image.",
    )
    previews: bool = Field(
        False,
        alias="OPENROUTER_PREVIEWS",
        description="Previews while a single picture is drawn, where the model sends them; the service behind may bill them.",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ANY = Model(
    provider="openrouter",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    max_count=10,
    seed=True,
    qualities=("auto", "low", "medium", "high", "xhigh", "max"),
    backgrounds=("auto", "transparent", "opaque"),
    formats=("png", "jpeg", "webp"),
    compression=frozenset({"jpeg", "webp"}),
    max_images=16,
)
"""All that the interface has words for. What a model has of it is asked before the first call to it."""

_LETTERS = frozenset({"latin", "han"})

MODELS = (
    replace(
        _ANY,
        id=DEFAULT_MODEL,
        title="Seedream 4.5",
        max_images=14,
        qualities=(),
        backgrounds=(),
        formats=(),
        compression=frozenset(),
        languages=frozenset({"en", "zh"}),
        writes=_LETTERS,
    ),
    replace(
        _ANY,
        id="openai/gpt-image-2",
        title="GPT Image 2",
        seed=False,
        qualities=("auto", "low", "medium", "high"),
        previews=True,
        writes=_LETTERS,
    ),
    replace(
        _ANY,
        id="google/gemini-nano-banana-2.1",
        title="Nano Banana 2.1",
        writes=frozenset({"latin"}),
        max_images=14,
        max_count=1,
        seed=False,
        qualities=(),
        backgrounds=(),
        formats=(),
        compression=frozenset(),
    ),
)
"""The best known, until the service was asked which it has. No prices: each answer names its own."""

CATALOGUE = Catalogue(
    provider="openrouter",
    title="OpenRouter",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "2048x2048": "2048x2048 (1:1 square, 正方形)",
        "1:1": "1:1 (square, 正方形)",
        "16:9": "16:9 (landscape, 横向)",
        "9:16": "9:16 (portrait, 竖向)",
        "4:3": "4:3 (landscape, 横向)",
        "3:4": "3:4 (portrait, 竖向)",
        "21:9": "21:9 (wide, 超宽)",
    },
    variables=("OPENROUTER_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_IMAGES = "images"


class OpenRouter:
    """The service at work. Opens no connection before it is first used."""

    name = "openrouter"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._config = config
        self._net = Net(service(config))
        self._known = {model.id for model in MODELS}
        """Models whose facts need not be asked for."""

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures. What a model can do that nobody here knows is asked first, which costs nothing."""
        request, model, words = await self._fitted(request, model)
        previews = self._config.previews and model.previews and request.count == 1
        body = await anyio.to_thread.run_sync(to_wire, request, model, previews)
        if body.get("stream"):
            async with self._net.stream("POST", _IMAGES, json=body) as events:
                reply = events.reply
                answer = await self._watch(events, context) if events.is_stream else reply.parse(Answer)
        else:
            reply = await self._net.send("POST", _IMAGES, json=body)
            answer = reply.parse(Answer)
        if answer.error is not None:
            raise reply.fault(reply.json())
        if not answer.data:
            raise reply.failure(BadReplyError, "OpenRouter answered without a picture")
        pictures = [await reply.decode(entry.b64_json) for entry in answer.data]
        made = from_wire(answer, pictures, request, request_id=reply.request_id)
        return replace(made, adjustments=(*words, *made.adjustments))

    async def check(self) -> str:
        """Whether the key works, what it may still spend, and whether the model is offered, asked without paying."""
        account = (await self._net.send("GET", "key", read_timeout=30)).parse(Account).data
        await self._discover()
        model = self.catalogue.default_model
        left = "" if account.limit_remaining is None else f" and lets it spend {account.limit_remaining:g} dollars more"
        offered = "is" if model in self._known else "is not"
        return f"OpenRouter accepts the key{left}; {model} {offered} among its {len(self._known)} image models."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw."""
        reply = await self._net.send("GET", f"{_IMAGES}/models", read_timeout=30)
        return tuple(entry.id for entry in reply.parse(ModelList).data)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _discover(self) -> None:
        """The service's own list of models takes the place of ours."""
        reply = await self._net.send("GET", f"{_IMAGES}/models", read_timeout=30)
        models = [model for model in map(model_of, reply.parse(ModelList).data) if model is not None]
        self._known = {model.id for model in models}
        self.catalogue = with_default(replace(CATALOGUE, models=tuple(models)), self._config.model)

    async def _fitted(self, request: ImageRequest, model: Model) -> tuple[ImageRequest, Model, tuple[Adjustment, ...]]:
        """The request as the model can do it, where its facts were not known when it was first fitted."""
        if model.id in self._known:
            return request, model, ()
        with suppress(UnavailableError, RateLimitedError, BadReplyError):  # then the service itself will say what it does not take
            await self._discover()
        known = find_model(self.catalogue.models, model.id) if model.id in self._known else None
        if known is None:
            return request, model, ()
        try:
            fitted = negotiate(request, known, styles={})
        except RequestError as error:
            raise self._net.service.failure(ProviderError, error.message, not_accepted=True, details=error.details) from error
        return fitted.request, known, fitted.adjustments

    async def _watch(self, events: Events, context: Context) -> Answer:
        """The answer put together from the events that finish a picture."""
        finished: list[Entry] = []
        usage, previews = None, 0
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
            elif part.type.endswith(".completed") and part.b64_json:
                finished.append(Entry(b64_json=part.b64_json))
                usage = part.usage or usage
        if not finished:
            raise events.ended_early()
        return Answer(data=finished, usage=usage)


def load(environment: Environment) -> OpenRouter | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return OpenRouter(parse(Config, environment)) if "OPENROUTER_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="openrouter",
        title="OpenRouter",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="OPENROUTER_API_KEY",
        url_variable="OPENROUTER_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture."""

    b64_json: str


class Answer(BaseModel):
    """A whole answer."""

    data: list[Entry] | None = None
    usage: Any = None  # a bill we cannot read must not lose the picture
    error: Any = None


class StreamPart(BaseModel):
    """The data of one event of a stream."""

    type: str = ""
    b64_json: str | None = None
    usage: Any = None
    error: Any = None


class Capability(BaseModel):
    """What a parameter takes: one of `values`, or numbers up to `max`."""

    values: tuple[str, ...] = ()
    max: float | None = None


class Listed(BaseModel):
    """One entry of the list of models. A parameter that is not named is not taken."""

    id: str
    name: str = ""
    supported_parameters: Mapping[str, Capability]
    supports_streaming: bool = False


class ModelList(BaseModel):
    """The models that draw."""

    data: list[Listed]


class Spending(BaseModel):
    """What a key may spend. `None`: as much as the account has."""

    limit_remaining: float | None = None


class Account(BaseModel):
    """The answer to the question about the key."""

    data: Spending


def model_of(listed: Listed) -> Model | None:
    """The facts about a model in our words; None for one that draws in a format which is not kept here, such as SVG.

    The service does not tell which languages and scripts a model knows; of the best known, we do.
    """
    takes, ours = listed.supported_parameters, find_model(MODELS, listed.id) or _ANY
    references, count = takes.get("input_references"), takes.get("n")
    output = takes.get("output_format", Capability())
    formats = tuple(kind for kind in output.values if kind in _ANY.formats)
    if output.values and not formats:
        return None
    return Model(
        provider="openrouter",
        id=listed.id,
        title=listed.name or listed.id,
        operations=_ANY.operations if references else frozenset({Operation.GENERATE}),
        max_images=int(references.max or 1) if references else 0,
        max_count=int(count.max or 1) if count else 1,
        seed="seed" in takes,
        qualities=takes.get("quality", Capability()).values,
        backgrounds=takes.get("background", Capability()).values,
        formats=formats,
        compression=_ANY.compression & set(formats) if "output_compression" in takes else frozenset(),
        languages=ours.languages,
        writes=ours.writes,
        previews=listed.supports_streaming,
    )


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

RATIOS = (
    *("1:1", "1:2", "2:1", "1:4", "4:1", "1:8", "8:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4"),
    *("9:16", "16:9", "9:19.5", "19.5:9", "9:20", "20:9", "9:21", "21:9"),
)
"""Shapes that the interface has a name for; a model's service takes the nearest that it draws."""


def to_wire(request: ImageRequest, model: Model, previews: bool = False) -> dict[str, Any]:
    """The body of a call: one address for drawing and editing alike. A size in pixels is brought to what the model draws by the service."""
    ratio = ratio_for(request.shape) if isinstance(request.shape, AspectRatio) else None
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count if request.count > 1 else None,
        "size": str(request.shape) if request.shape and not ratio else None,
        "aspect_ratio": ratio,
        "quality": request.quality,
        "background": request.background,
        "output_format": request.output_format,
        "output_compression": request.output_compression,
        "seed": request.seed,
        "input_references": [{"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in request.images] or None,
        "stream": previews or None,
    }
    return {**present(body), **request.options}


def ratio_for(shape: AspectRatio) -> str:
    """The shape itself or, where the interface has no name for it, the nearest that it names."""

    def distance(name: str) -> float:
        width, height = map(float, name.split(":"))
        return abs(log(width / height) - log(shape.ratio))

    return str(shape) if str(shape) in RATIOS else min(RATIOS, key=distance)


def from_wire(answer: Answer, pictures: Sequence[bytes], request: ImageRequest, *, request_id: str | None) -> Generated:
    """The answer in our words; `pictures` are the bytes of its entries, in order."""
    return Generated(
        images=tuple(Drawn(data=data, seed=request.seed) for data in pictures),
        cost=cost(answer.usage),
        request_id=request_id,
        adjustments=tuple(changes(request, len(pictures))),
    )


def changes(request: ImageRequest, drawn: int) -> Iterator[Adjustment]:
    """What came of the request instead of what it says."""
    if isinstance(request.shape, AspectRatio) and (ratio := ratio_for(request.shape)) != str(request.shape):
        yield Adjustment(field="resolution", message=f"OpenRouter has no name for the shape {request.shape}; {ratio} is nearest.")
    if drawn < request.count:
        yield Adjustment(field="n", message=f"The model drew {drawn} of {request.count} pictures.")


def cost(usage: Any) -> Cost | None:
    """The amount that the answer names, in US dollars. What the service behind bills to a key of the caller's own comes beside."""
    facts = usage if isinstance(usage, dict) else {}
    paid, details = facts.get("cost"), facts.get("cost_details")
    beside = details.get("upstream_inference_cost") if facts.get("is_byok") and isinstance(details, dict) else None
    if not isinstance(paid, int | float):
        return None
    return Cost(micros=round((paid + (beside if isinstance(beside, int | float) else 0)) * 1_000_000), currency="USD", source="reported")


_MODERATION = re.compile(r"moderation|content.?policy|safety (system|filter)|flagged|nsfw|sensitive content|prohibited.content", re.IGNORECASE)

_KINDS: Mapping[int, type[ProviderError]] = {401: AuthError, 402: QuotaError, 403: AuthError, 408: UnavailableError, 429: RateLimitedError}


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://openrouter.ai/docs/api/reference/errors-and-debugging).

    It may stand in a reply of status 200 or in a stream; then its own code counts. What the service behind said is under `metadata`.
    """
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        text = words_in(body)
        return Fault(message=text) if text else None
    metadata = error.get("metadata")
    facts = metadata if isinstance(metadata, dict) else {}
    message, raw, code = words_in(error), facts.get("raw"), error.get("code")
    said = raw if isinstance(raw, str) else words_in(raw)
    number = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    kind = _KINDS.get(number) or (UnavailableError if number >= 500 else None)
    if facts.get("reasons") or (kind not in (QuotaError, RateLimitedError) and _MODERATION.search(f"{code} {message} {said}")):
        kind = RefusedError
    details = {"service_code": code and str(code), "upstream": facts.get("provider_name"), "reasons": facts.get("reasons")}
    words = f"{message or 'no reason given'} ({said})" if said and said not in message else message or "no reason given"
    return Fault(message=words, kind=kind, details={name: value for name, value in details.items() if value})
