"""What is sent to Tencent, and what its signed actions answer, in our words.

Facts from https://cloud.tencent.com/document/api/1729/101848 and https://cloud.tencent.com/document/api/1668/88063.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Annotated, Any

from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_pascal

from ...errors import AuthError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...models import Adjustment, Drawn, Generated, ImageRequest, Picture
from ...negotiate import fits, nearest_size
from ...net import Fault, Reply
from ..base import data_url, present
from .models import LARGEST_SEED, Form, Way

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

WAITING, FAILED, DONE = "1", "4", "5"
"""Codes of a job's state; any other means that it is drawn."""

_GOOD = ("Success", "", None)


def _as_list(value: object) -> object:
    """Lists may be null, and one picture may come without its list."""
    return [value] if isinstance(value, str) else value or []


Texts = Annotated[list[str | None], BeforeValidator(_as_list)]


class _Pascal(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=to_pascal))


class Complaint(_Pascal):
    """Why an action failed."""

    code: str
    message: str = ""


class Round(_Pascal):
    """One round of a conversation."""

    chat_id: str | None = None
    revised_prompt: str | None = None
    seed: int | None = None


class Answer(_Pascal):
    """What any of the actions answers; each fills its own fields."""

    request_id: str | None = None
    error: Complaint | None = None
    job_id: str | None = None
    job_status_code: str | None = None
    job_status_msg: str | None = None
    job_error_code: str | None = None
    job_error_msg: str | None = None
    result_image: Texts = []
    result_details: Texts = []
    revised_prompt: Texts = []
    chat_id: str | None = None
    history: Annotated[list[Round], BeforeValidator(_as_list)] = []

    @property
    def results(self) -> list[tuple[str, str | None]]:
        """The pictures, as links or base64, each with its rewritten prompt."""
        details = self.result_details if len(self.result_details) == len(self.result_image) else []
        rows = zip_longest(self.result_image, details, self.revised_prompt[: len(self.result_image)])
        return [(picture, revised) for picture, detail, revised in rows if picture and detail in _GOOD]

    @property
    def complaints(self) -> list[str]:
        """Why pictures are missing, each reason once."""
        return list(dict.fromkeys(detail for detail in self.result_details if detail and detail not in _GOOD))

    @property
    def this_round(self) -> Round | None:
        """What is known about the round of the conversation that this answers."""
        return next((entry for entry in self.history if entry.chat_id == self.chat_id), None)


class Envelope(_Pascal):
    """The outside of every answer."""

    response: Answer


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def fit(request: ImageRequest, way: Way) -> tuple[ImageRequest, tuple[Adjustment, ...]]:
    """The request as this way can do it, with a word on each change."""
    adjustments = []
    name, shape, seed = way.model.id, request.shape, request.seed
    if shape is not None and way.model.sizes is None:
        adjustments.append(Adjustment(field="resolution", message=f"{name} takes no size; the model decides."))
        shape = None
    elif shape is not None and request.images and way.reference_sizes is not None and not fits(shape, way.reference_sizes):
        nearest = nearest_size(shape, way.reference_sizes, way.model.default_size)
        adjustments.append(Adjustment(field="resolution", message=f"{name} does not draw {shape} from a picture; {nearest} is nearest."))
        shape = nearest
    if seed is not None and request.images and way.reference_sizes is not None:
        adjustments.append(Adjustment(field="seed", message=f"{name} takes no seed together with a picture."))
        seed = None
    elif seed is not None and not 1 <= seed <= LARGEST_SEED:
        nearest_seed = min(max(seed, 1), LARGEST_SEED)
        adjustments.append(Adjustment(field="seed", message=f"Tencent's seeds go from 1 to {LARGEST_SEED}; {seed} became {nearest_seed}."))
        seed = nearest_seed
    return replace(request, shape=shape, seed=seed), tuple(adjustments)


def to_wire(request: ImageRequest, way: Way) -> dict[str, Any]:
    """The body of the call that starts the work."""
    request = replace(request, images=tuple(_readable(picture, way) for picture in request.images))
    match way.form:
        case Form.ACTION:
            body = _parameters(request, way)
        case Form.SNAKE_CASE:
            body = {"model": way.model.id, **{_snake(name): value for name, value in _parameters(request, way).items()}}
        case Form.PROMPT:
            body = {
                "model": way.model.id,
                "prompt": request.prompt,
                "images": _base64(request) or None,
                "size": str(request.shape) if request.shape else None,
                "seed": request.seed,
                "revise": request.seed is None,
            }
        case Form.MESSAGES:
            pictures = [{"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in request.images]
            content = [{"type": "text", "text": request.prompt}, *pictures]
            body = {
                "model": way.model.id,
                "messages": [{"role": "user", "content": content}],
                "size": str(request.shape) if request.shape else None,
                "seed": request.seed,
            }
    return {**present(body), **request.options}


def _parameters(request: ImageRequest, way: Way) -> dict[str, Any]:
    """The parameters of a signed action. The visible mark is left off; it is on unless told otherwise."""
    pictures = _base64(request)
    one = {"ContentImage": {"ImageBase64": pictures[0]}} if pictures and way.model.max_images == 1 else {}
    several = {"Images": pictures} if pictures and way.model.max_images > 1 else {}
    return {
        "Prompt": request.prompt,
        "NegativePrompt": request.negative_prompt,
        "Style": way.styles[request.style] if request.style else way.no_style,
        "Resolution": str(request.shape).replace("x", ":") if request.shape else None,
        "Num": request.count if way.model.max_count > 1 else None,
        "Seed": request.seed,
        "Revise": int(request.seed is None) if way.rewrites else None,
        **one,
        **several,
        "LogoAdd": 0,
        "RspImgType": way.response,
    }


def _readable(picture: Picture, way: Way) -> Picture:
    """The picture in a format that this way reads."""
    if way.webp or picture.media_type != "image/webp":
        return picture
    from ...pictures import to_png

    return replace(picture, data=to_png(picture.data), media_type="image/png")


def _base64(request: ImageRequest) -> list[str]:
    return [base64.b64encode(picture.data).decode() for picture in request.images]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def seed_of(body: Mapping[str, Any]) -> int | None:
    """The seed that a body's picture is drawn with; None where the service ignores it or draws several."""
    if body.get("Revise") or body.get("revise") or body.get("Num", 1) != 1:
        return None
    seed = body.get("Seed", body.get("seed"))
    return seed if isinstance(seed, int) else None


def from_wire(answer: Answer, pictures: Sequence[bytes], body: Mapping[str, Any]) -> Generated:
    """The answer in our words; `pictures` are the bytes of its results, in order, and `body` is what was asked."""
    known = answer.this_round
    seed = known.seed if known else seed_of(body)
    rewritten = known.revised_prompt if known else None
    adjustments = []
    if answer.complaints:
        words = f"{len(pictures)} of {len(answer.result_details)} pictures were drawn; the rest failed: {'; '.join(answer.complaints)}."
        adjustments.append(Adjustment(field="n", message=words))
    if answer.chat_id:
        words = f'To change this picture, send the next prompt with options {{"ChatId": "{answer.chat_id}"}} within 7 days.'
        adjustments.append(Adjustment(field="options", message=words))
    images = [Drawn(data=data, seed=seed, revised_prompt=revised or rewritten) for data, (_, revised) in zip(pictures, answer.results, strict=True)]
    return Generated(images=tuple(images), request_id=answer.request_id, adjustments=tuple(adjustments))


_KINDS: Mapping[str, type[ProviderError]] = {
    "AuthFailure": AuthError,
    "UnauthorizedOperation": AuthError,
    "FailedOperation.ServiceNotActivated": AuthError,
    "FailedOperation.UserUnAuthError": AuthError,
    "FailedOperation.PartnerAccountUnSupport": AuthError,
    "ResourceUnavailable.NotExist": AuthError,
    "ResourceUnavailable.Delivering": AuthError,
    "ResourceUnavailable": QuotaError,
    "ResourceInsufficient": QuotaError,
    "ResourcesSoldOut": QuotaError,
    "LimitExceeded": QuotaError,
    "FailedOperation.ResourcePackExhausted": QuotaError,
    "FailedOperation.FreeResourcePackExhausted": QuotaError,
    "FailedOperation.ServiceStop": QuotaError,
    "FailedOperation.ServiceStopArrears": QuotaError,
    "FailedOperation.SetPayModeExceed": QuotaError,
    "RequestLimitExceeded": RateLimitedError,
    "ConcurrentExceeded": RateLimitedError,
    "FailedOperation.EngineServerLimitExceeded": RateLimitedError,
    "OperationDenied": RefusedError,
    "FailedOperation.GenerateImageFailed": RefusedError,
    "FailedOperation.ModerationFailed": RefusedError,
    "InternalError": UnavailableError,
    "FailedOperation.InnerError": UnavailableError,
    "FailedOperation.ServerError": UnavailableError,
    "FailedOperation.ConsoleServerError": UnavailableError,
    "FailedOperation.EngineServerError": UnavailableError,
    "FailedOperation.RpcFail": UnavailableError,
    "FailedOperation.Unknown": UnavailableError,
    "FailedOperation.RequestTimeout": UnavailableError,
    "FailedOperation.EngineRequestTimeout": UnavailableError,
}
"""Tencent's codes (https://cloud.tencent.com/document/api/1729/101842). A code that is not here belongs to the one before its last dot, and so on."""

ADVICE: Mapping[str, str] = {
    "AuthFailure.SignatureExpire": "The clock of this machine differs from Tencent's by more than five minutes",
    "FailedOperation.ServiceNotActivated": "Activate it in Tencent's console, or name another model of this provider",
    "ResourceUnavailable.NotExist": "Activate it in Tencent's console, or name another model of this provider",
    "InvalidAction": "Tencent does not offer this any more; name another model of this provider",
    "NoSuchVersion": "Tencent does not offer this any more; name another model of this provider",
    "UnsupportedRegion": "Check TENCENT_REGION",
}
"""What helps against a failure that asking again does not."""


_KINDS_AT: Mapping[str, Mapping[str, type[ProviderError]]] = {"aiart": {"FailedOperation.GenerateImageFailed": UnavailableError}}
"""Codes that mean another thing at one of the services: what is a picture held back at `hunyuan` is a mere breakdown at `aiart`."""


def kind_of(code: str, service: str = "") -> type[ProviderError]:
    """Our class for one of Tencent's codes, told by that service."""
    if own := _KINDS_AT.get(service, {}).get(code):
        return own
    while code:
        if code in _KINDS:
            return _KINDS[code]
        code = code.rpartition(".")[0]
    return ProviderError


def failure(reply: Reply, fault: Fault, *, request_id: str | None, accepted: bool) -> ProviderError:
    """The error for what went wrong inside an answer. Tencent bills pictures, so a failure costs nothing, unless it is the answer that came too late.

    Args:
        accepted: the service had taken the work.
    """
    kind = fault.kind or ProviderError
    return reply.failure(
        kind,
        f"{reply.service.title} failed: {fault.message}",
        status=None,
        request_id=request_id,
        details=fault.details,
        may_have_been_billed=str(fault.details.get("service_code")).endswith("Timeout"),
        not_accepted=not accepted and kind not in (RefusedError, UnavailableError),
    )


def read_fault(status: int, body: Any) -> Fault | None:
    """What the body of a signed action's reply means that has no status of success."""
    response = body.get("Response") if isinstance(body, dict) else None
    error = response.get("Error") if isinstance(response, dict) else None
    return fault_for(str(error.get("Code", "")), str(error.get("Message", ""))) if isinstance(error, dict) else None


def fault_for(code: str, message: str, service: str = "") -> Fault:
    """What one of Tencent's codes and its message mean, told by that service."""
    words = message or code or "no reason given"
    if code not in words:
        words = f"{words} ({code})"
    if code in ADVICE:
        words = f"{words}. {ADVICE[code]}"
    return Fault(message=words, kind=kind_of(code, service), details={"service_code": code} if code else {})
