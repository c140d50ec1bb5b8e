"""What the web surface serves besides MCP: health, pictures, and a plain gallery that works without script."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ... import __version__
from ...errors import NotFoundError
from ...models import GUEST, LOCAL, Image, ImageFilter
from ...studio import Studio
from .callers import caller_of
from .rest import rest_routes

if TYPE_CHECKING:
    from jinja2 import Template

PAGE_SIZE = 48

SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-site",
}
"""A stored picture is never anything but a picture, whatever its bytes say."""

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""A page is for whoever asked, and runs nothing."""


def routes(studio: Studio) -> list[BaseRoute]:
    """The routes over this studio."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "healthy", "service": "mcp-image-generation-http"})

    async def picture(request: Request) -> Response:
        thumbnail = request.query_params.get("thumbnail") == "1"
        try:
            image = await _asked_for(studio, request)
            etag = f'"{image.sha256[:32]}{"-t" if thumbnail else ""}"'
            headers = {**SAFE_HEADERS, "etag": etag, "cache-control": "private, max-age=31536000, immutable"}
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
            kind = "image/webp" if thumbnail and image.thumbnail_key else image.media_type
            path = studio.images.path(image, thumbnail=thumbnail)
            if path is not None and path.is_file():
                return FileResponse(path, media_type=kind, headers=headers)  # piece by piece, and any part of it
            return Response(await studio.images.read(image, thumbnail=thumbnail), media_type=kind, headers=headers)
        except NotFoundError:
            return PlainTextResponse("Not Found", status_code=404)

    async def gallery(request: Request) -> Response:
        asked, caller = request.query_params, caller_of(request)
        words, tag, favourite = asked.get("q", "").strip(), asked.get("tag", "").strip(), "favourite" in asked
        shared = "shared" in asked and caller.team is not None
        only = ImageFilter(tags=(tag,) if tag else (), favourite=favourite, shared=shared)
        query = {"q": words, "tag": tag, "favourite": "1" if favourite else "", "shared": "1" if shared else ""}
        found = await studio.images.search(caller, words, only=only, limit=PAGE_SIZE + 1, before=asked.get("before"))
        shown, more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
        page = _template().render(
            images=[_Card(studio, image) for image in shown],
            words=words,
            tag=tag,
            favourite=favourite,
            shared=shared,
            team=caller.team,
            link_with=lambda **changed: page_link(**{**query, **changed}),
            page_link=page_link,
            older=shown[-1].id if more else None,
            paged="before" in asked,
            version=__version__,
            folder=studio.save_place if caller.principal == LOCAL else "",
        )
        return HTMLResponse(page, headers=PAGE_HEADERS)

    return [
        Route("/", gallery, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/images/{name:path}", picture, methods=["GET", "HEAD"]),
        *rest_routes(studio),
    ]


async def _asked_for(studio: Studio, request: Request) -> Image:
    """The picture: the caller's own, or whosever the link is for."""
    caller, name = caller_of(request), request.path_params["name"]
    if caller.principal != GUEST:
        return await studio.images.of_file(caller, name)
    return await studio.images.of_link(name, request.query_params.get("expires"), request.query_params.get("signature"))


def page_link(**query: str) -> str:
    """A link to the gallery page that shows what these words ask for."""
    wanted = urlencode({name: value for name, value in query.items() if value})
    return f"/?{wanted}" if wanted else "/"


class _Card:
    """One picture on the gallery page."""

    def __init__(self, studio: Studio, image: Image) -> None:
        self.image = image
        self.link = studio.images.page_link(image)
        self.thumbnail = studio.images.page_link(image, thumbnail=True)
        self.made: datetime = image.created_at.astimezone()


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("mcp_image_server.surfaces", "pages"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("gallery.html")
