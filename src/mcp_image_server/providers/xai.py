"""xAI's Grok models that draw. Facts from https://docs.x.ai/docs/guides/image-generations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from math import log
from typing import Any
from urllib.parse import unquote

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Adjustment, Catalogue, Cost, Drawn, Generated, ImageRequest, Limits, Model, Operation, Price, Shape, Size
from ..net import Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, present, with_default

DEFAULT_MODEL = "grok-imagine-image"


# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="XAI_API_KEY", description="Key of the account, from https://console.x.ai.")
    base_url: BaseUrl = Field("https://api.x.ai/v1", alias="XAI_BASE_URL", description="Address of the interface.")
    model: str = Field(DEFAULT_MODEL, alias="XAI_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ANY = Model(
    provider="xai",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    max_count=10,
    max_images=5,
)
"""What every model takes. Shapes have names and sizes are two, so how many pixels a picture will have is not known before."""


def _usd(amount: float, **others: float) -> Price:
    """List price of a picture, and at other qualities."""
    return Price(amount=amount, currency="USD", as_of=date(2026, 11, 21), factors={quality: other / amount for quality, other in others.items()})


MODELS = (
    replace(
        _ANY,
        id="grok-imagine-image-2.0",
        title="Grok Imagine 2.0",
        aliases=("grok-imagine-image-quality", "grok-imagine-image-pro"),  # retired in 2026; xAI itself sends them here
        qualities=("low", "medium", "high"),
        price=_usd(0.06, low=0.04),
    ),
    replace(_ANY, id=DEFAULT_MODEL, title="Grok Imagine", price=_usd(0.02)),
)

CATALOGUE = Catalogue(
    provider="xai",
    title="xAI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1:1": "1:1 (square, 正方形)",
        "16:9": "16:9 (landscape, 横向)",
        "9:16": "9:16 (portrait, 竖向)",
        "4:3": "4:3 (landscape, 横向)",
        "3:4": "3:4 (portrait, 竖向)",
        "2048x2048": "2048x2048 (1:1 large square, 正方形大图)",
    },
    variables=("XAI_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class XAI:
    """The service at work. Opens no connection before it is first used."""

    name = "xai"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures that moderation let through."""
        body = await anyio.to_thread.run_sync(to_wire, request, model)
        reply = await self._net.send("POST", "images/edits" if request.images else "images/generations", json=body)
        answer = reply.parse(Answer)
        entries = let_through(answer, reply)
        pictures = await self._net.all_of(self._picture(entry, reply) for entry in entries)
        return from_wire(entries, pictures, request, usage=answer.usage, request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the key works and the model is listed, asked without paying."""
        reply = await self._net.send("GET", "image-generation-models", read_timeout=30)
        model, listed = self.catalogue.default_model, reply.parse(ModelList).models
        there = any(model == entry.id or model in entry.aliases for entry in listed)
        return f"xAI accepts the key, and the model {model} is {'listed' if there else 'not listed'}."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw and that the key may use."""
        reply = await self._net.send("GET", "image-generation-models", read_timeout=30)
        return tuple(entry.id for entry in reply.parse(ModelList).models)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _picture(self, entry: Entry, reply: Reply) -> bytes:
        return await reply.decode(entry.b64_json) if entry.b64_json else await self._net.download(entry.url or "")


def load(environment: Environment) -> XAI | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return XAI(parse(Config, environment)) if "XAI_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="xai",
        title="xAI",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="XAI_API_KEY",
        url_variable="XAI_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture, inline or behind a link; neither where moderation keeps it back."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    respect_moderation: bool | None = None


class Answer(BaseModel):
    """A whole answer."""

    data: list[Entry] | None = None
    usage: Any = None  # a bill we cannot read must not lose the picture
    block_reason: str | None = None


class Listed(BaseModel):
    """One entry of the list of models."""

    id: str
    aliases: list[str] = []


class ModelList(BaseModel):
    """The models that draw and that the key may use."""

    models: list[Listed]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_EDIT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "2:1", "1:2")
_RATIOS = (*_EDIT_RATIOS, "19.5:9", "9:19.5", "20:9", "9:20")


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a generation or an edit. Pictures come back inline, so that there is no link which could be gone."""
    links = [{"type": "image_url", "url": data_url(picture)} for picture in request.images]
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count,
        "aspect_ratio": ratio_for(request.shape, edit=bool(links)),
        "resolution": resolution_for(request.shape),
        "quality": request.quality,
        "response_format": "b64_json",
        "image": links[0] if len(links) == 1 else None,
        "images": links if len(links) > 1 else None,
    }
    return {**present(body), **request.options}


def ratio_for(shape: Shape | None, *, edit: bool) -> str | None:
    """The name of the shape or, where it has none, of the nearest that has one."""
    if shape is None:
        return None

    def distance(name: str) -> float:
        width, height = map(float, name.split(":"))
        return abs(log(width / height) - log(shape.ratio))

    return min(_EDIT_RATIOS if edit else _RATIOS, key=distance)


def resolution_for(shape: Shape | None) -> str | None:
    """`1k` is about a million pixels, `2k` four; which of them a size is nearer to."""
    if not isinstance(shape, Size):
        return None
    return "2k" if shape.pixels > 2 * 1024 * 1024 else "1k"


def let_through(answer: Answer, reply: Reply) -> list[Entry]:
    """The entries of an answer that hold a picture. Moderation is silent here: what it keeps back is missing from an answer of success.

    Raises:
        RefusedError: nothing is left.
        BadReplyError: pictures are missing for no such reason.
    """
    kept = [entry for entry in answer.data or () if entry.respect_moderation is not False and (entry.b64_json or entry.url)]
    if kept:
        return kept
    withheld = [entry for entry in answer.data or () if entry.respect_moderation is False]
    if withheld or answer.data == [] or answer.block_reason:
        words = f"xAI's moderation let no picture through ({answer.block_reason or 'it names no reason'})"
        details = {"service_code": answer.block_reason} if answer.block_reason else None
        raise reply.failure(RefusedError, words, details=details)
    raise reply.failure(BadReplyError, "xAI answered without a picture")


def from_wire(entries: Sequence[Entry], pictures: Sequence[bytes], request: ImageRequest, *, usage: Any, request_id: str | None) -> Generated:
    """The answer in our words; `pictures` are the bytes of its entries, in order."""
    return Generated(
        images=tuple(Drawn(data=data, revised_prompt=entry.revised_prompt or None) for entry, data in zip(entries, pictures, strict=True)),
        cost=cost(usage),
        request_id=request_id,
        adjustments=tuple(changes(request, len(pictures))),
    )


def changes(request: ImageRequest, drawn: int) -> Iterator[Adjustment]:
    """What came of the request instead of what it says."""
    ratio, resolution = ratio_for(request.shape, edit=bool(request.images)), resolution_for(request.shape)
    if ratio is not None and (resolution or ratio != str(request.shape)):
        scale = f" at {resolution}" if resolution else ""
        yield Adjustment(field="resolution", message=f"xAI draws shapes of certain names; {request.shape} became {ratio}{scale}.")
    if drawn < request.count:
        yield Adjustment(field="n", message=f"xAI's moderation let {drawn} of {request.count} pictures through.")


_TICKS = 10_000
"""The service counts in ten-thousand-millionths of a dollar, we in millionths."""


def cost(usage: Any) -> Cost | None:
    """The amount that the answer names."""
    ticks = usage.get("cost_in_usd_ticks") if isinstance(usage, dict) else None
    return Cost(micros=round(ticks / _TICKS), currency="USD", source="reported") if isinstance(ticks, int | float) else None


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"api.key|authenticat", AuthError),
    (r"moderation|content.?(policy|filter)|safety|usage.guidelines", RefusedError),
    (r"credits?\b|spending.limit|quota|billing", QuotaError),
    (r"rate.?limit|too many requests|resource.exhausted", RateLimitedError),
)
"""Words by which a failure is known, since the service answers 400 to a wrong key and 403 to an account without credits."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: mostly a code and a sentence side by side, at times in OpenAI's form."""
    facts = body if isinstance(body, dict) else {}
    inner = facts.get("error")
    message = unquote(words_in(inner) or words_in(body))
    code = inner.get("code") if isinstance(inner, dict) else facts.get("code")
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, f"{code} {message}", re.IGNORECASE)), None) if status < 500 else None
    return Fault(message=message, kind=kind, details={"service_code": str(code)} if code else {})
