"""The tools: a signature, a description and one call into the studio each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from mcp import types
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ...asking import copy_at, fallback_of, polling_of, request_of
from ...errors import RequestError
from ...gallery import MAX_MANAGED
from ...inputs import Wish, boxes, edges
from ...models import MAX_PROMPT_CHARS, Action, Caller, ImageRequest, Job, Operation
from ...studio import Studio
from ..facts import image_filter, models_facts
from . import schemas
from .answers import (
    Voice,
    batch_answer,
    batch_plan_answer,
    data_answer,
    images_answer,
    plan_answer,
    result_answer,
    transformed_answer,
)
from .callers import Audience, Session, audience_of, tool_caller_of, with_folders
from .calls import CheckedTool, Murmur, Work, answering, offered
from .tasks import Underway, speaks_tasks

log = logging.getLogger(__name__)

STREAM_LIMIT = 525_000
"""Largest picture, in bytes, inline over HTTP: base64 makes it 700 kB, and clients refuse a server-sent event over 1 MiB."""

TASK_AFTER = 5.0
"""Seconds after which a client with tasks gets one, if its call names no other wait."""

READING = ToolAnnotations(read_only_hint=True, open_world_hint=False)
DRAWING = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
LOCAL = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
CHANGING = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

JobId = Annotated[str, Field(description="The id in `job.id` of an earlier answer.")]
ImageId = Annotated[str, Field(description="The id in `images[].id` of an earlier answer.")]
WaitSeconds = Annotated[float | None, Field(ge=0, le=3600, description="Longest wait in seconds before answering with the job as it stands.")]


def inline_limit(studio: Studio, context: Session) -> int:
    """Bytes of a picture that may be sent inline on this connection."""
    wished = studio.settings.get_image_data_max_bytes
    return min(wished, STREAM_LIMIT) if context.headers is not None else wished


CONFIGURED = ("providers://list", "styles://list", "resolutions://list")
"""Resources that a reload of the configuration may change."""


def tools(studio: Studio, voice: Voice) -> list[CheckedTool]:
    """The tools that are offered, in the order listed.

    Raises:
        ConfigError: as `offered` says.
    """
    desk = _Desk(studio=studio, voice=voice)
    groups = (_drawing, _changing, _jobs, _batches, _models, _images, _operating)
    return offered([tool for group in groups for tool in group(desk)], studio.settings)


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """What tools are made with, and what several of them do."""

    studio: Studio
    voice: Voice

    def tool(
        self, title: str, description: str, annotations: ToolAnnotations, schema: dict[str, Any] | None = None, *, core: bool = True
    ) -> Callable[[Work[...]], CheckedTool]:
        """Makes a tool of a function, whose name and arguments are the tool's.

        Args:
            schema: of what it answers.
            core: it is offered unless the operator says otherwise.
        """

        def made(function: Work[...]) -> CheckedTool:
            call = answering(self.voice)(function)
            plain = Tool.from_function(call, title=title, description=description, annotations=annotations, structured_output=False)
            for argument in plain.parameters["properties"].values():
                argument.pop("title", None)  # the name again, with a capital: two kilobytes of it
                if "default" in argument and argument["default"] is None:
                    del argument["default"]  # what is optional need not say so twice, and some clients take no null
            return CheckedTool(**dict(plain), answers=schema, audience=self.audience, core=core)

        return made

    def audience(self, ctx: Session) -> Audience:
        return audience_of(self.studio, ctx.request_context, structured=self.voice.structured)

    def patience(self, ctx: Session, wait_seconds: float | None) -> float:
        """Seconds to wait: as the call says, else as suits the client."""
        return self.audience(ctx).facts.wait_seconds if wait_seconds is None else wait_seconds

    async def job(self, ctx: Session, job: Job) -> types.CallToolResult:
        """The answer about the job, with a look at it while it is under way."""
        return await self.voice.job(self.studio, job, self.audience(ctx), preview=await self.studio.preview(tool_caller_of(ctx), job))

    async def draw(
        self,
        ctx: Session,
        wanted: ImageRequest | Wish,
        caller: Caller,
        *,
        wait_seconds: float | None,
        dry_run: bool,
        idempotency_key: str,
        fresh: bool,
        fallback: str,
        improve: bool | None = None,
    ) -> types.CallToolResult:
        """The picture, the job that is to bring it, or what it would come to."""
        allowed = fallback_of(fallback)
        if dry_run:
            return plan_answer(await self.studio.estimate(caller, wanted, fallback=allowed, improve=improve))
        if wait_seconds is None and speaks_tasks(ctx.request_context):
            wait_seconds = TASK_AFTER
        job = await self.studio.generate(
            caller,
            wanted,
            wait_seconds=self.patience(ctx, wait_seconds),
            watch=Murmur(ctx).job,
            fallback=allowed,
            idempotency_key=idempotency_key or None,
            fresh=fresh,
            improve=improve,
        )
        answer = await self.job(ctx, job)
        return answer if job.state.ended else Underway.of(answer, job.id)


def _drawing(desk: _Desk) -> list[CheckedTool]:
    studio, voice = desk.studio, desk.voice

    @desk.tool("Generate image", voice.description, DRAWING, schemas.JOB)
    async def generate_image(
        ctx: Session,
        prompt: Annotated[str, Field(description=f"What the picture shows, in any language; at most {MAX_PROMPT_CHARS} characters.")],
        provider: Annotated[str, Field(description="Service to draw with, as list_models names it. Empty: the server's default.")] = "",
        style: Annotated[str, Field(description="Style key from list_models, or provider:style. Empty: none.")] = "",
        resolution: Annotated[
            str, Field(description="1024x1024, 768:1024, a ratio such as 16:9, or provider:resolution. Empty: the model's default.")
        ] = "",
        negative_prompt: Annotated[str, Field(description="What the picture must not show.")] = "",
        file_prefix: Annotated[str, Field(description="First part of the file's name.")] = "",
        background: Annotated[Literal["", "transparent", "opaque", "auto"], Field(description="Background, where the model has a choice.")] = "",
        output_format: Annotated[Literal["", "png", "jpeg", "webp"], Field(description="File format, where the model has a choice.")] = "",
        output_compression: Annotated[int | None, Field(description="0-100, for jpeg and webp.")] = None,
        moderation: Annotated[Literal["", "auto", "low"], Field(description="Strictness of the service's moderation, where it has a choice.")] = "",
        model: Annotated[str, Field(description="Model id from list_models, or provider/model. Empty: the provider's default.")] = "",
        n: Annotated[int, Field(ge=1, le=10, description="How many pictures.")] = 1,
        seed: Annotated[int | None, Field(ge=0, le=2**32 - 1, description="Same seed, same picture, where the model takes one.")] = None,
        quality: Annotated[str, Field(description="low, medium or high, where the model has a choice.")] = "",
        options: Annotated[dict[str, Any] | None, Field(description="Further settings under the service's own names, passed on untouched.")] = None,
        wait_seconds: WaitSeconds = None,
        dry_run: Annotated[bool, Field(description="Draw nothing; say who would draw, what would be changed and what it would cost.")] = False,
        idempotency_key: Annotated[
            str, Field(max_length=200, description="A second call with the same key is the first one: nothing is drawn or paid twice.")
        ] = "",
        fresh: Annotated[bool, Field(description="Draw anew although the same request is still under way.")] = False,
        fallback: Annotated[
            str, Field(description="Who may draw instead if the service does not take it: providers or provider/model, comma-separated; any; none.")
        ] = "",
        rerun_of: Annotated[
            str, Field(description="Id of a picture to draw again, seed and all, but for what is given here; then prompt may be empty.")
        ] = "",
        template: Annotated[
            str, Field(description="Template from list_models that makes the prompt of variables; prompt, which may be empty, is added.")
        ] = "",
        variables: dict[str, Any] | None = None,
        improve: Annotated[bool | None, Field(description="Let a chat model write the prompt anew first.")] = None,
        size: Annotated[str, Field(description="Another name for resolution.")] = "",
        output_filename: Annotated[str, Field(description="Write a copy under this name; its ending decides the format.")] = "",
        output_dir: Annotated[str, Field(description="Folder for the copy. Default: ./outputs.")] = "",
        poll_interval_seconds: Annotated[float | None, Field(gt=0, description="Longest pause between looks at a task (ModelScope).")] = None,
        max_poll_attempts: Annotated[int | None, Field(ge=1, description="Most looks at a task (ModelScope).")] = None,
        poll_backoff: Annotated[bool | None, Field(description="Whether pauses between looks grow (ModelScope).")] = None,
        max_poll_interval_seconds: Annotated[float | None, Field(gt=0, description="Longest grown pause (ModelScope).")] = None,
    ) -> types.CallToolResult:
        usual_resolution, usual_provider = ("", "") if rerun_of else ("" if template else voice.resolution, voice.provider)
        address = studio.read_address(provider=provider, model=model, style=style, resolution=resolution or size or usual_resolution)
        request = request_of(
            replace(address, provider=address.provider or usual_provider or None),
            prompt=prompt,
            negative_prompt=negative_prompt,
            file_prefix=file_prefix,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            moderation=moderation,
            count=n,
            seed=seed,
            quality=quality,
            options=options,
            polling=polling_of(
                interval=poll_interval_seconds, attempts=max_poll_attempts, backoff=poll_backoff, max_interval=max_poll_interval_seconds
            ),
            save_as=copy_at(output_dir, output_filename or voice.file_name),
        )
        caller = tool_caller_of(ctx)
        if template or variables:
            request = await studio.library.from_template(caller, request, template, variables or {})
        if rerun_of:
            request = await studio.again(caller, rerun_of.strip(), **request.wishes)
        return await desk.draw(
            ctx,
            request,
            await with_folders(caller, studio, ctx) if request.save_as else caller,
            wait_seconds=wait_seconds,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
            fresh=fresh,
            fallback=fallback,
            improve=improve,
        )

    @desk.tool(
        "Edit image",
        "Change pictures: by words, under a mask, beyond the edges, in another picture's look, larger, without background, or several into one. "
        "Arguments without a description mean the same as in generate_image, and so does the answer.",
        DRAWING,
        schemas.JOB,
    )
    async def edit_image(
        ctx: Session,
        images: Annotated[
            list[str],
            Field(min_length=1, max_length=16, description="What to work on; more are references. Each: image id, path, https link or base64."),
        ],
        prompt: Annotated[str, Field(description="What is to change, or what the new picture shows.")] = "",
        action: Annotated[
            Literal["", "variation", "upscale", "remove_background"], Field(description="What the pictures alone do not say. Empty: edit.")
        ] = "",
        mask: Annotated[str, Field(description="Picture, transparent or white where it is to be painted anew.")] = "",
        mask_boxes: Annotated[
            list[Annotated[list[float], Field(min_length=4, max_length=4)]] | None,
            Field(description="In place of a mask: [x, y, width, height] each, in pixels or fractions."),
        ] = None,
        extend: Annotated[
            list[int] | None, Field(min_length=4, max_length=4, description="Pixels to paint on at the left, top, right and bottom.")
        ] = None,
        style_image: Annotated[str, Field(description="Picture in whose look to draw.")] = "",
        strength: Annotated[float | None, Field(ge=0, le=1, description="0: as it was; 1: wholly new.")] = None,
        provider: str = "",
        model: str = "",
        style: str = "",
        resolution: str = "",
        negative_prompt: str = "",
        background: Literal["", "transparent", "opaque", "auto"] = "",
        output_format: Literal["", "png", "jpeg", "webp"] = "",
        quality: str = "",
        n: Annotated[int, Field(ge=1, le=10)] = 1,
        seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None,
        options: dict[str, Any] | None = None,
        wait_seconds: Annotated[float | None, Field(ge=0, le=3600)] = None,
        dry_run: bool = False,
        idempotency_key: Annotated[str, Field(max_length=200)] = "",
        fresh: bool = False,
        fallback: str = "",
        output_filename: str = "",
        output_dir: str = "",
    ) -> types.CallToolResult:
        address = studio.read_address(provider=provider, model=model, style=style, resolution=resolution)
        request = request_of(
            replace(address, provider=address.provider or voice.provider or None),
            prompt=prompt,
            action=Operation(action) if action else None,
            extend=edges(extend),
            strength=strength,
            negative_prompt=negative_prompt,
            background=background,
            output_format=output_format,
            quality=quality,
            count=n,
            seed=seed,
            options=options,
            save_as=copy_at(output_dir, output_filename),
        )
        wish = Wish(request=request, images=tuple(images), mask=mask, boxes=boxes(mask_boxes or ()), style_image=style_image)
        return await desk.draw(
            ctx,
            wish,
            await with_folders(tool_caller_of(ctx), studio, ctx),
            wait_seconds=wait_seconds,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
            fresh=fresh,
            fallback=fallback,
        )

    return [generate_image, edit_image]


def _changing(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool(
        "Transform image",
        "Change pictures here, for nothing and at once: crop, rotate, flip, resize, watermark, convert, compress, contact sheet, icons; in this order, "
        "whatever the order of the arguments. What comes of it is a new stored picture, or a file where save_as or icons say.",
        LOCAL,
        schemas.TRANSFORMED,
        core=False,
    )
    async def transform_image(
        ctx: Session,
        images: Annotated[list[str], Field(min_length=1, max_length=64, description="Each: image id, path, https link or base64.")],
        sheet: Annotated[bool, Field(description="One contact sheet of all pictures; the other steps change the sheet.")] = False,
        crop: Annotated[str, Field(description="x,y,width,height in pixels or fractions; a ratio such as 16:9; or a size such as 512x512.")] = "",
        rotate: Annotated[float, Field(description="Degrees, clockwise.")] = 0,
        flip: Literal["", "horizontal", "vertical"] = "",
        resize: Annotated[str, Field(description="512x512; or one edge: 512x or x512.")] = "",
        how: Annotated[
            Literal["fit", "fill", "pad"], Field(description="fit: within the edges; fill: what sticks out is cut off; pad: with room at the sides.")
        ] = "fit",
        gravity: Annotated[
            Literal["center", "top", "bottom", "left", "right", "top_left", "top_right", "bottom_left", "bottom_right"],
            Field(description="What stays in view, and where a picture lies in its padding."),
        ] = "center",
        ground: Annotated[str, Field(description="CSS colour of padding, and behind what can be seen through. Empty: transparent.")] = "",
        watermark: Annotated[str, Field(description="Words in a corner; ai:en and ai:zh write that the picture is AI-generated.")] = "",
        watermark_image: Annotated[str, Field(description="Picture in a corner, in place of words.")] = "",
        corner: Annotated[Literal["top_left", "top_right", "bottom_left", "bottom_right"], Field(description="Of the watermark.")] = "bottom_right",
        format: Annotated[  # noqa: A002 - what callers call it
            Literal["", "png", "jpeg", "webp", "avif"], Field(description="Empty: that of save_as, else as it was.")
        ] = "",
        quality: Annotated[int | None, Field(ge=1, le=100, description="For a named format.")] = None,
        max_bytes: Annotated[str, Field(description="Most bytes: 100kB, 1.5MB.")] = "",
        icons: Annotated[str, Field(description="Folder to write a website's icons to: favicon, touch, maskable, Open Graph.")] = "",
        save_as: Annotated[str, Field(description="Path to write the picture to, instead of storing it.")] = "",
    ) -> types.CallToolResult:
        from ...transforming import Transformation

        wanted = Transformation(
            images=tuple(images),
            sheet=sheet,
            crop=crop,
            rotate=rotate,
            flip=flip,
            resize=resize,
            how=how,
            gravity=gravity,
            ground=ground,
            watermark=watermark,
            watermark_image=watermark_image,
            corner=corner,
            format=format or None,
            quality=quality,
            max_bytes=max_bytes,
            icons=icons,
            save_as=save_as,
        )
        made = await studio.transform(await with_folders(tool_caller_of(ctx), studio, ctx), wanted)
        return await transformed_answer(studio, made, desk.audience(ctx))

    return [transform_image]


def _jobs(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool("Get job", "Wait for a job that generate_image left running, and get its pictures.", READING, schemas.JOB)
    async def get_job(ctx: Session, job_id: JobId, wait_seconds: WaitSeconds = None) -> types.CallToolResult:
        seconds = desk.patience(ctx, wait_seconds)
        return await desk.job(ctx, await studio.job(tool_caller_of(ctx), job_id, wait_seconds=seconds, watch=Murmur(ctx).job))

    @desk.tool("Cancel job", "Stop a job that is still waiting or running.", CHANGING, schemas.JOB)
    async def cancel_job(ctx: Session, job_id: JobId) -> types.CallToolResult:
        return await desk.voice.job(studio, await studio.cancel(tool_caller_of(ctx), job_id), desk.audience(ctx))

    return [get_job, cancel_job]


def _batches(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool(
        "Generate batch",
        "Draw many pictures, up to 5,000 at once, and store them with a contact sheet. Limits and budget are kept; after a crash it goes on, and nothing "
        "is paid twice. If it takes longer than the wait, call it again with the answer's batch_id.",
        DRAWING,
        schemas.BATCH,
        core=False,
    )
    async def generate_batch(
        ctx: Session,
        prompts: Annotated[list[str] | None, Field(description="A picture of each.")] = None,
        items: Annotated[
            list[dict[str, Any]] | None, Field(description="In place of prompts: arguments of generate_image, for each picture its own.")
        ] = None,
        models: Annotated[list[str] | None, Field(description="provider/model; with several, each prompt is drawn by each.")] = None,
        n: Annotated[int, Field(ge=1, le=100, description="Pictures of each.")] = 1,
        economy: Annotated[bool, Field(description="Half the price, within a day, where the service offers that.")] = False,
        batch_id: Annotated[str, Field(description="In place of prompts: `batch.id` of an earlier answer, to wait for it.")] = "",
        retry: Annotated[
            Literal["", "failed", "maybe_billed"],
            Field(description="Enter anew items of batch_id without a picture: those surely not billed, or those that may have been."),
        ] = "",
        cancel: Annotated[bool, Field(description="End the batch of batch_id.")] = False,
        new: Annotated[bool, Field(description="Draw all anew. Without, the same call again finds the same batch.")] = False,
        wait_seconds: WaitSeconds = None,
        dry_run: Annotated[bool, Field(description="Draw nothing; say what it would cost.")] = False,
    ) -> types.CallToolResult:
        from ...batches import expand, numbered

        caller = tool_caller_of(ctx)
        seconds = desk.patience(ctx, wait_seconds)
        watch = Murmur(ctx).batch
        if bool(batch_id) == bool(prompts or items):
            raise RequestError("Name prompts or items to begin a batch, or batch_id for one that was begun.")
        if (retry or cancel) and not batch_id:
            raise RequestError("retry and cancel need batch_id.")
        if cancel:
            return await batch_answer(studio, await studio.batches.cancel(caller, batch_id), desk.audience(ctx))
        if retry:
            billed = retry == "maybe_billed"
            again = await studio.batches.retry(caller, batch_id, failed=not billed, maybe_billed=billed, wait_seconds=seconds, watch=watch)
            return await batch_answer(studio, again, desk.audience(ctx))
        if batch_id:
            return await batch_answer(studio, await studio.batches.status(caller, batch_id, wait_seconds=seconds, watch=watch), desk.audience(ctx))
        pictures = expand(numbered([*(prompts or ()), *(items or ())]), models=models or (), n=n, economy=economy)
        if any("output_filename" in picture.arguments for picture in pictures):
            caller = await with_folders(caller, studio, ctx)
        if dry_run:
            return batch_plan_answer(await studio.batches.estimate(caller, pictures))
        return await batch_answer(
            studio, await studio.batches.begin(caller, pictures, new=new, wait_seconds=seconds, watch=watch), desk.audience(ctx)
        )

    return [generate_batch]


def _models(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool(
        "List models",
        "The configured services and their models (sizes, limits, prices), styles, and templates with their variables.",
        READING,
        schemas.MODELS,
    )
    async def list_models(
        ctx: Session,
        provider: Annotated[str, Field(description="Only this provider's. Empty: every configured provider's.")] = "",
    ) -> types.CallToolResult:
        return result_answer(await models_facts(studio, tool_caller_of(ctx), provider))

    return [list_models]


def _images(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool("Search images", "Find pictures made earlier by words of their prompt.", READING, schemas.IMAGES)
    async def search_images(
        ctx: Session,
        query: Annotated[str, Field(description="Words that prompt, title or tags hold. Empty: the latest pictures.")] = "",
        provider: Annotated[str, Field(description="Only pictures drawn by this provider.")] = "",
        limit: Annotated[int, Field(ge=1, le=100, description="How many at most, newest first.")] = 20,
        model: str = "",
        tags: Annotated[list[str] | None, Field(description="Only with all these tags.")] = None,
        favourite: bool = False,
        shared: Annotated[bool, Field(description="Only pictures shared with a team.")] = False,
        since: Annotated[str, Field(description="2026-12-31, or a moment.")] = "",
        until: str = "",
    ) -> types.CallToolResult:
        only = image_filter(provider=provider, model=model, tags=tuple(tags or ()), favourite=favourite, shared=shared, since=since, until=until)
        return images_answer(studio, await studio.images.search(tool_caller_of(ctx), query, only=only, limit=limit), desk.audience(ctx))

    @desk.tool(
        "Manage images",
        "Tag, rename, mark as favourite, share with your team, delete or get back stored pictures.",
        CHANGING,
        schemas.IMAGES,
        core=False,
    )
    async def manage_images(
        ctx: Session,
        image_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_MANAGED, description="Ids from search_images or an earlier answer.")],
        action: Annotated[Action, Field(description="What to do to all of them. What is deleted can be got back with undelete for some days.")],
        tags: Annotated[list[str] | None, Field(description="For tag and untag.")] = None,
        title: Annotated[str, Field(description="For rename. Empty: none any more.")] = "",
    ) -> types.CallToolResult:
        changed = await studio.images.manage(tool_caller_of(ctx), image_ids, action, tags=tags or (), title=title)
        return images_answer(studio, changed, desk.audience(ctx))

    @desk.tool("Get image data", "The original bytes of a stored picture as base64. Large: use it only when a link or path will not do.", READING)
    async def get_image_data(ctx: Session, image_id: ImageId) -> types.CallToolResult:
        image = await studio.images.recent(tool_caller_of(ctx), image_id.strip())
        return await data_answer(studio, image, desk.audience(ctx), inline_limit(studio, ctx))

    return [search_images, manage_images, get_image_data]


def _operating(desk: _Desk) -> list[CheckedTool]:
    studio = desk.studio

    @desk.tool("Reload configuration", "Read the settings and keys again without a restart.", CHANGING)
    async def reload_config(
        ctx: Session,
        dotenv_override: Annotated[bool, Field(description="Whether .env wins over the server's environment.")] = True,
    ) -> types.CallToolResult:
        reloaded = await studio.upkeep.reload(tool_caller_of(ctx), dotenv_wins=dotenv_override)
        for uri in CONFIGURED:
            await ctx.notify_resource_updated(uri)
        return result_answer(
            {
                "changed_fields": list(reloaded.changed),
                "providers": list(reloaded.providers),
                "default_provider": reloaded.default_provider,
                "provider_models": {name: {"model": model} for name, model in reloaded.models.items()},
                "restart_required_fields": [],
            }
        )

    return [reload_config]
