"""fal: models of many makers behind one queue. Facts from https://docs.fal.ai/model-apis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError, QuotaError, RefusedError, UnavailableError
from ...fields import BaseUrl, Key
from ...models import Adjustment, Cost, Drawn, Generated, ImageRequest, Limits, Model, Size
from ...net import Fault, Net, Pace, Reply, Service, Timeouts, words_in
from ...settings import Environment, parse
from ..base import Context, account_of, data_url, guessed, with_default
from .models import APPS, CATALOGUE, DEFAULT_MODEL, MODELS, RATIOS, RESOLUTIONS, App, app_of

__all__ = ["APPS", "CATALOGUE", "MODELS", "Config", "Fal", "load"]

# Config -------------------------------------------------------------------------------------------------------------------------------------

_NAME = r"[\w-][\w.-]*(/[\w-][\w.-]*)+"


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    key: Key = Field(alias="FAL_KEY", description="Key of the account, from https://fal.ai/dashboard/keys.")
    base_url: BaseUrl = Field("https://queue.fal.run", alias="FAL_BASE_URL", description="Address of the service's queue.")
    model: str = Field(
        DEFAULT_MODEL,
        alias="FAL_MODEL",
        pattern=f"^{_NAME}$",
        description="Model for requests that name none: one of the table, or any app of the service that draws.",
    )

    @property
    def is_vendor(self) -> bool:
        """The service is fal itself and no gateway before it."""
        return urlsplit(self.base_url).hostname == "queue.fal.run"


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=0.5, factor=1.3, longest=3)

_PRICING = "v1/models/pricing"


class Fal:
    """The service at work. Opens no connection before it is first used."""

    name = "fal"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING) -> None:
        self.catalogue = with_default(CATALOGUE, config.model, like=Model(provider="fal", id="", polled=True))
        self.account = account_of(self.name, config.key.get_secret_value())
        self._config = config
        self._looking = looking
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: the request is put into the queue and waited for."""
        app = app_of(model, request.operation)
        if re.fullmatch(_NAME, app.path) is None:  # it becomes part of an address
            raise self._net.service.failure(ProviderError, f"{app.path!r} is no app of fal; one is called like {DEFAULT_MODEL}", not_accepted=True)
        body = await anyio.to_thread.run_sync(to_wire, request, app) if request.inputs else to_wire(request, app)
        reply = await self._net.send("POST", app.path, json=body)
        task_id = reply.parse(Queued).task_id
        if task_id is None:
            raise reply.failure(BadReplyError, "fal took the work but did not say where to look for it")
        await context.accepted(task_id)
        return await self.resume(task_id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a request that was put into the queue earlier; its id is the address of the result, and of the status if that is elsewhere."""
        result_url, _, status_url = task_id.partition(" ")
        looks = count(1)

        async def look() -> bool | None:
            status = (await self._net.look(status_url or f"{result_url}/status", params={"logs": "1"})).parse(Status)
            if status.status in _ENDS:
                return True
            seen = next(looks)
            await context.report(0.9 * (status.progress or guessed(seen)), status.words)
            return None

        await self._net.poll(look, pace=self._looking.within(request.polling))
        reply = await self._fetch(result_url)
        result = reply.parse(Result)
        links = [file.url for file in result.files]
        if not links:
            raise reply.failure(BadReplyError, "fal finished the work without a picture")
        black = result.has_nsfw_concepts or []
        shown = [link for number, link in enumerate(links) if number >= len(black) or not black[number]]
        if not shown:
            raise reply.failure(RefusedError, "fal's safety checker blackened every picture", may_have_been_billed=True)
        await context.report(0.95, "The pictures are drawn and on their way.")
        pictures = await self._net.download_all(shown)
        return from_wire(result, pictures, request, model, reply=reply)

    async def check(self) -> str:
        """Whether the key works, asked with the question for the default model's price."""
        path = f"https://api.fal.ai/{_PRICING}" if self._config.is_vendor else _PRICING
        name = self.catalogue.default_model
        try:
            reply = await self._net.send("GET", path, params={"endpoint_id": app_path(name)}, read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return f"fal answers but knows no price of {name}, so whether the key works is not known."
            raise
        price = next(iter(reply.parse(Prices).prices or ()), None)
        return f"fal accepts the key; {name} costs {price.unit_price:g} {price.currency} (unit: {price.unit})." if price else "fal accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _fetch(self, url: str) -> Reply:
        """The result. Work that failed answers here with its error, and is not billed (https://docs.fal.ai/documentation/model-apis/pricing)."""
        try:
            reply = await self._net.send("GET", url)
        except ProviderError as error:
            if error.status is None or "service_code" not in error.details:  # the way to the result failed, not the work
                error.not_accepted, error.may_have_been_billed = False, True
            raise
        return replace(reply, paid=True)


def load(environment: Environment) -> Fal | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Fal(parse(Config, environment)) if "FAL_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.key.get_secret_value()
    return Service(
        provider="fal",
        title="fal",
        base_url=config.base_url,
        headers={"Authorization": f"Key {key}"},
        secrets=(key,),
        trusted_hosts=("queue.fal.run", "api.fal.ai") if config.is_vendor else (),
        read_fault=read_fault,
        key_variable="FAL_KEY",
        url_variable="FAL_BASE_URL",
    )


def app_path(model: str) -> str:
    """The address of the app that draws for the model of that name."""
    return next((app.path for app in APPS.get(model, {}).values()), model)


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_ENDS = ("COMPLETED", "FAILED", "CANCELED", "CANCELLED")


class Queued(BaseModel):
    """The answer to a submission. The addresses are shorter than the app's own, so they are used as they come."""

    response_url: str | None = None
    status_url: str | None = None

    @property
    def task_id(self) -> str | None:
        """All that is needed to go on with the work."""
        if not self.response_url or not self.status_url:
            return self.response_url
        return self.response_url if self.status_url == f"{self.response_url}/status" else f"{self.response_url} {self.status_url}"


class Line(BaseModel):
    """A line of the log of work under way."""

    message: str = ""


class Status(BaseModel):
    """Work as it stands. A status that nobody knows means that it is still under way."""

    status: str
    queue_position: int | None = None
    logs: list[Line] | None = None

    @property
    def progress(self) -> float | None:
        """0 to 1, where the log shows a progress bar."""
        bars = (re.findall(r"(\d{1,3})%\|", line.message) for line in reversed(self.logs or ()))
        last = next((bar[-1] for bar in bars if bar), None)
        return min(int(last), 100) / 100 if last is not None else None

    @property
    def words(self) -> str:
        if self.status == "IN_QUEUE":
            return f"In fal's line, behind {self.queue_position}." if self.queue_position else "In fal's line."
        return "fal is drawing." if self.status == "IN_PROGRESS" else "fal works on the request."


class LinkedFile(BaseModel):
    """A picture, behind a link or inside one."""

    url: str


class Result(BaseModel):
    """What was drawn: several pictures, or one where an app never makes more."""

    images: list[LinkedFile] | None = None
    image: LinkedFile | None = None
    seed: int | None = None
    prompt: str | None = None
    has_nsfw_concepts: list[bool] | None = None

    @property
    def files(self) -> Sequence[LinkedFile]:
        return self.images or ([self.image] if self.image is not None else [])


class UnitPrice(BaseModel):
    """What the account pays for one unit of an app."""

    unit_price: float
    unit: str
    currency: str


class Prices(BaseModel):
    """The answer to the question for prices."""

    prices: list[UnitPrice] | None = None


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, app: App) -> dict[str, Any]:
    """The input of an app: what was asked for, as far as it has fields for it. Takes its time where there are pictures."""
    wanted = _wanted(request)
    body = {name: value for name, value in wanted.items() if name in app.fields and value is not None}
    if request.images:
        links = [data_url(picture) for picture in request.images]
        body |= {name: value for name, value in {"image_url": links[0], "image_urls": links}.items() if name in app.fields}
    if request.style_image is not None and "style_reference_image_url" in app.fields:
        body["style_reference_image_url"] = data_url(request.style_image)
    if request.mask is not None:
        from ...pictures import white_is_edit

        mask = data_url(replace(request.mask, data=white_is_edit(request.mask.data), media_type="image/png"))
        body |= {name: mask for name in ("mask_url", "mask_image_url") if name in app.fields}
    return {**body, **request.options}


def _wanted(request: ImageRequest) -> dict[str, Any]:
    """Every setting of the request under each name that some app has for it."""
    shape, edges = request.shape, request.extend
    size = shape if isinstance(shape, Size) else None
    return {
        "prompt": request.prompt if request.prompt.strip() or request.operation.needs_prompt else None,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "num_images": request.count,
        "image_size": {"width": size.width, "height": size.height} if size else None,
        "aspect_ratio": RATIOS.get(size) if size else shape and str(shape),
        "resolution": RESOLUTIONS.get(size) if size else None,
        "output_format": request.output_format,
        "format": request.output_format,
        "target_style": request.style,
        "strength": request.strength,
        # Counted the other way: 1 is the picture as it was.
        "image_prompt_strength": round(1 - request.strength, 3) if request.strength is not None else None,
        "expand_left": edges and edges.left,
        "expand_top": edges and edges.top,
        "expand_right": edges and edges.right,
        "expand_bottom": edges and edges.bottom,
    }


_SAID = (
    ("prompt", ("prompt",)),
    ("negative_prompt", ("negative_prompt",)),
    ("resolution", ("image_size", "aspect_ratio")),
    ("strength", ("strength", "image_prompt_strength")),
)
"""Settings of a request that not each app of a model has, and the fields that they go to."""


def left_out(request: ImageRequest, app: App) -> tuple[Adjustment, ...]:
    """A word for each setting that the app has no field for."""
    given = {
        "prompt": request.prompt.strip(),
        "negative_prompt": request.negative_prompt,
        "resolution": request.shape,
        "strength": request.strength is not None,
    }
    return tuple(
        Adjustment(field=name, message=f"{app.path} takes no such setting, so it was left out.")
        for name, fields in _SAID
        if given[name] and app.fields.isdisjoint((*fields, *request.options))
    )


def from_wire(result: Result, pictures: Sequence[bytes], request: ImageRequest, model: Model, *, reply: Reply) -> Generated:
    """The answer in our words; `pictures` are the bytes of those that were not blackened."""
    app = app_of(model, request.operation)
    words = left_out(request, app)
    missing = len(result.files) - len(pictures)
    if missing:
        words += (Adjustment(field="n", message=f"fal's safety checker blackened {missing} of {len(result.files)} pictures."),)
    revised = result.prompt if result.prompt and result.prompt != request.prompt else None
    images = tuple(Drawn(data=data, seed=result.seed, revised_prompt=revised) for data in pictures)
    return Generated(images=images, cost=_cost(reply, model), request_id=reply.request_id, adjustments=words)


def _cost(reply: Reply, model: Model) -> Cost | None:
    """From the units that the service counted, where we know what one costs."""
    units = reply.headers.get("x-fal-billable-units", "")
    if model.price is None or not re.fullmatch(r"\d+(\.\d+)?", units):
        return None
    return Cost(micros=round(float(units) * model.price.amount * 1_000_000), currency=model.price.currency, source="computed")


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"content_policy_violation", RefusedError),
    (r"internal_server_error|generation_timeout|downstream_service|request_timeout|startup_timeout|runner_", UnavailableError),
    (r"exhausted balance|insufficient (balance|credits)", QuotaError),
)
"""Codes and words by which an error is known (https://docs.fal.ai/errors), where the status alone would mislead."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a model's error is a list under `detail`, that of the platform a text with an `error_type` beside it."""
    facts = body if isinstance(body, dict) else {}
    detail = facts.get("detail")
    if isinstance(detail, list):
        problems = [entry for entry in detail if isinstance(entry, dict)]
        message = "; ".join(": ".join(text for text in (_place(entry), words_in(entry)) if text) for entry in problems)
        codes = [str(entry["type"]) for entry in problems if entry.get("type")]
    else:
        message = words_in(body)
        codes = [str(facts["error_type"])] if facts.get("error_type") else []
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, f"{' '.join(codes)} {message}", re.IGNORECASE)), None)
    return Fault(message=message, kind=kind, details={"service_code": codes[0]} if codes else {})


def _place(problem: Mapping[str, Any]) -> str:
    """The field that is at fault."""
    return ".".join(map(str, [part for part in problem.get("loc") or () if part != "body"]))
