"""Tencent's Hunyuan image models: the signed actions of Tencent Cloud, and TokenHub with a key of its own.

Facts about the calls from https://cloud.tencent.com/document/api/1729/101848, https://cloud.tencent.com/document/api/1668/88063 and
https://cloud.tencent.com/document/product/1823/135745.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_pascal

from ...errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from ...fields import BaseUrl, Key
from ...models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, find_model
from ...negotiate import fits, nearest_size
from ...net import Fault, Net, Pace, Reply, Service, Tries, words_in
from ...settings import Environment, parse
from ..base import Context, account_of
from .models import CATALOGUE, LARGEST_SEED, TOKENHUB, WAYS, Form, Way
from .sign import sign

__all__ = ["CATALOGUE", "Config", "Hunyuan", "load"]


# Config -------------------------------------------------------------------------------------------------------------------------------------


def _with_scheme(value: object) -> object:
    """Tencent's own settings name a host alone."""
    return f"https://{value}" if isinstance(value, str) and "://" not in value else value


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    secret_id: Key | None = Field(None, alias="TENCENT_SECRET_ID", description="Id of the account's key; needed with TENCENT_SECRET_KEY.")
    secret_key: Key | None = Field(None, alias="TENCENT_SECRET_KEY", description="The account's key, which signs each call.")
    endpoint: Annotated[BaseUrl, BeforeValidator(_with_scheme)] = Field(
        "https://{service}.tencentcloudapi.com",
        alias="TENCENT_ENDPOINT",
        description="Address of the signed actions; {service} stands for hunyuan or aiart. A port and http:// are allowed.",
    )
    region: str = Field("ap-guangzhou", alias="TENCENT_REGION", pattern=r"^[a-z0-9-]+$", description="Region that draws.")
    model: str | None = Field(None, alias="TENCENT_MODEL", description="Model for requests that name none. Unset: the first whose key is set.")
    concurrency: int = Field(
        1, alias="TENCENT_CONCURRENCY", ge=1, description="Jobs the account may have under way at once; Tencent gives 1 and sells more."
    )
    tokenhub_api_key: Key | None = Field(None, alias="TENCENT_TOKENHUB_API_KEY", description="Key for the models at TokenHub.")
    tokenhub_endpoint: Annotated[BaseUrl, BeforeValidator(_with_scheme)] = Field(
        "https://tokenhub.tencentmaas.com",
        alias="TENCENT_TOKENHUB_ENDPOINT",
        description="Address of TokenHub; keys from outside China belong to https://tokenhub-intl.tencentcloudmaas.com.",
    )

    @property
    def account_secret(self) -> str:
        """What tells this account from others."""
        key = self.secret_id if self.secret_id is not None else self.tokenhub_api_key
        return key.get_secret_value() if key is not None else ""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways whose keys are set."""
        signed = self.secret_id is not None and self.secret_key is not None
        return tuple(way for way in WAYS if (self.tokenhub_api_key is not None if way.service == TOKENHUB else signed))


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings.

    Raises:
        ConfigError: TENCENT_MODEL is none of that.
    """
    models = tuple(way.model for way in config.ways)
    chosen = find_model(models, config.model) if config.model is not None else models[0]
    if chosen is None:
        names = ", ".join(model.id for model in models)
        elsewhere = find_model(CATALOGUE.models, config.model or "")
        reason = "needs a key that is not set" if elsewhere else "is not known"
        raise ConfigError(f"TENCENT_MODEL: {config.model!r} {reason}. With the keys that are set there are: {names}.")
    return replace(CATALOGUE, models=models, default_model=chosen.id)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=1, factor=1.5, longest=5, deadline=600)
_QUEUEING = Pace(first=1, factor=1.5, longest=5, deadline=60)
_NO_TASK = "0"
"""Looking at a task that cannot be tells whether the key is taken, and costs nothing."""


class Hunyuan:
    """The service at work. Opens no connection before it is first used.

    Args:
        looking: how often to look at a task, where the request does not say.
        queueing: how often to ask for a place while all of the account's are taken, perhaps by other programs.
    """

    name = "hunyuan"
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING, queueing: Pace = _QUEUEING, tries: Tries | None = None) -> None:
        self.catalogue = catalogue_for(config)
        self.account = account_of(self.name, config.account_secret)
        self.limits = Limits(concurrent=config.concurrency)
        self._ways = {way.model.id: way for way in config.ways}
        self._nets = {name: Net(service(config, name), tries=tries) for name in {way.service for way in config.ways}}
        self._looking = looking
        self._queueing = queueing

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures. A task is waited for; so is a place in line, where the account has none free."""
        way = self._way(model)
        fitted, adjustments = fit(request, way)
        body = await anyio.to_thread.run_sync(to_wire, fitted, way) if fitted.images else to_wire(fitted, way)
        if way.service == TOKENHUB:
            made = await self._draw_at_tokenhub(way, body)
        else:
            reply, answer = await self._submit(way, body, context)
            if not way.query:
                made = await self._collect(way, body, reply, answer)
            elif answer.job_id:
                await context.accepted(answer.job_id)
                made = await self._wait(way, body, answer.job_id, context, request.polling)
            else:
                raise reply.failure(BadReplyError, f"{self._title(way)} took the job but gave it no id", request_id=answer.request_id)
        return replace(made, adjustments=adjustments + made.adjustments)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a task that was submitted earlier."""
        way = self._way(model)
        fitted, adjustments = fit(request, way)
        made = await self._wait(way, to_wire(fitted, way), task_id, context, request.polling)
        return replace(made, adjustments=adjustments + made.adjustments)

    async def check(self) -> str:
        """Whether the key of the default model is taken, asked without paying."""
        model = self.catalogue.default_model
        way = self._ways[model]
        if way.service == TOKENHUB:
            return await self._check_tokenhub(model)
        look = next(other for other in WAYS if other.service == way.service and other.query)
        try:
            await self._act(look, look.query, {"JobId": _NO_TASK}, looking=True)
        except ProviderError as error:
            code = error.details.get("service_code")
            if type(error) is not ProviderError or code is None or code in _ADVICE:
                raise  # anything else is a complaint about the task, so the key was taken
        return f"{self._title(way)} accepts the key; {model} draws with {way.action}."

    async def aclose(self) -> None:
        """Close the connections."""
        for net in self._nets.values():
            await net.aclose()

    def _way(self, model: Model) -> Way:
        if model.id not in self._ways:
            raise ConfigError(f"{model.id} cannot be used with the keys that are set. With these there are: {', '.join(self._ways)}.")
        return self._ways[model.id]

    def _title(self, way: Way) -> str:
        return self._nets[way.service].service.title

    async def _act(self, way: Way, action: str, body: Mapping[str, Any], *, looking: bool = False) -> tuple[Reply, Answer]:
        """The answer of a signed action. It comes with status 200 even when it tells of a failure. To look at a task is free and may be repeated."""
        headers = {"X-TC-Action": action, "X-TC-Version": way.version}
        reply = await self._nets[way.service].send("POST", "", json=body, headers=headers, repeatable=looking)
        answer = reply.parse(Envelope).response
        if answer.error is not None:
            fault = fault_for(answer.error.code, answer.error.message)
            raise failure(reply, fault, request_id=answer.request_id, accepted=looking)
        return reply, answer

    async def _submit(self, way: Way, body: Mapping[str, Any], context: Context) -> tuple[Reply, Answer]:
        """The answer of the service that has taken the work."""
        pause, ends = self._queueing.first, anyio.current_time() + self._queueing.deadline
        while True:
            try:
                return await self._act(way, way.action, body)
            except RateLimitedError as error:
                if error.status == 429 or anyio.current_time() + pause > ends:  # 429 speaks of calls, not of places for jobs
                    raise
            await context.report(0, "The account's places are taken; waiting for one.")
            await anyio.sleep(pause)
            pause = min(pause * self._queueing.factor, self._queueing.longest)

    async def _wait(self, way: Way, body: Mapping[str, Any], task_id: str, context: Context, polling: Mapping[str, float]) -> Generated:
        looks = 0

        async def look() -> tuple[Reply, Answer] | None:
            nonlocal looks
            reply, answer = await self._act(way, way.query, {"JobId": task_id}, looking=True)
            if answer.job_status_code in (_FAILED, _DONE):
                return reply, answer
            looks += 1
            words = "The service has the job in line." if answer.job_status_code == _WAITING else "The service is drawing."
            await context.report(looks / (looks + 4), words)
            return None

        reply, answer = await self._nets[way.service].poll(look, pace=self._looking.within(polling))
        if answer.job_status_code == _FAILED:
            fault = fault_for(answer.job_error_code or "", answer.job_error_msg or answer.job_status_msg or "")
            raise failure(reply, fault, request_id=answer.request_id, accepted=True)
        return await self._collect(way, body, reply, answer)

    async def _collect(self, way: Way, body: Mapping[str, Any], reply: Reply, answer: Answer) -> Generated:
        """The pictures of an answer that has them, inside or behind links."""
        if not answer.results:
            if answer.complaints:
                raise failure(reply, fault_for(answer.complaints[0], ""), request_id=answer.request_id, accepted=True)
            words = f"{self._title(way)} answered without a picture"
            raise reply.failure(BadReplyError, words, request_id=answer.request_id, may_have_been_billed=True)
        net = self._nets[way.service]
        pictures = [await (net.download(text) if "://" in text[:10] else reply.decode(text)) for text, _ in answer.results]
        return from_wire(answer, pictures, body)

    async def _draw_at_tokenhub(self, way: Way, body: Mapping[str, Any]) -> Generated:
        net = self._nets[way.service]
        reply = await net.send("POST", way.action, json=body)
        answer = reply.parse(TokenHubAnswer)
        fault = read_tokenhub_fault(reply.status, {"error": answer.error})
        if fault is not None:
            words = f"{net.service.title} failed: {fault.message}"
            raise reply.failure(fault.kind or ProviderError, words, request_id=answer.error_id, details=fault.details)
        if not answer.entries:
            raise reply.failure(BadReplyError, f"{net.service.title} answered without a picture", request_id=answer.request_id)
        seed = seed_of(body)
        images = [Drawn(data=await net.download(entry.url), seed=seed, revised_prompt=entry.revised_prompt) for entry in answer.entries]
        return Generated(images=tuple(images), request_id=answer.request_id)

    async def _check_tokenhub(self, model: str) -> str:
        net = self._nets[TOKENHUB]
        try:
            reply = await net.send("GET", "v1/models", read_timeout=30)
        except ProviderError as error:
            if error.status == 404:
                return f"{net.service.title} answers but lists no models, so whether it has {model} is not known."
            raise
        listed = {entry.id for entry in reply.parse(ModelList).data}
        return f"{net.service.title} accepts the key, and the model {model} is {'listed' if model in listed else 'not listed'}."


def load(environment: Environment) -> Hunyuan | None:
    """The provider, when the two parts of the account's key or a key for TokenHub are set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not ({"TENCENT_SECRET_ID", "TENCENT_SECRET_KEY"} <= environment.keys() or "TENCENT_TOKENHUB_API_KEY" in environment):
        return None
    return Hunyuan(parse(Config, environment))


def service(config: Config, name: str) -> Service:
    """How to reach that service with these settings."""
    if name == TOKENHUB:
        key = _shown(config.tokenhub_api_key)
        return Service(
            provider="hunyuan",
            title="Tencent TokenHub",
            base_url=config.tokenhub_endpoint,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            read_fault=read_tokenhub_fault,
            key_variable="TENCENT_TOKENHUB_API_KEY",
            url_variable="TENCENT_TOKENHUB_ENDPOINT",
        )
    secret_id, secret_key = _shown(config.secret_id), _shown(config.secret_key)

    def signed(method: str, url: str, body: bytes) -> Mapping[str, str]:
        host = urlsplit(url).netloc.rpartition("@")[2]
        return sign(secret_id=secret_id, secret_key=secret_key, service=name, host=host, body=body, timestamp=int(time.time()))

    return Service(
        provider="hunyuan",
        title="Tencent Hunyuan",
        base_url=config.endpoint.replace("{service}", name),
        headers={"X-TC-Region": config.region, "X-TC-Language": "en-US"},
        secrets=(secret_id, secret_key),
        sign=signed,
        read_fault=read_fault,
        key_variable="TENCENT_SECRET_ID and TENCENT_SECRET_KEY",
        url_variable="TENCENT_ENDPOINT",
    )


def _shown(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_WAITING, _FAILED, _DONE = "1", "4", "5"
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


class Entry(BaseModel):
    """One picture behind a link."""

    url: str
    revised_prompt: str | None = None


class Delta(BaseModel):
    """What a choice adds to the conversation."""

    image: Entry | None = None


class Choice(BaseModel):
    """One of the answers of a conversation."""

    delta: Delta | None = None


class TokenHubAnswer(BaseModel):
    """What TokenHub answers: entries, or choices, or, also with status 200, an error."""

    request_id: str | None = None
    error: Any = None
    data: list[Entry] | None = None
    choices: list[Choice] | None = None

    @property
    def entries(self) -> list[Entry]:
        """The pictures."""
        return [*(self.data or ()), *(choice.delta.image for choice in self.choices or () if choice.delta and choice.delta.image)]

    @property
    def error_id(self) -> str | None:
        """The id of a call that failed."""
        inside = self.error.get("request_id") if isinstance(self.error, dict) else None
        return self.request_id or (inside if isinstance(inside, str) else None)


class ListedModel(BaseModel):
    """One entry of the list of models."""

    id: str


class ModelList(BaseModel):
    """The models that the key may use."""

    data: list[ListedModel]


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
            links = [f"data:{picture.media_type};base64,{data}" for picture, data in zip(request.images, _base64(request), strict=True)]
            content = [{"type": "text", "text": request.prompt}, *({"type": "image_url", "image_url": {"url": link}} for link in links)]
            body = {
                "model": way.model.id,
                "messages": [{"role": "user", "content": content}],
                "size": str(request.shape) if request.shape else None,
                "seed": request.seed,
            }
    return {**{name: value for name, value in body.items() if value is not None}, **request.options}


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

_ADVICE = {
    "AuthFailure.SignatureExpire": "The clock of this machine differs from Tencent's by more than five minutes",
    "FailedOperation.ServiceNotActivated": "Activate it in Tencent's console, or name another model of this provider",
    "ResourceUnavailable.NotExist": "Activate it in Tencent's console, or name another model of this provider",
    "InvalidAction": "Tencent does not offer this any more; name another model of this provider",
    "NoSuchVersion": "Tencent does not offer this any more; name another model of this provider",
    "UnsupportedRegion": "Check TENCENT_REGION",
}


def kind_of(code: str) -> type[ProviderError]:
    """Our class for one of Tencent's codes."""
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


def fault_for(code: str, message: str) -> Fault:
    """What one of Tencent's codes and its message mean."""
    words = message or code or "no reason given"
    if code not in words:
        words = f"{words} ({code})"
    if code in _ADVICE:
        words = f"{words}. {_ADVICE[code]}"
    return Fault(message=words, kind=kind_of(code), details={"service_code": code} if code else {})


_TOKENHUB_KINDS: Mapping[str, type[ProviderError]] = {
    "content_filter": RefusedError,
    "insufficient_quota": QuotaError,
    "invalid_api_key": AuthError,
    "rate_limit_exceeded": RateLimitedError,
    "server_error": UnavailableError,
}


def read_tokenhub_fault(status: int, body: Any) -> Fault | None:
    """What TokenHub's error bodies mean, with whatever status they come. 422 is its word for a refusal."""
    error = body.get("error") if isinstance(body, dict) else None
    message = words_in(body)
    code = error.get("code") if isinstance(error, dict) else body.get("code") if isinstance(body, dict) else None
    if not message and code is None:
        return None
    kind = RefusedError if status == 422 else _TOKENHUB_KINDS.get(str(code))
    return Fault(message=message or "no reason given", kind=kind, details={"service_code": str(code)} if code is not None else {})
