"""Jobs and images to write down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_image_server.models import Image, ImageRequest, Job, JobState, Size

NOW = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
LEASE = NOW + timedelta(seconds=30)
LATER = NOW + timedelta(seconds=31)
LATER_LEASE = LATER + timedelta(seconds=30)


def a_job(job_id: str = "j1", **changes: Any) -> Job:
    job = Job(
        id=job_id,
        principal="local",
        state=JobState.QUEUED,
        request=ImageRequest(prompt="a fox"),
        provider="openai",
        model="gpt-image-2",
        store_url="memory://",
        owner="here",
        created_at=NOW,
    )
    return replace(job, **changes)


def an_image(image_id: str = "j1-1", **changes: Any) -> Image:
    image = Image(
        id=image_id,
        job_id=image_id.partition("-")[0],
        principal="local",
        provider="openai",
        model="gpt-image-2",
        prompt="a fox",
        store_url="memory://",
        key=f"img_openai_{image_id}.png",
        thumbnail_key=f".thumbnails/{image_id}.webp",
        media_type="image/png",
        size=Size(width=1024, height=768),
        size_bytes=3_000_000_000,
        sha256="ab" * 32,
        thumbhash="3PcNNYSFeXh/d3eld0iHZoZgVwh2",
        seed=2**64 - 1,
        revised_prompt="a red fox",
        parents=("j0-1", "j0-2"),
        created_at=NOW,
    )
    return replace(image, **changes)
