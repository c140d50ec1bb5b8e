"""Answers as tool results: JSON first, then a preview small enough for a conversation, then a link to each original, whose bytes are sent only when asked for."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import types

from ...errors import ImageServerError
from ...models import Image, Job
from ...studio import Studio
from ..facts import VERSION, answer, error_body, found_facts, image_facts, image_uri, succeeded

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

    async def job(self, studio: Studio, job: Job, *, preview: bytes | None = None) -> types.CallToolResult:
        """What a call answers that waited for a job."""
        return await job_answer(studio, job, preview=preview)

    def error(self, error: ImageServerError) -> types.CallToolResult:
        """What a call answers that was refused."""
        return error_answer(error)


async def job_answer(studio: Studio, job: Job, *, preview: bytes | None = None) -> types.CallToolResult:
    """What generate_image, get_job and cancel_job answer.

    Args:
        preview: the latest look at a job that is still running, as WebP.
    """
    body = answer(studio, job)
    if not job.state.ended:
        body["next"] = f"The picture is not ready yet. Call get_job with job_id {job.id!r} to wait for it; do not ask for it again."
    return types.CallToolResult(content=[_json(body), *await pictures(studio, job, preview=preview)], is_error=not succeeded(job))


async def pictures(studio: Studio, job: Job, *, preview: bytes | None = None) -> list[types.ContentBlock]:
    """What follows the words about a job: previews, and a link to each original."""
    blocks: list[types.ContentBlock] = []
    if preview is not None and not job.state.ended:
        blocks.append(_picture(preview))
    left = PREVIEW_BUDGET
    for image in job.images:
        thumbnail = await studio.read(image, thumbnail=True)
        left -= len(thumbnail)
        if left < 0:
            break
        blocks.append(_picture(thumbnail))
    return [*blocks, *(_link(image) for image in job.images)]


def images_answer(studio: Studio, images: Sequence[Image]) -> types.CallToolResult:
    """What search_images answers: facts and links, no pictures."""
    body = {"version": VERSION, "ok": True, "images": [found_facts(studio, image) for image in images], "error": None}
    return types.CallToolResult(content=[_json(body), *(_link(image) for image in images)])


async def data_answer(studio: Studio, image: Image, limit: int) -> types.CallToolResult:
    """What get_image_data answers: the original as base64 in the JSON."""
    data = await studio.read_limited(image, limit)
    facts = image_facts(studio, image)
    entry = {name: facts[name] for name in ("id", "provider", "mime_type", "file_name", "local_path", "url", "size_bytes")}
    entry["base64_data"] = b64encode(data).decode()
    return types.CallToolResult(content=[_json({"version": VERSION, "ok": True, "images": [entry], "error": None})])


def result_answer(result: Mapping[str, Any]) -> types.CallToolResult:
    """A plain result without pictures."""
    return types.CallToolResult(content=[_json({"version": VERSION, "ok": True, "result": result, "error": None})])


def error_answer(error: ImageServerError) -> types.CallToolResult:
    """A refused call."""
    return types.CallToolResult(content=[_json(error_body(error))], is_error=True)


def _json(value: Any) -> types.TextContent:
    return types.TextContent(type="text", text=json.dumps(value, ensure_ascii=False))


def _picture(webp: bytes) -> types.ImageContent:
    return types.ImageContent(type="image", data=b64encode(webp).decode(), mime_type="image/webp")


def _link(image: Image) -> types.ResourceLink:
    words = image.prompt if len(image.prompt) <= 200 else image.prompt[:199] + "…"
    return types.ResourceLink(
        type="resource_link", uri=image_uri(image), name=image.key, description=words, mime_type=image.media_type, size=image.size_bytes
    )
