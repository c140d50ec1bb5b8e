"""Black Forest Labs: the FLUX models at their makers. Facts from https://docs.bfl.ai."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, QuotaError, RefusedError
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
    Price,
    Size,
    SizeList,
    SizeRange,
)
from ..net import Fault, Net, Pace, Reply, Service, Timeouts, words_in
from ..settings import Environment, parse
from .base import Context, account_of, guessed, with_default

DEFAULT_MODEL = "flux-2-pro"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="BFL_API_KEY", description="Key of the account, from https://dashboard.bfl.ai.")
    base_url: Annotated[BaseUrl, AfterValidator(lambda url: url.removesuffix("/v1"))] = Field(
        "https://api.bfl.ai",
        alias="BFL_BASE_URL",
        description="Address of the service, with or without /v1; https://api.eu.bfl.ai or https://api.us.bfl.ai keeps the work in that region.",
    )
    model: str = Field(DEFAULT_MODEL, alias="BFL_MODEL", pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$", description="Model for requests that name none.")

    @property
    def is_vendor(self) -> bool:
        """The service is Black Forest Labs itself and no gateway before it."""
        host = urlsplit(self.base_url).hostname or ""
        return host == "bfl.ai" or host.endswith(".bfl.ai")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_PRICED = date(2026, 11, 21)

_RATIOS = ("21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "1:1", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2", "9:21")


def _sizes_of(ratio: str, edge: int) -> Size:
    """About the pixels of a square with that edge, in that ratio, on the grid of 16 that the models draw on."""
    width, height = map(int, ratio.split(":"))
    scale = edge / (width * height) ** 0.5
    return Size(width=round(width * scale / 16) * 16, height=round(height * scale / 16) * 16)


_ONE_MEGAPIXEL = {_sizes_of(ratio, 1024): {"aspect_ratio": ratio} for ratio in _RATIOS}
_FOUR_MEGAPIXELS = {_sizes_of(ratio, 2048): {"aspect_ratio": ratio} for ratio in _RATIOS}
_CLASSES = {
    _sizes_of(ratio, edge): {"aspect_ratio": ratio, "resolution": name}
    for name, edge in {"1k": 1024, "768sq": 768, "1.5k": 1536, "2k": 2048, "4k": 4096}.items()
    for ratio in _RATIOS
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """Under which names a model takes what it takes."""

    prompt: bool = True
    images: tuple[str, ...] = ()
    """A field for each input picture."""
    image_list: str = ""
    """The field that takes all input pictures, where there is such a one."""
    shapes: Mapping[Size, Mapping[str, str]] = field(default_factory=dict)
    """How sizes are asked for; those that are not here go as width and height."""


_NUMBERED = ("input_image", *(f"input_image_{number}" for number in range(2, 9)))

_DRAWS_AND_EDITS = frozenset({Operation.GENERATE, Operation.EDIT})
_DRAWS_AND_VARIES = frozenset({Operation.GENERATE, Operation.VARIATION})
_FORMATS = ("jpeg", "png", "webp")
_LATIN = frozenset({"latin"})

_NOT_TO_THE_PIXEL = "Takes a shape; the size that comes out is near the one named."

_FLUX_3 = Model(
    provider="bfl",
    id="",
    operations=_DRAWS_AND_EDITS,
    sizes=SizeList(sizes=tuple(_CLASSES)),
    default_size=Size(width=1024, height=1024),
    max_images=10,
    writes=_LATIN,
    polled=True,
    note=f"{_NOT_TO_THE_PIXEL} Options: grounding (false: no web search), safety_tolerance 0-4.",
)
_FLUX_2 = Model(
    provider="bfl",
    id="",
    operations=_DRAWS_AND_EDITS,
    sizes=SizeRange(min_edge=64, max_edge=4096, max_pixels=2048 * 2048, multiple=16),
    default_size=Size(width=1024, height=1024),
    seed=True,
    formats=_FORMATS,
    max_images=8,
    writes=_LATIN,
    polled=True,
    note="Options: safety_tolerance 0-5.",
)
_KLEIN = replace(_FLUX_2, max_images=4)
_KONTEXT = replace(
    _FLUX_2,
    sizes=SizeList(sizes=tuple(_ONE_MEGAPIXEL)),
    max_images=4,
    note=f"{_NOT_TO_THE_PIXEL} Options: prompt_upsampling, safety_tolerance 0-6.",
)
_FLUX_1 = replace(
    _FLUX_2,
    operations=_DRAWS_AND_VARIES,
    sizes=SizeRange(min_edge=256, max_edge=1440, max_pixels=1440 * 1440, multiple=32),
    max_images=1,
    writes=frozenset(),
    note="Options: prompt_upsampling, safety_tolerance 0-6.",
)
_ULTRA = replace(
    _FLUX_1,
    sizes=SizeList(sizes=tuple(_FOUR_MEGAPIXELS)),
    default_size=Size(width=2048, height=2048),
    strength=True,
    note=f"{_NOT_TO_THE_PIXEL} Options: raw, prompt_upsampling, safety_tolerance 0-6.",
)
_ON_A_PICTURE = replace(
    _FLUX_1,
    sizes=None,
    default_size=None,
    note="Options: steps 15-50, guidance 1.5-100, prompt_upsampling, safety_tolerance 0-6.",
)
_FILL = replace(_ON_A_PICTURE, operations=frozenset({Operation.INPAINT}), mask=True)
_NEEDS_FINETUNE = "Options: finetune_id (needed), finetune_strength 0-2."


def _usd(amount: float, *, each_megapixel: bool = False) -> Price:
    return Price(amount=amount, currency="USD", as_of=_PRICED, per="megapixel" if each_megapixel else "image")


MODELS = (
    replace(_FLUX_3, id="flux-3-image", title="FLUX 3 Image"),
    replace(_FLUX_3, id="flux-3-image-klein", title="FLUX 3 Image klein"),
    replace(_FLUX_2, id="flux-2-max", title="FLUX.2 max", price=_usd(0.07, each_megapixel=True)),
    replace(_FLUX_2, id=DEFAULT_MODEL, title="FLUX.2 pro", price=_usd(0.03, each_megapixel=True)),
    replace(_FLUX_2, id="flux-2-pro-preview", title="FLUX.2 pro (preview)", price=_usd(0.03, each_megapixel=True)),
    replace(
        _FLUX_2,
        id="flux-2-flex",
        title="FLUX.2 flex",
        price=_usd(0.06, each_megapixel=True),
        note="Options: steps 1-50, guidance 1.5-10, prompt_upsampling, safety_tolerance 0-5.",
    ),
    replace(_KLEIN, id="flux-2-klein-9b", title="FLUX.2 klein 9B", price=_usd(0.015, each_megapixel=True)),
    replace(_KLEIN, id="flux-2-klein-9b-preview", title="FLUX.2 klein 9B (preview)", price=_usd(0.015, each_megapixel=True)),
    replace(_KLEIN, id="flux-2-klein-4b", title="FLUX.2 klein 4B", price=_usd(0.014, each_megapixel=True)),
    replace(_KONTEXT, id="flux-kontext-max", title="FLUX.1 Kontext max", price=_usd(0.08)),
    replace(_KONTEXT, id="flux-kontext-pro", title="FLUX.1 Kontext pro", price=_usd(0.04)),
    replace(_ULTRA, id="flux-pro-1.1-ultra", title="FLUX1.1 pro ultra", price=_usd(0.06)),
    replace(_ULTRA, id="flux-pro-1.1-ultra-finetuned", title="FLUX1.1 pro ultra, finetuned", note=f"{_NOT_TO_THE_PIXEL} {_NEEDS_FINETUNE}"),
    replace(_FLUX_1, id="flux-pro-1.1", title="FLUX1.1 pro", price=_usd(0.04)),
    replace(
        _FLUX_1,
        id="flux-dev",
        title="FLUX.1 dev",
        price=_usd(0.025),
        note="Options: steps 1-50, guidance 1.5-5, prompt_upsampling, safety_tolerance 0-6.",
    ),
    replace(_FILL, id="flux-pro-1.0-fill", title="FLUX.1 Fill pro", price=_usd(0.05)),
    replace(_FILL, id="flux-pro-1.0-fill-finetuned", title="FLUX.1 Fill pro, finetuned", note=_NEEDS_FINETUNE),
    replace(_ON_A_PICTURE, id="flux-pro-1.0-expand", title="FLUX.1 Expand pro", operations=frozenset({Operation.OUTPAINT}), price=_usd(0.05)),
    replace(
        _FILL,
        id="flux-tools/erase-v1",
        title="FLUX Erase",
        seed=False,
        formats=(),
        note="Takes away what the mask leaves open, whatever the prompt says. Options: dilate_pixels 0-25.",
    ),
)
"""Each id is the end of the address at which the model is asked."""

_IN_FLUX_2 = Form(images=_NUMBERED)
_IN_FLUX_3 = Form(image_list="images", shapes=_CLASSES)
_IN_KONTEXT = Form(images=_NUMBERED, shapes=_ONE_MEGAPIXEL)
_IN_FLUX_1 = Form(images=("image_prompt",))
_IN_ULTRA = Form(images=("image_prompt",), shapes=_FOUR_MEGAPIXELS)
_IN_TOOLS = Form(images=("image",))
FORMS: Mapping[str, Form] = {
    "flux-3-image": _IN_FLUX_3,
    "flux-3-image-klein": _IN_FLUX_3,
    "flux-kontext-max": _IN_KONTEXT,
    "flux-kontext-pro": _IN_KONTEXT,
    "flux-pro-1.1-ultra": _IN_ULTRA,
    "flux-pro-1.1-ultra-finetuned": _IN_ULTRA,
    "flux-pro-1.1": _IN_FLUX_1,
    "flux-dev": _IN_FLUX_1,
    "flux-pro-1.0-fill": _IN_TOOLS,
    "flux-pro-1.0-fill-finetuned": _IN_TOOLS,
    "flux-pro-1.0-expand": _IN_TOOLS,
    "flux-tools/erase-v1": replace(_IN_TOOLS, prompt=False),
}
"""All others are asked like FLUX.2."""

CATALOGUE = Catalogue(
    provider="bfl",
    title="Black Forest Labs",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1360x768": "1360x768 (16:9 横向 landscape)",
        "768x1360": "768x1360 (9:16 竖向 portrait)",
        "1248x832": "1248x832 (3:2 横向 landscape)",
        "832x1248": "832x1248 (2:3 竖向 portrait)",
        "2048x2048": "2048x2048 (1:1 正方形大图 large square)",
    },
    variables=("BFL_API_KEY",),
)
"""Ids that the table does not know are refused: some addresses beside the models' do other things than drawing."""


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=0.5, factor=1.3, longest=3, deadline=600)

_PATIENCE = 6
"""Looks at which a task may still be unknown: the service hears of it in one place before the others."""


class BlackForestLabs:
    """The service at work. Opens no connection before it is first used."""

    name = "bfl"
    limits = Limits(concurrent=24)
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING) -> None:
        self.catalogue = with_default(CATALOGUE, config.model, like=Model(provider="bfl", id="", polled=True))
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._looking = looking
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture: a task is submitted and waited for."""
        body = await anyio.to_thread.run_sync(to_wire, request, model) if request.inputs else to_wire(request, model)
        reply = await self._net.send("POST", f"v1/{model.id}", json=body)
        task_id = reply.parse(Submitted).task_id
        if task_id is None:
            raise reply.failure(BadReplyError, "Black Forest Labs took the work but did not say where to look for it")
        await context.accepted(task_id)
        return await self.resume(task_id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier; its id is the address to look at, with the cost in credits behind a #."""
        address, _, credits_spent = task_id.partition("#")
        looks = count(1)

        async def look() -> tuple[Reply, Task] | None:
            seen = next(looks)
            reply = await self._look(address)
            task = reply.parse(Task)
            if task.status == _UNKNOWN and seen <= _PATIENCE:
                return None
            if task.status == _READY or task.status in _ENDS:
                return reply, task
            drawn = task.progress if task.progress is not None and 0 <= task.progress <= 1 else guessed(seen)
            await context.report(0.9 * drawn, f"Black Forest Labs {_DOING.get(task.status, 'works on the task')}.")
            return None

        reply, task = await self._net.poll(look, pace=self._looking.within(request.polling))
        if task.status != _READY:
            raise reply.fault(reply.json())
        if task.result is None or not task.result.sample:
            raise reply.failure(BadReplyError, "Black Forest Labs finished the task without a picture")
        await context.report(0.95, "The picture is drawn and on its way.")
        data = await self._net.download(task.result.sample)
        return from_wire(task.result, data, request, model, credits_spent=credits_spent, request_id=reply.request_id or task.id)

    async def check(self) -> str:
        """Whether the key works and what is left of the account's credits, asked without spending any."""
        account = (await self._net.send("GET", "v1/credits", read_timeout=30)).parse(Credits)
        return f"Black Forest Labs accepts the key; {account.credits:g} credits are left."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _look(self, address: str) -> Reply:
        try:
            reply = await self._net.send("GET", address)
        except ProviderError as error:
            if (task := error.details.get("task")) is not None:
                return Reply(service=self._net.service, body=json.dumps(task).encode())
            # The question was turned away, not the work: that has been taken, and its credits are spent.
            error.not_accepted, error.may_have_been_billed = False, True
            raise
        return replace(reply, paid=True)


def load(environment: Environment) -> BlackForestLabs | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return BlackForestLabs(parse(Config, environment)) if "BFL_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="bfl",
        title="Black Forest Labs",
        base_url=config.base_url,
        headers={"x-key": key},
        secrets=(key,),
        trusted_hosts=("bfl.ai",) if config.is_vendor else (),  # a task is looked at where the cluster that took it says
        read_fault=read_fault,
        key_variable="BFL_API_KEY",
        url_variable="BFL_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_READY = "Ready"
_UNKNOWN = "Task not found"
_ENDS: Mapping[str, type[ProviderError]] = {
    "Request Moderated": RefusedError,
    "Content Moderated": RefusedError,
    "Error": ProviderError,
    _UNKNOWN: ProviderError,
}
_DOING = {"Pending": "has the task in line", "Reasoning": "thinks about the prompt", "Generating": "is drawing"}


class Submitted(BaseModel):
    """The answer to a submission."""

    polling_url: str | None = None
    cost: float | None = None

    @property
    def task_id(self) -> str | None:
        """All that is needed to go on with the task: a fragment is never sent, so it has room for what is not told again."""
        if not self.polling_url:
            return None
        return self.polling_url if self.cost is None else f"{self.polling_url}#{self.cost:g}"


class Result(BaseModel):
    """What was drawn."""

    sample: str | None = None
    prompt: str | None = None
    seed: int | None = None


class Task(BaseModel):
    """A task as it stands. A status that nobody knows means that it is still under way."""

    status: str
    id: str | None = None
    progress: float | None = None
    result: Result | None = None


class Credits(BaseModel):
    """What an account may spend; one is a US cent."""

    credits: float


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a submission. Takes its time where there is a mask, whose pixels are rewritten."""
    form = FORMS.get(model.id, _IN_FLUX_2)
    body: dict[str, Any] = {
        "prompt": request.prompt if form.prompt else None,
        **_pictures(request, form),
        **_shape(request, form),
        "seed": request.seed,
        "output_format": request.output_format,
        # The service counts the other way: 1 is the picture as it was.
        "image_prompt_strength": round(1 - request.strength, 3) if request.strength is not None and request.images else None,
    }
    if request.extend is not None:
        edges = request.extend
        body |= {"top": edges.top, "bottom": edges.bottom, "left": edges.left, "right": edges.right}
    return {**{name: value for name, value in body.items() if value is not None}, **request.options}


def _pictures(request: ImageRequest, form: Form) -> dict[str, Any]:
    texts = [_base64(picture.data) for picture in request.images]
    body: dict[str, Any] = {form.image_list: texts or None} if form.image_list else dict(zip(form.images, texts, strict=False))
    if request.mask is not None:
        from ..pictures import white_is_edit

        body["mask"] = _base64(white_is_edit(request.mask.data))
    return body


def _shape(request: ImageRequest, form: Form) -> Mapping[str, Any]:
    shape = request.shape
    if isinstance(shape, Size):
        return form.shapes.get(shape) or {"width": shape.width, "height": shape.height}
    return {"aspect_ratio": str(shape)} if shape is not None else {}


def from_wire(result: Result, data: bytes, request: ImageRequest, model: Model, *, credits_spent: str, request_id: str | None) -> Generated:
    """The answer in our words; `data` is the picture."""
    words: tuple[Adjustment, ...] = ()
    if request.prompt.strip() and not FORMS.get(model.id, _IN_FLUX_2).prompt:
        words = (Adjustment(field="prompt", message=f"{model.id} takes no prompt: what the mask leaves open was taken away."),)
    revised = result.prompt if result.prompt and result.prompt != request.prompt else None
    cost = Cost(micros=round(float(credits_spent) * 10_000), currency="USD", source="reported") if credits_spent else None
    return Generated(images=(Drawn(data=data, seed=result.seed, revised_prompt=revised),), cost=cost, request_id=request_id, adjustments=words)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a refused call has a `detail`, a task has a `status`, which counts for more than that of HTTP (it may be 404 or 503)."""
    facts = body if isinstance(body, dict) else {}
    if facts.get("status") in (_READY, *_ENDS, *_DOING):
        return _fault_of_task(facts) if status < 400 else Fault(message=facts["status"], kind=ProviderError, details={"task": facts})
    detail = facts.get("detail")
    if isinstance(detail, list):
        problems = [entry for entry in detail if isinstance(entry, dict)]
        message = "; ".join(f"{'.'.join(map(str, entry.get('loc', ())[1:]))}: {words_in(entry)}" for entry in problems)
    else:
        message = words_in(body)
    if not message:
        return None
    return Fault(message=message, kind=QuotaError if status != 429 and "insufficient credits" in message.lower() else None)


def _fault_of_task(task: Mapping[str, Any]) -> Fault:
    status, reasons = task["status"], list(_reasons(task.get("details")))
    message = f"{status} ({', '.join(reasons)})" if reasons else status
    if status == _UNKNOWN:
        message = f"{status}; pictures are kept for ten minutes"
    details = {"service_status": status, "task_id": task.get("id"), "reasons": reasons or None}
    return Fault(message=message, kind=_ENDS.get(status), details={name: value for name, value in details.items() if value is not None})


def _reasons(details: Any) -> Iterable[str]:
    """Every text inside the details of a task that failed."""
    if isinstance(details, str):
        yield details
    elif isinstance(details, Mapping | list):
        for value in details.values() if isinstance(details, Mapping) else details:
            yield from _reasons(value)
