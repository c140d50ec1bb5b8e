"""The tools: a signature, a description and one call into the studio each."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

from mcp import types
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError

from ...errors import ImageServerError, RequestError
from ...models import MAX_PROMPT_CHARS, ImageRequest, Job
from ...studio import Studio
from ..facts import catalogue_facts
from . import schemas
from .answers import Voice, data_answer, error_answer, fitted, images_answer, plan_answer, result_answer
from .callers import Audience, Session, Unanswered, audience_of, tool_caller_of, with_folders
from .tasks import Underway, speaks_tasks

log = logging.getLogger(__name__)

STREAM_LIMIT = 525_000
"""Largest picture, in bytes, inline over HTTP: base64 makes it 700 kB, and clients refuse a server-sent event over 1 MiB."""

TASK_AFTER = 5.0
"""Seconds after which a client with tasks gets one, if its call names no other wait."""

READING = ToolAnnotations(read_only_hint=True, open_world_hint=False)
DRAWING = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
CHANGING = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

JobId = Annotated[str, Field(description="The id in `job.id` of an earlier answer.")]
ImageId = Annotated[str, Field(description="The id in `images[].id` of an earlier answer.")]
WaitSeconds = Annotated[float | None, Field(ge=0, le=3600, description="Longest wait in seconds before answering with the job as it stands.")]


def inline_limit(studio: Studio, context: Session) -> int:
    """Bytes of a picture that may be sent inline on this connection."""
    wished = studio.settings.get_image_data_max_bytes
    return min(wished, STREAM_LIMIT) if context.headers is not None else wished


P = ParamSpec("P")

Answer = types.CallToolResult | types.InputRequiredResult
Work = Callable[P, Awaitable[Answer]]


def answering(voice: Voice) -> Callable[[Work[P]], Work[P]]:
    """Makes expected failures error results, sends open questions, and logs bugs."""

    def decorate(tool: Work[P]) -> Work[P]:
        @wraps(tool)
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                return await tool(*args, **kwargs)
            except Unanswered as question:
                return question.result
            except ImageServerError as error:
                return voice.error(error)
            except Exception:
                log.exception("A tool broke; this is a bug.")
                return voice.error(ImageServerError("The server made a mistake; its log has the details."))

        return wrapped

    return decorate


def tools(studio: Studio, voice: Voice) -> list[CheckedTool]:
    """Every tool, in the order listed."""

    def audience(ctx: Session) -> Audience:
        return audience_of(studio, ctx.request_context, structured=voice.structured)

    async def job_answer(ctx: Session, job: Job) -> types.CallToolResult:
        return await voice.job(studio, job, audience(ctx), preview=await studio.preview(tool_caller_of(ctx), job))

    @answering(voice)
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
        size: Annotated[str, Field(description="Another name for resolution.")] = "",
        output_filename: Annotated[str, Field(description="Write a copy under this name; its ending decides the format.")] = "",
        output_dir: Annotated[str, Field(description="Folder for the copy. Default: ./outputs.")] = "",
        poll_interval_seconds: Annotated[float | None, Field(gt=0, description="Longest pause between looks at a task (ModelScope).")] = None,
        max_poll_attempts: Annotated[int | None, Field(ge=1, description="Most looks at a task (ModelScope).")] = None,
        poll_backoff: Annotated[bool | None, Field(description="Whether pauses between looks grow (ModelScope).")] = None,
        max_poll_interval_seconds: Annotated[float | None, Field(gt=0, description="Longest grown pause (ModelScope).")] = None,
    ) -> types.CallToolResult:
        address = studio.read_address(provider=provider, model=model, style=style, resolution=resolution or size or voice.resolution)
        polling = {
            "interval": poll_interval_seconds,
            "attempts": max_poll_attempts,
            "backoff": poll_backoff,
            "max_interval": max_poll_interval_seconds,
        }
        wants_copy = output_filename or output_dir or voice.file_name
        request = ImageRequest(
            prompt=prompt,
            provider=address.provider or voice.provider or None,
            model=address.model,
            style=address.style,
            shape=address.shape,
            negative_prompt=negative_prompt or None,
            file_prefix=file_prefix or None,
            background=background or None,
            output_format=output_format or None,
            output_compression=output_compression,
            moderation=moderation or None,
            count=n,
            seed=seed,
            quality=quality or None,
            options=options or {},
            polling={name: value for name, value in polling.items() if value is not None},
            save_as=str(Path(output_dir or "outputs") / (output_filename or voice.file_name or "image.png")) if wants_copy else None,
        )
        caller = tool_caller_of(ctx)
        allowed = [name for name in fallback.split(",") if name.strip()]
        if dry_run:
            return plan_answer(await studio.estimate(caller, request, fallback=allowed))
        if request.save_as:
            caller = await with_folders(caller, studio, ctx)
        if wait_seconds is None:
            wait_seconds = TASK_AFTER if speaks_tasks(ctx.request_context) else audience(ctx).facts.wait_seconds
        job = await studio.generate(
            caller,
            request,
            wait_seconds=wait_seconds,
            watch=_Murmur(ctx),
            fallback=allowed,
            idempotency_key=idempotency_key or None,
            fresh=fresh,
        )
        answer = await job_answer(ctx, job)
        return answer if job.state.ended else Underway.of(answer, job.id)

    @answering(voice)
    async def get_job(ctx: Session, job_id: JobId, wait_seconds: WaitSeconds = None) -> types.CallToolResult:
        seconds = audience(ctx).facts.wait_seconds if wait_seconds is None else wait_seconds
        return await job_answer(ctx, await studio.job(tool_caller_of(ctx), job_id, wait_seconds=seconds, watch=_Murmur(ctx)))

    @answering(voice)
    async def cancel_job(ctx: Session, job_id: JobId) -> types.CallToolResult:
        return await voice.job(studio, await studio.cancel(tool_caller_of(ctx), job_id), audience(ctx))

    @answering(voice)
    async def list_models(
        provider: Annotated[str, Field(description="Only this provider's. Empty: every configured provider's.")] = "",
    ) -> types.CallToolResult:
        catalogues = [studio.catalogue(provider)] if provider else studio.catalogues()
        return result_answer({"default_provider": studio.default_provider, "providers": [catalogue_facts(catalogue) for catalogue in catalogues]})

    @answering(voice)
    async def search_images(
        ctx: Session,
        query: Annotated[str, Field(description="Words that the prompt holds. Empty: the latest pictures.")] = "",
        provider: Annotated[str, Field(description="Only pictures drawn by this provider.")] = "",
        limit: Annotated[int, Field(ge=1, le=100, description="How many at most, newest first.")] = 20,
    ) -> types.CallToolResult:
        return images_answer(studio, await studio.search(tool_caller_of(ctx), query, provider=provider or None, limit=limit), audience(ctx))

    @answering(voice)
    async def get_image_data(ctx: Session, image_id: ImageId) -> types.CallToolResult:
        image = await studio.recent_image(tool_caller_of(ctx), image_id.strip())
        return await data_answer(studio, image, inline_limit(studio, ctx))

    @answering(voice)
    async def reload_config(
        ctx: Session,
        dotenv_override: Annotated[bool, Field(description="Whether .env wins over the server's environment.")] = True,
    ) -> types.CallToolResult:
        reloaded = await studio.reload(tool_caller_of(ctx), dotenv_wins=dotenv_override)
        return result_answer(
            {
                "changed_fields": list(reloaded.changed),
                "providers": list(reloaded.providers),
                "default_provider": reloaded.default_provider,
                "provider_models": {name: {"model": model} for name, model in reloaded.models.items()},
                "restart_required_fields": [],
            }
        )

    def tool(
        function: Callable[..., Any], title: str, description: str, annotations: ToolAnnotations, schema: dict[str, Any] | None = None
    ) -> CheckedTool:
        plain = Tool.from_function(function, title=title, description=description, annotations=annotations, structured_output=False)
        return CheckedTool(**dict(plain), answers=schema, audience=audience)

    return [
        tool(generate_image, "Generate image", voice.description, DRAWING, schemas.JOB),
        tool(get_job, "Get job", "Wait for a job that generate_image left running, and get its pictures.", READING, schemas.JOB),
        tool(cancel_job, "Cancel job", "Stop a job that is still waiting or running.", CHANGING, schemas.JOB),
        tool(list_models, "List models", "The configured services and their models: sizes, styles, limits, prices.", READING, schemas.MODELS),
        tool(search_images, "Search images", "Find pictures made earlier by words of their prompt.", READING, schemas.IMAGES),
        tool(
            get_image_data,
            "Get image data",
            "The original bytes of a stored picture as base64. Large: use it only when a link or path will not do.",
            READING,
        ),
        tool(reload_config, "Reload configuration", "Read the settings and keys again without a restart.", CHANGING),
    ]


class _Murmur:
    """Progress notifications for one call. They must grow from one to the next, also while a service says nothing new."""

    def __init__(self, context: Session) -> None:
        self._context = context
        self._told = 0.0

    async def __call__(self, job: Job) -> None:
        self._told = max(job.progress, self._told + 0.0001)
        await self._context.report_progress(self._told, 1.0, job.message or str(job.state))


class CheckedTool(Tool):
    """A tool that says in plain words what is wrong with its arguments, instead of ignoring those it does not know; and whose answers suit who gets them."""

    answers: dict[str, Any] | None
    """JSON schema of what it answers, where clients that read structured content may see it."""
    audience: Callable[[Session], Audience] = Field(exclude=True)

    async def run(self, arguments: dict[str, Any], context: Session, convert_result: bool = False) -> Any:
        """The answer to a call, after its arguments were checked."""
        try:
            self.check(arguments)
            result = await super().run(arguments, context, convert_result)
        except RequestError as error:
            result = error_answer(error)
        if not isinstance(result, types.CallToolResult):
            return result
        return fitted(result, structured=self.answers is not None and self.audience(context).structured)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Passes when the tool can be called like this.

        Raises:
            RequestError: it cannot; the message names each argument at fault and what it may be.
        """
        known = list(self.parameters["properties"])
        if unknown := [argument for argument in arguments if argument not in known]:
            raise RequestError(f"{self.name} has no argument {', '.join(map(repr, unknown))}. Its arguments: {', '.join(known)}.")
        try:
            self.fn_metadata.validate_arguments(dict(arguments))
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors(include_url=False)]
            raise RequestError(f"{self.name} cannot be called like this. {'. '.join(problems)}.", details={"problems": problems}) from None
