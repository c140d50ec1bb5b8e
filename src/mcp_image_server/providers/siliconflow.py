"""SiliconFlow (硅基流动): open models as a service. Facts from https://docs.siliconflow.cn/cn/api-reference/images/images-generations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Size, SizeList
from ..negotiate import Fitted
from ..net import Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, present, with_default

DEFAULT_MODEL = "Qwen/Qwen-Image"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="SILICONFLOW_API_KEY", description="Key of the account at SiliconFlow.")
    base_url: BaseUrl = Field(
        "https://api.siliconflow.cn/v1",
        alias="SILICONFLOW_BASE_URL",
        description="Address of the service; https://api.siliconflow.com/v1 for a key of the international site, which has other models.",
    )
    model: str = Field(DEFAULT_MODEL, alias="SILICONFLOW_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 9_999_999_999


def _sizes(*sizes: tuple[int, int]) -> SizeList:
    return SizeList(sizes=tuple(Size(width=width, height=height) for width, height in sizes))


_ANY = Model(provider="siliconflow", id="", default_size=Size(width=1024, height=1024), seed=True, negative_prompt=True)
_GRANTED = "2 pictures a minute and 400 a day, unless more is agreed on."
_QWEN = replace(
    _ANY,
    languages=frozenset({"zh"}),
    writes=frozenset({"latin", "han"}),
    note=f"{_GRANTED} Options: num_inference_steps 1-100, cfg 0.1-20.",
)
_QWEN_EDIT = replace(_QWEN, operations=frozenset({Operation.EDIT}), default_size=None)
_FLUX = replace(
    _ANY,
    negative_prompt=False,
    sizes=_sizes((1024, 1024), (512, 1024), (768, 512), (768, 1024), (1024, 576), (576, 1024)),
    note="At the international site. Options: num_inference_steps, guidance_scale.",
)

MODELS = (
    replace(
        _QWEN,
        id=DEFAULT_MODEL,
        title="Qwen-Image",
        sizes=_sizes((1328, 1328), (1664, 928), (928, 1664), (1472, 1140), (1140, 1472), (1584, 1056), (1056, 1584)),
        default_size=Size(width=1328, height=1328),
    ),
    replace(
        _ANY,
        id="Kwai-Kolors/Kolors",
        title="Kolors",
        sizes=_sizes((1024, 1024), (960, 1280), (768, 1024), (720, 1440), (720, 1280)),
        max_count=4,
        languages=frozenset({"zh"}),
        note=f"{_GRANTED} Options: num_inference_steps 1-100, guidance_scale 0-20.",
    ),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit-2509", title="Qwen-Image-Edit 2509", max_images=3),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit", title="Qwen-Image-Edit", max_images=1),
    replace(_FLUX, id="black-forest-labs/FLUX.1-schnell", title="FLUX.1 schnell"),
    replace(_FLUX, id="black-forest-labs/FLUX.1-dev", title="FLUX.1 dev"),
)
"""The best known; both sites take models in and out, and list them under /models. The prices differ by site and are not here."""

CATALOGUE = Catalogue(
    provider="siliconflow",
    title="SiliconFlow",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1328x1328": "1328x1328 (1:1 正方形 square)",
        "1664x928": "1664x928 (16:9 横向 landscape)",
        "928x1664": "928x1664 (9:16 竖向 portrait)",
        "1472x1140": "1472x1140 (4:3 横向 landscape)",
        "1140x1472": "1140x1472 (3:4 竖向 portrait)",
        "1584x1056": "1584x1056 (3:2 横向 landscape)",
        "1056x1584": "1056x1584 (2:3 竖向 portrait)",
    },
    variables=("SILICONFLOW_API_KEY",),
    unknown=replace(_ANY, operations=frozenset({Operation.GENERATE, Operation.EDIT}), max_images=3),
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class SiliconFlow:
    """The service at work. Opens no connection before it is first used."""

    name = "siliconflow"
    limits = Limits(concurrent=2)  # what it grants a minute and a day differs from model to model
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, behind links that live for an hour and are followed at once."""
        fitted = suited(request, model)
        body = await anyio.to_thread.run_sync(to_wire, fitted.request, model)
        reply = await self._net.send("POST", "images/generations", json=body)
        answer = reply.parse(Answer)
        links = [entry.url for entry in answer.images or answer.data or () if entry.url]
        if not links:
            body = reply.json()
            raise reply.fault(body) if read_fault(200, body) else reply.failure(BadReplyError, "SiliconFlow answered without a picture")
        await context.report(0.9, "The pictures are drawn and on their way.")
        pictures = await self._net.download_all(links)
        return replace(from_wire(answer, pictures, reply), adjustments=fitted.adjustments)

    async def check(self) -> str:
        """Whether the key works, and what is left of its money."""
        reply = await self._net.send("GET", "user/info", read_timeout=30)
        balance = reply.parse(Account).data.totalBalance
        return f"SiliconFlow accepts the key; the balance is {balance or 'not told'}."

    async def listed(self) -> tuple[str, ...]:
        """The models of the site that draw."""
        reply = await self._net.send("GET", "models", params={"type": "image"}, read_timeout=30)
        return tuple(entry.id for entry in reply.parse(ModelList).data)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()


def load(environment: Environment) -> SiliconFlow | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return SiliconFlow(parse(Config, environment)) if "SILICONFLOW_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="siliconflow",
        title="SiliconFlow",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="SILICONFLOW_API_KEY",
        url_variable="SILICONFLOW_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture."""

    url: str | None = None


class Answer(BaseModel):
    """A whole answer. Some of the models list their pictures as `data`."""

    images: list[Entry] | None = None
    data: list[Entry] | None = None
    seed: int | None = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models of one kind."""

    data: list[ListedModel]


class Balance(BaseModel):
    """What is left of an account's money."""

    totalBalance: str | None = None  # noqa: N815  # the service's own word


class Account(BaseModel):
    """The answer to the question for the account."""

    data: Balance = Balance()


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def suited(request: ImageRequest, model: Model) -> Fitted:
    """The request within the service's own bounds, with a word on each change."""
    words: list[Adjustment] = []
    if request.images and request.shape is not None:
        words.append(Adjustment(field="resolution", message=f"{model.id} goes by the size of the input picture."))
        request = replace(request, shape=None)
    if request.seed is not None and request.seed > MAX_SEED:
        seed = request.seed % (MAX_SEED + 1)
        words.append(Adjustment(field="seed", message=f"SiliconFlow takes seeds up to {MAX_SEED}; {request.seed} became {seed}."))
        request = replace(request, seed=seed)
    return Fitted(request=request, adjustments=tuple(words))


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call; `request` is a suited one. An editing model refuses `image_size`."""
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "image_size": str(request.shape) if request.shape else None,
        "batch_size": request.count if model.max_count > 1 else None,
        "seed": request.seed,
        **{name: data_url(picture) for name, picture in zip(("image", "image2", "image3"), request.images, strict=False)},
    }
    return {**present(body), **request.options}


def from_wire(answer: Answer, pictures: Sequence[bytes], reply: Reply) -> Generated:
    """The answer in our words. The service tells one seed, which of several pictures none can claim."""
    seed = answer.seed if len(pictures) == 1 else None
    request_id = reply.request_id or reply.headers.get("x-siliconcloud-trace-id")
    return Generated(images=tuple(Drawn(data=data, seed=seed) for data in pictures), request_id=request_id)


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"sensitive|inappropriate|prohibited|moderation|content policy|nsfw|违规|敏感|审核", RefusedError),
    (r"\b(IPD|RPD|TPD)\b|balance|余额", QuotaError),
    (r"\b(IPM|RPM|TPM)\b|rate.?limit", RateLimitedError),
    (r"invalid token|api key is invalid", AuthError),
)
"""Words by which a complaint is known: money and moderation share their status with other complaints."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://docs.siliconflow.cn/cn/faqs/error-code): a code and a message, or a mere text."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    message, code = words_in(body), facts.get("code")
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None)
    if code == 20012:  # no such model
        message = f"{message} {CATALOGUE.title} has other models at each of its two sites; see SILICONFLOW_BASE_URL"
    return Fault(message=message, kind=kind if status < 500 else None, details={"service_code": code} if code is not None else {})
