"""Where clients learn who issues the tokens for this server (RFC 9728, protected resource metadata)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...studio import Studio

PATH = "/.well-known/oauth-protected-resource"

RESOURCES = ("/mcp", "/mcp/v1/messages")
"""Paths that a client may know as the resource; the bare host stands for the first."""


def resources_of(studio: Studio) -> tuple[str, ...]:
    """The addresses of what tokens are for; none where the server does not know its own."""
    base = studio.address
    return () if base is None else (base, *(base + path for path in RESOURCES))


def metadata_url(studio: Studio, path: str) -> str | None:
    """Where the metadata for that path are; None where there is no issuer."""
    if studio.settings.oauth_issuer is None or studio.address is None:
        return None
    return f"{studio.address}{PATH}{path if path in RESOURCES else ''}"


def metadata_routes(studio: Studio) -> Sequence[Route]:
    """The metadata of each resource; none without an issuer."""
    if studio.settings.oauth_issuer is None:
        return []

    async def metadata(request: Request) -> Response:
        path = request.url.path.removeprefix(PATH)
        if studio.address is None or (path and path not in RESOURCES):
            return PlainTextResponse("Not Found", status_code=404)
        facts = {
            "resource": studio.address + path,
            "authorization_servers": [studio.settings.oauth_issuer],
            "scopes_supported": list(studio.settings.oauth_scopes),
            "bearer_methods_supported": ["header"],
            "resource_name": "Image generation",
        }
        return JSONResponse(facts, headers={"access-control-allow-origin": "*", "cache-control": "public, max-age=300"})

    return [Route(path, metadata, methods=["GET"]) for path in (PATH, PATH + "/{path:path}")]
