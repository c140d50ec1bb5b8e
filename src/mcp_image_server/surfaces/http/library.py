"""Styles and templates over HTTP: everybody's are read, and one's own kept, in the shape that files have."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from ...errors import NotFoundError
from ...library import MAX_KEPT_BYTES, StyleEntry, Template, TemplateEntry
from ...models import Caller, Style
from ...studio import Studio
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply

MAX_BODY = 2 * MAX_KEPT_BYTES
"""Bytes of a body, which may write the same with more of them than we keep."""


class WhoseQuery(Arguments):
    """Whose it is."""

    shared: bool = Field(False, description="Everybody's, in the place of one's own. For administrators.")


class _Whose(BaseModel):
    key: str
    origin: Literal["own", "shared", "builtin"] = Field(description="One's own, the operator's for everybody, or one that comes along.")


class StyleFacts(BaseModel):
    """What a style says."""

    label: str
    phrase: str = Field(description="Written into the prompt. Empty: nothing is.")
    phrase_zh: str = Field("", description="Written into a Chinese prompt.")


class StyleAnswer(_Whose):
    """A style, and whose it is."""

    style: StyleFacts


class TemplateAnswer(_Whose):
    """A template, and whose it is."""

    template: TemplateEntry


class StylesAnswer(BaseModel):
    """Every style, by key."""

    styles: list[StyleAnswer]


class TemplatesAnswer(BaseModel):
    """Every template, by key."""

    templates: list[TemplateAnswer]


def endpoints(studio: Studio) -> list[Endpoint]:
    """What reads and keeps styles and templates."""
    api = _Api(studio)
    kinds: tuple[tuple[str, Any, Any, Any, Any, Any, Any, Any], ...] = (
        ("style", StyleEntry, StyleAnswer, StylesAnswer, api.styles, api.style, api.put_style, api.remove_style),
        ("template", TemplateEntry, TemplateAnswer, TemplatesAnswer, api.templates, api.template, api.put_template, api.remove_template),
    )
    table = []
    for kind, entry, one, every, list_all, get, put, remove in kinds:
        path, key = f"/api/v1/{kind}s/{{key}}", {"key": f"Key of a {kind}."}
        table += [
            Endpoint(
                method="GET",
                path=f"/api/v1/{kind}s",
                tag="Library",
                summary=f"The {kind}s",
                answer=list_all,
                replies={200: Reply(words="All that the caller can use.", model=every)},
            ),
            Endpoint(
                method="GET",
                path=path,
                tag="Library",
                summary=f"A {kind}",
                answer=get,
                parameters=key,
                replies={200: Reply(words="As the caller gets it.", model=one)},
                faults=(404,),
            ),
            Endpoint(
                method="PUT",
                path=path,
                tag="Library",
                summary=f"Keep a {kind} of one's own",
                words="It takes the place of another of that key, for the caller alone.",
                answer=put,
                parameters=key,
                query=WhoseQuery,
                body=entry,
                max_body=MAX_BODY,
                replies={200: Reply(words="It is kept in the place of the last one.", model=one), 201: Reply(words="It is kept.", model=one)},
            ),
            Endpoint(
                method="DELETE",
                path=path,
                tag="Library",
                summary=f"Throw a {kind} of one's own away",
                answer=remove,
                parameters=key,
                query=WhoseQuery,
                replies={204: Reply(words="It is gone.")},
                faults=(404,),
            ),
        ]
    return table


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._library = studio.library

    async def styles(self, call: Call[None, None]) -> Response:
        styles = await self._library.styles(call.caller)
        return JSONResponse({"styles": [self._style(call.caller, style) for style in styles.values()]})

    async def style(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._style(call.caller, await self._library.style(call.caller, call.named("key"))))

    async def put_style(self, call: Call[WhoseQuery, StyleEntry]) -> Response:
        key = call.named("key")
        new = await self._library.put_style(call.caller, key, call.body, shared=call.query.shared)
        return JSONResponse(self._style(call.caller, await self._library.style(call.caller, key)), 201 if new else 200)

    async def remove_style(self, call: Call[WhoseQuery, None]) -> Response:
        await self._library.remove_style(call.caller, call.named("key"), shared=call.query.shared)
        return Response(status_code=204)

    async def templates(self, call: Call[None, None]) -> Response:
        templates = await self._library.templates(call.caller)
        return JSONResponse({"templates": [self._template(call.caller, template) for template in templates.values()]})

    async def template(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._template(call.caller, await self._exactly(call.caller, call.named("key"))))

    async def put_template(self, call: Call[WhoseQuery, TemplateEntry]) -> Response:
        key = call.named("key")
        new = await self._library.put_template(call.caller, key, call.body, shared=call.query.shared)
        return JSONResponse(self._template(call.caller, await self._exactly(call.caller, key)), 201 if new else 200)

    async def remove_template(self, call: Call[WhoseQuery, None]) -> Response:
        await self._library.remove_template(call.caller, call.named("key"), shared=call.query.shared)
        return Response(status_code=204)

    async def _exactly(self, caller: Caller, key: str) -> Template:
        """The template of that very key: a part of its title is no address."""
        found = (await self._library.templates(caller)).get(key)
        if found is None:
            raise NotFoundError(f"There is no template {key!r}.", code="template_not_found", details={"template": key})
        return found

    def _style(self, caller: Caller, style: Style) -> dict[str, Any]:
        words = StyleFacts(label=style.label, phrase=style.phrase, phrase_zh=style.phrase_zh)
        return {"key": style.key, "origin": self._library.origin(caller, style), "style": words.model_dump()}

    def _template(self, caller: Caller, template: Template) -> dict[str, Any]:
        words = TemplateEntry.of(template).model_dump(mode="json", exclude_defaults=True)
        return {"key": template.key, "origin": self._library.origin(caller, template), "template": words}
