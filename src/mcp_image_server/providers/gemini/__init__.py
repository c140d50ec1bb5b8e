"""Google's Gemini models that draw ("Nano Banana"). Facts from https://ai.google.dev/gemini-api/docs/image-generation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import ProviderError
from ...fields import BaseUrl, Key
from ...models import Generated, ImageRequest, Limits, Model
from ...net import Net, Pace, Reply, Service
from ...settings import Environment, parse
from ..base import Context, account_of, that_draw, with_default
from ..economy import PACE, Economy, halved
from .batches import BatchDesk, answer_in
from .models import CATALOGUE, DEFAULT_MODEL, MODELS
from .wire import Answer, ModelList, drawn, from_wire, read_fault, to_wire

__all__ = ["CATALOGUE", "MODELS", "Config", "Gemini", "load"]

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. The key may be under either of its two names; the first of them counts."""

    model_config = ConfigDict(frozen=True)

    gemini_key: Key | None = Field(None, alias="GEMINI_API_KEY", description="Key of the account, from https://aistudio.google.com/apikey.")
    google_key: Key | None = Field(None, alias="GOOGLE_API_KEY", description="The key, under the name that Google's own library reads, too.")
    base_url: BaseUrl = Field(
        "https://generativelanguage.googleapis.com", alias="GOOGLE_GEMINI_BASE_URL", description="Address of the interface, without its version."
    )
    model: str = Field(DEFAULT_MODEL, alias="GEMINI_MODEL", min_length=1, description="Model for requests that name none.")

    @property
    def key(self) -> tuple[str, str]:
        """The variable that holds the key, and the key."""
        named = (("GEMINI_API_KEY", self.gemini_key), ("GOOGLE_API_KEY", self.google_key))
        return next(((name, secret.get_secret_value()) for name, secret in named if secret is not None), (named[0][0], ""))


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Gemini:
    """The service at work. Opens no connection before it is first used.

    Args:
        pace: how often a batch is looked at, for requests that may take a day.
        quiet: seconds for which such requests are gathered.
    """

    name = "gemini"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace = PACE, quiet: float = 2.0) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.key[1])
        self._net = Net(service(config))
        self._economy = Economy(BatchDesk(net=self._net), self._net.service, pace=pace, quiet=quiet)

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture. Drafts that the model thinks aloud are not among it. What may take a day goes into a batch, for half the price."""
        if request.economy:
            return await self._from_line(await self._economy.draw(model.id, to_wire(request, model), context), request, model)
        body = await anyio.to_thread.run_sync(to_wire, request, model) if request.images else to_wire(request, model)
        reply = await self._net.send("POST", f"v1beta/models/{model.id}:generateContent", json=body)
        return await self._read(reply.parse(Answer), reply, request, model)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a request that went into a batch earlier."""
        return await self._from_line(await self._economy.collect(task_id, context), request, model)

    async def stop(self, task_id: str, wanted: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the batch that a request went into ends now, since nobody wants anything out of it any more."""
        return await self._economy.stop(task_id, wanted)

    async def _from_line(self, data: bytes, request: ImageRequest, model: Model) -> Generated:
        """The picture in an answer out of a batch."""
        answer, reply = await anyio.to_thread.run_sync(answer_in, data, self._net.service)
        return halved(await self._read(answer, reply, request, model))

    async def _read(self, answer: Answer, reply: Reply, request: ImageRequest, model: Model) -> Generated:
        """The answer in our words, its pictures decoded beside the event loop."""
        pictures = [await reply.decode(data.data) for data in drawn(answer, reply)]
        return from_wire(answer, pictures, request, model, request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the key works and the model is there, asked without paying."""
        model = self.catalogue.default_model
        try:
            await self._net.send("GET", f"v1beta/models/{model}", read_timeout=30)
        except ProviderError as error:
            if error.status == 404 and error.details.get("service_code") == "NOT_FOUND":
                return f"Google Gemini accepts the key, but has no model {model}."
            raise
        return f"Google Gemini accepts the key, and has the model {model}."

    async def listed(self) -> tuple[str, ...]:
        """The models that the key may use and that draw, judged by their names: the list has those of all kinds."""
        reply = await self._net.send("GET", "v1beta/models", params={"pageSize": "1000"}, read_timeout=30)
        return that_draw((entry.name.removeprefix("models/") for entry in reply.parse(ModelList).models), self.catalogue)

    async def aclose(self) -> None:
        """Close the connections."""
        self._economy.close()
        await self._net.aclose()


def load(environment: Environment) -> Gemini | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not environment.keys() & {"GEMINI_API_KEY", "GOOGLE_API_KEY"}:
        return None
    return Gemini(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    variable, key = config.key
    return Service(
        provider="gemini",
        title="Google Gemini",
        base_url=config.base_url,
        headers={"x-goog-api-key": key},
        secrets=(key,),
        read_fault=read_fault,
        key_variable=variable,
        url_variable="GOOGLE_GEMINI_BASE_URL",
    )
