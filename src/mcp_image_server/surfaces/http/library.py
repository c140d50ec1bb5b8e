"""Styles and templates over HTTP: everybody's are read, and one's own kept, in the shape that files have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from ...bookshelf import Bookshelf
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
    library = studio.library

    async def template(caller: Caller, key: str) -> Template:
        """The template of that very key: a part of its title is no address."""
        found = (await library.templates(caller)).get(key)
        if found is None:
            raise NotFoundError(f"There is no template {key!r}.", code="template_not_found", details={"template": key})
        return found

    styles = _Kind(
        name="style",
        entry=StyleEntry,
        one=StyleAnswer,
        every=StylesAnswer,
        all=library.styles,
        get=library.style,
        put=library.put_style,
        remove=library.remove_style,
        facts=lambda style: StyleFacts(label=style.label, phrase=style.phrase, phrase_zh=style.phrase_zh).model_dump(),
    )
    templates = _Kind(
        name="template",
        entry=TemplateEntry,
        one=TemplateAnswer,
        every=TemplatesAnswer,
        all=library.templates,
        get=template,
        put=library.put_template,
        remove=library.remove_template,
        facts=lambda template: TemplateEntry.of(template).model_dump(mode="json", exclude_defaults=True),
    )
    return [*_endpoints(styles, library), *_endpoints(templates, library)]


K = TypeVar("K", bound=Style | Template)


@dataclass(frozen=True, kw_only=True)
class _Kind(Generic[K]):
    """Styles or templates: what is done with them, and in which shapes they come and go."""

    name: str
    entry: type[BaseModel]
    one: type[BaseModel]
    every: type[BaseModel]
    all: Callable[[Caller], Awaitable[Mapping[str, K]]]
    get: Callable[[Caller, str], Awaitable[K]]
    put: Callable[..., Awaitable[bool]]
    remove: Callable[..., Awaitable[None]]
    facts: Callable[[K], dict[str, Any]]


def _endpoints(kind: _Kind[K], library: Bookshelf) -> list[Endpoint]:
    api, name = _Api(kind, library), kind.name
    every = partial(Endpoint, path=f"/api/v1/{name}s", tag="Library")
    one = partial(Endpoint, path=f"/api/v1/{name}s/{{key}}", tag="Library", parameters={"key": f"Key of a {name}."})
    return [
        every(
            method="GET",
            summary=f"The {name}s",
            answer=api.all,
            replies={200: Reply(words="All that the caller can use.", model=kind.every)},
        ),
        one(
            method="GET",
            summary=f"A {name}",
            answer=api.get,
            replies={200: Reply(words="As the caller gets it.", model=kind.one)},
            faults=(404,),
        ),
        one(
            method="PUT",
            summary=f"Keep a {name} of one's own",
            words="It takes the place of another of that key, for the caller alone.",
            answer=api.put,
            query=WhoseQuery,
            body=kind.entry,
            max_body=MAX_BODY,
            replies={200: Reply(words="It is kept in the place of the last one.", model=kind.one), 201: Reply(words="It is kept.", model=kind.one)},
        ),
        one(
            method="DELETE",
            summary=f"Throw a {name} of one's own away",
            answer=api.remove,
            query=WhoseQuery,
            replies={204: Reply(words="It is gone.")},
            faults=(404,),
        ),
    ]


class _Api(Generic[K]):
    def __init__(self, kind: _Kind[K], library: Bookshelf) -> None:
        self._kind = kind
        self._library = library

    async def all(self, call: Call[None, None]) -> Response:
        found = await self._kind.all(call.caller)
        return JSONResponse({f"{self._kind.name}s": [self._facts(call.caller, each) for each in found.values()]})

    async def get(self, call: Call[None, None]) -> Response:
        return JSONResponse(self._facts(call.caller, await self._kind.get(call.caller, call.named("key"))))

    async def put(self, call: Call[WhoseQuery, Any]) -> Response:
        key = call.named("key")
        new = await self._kind.put(call.caller, key, call.body, shared=call.query.shared)
        return JSONResponse(self._facts(call.caller, await self._kind.get(call.caller, key)), 201 if new else 200)

    async def remove(self, call: Call[WhoseQuery, None]) -> Response:
        await self._kind.remove(call.caller, call.named("key"), shared=call.query.shared)
        return Response(status_code=204)

    def _facts(self, caller: Caller, entry: K) -> dict[str, Any]:
        return {"key": entry.key, "origin": self._library.origin(caller, entry), self._kind.name: self._kind.facts(entry)}
