"""OpenAI's image models at Microsoft: the same interface under other addresses. Facts from https://learn.microsoft.com/azure/ai-foundry/openai/how-to/dall-e."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from ..fields import BaseUrl, Key
from ..models import Catalogue, Model, find_model
from ..net import Service
from ..settings import Environment, parse
from .base import account_of
from .openai import Compatible
from .openai import models as openai
from .openai.wire import read_fault

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. Key and endpoint have the names that every program for Azure OpenAI reads; the deployment switches this provider on."""

    model_config = ConfigDict(frozen=True)

    deployment: str = Field(
        alias="AZURE_OPENAI_IMAGE_DEPLOYMENT",
        min_length=1,
        description="Deployment of an image model, for requests that name none. Setting it switches on.",
    )
    api_key: Key = Field(alias="AZURE_OPENAI_API_KEY", description="Key of the resource.")
    endpoint: BaseUrl = Field(alias="AZURE_OPENAI_ENDPOINT", description="Address of the resource, such as https://my-resource.openai.azure.com.")
    model: str | None = Field(
        None,
        alias="AZURE_OPENAI_IMAGE_MODEL",
        min_length=1,
        description="Model behind the deployment, such as gpt-image-2, where the deployment has another name.",
    )
    api_version: str = Field("2025-04-01-preview", alias="OPENAI_API_VERSION", min_length=1, description="Version of the interface.")
    partial_images: int = Field(
        0,
        alias="AZURE_OPENAI_PARTIAL_IMAGES",
        ge=0,
        le=3,
        description="Previews while a single picture is drawn; about 100 output tokens are billed for each.",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ENDS = {
    "gpt-image-2.5-sunburst": date(2027, 9, 9),
    "gpt-image-2.5-flare": date(2027, 9, 9),
    "gpt-image-2": date(2027, 10, 21),
    "gpt-image-1.5": date(2026, 12, 16),
    "gpt-image-1-mini": date(2027, 4, 7),
}
"""The models that Microsoft has, and the days on which it retires them. Its prices are OpenAI's."""

MODELS = tuple(replace(model, provider="azure", aliases=(), ends=_ENDS[model.id]) for model in openai.MODELS if model.id in _ENDS)

_ANY = replace(openai.ANY, provider="azure")

CATALOGUE = Catalogue(
    provider="azure",
    title="Azure OpenAI",
    models=MODELS,
    default_model="gpt-image-2",
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square, 正方形)",
        "1536x1024": "1536x1024 (3:2 landscape, 横向)",
        "1024x1536": "1024x1536 (2:3 portrait, 竖向)",
    },
    variables=("AZURE_OPENAI_IMAGE_DEPLOYMENT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    unknown=_ANY,
)


def catalogue_for(config: Config) -> Catalogue:
    """What is offered with these settings: the deployment, with the facts about the model behind it. Others are used by their names."""
    known = find_model(MODELS, config.model or config.deployment)
    title = f"{known.title if known else config.model or 'Deployment'} ({config.deployment})"
    return replace(CATALOGUE, models=(replace(known or _ANY, id=config.deployment, title=title),), default_model=config.deployment)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Azure(Compatible):
    """Azure OpenAI at work."""

    def __init__(self, config: Config) -> None:
        prices = openai.TOKEN_PRICES.get(config.model or config.deployment)
        super().__init__(
            service=service(config),
            catalogue=catalogue_for(config),
            account=account_of("azure", config.api_key.get_secret_value()),
            previews=config.partial_images,
            prices={config.deployment: prices} if prices else {},
        )
        self._version = {"api-version": config.api_version}

    async def check(self) -> str:
        """Whether the key works, asked without paying. Which deployments there are cannot be asked with it."""
        await self._net.send("GET", "models", params=self._version, read_timeout=30)
        return f"Azure OpenAI accepts the key; whether there is a deployment {self.catalogue.default_model} shows when it draws."

    def _place(self, work: str, model: Model) -> tuple[str, Mapping[str, str] | None]:
        return f"deployments/{model.id}/{work}", self._version


def load(environment: Environment) -> Azure | None:
    """The provider, when a deployment is named.

    Raises:
        ConfigError: a variable is wrong, or key or endpoint are missing.
    """
    return Azure(parse(Config, environment)) if "AZURE_OPENAI_IMAGE_DEPLOYMENT" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="azure",
        title="Azure OpenAI",
        base_url=f"{config.endpoint}/openai",
        headers={"api-key": key},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="AZURE_OPENAI_API_KEY",
        url_variable="AZURE_OPENAI_ENDPOINT",
    )
