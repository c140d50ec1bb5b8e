"""What a client can read without calling a tool: lists of providers, styles and resolutions, stored pictures, and a prompt; with completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from ...errors import ImageServerError, NotFoundError
from ...models import Catalogue
from ...studio import Studio
from .callers import Session, caller_of
from .tools import inline_limit

JSON = "application/json"

PROMPT = "image_generation_prompt"
"""The one prompt."""


def add_resources(server: MCPServer, studio: Studio) -> None:
    """Registers the lists and the pictures."""

    @server.resource(
        "providers://list", name="providers", title="Providers", description="Names of the configured providers, in order.", mime_type=JSON
    )
    def providers() -> str:
        return _json([catalogue.provider for catalogue in studio.catalogues()])

    @server.resource(
        "styles://list", name="styles", title="Styles", description="Styles of every configured provider: key and label.", mime_type=JSON
    )
    def styles() -> str:
        return _json({catalogue.provider: _styles(catalogue) for catalogue in studio.catalogues()})

    @server.resource(
        "resolutions://list",
        name="resolutions",
        title="Resolutions",
        description="Resolutions of every configured provider: key and label.",
        mime_type=JSON,
    )
    def resolutions() -> str:
        return _json({catalogue.provider: dict(catalogue.resolutions) for catalogue in studio.catalogues()})

    @server.resource(
        "styles://provider/{provider}",
        name="provider_styles",
        title="Styles of a provider",
        description="Styles of one provider: key and label.",
        mime_type=JSON,
    )
    def provider_styles(provider: str) -> str:
        return _json(_styles(_catalogue(studio, provider)))

    @server.resource(
        "resolutions://provider/{provider}",
        name="provider_resolutions",
        title="Resolutions of a provider",
        description="Resolutions of one provider: key and label.",
        mime_type=JSON,
    )
    def provider_resolutions(provider: str) -> str:
        return _json(dict(_catalogue(studio, provider).resolutions))

    @server.resource(
        "image://{image_id}",
        name="image",
        title="Stored picture",
        description="The original of a stored picture.",
        mime_type="application/octet-stream",
    )
    async def image(image_id: str, ctx: Session) -> bytes:
        try:
            found = await studio.image(caller_of(ctx.request_context), image_id)
            return await studio.read_limited(found, inline_limit(studio, ctx))
        except NotFoundError as error:
            raise ResourceNotFoundError(error.message) from error
        except ImageServerError as error:
            raise ResourceError(error.message) from error


def add_prompt(server: MCPServer, studio: Studio) -> None:
    """Registers the prompt that tells a language model how to ask for a picture."""

    @server.prompt(name=PROMPT, title="Image generation", description="Asks for a picture, with everything that can be chosen.")
    def image_generation_prompt(description: str, provider: str = "", style: str = "", resolution: str = "", file_prefix: str = "") -> str:
        names = [catalogue.provider for catalogue in studio.catalogues()]
        return f"""
Please use the following prompt to generate an image using multiple API providers:

Description: {description}
Provider: {provider or f"Auto-select from {names}"}
Style: {style or "Default for selected provider"}
Resolution: {resolution or "Default for selected provider"}
Save Path: {studio.save_folder}
Filename Prefix: {file_prefix or "[AI will generate if not provided]"}

Available Providers: {names}

Available Styles by Provider:
{_json({catalogue.provider: _styles(catalogue) for catalogue in studio.catalogues()})}

Available Resolutions by Provider:
{_json({catalogue.provider: dict(catalogue.resolutions) for catalogue in studio.catalogues()})}

You can use the generate_image tool to generate this image and save it.
You can specify provider:style or provider:resolution format, or let the system auto-select.
"""


def add_completions(server: MCPServer, studio: Studio) -> None:
    """Registers completions for provider, style and resolution, wherever an argument has that name."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK left this one without types
    async def complete(
        ref: types.PromptReference | types.ResourceTemplateReference, argument: types.CompletionArgument, context: types.CompletionContext | None
    ) -> types.Completion:
        chosen = (context.arguments or {}).get("provider") if context else None
        catalogues = [catalogue for catalogue in studio.catalogues() if not chosen or catalogue.provider == chosen]
        offers: Mapping[str, list[str]] = {
            "provider": [catalogue.provider for catalogue in studio.catalogues()],
            "style": [key for catalogue in catalogues for key in catalogue.styles],
            "resolution": [key for catalogue in catalogues for key in catalogue.resolutions],
        }
        fitting = list(dict.fromkeys(offer for offer in offers.get(argument.name, []) if offer.startswith(argument.value)))
        return types.Completion(values=fitting[:100], total=len(fitting), has_more=len(fitting) > 100)


def _catalogue(studio: Studio, provider: str) -> Catalogue:
    found = next((catalogue for catalogue in studio.catalogues() if catalogue.provider == provider), None)
    if found is None:
        raise ResourceNotFoundError(f"Provider '{provider}' not found")
    return found


def _styles(catalogue: Catalogue) -> dict[str, str]:
    return {key: style.label for key, style in catalogue.styles.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
