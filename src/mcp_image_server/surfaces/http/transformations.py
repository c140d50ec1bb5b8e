"""Changes without a service over HTTP: stored and uploaded pictures, cropped, turned, resized, marked and converted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import JSONResponse, Response

from ...studio import Studio
from ...transforming import MAX_IMAGES, Corner, Format, Place, Transformation
from ..facts import transformed_facts
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply
from .links import seen_in
from .schemas import JobAnswer


class NewTransformation(Arguments):
    """What is to be done. Whatever the order of the fields, the steps come in this one."""

    images: list[str] = Field(
        min_length=1, max_length=MAX_IMAGES, description="Each: id of a stored or uploaded image, https link, data URI or base64."
    )
    sheet: bool = Field(False, description="One contact sheet of all pictures; the other steps change the sheet.")
    crop: str = Field("", max_length=100, description="x,y,width,height in pixels or fractions; a ratio such as 16:9; or a size such as 512x512.")
    rotate: Annotated[float, Field(allow_inf_nan=False, description="Degrees, clockwise.")] = 0
    flip: Literal["", "horizontal", "vertical"] = ""
    resize: str = Field("", max_length=40, description="512x512; or one edge: 512x or x512.")
    how: Literal["fit", "fill", "pad"] = Field(
        "fit", description="fit: within the edges; fill: what sticks out is cut off; pad: with room at the sides."
    )
    gravity: Place = Field("center", description="What stays in view, and where a picture lies in its padding.")
    ground: str = Field("", max_length=100, description="CSS colour of padding, and behind what can be seen through. Empty: transparent.")
    watermark: str = Field("", max_length=500, description="Words in a corner; ai:en and ai:zh write that the picture is AI-generated.")
    watermark_image: str = Field("", description="Picture in a corner, in place of words; named like `images`.")
    corner: Corner = Field("bottom_right", description="Of the watermark.")
    format: Format | None = Field(None, description="Unset: as it was.")
    quality: int | None = Field(None, ge=1, le=100, description="For a named format.")
    max_bytes: str = Field("", max_length=40, description="Most bytes: 100kB, 1.5MB.")


def endpoints(studio: Studio) -> list[Endpoint]:
    """What changes pictures."""

    async def transform(call: Call[None, NewTransformation]) -> Response:
        wanted = Transformation(**{**call.body.model_dump(), "images": tuple(call.body.images)})
        made = await studio.transform(call.caller, wanted)
        assert made.job is not None  # files are written for callers on this machine alone
        facts = seen_in(studio, call.request, made.job.images, transformed_facts(studio, made))
        return JSONResponse(facts, 201, {"location": f"/api/v1/jobs/{made.job.id}"})

    return [
        Endpoint(
            method="POST",
            path="/api/v1/transformations",
            tag="Images",
            summary="Change images without a service",
            words="Free, and done at once. What comes of it are new images; the old ones stay as they are.",
            answer=transform,
            body=NewTransformation,
            replies={201: Reply(words="The new images.", model=JobAnswer, headers={"Location": "The job that stands for it."})},
            faults=(404,),
        )
    ]
