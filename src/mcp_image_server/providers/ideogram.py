"""Ideogram's models and tools. Facts from https://developer.ideogram.ai/v1/api-reference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, RefusedError
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
from ..negotiate import nearest_size
from ..net import Fault, File, Net, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of

DEFAULT_MODEL = "ideogram-v4"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    api_key: Key = Field(alias="IDEOGRAM_API_KEY", description="Key of the account, from https://ideogram.ai/manage-api.")
    base_url: BaseUrl = Field("https://api.ideogram.ai", alias="IDEOGRAM_BASE_URL", description="Address of the service, without /v1.")
    model: str = Field(DEFAULT_MODEL, alias="IDEOGRAM_MODEL", min_length=1, description="Model for requests that name none.")


# Models -------------------------------------------------------------------------------------------------------------------------------------

MAX_SEED = 2**31 - 1

_TYPES = {
    "general": "通用 General",
    "realistic": "写实 Realistic",
    "design": "设计 Design",
    "fiction": "幻想 Fiction",
}
_PRESETS = (
    "80s_illustration 90s_nostalgia abstract_organic analog_nostalgia art_brut art_deco art_poster aura avant_garde bauhaus blueprint blurry_motion "
    "bright_art c4d_cartoon childrens_book collage coloring_book_i coloring_book_ii cubism dark_aura doodle double_exposure dramatic_cinema editorial "
    "emotional_minimal ethereal_party expired_film flat_art flat_vector forest_reverie geo_minimalist glass_prism golden_hour graffiti_i graffiti_ii "
    "halftone_print high_contrast hippie_era iconic japandi_fusion jazzy long_exposure magazine_editorial minimal_illustration mixed_media "
    "monochrome nightlife oil_painting old_cartoons paint_gesture pop_art retro_etching riviera_pop spotlight_80s stylized_red surreal_collage "
    "travel_poster vintage_geo vintage_poster watercolor weird woodblock_print"
)
_PRESET_KEYS = frozenset(_PRESETS.split())
STYLES: Mapping[str, tuple[str, str]] = {
    **{key: ("style_type", key.upper()) for key in _TYPES},
    **{key: ("style_preset", key.upper()) for key in _PRESETS.split()},
}
"""Our key to the service's parameter and its value."""


def _sizes(text: str) -> SizeList:
    """Sizes written as widths and heights, each also turned."""
    pairs = [tuple(map(int, pair.split("x"))) for pair in text.split()]
    turned = dict.fromkeys(size for width, height in pairs for size in ((width, height), (height, width)))
    return SizeList(sizes=tuple(Size(width=width, height=height) for width, height in turned))


_SIZES_V4 = _sizes("2048x2048 2880x1440 2496x1664 2240x1792 2560x1440 2560x1600 2304x1728 3168x1296 2944x1152 3328x1248 3072x1280")
_SIZES_V3 = _sizes(
    "1024x1024 1536x512 1408x576 1472x576 1536x576 1344x640 1408x640 1472x640 1536x640 1152x704 1216x704 1280x704 1344x704 1408x704 1472x704 1312x736 "
    "1088x768 1216x768 1280x768 1344x768 1280x800 960x832 1024x832 1088x832 1152x832 1216x832 1248x832 1152x864 960x896 1024x896 1088x896 1120x896 "
    "1152x896 1024x960 1088x960"
)
RATIOS: Mapping[Size, str] = {
    Size(width=1024, height=1024): "1x1",
    Size(width=1312, height=736): "16x9",
    Size(width=736, height=1312): "9x16",
    Size(width=1280, height=800): "16x10",
    Size(width=800, height=1280): "10x16",
    Size(width=1248, height=832): "3x2",
    Size(width=832, height=1248): "2x3",
    Size(width=1152, height=864): "4x3",
    Size(width=864, height=1152): "3x4",
    Size(width=1120, height=896): "5x4",
    Size(width=896, height=1120): "4x5",
    Size(width=1408, height=704): "2x1",
    Size(width=704, height=1408): "1x2",
    Size(width=1536, height=512): "3x1",
    Size(width=512, height=1536): "1x3",
}
"""Shapes, for where the service is told no size."""

_QUALITIES = ("low", "medium", "high")
_SPEEDS = {"low": "TURBO", "medium": "DEFAULT", "high": "QUALITY"}
_SQUARE = Size(width=1024, height=1024)
_SPEED_NOTE = "Quality is the rendering speed. Options: rendering_speed, magic_prompt, color_palette, style_codes, custom_model_uri."


def _usd(amount: float, **factors: float) -> Price:
    """List price at medium quality (https://ideogram.ai/features/api-pricing)."""
    return Price(amount=amount, currency="USD", as_of=date(2026, 11, 22), factors=factors)


_ANY = Model(provider="ideogram", id="", max_prompt_chars=10_000, max_count=8, seed=True, writes=frozenset({"latin"}))
_V3 = replace(_ANY, sizes=_SIZES_V3, default_size=_SQUARE, qualities=_QUALITIES, note=_SPEED_NOTE, price=_usd(0.06, low=0.5, high=1.5))
_ON_PICTURE = replace(_ANY, max_images=1)

MODELS = (
    replace(
        _ANY,
        id=DEFAULT_MODEL,
        title="Ideogram 4.0",
        sizes=_SIZES_V4,
        default_size=Size(width=2048, height=2048),
        max_count=1,
        seed=False,
        qualities=_QUALITIES,
        price=_usd(0.06, low=0.5, high=5 / 3),
        note="Quality is the rendering speed. Options: json_prompt (a structured prompt, instead of the words), rendering_speed.",
    ),
    replace(
        _V3,
        id="ideogram-v3",
        title="Ideogram 3.0",
        operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.STYLE_TRANSFER}),
        negative_prompt=True,
        styles=frozenset(STYLES),
        max_images=1,
        mask=True,
        strength=True,
    ),
    replace(
        _V3,
        id="ideogram-v3-transparent",
        title="Ideogram 3.0 (transparent background)",
        sizes=SizeList(sizes=tuple(RATIOS)),
        negative_prompt=True,
        backgrounds=("transparent",),
        price=_usd(0.07, low=4 / 7, high=10 / 7),
        note="Options: rendering_speed, magic_prompt, upscale_factor X1, X2 or X4 (costs more), custom_model_uri.",
    ),
    replace(
        _V3,
        id="ideogram-v3-reframe",
        title="Ideogram 3.0 Reframe",
        operations=frozenset({Operation.OUTPAINT}),
        styles=_PRESET_KEYS,
        max_images=1,
        note="Extends a picture to a size; which edges grow is the service's choice. Options: rendering_speed, color_palette, style_codes.",
    ),
    replace(
        _V3,
        id="ideogram-v3-replace-background",
        title="Ideogram 3.0 Replace Background",
        operations=frozenset({Operation.EDIT}),
        sizes=None,
        default_size=None,
        styles=_PRESET_KEYS,
        max_images=1,
        note="The prompt describes the new background. Options: rendering_speed, magic_prompt, color_palette, style_codes.",
    ),
    replace(
        _ANY,
        id="ideogram-edit",
        title="Ideogram Edit",
        operations=frozenset({Operation.EDIT}),
        sizes=_SIZES_V3,
        default_size=_SQUARE,
        max_images=10,
        backgrounds=("opaque", "transparent"),
        note="Options: magic_prompt.",
    ),
    replace(
        _ANY,
        id="ideogram-4-5-precise-edit",
        title="Ideogram 4.5 Precise Edit",
        operations=frozenset({Operation.EDIT, Operation.INPAINT}),
        max_images=5,
        mask=True,
        qualities=_QUALITIES,
        price=_usd(0.06, low=0.5, high=11 / 3),
        note="Changes the first picture and keeps its size; up to four others guide it, three with a mask. Options: context_window.",
    ),
    replace(
        _ON_PICTURE,
        id="ideogram-remove-background",
        title="Ideogram Remove Background",
        operations=frozenset({Operation.REMOVE_BACKGROUND}),
        max_count=1,
        seed=False,
        price=_usd(0.01),
    ),
    replace(
        _ON_PICTURE,
        id="ideogram-upscale",
        title="Ideogram Upscale",
        operations=frozenset({Operation.UPSCALE}),
        note="Options: resemblance 1-100, detail 1-100, magic_prompt_option.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One of the service's addresses, and what our fields are called there. An empty name: it takes no such thing."""

    path: str
    prompt: str = "prompt"
    negative: bool = False
    picture: str = ""
    reference: str = ""
    """The pictures after the first."""
    shape: str = ""
    quality: str = "rendering_speed"
    weight: bool = False
    """It is told how much of the picture is kept."""


_V3_PATH = "v1/ideogram-v3"
_GENERATE = Endpoint(path=f"{_V3_PATH}/generate", negative=True, shape="resolution")
_REMIX = Endpoint(path=f"{_V3_PATH}/remix", negative=True, picture="image", shape="resolution", weight=True)
_INPAINT = Endpoint(path=f"{_V3_PATH}/inpaint", picture="image")
_UPSCALE = Endpoint(path="upscale", picture="image_file", quality="")

ENDPOINTS: Mapping[str, Endpoint] = {
    DEFAULT_MODEL: Endpoint(path="v1/ideogram-v4/generate", prompt="text_prompt", shape="resolution"),
    "ideogram-v3-transparent": Endpoint(path=f"{_V3_PATH}/generate-transparent", negative=True, shape="aspect_ratio"),
    "ideogram-v3-reframe": Endpoint(path=f"{_V3_PATH}/reframe", prompt="", picture="image", shape="resolution"),
    "ideogram-v3-replace-background": Endpoint(path=f"{_V3_PATH}/replace-background", picture="image"),
    "ideogram-edit": Endpoint(path="v1/edit", picture="images", reference="images", shape="resolution", quality=""),
    "ideogram-4-5-precise-edit": Endpoint(
        path="v2/image/precise-edit/ideogram-4-5", picture="image", reference="reference_images", quality="quality"
    ),
    "ideogram-remove-background": Endpoint(path="v1/remove-background", prompt="", picture="image", quality=""),
    "ideogram-upscale": _UPSCALE,
}
"""Where each model is; Ideogram 3.0 itself has an address for each operation."""

CATALOGUE = Catalogue(
    provider="ideogram",
    title="Ideogram",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={
        key: Style(
            key=key, label=_TYPES.get(key) or key.replace("_", " ").capitalize(), phrase=f"{key.replace('_', ' ')} style" if key != "general" else ""
        )
        for key in STYLES
    },
    resolutions={
        "2048x2048": "2048x2048 (1:1 正方形 square)",
        "2560x1440": "2560x1440 (16:9 横向 landscape)",
        "1440x2560": "1440x2560 (9:16 竖向 portrait)",
        "2496x1664": "2496x1664 (3:2 横向 landscape)",
        "1664x2496": "1664x2496 (2:3 竖向 portrait)",
        "2304x1728": "2304x1728 (4:3 横向 landscape)",
        "1728x2304": "1728x2304 (3:4 竖向 portrait)",
    },
    variables=("IDEOGRAM_API_KEY",),
)


def endpoint_for(request: ImageRequest, model: Model) -> Endpoint:
    """Where the request goes."""
    if model.id in ENDPOINTS:
        return ENDPOINTS[model.id]
    if request.mask is not None:
        return _INPAINT
    return _REMIX if request.images else _GENERATE


# Generate -----------------------------------------------------------------------------------------------------------------------------------


class Ideogram:
    """The service at work. Opens no connection before it is first used."""

    name = "ideogram"
    limits = Limits(concurrent=10)
    repeatable = False

    def __init__(self, config: Config) -> None:
        self.catalogue = replace(CATALOGUE, default_model=config.model)
        self.account = account_of(self.name, config.api_key.get_secret_value())
        self._net = Net(service(config))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures; those that the service's moderation holds back are missed with a word."""
        parts = await anyio.to_thread.run_sync(to_wire, request, model)
        reply = await self._net.send("POST", endpoint_for(request, model).path, parts=parts)
        answer = reply.parse(Answer)
        if not answer.data:
            raise reply.failure(BadReplyError, "Ideogram answered without a picture")
        if not answer.shown:
            raise reply.failure(RefusedError, "Ideogram drew what its moderation then held back", may_have_been_billed=True)
        pictures = await self._net.download_all(entry.url or "" for entry in answer.shown)
        return from_wire(pictures, answer, request, model, request_id=reply.request_id)

    async def check(self) -> str:
        """Whether the key works, asked without paying."""
        reply = await self._net.send("GET", "models", read_timeout=30)
        reply.json()
        return "Ideogram accepts the key."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()


def load(environment: Environment) -> Ideogram | None:
    """The provider, when a key is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    if "IDEOGRAM_API_KEY" not in environment:
        return None
    return Ideogram(parse(Config, environment))


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    key = config.api_key.get_secret_value()
    return Service(
        provider="ideogram",
        title="Ideogram",
        base_url=config.base_url,
        headers={"Api-Key": key},
        secrets=(key,),
        read_fault=read_fault,
        key_variable="IDEOGRAM_API_KEY",
        url_variable="IDEOGRAM_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Entry(BaseModel):
    """One picture behind a link that works for a day; without a link where moderation held it back."""

    url: str | None = None
    prompt: str | None = None
    seed: int | None = None
    is_image_safe: bool | None = None


class Answer(BaseModel):
    """A whole answer."""

    data: list[Entry]

    @property
    def shown(self) -> list[Entry]:
        return [entry for entry in self.data if entry.url and entry.is_image_safe is not False]


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> list[tuple[str, str | File]]:
    """The parts of the body: pictures first, then fields. The mask is black where the picture is to be painted anew."""
    endpoint = endpoint_for(request, model)
    names = [endpoint.picture, *(endpoint.reference for _ in request.images[1:])]
    pictures = [*zip(names, request.images, strict=False), ("mask", _black_mask(request.mask)), ("style_reference_images", request.style_image)]
    files = [
        (name, File(name=f"{name}.{picture.media_type.removeprefix('image/')}", media_type=picture.media_type, data=picture.data))
        for name, picture in pictures
        if name and picture
    ]
    style, value = STYLES[request.style] if request.style else ("", "")
    weight = None if request.strength is None else max(1, round(100 * (1 - request.strength)))
    quality = _SPEEDS.get(request.quality or "") if endpoint.quality == "rendering_speed" else request.quality
    fields: dict[str, Any] = {
        endpoint.prompt: request.prompt or None,
        "negative_prompt": request.negative_prompt if endpoint.negative else None,
        endpoint.shape: _shape(request, endpoint),
        endpoint.quality: quality,
        "num_images": request.count if model.max_count > 1 else None,
        "seed": _seed(request),
        style: value,
        "image_weight": weight if endpoint.weight else None,
        "transparent_background": request.background == "transparent" if request.background and len(model.backgrounds) > 1 else None,
        **request.options,
    }
    if "json_prompt" in request.options:  # the service takes one or the other
        fields.pop("text_prompt", None)
    fields = {name: value for name, value in fields.items() if name and value is not None}
    if endpoint is _UPSCALE:
        return [*files, ("image_request", json.dumps(fields))]
    return [*files, *((name, _text(one)) for name, value in fields.items() for one in (value if isinstance(value, list) else [value]))]


def from_wire(pictures: list[bytes], answer: Answer, request: ImageRequest, model: Model, *, request_id: str | None) -> Generated:
    """The answer in our words, and what of the request was not heard or not given; `pictures` are those that are shown, in order."""
    endpoint, words = endpoint_for(request, model), []
    if request.prompt and not endpoint.prompt:
        words.append(Adjustment(field="prompt", message=f"{model.id} takes no prompt."))
    if request.negative_prompt and not endpoint.negative:
        words.append(Adjustment(field="negative_prompt", message=f"{model.id} takes no negative prompt where a mask says what is painted."))
    if request.shape is not None and not endpoint.shape:
        words.append(Adjustment(field="resolution", message=f"{model.id} is told no size here; the input picture decides."))
    if request.extend is not None:
        words.append(Adjustment(field="extend", message=f"{model.id} is told a size and no edges: {_shape(request, endpoint)}."))
    if _seed(request) != request.seed:
        words.append(Adjustment(field="seed", message=f"Ideogram takes seeds up to {MAX_SEED}; {request.seed} became {_seed(request)}."))
    if held := len(answer.data) - len(pictures):
        words.append(Adjustment(field="n", message=f"Ideogram's moderation held back {held} of {len(answer.data)} pictures."))
    images = tuple(
        Drawn(data=data, seed=entry.seed, revised_prompt=entry.prompt if entry.prompt != request.prompt else None)
        for data, entry in zip(pictures, answer.shown, strict=True)
    )
    return Generated(images=images, request_id=request_id, adjustments=tuple(words))


def _shape(request: ImageRequest, endpoint: Endpoint) -> str | None:
    shape = request.shape
    if shape is None and request.extend is not None and request.images:
        size, edges = request.images[0].size, request.extend
        wanted = Size(width=size.width + edges.left + edges.right, height=size.height + edges.top + edges.bottom)
        shape = nearest_size(wanted, _SIZES_V3)
    if endpoint.shape == "aspect_ratio":
        return RATIOS.get(shape) if isinstance(shape, Size) else None
    return str(shape) if shape is not None else None


def _seed(request: ImageRequest) -> int | None:
    return None if request.seed is None else request.seed % (MAX_SEED + 1)


def _black_mask(mask: Picture | None) -> Picture | None:
    if mask is None:
        return None
    from ..pictures import black_is_edit

    return replace(mask, data=black_is_edit(mask.data, hard=True), media_type="image/png")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means. 422 is the service's word for moderation alone."""
    message = words_in(body)
    if not message:
        return None
    kind: type[ProviderError] | None = RefusedError if status == 422 else None
    return Fault(message=message, kind=kind)
