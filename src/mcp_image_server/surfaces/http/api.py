"""The server's own interface over HTTP: jobs, images, models, money and uploads as resources, with failures as problem details."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ...asking import request_of
from ...inputs import Wish, edges
from ...models import MAX_PROMPT_CHARS, Image, ImageRequest, Job, JobState, Operation
from ...studio import Studio
from ..facts import (
    amounts,
    answer,
    estimate_facts,
    found_facts,
    image_filter,
    lineage_facts,
    listed_job_facts,
    models_facts,
    statistics_facts,
)
from .bodies import Arguments
from .endpoints import IDEMPOTENCY, Call, Endpoint, Reply, while_listening
from .events import INLINE_LIMIT, JobStream, event
from .links import seen, seen_in
from .problems import Trouble, problem
from .schemas import AdjustmentFacts, CostFacts, FailureFacts, FoundImage, JobAnswer, JobFacts
from .waiting import PREFER, WaitQuery, applied, wait_of

PAGE = 20
MAX_PAGE = 100


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


class JobsQuery(Arguments):
    """Which jobs."""

    limit: int = Field(PAGE, ge=1, le=MAX_PAGE)
    before: str | None = Field(None, max_length=100, description="`next` of the page before.")
    state: list[JobState] = Field([], description="Only those; may be repeated.")


class ImagesQuery(Arguments):
    """Which images."""

    q: str = Field("", max_length=1000, description="Words that prompt, title or tags hold.")
    provider: str = Field("", max_length=100)
    model: str = Field("", max_length=300)
    tag: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=20, description="May be repeated: only with all of them.")
    favourite: bool = False
    shared: bool = Field(False, description="Only those that are shared with a team.")
    since: str = Field("", max_length=40, description="A day or a moment in ISO 8601.", examples=["2026-12-31"])
    until: str = Field("", max_length=40)
    min_edge: int | None = Field(None, ge=1, le=100_000, description="Both edges have so many pixels or more.")
    ratio: str = Field("", max_length=40, description="Such as 16:9, give or take 3 per cent.")
    min_cost: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False, description="In units of the currency in which it was billed.")
    max_cost: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False)
    made_from: str = Field("", max_length=100, description="Id of an image.")
    deleted: bool = Field(False, description="What is in the trash, in the place of what is not.")
    limit: int = Field(PAGE, ge=1, le=MAX_PAGE)
    before: str | None = Field(None, max_length=100, description="`next` of the page before.")


class ContentQuery(Arguments):
    """Which bytes."""

    thumbnail: bool = Field(False, description="A small WebP.")


class ModelsQuery(Arguments):
    """Whose models."""

    provider: str = Field("", max_length=100, description="Only this provider's.")


class DaysQuery(Arguments):
    """Of how many days."""

    days: int | None = Field(None, ge=1, le=36_500, description="The last so many. Unset: all time; of spending, 30.")


class Changes(Arguments):
    """What is to be different about an image. What is not said stays."""

    title: str | None = Field(None, max_length=500, description="Empty: none any more.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(None, max_length=100, description="All tags that it has then.")
    favourite: bool | None = None
    shared: bool | None = Field(None, description="Whether the caller's team sees it.")


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
    next: str | None = Field(description="Give it as `before` to get the next page.")


class ImagesAnswer(BaseModel):
    """A page of images, newest first."""

    images: list[FoundImage]
    next: str | None = Field(description="Give it as `before` to get the next page.")


class LineageAnswer(BaseModel):
    """An image and its relatives, nearest first; `made_from` of each says how they hang together."""

    image: FoundImage
    ancestors: list[FoundImage]
    descendants: list[FoundImage]


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


class ModelsAnswer(BaseModel):
    """Providers with their models, styles and templates."""

    default_provider: str
    providers: list[dict[str, Any]]
    styles: dict[str, str] = {}
    templates: dict[str, dict[str, Any]] = {}


class TallyFacts(BaseModel):
    """How many pictures, and what was spent on them."""

    pictures: int
    size_bytes: int
    spent: dict[str, float] = Field(description="Currency to amount.")


class StatisticsAnswer(TallyFacts):
    """Pictures and money, in all and by what they are due to."""

    favourites: int
    deleted: int
    providers: dict[str, TallyFacts]
    models: dict[str, TallyFacts]
    days: dict[str, TallyFacts]


class SpendingAnswer(BaseModel):
    """What was spent."""

    days: int
    spent: dict[str, float] = Field(description="Currency to amount.", examples=[{"USD": 1.25}])


# The calls ------------------------------------------------------------------------------------------------------------------------------------


def endpoints(studio: Studio) -> list[Endpoint]:
    """Jobs, images, models and money under `/api/v1`."""
    api = _Api(studio)
    job, image = {"job_id": "Id of a job."}, {"image_id": "Id of an image."}
    where = {"Location": "The job."}
    standing = Reply(words="The job as it stands.", model=JobAnswer)
    found = Reply(words="The image.", model=FoundImage)
    return [
        Endpoint(
            method="POST",
            path="/api/v1/jobs",
            tag="Jobs",
            summary="Draw",
            words="The job goes on without whoever asked. Without `wait` the answer comes at once.",
            answer=api.create_job,
            headers={**IDEMPOTENCY, **PREFER},
            query=WaitQuery,
            body=NewJob,
            replies={
                201: Reply(words="The job has ended; `ok` says how.", model=JobAnswer, headers=where),
                202: Reply(words="It is under way.", model=JobAnswer, headers=where),
            },
            faults=(404, 409),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/jobs",
            tag="Jobs",
            summary="The latest jobs",
            answer=api.jobs,
            query=JobsQuery,
            replies={200: Reply(words="A page of jobs.", model=JobsAnswer, headers={"Link": "The next page, where there is one."})},
        ),
        Endpoint(
            method="GET",
            path="/api/v1/jobs/{job_id}",
            tag="Jobs",
            summary="A job, waited for",
            answer=api.job,
            parameters=job,
            headers=PREFER,
            query=WaitQuery,
            replies={200: standing},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/jobs/{job_id}/events",
            tag="Jobs",
            summary="A job, followed",
            words="Server-sent events: `progress` holds the job as it stands, `preview` a look at the unfinished picture, and `ended` the answer of GET. "
            "Whoever comes back gets the job as it stands then, so nothing is missed.",
            answer=api.follow,
            parameters=job,
            replies={200: Reply(words="Events until the job has ended.", media_type="text/event-stream")},
            faults=(404,),
        ),
        Endpoint(
            method="DELETE",
            path="/api/v1/jobs/{job_id}",
            tag="Jobs",
            summary="End a job",
            words="One that has ended already stays as it is.",
            answer=api.cancel,
            parameters=job,
            replies={200: standing},
            faults=(404,),
        ),
        Endpoint(
            method="POST",
            path="/api/v1/jobs/{job_id}/cancel",
            tag="Jobs",
            summary="End a job",
            words="The same as DELETE.",
            answer=api.cancel,
            parameters=job,
            replies={200: standing},
            faults=(404,),
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
        Endpoint(
            method="GET",
            path="/api/v1/images",
            tag="Images",
            summary="Find images",
            answer=api.images,
            query=ImagesQuery,
            replies={200: Reply(words="A page of images.", model=ImagesAnswer, headers={"Link": "The next page, where there is one."})},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/images/{image_id}",
            tag="Images",
            summary="An image",
            answer=api.image,
            parameters=image,
            replies={200: found},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/images/{image_id}/content",
            tag="Images",
            summary="An image's bytes",
            answer=api.content,
            parameters=image,
            query=ContentQuery,
            replies={302: Reply(words="They are there.", headers={"Location": "A link that opens without a token for a while."})},
            faults=(404,),
        ),
        Endpoint(
            method="PATCH",
            path="/api/v1/images/{image_id}",
            tag="Images",
            summary="Change an image's title, tags and mark, and who sees it",
            answer=api.change,
            parameters=image,
            body=Changes,
            replies={200: found},
            faults=(404,),
        ),
        Endpoint(
            method="DELETE",
            path="/api/v1/images/{image_id}",
            tag="Images",
            summary="Put an image into the trash",
            words="Doing it twice does nothing.",
            answer=partial(api.manage, "delete"),
            parameters=image,
            replies={200: found},
            faults=(404,),
        ),
        Endpoint(
            method="POST",
            path="/api/v1/images/{image_id}/undelete",
            tag="Images",
            summary="Get an image back from the trash",
            answer=partial(api.manage, "undelete"),
            parameters=image,
            replies={200: found},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/images/{image_id}/lineage",
            tag="Images",
            summary="What an image was made from, and what was made from it",
            answer=api.lineage,
            parameters=image,
            replies={200: Reply(words="The image and its relatives.", model=LineageAnswer)},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/models",
            tag="Models",
            summary="The configured services and their models",
            answer=api.models,
            query=ModelsQuery,
            replies={200: Reply(words="Providers, models, styles and templates.", model=ModelsAnswer)},
            faults=(404,),
        ),
        Endpoint(
            method="GET",
            path="/api/v1/statistics",
            tag="Money",
            summary="Pictures and money",
            answer=api.statistics,
            query=DaysQuery,
            replies={200: Reply(words="The caller's.", model=StatisticsAnswer)},
        ),
        Endpoint(
            method="GET",
            path="/api/v1/spending",
            tag="Money",
            summary="What was spent",
            answer=api.spending,
            query=DaysQuery,
            replies={200: Reply(words="By the caller.", model=SpendingAnswer)},
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    # ------------------------------------------------------------------ jobs

    async def create_job(self, call: Call[WaitQuery, NewJob]) -> Response:
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

    async def jobs(self, call: Call[JobsQuery, None]) -> Response:
        asked = call.query
        found = await self._studio.jobs(call.caller, limit=asked.limit + 1, states=asked.state or None, before=asked.before)
        return _page(call.request, "jobs", [job.id for job in found], [listed_job_facts(job) for job in found[: asked.limit]], asked.limit)

    async def job(self, call: Call[WaitQuery, None]) -> Response:
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
        boxes = tuple((x, y, width, height) for x, y, width, height in body.mask_boxes)
        return Wish(request=request, images=tuple(body.images), mask=body.mask, boxes=boxes, style_image=body.style_image)

    def _job(self, request: Request, job: Job) -> dict[str, Any]:
        return seen_in(self._studio, request, job.images, answer(self._studio, job))

    # ------------------------------------------------------------------ images

    async def images(self, call: Call[ImagesQuery, None]) -> Response:
        asked = call.query
        only = image_filter(
            provider=asked.provider,
            model=asked.model,
            tags=tuple(asked.tag),
            favourite=asked.favourite,
            shared=asked.shared,
            since=asked.since,
            until=asked.until,
            min_edge=asked.min_edge,
            ratio=asked.ratio,
            min_cost=asked.min_cost,
            max_cost=asked.max_cost,
            made_from=asked.made_from,
            deleted=asked.deleted,
        )
        found = await self._studio.images.search(call.caller, asked.q, only=only, limit=asked.limit + 1, before=asked.before)
        shown = [self._image(call.request, image) for image in found[: asked.limit]]
        return _page(call.request, "images", [image.id for image in found], shown, asked.limit)

    async def image(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._image(call.request, await self._studio.images.get(call.caller, call.named("image_id"))))

    async def content(self, call: Call[ContentQuery, None]) -> Response:
        image = await self._studio.images.get(call.caller, call.named("image_id"))
        return RedirectResponse(self._studio.images.page_link(image, thumbnail=call.query.thumbnail), 302, {"cache-control": "no-store"})

    async def change(self, call: Call[None, Changes]) -> Response:
        body, manage = call.body, partial(self._studio.images.manage, call.caller, [call.named("image_id")])
        image = await self._studio.images.get(call.caller, call.named("image_id"))
        if body.shared is not None:  # first, since it alone may be refused
            image = (await manage("share" if body.shared else "unshare"))[0]
        if body.title is not None:
            image = (await manage("rename", title=body.title))[0]
        if body.tags is not None:
            if new := [tag for tag in body.tags if tag not in image.tags]:
                image = (await manage("tag", tags=new))[0]
            if old := [tag for tag in image.tags if tag not in body.tags and tag not in new]:
                image = (await manage("untag", tags=old))[0]
        if body.favourite is not None:
            image = (await manage("favourite" if body.favourite else "unfavourite"))[0]
        return JSONResponse(self._image(call.request, image))

    async def manage(self, action: Literal["delete", "undelete"], call: Call[None, None]) -> Response:
        changed = await self._studio.images.manage(call.caller, [call.named("image_id")], action)
        return JSONResponse(self._image(call.request, changed[0]))

    async def lineage(self, call: Call[None, None]) -> Response:
        lineage = await self._studio.images.lineage(call.caller, call.named("image_id"))
        facts = lineage_facts(self._studio, lineage)
        return JSONResponse(
            {
                "image": self._seen(call.request, lineage.image, facts["image"]),
                "ancestors": [self._seen(call.request, *pair) for pair in zip(lineage.ancestors, facts["ancestors"], strict=True)],
                "descendants": [self._seen(call.request, *pair) for pair in zip(lineage.descendants, facts["descendants"], strict=True)],
            }
        )

    def _image(self, request: Request, image: Image) -> dict[str, Any]:
        return self._seen(request, image, found_facts(self._studio, image))

    def _seen(self, request: Request, image: Image, facts: Mapping[str, Any]) -> dict[str, Any]:
        return seen(self._studio, request, image, facts)

    # ------------------------------------------------------------------ models and money

    async def models(self, call: Call[ModelsQuery, None]) -> Response:
        return JSONResponse(await models_facts(self._studio, call.caller, call.query.provider))

    async def statistics(self, call: Call[DaysQuery, None]) -> Response:
        return JSONResponse(statistics_facts(await self._studio.images.statistics(call.caller, days=call.query.days)))

    async def spending(self, call: Call[DaysQuery, None]) -> Response:
        days = call.query.days or 30
        spent = await self._studio.spent(call.caller, days=days)
        return JSONResponse({"days": days, "spent": amounts(spent)})


def _page(request: Request, name: str, ids: list[str], entries: list[dict[str, Any]], limit: int) -> Response:
    """A page and where the next one is. One more was looked for than is shown, to know whether there is one."""
    after = ids[limit - 1] if len(ids) > limit else None
    headers = {}
    if after is not None:
        query = [(key, value) for key, value in request.query_params.multi_items() if key != "before"]
        headers["link"] = f'<{request.url.path}?{urlencode([*query, ("before", after)])}>; rel="next"'
    return JSONResponse({name: entries, "next": after}, headers=headers)
