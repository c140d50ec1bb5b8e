"""Replicate: models of many makers as predictions. Facts from https://replicate.com/docs/reference/http and the pages of the models."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError
from ...fields import BaseUrl, Key
from ...models import Generated, ImageRequest, Limits, Model, Picture
from ...net import File, Net, Pace, Reply, Service, Timeouts
from ...settings import Environment, parse
from ..base import Context, account_of, data_url, guessed, with_default
from .models import CATALOGUE, DEFAULT_MODEL, MODELS
from .wire import ENDS, Account, Prediction, Upload, from_wire, read_fault, to_wire

__all__ = ["CATALOGUE", "MODELS", "Config", "Replicate", "load"]

# Config -------------------------------------------------------------------------------------------------------------------------------------

_NAME = r"[\w-][\w.-]*/[\w-][\w.-]*"
_ID = rf"{_NAME}(:[0-9a-f]{{64}})?|[0-9a-f]{{64}}"


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    token: Key = Field(alias="REPLICATE_API_TOKEN", description="Token of the account, from https://replicate.com/account/api-tokens.")
    base_url: BaseUrl = Field("https://api.replicate.com/v1", alias="REPLICATE_BASE_URL", description="Address of the service, used as written.")
    model: str = Field(
        DEFAULT_MODEL,
        alias="REPLICATE_MODEL",
        pattern=f"^({_ID})$",
        description="Model for requests that name none: owner/name of an official model, owner/name:version of any other.",
    )


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=0.5, factor=1.3, longest=3)

MAX_INLINE = 190_000
"""Bytes up to which a picture may stand in the request itself, where it takes a third more. Larger ones are uploaded; the service deletes them by itself."""


class Replicate:
    """The service at work. Opens no connection before it is first used."""

    name = "replicate"
    limits = Limits(concurrent=8, per_second=10)
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.token.get_secret_value())
        self._looking = looking
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: a prediction is created and waited for."""
        if re.fullmatch(_ID, model.id) is None:  # it may become part of an address
            words = f"{model.id!r} is no model of Replicate; one is called like {DEFAULT_MODEL}, or owner/name:version"
            raise self._net.service.failure(ProviderError, words, not_accepted=True)
        images = [await self._link(picture) for picture in request.images]
        mask = await self._mask(request.mask) if request.mask is not None else None
        body: dict[str, Any] = {"input": to_wire(request, model, images=images, mask=mask)}
        path = f"models/{model.id}/predictions" if re.fullmatch(_NAME, model.id) else "predictions"
        reply = await self._net.send("POST", path, json=body if path != "predictions" else {"version": model.id, **body})
        prediction = reply.parse(Prediction)
        if not prediction.id:
            raise reply.failure(BadReplyError, "Replicate took the work but gave the prediction no id")
        await context.accepted(prediction.id)
        return await self.resume(prediction.id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a prediction that was created earlier."""
        looks = count(1)

        async def look() -> tuple[Reply, Prediction] | None:
            reply = await self._net.look(f"predictions/{task_id}")
            prediction = reply.parse(Prediction)
            if prediction.status in ENDS:
                return reply, prediction
            seen = next(looks)
            doing = "is drawing" if prediction.status == "processing" else "makes a machine ready"
            await context.report(0.9 * (prediction.progress or guessed(seen)), f"Replicate {doing}.")
            return None

        reply, prediction = await self._net.poll(look, pace=self._looking.within(request.polling))
        if prediction.status != "succeeded":
            raise reply.fault(reply.json())
        if not prediction.links:
            gone = " that is still there; what a prediction made is deleted after an hour" if prediction.data_removed else ""
            raise reply.failure(BadReplyError, f"Replicate finished the work without a picture{gone}")
        await context.report(0.95, "The pictures are drawn and on their way.")
        pictures = await self._net.download_all(prediction.links)
        return from_wire(pictures, request, model, request_id=reply.request_id or task_id)

    async def check(self) -> str:
        """Whether the token works, asked without paying."""
        account = (await self._net.send("GET", "account", read_timeout=30)).parse(Account)
        return f"Replicate accepts the token of {account.username}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _mask(self, mask: Picture) -> str:
        from ...pictures import white_is_edit

        data = await anyio.to_thread.run_sync(white_is_edit, mask.data)
        return await self._link(replace(mask, data=data, media_type="image/png"))

    async def _link(self, picture: Picture) -> str:
        """What stands for a picture in the input: itself where it is small, else the address of an upload, which costs nothing."""
        if len(picture.data) <= MAX_INLINE:
            return data_url(picture)
        name = f"picture.{picture.media_type.rpartition('/')[2]}"
        parts = [("content", File(name=name, media_type=picture.media_type, data=picture.data))]
        reply = await self._net.send("POST", "files", parts=parts, repeatable=True)
        return reply.parse(Upload).urls.get


def load(environment: Environment) -> Replicate | None:
    """The provider, when a token is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Replicate(parse(Config, environment)) if "REPLICATE_API_TOKEN" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    token = config.token.get_secret_value()
    return Service(
        provider="replicate",
        title="Replicate",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        read_fault=read_fault,
        key_variable="REPLICATE_API_TOKEN",
        url_variable="REPLICATE_BASE_URL",
    )
