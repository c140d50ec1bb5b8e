"""Lists that come in pages, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import urlencode

from pydantic import Field
from starlette.responses import JSONResponse, Response

from .bodies import Arguments
from .endpoints import Call

PAGE = 20
MAX_PAGE = 100

LINK = {"Link": "The next page, where there is one."}
"""The header that leads on, for the description."""

Next = Annotated[str | None, Field(description="Give it as `before` to get the next page.")]


class PageQuery(Arguments):
    """Which page."""

    limit: int = Field(PAGE, ge=1, le=MAX_PAGE)
    before: str | None = Field(None, max_length=100, description="`next` of the page before.")

    @property
    def enough(self) -> int:
        """How many to look for: one more than is shown, to know whether there is a next page."""
        return self.limit + 1


class Listed(Protocol):
    """What a page is made of."""

    @property
    def id(self) -> str: ...


P = TypeVar("P", bound=PageQuery)
E = TypeVar("E", bound=Listed)


def page(call: Call[P, Any], name: str, found: Sequence[E], facts: Callable[[E], dict[str, Any]]) -> Response:
    """The page under that name, and where the next one is.

    Args:
        found: as many as are `enough`, if there are so many.
    """
    shown = found[: call.query.limit]
    after = shown[-1].id if len(found) > len(shown) else None
    headers = {}
    if after is not None:
        query = [(key, value) for key, value in call.request.query_params.multi_items() if key != "before"]
        headers["link"] = f'<{call.request.url.path}?{urlencode([*query, ("before", after)])}>; rel="next"'
    return JSONResponse({name: [facts(each) for each in shown], "next": after}, headers=headers)
