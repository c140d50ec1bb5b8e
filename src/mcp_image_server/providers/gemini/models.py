"""Google's models that draw: their sizes as the service names them, and what they cost. Facts from https://ai.google.dev/gemini-api/docs/models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from ...models import Catalogue, Model, Operation, Price, Size, SizeList

DEFAULT_MODEL = "gemini-nano-banana-2.1"
MAX_SEED = 2**31 - 1


# How sizes are asked for ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A shape and a scale, as the service names them."""

    ratio: str
    scale: str | None = None
    """None: the model has one only, or may choose."""


_AT_1K = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
_LONG_AT_1K = {"1:4": (512, 2048), "4:1": (2048, 512), "1:8": (384, 3072), "8:1": (3072, 384)}
"""What those of the Flash family draw besides."""
_AT_1K_2_5 = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
_SCALES = {"1K": 1, "2K": 2, "4K": 4}


def _frames(*scales: str, shapes: Mapping[str, tuple[int, int]] = _AT_1K) -> Mapping[Size, Frame]:
    """The sizes in pixels that these scales come to."""
    return {
        Size(width=width * _SCALES[scale], height=height * _SCALES[scale]): Frame(ratio=ratio, scale=scale)
        for scale in scales
        for ratio, (width, height) in shapes.items()
    }


_OF_2_1 = _frames("1K", "2K", "4K", shapes={**_AT_1K, **_LONG_AT_1K})
_OF_3 = _frames("1K", "2K", "4K")
_OF_3_1_LITE = {Size(width=width, height=height): Frame(ratio=ratio) for ratio, (width, height) in {**_AT_1K, **_LONG_AT_1K}.items()}
_OF_2_5 = {Size(width=width, height=height): Frame(ratio=ratio) for ratio, (width, height) in _AT_1K_2_5.items()}

FRAMES: Mapping[str, Mapping[Size, Frame]] = {
    DEFAULT_MODEL: _OF_2_1,
    "gemini-3.1-flash-lite-image": _OF_3_1_LITE,
    "gemini-3-pro-image": _OF_3,
    "gemini-2.5-flash-image": _OF_2_5,
}
"""What each size is called, by model."""


def frames_of(model: Model) -> Mapping[Size, Frame]:
    """What each size of the model is called; one that nobody knows is taken to draw what most do."""
    return FRAMES.get(model.id, _OF_3)


# Models -------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TokenPrices:
    """US dollars for a million tokens, which is millionths of a dollar for one (https://ai.google.dev/gemini-api/docs/pricing)."""

    into: float
    text_out: float
    image_out: float


_ANY = Model(
    provider="gemini",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    default_size=Size(width=1024, height=1024),
    seed=True,
    max_images=3,
)
"""What every model that draws takes. One call makes one picture: the service has no count."""


_TWO_K, _FOUR_K = 1_500_000, 6_000_000
"""Pictures of more pixels are of that scale."""


def _model(like: Model, name: str, title: str, price: float, *aliases: str, above: Mapping[int, float] | None = None, **facts: Any) -> Model:
    """A model with the list price of a picture of about a megapixel. `aliases` are ids that were switched off in 2026 with this one as successor."""
    listed = Price(amount=price, currency="USD", as_of=date(2026, 11, 21), above=above or {})
    return replace(like, id=name, title=title, aliases=aliases, sizes=SizeList(sizes=tuple(FRAMES[name])), price=listed, **facts)


_LETTERS = frozenset({"latin"})  # Google speaks of "multiple languages" since version 3, and names no script
_GENERATION_3 = replace(
    _ANY,
    economy=True,
    max_images=14,
    writes=_LETTERS,
    languages=frozenset({"ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "uk", "vi", "zh"}),
)

MODELS = (
    _model(
        _GENERATION_3,
        DEFAULT_MODEL,
        "Nano Banana 2.1",
        0.0336,
        "gemini-3.1-flash-image",  # until 2026-10-29
        "gemini-3.1-flash-image-preview",
        "imagen-4.0-generate-001",
        "imagen-4.0-fast-generate-001",
        "imagen-4.0-ultra-generate-001",
        above={_TWO_K: 1.5, _FOUR_K: 3.4},
    ),
    _model(_GENERATION_3, "gemini-3.1-flash-lite-image", "Gemini 3.1 Flash-Lite Image", 0.0336),
    _model(
        _GENERATION_3,
        "gemini-3-pro-image",
        "Nano Banana Pro (Gemini 3 Pro Image)",
        0.134,
        "gemini-3-pro-image-preview",
        above={_FOUR_K: 0.24 / 0.134},
    ),
    _model(
        _ANY,
        "gemini-2.5-flash-image",
        "Nano Banana (Gemini 2.5 Flash Image)",
        0.039,
        economy=True,
        languages=frozenset({"en", "es", "hi", "ja", "zh"}),
        writes=_LETTERS,
        ends=date(2027, 3, 15),
    ),
)

TOKEN_PRICES: Mapping[str, TokenPrices] = {
    DEFAULT_MODEL: TokenPrices(into=1.5, text_out=7.5, image_out=30),
    "gemini-3.1-flash-lite-image": TokenPrices(into=0.25, text_out=1.5, image_out=30),
    "gemini-3-pro-image": TokenPrices(into=2, text_out=12, image_out=120),
    "gemini-2.5-flash-image": TokenPrices(into=0.3, text_out=2.5, image_out=30),
}
"""As published in November 2026."""

CATALOGUE = Catalogue(
    provider="gemini",
    title="Google Gemini",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square, 正方形)",
        "1376x768": "1376x768 (16:9 landscape, 横向)",
        "768x1376": "768x1376 (9:16 portrait, 竖向)",
        "1200x896": "1200x896 (4:3 landscape, 横向)",
        "896x1200": "896x1200 (3:4 portrait, 竖向)",
        "1584x672": "1584x672 (21:9 wide, 超宽)",
        "2048x2048": "2048x2048 (1:1 large square, 正方形大图)",
    },
    variables=("GEMINI_API_KEY",),
    unknown=_ANY,
)
