"""Alibaba Cloud Model Studio (百炼) through its own interface, DashScope: Qwen-Image, Wan and Z-Image.

Facts from https://www.alibabacloud.com/help/en/model-studio/image-generation and the pages beneath it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from itertools import count
from math import sqrt
from typing import Annotated, Any

import anyio
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ..fields import BaseUrl, HeaderValue, Key
from ..models import (
    Adjustment,
    Catalogue,
    Drawn,
    Edges,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Picture,
    Price,
    Size,
    SizeList,
    SizeRange,
)
from ..negotiate import Fitted, nearest_size
from ..net import Fault, Net, Pace, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, guessed, with_default

DEFAULT_MODEL = "qwen-image-2.0"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service, under the names that DashScope's own library reads."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="DASHSCOPE_API_KEY", description="Key of the account at Alibaba Cloud Model Studio (百炼).")
    base_url: BaseUrl = Field(
        "https://dashscope.aliyuncs.com/api/v1",
        alias="DASHSCOPE_HTTP_BASE_URL",
        description="Address of the region that made the key: https://dashscope-intl.aliyuncs.com/api/v1 for Singapore, or a workspace's own.",
    )
    workspace: HeaderValue | None = Field(None, alias="DASHSCOPE_WORKSPACE_ID", description="Workspace to work in, for keys that belong to several.")
    model: str = Field(DEFAULT_MODEL, alias="DASHSCOPE_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 2**31 - 1

_2K = 2048**2
_READS = frozenset({"zh"})
_LETTERS = frozenset({"latin", "han"})
_BOTH = frozenset({Operation.GENERATE, Operation.EDIT})
_EDITS = frozenset({Operation.EDIT})


def _area(least: int, most: int, *, ratio: float, multiple: int = 1) -> SizeRange:
    """Sizes with as many pixels as squares with edges from `least` to `most`."""
    longest = int(most * sqrt(ratio))
    return SizeRange(min_edge=1, max_edge=longest, min_pixels=least**2, max_pixels=most**2, multiple=multiple, max_ratio=ratio)


def _edges(shortest: int, longest: int) -> SizeRange:
    return SizeRange(min_edge=shortest, max_edge=longest, max_pixels=longest**2)


def _square(edge: int) -> Size:
    return Size(width=edge, height=edge)


def _usd(amount: float, as_of: date = date(2026, 7, 31)) -> Price:
    """List price of one picture in Singapore."""
    return Price(amount=amount, currency="USD", as_of=as_of)


_ANY = Model(provider="dashscope", id="", operations=_BOTH, max_images=3, seed=True, languages=_READS)
_QWEN = replace(_ANY, negative_prompt=True, writes=_LETTERS)
# Tokens are counted, of which English words take one and a half; what is longer than this is surely too long.
_QWEN_3 = replace(_QWEN, max_count=6, max_prompt_chars=18_000, sizes=_area(512, 2048, ratio=8, multiple=16), default_size=_square(2048))
_QWEN_2 = replace(_QWEN_3, max_prompt_chars=5200, sizes=_area(512, 2048, ratio=4, multiple=16))
_QWEN_1 = replace(
    _QWEN,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    max_prompt_chars=800,
    sizes=SizeList(sizes=tuple(Size(width=w, height=h) for w, h in ((1328, 1328), (1664, 928), (1472, 1104), (1104, 1472), (928, 1664)))),
    default_size=_square(1328),
)
_QWEN_EDIT = replace(_QWEN, operations=_EDITS, max_count=6, max_prompt_chars=800, sizes=_edges(512, 2048))
_WAN_27 = replace(
    _ANY, max_count=4, max_prompt_chars=5000, max_images=9, writes=_LETTERS, sizes=_area(768, 2048, ratio=8), default_size=_square(2048)
)
_WAN_EDIT = replace(_QWEN, operations=_EDITS, max_count=4, max_prompt_chars=2000, sizes=_area(768, 1280, ratio=4), default_size=_square(1280))
_WAN_T2I = replace(
    _QWEN,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    max_count=4,
    max_prompt_chars=2000,
    sizes=_area(1280, 1440, ratio=4),
    default_size=_square(1280),
)
_WAN_22 = replace(_WAN_T2I, max_prompt_chars=800, writes=frozenset(), sizes=_edges(512, 1440), default_size=_square(1024))
_GROUPS = "Options: thinking_mode, color_palette, bbox_list; enable_sequential with n up to 12 draws a set that belongs together."

_OF_3_0 = date(2026, 8, 31)
"""When the prices of Qwen-Image 3.0 were seen, at a reseller."""
_THINKS = "Options: prompt_extend_mode (direct or agent), enable_thinking."

MODELS = (
    replace(_QWEN_3, id="qwen-image-3.0", title="Qwen-Image 3.0", price=_usd(0.03, _OF_3_0), note=_THINKS),
    replace(
        _QWEN_3,
        id="qwen-image-3.0-pro",
        title="Qwen-Image 3.0 Pro",
        price=_usd(0.075, _OF_3_0),
        note=f"A picture of about a megapixel costs 0.04 dollars, each input picture 0.003. {_THINKS}",
    ),
    replace(_QWEN_3, id="qwen-image-2.1-pro", title="Qwen-Image 2.1 Pro", max_prompt_chars=5200, max_images=10),
    replace(_QWEN_2, id=DEFAULT_MODEL, title="Qwen-Image 2.0", price=_usd(0.035)),
    replace(_QWEN_2, id="qwen-image-2.0-pro", title="Qwen-Image 2.0 Pro", price=_usd(0.075)),
    replace(_QWEN_1, id="qwen-image-max", title="Qwen-Image Max"),
    replace(_QWEN_1, id="qwen-image-plus", title="Qwen-Image Plus"),
    replace(_QWEN_1, id="qwen-image", title="Qwen-Image"),
    replace(_QWEN_EDIT, id="qwen-image-edit-max", title="Qwen-Image-Edit Max"),
    replace(_QWEN_EDIT, id="qwen-image-edit-plus", title="Qwen-Image-Edit Plus"),
    replace(_QWEN_EDIT, id="qwen-image-edit", title="Qwen-Image-Edit", max_count=1, max_images=1, sizes=None),
    replace(_WAN_27, id="wan2.7-image", title="Wan 2.7", price=_usd(0.03), note=_GROUPS),
    replace(_WAN_27, id="wan2.7-image-pro", title="Wan 2.7 Pro", price=_usd(0.075), note=_GROUPS, sizes=_area(768, 4096, ratio=8)),
    replace(_WAN_EDIT, id="wan2.6-image", title="Wan 2.6 Image", max_images=4),
    replace(_WAN_T2I, id="wan2.6-t2i", title="Wan 2.6", max_prompt_chars=2100),
    replace(_WAN_T2I, id="wan2.5-t2i-preview", title="Wan 2.5 (preview)"),
    replace(_WAN_EDIT, id="wan2.5-i2i-preview", title="Wan 2.5 editing (preview)", max_images=2),
    replace(_WAN_22, id="wan2.2-t2i-flash", title="Wan 2.2 Flash"),
    replace(_WAN_22, id="wan2.2-t2i-plus", title="Wan 2.2 Plus"),
    replace(_WAN_22, id="wanx2.1-t2i-turbo", title="Wan 2.1 Turbo"),
    replace(_WAN_22, id="wanx2.1-t2i-plus", title="Wan 2.1 Plus"),
    replace(_WAN_22, id="wanx2.0-t2i-turbo", title="Wan 2.0 Turbo"),
    replace(
        _ANY,
        id="wanx2.1-imageedit",
        title="Wan 2.1 editing",
        operations=frozenset({Operation.EDIT, Operation.INPAINT, Operation.OUTPAINT, Operation.UPSCALE}),
        max_count=4,
        max_prompt_chars=800,
        max_images=1,
        mask=True,
        strength=True,
        price=Price(amount=0.02007, currency="USD", as_of=date(2026, 2, 11)),
        note="In the region Beijing only. The option function chooses what else it can: stylization_all, stylization_local, remove_watermark, "
        "colorization, doodle, control_cartoon_feature.",
    ),
    replace(
        _ANY,
        id="z-image-turbo",
        title="Z-Image Turbo",
        operations=frozenset({Operation.GENERATE}),
        max_images=0,
        max_prompt_chars=800,
        writes=_LETTERS,
        sizes=_area(512, 2048, ratio=4),
        default_size=Size(width=1024, height=1536),
        price=_usd(0.015),
        note="The option prompt_extend lets the service rewrite the prompt, at twice the price.",
    ),
)


class Form(Enum):
    """How a body is laid out."""

    MESSAGE = "messages"
    """Pictures and words are the parts of one message."""
    PROMPT = "prompt"
    """The prompt and the pictures are fields."""
    FUNCTION = "function"
    """As before, and a field says what is to be done."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """How a model is called. The service turns away a model that is called in another one's way."""

    path: str
    task: bool = True
    """The work is taken and looked at until it is done; otherwise the answer brings the pictures."""
    form: Form = Form.PROMPT


_AIGC = "services/aigc"
AT_ONCE = Call(path=f"{_AIGC}/multimodal-generation/generation", task=False, form=Form.MESSAGE)
AS_TASK = Call(path=f"{_AIGC}/image-generation/generation", form=Form.MESSAGE)
FROM_TEXT = Call(path=f"{_AIGC}/text2image/image-synthesis")
FROM_IMAGES = Call(path=f"{_AIGC}/image2image/image-synthesis")
BY_FUNCTION = replace(FROM_IMAGES, form=Form.FUNCTION)

CALLS: Mapping[str, Call] = {
    "qwen-image": FROM_TEXT,
    "qwen-image-plus": FROM_TEXT,
    "wan2.7-image": AS_TASK,
    "wan2.7-image-pro": AS_TASK,
    "wan2.6-image": AS_TASK,
    "wan2.6-t2i": AS_TASK,
    "wan2.5-t2i-preview": FROM_TEXT,
    "wan2.5-i2i-preview": FROM_IMAGES,
    "wan2.2-t2i-flash": FROM_TEXT,
    "wan2.2-t2i-plus": FROM_TEXT,
    "wanx2.1-t2i-turbo": FROM_TEXT,
    "wanx2.1-t2i-plus": FROM_TEXT,
    "wanx2.0-t2i-turbo": FROM_TEXT,
    "wanx2.1-imageedit": BY_FUNCTION,
}
"""As a task wherever there is a choice: a task outlives the question. All other models answer at once."""


def call_for(model: str) -> Call:
    """How the model of that id is called; a dated edition is called like the one without a date."""
    return CALLS.get(re.sub(r"-\d{4}-\d\d-\d\d$", "", model), AT_ONCE)


CATALOGUE = Catalogue(
    provider="dashscope",
    title="DashScope",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "2048x2048": "2048x2048 (1:1 正方形 square)",
        "2688x1536": "2688x1536 (16:9 横向 landscape)",
        "1536x2688": "1536x2688 (9:16 竖向 portrait)",
        "2368x1728": "2368x1728 (4:3 横向 landscape)",
        "1728x2368": "1728x2368 (3:4 竖向 portrait)",
        "1024x1024": "1024x1024 (1:1 正方形小图 small square)",
    },
    variables=("DASHSCOPE_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class DashScope:
    """The service at work. Opens no connection before it is first used."""

    name = "dashscope"
    limits = Limits(concurrent=5, per_second=2)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace | None = None) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))
        self._pace = pace or Pace(first=1, longest=8, deadline=900)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: in the answer, or of a task that is waited for."""
        fitted, call = suited(request, model), call_for(model.id)
        body = await anyio.to_thread.run_sync(to_wire, fitted.request, model)
        reply = await self._net.send("POST", call.path, json=body, headers={"X-DashScope-Async": "enable"} if call.task else None)
        answer = reply.parse(Answer)
        if not call.task:
            return await self._fetch(reply, answer, fitted, context)
        if not answer.output.task_id:
            raise reply.fault(reply.json()) if answer.code else reply.failure(BadReplyError, "DashScope took the work but gave the task no id")
        await context.accepted(answer.output.task_id)
        return await self._finish(answer.output.task_id, fitted, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a task that was submitted earlier. The service forgets it after a day."""
        return await self._finish(task_id, suited(request, model), context)

    async def check(self) -> str:
        """Whether the key works, found by asking for the list of tasks."""
        try:
            await self._net.send("GET", "tasks", params={"page_size": "1"}, read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return "DashScope answers but lists no tasks, so whether the key works is not known."
            raise
        return "DashScope accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _finish(self, task_id: str, fitted: Fitted, context: Context) -> Generated:
        looks = count(1)

        async def look() -> tuple[Reply, Answer] | None:
            reply = await self._look(task_id)
            answer = reply.parse(Answer)
            if answer.has_ended:
                return reply, answer
            seen = next(looks)
            await context.report(guessed(seen), f"DashScope {_DOING.get(answer.output.state, 'works on the task')}.")
            return None

        reply, answer = await self._net.poll(look, pace=self._pace)
        return await self._fetch(reply, answer, fitted, context)

    async def _look(self, task_id: str) -> Reply:
        try:
            reply = await self._net.send("GET", f"tasks/{task_id}")
        except ProviderError as error:
            # The question was turned away, not the work: that has been taken.
            error.not_accepted, error.may_have_been_billed = False, True
            raise
        return replace(reply, paid=True)

    async def _fetch(self, reply: Reply, answer: Answer, fitted: Fitted, context: Context) -> Generated:
        """The pictures behind the links of an answer, which live for a day. One that failed does not lose the others."""
        if answer.has_failed:
            raise replace(reply, paid=False).fault(reply.json())  # what fails is not billed, say the terms
        images: list[Drawn] = []
        failures: list[tuple[int, ProviderError]] = []
        await context.report(0.9, "The pictures are drawn and on their way.")
        for number, result in enumerate(answer.output.pictures, 1):
            try:
                if not result.url:
                    raise reply.fault(result.model_dump())
                images.append(Drawn(data=await self._net.download(result.url), seed=_seed(fitted.request), revised_prompt=result.actual_prompt))
            except ProviderError as error:
                failures.append((number, error))
        if not images:
            raise failures[0][1] if failures else reply.failure(BadReplyError, "DashScope answered without a picture")
        missing = tuple(Adjustment(field="images", message=f"Picture {number} did not come: {error.message}") for number, error in failures)
        return Generated(images=tuple(images), request_id=reply.request_id or answer.request_id, adjustments=(*fitted.adjustments, *missing))


def load(environment: Environment) -> DashScope | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return DashScope(parse(Config, environment)) if "DASHSCOPE_API_KEY" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    workspace = {"X-DashScope-WorkSpace": config.workspace} if config.workspace else {}
    return Service(
        provider="dashscope",
        title="DashScope",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}", **workspace},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="DASHSCOPE_API_KEY",
        url_variable="DASHSCOPE_HTTP_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_DOING = {"PENDING": "has the task in line", "RUNNING": "is drawing", "SUSPENDED": "has halted the task for a while"}


class Result(BaseModel):
    """One picture, or the reason why there is none."""

    url: str | None = None
    actual_prompt: str | None = None
    code: str | None = None
    message: str | None = None


class Part(BaseModel):
    """A piece of a message; some are words."""

    image: str | None = None


class Message(BaseModel):
    """What the model said."""

    content: list[Part] | str = ""


class Choice(BaseModel):
    """One answer of several."""

    message: Message = Message()


class Output(BaseModel):
    """What came of a call or is coming of a task: older models list results, newer ones choices."""

    task_id: str | None = None
    task_status: str | None = None
    results: list[Result] | None = None
    choices: list[Choice] | None = None

    @property
    def state(self) -> str:
        return (self.task_status or "").upper()

    @property
    def pictures(self) -> list[Result]:
        """The pictures, and what stands in the place of those that failed."""
        said = [part for choice in self.choices or () if isinstance(choice.message.content, list) for part in choice.message.content]
        return [*(self.results or ()), *(Result(url=part.image) for part in said if part.image)]


class Answer(BaseModel):
    """A whole answer."""

    output: Annotated[Output, BeforeValidator(lambda value: value or {})] = Output()
    code: str | None = None
    request_id: str | None = None

    @property
    def has_failed(self) -> bool:
        return self.output.state in ("FAILED", "CANCELED", "UNKNOWN") or bool(self.code)

    @property
    def has_ended(self) -> bool:
        return self.has_failed or self.output.state == "SUCCEEDED"


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_KEEPS_SIZE = frozenset({"qwen-image-edit", "wanx2.1-imageedit"})
"""Models whose result is as large as what they are given."""

_FUNCTIONS: Mapping[Operation, str] = {
    Operation.EDIT: "description_edit",
    Operation.INPAINT: "description_edit_with_mask",
    Operation.OUTPAINT: "expand",
    Operation.UPSCALE: "super_resolution",
}
_USUAL_WORDS: Mapping[Operation, str] = {Operation.OUTPAINT: "延伸画面", Operation.UPSCALE: "图像超分"}
"""For a caller who gives no prompt, where the service wants one."""

_INPUTS: Mapping[Form, frozenset[str]] = {
    Form.MESSAGE: frozenset({"messages"}),
    Form.PROMPT: frozenset({"prompt", "negative_prompt", "images"}),
    Form.FUNCTION: frozenset({"prompt", "function", "base_image_url", "mask_image_url"}),
}
"""Names that belong into `input`; all others are parameters."""


def suited(request: ImageRequest, model: Model) -> Fitted:
    """The request within the bounds that hold for one operation or for the whole service, with a word on each change."""
    words: list[Adjustment] = []

    def change(field: str, message: str, **changes: Any) -> None:
        nonlocal request
        request = replace(request, **changes)
        words.append(Adjustment(field=field, message=message))

    if request.seed is not None and request.seed > MAX_SEED:
        seed = request.seed % (MAX_SEED + 1)
        change("seed", f"DashScope takes seeds up to {MAX_SEED}; {request.seed} became {seed}.", seed=seed)
    operation, shape = request.operation, request.shape
    if request.strength is not None and operation is not Operation.EDIT:
        change("strength", f"{model.id} takes it for edits alone.", strength=None)
    if operation is Operation.UPSCALE and request.images:
        source, factor = request.images[0].size, _factor(request)
        made = Size(width=source.width * factor, height=source.height * factor)
        if shape is not None and shape != made:
            change("resolution", f"{model.id} enlarges by whole numbers up to 4; {shape} became {made}.", shape=made)
    elif shape is not None and model.id in _KEEPS_SIZE:
        change("resolution", f"{model.id} goes by the size of the input picture.", shape=None)
    elif isinstance(shape, Size) and request.images and shape.pixels > _2K and model.sizes is not None:
        size = nearest_size(shape, _area(768, 2048, ratio=8))
        change("resolution", f"{model.id} draws edits with at most {_2K} pixels; {shape} became {size}.", shape=size)
    if request.extend is not None and request.images:
        half = Size(width=max(1, request.images[0].size.width // 2), height=max(1, request.images[0].size.height // 2))
        wished = request.extend
        extend = Edges(
            left=min(wished.left, half.width),
            top=min(wished.top, half.height),
            right=min(wished.right, half.width),
            bottom=min(wished.bottom, half.height),
        )
        if extend != wished:
            change("extend", f"{model.id} adds at most half of the picture's width or height at each edge.", extend=extend)
    return Fitted(request=request, adjustments=tuple(words))


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call, in the form that the model wants; `request` is a suited one."""
    form = call_for(model.id).form
    parameters: dict[str, Any] = {
        "size": str(request.shape).replace("x", "*") if request.shape and request.operation is not Operation.UPSCALE else None,
        "n": request.count if model.max_count > 1 else None,  # always said, since one model makes four unless told otherwise
        "seed": request.seed,
        "strength": request.strength,
        "upscale_factor": _factor(request) if request.operation is Operation.UPSCALE else None,
        **_scales(request),
    }
    given: dict[str, Any] = {"negative_prompt": request.negative_prompt}
    match form:
        case Form.MESSAGE:
            parts = [*({"image": _link(picture)} for picture in request.images), {"text": request.prompt}]
            parameters |= given
            given = {"messages": [{"role": "user", "content": parts}]}
        case Form.PROMPT:
            given |= {"prompt": request.prompt, "images": [_link(picture) for picture in request.images] or None}
        case Form.FUNCTION:
            given = {
                "function": _FUNCTIONS[request.operation],
                "prompt": request.prompt or _USUAL_WORDS.get(request.operation, ""),
                "base_image_url": _link(request.images[0]),
                "mask_image_url": _mask(request.mask) if request.mask else None,
            }
    given |= {name: value for name, value in request.options.items() if name in _INPUTS[form]}
    parameters |= {name: value for name, value in request.options.items() if name not in _INPUTS[form]}
    return {"model": model.id, "input": _present(given), "parameters": _present(parameters)}


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _link(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"


def _mask(mask: Picture) -> str:
    from ..pictures import white_is_edit

    return f"data:image/png;base64,{base64.b64encode(white_is_edit(mask.data)).decode('ascii')}"


def _factor(request: ImageRequest) -> int:
    """By how much a picture is enlarged: towards the size that is wished for, else twice."""
    if not isinstance(request.shape, Size):
        return 2
    return min(4, max(1, round(sqrt(request.shape.pixels / request.images[0].size.pixels))))


def _scales(request: ImageRequest) -> dict[str, float]:
    """The edges that are added, seen from the middle: 1.5 on every side makes a picture one and a half times as wide and as high."""
    if request.extend is None:
        return {}
    size = request.images[0].size
    edges = {
        "top_scale": request.extend.top / size.height,
        "bottom_scale": request.extend.bottom / size.height,
        "left_scale": request.extend.left / size.width,
        "right_scale": request.extend.right / size.width,
    }
    return {name: min(2.0, round(1 + 2 * part, 4)) for name, part in edges.items() if part}


def _seed(request: ImageRequest) -> int | None:
    seed = request.options.get("seed", request.seed)
    return seed if isinstance(seed, int) and request.count == 1 else None  # of several pictures each has its own, made from the one that was given


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    ("DataInspectionFailed", RefusedError),
    ("data_inspection_failed", RefusedError),
    ("IPInfringementSuspect", RefusedError),
    ("Arrearage", QuotaError),
    ("AllocationQuota", QuotaError),
    ("Throttling.AllocationQuota", QuotaError),
    ("BudgetLimitExceeded", QuotaError),
    ("CommodityNotPurchased", QuotaError),
    ("PrepaidBillOverdue", QuotaError),
    ("PostpaidBillOverdue", QuotaError),
    ("Throttling", RateLimitedError),
    ("InvalidApiKey", AuthError),
    ("NOT AUTHORIZED", AuthError),
    ("AccessDenied", AuthError),
    ("Workspace.AccessDenied", AuthError),
    ("Model.AccessDenied", AuthError),
    ("InternalError", UnavailableError),
    ("SystemError", UnavailableError),
    ("RequestTimeOut", UnavailableError),
    ("ModelServiceFailed", UnavailableError),
    ("ModelServingError", UnavailableError),
    ("ModelUnavailable", UnavailableError),
    ("RewriteFailed", UnavailableError),
)
"""How a code begins, to its class: money hides under 400, 403 and 429, and a failed task has no status. The first that fits counts."""

_ENDS = {"UNKNOWN": "the task is not known here; the service forgets one after 24 hours", "CANCELED": "the task was cancelled at the service"}


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://www.alibabacloud.com/help/en/model-studio/error-code), of a call as of a failed task."""
    facts = body if isinstance(body, dict) else {}
    output = facts["output"] if isinstance(facts.get("output"), dict) else {}
    state = output.get("task_status")
    reason = output if state else facts
    code = reason["code"] if isinstance(reason.get("code"), str) else ""
    message = (words_in(reason) if reason else words_in(body)) or _ENDS.get(str(state), "") or code
    if not message and not state:
        return None
    kind = next((kind for start, kind in _KINDS if code.startswith(start)), ProviderError if state else None)
    if re.search(r"does not support (a?synchronous) calls", message):
        kind = ProviderError
    elif code == "InvalidApiKey" or status == 401:
        message = (
            f"{message.rstrip('.')}. A key works only in the region where it was made, and DASHSCOPE_HTTP_BASE_URL has to be that region's address"
        )
    return Fault(
        message=message or "no reason given", kind=kind, details=_present({"service_code": code or None, "request_id": facts.get("request_id")})
    )
