"""Cloudflare Workers AI: small and open models, a few of them free each day. Facts from https://developers.cloudflare.com/workers-ai/models/.

Its models take and give pictures in different ways: FLUX.2 wants a form, the others JSON; some answer with JSON, some with the picture's bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RefusedError
from ..fields import BaseUrl, HeaderValue, Key
from ..models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Picture, Size, SizeRange
from ..negotiate import Fitted
from ..net import Fault, File, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, present, with_default

DEFAULT_MODEL = "@cf/black-forest-labs/flux-2-klein-9b"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    account_id: HeaderValue = Field(alias="CLOUDFLARE_ACCOUNT_ID", pattern=r"^[\w-]+$", description="Id of the account, as the dashboard shows it.")
    api_token: Key = Field(alias="CLOUDFLARE_API_TOKEN", description="Token of the account that may use Workers AI.")
    base_url: BaseUrl = Field(
        "https://api.cloudflare.com/client/v4", alias="CLOUDFLARE_BASE_URL", description="Address of the service, used as written."
    )
    model: str = Field(DEFAULT_MODEL, alias="CLOUDFLARE_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ANY = Model(provider="cloudflare", id="", default_size=Size(width=1024, height=1024), seed=True)

_FLUX_2 = replace(
    _ANY,
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    sizes=SizeRange(min_edge=256, max_edge=1920, max_pixels=1920 * 1920, multiple=16),
    max_images=4,
    writes=frozenset({"latin"}),
    note="Options: guidance.",
)
_SCHNELL = replace(
    _ANY,
    id="@cf/black-forest-labs/flux-1-schnell",
    title="FLUX.1 [schnell]",
    max_prompt_chars=2048,
    seed=False,
    note="Takes no size. Options: steps up to 8.",
)
_FLUX_2_DEV = replace(
    _FLUX_2,
    id="@cf/black-forest-labs/flux-2-dev",
    title="FLUX.2 [dev]",
    note="Input pictures go to it with at most 512x512 pixels. Options: guidance, steps.",
)
_DIFFUSION = replace(
    _ANY,
    sizes=SizeRange(min_edge=256, max_edge=2048, max_pixels=2048 * 2048, multiple=8),
    negative_prompt=True,
    note="Options: num_steps up to 20, guidance.",
)
_LEONARDO = replace(_DIFFUSION, negative_prompt=False, writes=frozenset({"latin"}), note="Options: num_steps, guidance 2-10.")
_SD_1_5 = replace(_DIFFUSION, default_size=Size(width=512, height=512), max_images=1, strength=True)

MODELS = (
    replace(_FLUX_2, id=DEFAULT_MODEL, title="FLUX.2 [klein] 9B"),
    replace(_FLUX_2, id="@cf/black-forest-labs/flux-2-klein-4b", title="FLUX.2 [klein] 4B"),
    _FLUX_2_DEV,
    _SCHNELL,
    replace(_LEONARDO, id="@cf/leonardo/lucid-origin", title="Leonardo Lucid Origin"),
    replace(_LEONARDO, id="@cf/leonardo/phoenix-1.0", title="Leonardo Phoenix 1.0", negative_prompt=True),
    replace(_DIFFUSION, id="@cf/stabilityai/stable-diffusion-xl-base-1.0", title="Stable Diffusion XL"),
    replace(_DIFFUSION, id="@cf/bytedance/stable-diffusion-xl-lightning", title="Stable Diffusion XL Lightning"),
    replace(_DIFFUSION, id="@cf/lykon/dreamshaper-8-lcm", title="DreamShaper 8 LCM", default_size=Size(width=512, height=512)),
    replace(
        _SD_1_5,
        id="@cf/runwayml/stable-diffusion-v1-5-img2img",
        title="Stable Diffusion 1.5 (picture to picture)",
        operations=frozenset({Operation.EDIT}),
    ),
    replace(
        _SD_1_5,
        id="@cf/runwayml/stable-diffusion-v1-5-inpainting",
        title="Stable Diffusion 1.5 (inpainting)",
        operations=frozenset({Operation.INPAINT}),
        mask=True,
    ),
)
LARGEST_INPUT = 512
"""Longest edge of an input picture of FLUX.2 dev (https://developers.cloudflare.com/changelog/2025-11-25-flux-2-dev-workers-ai/); no other names one."""

_WANTS_A_FORM = frozenset(model.id for model in MODELS if "/flux-2-" in model.id)

CATALOGUE = Catalogue(
    provider="cloudflare",
    title="Cloudflare Workers AI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "512x512": "512x512 (1:1 small 小图)",
    },
    variables=("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"),
    unknown=_ANY,
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Cloudflare:
    """The service at work. Opens no connection before it is first used."""

    name = "cloudflare"
    limits = Limits(concurrent=4)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.account_id)
        self._config = config
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture, in one call."""
        fitted = await anyio.to_thread.run_sync(suited, request, model)
        request = fitted.request
        path = f"accounts/{self._config.account_id}/ai/run/{model.id}"
        if model.id in _WANTS_A_FORM:
            reply = await self._net.send("POST", path, parts=to_parts(request))
        else:
            mask = await self._white_mask(request.mask) if request.mask is not None else None
            reply = await self._net.send("POST", path, json=await anyio.to_thread.run_sync(lambda: to_wire(request, mask=mask)))
        data = reply.body if reply.headers.get("content-type", "").startswith("image/") else await self._unwrapped(reply)
        return Generated(images=(Drawn(data=data, seed=request.seed),), request_id=reply.request_id, adjustments=fitted.adjustments)

    async def check(self) -> str:
        """Whether the token works and the model is listed, asked without paying."""
        listed, model = await self.listed(), self.catalogue.default_model
        return f"Cloudflare accepts the token, and the model {model} is {'listed' if model in listed else 'not listed'}."

    async def listed(self) -> tuple[str, ...]:
        """The models that draw."""
        query = {"task": "Text-to-Image", "per_page": "100"}
        reply = await self._net.send("GET", f"accounts/{self._config.account_id}/ai/models/search", params=query, read_timeout=30)
        return tuple(entry.name for entry in reply.parse(ModelList).result or ())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _white_mask(self, mask: Picture) -> bytes:
        from ..pictures import white_is_edit

        return await anyio.to_thread.run_sync(white_is_edit, mask.data)

    async def _unwrapped(self, reply: Reply) -> bytes:
        """The picture inside a JSON answer."""
        answer = reply.parse(Answer)
        if answer.success is False or answer.errors:
            raise reply.fault(reply.json())
        if answer.result is None or not answer.result.image:
            raise reply.failure(BadReplyError, "Cloudflare answered without a picture")
        return await reply.decode(answer.result.image)


def load(environment: Environment) -> Cloudflare | None:
    """The provider, when account and token are set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if not {"CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"} <= environment.keys():
        return None  # other programs read either of them alone
    return Cloudflare(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    token = config.api_token.get_secret_value()
    return Service(
        provider="cloudflare",
        title="Cloudflare",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        read_fault=read_fault,
        key_variable="CLOUDFLARE_API_TOKEN",
        url_variable="CLOUDFLARE_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Result(BaseModel):
    """What the model made."""

    image: str | None = None


class Answer(BaseModel):
    """A picture in the wrapping of all of Cloudflare's answers."""

    success: bool | None = None
    result: Result | None = None
    errors: list[Any] | None = None


class ListedModel(BaseModel):
    """One entry of the list of models."""

    name: str


class ModelList(BaseModel):
    """The models of a task."""

    result: list[ListedModel] | None = None


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def suited(request: ImageRequest, model: Model) -> Fitted:
    """The request without a size where the model knows none, and with input pictures no larger than it takes them; a word on each change.

    Takes its time where a picture is made smaller.
    """
    if model.id == _SCHNELL.id and request.shape is not None:
        said = Adjustment(field="resolution", message=f"{model.id} is told no size; the service decides.")
        return Fitted(request=replace(request, shape=None), adjustments=(said,))
    if model.id != _FLUX_2_DEV.id or all(_is_small(picture) for picture in request.images):
        return Fitted(request=request)
    images = tuple(picture if _is_small(picture) else _made_smaller(picture) for picture in request.images)
    words = tuple(
        Adjustment(field="images", message=f"{model.id} takes pictures of {LARGEST_INPUT}x{LARGEST_INPUT} pixels; {was.size} became {now.size}.")
        for was, now in zip(request.images, images, strict=True)
        if was is not now
    )
    return Fitted(request=replace(request, images=images), adjustments=words)


def _is_small(picture: Picture) -> bool:
    return max(picture.size.width, picture.size.height) <= LARGEST_INPUT


def _made_smaller(picture: Picture) -> Picture:
    from ..pictures import Resize, apply, examine

    data = apply(picture.data, [Resize(width=LARGEST_INPUT, height=LARGEST_INPUT)])
    facts = examine(data)
    return Picture(data=data, media_type=facts.media_type, size=facts.size)


def _fields(request: ImageRequest) -> dict[str, Any]:
    size = request.shape if isinstance(request.shape, Size) else None
    return {"prompt": request.prompt, "width": size.width if size else None, "height": size.height if size else None, "seed": request.seed}


def to_parts(request: ImageRequest) -> list[tuple[str, str | File]]:
    """The form that FLUX.2 wants, also where there is nothing but words."""
    fields = {**present(_fields(request)), **request.options}
    files: list[tuple[str, str | File]] = [
        (
            f"input_image_{number}",
            File(name=f"{number}.{picture.media_type.rpartition('/')[2]}", media_type=picture.media_type, data=picture.data),
        )
        for number, picture in enumerate(request.images)
    ]
    return [*((name, str(value)) for name, value in fields.items()), *files]


def to_wire(request: ImageRequest, *, mask: bytes | None = None) -> dict[str, Any]:
    """The JSON that all others want. The mask is white where it is painted anew, and goes out as a list of its bytes."""
    body = {
        **_fields(request),
        "negative_prompt": request.negative_prompt,
        "image_b64": base64.b64encode(request.images[0].data).decode("ascii") if request.images else None,
        "mask": list(mask) if mask is not None else None,
        "strength": request.strength,
    }
    return {**present(body), **request.options}


_KINDS: Mapping[int, type[ProviderError]] = {
    3036: QuotaError,  # the day's free allocation; comes with a status of 429
    10000: AuthError,
    9106: AuthError,
    9109: AuthError,
}
"""Codes (https://developers.cloudflare.com/workers-ai/platform/errors/) where the status alone would mislead."""

_NO_ROUTE = (7000, 7003)


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a list of codes with their words."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    errors = [error for error in facts.get("errors") or () if isinstance(error, dict)]
    code = next((error["code"] for error in errors if isinstance(error.get("code"), int)), None)
    message = words_in(facts.get("errors")) or words_in(body)
    if not message:
        return None
    if code in _NO_ROUTE:
        message = f"{message}. Check CLOUDFLARE_ACCOUNT_ID and the model's name"
    kind = _KINDS.get(code or 0)
    if kind is None and re.search(r"nsfw|moderat|content.?polic|inappropriate", message, re.IGNORECASE):
        kind = RefusedError
    return Fault(message=message, kind=kind, details={"service_code": str(code)} if code is not None else {})
