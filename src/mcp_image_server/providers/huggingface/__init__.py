"""Models of the Hugging Face hub, at whichever inference provider serves them, on one bill. Facts from https://huggingface.co/docs/inference-providers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ...errors import BadReplyError, ProviderError, QuotaError, RefusedError
from ...fields import BaseUrl, Key
from ...models import Adjustment, AspectRatio, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Size, SizeRange
from ...negotiate import nearest_size
from ...net import Fault, Net, Pace, Reply, Service, words_in
from ...settings import Environment, parse
from ..base import Context, account_of, guessed, with_default
from .partners import IMAGE_TO_IMAGE, PARTNERS, TEXT_TO_IMAGE, Call, Failed, Found, Look, Outcome, Target

DEFAULT_MODEL = "black-forest-labs/FLUX.1-schnell"
AUTO = "auto"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service, under the names that Hugging Face's own libraries use where they have one."""

    model_config = ConfigDict(frozen=True)

    token: Key = Field(
        alias="HF_TOKEN", description="Access token with the permission to call Inference Providers, from https://hf.co/settings/tokens."
    )
    partner: str = Field(
        AUTO,
        alias="HF_INFERENCE_PROVIDER",
        pattern=f"^({'|'.join((AUTO, *PARTNERS))})$",
        description=f"Who runs the models: {', '.join(PARTNERS)}; or auto for the first in the order of your account. "
        "A model named like owner/name:fal-ai asks for one itself.",
    )
    model: str = Field(DEFAULT_MODEL, alias="HF_MODEL", min_length=1, description="Model for requests that name none: any on the hub that is served.")
    hub_url: BaseUrl = Field("https://huggingface.co", alias="HF_ENDPOINT", description="Address of the hub, which knows who serves a model.")
    router_url: BaseUrl = Field("https://router.huggingface.co", alias="HF_ROUTER_URL", description="Address of the router, where models are called.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_EDGES = SizeRange(min_edge=256, max_edge=1440, max_pixels=1440**2, multiple=32)
_NOTE = "Options: num_inference_steps, guidance_scale, and what the inference provider takes besides."

_ANY = Model(
    provider="huggingface",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    default_size=Size(width=1024, height=1024),
    seed=True,
    negative_prompt=True,
    max_images=1,
    note=_NOTE,
)
"""What every model of the hub is asked with. One call makes one picture."""

_DRAWS = replace(_ANY, operations=frozenset({Operation.GENERATE}), sizes=_EDGES, max_images=0)
_FLUX = replace(_DRAWS, negative_prompt=False)
_EDITS = replace(_ANY, operations=frozenset({Operation.EDIT}))
_CHINESE = frozenset({"en", "zh"})
_LETTERS = frozenset({"latin", "han"})

MODELS = (
    replace(_FLUX, id=DEFAULT_MODEL, title="FLUX.1 schnell"),
    replace(_FLUX, id="black-forest-labs/FLUX.1-dev", title="FLUX.1 dev"),
    replace(_FLUX, id="black-forest-labs/FLUX.1-Krea-dev", title="FLUX.1 Krea dev"),
    replace(_DRAWS, id="stabilityai/stable-diffusion-3.5-large", title="Stable Diffusion 3.5 Large"),
    replace(_DRAWS, id="stabilityai/stable-diffusion-xl-base-1.0", title="Stable Diffusion XL"),
    replace(_DRAWS, id="Qwen/Qwen-Image", title="Qwen-Image", languages=_CHINESE, writes=_LETTERS),
    replace(_FLUX, id="Tongyi-MAI/Z-Image-Turbo", title="Z-Image Turbo", languages=_CHINESE, writes=_LETTERS),
    replace(_EDITS, id="black-forest-labs/FLUX.1-Kontext-dev", title="FLUX.1 Kontext dev", negative_prompt=False),
    replace(_EDITS, id="Qwen/Qwen-Image-Edit", title="Qwen-Image-Edit", languages=_CHINESE, writes=_LETTERS),
)
"""The best known; who serves which changes from week to week. No prices: each inference provider has its own."""

CATALOGUE = Catalogue(
    provider="huggingface",
    title="Hugging Face",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1344x768": "1344x768 (16:9 横向 landscape)",
        "768x1344": "768x1344 (9:16 竖向 portrait)",
        "1152x768": "1152x768 (3:2 横向 landscape)",
        "768x1152": "768x1152 (2:3 竖向 portrait)",
        "1152x864": "1152x864 (4:3 横向 landscape)",
        "864x1152": "864x1152 (3:4 竖向 portrait)",
    },
    variables=("HF_TOKEN",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class HuggingFace:
    """The service at work. Opens no connection before it is first used."""

    name = "huggingface"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace | None = None) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.token.get_secret_value())
        self._config = config
        self._net = Net(service(config))
        self._pace = pace

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture: at once, or by a task of the inference provider that is submitted and waited for."""
        target = await self._target(model.id, IMAGE_TO_IMAGE if request.images else TEXT_TO_IMAGE)
        call = await anyio.to_thread.run_sync(to_wire, request, target)
        partner = PARTNERS[target.partner]
        path = f"{target.partner}/{call.path}"
        reply = await self._net.send("POST", path, json=call.json, params=partner.params, headers=call.headers)
        if reply.headers.get("content-type", "").startswith("image/"):
            return from_wire([reply.body], Found(), request, request_id=reply.request_id)
        outcome = self._read(target.partner, reply, path)
        if isinstance(outcome, Found):
            return await self._pictures(outcome, reply, request)
        await context.accepted(outcome.path)
        return await self.resume(outcome.path, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier. Its id is the address below the router, which begins with the inference provider's name."""
        partner, looks, path = task_id.partition("/")[0], count(1), task_id

        async def look() -> tuple[Reply, Found] | None:
            nonlocal path
            while True:
                try:
                    reply = await self._net.send("GET", path, params=PARTNERS[partner].params)
                except ProviderError as error:
                    # The question was turned away, not the work: that has been taken.
                    error.not_accepted, error.may_have_been_billed = False, not isinstance(error, RefusedError)
                    raise
                outcome = self._read(partner, replace(reply, paid=True), path)
                if isinstance(outcome, Found):
                    return reply, outcome
                if outcome.path == path:
                    seen = next(looks)
                    await context.report(guessed(seen), f"{partner} works on the picture.")
                    return None
                path = outcome.path

        if partner not in PARTNERS:
            raise self._net.service.failure(
                ProviderError, f"Hugging Face has no inference provider for the task {task_id}", may_have_been_billed=True
            )
        reply, found = await self._net.poll(look, pace=self._pace)
        return await self._pictures(found, replace(reply, paid=True), request)

    async def check(self) -> str:
        """Whether the token works, asked without paying."""
        reply = await self._net.send("GET", f"{self._config.hub_url}/api/whoami-v2", read_timeout=30)
        return f"Hugging Face accepts the token of {reply.parse(Account).name}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _target(self, model: str, task: str) -> Target:
        """Who runs the model, and under which name there."""
        repo, _, wanted = model.partition(":")
        wanted = wanted or self._config.partner
        if wanted == "hf-inference":  # it calls models what the hub calls them
            return Target(partner=wanted, id=repo, repo=repo)
        url = f"{self._config.hub_url}/api/models/{repo}"
        reply = await self._net.send("GET", url, params={"expand": "inferenceProviderMapping"}, read_timeout=30)
        served = reply.parse(Served).entries
        able = [entry for entry in served if entry.task == task and task in getattr(PARTNERS.get(entry.provider), "tasks", ())]
        chosen = next((entry for entry in sorted(able, key=lambda entry: entry.status != "live") if wanted in (AUTO, entry.provider)), None)
        if chosen is None:
            offers = ", ".join(f"{entry.provider} ({entry.task})" for entry in served) or "nobody"
            by = "" if wanted == AUTO else f" by {wanted}"
            raise reply.failure(
                ProviderError, f"Hugging Face's model {repo} is not served for {task}{by}. It is served by: {offers}", not_accepted=True
            )
        return Target(partner=chosen.provider, id=chosen.provider_id, repo=repo, weights=chosen.weights)

    def _read(self, partner: str, reply: Reply, path: str) -> Found | Look:
        value = reply.json()
        outcome: Outcome | None = PARTNERS[partner].read(value, path)
        if isinstance(outcome, Failed):
            raise reply.fault({"error": outcome.words})
        if outcome is None:
            if words_in(value):
                raise reply.fault(value)
            raise reply.failure(BadReplyError, f"{partner} at Hugging Face answered without a picture")
        return outcome

    async def _pictures(self, found: Found, reply: Reply, request: ImageRequest) -> Generated:
        if found.unfit and all(found.unfit):
            raise reply.failure(RefusedError, "Hugging Face's inference provider drew what its filter then found unfit", may_have_been_billed=True)
        pictures = [await reply.decode(text) for text in found.inline] + await self._net.download_all(found.links)
        if not pictures:
            raise reply.failure(BadReplyError, "Hugging Face's inference provider answered without a picture")
        return from_wire(pictures, found, request, request_id=reply.request_id)


def load(environment: Environment) -> HuggingFace | None:
    """The provider, when a token is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if "HF_TOKEN" not in environment:
        return None
    return HuggingFace(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    token = config.token.get_secret_value()
    return Service(
        provider="huggingface",
        title="Hugging Face",
        base_url=config.router_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        trusted_hosts=(urlsplit(config.hub_url).hostname or "",),
        read_fault=read_fault,
        key_variable="HF_TOKEN",
        url_variable="HF_ROUTER_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Serving(BaseModel):
    """One inference provider that serves a model."""

    provider: str = ""
    provider_id: str = Field(alias="providerId")
    task: str | None = None
    status: str | None = None
    weights: str | None = Field(None, alias="adapterWeightsPath")


class Served(BaseModel):
    """Who serves a model: a table by name, or a list."""

    mapping: Mapping[str, Serving] | Sequence[Serving] | None = Field(None, alias="inferenceProviderMapping")

    @property
    def entries(self) -> list[Serving]:
        if isinstance(self.mapping, Mapping):
            return [entry.model_copy(update={"provider": name}) for name, entry in self.mapping.items()]
        return [*(self.mapping or ())]


class Account(BaseModel):
    """Whose token it is."""

    name: str


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, target: Target) -> Call:
    """What the inference provider is sent. A ratio becomes a size, since all of them take one."""
    return PARTNERS[target.partner].call(replace(request, shape=_size(request)), target)


def from_wire(pictures: Sequence[bytes], found: Found, request: ImageRequest, *, request_id: str | None) -> Generated:
    """The answer in our words; few inference providers repeat the seed."""
    seed = found.seed if isinstance(found.seed, int) else request.options.get("seed", request.seed)
    words: tuple[Adjustment, ...] = ()
    if isinstance(request.shape, AspectRatio):
        words = (Adjustment(field="resolution", message=f"{request.shape} was asked for as {_size(request)}."),)
    return Generated(images=tuple(Drawn(data=data, seed=seed) for data in pictures), request_id=request_id, adjustments=words)


def _size(request: ImageRequest) -> Size | None:
    shape = request.shape
    return nearest_size(shape, _EDGES, _ANY.default_size) if isinstance(shape, AspectRatio) else shape


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"monthly included credits|insufficient.?(credit|balance|fund)|not_enough_balance", QuotaError),
    (r"nsfw|flagged as sensitive|\bE005\b|content.?policy|moderation|safety.?(check|filter|system)", RefusedError),
)
"""Words by which a failure is known, where the status alone would mislead or there is none, as in a failed task."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: of the router, or in the words of an inference provider behind it."""
    message = words_in(body)
    if not message:
        return None
    wait = body.get("estimated_time") if isinstance(body, dict) else None  # seconds until a model is loaded
    return Fault(
        message=message,
        kind=next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None),
        retry_after=float(wait) if isinstance(wait, int | float) else None,
    )
