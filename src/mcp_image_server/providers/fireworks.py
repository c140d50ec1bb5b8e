"""Fireworks AI: FLUX and Stable Diffusion models. Facts from https://docs.fireworks.ai/api-reference/generate-a-new-image-from-a-text-prompt.

Each family of models has a way of its own: FLUX.1 answers with the picture's bytes, FLUX.1 Kontext with a task, Stable Diffusion XL with bytes at
another address and for another body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from itertools import count
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Price, Size, SizeList
from ..net import Fault, Net, Pace, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, guessed, present, that_draw, with_default

DEFAULT_MODEL = "flux-kontext-pro"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="FIREWORKS_API_KEY", description="Key of the account at Fireworks AI.")
    base_url: BaseUrl = Field(
        "https://api.fireworks.ai/inference/v1", alias="FIREWORKS_BASE_URL", description="Address of the service, used as written."
    )
    model: str = Field(DEFAULT_MODEL, alias="FIREWORKS_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_RATIOS: Mapping[Size, str] = {
    Size(width=1024, height=1024): "1:1",
    Size(width=1344, height=768): "16:9",
    Size(width=768, height=1344): "9:16",
    Size(width=1216, height=832): "3:2",
    Size(width=832, height=1216): "2:3",
    Size(width=1152, height=896): "4:3",
    Size(width=896, height=1152): "3:4",
    Size(width=1152, height=928): "5:4",
    Size(width=928, height=1152): "4:5",
    Size(width=1536, height=640): "21:9",
    Size(width=640, height=1536): "9:21",
}
"""FLUX takes a proportion; about these sizes come of it."""

_FLUX = Model(
    provider="fireworks",
    id="",
    sizes=SizeList(sizes=tuple(_RATIOS)),
    default_size=Size(width=1024, height=1024),
    seed=True,
    formats=("jpeg", "png"),
    note="Options: num_inference_steps, guidance_scale.",
)
_KONTEXT = replace(
    _FLUX,
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    max_images=1,
    writes=frozenset({"latin"}),
    note="Options: prompt_upsampling, safety_tolerance 0-6.",
)
_XL = replace(
    _FLUX,
    sizes=SizeList(
        sizes=tuple(
            Size(width=width, height=height)
            for width, height in (
                (1024, 1024),
                (1152, 896),
                (896, 1152),
                (1216, 832),
                (832, 1216),
                (1344, 768),
                (768, 1344),
                (1536, 640),
                (640, 1536),
            )
        )
    ),
    negative_prompt=True,
    note="Options: steps, cfg_scale, sampler.",
)


def _usd(amount: float) -> Price:
    return Price(amount=amount, currency="USD", as_of=date(2026, 11, 21))


KONTEXT = (
    replace(_KONTEXT, id=DEFAULT_MODEL, title="FLUX.1 Kontext [pro]", price=_usd(0.04)),
    replace(_KONTEXT, id="flux-kontext-max", title="FLUX.1 Kontext [max]", price=_usd(0.08)),
)
FLUX = (
    replace(_FLUX, id="flux-1-dev-fp8", title="FLUX.1 [dev]"),
    replace(_FLUX, id="flux-1-schnell-fp8", title="FLUX.1 [schnell]"),
)
XL = (
    replace(_XL, id="stable-diffusion-xl-1024-v1-0", title="Stable Diffusion XL"),
    replace(_XL, id="playground-v2-5-1024px-aesthetic", title="Playground v2.5"),
    replace(_XL, id="playground-v2-1024px-aesthetic", title="Playground v2"),
    replace(_XL, id="SSD-1B", title="Segmind SSD-1B"),
    replace(_XL, id="japanese-stable-diffusion-xl", title="Japanese Stable Diffusion XL", languages=frozenset({"ja"})),
)
MODELS = (*KONTEXT, *FLUX, *XL)
_KONTEXT_IDS = frozenset(model.id for model in KONTEXT)
_XL_IDS = frozenset(model.id for model in XL)

CATALOGUE = Catalogue(
    provider="fireworks",
    title="Fireworks AI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "1216x832": "1216x832 (3:2 landscape 横向)",
        "832x1216": "832x1216 (2:3 portrait 竖向)",
    },
    variables=("FIREWORKS_API_KEY",),
    unknown=_FLUX,
)


_FOLDER = "accounts/fireworks/models/"


def place_of(model_id: str) -> str:
    """The model's own name at the service: those of Fireworks itself are known by their last part."""
    return model_id if "/" in model_id else f"{_FOLDER}{model_id}"


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOST_LOOKS = 5
"""A task may be unknown for a moment after it was taken; after so many looks it is lost."""


class Fireworks:
    """The service at work. Opens no connection before it is first used."""

    name = "fireworks"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace | None = None) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))
        self._pace = pace or Pace(first=0.5, longest=4)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: at once, or of a task that is submitted and waited for."""
        body = await anyio.to_thread.run_sync(to_wire, request, model)
        if model.id in _KONTEXT_IDS:
            reply = await self._net.send("POST", f"workflows/{place_of(model.id)}", json=body)
            submitted = reply.parse(Submitted)
            if submitted.request_id is None:
                raise reply.fault(reply.json()) if submitted.error else reply.failure(BadReplyError, "Fireworks took the work but gave it no id")
            task_id = f"{model.id}:{submitted.request_id}"
            await context.accepted(task_id)
            return await self.resume(task_id, request, model, context)
        route = f"image_generation/{place_of(model.id)}" if model.id in _XL_IDS else f"workflows/{place_of(model.id)}/text_to_image"
        accept = f"image/{request.output_format or 'jpeg'}"
        return self._drawn(await self._net.send("POST", route, json=body, headers={"Accept": accept}))

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier. The id is that of the model, a colon, and the service's own."""
        asked, _, own_id = task_id.partition(":")
        looks = count(1)

        async def look() -> tuple[Reply, Task] | None:
            reply = await self._net.send("POST", f"workflows/{place_of(asked)}/get_result", json={"id": own_id}, repeatable=True)
            task = reply.parse(Task)
            seen = next(looks)
            if task.status == "Task not found" and seen <= _LOST_LOOKS:
                return None
            if task.status in _ENDS:
                return replace(reply, paid=True), task
            fraction = task.progress if task.progress is not None and 0 <= task.progress <= 1 else guessed(seen)
            await context.report(min(fraction, 0.9), "Fireworks is drawing.")
            return None

        reply, task = await self._net.poll(look, pace=self._pace)
        if task.status != "Ready":
            raise self._ended(reply, task)
        if task.result is None or not task.result.sample:
            raise reply.failure(BadReplyError, "Fireworks finished the task without a picture")
        await context.report(0.95, "The picture is drawn and on its way.")
        data = await self._net.download(task.result.sample)
        seed = task.result.seed if task.result.seed is not None else request.seed
        return Generated(images=(Drawn(data=data, seed=seed),), request_id=reply.request_id or own_id)

    async def check(self) -> str:
        """Whether the key works, asked without paying."""
        await self._net.send("GET", "models", read_timeout=30)
        return "Fireworks accepts the key."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw, judged by their names: the list has those of all kinds."""
        reply = await self._net.send("GET", "models", read_timeout=30)
        return that_draw((entry.id.removeprefix(_FOLDER) for entry in reply.parse(ModelList).data), self.catalogue)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    def _drawn(self, reply: Reply) -> Generated:
        """The picture in an answer that is nothing else."""
        if reply.headers.get("finish-reason", "").upper() == "CONTENT_FILTERED":
            raise reply.failure(RefusedError, "Fireworks' safety checker turned the picture away")
        if not reply.headers.get("content-type", "").startswith("image/"):
            body = reply.json()
            if isinstance(body, dict) and words_in(body):
                raise reply.fault(body)
            raise reply.failure(BadReplyError, "Fireworks answered without a picture")
        seed = reply.headers.get("seed", "")
        return Generated(images=(Drawn(data=reply.body, seed=int(seed) if seed.isdecimal() else None),), request_id=reply.request_id)

    def _ended(self, reply: Reply, task: Task) -> ProviderError:
        """The error for a task that ended without a picture."""
        reason = words_in(task.details) or ", ".join(
            str(word) for words in (task.details or {}).values() for word in (words if isinstance(words, list) else ())
        )
        words = f"Fireworks ended the task with: {task.status}" + (f" ({reason})" if reason else "")
        return reply.failure(RefusedError if "Moderated" in (task.status or "") else ProviderError, words)


def load(environment: Environment) -> Fireworks | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Fireworks(parse(Config, environment)) if "FIREWORKS_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="fireworks",
        title="Fireworks",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="FIREWORKS_API_KEY",
        url_variable="FIREWORKS_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_ENDS = ("Ready", "Request Moderated", "Content Moderated", "Error", "Task not found")
"""States of a task that is over. Any other means that it is under way."""


class Submitted(BaseModel):
    """The answer to a submission."""

    request_id: str | None = None
    error: Any = None


class Result(BaseModel):
    """What a task brought."""

    sample: str | None = None
    seed: int | None = None


class Task(BaseModel):
    """A task as it stands."""

    status: str
    result: Result | None = None
    progress: float | None = None
    details: dict[str, Any] | None = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models of all kinds."""

    data: list[ListedModel]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call, in the words of the model's family."""
    size = request.shape if isinstance(request.shape, Size) else None
    body: dict[str, Any] = {"prompt": request.prompt, "seed": request.seed}
    if model.id in _XL_IDS:
        body |= {"width": size.width if size else None, "height": size.height if size else None, "negative_prompt": request.negative_prompt}
    else:
        body |= {"aspect_ratio": _RATIOS.get(size) if size else None}
    if model.id in _KONTEXT_IDS:
        body |= {"output_format": request.output_format, "input_image": data_url(request.images[0]) if request.images else None}
    return {**present(body), **request.options}


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"nsfw|safety.?check|moderat|content.?(polic|filter)|inappropriate", RefusedError),
    (r"billing|payment|credit|spending.?limit|quota|suspended", QuotaError),
    (r"rate.?limit", RateLimitedError),
)
"""Words by which a failure is known, where the status alone would mislead or there is none."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://docs.fireworks.ai/guides/inference-error-codes)."""
    message = words_in(body)
    if not message:
        return None
    kind = (
        next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None) if status in (200, 400, 402, 403, 412, 422) else None
    )
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = facts.get("error")
    code = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return Fault(message=message, kind=kind, details={"service_code": code} if isinstance(code, str) else {})
