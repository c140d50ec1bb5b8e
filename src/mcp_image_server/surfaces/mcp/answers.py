"""Answers as tool results: JSON first, then a preview small enough for a conversation, then a link to each original, whose bytes are sent only when asked for.

How much of that, and how, follows from whom the answer is for. The JSON is structured content at the same time; `fitted` takes it away from those who
would show nothing else, or were shown no schema of it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from mcp import types

from ...errors import ImageServerError
from ...models import Image, Job
from ...policy.clients import ClientFacts
from ...studio import Estimate, Studio
from ..facts import (
    VERSION,
    answer,
    batch_body,
    batch_estimate_facts,
    error_body,
    estimate_facts,
    found_facts,
    image_facts,
    image_uri,
    succeeded,
    transformed_facts,
)
from .callers import Audience

if TYPE_CHECKING:
    from ...batches import Batch, BatchEstimate
    from ...transforming import Transformed

PREVIEW_BUDGET = 400_000
"""Bytes of previews in one answer; several hosts cut a tool result off at a million characters."""


class Voice:
    """How answers are worded, and what a call means that leaves something out."""

    server_name = "image-gen-mcp-server"
    description = (
        "Draw pictures from a prompt and store them. Answers with JSON (ids, paths, links, cost), a small preview and a link to each original. "
        "If drawing takes longer than the wait, the answer holds a running job: call get_job with its id instead of asking again."
    )
    """Of the tool generate_image."""
    log_level_variable = "MCP_LOG_LEVEL"
    """What the log level is called besides."""
    provider = ""
    """Draws when a call names nobody; empty: the server's default."""
    resolution = ""
    """When a call names none; empty: the model's default."""
    file_name = ""
    """Of the copy, when a call names none; empty: then there is no copy."""
    structured = True
    """Whether answers are JSON, and so can be structured content."""

    async def job(self, studio: Studio, job: Job, audience: Audience, *, preview: bytes | None = None) -> types.CallToolResult:
        """What a call answers that waited for a job."""
        return await job_answer(studio, job, audience, preview=preview)

    def error(self, error: ImageServerError) -> types.CallToolResult:
        """What a call answers that was refused."""
        return error_answer(error)


async def job_answer(studio: Studio, job: Job, audience: Audience, *, preview: bytes | None = None) -> types.CallToolResult:
    """What generate_image, get_job and cancel_job answer.

    Args:
        preview: the latest look at a job that is still running, as WebP.
    """
    body = answer(studio, job, paths=audience.paths)
    if not job.state.ended:
        body["next"] = f"The picture is not ready yet. Call get_job with job_id {job.id!r} to wait for it; do not ask for it again."
    return _result(body, *await pictures(studio, job, audience, preview=preview), is_error=not succeeded(job))


async def pictures(studio: Studio, job: Job, audience: Audience, *, preview: bytes | None = None) -> list[types.ContentBlock]:
    """What follows the words about a job: previews, and a link to each original."""
    blocks: list[types.ContentBlock] = []
    if preview is not None and not job.state.ended and audience.facts.previews:
        blocks.append(_picture(await _small(preview, audience.facts)))
    left = PREVIEW_BUDGET
    for image in job.images[: audience.facts.previews]:
        shown = await _preview(studio, image, audience.facts)
        left -= len(shown)
        if left < 0:
            break
        blocks.append(_picture(shown))
    return [*blocks, *_links(studio, job.images, audience)]


def images_answer(studio: Studio, images: Sequence[Image], audience: Audience) -> types.CallToolResult:
    """What search_images answers: facts and links, no pictures."""
    body = {"version": VERSION, "ok": True, "images": [found_facts(studio, image, paths=audience.paths) for image in images], "error": None}
    return _result(body, *_links(studio, images, audience))


async def data_answer(studio: Studio, image: Image, audience: Audience, limit: int) -> types.CallToolResult:
    """What get_image_data answers: the original as base64 in the JSON."""
    data = await studio.images.read_limited(image, limit)
    facts = image_facts(studio, image, paths=audience.paths)
    entry = {name: facts[name] for name in ("id", "provider", "mime_type", "file_name", "local_path", "url", "size_bytes")}
    entry["base64_data"] = b64encode(data).decode()
    return _result({"version": VERSION, "ok": True, "images": [entry], "error": None})


async def transformed_answer(studio: Studio, made: Transformed, audience: Audience) -> types.CallToolResult:
    """What transform_image answers: as for a job, or the paths of files, with a look at the first ones."""
    body = transformed_facts(studio, made, paths=audience.paths)
    if made.job is not None:
        return _result(body, *await pictures(studio, made.job, audience))
    previews = [file.preview for file in made.files if file.preview is not None][: audience.facts.previews]
    return _result(body, *[_picture(await _small(preview, audience.facts)) for preview in previews])


def plan_answer(estimate: Estimate) -> types.CallToolResult:
    """What generate_image answers when nothing is to be drawn."""
    return _result({"version": VERSION, "ok": True, "images": [], "error": None, "plan": estimate_facts(estimate)})


BATCH_ITEMS = 100
"""Items told of in one answer, those without pictures first."""


async def batch_answer(studio: Studio, batch: Batch, audience: Audience) -> types.CallToolResult:
    """What generate_batch answers: how far it has come, its items, and at the end the contact sheet."""
    body = batch_body(studio, batch, most=BATCH_ITEMS, paths=audience.paths)
    blocks: list[types.ContentBlock] = []
    if batch.state == "running":
        body["next"] = f"The batch is under way. Call generate_batch with batch_id {batch.id!r} to wait for it; do not begin it again."
    if batch.sheet is not None:
        blocks = [_picture(await _preview(studio, batch.sheet, audience.facts))] if audience.facts.previews else []
        blocks += _links(studio, [batch.sheet], audience)
    return _result(body, *blocks, is_error=batch.state == "incomplete" and not batch.headway.succeeded)


def batch_plan_answer(estimate: BatchEstimate) -> types.CallToolResult:
    """What generate_batch answers when nothing is to be drawn."""
    return _result({"version": VERSION, "ok": True, "images": [], "error": None, "plan": batch_estimate_facts(estimate)})


def result_answer(result: Mapping[str, Any]) -> types.CallToolResult:
    """A plain result without pictures."""
    return _result({"version": VERSION, "ok": True, "result": result, "error": None})


def error_answer(error: ImageServerError) -> types.CallToolResult:
    """A refused call."""
    return _result(error_body(error), is_error=True)


def fitted(result: types.CallToolResult, *, structured: bool) -> types.CallToolResult:
    """The result with its structured content, or without."""
    return result if structured else result.model_copy(update={"structured_content": None})


def _result(body: dict[str, Any], *blocks: types.ContentBlock, is_error: bool = False) -> types.CallToolResult:
    words = types.TextContent(type="text", text=json.dumps(body, ensure_ascii=False))
    return types.CallToolResult(content=[words, *blocks], structured_content=body, is_error=is_error)


def _picture(webp: bytes) -> types.ImageContent:
    return types.ImageContent(type="image", data=b64encode(webp).decode(), mime_type="image/webp")


async def _preview(studio: Studio, image: Image, facts: ClientFacts) -> bytes:
    """A look at a stored picture: its thumbnail, made smaller or anew where the client takes less or more."""
    larger = facts.preview_edge > ClientFacts.preview_edge or facts.preview_bytes > ClientFacts.preview_bytes
    return await _small(await studio.images.read(image, thumbnail=not larger), facts)


async def _small(data: bytes, facts: ClientFacts) -> bytes:
    if (facts.preview_edge, facts.preview_bytes) == (ClientFacts.preview_edge, ClientFacts.preview_bytes):
        return data  # a thumbnail, made to these measures
    from ...pictures import thumbnail

    return (await to_thread.run_sync(lambda: thumbnail(data, edge=facts.preview_edge, max_bytes=facts.preview_bytes))).data


def _links(studio: Studio, images: Sequence[Image], audience: Audience) -> list[types.ContentBlock]:
    return [_link(studio, image, audience) for image in images] if audience.links else []


def _link(studio: Studio, image: Image, audience: Audience) -> types.ResourceLink:
    words = image.prompt if len(image.prompt) <= 200 else image.prompt[:199] + "…"
    path = studio.images.path(image) if audience.nearby else None
    file, url = path.as_uri() if path else None, studio.images.link(image)
    wished = {"uri": (), "url": (url, file), "path": (file, url)}[audience.facts.links]
    uri = next(filter(None, wished), image_uri(image))
    return types.ResourceLink(type="resource_link", uri=uri, name=image.key, description=words, mime_type=image.media_type, size=image.size_bytes)
