"""DeepInfra: open and resold models as a service. Facts from https://deepinfra.com/docs/openai_api and https://api.deepinfra.com/openapi.json.

It has two ways to the same models: its own, which takes a seed and names the cost, and OpenAI's, which takes input pictures and nothing but the basics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..errors import BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import Adjustment, Catalogue, Cost, Drawn, Generated, ImageRequest, Limits, Model, Operation, Picture, Size, SizeRange
from ..net import Fault, File, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, present, with_default

DEFAULT_MODEL = "black-forest-labs/FLUX-2-dev"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service. The key may be under either of its two names; the first of them counts."""

    model_config = ConfigDict(frozen=True)

    token: Key | None = Field(None, alias="DEEPINFRA_TOKEN", description="Key of the account at DeepInfra.")
    api_key: Key | None = Field(None, alias="DEEPINFRA_API_KEY", description="The key, under the name that many other programs read.")
    base_url: BaseUrl = Field("https://api.deepinfra.com", alias="DEEPINFRA_BASE_URL", description="Address of the service, without /v1.")
    model: str = Field(DEFAULT_MODEL, alias="DEEPINFRA_MODEL", min_length=1, description="Model for requests that name none.")

    @property
    def key(self) -> tuple[str, str]:
        """The variable that holds the key, and the key."""
        named = (("DEEPINFRA_TOKEN", self.token), ("DEEPINFRA_API_KEY", self.api_key))
        return next(((name, secret.get_secret_value()) for name, secret in named if secret is not None), (named[0][0], ""))


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ANY = Model(
    provider="deepinfra",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.VARIATION}),
    default_size=Size(width=1024, height=1024),
    max_count=4,
    max_images=4,
    mask=True,
)
"""What OpenAI's way has a place for. Not every model hears all of it."""

_DRAWS = replace(
    _ANY,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    mask=False,
    sizes=SizeRange(min_edge=128, max_edge=2048, max_pixels=2048 * 2048, multiple=16),
)
_OWN_WAY = replace(_DRAWS, seed=True, note="Options: num_inference_steps, guidance_scale, loras where the model takes any.")
_EDITS = replace(_DRAWS, operations=frozenset({Operation.GENERATE, Operation.EDIT}), max_images=4, writes=frozenset({"latin"}))
_QWEN_EDIT = replace(_DRAWS, operations=frozenset({Operation.EDIT}), max_images=1, languages=frozenset({"zh"}), writes=frozenset({"latin", "han"}))

MODELS = (
    replace(_OWN_WAY, id=DEFAULT_MODEL, title="FLUX.2 [dev]", writes=frozenset({"latin"})),
    replace(_OWN_WAY, id="black-forest-labs/FLUX-2-klein-4b", title="FLUX.2 [klein] 4B"),
    replace(_EDITS, id="black-forest-labs/FLUX-2-pro", title="FLUX.2 [pro]"),
    replace(_EDITS, id="black-forest-labs/FLUX-2-max", title="FLUX.2 [max]"),
    replace(_OWN_WAY, id="black-forest-labs/FLUX-1-dev", title="FLUX.1 [dev]"),
    replace(_OWN_WAY, id="black-forest-labs/FLUX-1-schnell", title="FLUX.1 [schnell]"),
    replace(_DRAWS, id="black-forest-labs/FLUX-1-Redux-dev", title="FLUX.1 Redux", operations=frozenset({Operation.VARIATION}), max_images=1),
    replace(_QWEN_EDIT, id="Qwen/Qwen-Image-Edit", title="Qwen-Image-Edit"),
    replace(_EDITS, id="Wan-AI/Wan2.7-Image-Edit", title="Wan 2.7 Image Edit", languages=frozenset({"zh"}), writes=frozenset({"latin", "han"})),
)
"""Those that take a seed are asked the service's own way. https://deepinfra.com/models/text-to-image lists more, which can be named as well."""

CATALOGUE = Catalogue(
    provider="deepinfra",
    title="DeepInfra",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "1152x896": "1152x896 (4:3 landscape 横向)",
        "896x1152": "896x1152 (3:4 portrait 竖向)",
    },
    variables=("DEEPINFRA_TOKEN",),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class DeepInfra:
    """The service at work. Opens no connection before it is first used."""

    name = "deepinfra"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.key[1])
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, in one call."""
        if request.operation is Operation.GENERATE and model.seed:
            return await self._own_way(request, model)
        if request.operation is Operation.GENERATE:
            reply = await self._net.send("POST", "v1/openai/images/generations", json=to_openai(request, model))
        else:
            route = "variations" if request.operation is Operation.VARIATION else "edits"
            reply = await self._net.send("POST", f"v1/openai/images/{route}", parts=to_parts(request, model))
        answer = reply.parse(OpenAIAnswer)
        pictures = await self._net.all_of(self._picture(text, reply) for text in (entry.b64_json or entry.url for entry in answer.data) if text)
        if not pictures:
            raise reply.failure(BadReplyError, "DeepInfra answered without a picture")
        return Generated(images=tuple(Drawn(data=data) for data in pictures), request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the key works, asked without paying."""
        await self._net.send("GET", "v1/me", read_timeout=30)
        return "DeepInfra accepts the key."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw and are not on their way out."""
        reply = await self._net.send("GET", "models/list", read_timeout=30)
        entries = reply.parse(ModelList).root
        return tuple(entry.model_name for entry in entries if entry.type.endswith("-to-image") and entry.deprecated is None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _own_way(self, request: ImageRequest, model: Model) -> Generated:
        reply = await self._net.send("POST", f"v1/inference/{model.id}", json=to_wire(request))
        answer = reply.parse(Answer)
        if answer.inference_status.status == "failed":
            raise reply.fault(reply.json())
        flagged = answer.flagged
        if flagged and all(flagged):
            raise reply.failure(RefusedError, "DeepInfra's safety checker turned the picture away")
        pictures = await self._net.all_of(
            self._picture(text, reply) for text, refused in zip(answer.images, flagged, strict=True) if text and not refused
        )
        if not pictures:
            raise reply.failure(BadReplyError, "DeepInfra answered without a picture")
        return from_wire(answer, pictures, request_id=reply.request_id)

    async def _picture(self, text: str, reply: Reply) -> bytes:
        return await self._net.download(text) if text.startswith(("http://", "https://")) else await reply.decode(text)


def load(environment: Environment) -> DeepInfra | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not environment.keys() & {"DEEPINFRA_TOKEN", "DEEPINFRA_API_KEY"}:
        return None
    return DeepInfra(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    variable, key = config.key
    return Service(
        provider="deepinfra",
        title="DeepInfra",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable=variable,
        url_variable="DEEPINFRA_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class InferenceStatus(BaseModel):
    """How the work ended, and for how many dollars."""

    status: str = ""
    cost: float | None = None


class Answer(BaseModel):
    """An answer the service's own way. Pictures are `data:` links."""

    images: list[str | None]
    nsfw_content_detected: list[bool] | None = None
    seed: int | None = None
    request_id: str | None = None
    inference_status: InferenceStatus = InferenceStatus()

    @property
    def flagged(self) -> list[bool]:
        """For each picture, whether the safety checker turned it away."""
        said = self.nsfw_content_detected or []
        return [number < len(said) and said[number] for number in range(len(self.images))]


class Entry(BaseModel):
    """One picture of an answer OpenAI's way."""

    b64_json: str | None = None
    url: str | None = None


class OpenAIAnswer(BaseModel):
    """An answer OpenAI's way."""

    data: list[Entry]


class ListedModel(BaseModel):
    """One entry of the list of models."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    type: str
    deprecated: int | None = None
    """Since when, in seconds of Unix time."""


class ModelList(RootModel[list[ListedModel]]):
    """The models of all kinds."""


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest) -> dict[str, Any]:
    """The body the service's own way; the model is in the address."""
    size = request.shape if isinstance(request.shape, Size) else None
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "num_images": request.count,
        "seed": request.seed,
    }
    return {**present(body), **request.options}


def to_openai(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body OpenAI's way, for a drawing."""
    body: dict[str, Any] = {
        "model": model.id,
        "prompt": request.prompt,
        "n": request.count,
        "size": str(request.shape) if request.shape else None,
        "response_format": "b64_json",
    }
    return {**present(body), **request.options}


def to_parts(request: ImageRequest, model: Model) -> list[tuple[str, str | File]]:
    """The multipart body OpenAI's way, for an edit or a variation: several pictures bear the same name, and the mask is ours as it is."""
    fields = to_openai(request, model)
    if request.operation is Operation.VARIATION:
        fields = {name: value for name, value in fields.items() if name != "prompt" or name in request.options}
    files: list[tuple[str, str | File]] = [("image", _file(f"image{number}", picture)) for number, picture in enumerate(request.images, 1)]
    if request.mask is not None:
        files.append(("mask", _file("mask", request.mask)))
    return [*((name, str(value)) for name, value in fields.items()), *files]


def _file(name: str, picture: Picture) -> File:
    return File(name=f"{name}.{picture.media_type.rpartition('/')[2]}", media_type=picture.media_type, data=picture.data)


def from_wire(answer: Answer, pictures: Sequence[bytes], *, request_id: str | None) -> Generated:
    """The answer in our words. The seed is that of the first picture."""
    dollars = answer.inference_status.cost
    lost = sum(answer.flagged)
    words = (Adjustment(field="n", message=f"DeepInfra's safety checker turned {lost} of {len(answer.images)} pictures away."),) if lost else ()
    return Generated(
        images=tuple(Drawn(data=data, seed=answer.seed if number == 0 and not lost else None) for number, data in enumerate(pictures)),
        cost=Cost(micros=round(dollars * 1_000_000), currency="USD", source="reported") if dollars else None,
        request_id=answer.request_id or request_id,
        adjustments=words,
    )


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"nsfw|safety.?check|moderat|content.?polic|inappropriate", RefusedError),
    (r"balance|payment|billing|spending.?limit|top.?up", QuotaError),
    (r"rate.?limit", RateLimitedError),
)
"""Words by which a failure is known, where the status alone would mislead or there is none."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: under `detail` the service's own way, under `error` OpenAI's."""
    message = words_in(body)
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None) if status in (200, 400, 402, 403, 422) else None
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = facts.get("error")
    code = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return Fault(message=message, kind=kind, details={"service_code": code} if isinstance(code, str) else {})
