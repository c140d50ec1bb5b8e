"""Together AI: open and resold models behind one call. Facts from https://docs.together.ai/reference/post-images-generations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..errors import BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Size, SizeRange
from ..net import Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, present, with_default

DEFAULT_MODEL = "black-forest-labs/FLUX.2-pro"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="TOGETHER_API_KEY", description="Key of the account at Together AI.")
    base_url: BaseUrl = Field("https://api.together.xyz/v1", alias="TOGETHER_BASE_URL", description="Address of the service, used as written.")
    model: str = Field(DEFAULT_MODEL, alias="TOGETHER_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_EDITS = frozenset({Operation.GENERATE, Operation.EDIT})

_ANY = Model(
    provider="together",
    id="",
    operations=_EDITS,
    default_size=Size(width=1024, height=1024),
    max_count=4,
    formats=("jpeg", "png"),
    max_images=1,
)
"""What nearly every model understands; the resold ones refuse a seed and a negative prompt."""

_FLUX = replace(
    _ANY,
    seed=True,
    negative_prompt=True,
    writes=frozenset({"latin"}),
    note="Options: steps, guidance_scale, disable_safety_checker; image_loras ([{path, scale}]) where the model takes any.",
)
_FLUX_1 = replace(
    _FLUX,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    sizes=SizeRange(min_edge=256, max_edge=1440, min_pixels=256 * 256, max_pixels=1440 * 1440, multiple=32),
)
_KONTEXT = replace(_FLUX_1, operations=_EDITS, max_images=1)
_FLUX_2 = replace(_FLUX, max_images=8, sizes=SizeRange(min_edge=64, max_edge=2048, max_pixels=2048 * 2048, multiple=16))
_GOOGLE = replace(_ANY, max_images=3, languages=frozenset({"en", "zh"}), writes=frozenset({"latin"}))

MODELS = (
    replace(_FLUX_2, id=DEFAULT_MODEL, title="FLUX.2 [pro]"),
    replace(_FLUX_2, id="black-forest-labs/FLUX.2-max", title="FLUX.2 [max]"),
    replace(_FLUX_2, id="black-forest-labs/FLUX.2-flex", title="FLUX.2 [flex]"),
    replace(_FLUX_2, id="black-forest-labs/FLUX.2-dev", title="FLUX.2 [dev]"),
    replace(_KONTEXT, id="black-forest-labs/FLUX.1-kontext-pro", title="FLUX.1 Kontext [pro]"),
    replace(_KONTEXT, id="black-forest-labs/FLUX.1-kontext-max", title="FLUX.1 Kontext [max]"),
    replace(_FLUX_1, id="black-forest-labs/FLUX.1.1-pro", title="FLUX 1.1 [pro]"),
    replace(_FLUX_1, id="black-forest-labs/FLUX.1-schnell", title="FLUX.1 [schnell]"),
    replace(_GOOGLE, id="google/flash-image-2.5", title="Gemini Flash Image 2.5"),
    replace(_GOOGLE, id="google/gemini-3-pro-image", title="Gemini 3 Pro Image"),
)
"""The usual ones; the catalogue at https://docs.together.ai/docs/serverless-models has more, which can be named as well. Their prices change often."""

SINGLE_IMAGE = frozenset({"black-forest-labs/FLUX.1-kontext-pro", "black-forest-labs/FLUX.1-kontext-max"})
"""Models that take their input picture as `image_url`; all others as `reference_images`."""

CATALOGUE = Catalogue(
    provider="together",
    title="Together AI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "1184x896": "1184x896 (4:3 landscape 横向)",
        "896x1184": "896x1184 (3:4 portrait 竖向)",
    },
    variables=("TOGETHER_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Together:
    """The service at work. Opens no connection before it is first used."""

    name = "together"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, in one call."""
        body = await anyio.to_thread.run_sync(to_wire, request, model)
        reply = await self._net.send("POST", "images/generations", json=body)
        answer = reply.parse(Answer)
        if answer.data is None and answer.error is not None:
            raise reply.fault(reply.json())
        entries = [entry for entry in answer.data or () if entry.b64_json or entry.url]
        pictures = await self._net.all_of(self._picture(entry, reply) for entry in entries)
        if not pictures:
            raise reply.failure(BadReplyError, "Together AI answered without a picture")
        return from_wire(pictures, request, request_id=answer.id or reply.request_id)

    async def check(self) -> str:
        """Whether the key works and the model is listed, asked without paying."""
        listed = {entry.id for entry in (await self._net.send("GET", "models", read_timeout=30)).parse(Listed).root}
        model = self.catalogue.default_model
        return f"Together AI accepts the key, and the model {model} is {'listed' if model in listed else 'not listed'}."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw and that the key may use."""
        reply = await self._net.send("GET", "models", read_timeout=30)
        return tuple(entry.id for entry in reply.parse(Listed).root if entry.type == "image")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _picture(self, entry: Entry, reply: Reply) -> bytes:
        return await reply.decode(entry.b64_json) if entry.b64_json else await self._net.download(entry.url or "")


def load(environment: Environment) -> Together | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Together(parse(Config, environment)) if "TOGETHER_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="together",
        title="Together AI",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="TOGETHER_API_KEY",
        url_variable="TOGETHER_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture, inline or behind a link."""

    b64_json: str | None = None
    url: str | None = None


class Answer(BaseModel):
    """A whole answer."""

    id: str | None = None
    data: list[Entry] | None = None
    error: Any = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str
    type: str | None = None


class Listed(RootModel[list[ListedModel]]):
    """The models that the key may use."""


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call: one address for drawing and editing alike."""
    size = request.shape if isinstance(request.shape, Size) else None
    links = [data_url(picture) for picture in request.images]
    single = model.id in SINGLE_IMAGE
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        "output_format": request.output_format,
        "image_url": links[0] if single and links else None,
        "reference_images": links if links and not single else None,
        "response_format": "base64",
    }
    return {**present(body), **request.options}


def from_wire(pictures: Sequence[bytes], request: ImageRequest, *, request_id: str | None) -> Generated:
    """The answer in our words; the service does not repeat the seed, and gives each further picture one of its own."""
    seeds = [request.seed if number == 0 else None for number in range(len(pictures))]
    return Generated(images=tuple(Drawn(data=data, seed=seed) for data, seed in zip(pictures, seeds, strict=True)), request_id=request_id)


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"nsfw|(?<!disable_)safety|moderat|content.?polic|inappropriate|unsafe", RefusedError),
    (r"credit|billing|balance|payment|spending", QuotaError),
    (r"rate.?limit", RateLimitedError),
)
"""Words by which a failure is known, where the status alone would mislead or there is none."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://docs.together.ai/docs/error-codes)."""
    error = body.get("error") if isinstance(body, dict) else None
    message = words_in(error or body)
    if not message:
        return None
    facts: Mapping[str, Any] = error if isinstance(error, dict) else {}
    code = next((facts[name] for name in ("code", "type") if isinstance(facts.get(name), str)), None)
    found = next((kind for words, kind in _KINDS if re.search(words, f"{code} {message}", re.IGNORECASE)), None)
    kind = found if status in (200, 400, 402, 403, 422) else None
    details = {"service_code": code, "parameter": facts.get("param")}
    return Fault(message=message, kind=kind, details={name: value for name, value in details.items() if isinstance(value, str)})
