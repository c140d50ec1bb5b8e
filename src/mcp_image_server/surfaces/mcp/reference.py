"""What a client can read without calling a tool: lists of providers, styles and resolutions, stored pictures, and a prompt; with completions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcp import types
from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from pydantic import AnyUrl

from ...errors import ImageServerError, NotFoundError, RequestError
from ...models import LOCAL, Catalogue, Style
from ...studio import Studio
from ..facts import style_facts, template_facts
from .answers import Voice, fitted
from .callers import Session, caller_of, current_caller
from .tools import inline_limit

if TYPE_CHECKING:
    from ...library import Template, Variable

JSON = "application/json"

IMAGE = "image://"
"""What a stored picture's URI begins with; its id follows."""

PROMPT = "image_generation_prompt"
"""The prompt that is always there; the others are the templates."""


class ImageServer(MCPServer):
    """An MCP server whose prompts are the templates, besides those that are registered, and whose failures all have one shape."""

    studio: Studio
    voice: Voice

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Session | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        """What the tool answers; where none has that name, an error like those of the tools."""
        names = [tool.name for tool in await self.list_tools()]
        if name in names:
            return await super().call_tool(name, arguments, context)
        unknown = NotFoundError(f"Unknown tool: {name}. There are: {', '.join(names)}.", code="unknown_tool", details={"tool_name": name})
        return fitted(self.voice.error(unknown), structured=False)

    async def list_prompts(self) -> list[types.Prompt]:
        """Those that are registered, then every template."""
        registered = await super().list_prompts()
        taken = {prompt.name for prompt in registered}
        return [
            *registered,
            *(_prompt_of(template) for key, template in (await self.studio.library.templates(current_caller())).items() if key not in taken),
        ]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Session | None = None
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """The prompt with these arguments.

        Raises:
            MCPError: there is none of that name, or an argument is missing or wrong.
        """
        values = arguments or {}
        if name == PROMPT:
            if not values.get("description"):
                raise MCPError(code=types.INVALID_PARAMS, message=f"{PROMPT} needs the argument 'description': what the picture shows.")
            result = await super().get_prompt(name, arguments, context)
            return result.model_copy(update={"description": f"Image generation prompt for: {values['description']}"})
        template = (await self.studio.library.templates(current_caller())).get(name)
        if template is None and any(prompt.name == name for prompt in await super().list_prompts()):
            return await super().get_prompt(name, arguments, context)
        if template is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {name}")
        try:
            filled = template.filled(values)
        except RequestError as error:
            raise MCPError(code=types.INVALID_PARAMS, message=error.message) from error
        call = json.dumps({"prompt": "", "template": name, "variables": {key: value for key, value in values.items() if value}}, ensure_ascii=False)
        words = f"Please draw a picture: call generate_image with these arguments.\n\n{call}\n\nThe template makes this prompt of them:\n\n{filled.prompt}"
        message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=words))
        return types.GetPromptResult(description=template.title, messages=[message])

    async def read_resource(self, uri: AnyUrl | str, context: Session | None = None) -> Iterable[ReadResourceContents] | types.InputRequiredResult:
        """What is behind the URI; a picture with the media type of its own in place of the one that stands for all pictures."""
        contents = await super().read_resource(uri, context)
        if context is None or isinstance(contents, types.InputRequiredResult) or not str(uri).startswith(IMAGE):
            return contents
        image = await self.studio.images.get(caller_of(context.request_context), str(uri).removeprefix(IMAGE))
        return [replace(item, mime_type=image.media_type) for item in contents]


def _prompt_of(template: Template) -> types.Prompt:
    return types.Prompt(
        name=template.key,
        title=template.title,
        description=template.description or None,
        arguments=[
            types.PromptArgument(name=variable.name, description=_argument_words(variable) or None, required=variable.default is None)
            for variable in template.variables
        ],
    )


def _argument_words(variable: Variable) -> str:
    choices = f"One of: {', '.join(variable.choices)}." if variable.choices else ""
    default = f"Default: {variable.default}." if variable.default else ""
    return " ".join(words for words in (variable.description, choices, default) if words)


def add_resources(server: MCPServer, studio: Studio) -> None:
    """Registers the lists and the pictures."""

    @server.resource(
        "providers://list", name="providers", title="Providers", description="Names of the configured providers, in order.", mime_type=JSON
    )
    def providers() -> str:
        return _json([catalogue.provider for catalogue in studio.catalogues()])

    @server.resource(
        "styles://list",
        name="styles",
        title="Styles",
        description="Styles of every configured provider, and people's own: key and label.",
        mime_type=JSON,
    )
    async def styles() -> str:
        own = await studio.library.own_styles(current_caller())
        return _json({catalogue.provider: _styles(catalogue, own) for catalogue in studio.catalogues()})

    @server.resource(
        "styles://library",
        name="style_library",
        title="Styles for every model",
        description="Styles that work with every model, and what is written into prompts for them.",
        mime_type=JSON,
    )
    async def style_library() -> str:
        caller = current_caller()
        return _json([style_facts(style, paths=caller.principal == LOCAL) for style in (await studio.library.styles(caller)).values()])

    @server.resource(
        "templates://list", name="templates", title="Templates", description="Prompt templates and what their variables take.", mime_type=JSON
    )
    async def templates() -> str:
        caller = current_caller()
        return _json([template_facts(template, paths=caller.principal == LOCAL) for template in (await studio.library.templates(caller)).values()])

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
        description="Styles of one provider, and people's own: key and label.",
        mime_type=JSON,
    )
    async def provider_styles(provider: str) -> str:
        return _json(_styles(_catalogue(studio, provider), await studio.library.own_styles(current_caller())))

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
        IMAGE + "{image_id}",
        name="image",
        title="Stored picture",
        description="The original of a stored picture.",
        mime_type="application/octet-stream",
    )
    async def image(image_id: str, ctx: Session) -> bytes:
        try:
            found = await studio.images.get(caller_of(ctx.request_context), image_id)
            return await studio.images.read_limited(found, inline_limit(studio, ctx))
        except NotFoundError as error:
            raise ResourceNotFoundError(error.message) from error
        except ImageServerError as error:
            raise ResourceError(error.message) from error


def add_prompt(server: MCPServer, studio: Studio) -> None:
    """Registers the prompt that tells a language model how to ask for a picture."""

    @server.prompt(name=PROMPT, title="Image generation", description="Asks for a picture, with everything that can be chosen.")
    async def image_generation_prompt(description: str, provider: str = "", style: str = "", resolution: str = "", file_prefix: str = "") -> str:
        names = [catalogue.provider for catalogue in studio.catalogues()]
        caller = current_caller()
        own = await studio.library.own_styles(caller)
        return f"""
Please use the following prompt to generate an image using multiple API providers:

Description: {description}
Provider: {provider or f"Auto-select from {names}"}
Style: {style or "Default for selected provider"}
Resolution: {resolution or "Default for selected provider"}
Save Path: {studio.save_place if caller.principal == LOCAL else "[the server decides]"}
Filename Prefix: {file_prefix or "[AI will generate if not provided]"}

Available Providers: {names}

Available Styles by Provider:
{_json({catalogue.provider: _styles(catalogue, own) for catalogue in studio.catalogues()})}

Available Resolutions by Provider:
{_json({catalogue.provider: dict(catalogue.resolutions) for catalogue in studio.catalogues()})}

You can use the generate_image tool to generate this image and save it.
You can specify provider:style or provider:resolution format, or let the system auto-select.
"""


def add_completions(server: MCPServer, studio: Studio) -> None:
    """Registers completions for provider, style and resolution, wherever an argument has that name, and for what a template lets choose."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK left this one without types
    async def complete(
        ref: types.PromptReference | types.ResourceTemplateReference, argument: types.CompletionArgument, context: types.CompletionContext | None
    ) -> types.Completion:
        chosen = (context.arguments or {}).get("provider") if context else None
        catalogues = [catalogue for catalogue in studio.catalogues() if not chosen or catalogue.provider == chosen]
        template = (
            (await studio.library.templates(current_caller())).get(ref.name)
            if isinstance(ref, types.PromptReference) and ref.name != PROMPT
            else None
        )
        offers: Mapping[str, Sequence[str]] = (
            {variable.name: variable.choices for variable in template.variables}
            if template
            else {
                "provider": [catalogue.provider for catalogue in studio.catalogues()],
                "style": [*(key for catalogue in catalogues for key in catalogue.styles), *await studio.library.styles(current_caller())],
                "resolution": [key for catalogue in catalogues for key in catalogue.resolutions],
            }
        )
        fitting = list(dict.fromkeys(offer for offer in offers.get(argument.name, []) if offer.startswith(argument.value)))
        return types.Completion(values=fitting[:100], total=len(fitting), has_more=len(fitting) > 100)


def _catalogue(studio: Studio, provider: str) -> Catalogue:
    found = next((catalogue for catalogue in studio.catalogues() if catalogue.provider == provider), None)
    if found is None:
        raise ResourceNotFoundError(f"Provider '{provider}' not found")
    return found


def _styles(catalogue: Catalogue, own: Mapping[str, Style]) -> dict[str, str]:
    return {key: style.label for key, style in (*catalogue.styles.items(), *own.items())}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
