"""Google's Gemini models that draw ("Nano Banana"). Facts from https://ai.google.dev/gemini-api/docs/image-generation."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import (
    Adjustment,
    AspectRatio,
    Catalogue,
    Cost,
    Drawn,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Picture,
    Price,
    Shape,
    Size,
    SizeList,
)
from ..negotiate import nearest_size
from ..net import Fault, Net, Pace, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, that_draw, with_default
from .economy import PACE, Economy, Letter, Look, halved

DEFAULT_MODEL = "gemini-3.1-flash-image"


# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. The key may be under either of its two names; the first of them counts."""

    model_config = ConfigDict(frozen=True)

    gemini_key: Key | None = Field(None, alias="GEMINI_API_KEY", description="Key of the account, from https://aistudio.google.com/apikey.")
    google_key: Key | None = Field(None, alias="GOOGLE_API_KEY", description="The key, under the name that Google's own library reads, too.")
    base_url: BaseUrl = Field(
        "https://generativelanguage.googleapis.com", alias="GOOGLE_GEMINI_BASE_URL", description="Address of the interface, without its version."
    )
    model: str = Field(DEFAULT_MODEL, alias="GEMINI_MODEL", min_length=1, description="Model for requests that name none.")

    @property
    def key(self) -> tuple[str, str]:
        """The variable that holds the key, and the key."""
        named = (("GEMINI_API_KEY", self.gemini_key), ("GOOGLE_API_KEY", self.google_key))
        return next(((name, secret.get_secret_value()) for name, secret in named if secret is not None), (named[0][0], ""))


# Models -------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A shape and a scale, as the service names them."""

    ratio: str
    scale: str | None = None
    """None: the model has one only, or may choose."""


_AT_1K = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
_LONG_AT_1K = {"1:4": (512, 2048), "4:1": (2048, 512), "1:8": (384, 3072), "8:1": (3072, 384)}
"""What the two of version 3.1 draw besides."""
_AT_1K_2_5 = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
_SCALES = {"512": 0.5, "1K": 1.0, "2K": 2.0, "4K": 4.0}


def _frames(*scales: str, shapes: Mapping[str, tuple[int, int]] = _AT_1K) -> Mapping[Size, Frame]:
    """The sizes in pixels that these scales come to."""
    return {
        Size(width=int(width * _SCALES[scale]), height=int(height * _SCALES[scale])): Frame(ratio=ratio, scale=scale)
        for scale in scales
        for ratio, (width, height) in shapes.items()
    }


_OF_3_1 = _frames("1K", "512", "2K", "4K", shapes={**_AT_1K, **_LONG_AT_1K})
_OF_3 = _frames("1K", "2K", "4K")
_OF_3_1_LITE = {Size(width=width, height=height): Frame(ratio=ratio) for ratio, (width, height) in {**_AT_1K, **_LONG_AT_1K}.items()}
_OF_2_5 = {Size(width=width, height=height): Frame(ratio=ratio) for ratio, (width, height) in _AT_1K_2_5.items()}

MAX_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class TokenPrices:
    """US dollars for a million tokens, which is millionths of a dollar for one (https://ai.google.dev/gemini-api/docs/pricing)."""

    into: float
    text_out: float
    image_out: float


_ANY = Model(
    provider="gemini",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    default_size=Size(width=1024, height=1024),
    seed=True,
    max_images=3,
)
"""What every model that draws takes. One call makes one picture: the service has no count."""


def _model(like: Model, name: str, title: str, frames: Mapping[Size, Frame], price: float, *aliases: str, **facts: Any) -> Model:
    """A model with the list price of a picture of about a megapixel. `aliases` are ids that were switched off in 2026 with this one as successor."""
    listed = Price(amount=price, currency="USD", as_of=date(2026, 11, 21))
    return replace(like, id=name, title=title, aliases=aliases, sizes=SizeList(sizes=tuple(frames)), price=listed, **facts)


_LETTERS = frozenset({"latin"})  # Google speaks of "multiple languages" since version 3, and names no script
_GENERATION_3 = replace(
    _ANY,
    economy=True,
    max_images=14,
    writes=_LETTERS,
    languages=frozenset({"ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "uk", "vi", "zh"}),
)

MODELS = (
    _model(_GENERATION_3, "gemini-nano-banana-2.1", "Nano Banana 2.1", _OF_3, 0.0336),
    _model(
        _GENERATION_3,
        DEFAULT_MODEL,
        "Nano Banana 2 (Gemini 3.1 Flash Image)",
        _OF_3_1,
        0.067,
        "gemini-3.1-flash-image-preview",
        "imagen-4.0-generate-001",
        "imagen-4.0-fast-generate-001",
        "imagen-4.0-ultra-generate-001",
    ),
    _model(_GENERATION_3, "gemini-3.1-flash-lite-image", "Gemini 3.1 Flash-Lite Image", _OF_3_1_LITE, 0.0336),
    _model(_GENERATION_3, "gemini-3-pro-image", "Nano Banana Pro (Gemini 3 Pro Image)", _OF_3, 0.134, "gemini-3-pro-image-preview"),
    _model(
        _ANY,
        "gemini-2.5-flash-image",
        "Nano Banana (Gemini 2.5 Flash Image)",
        _OF_2_5,
        0.039,
        economy=True,
        languages=frozenset({"en", "es", "hi", "ja", "zh"}),
        writes=_LETTERS,
        ends=date(2027, 3, 15),
    ),
)

FRAMES: Mapping[str, Mapping[Size, Frame]] = {
    "gemini-nano-banana-2.1": _OF_3,
    DEFAULT_MODEL: _OF_3_1,
    "gemini-3.1-flash-lite-image": _OF_3_1_LITE,
    "gemini-3-pro-image": _OF_3,
    "gemini-2.5-flash-image": _OF_2_5,
}
"""What each size is called, by model."""

TOKEN_PRICES: Mapping[str, TokenPrices] = {
    "gemini-nano-banana-2.1": TokenPrices(into=1.5, text_out=7.5, image_out=30),
    DEFAULT_MODEL: TokenPrices(into=0.5, text_out=3, image_out=60),
    "gemini-3.1-flash-lite-image": TokenPrices(into=0.25, text_out=1.5, image_out=30),
    "gemini-3-pro-image": TokenPrices(into=2, text_out=12, image_out=120),
    "gemini-2.5-flash-image": TokenPrices(into=0.3, text_out=2.5, image_out=30),
}
"""As published in November 2026."""

CATALOGUE = Catalogue(
    provider="gemini",
    title="Google Gemini",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square, 正方形)",
        "1376x768": "1376x768 (16:9 landscape, 横向)",
        "768x1376": "768x1376 (9:16 portrait, 竖向)",
        "1200x896": "1200x896 (4:3 landscape, 横向)",
        "896x1200": "896x1200 (3:4 portrait, 竖向)",
        "1584x672": "1584x672 (21:9 wide, 超宽)",
        "2048x2048": "2048x2048 (1:1 large square, 正方形大图)",
    },
    variables=("GEMINI_API_KEY",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BatchDesk:
    """Gemini's batches, with the requests and the answers inside the calls (https://ai.google.dev/gemini-api/docs/batch-api)."""

    net: Net
    most: int = 30
    """The answers come in one reply, with all their pictures."""

    async def post(self, letters: Sequence[Letter]) -> str:
        """The name of a batch of these requests."""
        requests = [{"request": letter.body, "metadata": {"key": letter.key}} for letter in letters]
        body = {"batch": {"displayName": f"pictures-{letters[0].key}", "inputConfig": {"requests": {"requests": requests}}}}
        return (await self.net.send("POST", f"v1beta/models/{letters[0].model}:batchGenerateContent", json=body)).parse(ListedModel).name

    async def look(self, batch_id: str) -> Look:
        """The batch as it stands."""
        reply = await self.net.send("GET", f"v1beta/{batch_id}", max_bytes=_MAX_BATCH_BYTES)
        work = (await anyio.to_thread.run_sync(reply.parse, BatchReply)).metadata
        state = work.state.removeprefix("BATCH_STATE_")
        if state == "FAILED":
            raise reply.failure(ProviderError, f"Google Gemini turned the batch {batch_id} away", may_have_been_billed=False)
        stats = work.batch_stats or Stats()
        ended = stats.request_count - stats.pending_request_count
        return Look(
            done=state in ("SUCCEEDED", "EXPIRED", "CANCELLED"),
            fraction=ended / stats.request_count if stats.request_count else 0.0,
            words=f"Google Gemini has drawn {ended} of the {stats.request_count} in the batch." if stats.request_count else "It waits its turn.",
            source=work.output and work.output.inlined_responses,
        )

    async def answers(self, look: Look) -> AsyncGenerator[tuple[str, bytes]]:
        """For each request its key and the answer."""
        for answer in look.source.inlined_responses if look.source else ():
            yield answer.metadata.key, (await anyio.to_thread.run_sync(json.dumps, {"response": answer.response, "error": answer.error})).encode()


_MAX_BATCH_BYTES = 500_000_000


class Gemini:
    """The service at work. Opens no connection before it is first used.

    Args:
        pace: how often a batch is looked at, for requests that may take a day.
        quiet: seconds for which such requests are gathered.
    """

    name = "gemini"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace = PACE, quiet: float = 2.0) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.key[1])
        self._net = Net(service(config))
        self._economy = Economy(BatchDesk(net=self._net), self._net.service, pace=pace, quiet=quiet)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture. Drafts that the model thinks aloud are not among it. What may take a day goes into a batch, for half the price."""
        if request.economy:
            return await self._from_line(await self._economy.draw(model.id, to_wire(request, model), context), request, model)
        body = await anyio.to_thread.run_sync(to_wire, request, model) if request.images else to_wire(request, model)
        reply = await self._net.send("POST", f"v1beta/models/{model.id}:generateContent", json=body)
        answer = reply.parse(Answer)
        pictures = [await reply.decode(data.data) for data in drawn(answer, reply)]
        return from_wire(answer, pictures, request, model, request_id=reply.request_id)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a request that went into a batch earlier."""
        return await self._from_line(await self._economy.collect(task_id, context), request, model)

    async def _from_line(self, data: bytes, request: ImageRequest, model: Model) -> Generated:
        """The picture in an answer out of a batch."""
        reply = Reply(service=self._net.service, body=data)
        line = await anyio.to_thread.run_sync(reply.parse, BatchAnswer)
        if line.response is None:
            raise replace(reply, paid=False).fault({"error": line.error})
        pictures = [await reply.decode(data.data) for data in drawn(line.response, reply)]
        return halved(from_wire(line.response, pictures, request, model, request_id=None))

    async def check(self) -> str:
        """Whether the key works and the model is there, asked without paying."""
        model = self.catalogue.default_model
        try:
            await self._net.send("GET", f"v1beta/models/{model}", read_timeout=30)
        except ProviderError as error:
            if error.status == 404 and error.details.get("service_code") == "NOT_FOUND":
                return f"Google Gemini accepts the key, but has no model {model}."
            raise
        return f"Google Gemini accepts the key, and has the model {model}."

    async def listed(self) -> tuple[str, ...]:
        """The models that the key may use and that draw, judged by their names: the list has those of all kinds."""
        reply = await self._net.send("GET", "v1beta/models", params={"pageSize": "1000"}, read_timeout=30)
        return that_draw((entry.name.removeprefix("models/") for entry in reply.parse(ModelList).models), self.catalogue)

    async def aclose(self) -> None:
        """Close the connections."""
        self._economy.close()
        await self._net.aclose()


def load(environment: Environment) -> Gemini | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not environment.keys() & {"GEMINI_API_KEY", "GOOGLE_API_KEY"}:
        return None
    return Gemini(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    variable, key = config.key
    return Service(
        provider="gemini",
        title="Google Gemini",
        base_url=config.base_url,
        headers={"x-goog-api-key": key},
        secrets=(key,),
        read_fault=read_fault,
        key_variable=variable,
        url_variable="GOOGLE_GEMINI_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class _Reply(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Data(_Reply):
    """Bytes inside an answer."""

    data: str


class Part(_Reply):
    """A piece of what the model says: text or a picture."""

    text: str | None = None
    thought: bool = False
    inline_data: Data | None = None


class Content(_Reply):
    """What the model says."""

    parts: list[Part] | None = None


class Candidate(_Reply):
    """One answer of the model."""

    content: Content | None = None
    finish_reason: str = ""
    finish_message: str = ""


class PromptFeedback(_Reply):
    """Why a prompt was turned away."""

    block_reason: str | None = None
    block_reason_message: str = ""


class Tokens(_Reply):
    """Tokens of one kind."""

    modality: str = ""
    token_count: int = 0


class Usage(_Reply):
    """What was used up."""

    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    candidates_tokens_details: list[Tokens] | None = None


class Answer(_Reply):
    """A whole answer."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Any = None  # a bill we cannot read must not lose the picture
    response_id: str | None = None


class BatchKey(_Reply):
    """The name of a request in a batch."""

    key: str = ""


class InlinedResponse(_Reply):
    """The answer to a request in a batch."""

    metadata: BatchKey = BatchKey()
    response: Any = None
    error: Any = None


class InlinedResponses(_Reply):
    """All of them."""

    inlined_responses: list[InlinedResponse] = []


class Output(_Reply):
    """Where they are."""

    inlined_responses: InlinedResponses | None = None


class Stats(_Reply):
    """Requests of a batch."""

    request_count: int = 0
    pending_request_count: int = 0


class BatchWork(_Reply):
    """How far a batch has come."""

    state: str = ""
    batch_stats: Stats | None = None
    output: Output | None = None


class BatchReply(_Reply):
    """A batch."""

    metadata: BatchWork


class BatchAnswer(_Reply):
    """One answer out of a batch, as it was put aside."""

    response: Answer | None = None
    error: Any = None


class ListedModel(BaseModel):
    """One entry of the list of models, or a batch."""

    name: str


class ModelList(BaseModel):
    """The models of all kinds."""

    models: list[ListedModel]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call: the words first, then the pictures in the order in which the words may speak of them."""
    frame = frame_of(request.shape, model)
    image = {"aspectRatio": frame.ratio, "imageSize": frame.scale} if frame else {}
    settings = {"responseModalities": ["IMAGE"], "seed": _seed(request), "imageConfig": _set(image) or None}
    parts = [{"text": request.prompt}, *({"inlineData": _data(picture)} for picture in request.images)]
    return _merged({"contents": [{"role": "user", "parts": parts}], "generationConfig": _set(settings)}, request.options)


def frame_of(shape: Shape | None, model: Model) -> Frame | None:
    """What the service calls the shape; None where it may choose."""
    if isinstance(shape, AspectRatio):
        return Frame(ratio=str(shape))
    if shape is None:
        return None
    frames = FRAMES.get(model.id, _OF_3)
    return frames.get(shape) or frames[nearest_size(shape, SizeList(sizes=tuple(frames)))]


def _data(picture: Picture) -> dict[str, str]:
    return {"mimeType": picture.media_type, "data": base64.b64encode(picture.data).decode("ascii")}


def _seed(request: ImageRequest) -> int | None:
    return None if request.seed is None else request.seed % (MAX_SEED + 1)


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
    if isinstance(request.shape, Size) and frame is not None and request.shape not in FRAMES.get(model.id, _OF_3):
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
    return Fault(message=message or "no reason given", kind=kind, retry_after=_pause(details), details=_set(facts))


def _pause(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds to wait, as in `27s` or `0.5s`."""
    for detail in details:
        try:
            return float(str(detail["retryDelay"]).removesuffix("s"))
        except (KeyError, ValueError):
            continue
    return None
