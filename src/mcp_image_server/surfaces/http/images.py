"""Images over HTTP: found, fetched, changed, thrown away and got back."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ...models import Image
from ...studio import Studio
from ..facts import found_facts, image_filter, lineage_facts
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply
from .links import seen
from .paging import LINK, Next, PageQuery, page
from .schemas import FoundImage

# What is asked --------------------------------------------------------------------------------------------------------------------------------


class ImagesQuery(PageQuery):
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


class ContentQuery(Arguments):
    """Which bytes."""

    thumbnail: bool = Field(False, description="A small WebP.")


class Changes(Arguments):
    """What is to be different about an image. What is not said stays."""

    title: str | None = Field(None, max_length=500, description="Empty: none any more.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(None, max_length=100, description="All tags that it has then.")
    favourite: bool | None = None
    shared: bool | None = Field(None, description="Whether the caller's team sees it.")


# What is answered -----------------------------------------------------------------------------------------------------------------------------


class ImagesAnswer(BaseModel):
    """A page of images, newest first."""

    images: list[FoundImage]
    next: Next


class LineageAnswer(BaseModel):
    """An image and its relatives, nearest first; `made_from` of each says how they hang together."""

    image: FoundImage
    ancestors: list[FoundImage]
    descendants: list[FoundImage]


# The calls ------------------------------------------------------------------------------------------------------------------------------------


def endpoints(studio: Studio) -> list[Endpoint]:
    """What finds images and looks after them."""
    api = _Api(studio)
    path = "/api/v1/images/{image_id}"
    one = partial(Endpoint, path=path, tag="Images", parameters={"image_id": "Id of an image."}, faults=(404,))
    found = {200: Reply(words="The image.", model=FoundImage)}
    return [
        Endpoint(
            method="GET",
            path="/api/v1/images",
            tag="Images",
            summary="Find images",
            answer=api.some,
            query=ImagesQuery,
            replies={200: Reply(words="A page of images.", model=ImagesAnswer, headers=LINK)},
            faults=(404,),
        ),
        one(method="GET", summary="An image", answer=api.one, replies=found),
        one(
            method="GET",
            path=f"{path}/content",
            summary="An image's bytes",
            answer=api.content,
            query=ContentQuery,
            replies={302: Reply(words="They are there.", headers={"Location": "A link that opens without a token for a while."})},
        ),
        one(method="PATCH", summary="Change an image's title, tags and mark, and who sees it", answer=api.change, body=Changes, replies=found),
        one(
            method="DELETE",
            summary="Put an image into the trash",
            words="Doing it twice does nothing.",
            answer=partial(api.manage, "delete"),
            replies=found,
        ),
        one(
            method="POST",
            path=f"{path}/undelete",
            summary="Get an image back from the trash",
            answer=partial(api.manage, "undelete"),
            replies=found,
        ),
        one(
            method="GET",
            path=f"{path}/lineage",
            summary="What an image was made from, and what was made from it",
            answer=api.lineage,
            replies={200: Reply(words="The image and its relatives.", model=LineageAnswer)},
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def some(self, call: Call[ImagesQuery, None]) -> Response:
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
        found = await self._studio.images.search(call.caller, asked.q, only=only, limit=asked.enough, before=asked.before)
        return page(call, "images", found, partial(self._image, call.request))

    async def one(self, call: Call[None, None]) -> Response:
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
        told = partial(seen, self._studio, call.request)
        return JSONResponse(
            {
                "image": told(lineage.image, facts["image"]),
                "ancestors": list(map(told, lineage.ancestors, facts["ancestors"])),
                "descendants": list(map(told, lineage.descendants, facts["descendants"])),
            }
        )

    def _image(self, request: Request, image: Image) -> dict[str, Any]:
        return seen(self._studio, request, image, found_facts(self._studio, image))
