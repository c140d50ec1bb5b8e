"""What is sent to DashScope and what it answers, in our words. Facts from https://www.alibabacloud.com/help/en/model-studio/image-generation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from ...errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...models import Adjustment, Edges, ImageRequest, Model, Operation, Picture, Size
from ...negotiate import Fitted, nearest_size
from ...net import Fault, words_in
from ..base import data_url, present
from .models import MAX_SEED, Form, area, call_for

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

DOING = {"PENDING": "has the task in line", "RUNNING": "is drawing", "SUSPENDED": "has halted the task for a while"}
"""What the service does with a task of that state."""


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
        """How far a task has come."""
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
        """The work, or the call itself, failed."""
        return self.output.state in ("FAILED", "CANCELED", "UNKNOWN") or bool(self.code)

    @property
    def has_ended(self) -> bool:
        """Nothing more comes of the work."""
        return self.has_failed or self.output.state == "SUCCEEDED"


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_2K = 2048**2
"""The most pixels of an edit."""

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
        size = nearest_size(shape, area(768, 2048, ratio=8))
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
            parts = [*({"image": data_url(picture)} for picture in request.images), {"text": request.prompt}]
            parameters |= given
            given = {"messages": [{"role": "user", "content": parts}]}
        case Form.PROMPT:
            given |= {"prompt": request.prompt, "images": [data_url(picture) for picture in request.images] or None}
        case Form.FUNCTION:
            given = {
                "function": _FUNCTIONS[request.operation],
                "prompt": request.prompt or _USUAL_WORDS.get(request.operation, ""),
                "base_image_url": data_url(request.images[0]),
                "mask_image_url": _mask(request.mask) if request.mask else None,
            }
    given |= {name: value for name, value in request.options.items() if name in _INPUTS[form]}
    parameters |= {name: value for name, value in request.options.items() if name not in _INPUTS[form]}
    return {"model": model.id, "input": present(given), "parameters": present(parameters)}


def _mask(mask: Picture) -> str:
    from ...pictures import white_is_edit

    return data_url(replace(mask, data=white_is_edit(mask.data), media_type="image/png"))


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


def seed_of(request: ImageRequest) -> int | None:
    """The seed that the picture is drawn with, where it can be known."""
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
        message=message or "no reason given", kind=kind, details=present({"service_code": code or None, "request_id": facts.get("request_id")})
    )
