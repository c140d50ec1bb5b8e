"""Jobs over HTTP: pictures asked for, waited for, followed and given up."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...asking import request_of
from ...inputs import Wish, boxes, edges
from ...models import MAX_PROMPT_CHARS, ImageRequest, Job, JobState, Operation
from ...studio import Studio
from ..facts import answer, estimate_facts, listed_job_facts
from .bodies import Arguments
from .endpoints import IDEMPOTENCY, Call, Endpoint, Reply, while_listening
from .events import INLINE_LIMIT, JobStream, event
from .links import seen_in
from .paging import LINK, Next, PageQuery, page
from .problems import Trouble, problem
from .schemas import AdjustmentFacts, CostFacts, FailureFacts, JobAnswer, JobFacts
from .waiting import PREFER, WaitQuery, applied, wait_of

# What is asked --------------------------------------------------------------------------------------------------------------------------------


class NewJob(Arguments):
    """A picture that is wanted: of words, or of pictures that exist already. What is not said is left to the model."""

    prompt: str = Field(
        "", max_length=MAX_PROMPT_CHARS, description="What the picture shows, or what is to change.", examples=["A lighthouse at dusk"]
    )
    provider: str = Field("", max_length=100, description="Service to draw with. Empty: the server's default.")
    model: str = Field("", max_length=300, description="Model id, or provider/model.", examples=["openai/gpt-image-2"])
    size: str = Field("", max_length=40, description="1024x1024, 768:1024, or a ratio such as 16:9.")
    style: str = Field("", max_length=100, description="Key of a style.")
    n: int = Field(1, ge=1, le=10, description="How many pictures.")
    negative_prompt: str = Field("", max_length=MAX_PROMPT_CHARS, description="What the picture must not show.")
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    quality: str = Field("", max_length=40)
    background: Literal["", "transparent", "opaque", "auto"] = ""
    output_format: Literal["", "png", "jpeg", "webp"] = ""
    output_compression: int | None = Field(None, ge=0, le=100)
    moderation: Literal["", "auto", "low"] = ""
    file_prefix: str = Field("", max_length=200, description="First part of the file's name.")
    images: list[str] = Field(
        [], max_length=16, description="What to work on; more are references. Each: id of a stored or uploaded image, https link, data URI or base64."
    )
    action: Literal["", "variation", "upscale", "remove_background"] = Field("", description="What the images alone do not say.")
    mask: str = Field("", description="Picture, transparent or white where it is to be painted anew; named like `images`.")
    mask_boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        [], max_length=100, description="In place of a mask: [x, y, width, height] each, in pixels or fractions."
    )
    extend: list[Annotated[int, Field(ge=0, le=10_000)]] | None = Field(
        None, min_length=4, max_length=4, description="Pixels to paint on at the left, top, right and bottom."
    )
    style_image: str = Field("", description="Picture in whose look to draw; named like `images`.")
    strength: float | None = Field(None, ge=0, le=1, description="0: as it was; 1: wholly new.")
    rerun_of: str = Field("", max_length=100, description="Id of an image to draw again, seed and all, but for what is said here.")
    template: str = Field("", max_length=200, description="Template that makes the prompt of variables.")
    variables: dict[str, Any] = Field({})
    improve: bool | None = Field(None, description="Let a chat model write the prompt anew first.")
    fallback: list[str] = Field([], max_length=20, description="Who may draw instead: providers, provider/model, `any` or `none`.")
    fresh: bool = Field(False, description="Draw anew although the same request is still under way.")
    options: dict[str, Any] = Field({}, description="Further settings under the service's own names.")


class JobsQuery(PageQuery):
    """Which jobs."""

    state: list[JobState] = Field([], description="Only those; may be repeated.")


# What is answered -----------------------------------------------------------------------------------------------------------------------------


class ListedJob(JobFacts):
    """A job in a list."""

    prompt: str
    original_prompt: str | None = None
    batch_id: str | None = None
    created_at: str
    finished_at: str | None = None
    images: list[str] = Field(description="Ids.")
    cost: CostFacts | None = None
    task_id: str | None = None
    request_id: str | None = None
    error: FailureFacts | None = None


class JobsAnswer(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[ListedJob]
    next: Next


class EstimateAnswer(BaseModel):
    """Who would draw, what would be changed and what it would cost."""

    provider: str
    model: str
    prompt: str
    resolution: str | None = None
    n: int
    adjustments: list[AdjustmentFacts]
    estimate: CostFacts | None = None
    alternates: list[str] | None = None
    needs_confirmation: bool | None = None
    would_be_refused: FailureFacts | None = None


# The calls ------------------------------------------------------------------------------------------------------------------------------------


def endpoints(studio: Studio) -> list[Endpoint]:
    """What begins jobs and looks after them."""
    api = _Api(studio)
    path = "/api/v1/jobs/{job_id}"
    every = partial(Endpoint, path="/api/v1/jobs", tag="Jobs")
    one = partial(Endpoint, path=path, tag="Jobs", parameters={"job_id": "Id of a job."}, faults=(404,))
    where = {"Location": "The job."}
    standing = Reply(words="The job as it stands.", model=JobAnswer)
    return [
        every(
            method="POST",
            summary="Draw",
            words="The job goes on without whoever asked. Without `wait` the answer comes at once.",
            answer=api.begin,
            headers={**IDEMPOTENCY, **PREFER},
            query=WaitQuery,
            body=NewJob,
            replies={
                201: Reply(words="The job has ended; `ok` says how.", model=JobAnswer, headers=where),
                202: Reply(words="It is under way.", model=JobAnswer, headers=where),
            },
            faults=(404, 409),
        ),
        every(
            method="GET",
            summary="The latest jobs",
            answer=api.some,
            query=JobsQuery,
            replies={200: Reply(words="A page of jobs.", model=JobsAnswer, headers=LINK)},
        ),
        one(method="GET", summary="A job, waited for", answer=api.one, headers=PREFER, query=WaitQuery, replies={200: standing}),
        one(
            method="GET",
            path=f"{path}/events",
            summary="A job, followed",
            words="Server-sent events: `progress` holds the job as it stands, `preview` a look at the unfinished picture, and `ended` the answer of GET. "
            "Whoever comes back gets the job as it stands then, so nothing is missed.",
            answer=api.follow,
            replies={200: Reply(words="Events until the job has ended.", media_type="text/event-stream")},
        ),
        one(
            method="DELETE",
            summary="Cancel a job",
            words="It is ended, not removed: GET still tells what it drew and cost. One that has ended already stays as it is, so doing it twice does nothing more.",
            answer=api.cancel,
            replies={200: standing},
        ),
        one(
            method="POST",
            path=f"{path}/cancel",
            summary="Cancel a job by POST",
            words="The same as DELETE, for callers that cannot send it.",
            answer=api.cancel,
            replies={200: standing},
        ),
        Endpoint(
            method="POST",
            path="/api/v1/estimates",
            tag="Jobs",
            summary="What a job would come to",
            words="Draws nothing and costs nothing.",
            answer=api.estimate,
            body=NewJob,
            replies={200: Reply(words="The estimate.", model=EstimateAnswer)},
            faults=(404,),
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def begin(self, call: Call[WaitQuery, NewJob]) -> Response:
        body, seconds = call.body, wait_of(call)
        wanted = await self._wanted(call)
        job = await while_listening(
            call.request,
            partial(
                self._studio.generate,
                call.caller,
                wanted,
                wait_seconds=seconds,
                idempotency_key=call.idempotency_key,
                fallback=body.fallback,
                fresh=body.fresh,
                improve=body.improve,
            ),
        )
        headers = {"location": f"/api/v1/jobs/{job.id}", **applied(call, seconds)}
        return JSONResponse(self._job(call.request, job), status_code=201 if job.state.ended else 202, headers=headers)

    async def estimate(self, call: Call[None, NewJob]) -> Response:
        wanted = await self._wanted(call)
        return JSONResponse(estimate_facts(await self._studio.estimate(call.caller, wanted, fallback=call.body.fallback, improve=call.body.improve)))

    async def some(self, call: Call[JobsQuery, None]) -> Response:
        asked = call.query
        found = await self._studio.jobs(call.caller, limit=asked.enough, states=asked.state or None, before=asked.before)
        return page(call, "jobs", found, listed_job_facts)

    async def one(self, call: Call[WaitQuery, None]) -> Response:
        seconds = wait_of(call)
        work = partial(self._studio.job, call.caller, call.named("job_id"), wait_seconds=seconds)
        return JSONResponse(self._job(call.request, await while_listening(call.request, work)), headers=applied(call, seconds))

    async def cancel(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._job(call.request, await self._studio.cancel(call.caller, call.named("job_id"))))

    async def follow(self, call: Call[None, None]) -> Response:
        shown: list[bytes] = []

        async def meanwhile(job: Job) -> AsyncIterator[bytes]:
            yield event("progress", self._job(call.request, job))
            look = await self._studio.preview(call.caller, job)
            if look is not None and [look] != shown and len(look) <= INLINE_LIMIT:
                shown[:] = [look]
                yield event("preview", {"job_id": job.id, "mime_type": "image/webp", "b64": b64encode(look).decode()})

        async def finally_(job: Job) -> AsyncIterator[bytes]:
            yield event("ended" if job.state.ended else "progress", self._job(call.request, job))

        def broken(trouble: Trouble) -> bytes:
            return event("error", problem(trouble))

        patience = self._studio.settings.job_timeout + 3600
        work = partial(self._studio.job, call.caller, call.named("job_id"), wait_seconds=patience)
        return JobStream(call.request.url.path, lambda watch: work(watch=watch), meanwhile=meanwhile, finally_=finally_, broken=broken)

    async def _wanted(self, call: Call[Any, NewJob]) -> ImageRequest | Wish:
        body = call.body
        address = self._studio.read_address(provider=body.provider, model=body.model, style=body.style, resolution=body.size)
        request = request_of(
            address,
            prompt=body.prompt,
            action=Operation(body.action) if body.action else None,
            extend=edges(body.extend),
            strength=body.strength,
            negative_prompt=body.negative_prompt,
            file_prefix=body.file_prefix,
            background=body.background,
            output_format=body.output_format,
            output_compression=body.output_compression,
            moderation=body.moderation,
            count=body.n,
            seed=body.seed,
            quality=body.quality,
            options=body.options,
        )
        if body.template or body.variables:
            request = await self._studio.library.from_template(call.caller, request, body.template, body.variables)
        if body.rerun_of:
            request = await self._studio.again(call.caller, body.rerun_of.strip(), **request.wishes)
        if not (body.images or body.mask or body.mask_boxes or body.style_image):
            return request
        return Wish(request=request, images=tuple(body.images), mask=body.mask, boxes=boxes(body.mask_boxes), style_image=body.style_image)

    def _job(self, request: Request, job: Job) -> dict[str, Any]:
        return seen_in(self._studio, request, job.images, answer(self._studio, job))
