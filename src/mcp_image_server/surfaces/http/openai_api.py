"""OpenAI's image interface over every provider, so that programs and libraries written for OpenAI draw with any of them.

Facts of the wire: https://platform.openai.com/docs/api-reference/images. What we add stands in fields of its own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from anyio import to_thread
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...asking import fallback_of, request_of
from ...errors import NotFoundError, RequestError
from ...inputs import Wish
from ...models import MAX_PROMPT_CHARS, Failure, Image, ImageRequest, Job, find_model
from ...studio import Studio
from ..facts import adjustment_facts, cost_facts, job_facts, succeeded
from .endpoints import IDEMPOTENCY, Call, Endpoint, Reply, while_listening
from .events import INLINE_LIMIT, JobStream, Watch, event
from .links import link_of
from .problems import Trouble, openai_error, refused, trouble_of
from .schemas import AdjustmentFacts, CostFacts, JobFacts

PATIENCE = 30.0
"""Seconds that a call waits longer than a job may take."""

OWN_KINDS = ("openai", "azure")
"""Providers to which OpenAI's own options mean something."""


# What is asked --------------------------------------------------------------------------------------------------------------------------------


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Drawing(BaseModel):
    """What every call that draws may say. Null is as good as nothing."""

    model_config = ConfigDict(extra="allow")

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS, description="What the picture shows.", examples=["A lighthouse at dusk"])
    model: str | None = Field(
        None,
        max_length=300,
        description="`provider/model`, `provider`, or a model's id alone. Empty or `default`: as the server is set.",
        examples=["openai/gpt-image-2", "doubao", "default"],
    )
    n: int | None = Field(None, ge=1, le=10, description="How many pictures.")
    size: str | None = Field(
        None,
        max_length=40,
        description="`1024x1024`, a ratio such as `16:9`, or `auto`. What the model does not draw becomes the nearest that it does.",
    )
    quality: str | None = Field(None, max_length=40, description="`low`, `medium`, `high` and so on; also `standard` and `hd`.")
    style: str | None = Field(None, max_length=100, description="Key of a style.")
    background: Literal["transparent", "opaque", "auto"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, description="For `jpeg` and `webp`.")
    moderation: Literal["auto", "low"] | None = None
    response_format: Literal["b64_json", "url"] | None = Field(
        None, description="How pictures come. Unset: as links for `dall-e-2` and `dall-e-3`, as base64 for all others, as OpenAI has it."
    )
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    partial_images: int | None = Field(
        None, ge=0, le=3, description="Most looks at the unfinished picture in a stream; there are as many as the service gives."
    )
    user: str | None = Field(None, max_length=1000, description="Taken, and neither kept nor passed on.")
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="Ours: the same seed, the same picture, where the model takes one.")
    negative_prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARS, description="Ours: what the picture must not show.")
    fallback: str | None = Field(None, max_length=1000, description="Ours: who may draw instead, as for the tool `generate_image`.")
    options: dict[str, Any] | None = Field(
        None,
        description="Ours: settings under the service's own names. Where `model` names the provider, fields that are not listed here are the same.",
    )
    own: ClassVar[tuple[str, ...]] = ()
    """Fields that mean something to OpenAI alone."""


class GenerationBody(Drawing):
    """A picture of words."""


class ImageReference(BaseModel):
    """A picture that exists already: either field."""

    model_config = ConfigDict(extra="forbid")

    image_url: str | None = Field(None, description="An https link, or a data URI.")
    file_id: str | None = Field(None, description="Id of a stored or uploaded image.")

    @model_validator(mode="after")
    def _one(self) -> ImageReference:
        if (self.image_url is None) == (self.file_id is None):
            raise ValueError("give image_url or file_id")
        return self

    @property
    def source(self) -> str:
        """The picture as a wish names it."""
        return self.image_url or self.file_id or ""


class EditBody(Drawing):
    """Pictures that exist already, and what is to become of them, as JSON."""

    images: Annotated[list[ImageReference | str], BeforeValidator(_listed)] = Field(
        min_length=1,
        max_length=16,
        validation_alias=AliasChoices("images", "image"),
        description="What to work on; more are references. Each an object, or its link, data URI or id alone.",
    )
    mask: ImageReference | str | None = Field(None, description="Transparent where it is to be painted anew.")
    input_fidelity: Literal["high", "low"] | None = Field(None, description="For OpenAI's models; others draw without.")
    own: ClassVar[tuple[str, ...]] = ("input_fidelity",)


class EditForm(Drawing):
    """The same as a form with files. `image[]` is as good as `image`."""

    image: list[bytes | str] = Field(min_length=1, max_length=16, description="What to work on; more are references.")
    mask: bytes | str | None = Field(None, description="Transparent where it is to be painted anew.")
    input_fidelity: Literal["high", "low"] | None = None
    own: ClassVar[tuple[str, ...]] = ("input_fidelity",)


# What is answered -----------------------------------------------------------------------------------------------------------------------------


class DrawnImage(BaseModel):
    """One picture."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    id: str = Field(description="Ours: the stored image; it can be given to later calls.")


class DrawnAnswer(BaseModel):
    """The pictures."""

    created: int
    data: list[DrawnImage]
    size: str = Field(examples=["1024x1024"])
    quality: str
    background: str
    output_format: str
    job: JobFacts = Field(description="Ours.")
    cost: CostFacts | None = Field(None, description="Ours.")
    adjustments: list[AdjustmentFacts] = Field([], description="Ours: what was changed so that the model could draw it.")


class ModelEntry(BaseModel):
    """One model."""

    id: str = Field(examples=["openai/gpt-image-2"])
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Every model that can be asked."""

    object: Literal["list"]
    data: list[ModelEntry]


class ErrorWords(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None
    details: dict[str, Any] | None = Field(None, description="Ours.")
    job_id: str | None = Field(None, description="Ours: the job that failed.")


class ErrorAnswer(BaseModel):
    """A failure, as OpenAI's libraries expect it."""

    error: ErrorWords


# The calls ------------------------------------------------------------------------------------------------------------------------------------


def endpoints(studio: Studio) -> list[Endpoint]:
    """Everything under `/v1`."""
    api = _Api(studio)
    drawn = {
        200: Reply(
            words="The pictures; or, with `stream`, events whose names and fields are OpenAI's.",
            model=DrawnAnswer,
            headers={"x-job-id": "Id of the job."},
            streams=True,
        )
    }
    drawing = partial(Endpoint, method="POST", tag="OpenAI", headers=IDEMPOTENCY, replies=drawn, faults=(404, 409, 502, 504))
    return [
        drawing(path="/v1/images/generations", summary="Draw pictures of words", answer=api.generate, body=GenerationBody),
        drawing(
            path="/v1/images/edits",
            summary="Change pictures, or make one of several",
            answer=api.edit,
            body=EditBody,
            form=EditForm,
            many=("image",),
        ),
        Endpoint(
            method="GET",
            path="/v1/models",
            tag="OpenAI",
            summary="The models that can be asked",
            answer=api.models,
            replies={200: Reply(words="The models of the configured providers.", model=ModelList)},
        ),
        Endpoint(
            method="GET",
            path="/v1/models/{model:path}",
            tag="OpenAI",
            summary="One model",
            answer=api.model,
            parameters={"model": "As in `model` of a call that draws."},
            replies={200: Reply(words="The model.", model=ModelEntry)},
            faults=(404,),
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def generate(self, call: Call[None, GenerationBody]) -> Response:
        return await self._draw(call, call.body, self._request(call.body), "image_generation")

    async def edit(self, call: Call[None, EditBody | EditForm]) -> Response:
        body = call.body
        images = body.images if isinstance(body, EditBody) else body.image
        wish = Wish(request=self._request(body), images=tuple(map(_source, images)), mask=_source(body.mask) if body.mask else "")
        return await self._draw(call, body, wish, "image_edit")

    async def models(self, call: Call[None, None]) -> Response:
        entries = [_entry(model.provider, model.id) for catalogue in self._studio.catalogues() for model in catalogue.models]
        return JSONResponse({"object": "list", "data": entries})

    async def model(self, call: Call[None, None]) -> Response:
        provider, name = self._who(call.named("model"))
        for catalogue in self._studio.catalogues():
            if provider in (None, catalogue.provider) and (found := find_model(catalogue.models, name or catalogue.default_model)):
                return JSONResponse(_entry(catalogue.provider, found.id))
        raise NotFoundError(f"There is no model {call.named('model')!r}. GET /v1/models lists those there are.", code="model_not_found")

    def _who(self, model: str | None) -> tuple[str | None, str | None]:
        """Provider and model."""
        written = (model or "").strip()
        if written in ("", "default"):
            return None, None
        if written.lower() in self._studio.known_providers:
            return written.lower(), None
        address = self._studio.read_address(model=written)
        return address.provider, address.model

    def _request(self, body: Drawing) -> ImageRequest:
        provider, model = self._who(body.model)
        address = self._studio.read_address(provider=provider or "", style=body.style or "", resolution=body.size or "")
        extra = {name: value for name, value in (body.model_extra or {}).items() if value is not None}
        if extra and provider is None:
            known = ", ".join(type(body).model_fields)
            raise RequestError(
                f"{', '.join(map(repr, extra))}: no such field here. There are {known}. What only the service knows goes into `options`, "
                "or stands as it is where `model` names the provider, as in `doubao` or `doubao/doubao-seedream-4-5`.",
                code="unknown_parameter",
                details={"parameter": next(iter(extra))},
            )
        ours = {name: value for name in body.own if (value := getattr(body, name)) is not None}
        kind = address.provider or self._studio.default_provider
        return request_of(
            replace(address, model=model),
            prompt=body.prompt,
            count=body.n or 1,
            seed=body.seed,
            negative_prompt=body.negative_prompt,
            quality="" if body.quality == "auto" else body.quality,
            background=body.background,
            output_format=body.output_format,
            output_compression=body.output_compression,
            moderation=body.moderation,
            options={**(ours if kind in OWN_KINDS else {}), **extra, **(body.options or {})},
        )

    async def _draw(self, call: Call[Any, Any], body: Drawing, wanted: ImageRequest | Wish, kind: str) -> Response:
        work = partial(
            self._studio.generate,
            call.caller,
            wanted,
            wait_seconds=self._studio.settings.job_timeout + PATIENCE,
            idempotency_key=call.idempotency_key,
            fallback=fallback_of(body.fallback or ""),
        )
        path = call.request.url.path
        if body.stream:
            return self._stream(call, body, kind, lambda watch: work(watch=watch))
        job = await while_listening(call.request, work)
        if (failure := _failure(job)) is not None:
            return refused(path, failure, job_id=job.id)
        as_links = (body.response_format or ("url" if (body.model or "").rpartition("/")[2].startswith("dall-e") else "b64_json")) == "url"
        data = [await self._picture(call.request, image, as_link=as_links) for image in job.images]
        answer = {"created": int((job.finished_at or job.created_at).timestamp()), "data": data, **_settings(job, job.images[0]), **_ours(job)}
        response = await to_thread.run_sync(JSONResponse, answer)
        response.headers["x-job-id"] = job.id
        return response

    async def _picture(self, request: Request, image: Image, *, as_link: bool) -> dict[str, Any]:
        where = {"url": link_of(self._studio, request, image)} if as_link else {"b64_json": await self._base64(image)}
        return {**where, **({"revised_prompt": image.revised_prompt} if image.revised_prompt else {}), "id": image.id}

    async def _base64(self, image: Image) -> str:
        data = await self._studio.images.read(image)
        return await to_thread.run_sync(lambda: b64encode(data).decode("ascii"))

    # ------------------------------------------------------------------ as events

    def _stream(self, call: Call[Any, Any], body: Drawing, kind: str, work: Callable[[Watch], Any]) -> JobStream:
        shown: list[bytes] = []

        async def meanwhile(job: Job) -> AsyncIterator[bytes]:
            if len(shown) >= (body.partial_images or 0):
                return
            look = await self._studio.preview(call.caller, job)
            if look is None or look in shown or len(look) > INLINE_LIMIT:
                return
            shown.append(look)
            settings = {**_settings(job, None), "output_format": "webp", "created_at": int(job.created_at.timestamp())}
            name = f"{kind}.partial_image"
            yield event(name, {"type": name, "b64_json": b64encode(look).decode(), "partial_image_index": len(shown) - 1, **settings})

        async def finally_(job: Job) -> AsyncIterator[bytes]:
            if (failure := _failure(job)) is not None:
                yield _broken(trouble_of(failure, job_id=job.id))
                return
            name = f"{kind}.completed"
            for image in job.images:
                fits = image.size_bytes <= INLINE_LIMIT and body.response_format != "url"
                yield event(
                    name,
                    {
                        "type": name,
                        "b64_json": await self._base64(image) if fits else None,
                        "url": link_of(self._studio, call.request, image),
                        "created_at": int(image.created_at.timestamp()),
                        **_settings(job, image),
                        "usage": _NO_TOKENS,
                        "id": image.id,
                        **_ours(job),
                    },
                )

        return JobStream(call.request.url.path, work, meanwhile=meanwhile, finally_=finally_, broken=_broken)


_NO_TOKENS = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0, "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}
"""Readers of streams insist on it. Not every service counts tokens; what was paid is in `cost`."""


def _source(given: ImageReference | str | bytes) -> str | bytes:
    return given.source if isinstance(given, ImageReference) else given


def _failure(job: Job) -> Failure | None:
    """Why there are no pictures; None where there are."""
    if job.failure is not None:
        return job.failure
    if not job.state.ended or not succeeded(job) or not job.images:
        return Failure(code="timeout", message=f"Job {job.id} has not ended yet; GET /api/v1/jobs/{job.id} tells what becomes of it.")
    return None


def _settings(job: Job, image: Image | None) -> Mapping[str, str]:
    return {
        "size": str(image.size if image is not None else job.request.shape or "auto"),
        "quality": job.request.quality or "auto",
        "background": job.request.background or "auto",
        "output_format": image.media_type.removeprefix("image/") if image is not None else job.request.output_format or "png",
    }


def _ours(job: Job) -> dict[str, Any]:
    ours: dict[str, Any] = {"job": job_facts(job)}
    if job.cost is not None:
        ours["cost"] = cost_facts(job.cost)
    if job.adjustments:
        ours["adjustments"] = adjustment_facts(job.adjustments)
    return ours


def _entry(provider: str, model: str) -> dict[str, Any]:
    return {"id": f"{provider}/{model}", "object": "model", "created": 0, "owned_by": provider}


def _broken(trouble: Trouble) -> bytes:
    return event("error", {"type": "error", **openai_error(trouble)})
