"""Acme, an image service that does not exist: `POST /pictures` draws one picture, `GET /account` tells what is left, `GET /models` lists the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mcp_image_server.errors import BadReplyError, RefusedError
from mcp_image_server.fields import BaseUrl, Key
from mcp_image_server.models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Size, SizeList
from mcp_image_server.net import Fault, Net, Service, words_in
from mcp_image_server.providers.base import Context, account_of
from mcp_image_server.settings import Environment, parse


class Config(BaseModel):
    """Settings, under the service's own names."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="ACME_API_KEY", description="Key of the account.")
    base_url: BaseUrl = Field("https://api.acme.example/v1", alias="ACME_BASE_URL", description="Address of the service.")


SQUARE = Size(width=1024, height=1024)
BRUSH = Model(provider="acme", id="brush-1", title="Brush 1", sizes=SizeList(sizes=(SQUARE,)), default_size=SQUARE, seed=True)
CATALOGUE = Catalogue(
    provider="acme",
    title="Acme",
    models=(BRUSH,),
    default_model="brush-1",
    styles={},
    resolutions={"1024x1024": "1024x1024 (1:1)"},
    variables=("ACME_API_KEY",),
)


class Acme:
    """The service at work. Opens no connection before it is first used."""

    name = "acme"
    catalogue = CATALOGUE
    limits = Limits(concurrent=2)
    repeatable = False

    def __init__(self, config: Config) -> None:
        key = config.api_key.get_secret_value()
        self.account = account_of(self.name, key)
        service = Service(
            provider=self.name,
            title="Acme",
            base_url=config.base_url,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            read_fault=read_fault,
            key_variable="ACME_API_KEY",
            url_variable="ACME_BASE_URL",
        )
        self._net = Net(service)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture, behind a link that is followed at once."""
        reply = await self._net.send("POST", "pictures", json=to_wire(request, model))
        answer = reply.parse(Answer)
        if not answer.url:
            raise reply.failure(BadReplyError, "Acme answered without a picture")
        await context.report(0.9, "The picture is drawn and on its way.")
        return Generated(images=(Drawn(data=await self._net.download(answer.url), seed=answer.seed),), request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the key works, and what is left of its credits."""
        reply = await self._net.send("GET", "account", read_timeout=15)
        return f"Acme accepts the key; {reply.parse(Account).credits} credits are left."

    async def listed(self) -> tuple[str, ...]:
        """The models that the service has; a provider whose service does not list them goes without this."""
        return tuple((await self._net.send("GET", "models", read_timeout=15)).parse(Listed).models)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()


def load(environment: Environment) -> Acme | None:
    """The provider, when its key is set."""
    return Acme(parse(Config, environment)) if "ACME_API_KEY" in environment else None


class Answer(BaseModel):
    """What we read of an answer."""

    url: str | None = None
    seed: int | None = None


class Account(BaseModel):
    """What we read of the account."""

    credits: int


class Listed(BaseModel):
    """The list of models."""

    models: list[str]


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a call. The request already fits the model."""
    body = {"model": model.id, "prompt": request.prompt, "size": str(request.shape) if request.shape else None, "seed": request.seed}
    return {**{name: value for name, value in body.items() if value is not None}, **request.options}


def read_fault(status: int, body: Any) -> Fault | None:
    """What a complaint means, where its status does not say it."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    message = words_in(body)
    return Fault(message=message, kind=RefusedError if facts.get("code") == "moderation" else None) if message else None
