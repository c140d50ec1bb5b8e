"""What is sent to Google's models and what they answer, in our words. Facts from https://ai.google.dev/gemini-api/docs/image-generation."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ...errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...models import Adjustment, AspectRatio, Cost, Drawn, Generated, ImageRequest, Model, Picture, Shape, Size, SizeList
from ...negotiate import nearest_size
from ...net import Fault, Reply, words_in
from ..base import present
from .models import MAX_SEED, TOKEN_PRICES, Frame, frames_of

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class InCamels(BaseModel):
    """A part of what Google says, whose names are in camel case."""

    model_config = ConfigDict(alias_generator=to_camel)


class Data(InCamels):
    """Bytes inside an answer."""

    data: str


class Part(InCamels):
    """A piece of what the model says: text or a picture."""

    text: str | None = None
    thought: bool = False
    inline_data: Data | None = None


class Content(InCamels):
    """What the model says."""

    parts: list[Part] | None = None


class Candidate(InCamels):
    """One answer of the model."""

    content: Content | None = None
    finish_reason: str = ""
    finish_message: str = ""


class PromptFeedback(InCamels):
    """Why a prompt was turned away."""

    block_reason: str | None = None
    block_reason_message: str = ""


class Tokens(InCamels):
    """Tokens of one kind."""

    modality: str = ""
    token_count: int = 0


class Usage(InCamels):
    """What was used up."""

    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    candidates_tokens_details: list[Tokens] | None = None


class Answer(InCamels):
    """A whole answer."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Any = None  # a bill we cannot read must not lose the picture
    response_id: str | None = None


class Named(BaseModel):
    """One entry of the list of models, or a batch."""

    name: str


class ModelList(BaseModel):
    """The models of all kinds."""

    models: list[Named]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call: the words first, then the pictures in the order in which the words may speak of them."""
    frame = frame_of(request.shape, model)
    image = {"aspectRatio": frame.ratio, "imageSize": frame.scale} if frame else {}
    settings = {"responseModalities": ["IMAGE"], "seed": _seed(request), "imageConfig": present(image) or None}
    parts = [{"text": request.prompt}, *({"inlineData": _data(picture)} for picture in request.images)]
    return _merged({"contents": [{"role": "user", "parts": parts}], "generationConfig": present(settings)}, request.options)


def frame_of(shape: Shape | None, model: Model) -> Frame | None:
    """What the service calls the shape; None where it may choose."""
    if isinstance(shape, AspectRatio):
        return Frame(ratio=str(shape))
    if shape is None:
        return None
    frames = frames_of(model)
    return frames.get(shape) or frames[nearest_size(shape, SizeList(sizes=tuple(frames)))]


def _data(picture: Picture) -> dict[str, str]:
    return {"mimeType": picture.media_type, "data": base64.b64encode(picture.data).decode("ascii")}


def _seed(request: ImageRequest) -> int | None:
    return None if request.seed is None else request.seed % (MAX_SEED + 1)


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Both together: an option such as `generationConfig` changes what it names, and leaves the rest."""
    both = {
        name: _merged(ours[name], value) if isinstance(value, Mapping) and isinstance(ours.get(name), Mapping) else value
        for name, value in theirs.items()
    }
    return {**ours, **both}


BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "JAILBREAK",
    }
)
"""Reasons to end an answer that are about what was asked or drawn."""

LIMITED = "PUP_LIMITED_DISABLED"
"""The reason to end an answer that is about the account."""


def drawn(answer: Answer, reply: Reply) -> list[Data]:
    """The pictures of an answer, still encoded.

    Raises:
        RefusedError: the prompt or the picture was turned away; the message names the reason.
        AuthError: the account may not draw.
        BadReplyError: there is no picture, for another reason.
    """
    facts = {"request_id": reply.request_id or answer.response_id}
    feedback = answer.prompt_feedback
    if feedback is not None and feedback.block_reason:
        words = f"Google Gemini blocked the prompt ({_named(feedback.block_reason, feedback.block_reason_message)})"
        raise reply.failure(RefusedError, words, details={"service_code": feedback.block_reason}, **facts)
    candidates = answer.candidates or []
    parts = [part for candidate in candidates for part in (candidate.content and candidate.content.parts) or ()]
    pictures = [part.inline_data for part in parts if part.inline_data is not None and not part.thought]
    if pictures:
        return pictures
    said = " ".join(part.text for part in parts if part.text and not part.thought)
    for candidate in candidates:
        if candidate.finish_reason in BLOCKED or candidate.finish_reason == LIMITED:
            kind = RefusedError if candidate.finish_reason in BLOCKED else AuthError
            words = f"Google Gemini blocked the picture ({_named(candidate.finish_reason, candidate.finish_message)})"
            raise reply.failure(kind, words, details={"service_code": candidate.finish_reason}, **facts)
    reason = next((_named(candidate.finish_reason, candidate.finish_message) for candidate in candidates if candidate.finish_reason), "")
    words = "Google Gemini answered without a picture" + (f" ({reason})" if reason else "") + (f". It said: {said[:400]}" if said else "")
    raise reply.failure(BadReplyError, words, **facts)


def _named(reason: str, words: str) -> str:
    return f"{reason}: {words}" if words else reason


def from_wire(answer: Answer, pictures: Sequence[bytes], request: ImageRequest, model: Model, *, request_id: str | None) -> Generated:
    """The answer in our words; `pictures` are the bytes of what it drew, in order."""
    return Generated(
        images=tuple(Drawn(data=data, seed=_seed(request)) for data in pictures),
        cost=cost(answer.usage_metadata, model),
        request_id=request_id or answer.response_id,
        adjustments=tuple(changes(request, model)),
    )


def changes(request: ImageRequest, model: Model) -> Iterator[Adjustment]:
    """What the service was asked for instead of what the request says."""
    if request.seed is not None and request.seed > MAX_SEED:
        yield Adjustment(field="seed", message=f"Google Gemini takes seeds up to {MAX_SEED}; {request.seed} became {_seed(request)}.")
    frame = frame_of(request.shape, model)
    if isinstance(request.shape, Size) and frame is not None and request.shape not in frames_of(model):
        yield Adjustment(field="resolution", message=f"Google Gemini draws shapes and scales; {request.shape} became {frame.ratio} at {frame.scale}.")


def cost(bill: Any, model: Model) -> Cost | None:
    """What the tokens that were used cost; None where they or their price are not known."""
    prices = TOKEN_PRICES.get(model.id)
    try:
        usage = Usage.model_validate(bill)
    except ValueError:
        return None
    image = sum(tokens.token_count for tokens in usage.candidates_tokens_details or () if tokens.modality == "IMAGE")
    if prices is None or not image:
        return None
    text = usage.candidates_token_count - image + usage.thoughts_token_count
    micros = usage.prompt_token_count * prices.into + text * prices.text_out + image * prices.image_out
    return Cost(micros=round(micros), currency="USD", source="computed")


_KINDS: Mapping[str, type[ProviderError]] = {
    "API_KEY_INVALID": AuthError,
    "FAILED_PRECONDITION": AuthError,  # the region, or an account without billing
    "PERMISSION_DENIED": AuthError,
    "UNAUTHENTICATED": AuthError,
    "RESOURCE_EXHAUSTED": RateLimitedError,
    "INTERNAL": UnavailableError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
}
"""Google's status words and reasons (https://cloud.google.com/apis/design/errors)."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means (https://ai.google.dev/gemini-api/docs/troubleshooting)."""
    if isinstance(body, list) and body:  # as errors of a stream are sent
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        text = words_in(body)
        return Fault(message=text) if text else None
    message, word = words_in(error), error.get("status")
    details = [detail for detail in error.get("details") or () if isinstance(detail, dict)]
    reason = next((detail["reason"] for detail in details if detail.get("reason")), None)
    kind = _KINDS.get(str(reason)) or _KINDS.get(str(word))
    quotas = [str(violation.get("quotaId")) for detail in details for violation in detail.get("violations") or () if isinstance(violation, dict)]
    if kind is RateLimitedError and ("limit: 0" in message or any("PerDay" in quota for quota in quotas)):
        kind = QuotaError  # nothing left today, or nothing at all without billing: waiting some seconds does not help
    facts = {"service_code": reason or word, "quotas": quotas or None}
    return Fault(message=message or "no reason given", kind=kind, retry_after=_pause(details), details=present(facts))


def _pause(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds to wait, as in `27s` or `0.5s`."""
    for detail in details:
        try:
            return float(str(detail["retryDelay"]).removesuffix("s"))
        except (KeyError, ValueError):
            continue
    return None
