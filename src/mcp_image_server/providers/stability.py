"""Stability AI's image services. Facts from https://platform.stability.ai/docs/api-reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count
from typing import Any

import anyio
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ..errors import AuthError, BadReplyError, ProviderError, QuotaError, RateLimitedError, RefusedError
from ..fields import BaseUrl, Key
from ..models import (
    Adjustment,
    Catalogue,
    Drawn,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Picture,
    Price,
    Size,
    SizeList,
    Style,
)
from ..net import Fault, File, Net, Pace, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, guessed, present

DEFAULT_MODEL = "stable-image-core"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="STABILITY_API_KEY", description="Key of the account, from https://platform.stability.ai/account/keys.")
    base_url: BaseUrl = Field("https://api.stability.ai", alias="STABILITY_BASE_URL", description="Address of the service, without /v2beta.")
    model: str = Field(DEFAULT_MODEL, alias="STABILITY_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 4_294_967_294

RATIOS: Mapping[Size, str] = {
    Size(width=1024, height=1024): "1:1",
    Size(width=1344, height=768): "16:9",
    Size(width=768, height=1344): "9:16",
    Size(width=1216, height=832): "3:2",
    Size(width=832, height=1216): "2:3",
    Size(width=1088, height=896): "5:4",
    Size(width=896, height=1088): "4:5",
    Size(width=1536, height=640): "21:9",
    Size(width=640, height=1536): "9:21",
}
"""The service is told a shape and draws about a megapixel of it."""

_STYLES = {
    "enhance": "增强 Enhanced",
    "anime": "动漫 Anime",
    "photographic": "摄影 Photographic",
    "digital-art": "数字艺术 Digital art",
    "comic-book": "漫画 Comic book",
    "fantasy-art": "奇幻艺术 Fantasy art",
    "line-art": "线稿 Line art",
    "analog-film": "胶片 Analog film",
    "neon-punk": "霓虹朋克 Neon punk",
    "isometric": "等距 Isometric",
    "low-poly": "低多边形 Low poly",
    "origami": "折纸 Origami",
    "modeling-compound": "黏土 Modelling compound",
    "cinematic": "电影感 Cinematic",
    "3d-model": "三维模型 3D model",
    "pixel-art": "像素画 Pixel art",
    "tile-texture": "无缝纹理 Tile texture",
}
_PRESETS = frozenset(_STYLES)


_ANY = Model(provider="stability", id="", max_prompt_chars=10_000, seed=True, negative_prompt=True, formats=("png", "jpeg", "webp"))
_DRAWS = replace(_ANY, sizes=SizeList(sizes=tuple(RATIOS)), default_size=Size(width=1024, height=1024), styles=_PRESETS)
_VARIES = replace(_DRAWS, operations=frozenset({Operation.GENERATE, Operation.EDIT}), max_images=1, strength=True)
_EDITS = replace(_ANY, operations=frozenset({Operation.EDIT}), max_images=1, styles=_PRESETS)
_FILLS = replace(_EDITS, operations=frozenset({Operation.INPAINT}), mask=True)
_EXTENDS = replace(_EDITS, operations=frozenset({Operation.OUTPAINT}), negative_prompt=False)
_CUTS = replace(_EDITS, operations=frozenset({Operation.REMOVE_BACKGROUND}), seed=False, negative_prompt=False, styles=frozenset())
_GUIDES = replace(_DRAWS, operations=frozenset({Operation.STYLE_TRANSFER}))
_RESTYLES = replace(_EDITS, operations=frozenset({Operation.STYLE_TRANSFER}), strength=True, styles=frozenset())
_ENLARGES = replace(_EDITS, operations=frozenset({Operation.UPSCALE}), styles=frozenset())
_CFG = "Options: cfg_scale 1-10."
_RELIGHTS = (
    "The prompt describes the new background, a second picture shows it. Options: foreground_prompt, preserve_original_subject 0-1, "
    "original_background_depth 0-1, keep_original_background, light_source_direction, light_source_strength 0-1."
)
_STYLED = "Paints the input picture anew in the look of the style picture. Options: composition_fidelity 0-1, change_strength 0.1-1."


def _model(facts: Model, name: str, title: str, credits_: float, note: str = "", **more: Any) -> Model:
    """A credit is a cent (https://platform.stability.ai/pricing)."""
    price = Price(amount=credits_ / 100, currency="USD", as_of=date(2026, 11, 21))
    return replace(facts, id=name, title=title, price=price, note=note, **more)


MODELS = (
    _model(_DRAWS, DEFAULT_MODEL, "Stable Image Core", 3, "Draws about 1.5 megapixels in the shape asked for."),
    _model(_VARIES, "stable-image-ultra", "Stable Image Ultra", 8, writes=frozenset({"latin"})),
    _model(_VARIES, "sd3.5-large", "Stable Diffusion 3.5 Large", 6.5, _CFG),
    _model(_VARIES, "sd3.5-large-turbo", "Stable Diffusion 3.5 Large Turbo", 4, _CFG),
    _model(_VARIES, "sd3.5-medium", "Stable Diffusion 3.5 Medium", 3.5, _CFG),
    _model(_VARIES, "sd3.5-flash", "Stable Diffusion 3.5 Flash", 2.5, _CFG),
    _model(_FILLS, "inpaint", "Inpaint", 5, "Options: grow_mask 0-100."),
    _model(_FILLS, "erase", "Erase", 5, "Takes away what the mask opens. Options: grow_mask 0-20.", negative_prompt=False, styles=frozenset()),
    _model(_EXTENDS, "outpaint", "Outpaint", 4, "At most 2000 pixels at each edge. Options: creativity 0-1."),
    _model(_EDITS, "search-and-replace", "Search and Replace", 5, "Options: search_prompt (needed: what to look for), grow_mask 0-20."),
    _model(_EDITS, "search-and-recolor", "Search and Recolor", 5, "Options: select_prompt (needed: what to look for), grow_mask 0-20."),
    _model(_CUTS, "remove-background", "Remove Background", 5, formats=("png", "webp")),
    _model(_EDITS, "replace-background-and-relight", "Replace Background and Relight", 8, _RELIGHTS, max_images=2, styles=frozenset()),
    _model(_EDITS, "control-sketch", "Sketch", 5, "Draws out a sketch. Options: control_strength 0-1."),
    _model(_EDITS, "control-structure", "Structure", 5, "Keeps the composition and paints something else. Options: control_strength 0-1."),
    _model(_GUIDES, "control-style", "Style Guide", 5, "Draws the prompt in the look of the style picture. Options: fidelity 0-1."),
    _model(_RESTYLES, "style-transfer", "Style Transfer", 8, _STYLED),
    _model(_ENLARGES, "upscale-fast", "Fast Upscale", 2, "Four times as large.", seed=False, negative_prompt=False),
    _model(_ENLARGES, "upscale-conservative", "Conservative Upscale", 40, "Needs a prompt: what is to be seen. Options: creativity 0.2-0.5."),
    _model(
        _ENLARGES, "upscale-creative", "Creative Upscale", 60, "Needs a prompt: what is to be seen. Options: creativity 0.1-0.5.", styles=_PRESETS
    ),
)
"""One for each of the service's addresses, and for each Stable Diffusion 3.5 at theirs."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One of the service's addresses, and what our fields are called there. An empty name: it takes no such thing."""

    path: str
    picture: str = "image"
    reference: str = ""
    """A second input picture."""
    style_picture: str = ""
    prompt: str = "prompt"
    strength: str = ""
    always: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request."""
    with_picture: Mapping[str, str] = field(default_factory=dict)
    """Sent where there is an input picture, unless the request says otherwise."""
    is_task: bool = False
    """It answers with the id of a task."""


_NEARNESS = {"strength": "0.7"}  # the service wants to be told; this is its own default where it has one


def _sd35(name: str) -> Endpoint:
    return Endpoint(path="generate/sd3", strength="strength", always={"model": name}, with_picture={"mode": "image-to-image", **_NEARNESS})


ENDPOINTS: Mapping[str, Endpoint] = {
    DEFAULT_MODEL: Endpoint(path="generate/core"),
    "stable-image-ultra": Endpoint(path="generate/ultra", strength="strength", with_picture=_NEARNESS),
    **{name: _sd35(name) for name in ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")},
    "inpaint": Endpoint(path="edit/inpaint"),
    "erase": Endpoint(path="edit/erase", prompt=""),
    "outpaint": Endpoint(path="edit/outpaint"),
    "search-and-replace": Endpoint(path="edit/search-and-replace"),
    "search-and-recolor": Endpoint(path="edit/search-and-recolor"),
    "remove-background": Endpoint(path="edit/remove-background", prompt=""),
    "replace-background-and-relight": Endpoint(
        path="edit/replace-background-and-relight",
        picture="subject_image",
        reference="background_reference",
        prompt="background_prompt",
        is_task=True,
    ),
    "control-sketch": Endpoint(path="control/sketch"),
    "control-structure": Endpoint(path="control/structure"),
    "control-style": Endpoint(path="control/style", picture="", style_picture="image"),
    "style-transfer": Endpoint(path="control/style-transfer", picture="init_image", style_picture="style_image", strength="style_strength"),
    "upscale-fast": Endpoint(path="upscale/fast", prompt=""),
    "upscale-conservative": Endpoint(path="upscale/conservative"),
    "upscale-creative": Endpoint(path="upscale/creative", is_task=True),
}

CATALOGUE = Catalogue(
    provider="stability",
    title="Stability AI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={key: Style(key=key, label=label, phrase=f"{key.replace('-', ' ')} style") for key, label in _STYLES.items()},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1344x768": "1344x768 (16:9 横向 landscape)",
        "768x1344": "768x1344 (9:16 竖向 portrait)",
        "1216x832": "1216x832 (3:2 横向 landscape)",
        "832x1216": "832x1216 (2:3 竖向 portrait)",
        "1088x896": "1088x896 (5:4 横向 landscape)",
        "896x1088": "896x1088 (4:5 竖向 portrait)",
        "1536x640": "1536x640 (21:9 宽幅 wide)",
        "640x1536": "640x1536 (9:21 长幅 tall)",
    },
    variables=("STABILITY_API_KEY",),
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_JSON = {"Accept": "application/json"}
_PACE = Pace(first=10, longest=10)  # the service asks not to be looked at more often


class Stability:
    """The service at work. Opens no connection before it is first used."""

    name = "stability"
    limits = Limits(concurrent=8, per_second=15)
    repeatable = False

    def __init__(self, config: Config, *, pace: Pace = _PACE) -> None:
        self.catalogue = replace(CATALOGUE, default_model=config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))
        self._pace = pace

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture: at once, or by a task that is submitted and waited for."""
        endpoint = ENDPOINTS[model.id]
        parts = await anyio.to_thread.run_sync(to_wire, request, model)
        reply = await self._net.send("POST", f"v2beta/stable-image/{endpoint.path}", parts=parts, headers=_JSON)
        if not endpoint.is_task:
            return await self._picture(reply, request, model)
        task_id = reply.parse(Submitted).id
        if not task_id:
            raise reply.failure(BadReplyError, "Stability AI took the work but gave the task no id")
        await context.accepted(task_id)
        return await self.resume(task_id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The picture of a task that was submitted earlier, within the 24 hours for which the service keeps it."""
        looks = count(1)

        async def look() -> Reply | None:
            try:
                reply = await self._net.send("GET", f"v2beta/results/{task_id}", headers=_JSON)
            except ProviderError as error:
                # The question was turned away, not the work: that has been taken.
                error.not_accepted, error.may_have_been_billed = False, not isinstance(error, RefusedError)
                raise
            if reply.status != 202:
                return replace(reply, paid=True)
            seen = next(looks)
            await context.report(guessed(seen), "Stability AI works on the picture.")
            return None

        return await self._picture(await self._net.poll(look, pace=self._pace), request, model)

    async def check(self) -> str:
        """Whether the key works and what is left of the account's credits, asked without paying."""
        reply = await self._net.send("GET", "v1/user/balance", read_timeout=30)
        return f"Stability AI accepts the key; {reply.parse(Balance).credits:g} credits are left."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _picture(self, reply: Reply, request: ImageRequest, model: Model) -> Generated:
        result = reply.parse(Result)
        if result.finish_reason == _FILTERED:
            words = "Stability AI drew a picture that its moderation then blurred"
            raise reply.failure(RefusedError, words, may_have_been_billed=True, details={"service_code": _FILTERED})
        if not result.image:
            raise reply.failure(BadReplyError, "Stability AI answered without a picture")
        return from_wire(await reply.decode(result.image), result, request, model, request_id=reply.request_id)


def load(environment: Environment) -> Stability | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if "STABILITY_API_KEY" not in environment:
        return None
    return Stability(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="stability",
        title="Stability AI",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="STABILITY_API_KEY",
        url_variable="STABILITY_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_FILTERED = "CONTENT_FILTERED"


class Submitted(BaseModel):
    """The answer to a submission."""

    id: str | None = None


class Result(BaseModel):
    """A picture as base64; a task's answer calls it `result`."""

    image: str | None = Field(None, validation_alias=AliasChoices("image", "result"))
    finish_reason: str | None = None
    seed: int | None = None


class Balance(BaseModel):
    """What is left of an account's credits."""

    credits: float


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> list[tuple[str, str | File]]:
    """The parts of the body: pictures first, then fields."""
    endpoint = ENDPOINTS[model.id]
    pictures = [
        *zip((endpoint.picture, endpoint.reference), request.images, strict=False),
        (endpoint.style_picture, request.style_image),
        ("mask", _white_mask(request.mask)),
    ]
    files = [
        (name, File(name=f"{name}.{picture.media_type.removeprefix('image/')}", media_type=picture.media_type, data=picture.data))
        for name, picture in pictures
        if name and picture
    ]
    extend = request.extend
    fields: dict[str, Any] = {
        endpoint.prompt: request.prompt or None,
        "negative_prompt": request.negative_prompt,
        "aspect_ratio": _ratio(request),
        **({"left": extend.left, "right": extend.right, "up": extend.top, "down": extend.bottom} if extend else {}),
        **endpoint.always,
        **(endpoint.with_picture if request.images else {}),
        "seed": _seed(request),
        "style_preset": request.style,
        "output_format": request.output_format,
    }
    if request.strength is not None and request.images:
        fields[endpoint.strength] = request.strength
    fields |= request.options
    return [*files, *((name, _text(value)) for name, value in fields.items() if name and value is not None)]


def from_wire(data: bytes, result: Result, request: ImageRequest, model: Model, *, request_id: str | None) -> Generated:
    """The answer in our words, and what of the request the model did not hear."""
    words = []
    if request.prompt and not ENDPOINTS[model.id].prompt:
        words.append(Adjustment(field="prompt", message=f"{model.id} takes no prompt."))
    if request.shape is not None and _ratio(request) is None:
        words.append(Adjustment(field="resolution", message=f"{model.id} is told no size here; the input picture decides."))
    if request.seed not in (None, _seed(request)):
        words.append(Adjustment(field="seed", message=f"Stability AI takes seeds from 1 to {MAX_SEED}; {request.seed} became {_seed(request)}."))
    return Generated(images=(Drawn(data=data, seed=result.seed),), request_id=request_id, adjustments=tuple(words))


def _white_mask(mask: Picture | None) -> Picture | None:
    if mask is None:
        return None
    from ..pictures import white_is_edit

    return replace(mask, data=white_is_edit(mask.data), media_type="image/png")


def _ratio(request: ImageRequest) -> str | None:
    """The shape, where there is no input picture to decide it."""
    return RATIOS.get(request.shape) if isinstance(request.shape, Size) and not request.images else None


def _seed(request: ImageRequest) -> int | None:
    """0 would mean that the service chooses one."""
    return None if request.seed is None else (request.seed - 1) % MAX_SEED + 1


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_KINDS: Mapping[str, type[ProviderError]] = {
    "content_moderation": RefusedError,
    "unauthorized": AuthError,
    "payment_required": QuotaError,
    "rate_limit_exceeded": RateLimitedError,
}
"""The service's names for errors, where the status alone would mislead: 403 is moderation as well as a missing permission."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: its name, its sentences, and the id for the service's support desk."""
    facts = body if isinstance(body, dict) else {}
    message, name = words_in(facts.get("errors")) or words_in(body), facts.get("name")
    if not message:
        return None
    pause = re.search(r"timed out for (\d+) seconds", message)
    details = {"service_code": name, "error_id": facts.get("id")}
    return Fault(
        message=message,
        kind=_KINDS.get(name) if isinstance(name, str) else None,
        retry_after=float(pause[1]) if pause else None,
        details=present(details),
    )
