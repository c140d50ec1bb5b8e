"""What is sent to OpenAI's image interface and what it answers, in our words. Facts from https://platform.openai.com/docs/api-reference/images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import anyio
from pydantic import BaseModel

from ...errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...models import Cost, Drawn, Generated, ImageRequest, Model, Picture
from ...net import Fault, File, words_in
from ..base import OR_NONE, present
from .models import TokenPrices

GENERATIONS = "images/generations"
"""Where pictures are drawn from words."""
EDITS = "images/edits"
"""Where pictures are changed."""


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class TokenDetails(BaseModel):
    """Tokens by kind."""

    text_tokens: int = 0
    image_tokens: int = 0


class Usage(BaseModel):
    """What was used up."""

    output_tokens: int
    input_tokens_details: TokenDetails
    output_tokens_details: TokenDetails | None = None


class Answered(BaseModel):
    """One picture of an answer, inline or behind a link."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesReply(BaseModel):
    """A whole answer."""

    usage: Annotated[Usage | None, OR_NONE] = None
    data: list[Answered] | None = None


class StreamPart(BaseModel):
    """The data of one event of a stream."""

    usage: Annotated[Usage | None, OR_NONE] = None
    type: str = ""
    b64_json: str | None = None
    url: str | None = None
    error: Any = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models that the key may use."""

    data: list[ListedModel]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model, *, partial_images: int = 0) -> dict[str, Any]:
    """The settings of a generation or an edit. The GPT image models refuse `response_format` and `style`, so neither is there."""
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count,
        "size": str(request.shape) if request.shape else None,
        "quality": request.quality,
        "background": request.background,
        "output_format": request.output_format,
        "output_compression": request.output_compression,
        "moderation": request.moderation,
        "stream": True if partial_images else None,
        "partial_images": partial_images or None,
    }
    return {**present(body), **request.options}


def to_parts(settings: Mapping[str, Any], request: ImageRequest) -> list[tuple[str, str | File]]:
    """The body of an edit: its settings as text, then the pictures. Several pictures share one name, which then ends in `[]`."""
    parts: list[tuple[str, str | File]] = [field for name, value in settings.items() for field in _as_text(name, value)]
    name = "image" if len(request.images) == 1 else "image[]"
    parts += [(name, _file(f"image-{number}", picture)) for number, picture in enumerate(request.images, start=1)]
    return [*parts, ("mask", _file("mask", request.mask))] if request.mask else parts


def _as_text(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A setting as fields of a form: `svg[model]` for what lies inside another, `name[]` for each of a list."""
    if isinstance(value, Mapping):
        for inner, one in value.items():
            yield from _as_text(f"{name}[{inner}]", one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _as_text(f"{name}[]", one)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _file(stem: str, picture: Picture) -> File:
    """The service goes by the name's ending and the media type."""
    return File(name=f"{stem}.{picture.media_type.removeprefix('image/')}", media_type=picture.media_type, data=picture.data)


async def with_png_mask(request: ImageRequest) -> ImageRequest:
    """The request with its mask as PNG. It means the same here as at the service: transparent is painted anew. Only its format is prescribed."""
    mask = request.mask
    if mask is None or mask.media_type == "image/png":
        return request
    from ...pictures import to_png

    data = await anyio.to_thread.run_sync(to_png, mask.data)
    return replace(request, mask=replace(mask, data=data, media_type="image/png"))


def from_wire(reply: ImagesReply, pictures: Sequence[bytes], *, prices: TokenPrices | None, request_id: str | None) -> Generated:
    """The answer in our words; `pictures` are the bytes of its entries, in order."""
    images = tuple(Drawn(data=data, revised_prompt=entry.revised_prompt) for entry, data in zip(reply.data or (), pictures, strict=True))
    return Generated(images=images, cost=cost(reply.usage, prices), request_id=request_id)


def cost(usage: Usage | None, prices: TokenPrices | None) -> Cost | None:
    """What the tokens that were used cost at these prices; None where either is not known."""
    if usage is None or prices is None:
        return None
    text_out = usage.output_tokens_details.text_tokens if usage.output_tokens_details else 0
    micros = (
        usage.input_tokens_details.text_tokens * prices.text_in
        + usage.input_tokens_details.image_tokens * prices.image_in
        + (usage.output_tokens - text_out) * prices.image_out
        + text_out * prices.text_out
    )
    return Cost(micros=round(micros), currency="USD", source="computed")


_KINDS: Mapping[str, type[ProviderError]] = {
    "moderation_blocked": RefusedError,
    "content_policy_violation": RefusedError,
    "contentFilter": RefusedError,  # Azure
    "ResponsibleAIPolicyViolation": RefusedError,  # Azure
    "insufficient_quota": QuotaError,
    "billing_hard_limit_reached": QuotaError,
    "billing_limit_user_error": QuotaError,
    "invalid_api_key": AuthError,
    "unsupported_country_region_territory": AuthError,
    "rate_limit_exceeded": RateLimitedError,
    "server_error": UnavailableError,
}
"""OpenAI's codes and types, where the HTTP status alone would mislead or there is none, as in a stream."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://platform.openai.com/docs/guides/error-codes); compatible servers' simpler forms are understood too."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        text = words_in(body)
        return Fault(message=text, details=_not_known(body)) if text else None
    message, code, parameter = words_in(error), error.get("code"), error.get("param")
    inner = error.get("inner_error") or error.get("innererror")  # Azure's reasons
    inner = inner if isinstance(inner, dict) else {}
    names = [name for name in (code, error.get("type"), inner.get("code")) if isinstance(name, str)]
    details: dict[str, Any] = {}
    if names:
        details["service_code"] = names[0]
    unknown = re.search(r"Unknown parameter: '([\w.]+)'", message)
    if unknown:
        details |= {"service_code": "unknown_parameter", "parameter": unknown[1]}
    elif isinstance(parameter, str):
        details["parameter"] = parameter
    if violations := re.search(r"safety_violations=\[([^\]]*)\]", message):
        details["safety_violations"] = [word.strip() for word in violations[1].split(",") if word.strip()]
    elif isinstance(filters := inner.get("content_filter_results"), dict):
        details["safety_violations"] = [name for name, found in filters.items() if isinstance(found, dict) and found.get("filtered")]
    kind = next((_KINDS[name] for name in names if name in _KINDS), None)
    if kind is None and status == 403 and re.search(r"content.polic", message, re.IGNORECASE):
        kind = RefusedError  # Azure blocks a resource of which too much was asked that it refuses, under no code of its own
    return Fault(message=message or "no reason given", kind=kind, details=details)


def _not_known(body: Any) -> dict[str, str]:
    """The parameter that a server built on FastAPI does not know, in OpenAI's words for that."""
    problems = body.get("detail") if isinstance(body, dict) else None
    for problem in problems if isinstance(problems, list) else ():
        if isinstance(problem, dict) and problem.get("type") == "extra_forbidden" and problem.get("loc"):
            return {"service_code": "unknown_parameter", "parameter": str(problem["loc"][-1])}
    return {}
