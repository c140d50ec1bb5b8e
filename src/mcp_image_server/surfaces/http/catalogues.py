"""What can be drawn with, over HTTP: the configured services and their models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from ...studio import Studio
from ..facts import models_facts
from .bodies import Arguments
from .endpoints import Call, Endpoint, Reply


class ModelsQuery(Arguments):
    """Whose models."""

    provider: str = Field("", max_length=100, description="Only this provider's.")


class ModelsAnswer(BaseModel):
    """Providers with their models, styles and templates."""

    default_provider: str
    providers: list[dict[str, Any]]
    styles: dict[str, str] = {}
    templates: dict[str, dict[str, Any]] = {}


def endpoints(studio: Studio) -> list[Endpoint]:
    """What tells of models."""

    async def models(call: Call[ModelsQuery, None]) -> Response:
        return JSONResponse(await models_facts(studio, call.caller, call.query.provider))

    return [
        Endpoint(
            method="GET",
            path="/api/v1/models",
            tag="Models",
            summary="The configured services and their models",
            answer=models,
            query=ModelsQuery,
            replies={200: Reply(words="Providers, models, styles and templates.", model=ModelsAnswer)},
            faults=(404,),
        )
    ]
