"""Everything that programs call over HTTP, in one table, with its description at `/api/openapi.json`."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ... import __version__
from ...studio import Studio
from . import batches, catalogues, images, jobs, library, money, openai_api, transformations, uploads
from .endpoints import Call, Endpoint, Reply, routes_of
from .openapi import document
from .problems import OPENAI_PREFIX, PROBLEM_PREFIXES


def table(studio: Studio) -> list[Endpoint]:
    """What can be called."""
    written: list[dict[str, Any]] = []

    async def description(_: Call[None, None]) -> Response:
        if not written:
            written.append(await to_thread.run_sync(lambda: document(endpoints, version=__version__)))
        return JSONResponse(written[0], headers={"cache-control": "no-cache"})

    endpoints = [
        *openai_api.endpoints(studio),
        *jobs.endpoints(studio),
        *images.endpoints(studio),
        *catalogues.endpoints(studio),
        *money.endpoints(studio),
        *batches.endpoints(studio),
        *transformations.endpoints(studio),
        *library.endpoints(studio),
        *uploads.endpoints(studio),
        Endpoint(
            method="GET",
            path="/api/openapi.json",
            tag="Description",
            summary="This description",
            answer=description,
            replies={200: Reply(words="OpenAPI 3.1.")},
        ),
    ]
    return endpoints


def rest_routes(studio: Studio) -> list[BaseRoute]:
    """The routes of the table."""
    return routes_of(table(studio), (OPENAI_PREFIX, *PROBLEM_PREFIXES), max_body=studio.settings.max_body_bytes)
