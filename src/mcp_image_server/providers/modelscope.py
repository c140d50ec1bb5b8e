"""ModelScope (魔搭): the models of its hub as a service. Facts from https://modelscope.cn/docs/model-service/API-Inference/intro."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import count
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Price, Size, SizeRange
from ..net import Fault, Net, Pace, Reply, Service, Timeouts, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, guessed, present, that_draw, with_default

DEFAULT_MODEL = "Qwen/Qwen-Image"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. The token may be under any of its three names; the first of them counts."""

    model_config = ConfigDict(frozen=True)

    sdk_token: Key | None = Field(
        None, alias="MODELSCOPE_SDK_TOKEN", description="Access token of the account, from https://modelscope.cn/my/myaccesstoken."
    )
    api_token: Key | None = Field(None, alias="MODELSCOPE_API_TOKEN", description="The token, under the name that ModelScope's own library reads.")
    api_key: Key | None = Field(None, alias="MODELSCOPE_API_KEY", description="The token, under the name that many other programs read.")
    base_url: Annotated[BaseUrl, AfterValidator(lambda url: url.removesuffix("/v1"))] = Field(
        "https://api-inference.modelscope.cn",
        alias="MODELSCOPE_BASE_URL",
        description="Address of the service, with or without /v1; https://api-inference.modelscope.ai for an account outside China.",
    )
    model: str = Field(
        DEFAULT_MODEL,
        alias="MODELSCOPE_MODEL",
        min_length=1,
        description="Model for requests that name none: any on the hub that offers API-Inference.",
    )
    poll_interval_seconds: float = Field(
        5,
        alias="MODELSCOPE_POLL_INTERVAL_SECONDS",
        gt=0,
        allow_inf_nan=False,
        description="Longest pause between two looks at a task. The first look is at once, the first pauses are shorter.",
    )
    max_poll_attempts: int = Field(
        120, alias="MODELSCOPE_MAX_POLL_ATTEMPTS", ge=1, description="Waiting for a task ends after this many of the longest pauses."
    )
    poll_backoff: bool = Field(
        False, alias="MODELSCOPE_POLL_BACKOFF", description="Let the pauses grow beyond the interval, up to MODELSCOPE_MAX_POLL_INTERVAL_SECONDS."
    )
    max_poll_interval_seconds: float = Field(
        30,
        alias="MODELSCOPE_MAX_POLL_INTERVAL_SECONDS",
        gt=0,
        allow_inf_nan=False,
        description="Longest pause between two looks at a task where MODELSCOPE_POLL_BACKOFF is on.",
    )

    @property
    def token(self) -> tuple[str, str]:
        """The variable that holds the token, and the token."""
        named = (("MODELSCOPE_SDK_TOKEN", self.sdk_token), ("MODELSCOPE_API_TOKEN", self.api_token), ("MODELSCOPE_API_KEY", self.api_key))
        return next(((name, secret.get_secret_value()) for name, secret in named if secret is not None), (named[0][0], ""))

    @property
    def site(self) -> str | None:
        """The vendor's domain, when the service is ModelScope itself and no gateway before it."""
        host = urlsplit(self.base_url).hostname or ""
        return next((site for site in ("modelscope.cn", "modelscope.ai") if host == f"api-inference.{site}"), None)


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 2**31 - 1

_NOTE = "Options: steps 1-100, guidance 1.5-20, loras (the id of one, or up to six ids with weights that sum to 1)."

_ANY = Model(
    provider="modelscope",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    default_size=Size(width=1024, height=1024),
    max_prompt_chars=2000,
    seed=True,
    negative_prompt=True,
    max_images=3,
    polled=True,
    price=Price(amount=0, currency="CNY", as_of=date(2026, 11, 21)),  # each day an account gets credits for nothing
    note=_NOTE,
)
"""What every model of the hub is asked with. One task makes one picture; a wish for more (`n`) is not heard by the service."""


def _edges(shortest: int, longest: int) -> SizeRange:
    """Sizes with edges in that range. The models work on tiles of 16 pixels."""
    return SizeRange(min_edge=shortest, max_edge=longest, max_pixels=longest**2, multiple=16)


_DRAWS = replace(_ANY, operations=frozenset({Operation.GENERATE}), max_images=0)
# Qwen-Image and Z-Image letter English and Chinese: https://arxiv.org/abs/2508.02324, https://github.com/Tongyi-MAI/Z-Image.
_LETTERS = replace(_DRAWS, languages=frozenset({"en", "zh"}), writes=frozenset({"latin", "han"}))
_QWEN = replace(_LETTERS, sizes=_edges(64, 1664))
_QWEN_EDIT = replace(_QWEN, operations=frozenset({Operation.EDIT}), max_images=_ANY.max_images)
_FLUX = replace(_DRAWS, sizes=_edges(64, 1024))

MODELS = (
    replace(_QWEN, id=DEFAULT_MODEL, title="Qwen-Image"),
    replace(_QWEN, id="Qwen/Qwen-Image-2512", title="Qwen-Image 2512"),
    replace(_LETTERS, id="Tongyi-MAI/Z-Image-Turbo", title="Z-Image Turbo", sizes=_edges(512, 2048)),
    replace(_FLUX, id="black-forest-labs/FLUX.1-Krea-dev", title="FLUX.1 Krea dev"),
    replace(_FLUX, id="MusePublic/489_ckpt_FLUX_1", title="FLUX.1 (MusePublic 489)"),
    replace(_FLUX, id="MAILAND/majicflus_v1", title="majicFlus v1"),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit-2511", title="Qwen-Image-Edit 2511"),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit-2509", title="Qwen-Image-Edit 2509"),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit", title="Qwen-Image-Edit", max_images=1),
    replace(_QWEN_EDIT, id="MusePublic/Qwen-Image-Edit", title="Qwen-Image-Edit (MusePublic)", max_images=1),
)
"""The best known; which ones the hub offers changes from week to week."""

CATALOGUE = Catalogue(
    provider="modelscope",
    title="ModelScope",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形)",
        "1328x1328": "1328x1328 (1:1 正方形大图)",
        "1664x928": "1664x928 (16:9 横向)",
        "928x1664": "928x1664 (9:16 竖向)",
        "1472x1104": "1472x1104 (4:3 横向)",
        "1104x1472": "1104x1472 (3:4 竖向)",
        "1584x1056": "1584x1056 (3:2 横向)",
        "1056x1584": "1056x1584 (2:3 竖向)",
    },
    variables=("MODELSCOPE_SDK_TOKEN",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_SUBMIT = {"X-ModelScope-Async-Mode": "true"}
_LOOK = {"X-ModelScope-Task-Type": "image_generation"}  # without it the service says that there is no such task

_BALANCE = "openapi/v1/magicubes/balance"


class ModelScope:
    """The service at work. Opens no connection before it is first used."""

    name = "modelscope"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, burst_pause: float = 5.0) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.token[1])
        self._config = config
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later
        self._burst_pause = burst_pause

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: a task is submitted and waited for."""
        task_id = await self._submit(await anyio.to_thread.run_sync(to_wire, request, model) if request.images else to_wire(request, model))
        await context.accepted(task_id)
        return await self.resume(task_id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a task that was submitted earlier."""
        looks = count(1)

        async def look() -> tuple[Reply, Task] | None:
            reply = await self._look(task_id)
            task = reply.parse(Task)
            if task.is_done or task.has_failed:
                return reply, task
            seen = next(looks)
            await context.report(guessed(seen), f"ModelScope {_DOING.get(task.state, 'works on the task')}.")
            return None

        reply, task = await self._net.poll(look, pace=pace_for(self._config, request.polling))
        if task.has_failed:
            raise reply.fault(reply.json())
        if not task.output_images:
            raise reply.failure(BadReplyError, "ModelScope finished the task without a picture")
        await context.report(0.95, "The picture is drawn and on its way.")
        pictures = await self._net.download_all(task.output_images)
        return from_wire(pictures, request, request_id=reply.request_id or task.request_id)

    async def check(self) -> str:
        """Whether the token works and what is left of the day's credits, asked without spending any."""
        # The account is kept at the vendor's main site. A token for a gateway is shown to the gateway alone.
        path = f"https://{self._config.site}/{_BALANCE}" if self._config.site else _BALANCE
        try:
            reply = await self._net.send("GET", path, read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return "ModelScope answers but knows no balance, so whether the token works is not known."
            raise
        account = reply.parse(Account)
        if not account.success:
            raise reply.fault(reply.json())
        left = f"; {account.data.available_balance:g} credits are left today" if account.data is not None else ""
        return f"ModelScope accepts the token{left}."

    async def listed(self) -> tuple[str, ...]:
        """The models that the service runs and that draw, judged by their names: the list has those of all kinds."""
        reply = await self._net.send("GET", "v1/models", read_timeout=30)
        return that_draw((entry.id for entry in reply.parse(ModelList).data), self.catalogue)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _submit(self, body: Mapping[str, Any]) -> str:
        """The id of the task that the service has taken."""
        try:
            reply = await self._net.send("POST", "v1/images/generations", json=body, headers=_SUBMIT)
        except QuotaError as error:
            # These words stand for spent credits and for calls that came too fast; only time tells the two apart.
            if error.details.get("service_code") != "insufficient_quota":
                raise
            await anyio.sleep(self._burst_pause)
            reply = await self._net.send("POST", "v1/images/generations", json=body, headers=_SUBMIT)
        submitted = reply.parse(Submitted)  # its task_status is SUCCEED, which here means no more than taken
        if submitted.task_id is not None:
            return str(submitted.task_id)
        if submitted.errors or submitted.error:
            raise reply.fault(reply.json())
        raise reply.failure(BadReplyError, "ModelScope took the work but gave the task no id")

    async def _look(self, task_id: str) -> Reply:
        try:
            return await self._net.look(f"v1/tasks/{task_id}", headers=_LOOK)
        except QuotaError as error:
            # Looking costs nothing, so these words can only be about its pace.
            raise self._net.service.failure(RateLimitedError, error.message, status=error.status, request_id=error.request_id) from error


def load(environment: Environment) -> ModelScope | None:
    """The provider, when a token is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not environment.keys() & {"MODELSCOPE_SDK_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_API_KEY"}:
        return None
    return ModelScope(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    variable, token = config.token
    return Service(
        provider="modelscope",
        title="ModelScope",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        trusted_hosts=(config.site,) if config.site else (),
        read_fault=read_fault,
        key_variable=variable,
        url_variable="MODELSCOPE_BASE_URL",
    )


def pace_for(config: Config, polling: Mapping[str, float]) -> Pace:
    """How often to look at a task, and for how long, within the operator's bounds or the caller's. Looking more often makes nobody less patient."""
    own = {
        "interval": config.poll_interval_seconds,
        "backoff": config.poll_backoff,
        "max_interval": config.max_poll_interval_seconds,
        "attempts": config.max_poll_attempts,
    }
    usual = Pace(first=0.5).within(own)
    wished = usual.within({**own, **polling})
    return wished if "attempts" in polling else replace(wished, deadline=max(wished.deadline, usual.deadline))


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_DOING = {"PENDING": "has the task in line", "RUNNING": "is drawing", "PROCESSING": "is drawing"}


class Submitted(BaseModel):
    """The answer to a submission."""

    task_id: str | int | None = None
    errors: Any = None
    error: Any = None


class Task(BaseModel):
    """A task as it stands. A state that nobody knows means that it is still under way."""

    task_status: str | None = None
    output_images: list[str] | None = None
    request_id: str | None = None
    errors: Any = None
    error: Any = None

    @property
    def state(self) -> str:
        return (self.task_status or "").upper()

    @property
    def is_done(self) -> bool:
        return self.state in ("SUCCEED", "SUCCEEDED", "SUCCESS")

    @property
    def has_failed(self) -> bool:
        return self.state == _FAILED or (not self.state and bool(self.errors or self.error))


class Credits(BaseModel):
    """What an account may spend."""

    available_balance: float


class Account(BaseModel):
    """The answer to the question for the balance."""

    success: bool = False
    data: Credits | None = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models of all kinds."""

    data: list[ListedModel]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a submission: one address for drawing and editing alike."""
    links = [data_url(picture) for picture in request.images]
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "size": str(request.shape) if request.shape else None,
        "seed": _seed(request),
        "image_url": links[0] if len(links) == 1 else links or None,
    }
    return {**present(body), **request.options}


def from_wire(pictures: Sequence[bytes], request: ImageRequest, *, request_id: str | None) -> Generated:
    """The answer in our words; the service does not repeat the seed."""
    seed = request.options.get("seed", _seed(request))
    words: tuple[Adjustment, ...] = ()
    if "seed" not in request.options and seed != request.seed:
        words = (Adjustment(field="seed", message=f"ModelScope takes seeds up to {MAX_SEED}; {request.seed} became {seed}."),)
    images = tuple(Drawn(data=data, seed=seed if isinstance(seed, int) else None) for data in pictures)
    return Generated(images=images, request_id=request_id, adjustments=words)


def _seed(request: ImageRequest) -> int | None:
    return None if request.seed is None else request.seed % (MAX_SEED + 1)


_FAILED = "FAILED"

_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (
        r"inappropriate|(?<!case[ -])sensitive|data.?inspection|content.?(security|safety|moderation|policy)|nsfw|违规|敏感|审核|不合规|内容安全",
        RefusedError,
    ),
    (r"today.s quota|insufficient.?quota|exceeded your current quota|\bcredits?\b|magicube|额度|魔粒", QuotaError),
    (r"rate.?limit|too many requests|限流", RateLimitedError),
)
"""Words by which a failure is known, where the status alone would mislead or there is none, as in a failed task."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: the reason is under `errors` or `error`, of a refused call as of a failed task."""
    facts = body if isinstance(body, dict) else {}
    error = facts.get("errors") or facts.get("error") or body
    message, failed = words_in(error), facts.get("task_status") == _FAILED
    if not message and not failed:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    kind = next((kind for words, kind in _KINDS if re.search(words, f"{code} {message}", re.IGNORECASE)), ProviderError if failed else None)
    if "no provider supported" in message:
        message = f"{message}. Only models whose page on ModelScope offers API-Inference can be used, such as {DEFAULT_MODEL}"
    details = {"service_code": code, "request_id": facts.get("request_id")}
    return Fault(message=message or "no reason given", kind=kind, details=present(details))
