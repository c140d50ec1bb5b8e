"""Numbers over HTTP: how many pictures there are, and what was spent on them."""

from __future__ import annotations

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from ...studio import Studio
from ..facts import amounts, statistics_facts
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply

SPENDING_DAYS = 30
"""Of spending that are told of, where the caller does not say how many."""


class DaysQuery(Arguments):
    """Of how many days."""

    days: int | None = Field(None, ge=1, le=36_500, description="The last so many. Unset: all time; of spending, 30.")


class TallyFacts(BaseModel):
    """How many pictures, and what was spent on them."""

    pictures: int
    size_bytes: int
    spent: dict[str, float] = Field(description="Currency to amount.")


class StatisticsAnswer(TallyFacts):
    """Pictures and money, in all and by what they are due to."""

    favourites: int
    deleted: int
    providers: dict[str, TallyFacts]
    models: dict[str, TallyFacts]
    days: dict[str, TallyFacts]


class SpendingAnswer(BaseModel):
    """What was spent."""

    days: int
    spent: dict[str, float] = Field(description="Currency to amount.", examples=[{"USD": 1.25}])


def endpoints(studio: Studio) -> list[Endpoint]:
    """What counts pictures and money."""

    async def statistics(call: Call[DaysQuery, None]) -> Response:
        return JSONResponse(statistics_facts(await studio.images.statistics(call.caller, days=call.query.days)))

    async def spending(call: Call[DaysQuery, None]) -> Response:
        days = call.query.days or SPENDING_DAYS
        return JSONResponse({"days": days, "spent": amounts(await studio.spent(call.caller, days=days))})

    return [
        Endpoint(
            method="GET",
            path="/api/v1/statistics",
            tag="Money",
            summary="Pictures and money",
            answer=statistics,
            query=DaysQuery,
            replies={200: Reply(words="The caller's.", model=StatisticsAnswer)},
        ),
        Endpoint(
            method="GET",
            path="/api/v1/spending",
            tag="Money",
            summary="What was spent",
            answer=spending,
            query=DaysQuery,
            replies={200: Reply(words="By the caller.", model=SpendingAnswer)},
        ),
    ]
