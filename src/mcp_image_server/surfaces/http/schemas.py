"""The values that answers are made of, for their description. Their shapes are those of `surfaces.facts`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class CostFacts(BaseModel):
    """Money."""

    amount: float = Field(description="In units of the currency.", examples=[0.0132])
    currency: str = Field(examples=["USD"])
    source: Literal["reported", "computed", "list_price", "possible"] = Field(description="Where the number comes from.")


class AdjustmentFacts(BaseModel):
    """One thing that was changed so that the request fits the model."""

    field: str = Field(examples=["size"])
    message: str


class JobFacts(BaseModel):
    """A job."""

    id: str = Field(examples=["0123456789abcdef"])
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    provider: str
    model: str
    progress: float | None = Field(None, description="0 to 1, while it is under way.")
    message: str | None = None


class FailureFacts(BaseModel):
    """Why a job failed."""

    code: str = Field(examples=["refused"])
    message: str
    details: dict[str, Any] = {}


class ImageFacts(BaseModel):
    """A stored picture."""

    id: str = Field(examples=["0123456789abcdef-0"])
    provider: str
    model: str
    mime_type: str = Field(examples=["image/png"])
    file_name: str
    url: str = Field(description="A link that opens without a token for a while.")
    size_bytes: int
    width: int
    height: int
    seed: int | None = None
    revised_prompt: str | None = None


class FoundImage(ImageFacts):
    """A stored picture, and how it came about."""

    prompt: str
    job_id: str
    created_at: str
    title: str | None = None
    tags: list[str] | None = None
    favourite: bool | None = None
    shared_with: str | None = Field(None, description="A team.")
    made_from: list[str] | None = Field(None, description="Ids of images.")
    deleted_at: str | None = Field(None, description="Since when it is in the trash.")


class JobAnswer(BaseModel):
    """A job, and what has come of it. `ok` is false where it failed; then `error` says why."""

    version: str
    ok: bool
    images: list[ImageFacts]
    error: FailureFacts | None
    job: JobFacts
    adjustments: list[AdjustmentFacts] = []
    cost: CostFacts | None = None


class Problem(BaseModel):
    """A failure, as problem details (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What was wrong and what would work.", examples=["Image id 'x' not found or expired"])
    code: str = Field(description="Stable; docs/errors.md has them all.", examples=["image_not_found"])
    who_can_fix_it: str = Field(examples=["the caller"])
    retryable: bool = Field(description="The same call may do later.")
    details: dict[str, Any]
    job_id: str | None = None
