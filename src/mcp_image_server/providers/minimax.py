"""MiniMax: image-01 and H3-Image. Facts from https://platform.minimax.io/docs/guides/image-generation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt
from typing import Annotated, Any

import anyio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import (
    MAX_PROMPT_CHARS,
    Adjustment,
    Catalogue,
    Drawn,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Size,
    SizeList,
    SizeRange,
    Style,
)
from ..net import Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import OR_NONE, Context, account_of, data_url, present, with_default

DEFAULT_MODEL = "image-01"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="MINIMAX_API_KEY", description="Key of the account at MiniMax.")
    host: Annotated[BaseUrl, AfterValidator(lambda url: url.removesuffix("/v1"))] = Field(
        "https://api.minimax.io",
        alias="MINIMAX_API_HOST",
        description="Address of the service, with or without /v1; https://api.minimaxi.com for a key of the Chinese site.",
    )
    model: str = Field(DEFAULT_MODEL, alias="MINIMAX_IMAGE_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_DRAWS_AND_EDITS = frozenset({Operation.GENERATE, Operation.EDIT})
_FACE = "An input picture shows the person who is to be drawn; one face from the front is best. Options: prompt_optimizer, aigc_watermark."

RATIOS: Mapping[Size, str] = {
    Size(width=1024, height=1024): "1:1",
    Size(width=1280, height=720): "16:9",
    Size(width=1152, height=864): "4:3",
    Size(width=1248, height=832): "3:2",
    Size(width=832, height=1248): "2:3",
    Size(width=864, height=1152): "3:4",
    Size(width=720, height=1280): "9:16",
}
"""What image-01-live draws, and how it is asked for."""

STYLES: Mapping[str, str] = {"comic": "Comic", "energetic": "Energetic", "medieval": "Medieval", "watercolor": "Watercolor"}
"""Our key to the service's code."""

_ANY = Model(
    provider="minimax",
    id="",
    operations=_DRAWS_AND_EDITS,
    default_size=Size(width=1024, height=1024),
    max_count=9,
    max_prompt_chars=1500,
    seed=True,
    max_images=1,
    languages=frozenset({"zh"}),
    note=_FACE,
)
_H3 = replace(
    _ANY,
    sizes=SizeRange(min_edge=16, max_edge=isqrt(3 * 20_000_000), min_pixels=655_360, max_pixels=20_000_000, multiple=16, max_ratio=3),
    default_size=Size(width=2048, height=2048),
    max_count=10,
    max_prompt_chars=MAX_PROMPT_CHARS,
    seed=False,
    max_images=16,
    formats=("png", "jpeg", "webp"),
    compression=frozenset({"jpeg", "webp"}),
    note="Billed by tokens. Where no size is named, it draws as large as it can; the option area (1K, 2K, 4K) says how large instead.",
)

MODELS = (
    replace(
        _ANY, id=DEFAULT_MODEL, title="MiniMax Image-01", sizes=SizeRange(min_edge=512, max_edge=2048, max_pixels=2048**2, multiple=8, max_ratio=4)
    ),
    replace(_ANY, id="image-01-live", title="MiniMax Image-01 Live", sizes=SizeList(sizes=tuple(RATIOS)), styles=frozenset(STYLES)),
    replace(_H3, id="MiniMax-H3-Image", title="MiniMax H3-Image"),
    replace(_H3, id="MiniMax-H3-Image-Highspeed", title="MiniMax H3-Image Highspeed"),
)

NEWER = frozenset({"MiniMax-H3-Image", "MiniMax-H3-Image-Highspeed"})
"""Models at the newer addresses, which are like OpenAI's; all others share the older one."""

CATALOGUE = Catalogue(
    provider="minimax",
    title="MiniMax",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={
        "comic": Style(key="comic", label="漫画 comic", phrase="漫画风格"),
        "energetic": Style(key="energetic", label="元气 energetic", phrase="元气风格"),
        "medieval": Style(key="medieval", label="中世纪 medieval", phrase="中世纪风格"),
        "watercolor": Style(key="watercolor", label="水彩 watercolor", phrase="水彩风格"),
    },
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1280x720": "1280x720 (16:9 横向 landscape)",
        "720x1280": "720x1280 (9:16 竖向 portrait)",
        "1152x864": "1152x864 (4:3 横向 landscape)",
        "864x1152": "864x1152 (3:4 竖向 portrait)",
        "1248x832": "1248x832 (3:2 横向 landscape)",
        "832x1248": "832x1248 (2:3 竖向 portrait)",
        "1344x576": "1344x576 (21:9 宽幅 panorama)",
    },
    variables=("MINIMAX_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class MiniMax:
    """The service at work. Opens no connection before it is first used."""

    name = "minimax"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, which the answer holds."""
        body = await anyio.to_thread.run_sync(to_wire, request, model)
        reply = await self._net.send("POST", path_for(model.id, edits=bool(request.images)), json=body)
        if (fault := _inside(reply)) is not None:
            raise fault
        answer = reply.parse(NewerAnswer) if model.id in NEWER else reply.parse(Answer)
        images: list[Drawn] = []
        failures: list[ProviderError] = []
        for entry in answer.entries:
            try:
                images.append(Drawn(data=await self._bytes(entry, reply), seed=_seed(request)))
            except ProviderError as error:
                failures.append(error)
        if isinstance(answer, Answer) and answer.metadata and answer.metadata.failed_count:
            held_back = f"MiniMax's moderation held back {answer.metadata.failed_count} of the pictures"
            failures.append(reply.failure(RefusedError, held_back))
        if not images:
            raise failures[0] if failures else reply.failure(BadReplyError, "MiniMax answered without a picture")
        return from_wire(images, failures, request_id=reply.request_id or reply.headers.get("trace-id") or answer.id)

    async def check(self) -> str:
        """Whether the key works, found with a request without a prompt, which the service refuses before it draws."""
        path = path_for(self.catalogue.default_model, edits=False)
        try:
            reply = await self._net.send("POST", path, json={"model": self.catalogue.default_model}, repeatable=True, read_timeout=30)
            if (fault := _inside(reply)) is not None:
                raise fault
        except ProviderError as error:
            if type(error) is not ProviderError or error.status == 404:  # a mere complaint about the body comes after the key was let in
                raise
        return "MiniMax accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _bytes(self, entry: Entry, reply: Reply) -> bytes:
        if entry.b64_json:
            return await reply.decode(entry.b64_json)
        if entry.url:
            return await self._net.download(entry.url)
        raise reply.fault({"error": entry.error}) if entry.error else reply.failure(BadReplyError, "MiniMax sent an entry that holds no picture")


def load(environment: Environment) -> MiniMax | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return MiniMax(parse(Config, environment)) if "MINIMAX_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="minimax",
        title="MiniMax",
        base_url=config.host,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="MINIMAX_API_KEY",
        url_variable="MINIMAX_API_HOST",
    )


def path_for(model: str, *, edits: bool) -> str:
    """Where the model of that id is called."""
    if model not in NEWER:
        return "v1/image_generation"
    return "v1/images/edits" if edits else "v1/images/generations"


def _inside(reply: Reply) -> ProviderError | None:
    """The failure inside a reply whose status says that all is well. Only work that was begun can have been billed."""
    body = reply.json()
    if not isinstance(body, dict) or not (_code(body) or body.get("error")):
        return None
    fault = read_fault(reply.status, body)
    begun = fault is not None and fault.kind is UnavailableError
    error = replace(reply, paid=begun).fault(body)
    error.not_accepted = not begun and not isinstance(error, RefusedError)
    return error


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture, inline or behind a link, or the reason why there is none."""

    b64_json: str | None = None
    url: str | None = None
    error: Any = None


class Pictures(BaseModel):
    """The pictures of an older model."""

    image_base64: list[str] | None = None
    image_urls: list[str] | None = None


class Counts(BaseModel):
    """How many pictures came; the service writes the numbers as texts or as numbers."""

    failed_count: int = 0


class Answer(BaseModel):
    """A whole answer of an older model."""

    id: str | None = None
    data: Pictures | None = None
    metadata: Annotated[Counts | None, OR_NONE] = None

    @property
    def entries(self) -> list[Entry]:
        """The pictures, one by one."""
        data = self.data or Pictures()
        return [*(Entry(b64_json=text) for text in data.image_base64 or ()), *(Entry(url=link) for link in data.image_urls or ())]


class NewerAnswer(BaseModel):
    """A whole answer of a newer model."""

    id: str | None = None
    data: list[Entry] | None = None

    @property
    def entries(self) -> list[Entry]:
        return self.data or []


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call."""
    body = _newer(request) if model.id in NEWER else _older(request, model)
    return {"model": model.id, **present(body), **request.options}


def _newer(request: ImageRequest) -> dict[str, Any]:
    return {
        "prompt": request.prompt,
        "n": request.count,
        "size": str(request.shape) if request.shape else None,
        "response_format": "b64_json",
        "output_format": request.output_format,
        "output_compression": request.output_compression,
        "images": [{"image_url": data_url(picture)} for picture in request.images] or None,
    }


def _older(request: ImageRequest, model: Model) -> dict[str, Any]:
    size = request.shape if isinstance(request.shape, Size) else None
    ratio = RATIOS.get(size) if size and isinstance(model.sizes, SizeList) else str(request.shape) if request.shape and not size else None
    style = STYLES.get(request.style or "")
    return {
        "prompt": request.prompt,
        "n": request.count,
        "aspect_ratio": ratio,
        "width": size.width if size and not ratio else None,
        "height": size.height if size and not ratio else None,
        "seed": request.seed,
        "style": {"style_type": style} if style else None,
        "response_format": "base64",
        "subject_reference": [{"type": "character", "image_file": data_url(picture)} for picture in request.images] or None,
    }


def from_wire(images: Sequence[Drawn], failures: Sequence[ProviderError], *, request_id: str | None) -> Generated:
    """The answer in our words, with a word on each picture that did not come."""
    words = tuple(Adjustment(field="images", message=f"A picture did not come: {error.message}") for error in failures)
    return Generated(images=tuple(images), request_id=request_id, adjustments=words)


def _seed(request: ImageRequest) -> int | None:
    seed = request.options.get("seed", request.seed)
    return seed if isinstance(seed, int) and request.count == 1 else None


_KINDS: Mapping[int, type[ProviderError]] = {
    **dict.fromkeys((1002, 1039, 1041, 2045, 429), RateLimitedError),
    **dict.fromkeys((1008, 2056, 2062, 402), QuotaError),
    **dict.fromkeys((1004, 2038, 2049, 401, 403), AuthError),
    **dict.fromkeys((1026, 1027), RefusedError),
    **dict.fromkeys((1000, 1001, 1024, 1033, 500, 502, 503, 504), UnavailableError),
}
"""The codes of older models, and of newer ones the status that their errors name; both may come with any status, 200 among them."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://platform.minimax.io/docs/api-reference/errorcode)."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    base, error = facts.get("base_resp"), facts.get("error")
    message = str(base.get("status_msg") or "") if isinstance(base, dict) and _code(facts) else words_in(error) or words_in(body)
    code = _code(facts)
    if not message and not code:
        return None
    kind = _KINDS.get(code) if code else None
    if re.search(r"sensitive|moderation|safety|content policy|blocked|违规|敏感", message, re.IGNORECASE):
        kind = RefusedError
    elif status < 400 and kind is None:
        kind = ProviderError
    named = error.get("type") if isinstance(error, dict) else None
    details = {"service_code": named if isinstance(named, str) else code}
    return Fault(message=message or f"code {code}", kind=kind, details={name: value for name, value in details.items() if value})


def _code(facts: Mapping[str, Any]) -> int:
    """The number by which the service names an error; 0 where there is none."""
    base, error = facts.get("base_resp"), facts.get("error")
    named = base.get("status_code") if isinstance(base, dict) else error.get("http_code") if isinstance(error, dict) else None
    return int(str(named)) if re.fullmatch(r"\d+", str(named)) else 0
