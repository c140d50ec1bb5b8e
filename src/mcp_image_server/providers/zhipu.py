"""Zhipu (智谱, abroad Z.ai): GLM-Image and CogView. Facts from https://docs.bigmodel.cn/api-reference/模型-api/图像生成."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Price, Size, SizeRange
from ..net import Fault, Net, Pace, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, guessed, present, with_default

DEFAULT_MODEL = "glm-image"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. The key may be under either of its names; the first of them counts."""

    model_config = ConfigDict(frozen=True)

    zai_api_key: Key | None = Field(None, alias="ZAI_API_KEY", description="Key of the account, under the name that the service's library reads.")
    zhipuai_api_key: Key | None = Field(None, alias="ZHIPUAI_API_KEY", description="The key, under the name that the library's predecessor reads.")
    base_url: BaseUrl = Field(
        "https://open.bigmodel.cn/api/paas/v4",
        alias="ZAI_BASE_URL",
        description="Address of the service; https://api.z.ai/api/paas/v4 for a key of Z.ai.",
    )
    model: str = Field(DEFAULT_MODEL, alias="ZAI_IMAGE_MODEL", min_length=1, description="Model for requests that name none.")

    @property
    def key(self) -> tuple[str, str]:
        """The variable that holds the key, and the key."""
        named = (("ZAI_API_KEY", self.zai_api_key), ("ZHIPUAI_API_KEY", self.zhipuai_api_key))
        return next(((name, secret.get_secret_value()) for name, secret in named if secret is not None), ("ZAI_API_KEY", ""))


# Models -------------------------------------------------------------------------------------------------------------------------------------

_MARK = "The service writes a visible mark into a corner; the option watermark_enabled=false leaves it out for accounts that have signed for that."

_ANY = Model(provider="zhipu", id="", languages=frozenset({"zh"}), note=_MARK)
_COGVIEW = replace(
    _ANY,
    sizes=SizeRange(min_edge=512, max_edge=2048, max_pixels=2**21, multiple=16),
    default_size=Size(width=1024, height=1024),
    writes=frozenset({"latin", "han"}),  # https://docs.bigmodel.cn/cn/guide/models/image-generation/cogview-4
)

MODELS = (
    replace(
        _COGVIEW,
        id=DEFAULT_MODEL,
        title="GLM-Image",
        sizes=SizeRange(min_edge=1024, max_edge=2048, max_pixels=2**22, multiple=32),
        default_size=Size(width=1280, height=1280),
        qualities=("high",),
    ),
    replace(_COGVIEW, id="cogview-4-250304", title="CogView-4 (250304)", qualities=("medium", "high")),
    replace(_COGVIEW, id="cogview-4", title="CogView-4"),
    replace(
        _COGVIEW,
        id="cogview-3-flash",
        title="CogView-3 Flash",
        writes=frozenset(),
        price=Price(amount=0, currency="CNY", as_of=date(2026, 11, 21)),
    ),
)

AS_TASK = frozenset({"glm-image"})
"""Models that work on tasks, which outlive the question; all others draw while one waits."""

CATALOGUE = Catalogue(
    provider="zhipu",
    title="Zhipu",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1280x1280": "1280x1280 (1:1 正方形 square)",
        "2048x1152": "2048x1152 (16:9 横向 landscape)",
        "1152x2048": "1152x2048 (9:16 竖向 portrait)",
        "1472x1088": "1472x1088 (4:3 横向 landscape)",
        "1088x1472": "1088x1472 (3:4 竖向 portrait)",
        "1568x1056": "1568x1056 (3:2 横向 landscape)",
        "1056x1568": "1056x1568 (2:3 竖向 portrait)",
    },
    variables=("ZAI_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Zhipu:
    """The service at work. Opens no connection before it is first used."""

    name = "zhipu"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace | None = None) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.key[1])
        self._net = Net(service(config))
        self._pace = pace or Pace(first=1, longest=5)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture: in the answer, or of a task that is waited for."""
        body = to_wire(request, model)
        if model.id not in AS_TASK:
            reply = await self._net.send("POST", "images/generations", json=body)
            return await self._fetch(reply, reply.parse(Answer).data, context)
        reply = await self._net.send("POST", "async/images/generations", json=body)
        task = reply.parse(Task)
        if not task.id:
            raise reply.failure(BadReplyError, "Zhipu took the work but gave the task no id") if not task.error else reply.fault(reply.json())
        await context.accepted(task.id)
        return await self.resume(task.id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier."""
        looks = count(1)

        async def look() -> tuple[Reply, Task] | None:
            reply = await self._net.look(f"async-result/{task_id}")
            task = reply.parse(Task)
            if task.is_done or task.has_failed:
                return reply, task
            seen = next(looks)
            await context.report(guessed(seen), "Zhipu is drawing.")
            return None

        reply, task = await self._net.poll(look, pace=self._pace)
        if task.has_failed:
            raise reply.fault(reply.json())
        return await self._fetch(reply, task.image_result, context)

    async def check(self) -> str:
        """Whether the key works, found by asking for a task that is not there."""
        try:
            await self._net.send("GET", "async-result/0", read_timeout=30)
        except ProviderError as error:
            if type(error) is not ProviderError:  # a mere complaint about the task comes after the key was let in
                raise
        return "Zhipu accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _fetch(self, reply: Reply, entries: Sequence[Entry] | None, context: Context) -> Generated:
        links = [entry.url for entry in entries or () if entry.url]
        if not links:
            body = reply.json()
            raise reply.fault(body) if body.get("error") else reply.failure(BadReplyError, "Zhipu answered without a picture")
        await context.report(0.95, "The picture is drawn and on its way.")
        return Generated(images=tuple(Drawn(data=data) for data in await self._net.download_all(links)), request_id=reply.request_id)


def load(environment: Environment) -> Zhipu | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Zhipu(parse(Config, environment)) if environment.keys() & {"ZAI_API_KEY", "ZHIPUAI_API_KEY"} else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    variable, key = config.key
    return Service(
        provider="zhipu",
        title="Zhipu",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable=variable,
        url_variable="ZAI_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture."""

    url: str | None = None


class Answer(BaseModel):
    """The answer of a model that draws while one waits."""

    data: list[Entry] | None = None


class Task(BaseModel):
    """A task as it stands. A state that nobody knows means that it is still under way."""

    id: str | None = None
    task_status: str | None = None
    image_result: list[Entry] | None = None
    error: Any = None

    @property
    def is_done(self) -> bool:
        return self.task_status == "SUCCESS"

    @property
    def has_failed(self) -> bool:
        return self.task_status == "FAIL" or (self.task_status is None and bool(self.error))


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_QUALITIES: Mapping[str, str] = {"high": "hd", "medium": "standard"}


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call."""
    body = {
        "model": model.id,
        "prompt": request.prompt,
        "size": str(request.shape) if request.shape else None,
        "quality": _QUALITIES.get(request.quality) if request.quality else None,
    }
    return {**present(body), **request.options}


_KINDS: Mapping[str, type[ProviderError]] = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004", "1110", "1111", "1112", "1121", "1220", "1311", "1313"), AuthError),
    **dict.fromkeys(("1113", "1304", "1308", "1309", "1310"), QuotaError),
    **dict.fromkeys(("1300", "1301"), RefusedError),
    **dict.fromkeys(("1302", "1303", "1305", "1312"), RateLimitedError),
    **dict.fromkeys(("500", "1230", "1234"), UnavailableError),
}
"""The service's codes, where the status would mislead: money comes as 429, as too many calls do."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://docs.bigmodel.cn/cn/faq/api-code), of a call as of a failed task."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = facts.get("error") or {}
    has_failed = facts.get("task_status") == "FAIL"
    message = words_in(error) or words_in(body)
    if not message and not has_failed:
        return None
    code = str(error["code"]) if isinstance(error, dict) and error.get("code") is not None else ""
    details = {"service_code": code, "request_id": facts.get("request_id")}
    kind = _KINDS.get(code, ProviderError if has_failed else None)
    return Fault(message=message or "no reason given", kind=kind, details={name: value for name, value in details.items() if value})
