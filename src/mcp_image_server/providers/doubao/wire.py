"""What is sent to the Seedream models and what they answer, in our words. Facts from https://www.volcengine.com/docs/82379/1541523."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel

from ...errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...models import Adjustment, Cost, Drawn, Generated, ImageRequest, Model, Picture
from ...net import Fault, words_in
from ..base import OR_NONE, data_url, present
from .models import GROUP_LIMIT, LARGE, PRICES

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Usage(BaseModel):
    """What was used up."""

    input_images: int = 0


class Entry(BaseModel):
    """One picture, inline or behind a link, or the reason why there is none."""

    url: str | None = None
    b64_json: str | None = None
    size: str = ""
    error: Any = None


class ImagesReply(BaseModel):
    """A whole answer."""

    usage: Annotated[Usage | None, OR_NONE] = None
    data: list[Entry] | None = None
    error: Any = None


class StreamPart(Entry):
    """The data of one event of a stream. "Partial" in its type means one whole picture of a set."""

    usage: Annotated[Usage | None, OR_NONE] = None
    type: str = ""
    image_index: int | None = None


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def within_group(request: ImageRequest) -> tuple[ImageRequest, tuple[Adjustment, ...]]:
    """The request with no larger a set than its input images leave room for; and the word that the number is put where the model looks for it."""
    most = max(1, GROUP_LIMIT - len(request.images))
    words = []
    if request.count > most:
        message = f"With {len(request.images)} input image(s) a set has room for {most} new one(s): {GROUP_LIMIT} in all."
        words.append(Adjustment(field="n", message=message))
        request = replace(request, count=most)
    if request.count > 1:
        words.append(Adjustment(field="prompt", message="The model reads the number of pictures from the prompt, so it was written there."))
    return request, tuple(words)


def to_wire(request: ImageRequest, model: Model, *, watermark: bool) -> dict[str, Any]:
    """The body of a generation. A key that is not needed is not there, since some models refuse a key for being there.

    A single picture comes inline; the pictures of a set come as links, the one form that every source knows for sets.
    """
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "image": _inputs(request.images),
        "size": str(request.shape) if request.shape else None,
        "output_format": request.output_format,
        "response_format": "b64_json",
        "watermark": watermark,
    }
    if request.count > 1:
        body |= {
            "prompt": f"{request.prompt}\n{_number_words(request)}",
            "response_format": "url",
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": request.count},
            "stream": True,
        }
    return {**present(body), **request.options}


def _inputs(images: Sequence[Picture]) -> str | list[str] | None:
    links = [data_url(image) for image in images]
    return links[0] if len(links) == 1 else links or None


def _number_words(request: ImageRequest) -> str:
    """In the prompt's language. The number in `max_images` is only the most that may come; the model takes its own from the prompt."""
    is_chinese = re.search(r"[\u4e00-\u9fff]", request.prompt) is not None
    return f"生成一组共{request.count}张图片。" if is_chinese else f"Generate a set of {request.count} pictures."


def from_wire(drawn: Sequence[Entry], pictures: Sequence[bytes], *, usage: Usage | None, model: Model, request_id: str | None) -> Generated:
    """The answer in our words. `drawn` are the entries that are billed, `pictures` the bytes that came of them."""
    return Generated(images=tuple(Drawn(data=data) for data in pictures), cost=cost(drawn, usage, model), request_id=request_id)


def cost(drawn: Sequence[Entry], usage: Usage | None, model: Model) -> Cost | None:
    """What the pictures cost at Volcengine Ark: by number, for one model by size too; unknown for a model whose price is."""
    prices = PRICES.get(model.id)
    if prices is None:
        return None
    usual = model.default_size.pixels if model.default_size else 0
    yuan = sum(prices.large if prices.large and _pixels(entry.size, usual) > LARGE else prices.picture for entry in drawn)
    yuan += prices.input_image * max(0, usage.input_images - 1 if usage else 0)
    return Cost(micros=round(yuan * 1_000_000), currency="CNY", source="computed" if usage else "list_price")


def _pixels(size: str, unknown: int) -> int:
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    return int(match[1]) * int(match[2]) if match else unknown


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    ("OperationDenied.ServiceOverdue", QuotaError),
    ("AccountOverdueError", QuotaError),
    ("SetLimitExceeded", QuotaError),
    ("QuotaExceeded", QuotaError),
    ("AuthenticationError", AuthError),
    ("InvalidAccountStatus", AuthError),
    ("InvalidSubscription", AuthError),
    ("AccessDenied", AuthError),
    ("OperationDenied", AuthError),
    ("ModelNotOpen", AuthError),
    ("InvalidEndpointOrModel.ModelIDAccessDisabled", AuthError),
    ("RateLimitExceeded", RateLimitedError),
    ("ModelAccount", RateLimitedError),  # ModelAccountIpmRateLimitExceeded and its kin
    ("APIAccount", RateLimitedError),
    ("AccountRateLimitExceeded", RateLimitedError),
    ("RequestBurstTooFast", RateLimitedError),
    ("InflightBatchsizeExceeded", RateLimitedError),
    ("ServerOverloaded", RateLimitedError),
    ("InternalServiceError", UnavailableError),
)
"""How a code begins, to its class: money hides under 403 and 429 alike, and in a stream there is no status. The first that fits counts."""

_REFUSALS = ("SensitiveContentDetected", "RiskDetection")
"""What the code of a refusal holds; before it stands what was looked at, behind it may stand why."""

_OUT_OF_REACH = ("ModelNotOpen", "UnsupportedModel", "InvalidEndpoint", "OperationDenied.ServiceNotOpen")
"""How the codes begin which say that there is no such model or endpoint for this account. Nothing can have been drawn, so nothing is billed."""


def is_out_of_reach(error: ProviderError) -> bool:
    """Whether the service surely said that the account cannot use the model."""
    return str(error.details.get("service_code")).startswith(_OUT_OF_REACH)


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://www.volcengine.com/docs/82379/1299023)."""
    error = body.get("error") if isinstance(body, dict) else None
    message = words_in(error) or words_in(body)
    if not isinstance(error, dict):
        return Fault(message=message) if message else None
    code = error["code"] if isinstance(error.get("code"), str) else ""
    kind = RefusedError if any(word in code for word in _REFUSALS) else next((kind for start, kind in _KINDS if code.startswith(start)), None)
    parameter = error.get("param") if isinstance(error.get("param"), str) else ""
    advice = ""
    if code.startswith(_OUT_OF_REACH):
        advice = "Activate the model in the service's console, or name another one: DOUBAO_MODEL is the one for requests that name none."
    elif code == "AuthenticationError":
        advice = "A key works only in the region where it was made, and DOUBAO_ENDPOINT has to be that region's address."
    message = message or code or "no reason given"
    if advice:
        message = f"{message.rstrip('.')}. {advice}"
    return Fault(message=message, kind=kind, details={k: v for k, v in {"service_code": code, "parameter": parameter}.items() if v})
