"""Recraft's image models and tools. Facts from https://www.recraft.ai/docs/api-reference/endpoints.

Everything here gives pixels: what the service draws as vectors (SVG) is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, QuotaError, RefusedError
from ..fields import BaseUrl, Key
from ..models import (
    Adjustment,
    Catalogue,
    Cost,
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
from ..net import Fault, Net, Reply, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, data_url, present

DEFAULT_MODEL = "recraftv4_1"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_token: Key = Field(alias="RECRAFT_API_TOKEN", description="Token of the account, from https://app.recraft.ai/profile/api.")
    base_url: BaseUrl = Field("https://external.api.recraft.ai/v1", alias="RECRAFT_BASE_URL", description="Address of the service, with /v1.")
    model: str = Field(DEFAULT_MODEL, alias="RECRAFT_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 2**32 - 1

_FAMILIES = {
    "any": "不限 Any raster look",
    "realistic_image": "写实照片 Realistic image",
    "digital_illustration": "数字插画 Digital illustration",
    "logo_raster": "标志 Logo",
}
_SUBSTYLES = {
    "realistic_image": "b_and_w enterprise evening_light faded_nostalgia forest_life hard_flash hdr motion_blur mystic_naturalism natural_light "
    "natural_tones organic_calm real_life_glow retro_realism retro_snapshot studio_portrait urban_drama village_realism warm_folk",
    "digital_illustration": "2d_art_poster 2d_art_poster_2 antiquarian bold_fantasy child_book cover crosshatch digital_engraving engraving_color "
    "expressionism freehand_details grain grain_20 graphic_intensity hand_drawn hand_drawn_outline handmade_3d hard_comics infantile_sketch "
    "long_shadow modern_folk multicolor neon_calm noir nostalgic_pastel outline_details pastel_gradient pastel_sketch pixel_art plastic pop_art "
    "pop_renaissance street_art tablet_sketch urban_glow urban_sketching young_adult_book young_adult_book_2",
    "logo_raster": "emblem_graffiti emblem_pop_art emblem_punk emblem_stamp emblem_vintage",
}
STYLES: Mapping[str, tuple[str, str | None]] = {
    **{family: (family, None) for family in _FAMILIES},
    **{substyle: (family, substyle) for family, substyles in _SUBSTYLES.items() for substyle in substyles.split()},
}
"""Our key to the service's style and substyle. Recraft V3 knows them all; V2 and V4 other ones or none."""


def _sizes(text: str, upright: str = "") -> SizeList:
    """Sizes written as widths and heights, each also turned, and those that are drawn `upright` only."""
    pairs = [tuple(map(int, pair.split("x"))) for pair in text.split()]
    turned = [size for width, height in pairs for size in ((width, height), (height, width))]
    only = [tuple(map(int, pair.split("x"))) for pair in upright.split()]
    return SizeList(sizes=tuple(Size(width=width, height=height) for width, height in dict.fromkeys((*turned, *only))))


_SIZES_1K = _sizes("1024x1024 1536x768 1280x832 1216x896 1152x896 1280x896 1344x768", upright="832x1344")
_SIZES_2K = _sizes("2048x2048 3072x1536 2560x1664 2432x1792 2304x1792 2560x1792 2688x1536", upright="1664x2688")
_SIZES_V3 = _sizes("1024x1024 1365x1024 1536x1024 1820x1024 2048x1024 1434x1024 1280x1024 1707x1024")

_BY_STYLE = frozenset({Operation.GENERATE, Operation.STYLE_TRANSFER})
_BY_PICTURE = _BY_STYLE | {Operation.EDIT}
_V4 = Model(
    provider="recraft",
    id="",
    operations=_BY_PICTURE,
    sizes=_SIZES_1K,
    default_size=Size(width=1024, height=1024),
    max_count=6,
    max_prompt_chars=10_000,
    seed=True,
    formats=("png", "webp"),
    max_images=1,
    strength=True,
    writes=frozenset({"latin"}),
    note="Options: controls, text_layout, style_id.",
)
_PRO = replace(_V4, sizes=_SIZES_2K, default_size=Size(width=2048, height=2048))
_WITH_STYLE = {"operations": _BY_STYLE, "max_images": 0, "strength": False, "note": "Needs a style picture, or the option style_id."}
_V3 = replace(
    _V4,
    operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.OUTPAINT}),
    sizes=_SIZES_V3,
    max_prompt_chars=1000,
    negative_prompt=True,
    styles=frozenset(STYLES),
    mask=True,
    note="Options: controls, text_layout, style_id, zoom_out_percentage.",
)
_ONLY_DRAWS = {"operations": frozenset({Operation.GENERATE}), "max_images": 0, "strength": False}
_TOOL = Model(provider="recraft", id="", formats=("png", "webp"), max_images=1)
_BACKGROUND = replace(_V3, sizes=None, default_size=None, strength=False, note="Options: controls.")


def _model(facts: Model, name: str, title: str, usd: float | None, **more: Any) -> Model:
    """One model at its list price (https://www.recraft.ai/docs/api-reference/pricing)."""
    price = Price(amount=usd, currency="USD", as_of=date(2026, 11, 22)) if usd is not None else None
    return replace(facts, id=name, title=title, price=price, **more)


MODELS = (
    _model(_V4, DEFAULT_MODEL, "Recraft V4.1", 0.035),
    _model(_PRO, "recraftv4_1_pro", "Recraft V4.1 Pro", 0.21),
    _model(_V4, "recraftv4_1_flash", "Recraft V4.1 Flash", 0.007, **_ONLY_DRAWS, note="Options: controls."),
    _model(_V4, "recraftv4_1_utility", "Recraft V4.1 Utility", 0.035),
    _model(_PRO, "recraftv4_1_utility_pro", "Recraft V4.1 Utility Pro", 0.21),
    _model(_V4, "recraftv4_styles", "Recraft V4 Styles", None, **_WITH_STYLE),
    _model(_PRO, "recraftv4_styles_pro", "Recraft V4 Styles Pro", None, **_WITH_STYLE),
    _model(_V4, "recraftv4", "Recraft V4", 0.04),
    _model(_PRO, "recraftv4_pro", "Recraft V4 Pro", 0.25),
    _model(_V3, "recraftv3", "Recraft V3", 0.04),
    _model(_V3, "recraftv2", "Recraft V2", 0.022, **_ONLY_DRAWS, mask=False, styles=frozenset(_FAMILIES) - {"any", "logo_raster"}),
    _model(_BACKGROUND, "replace-background", "Replace Background", 0.04, operations=frozenset({Operation.EDIT}), mask=False),
    _model(_BACKGROUND, "generate-background", "Generate Background", 0.04, operations=frozenset({Operation.INPAINT})),
    _model(_TOOL, "erase-region", "Erase Region", 0.002, operations=frozenset({Operation.INPAINT}), mask=True),
    _model(_TOOL, "remove-background", "Remove Background", 0.01, operations=frozenset({Operation.REMOVE_BACKGROUND})),
    _model(
        _TOOL,
        "variate-image",
        "Variate Image",
        None,
        operations=frozenset({Operation.VARIATION}),
        sizes=_SIZES_1K,
        default_size=Size(width=1024, height=1024),
        max_count=6,
        seed=True,
    ),
    _model(_TOOL, "crisp-upscale", "Crisp Upscale", 0.004, operations=frozenset({Operation.UPSCALE})),
    _model(_TOOL, "creative-upscale", "Creative Upscale", 0.25, operations=frozenset({Operation.UPSCALE})),
)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """An address that does one thing."""

    path: str
    model: str | None = None
    """Who paints by the prompt; None: it takes no prompt."""


TOOLS: Mapping[str, Tool] = {
    "replace-background": Tool(path="images/replaceBackground", model="recraftv3"),
    "generate-background": Tool(path="images/generateBackground", model="recraftv3"),
    "erase-region": Tool(path="images/eraseRegion"),
    "remove-background": Tool(path="images/removeBackground"),
    "variate-image": Tool(path="images/variateImage"),
    "crisp-upscale": Tool(path="images/crispUpscale"),
    "creative-upscale": Tool(path="images/creativeUpscale"),
}

_FROM_WORDS = "images/generations/raster"
OPERATIONS: Mapping[Operation, str] = {
    Operation.GENERATE: _FROM_WORDS,
    Operation.STYLE_TRANSFER: _FROM_WORDS,
    Operation.EDIT: "images/imageToImage",
    Operation.INPAINT: "images/inpaint",
    Operation.OUTPAINT: "images/outpaint",
}
"""Addresses for what the other models do."""

CATALOGUE = Catalogue(
    provider="recraft",
    title="Recraft",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={
        key: Style(
            key=key, label=_FAMILIES.get(key) or key.replace("_", " ").capitalize(), phrase=f"{key.replace('_', ' ')} style" if key != "any" else ""
        )
        for key in STYLES
    },
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1344x768": "1344x768 (16:9 横向 landscape)",
        "768x1344": "768x1344 (9:16 竖向 portrait)",
        "1280x832": "1280x832 (3:2 横向 landscape)",
        "832x1280": "832x1280 (2:3 竖向 portrait)",
        "1216x896": "1216x896 (4:3 横向 landscape)",
        "896x1216": "896x1216 (3:4 竖向 portrait)",
        "1536x768": "1536x768 (2:1 宽幅 wide)",
    },
    variables=("RECRAFT_API_TOKEN",),
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Recraft:
    """The service at work. Opens no connection before it is first used."""

    name = "recraft"
    limits = Limits(concurrent=8, per_second=5, images_per_minute=100)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = replace(CATALOGUE, default_model=config.model)
        self.account = account_of(self.name, config.api_token.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures."""
        path = TOOLS[model.id].path if model.id in TOOLS else OPERATIONS[request.operation]
        if path == _FROM_WORDS and request.images:
            words = "Recraft draws in the look of a style picture from words alone; leave away either the input pictures or the style picture"
            raise self._net.service.failure(ProviderError, words, not_accepted=True)
        reply = await self._net.send("POST", path, json=await anyio.to_thread.run_sync(to_wire, request, model))
        answer = reply.parse(Answer)
        entries = answer.data or ([answer.image] if answer.image else [])
        if not entries:
            raise reply.failure(BadReplyError, "Recraft answered without a picture")
        pictures = await self._net.all_of(self._picture(entry, reply) for entry in entries)
        drawn = tuple(Drawn(data=data, revised_prompt=entry.revised_prompt) for data, entry in zip(pictures, entries, strict=True))
        return from_wire(drawn, answer, request, model, request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the token works and what is left on the account, asked without paying."""
        reply = await self._net.send("GET", "users/me", read_timeout=30)
        return f"Recraft accepts the token; {reply.parse(User).credits} API units are left."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _picture(self, entry: Entry, reply: Reply) -> bytes:
        if entry.b64_json:
            return await reply.decode(entry.b64_json)
        if entry.url:
            return await self._net.download(entry.url)
        raise reply.failure(BadReplyError, "Recraft answered with an entry that holds no picture")


def load(environment: Environment) -> Recraft | None:
    """The provider, when a token is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if "RECRAFT_API_TOKEN" not in environment:
        return None
    return Recraft(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    token = config.api_token.get_secret_value()
    return Service(
        provider="recraft",
        title="Recraft",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        read_fault=read_fault,
        key_variable="RECRAFT_API_TOKEN",
        url_variable="RECRAFT_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture, inline or behind a link."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Answer(BaseModel):
    """A whole answer: a list of pictures, or one of a tool that makes one."""

    data: list[Entry] | None = None
    image: Entry | None = None
    credits: int | None = None
    """API units charged; a thousand are a dollar."""


class User(BaseModel):
    """The account."""

    credits: int


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body. Pictures go as `data:` links; the mask is white where the picture is to be painted anew, and nothing in between."""
    style, substyle = STYLES[request.style] if request.style else (None, None)
    extend = request.extend
    body: dict[str, Any] = {
        "prompt": (request.prompt or None) if _takes_prompt(model) else None,
        "model": TOOLS[model.id].model if model.id in TOOLS else model.id,
        "n": request.count if model.max_count > 1 else None,
        "size": _size(request, model),
        "style": style,
        "substyle": substyle,
        "negative_prompt": request.negative_prompt,
        "random_seed": _seed(request),
        "image_url": data_url(request.images[0]) if request.images else None,
        "mask_url": _hard_mask(request.mask),
        "style_reference_urls": [data_url(request.style_image)] if request.style_image else None,
        "strength": _strength(request, model),
        **({"expand_left": extend.left, "expand_top": extend.top, "expand_right": extend.right, "expand_bottom": extend.bottom} if extend else {}),
        "image_format": request.output_format,
        "response_format": "b64_json",
    }
    return {**present(body), **request.options}


def from_wire(drawn: tuple[Drawn, ...], answer: Answer, request: ImageRequest, model: Model, *, request_id: str | None) -> Generated:
    """The answer in our words, and what of the request the model did not hear; the service does not repeat the seed."""
    seed, words = _seed(request), []
    if request.prompt and not _takes_prompt(model):
        words.append(Adjustment(field="prompt", message=f"{model.id} takes no prompt."))
    if request.shape is not None and _size(request, model) is None:
        words.append(Adjustment(field="resolution", message=f"{model.id} is told no size here; the input picture decides."))
    if seed != request.seed:
        words.append(Adjustment(field="seed", message=f"Recraft takes seeds up to {MAX_SEED}; {request.seed} became {seed}."))
    cost = Cost(micros=answer.credits * 1000, currency="USD", source="reported") if answer.credits is not None else None
    images = tuple(replace(one, seed=seed) for one in drawn)
    return Generated(images=images, cost=cost, request_id=request_id, adjustments=tuple(words))


def _takes_prompt(model: Model) -> bool:
    return model.id not in TOOLS or TOOLS[model.id].model is not None


def _size(request: ImageRequest, model: Model) -> str | None:
    if Operation.VARIATION in model.operations:  # it wants to be told
        return str(request.shape or model.default_size)
    return str(request.shape) if request.shape and not request.images else None


def _strength(request: ImageRequest, model: Model) -> float | None:
    """How far the result may leave the picture, which the service wants to be told where it draws from one."""
    return (0.5 if request.strength is None else request.strength) if request.operation is Operation.EDIT and model.strength else None


def _seed(request: ImageRequest) -> int | None:
    return None if request.seed is None else request.seed % (MAX_SEED + 1)


def _hard_mask(mask: Picture | None) -> str | None:
    if mask is None:
        return None
    from ..pictures import white_is_edit

    return data_url(replace(mask, data=white_is_edit(mask.data, hard=True), media_type="image/png"))


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"not.?enough.?credits|insufficient|\bAPI units\b|balance", QuotaError),
    (r"moderat|nsfw|inappropriate|prohibited|content.?policy|unsafe", RefusedError),
)
"""Words by which a failure is known where the status alone would mislead; the service documents no codes."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a code and a sentence. Many errors come as plain text and are judged by their status."""
    message = words_in(body)
    if not message:
        return None
    code = body.get("code") if isinstance(body, dict) else None
    kind = next((kind for words, kind in _KINDS if status in (400, 402, 403, 422) and re.search(words, f"{code} {message}", re.IGNORECASE)), None)
    return Fault(message=message, kind=kind, details={"service_code": code} if isinstance(code, str) else {})
