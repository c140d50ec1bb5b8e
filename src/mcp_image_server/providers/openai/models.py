"""OpenAI's image models and what they cost. Facts from https://platform.openai.com/docs/models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from ...models import MAX_PROMPT_CHARS, Catalogue, Model, Operation, Price, Size, SizeList, SizeRange, Style

DEFAULT_MODEL = "gpt-image-2.5-sunburst"

_PRICED = date(2026, 11, 21)
_CLASSIC_ENDS = date(2026, 12, 1)


@dataclass(frozen=True, kw_only=True)
class TokenPrices:
    """US dollars for a million tokens, which is millionths of a dollar for one (https://openai.com/api/pricing)."""

    text_in: float
    image_in: float
    image_out: float
    text_out: float


ANY = Model(
    provider="openai",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT}),
    max_images=16,
    mask=True,
)
"""What the interface offers, and so what may be tried with a model that nobody knows."""

_FLEXIBLE = replace(
    ANY,
    sizes=SizeRange(min_edge=16, max_edge=3840, min_pixels=655_360, max_pixels=8_294_400, multiple=16, max_ratio=3.0),
    default_size=Size(width=1024, height=1024),
    max_count=10,
    max_prompt_chars=MAX_PROMPT_CHARS,
    qualities=("auto", "low", "medium", "high"),
    backgrounds=("auto", "transparent", "opaque"),
    formats=("png", "jpeg", "webp"),
    compression=frozenset({"jpeg", "webp"}),
    moderation=("auto", "low"),
    previews=True,
    economy=True,
    writes=frozenset({"latin", "han"}),  # Chinese since GPT Image 2 (https://platform.openai.com/docs/guides/image-generation)
)
_CLASSIC = replace(
    _FLEXIBLE,
    writes=frozenset({"latin"}),
    sizes=SizeList(sizes=(Size(width=1024, height=1024), Size(width=1536, height=1024), Size(width=1024, height=1536))),
    ends=_CLASSIC_ENDS,
)
_COMPLEXITY = "Options: complexity low, medium or high, for how much is planned."
_ALL_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max")


_LARGER = {3_000_000: 1.05, 3_686_400: 1.97}
"""What 2560x1440 and 3840x2160 cost, where a square of 1024 pixels is 1."""


def _usd(amount: float, *, above: Mapping[int, float] = _LARGER, **others: float) -> Price:
    """List price of a square of 1024 pixels at medium quality, and at others."""
    factors = {quality: other / amount for quality, other in others.items()}
    return Price(amount=amount, currency="USD", as_of=_PRICED, factors=factors, above=above)


_PRICE_2_5 = _usd(0.0132, low=0.0059, high=0.0527, xhigh=0.0937, max=0.2107)
_PRICE_1_5 = _usd(0.034, above={1_048_576: 1.5}, low=0.009, high=0.133)


_SUNBURST_2_5 = replace(
    _FLEXIBLE,
    id=DEFAULT_MODEL,
    title="GPT Image 2.5 Sunburst",
    aliases=("gpt-image-1", "dall-e-3", "dall-e-2"),  # switched off in 2026; OpenAI names the 2.5 models as successors
    qualities=_ALL_QUALITIES,
    price=_PRICE_2_5,
)
_FLARE_2_5 = replace(_FLEXIBLE, id="gpt-image-2.5-flare", title="GPT Image 2.5 Flare", qualities=_ALL_QUALITIES, price=_PRICE_2_5)
_IMAGE_2 = replace(_FLEXIBLE, id="gpt-image-2", title="GPT Image 2", price=_usd(0.053, low=0.006, high=0.211))

MODELS = (
    replace(_FLEXIBLE, id="gpt-image-2.6-sunburst", title="GPT Image 2.6 Sunburst", note=_COMPLEXITY),
    replace(_FLEXIBLE, id="gpt-image-2.6-flare", title="GPT Image 2.6 Flare", note=_COMPLEXITY),
    _SUNBURST_2_5,
    replace(_SUNBURST_2_5, id="gpt-image-2.5-sunburst-2026-09-08", title="GPT Image 2.5 Sunburst (2026-09-08)", aliases=()),
    _FLARE_2_5,
    replace(_FLARE_2_5, id="gpt-image-2.5-flare-2026-09-08", title="GPT Image 2.5 Flare (2026-09-08)"),
    _IMAGE_2,
    replace(_IMAGE_2, id="gpt-image-2-2026-04-21", title="GPT Image 2 (2026-04-21)"),
    replace(_CLASSIC, id="gpt-image-1.5", title="GPT Image 1.5", price=_PRICE_1_5),
    replace(_CLASSIC, id="gpt-image-1-mini", title="GPT Image 1 mini", price=_usd(0.011, above={1_048_576: 1.37}, low=0.005)),
    replace(_CLASSIC, id="chatgpt-image-latest", title="ChatGPT Image", price=_PRICE_1_5),
)

_TOKENS_2 = TokenPrices(text_in=5, image_in=8, image_out=30, text_out=30)
_TOKENS_1_5 = TokenPrices(text_in=5, image_in=8, image_out=32, text_out=10)
TOKEN_PRICES: Mapping[str, TokenPrices] = {
    "gpt-image-2.5-sunburst": _TOKENS_2,
    "gpt-image-2.5-sunburst-2026-09-08": _TOKENS_2,
    "gpt-image-2.5-flare": _TOKENS_2,
    "gpt-image-2.5-flare-2026-09-08": _TOKENS_2,
    "gpt-image-2": _TOKENS_2,
    "gpt-image-2-2026-04-21": _TOKENS_2,
    "gpt-image-1.5": _TOKENS_1_5,
    "gpt-image-1-mini": TokenPrices(text_in=2, image_in=2.5, image_out=8, text_out=8),
    "chatgpt-image-latest": _TOKENS_1_5,
}
"""As published in November 2026; those of the 2.6 models were not."""

_STYLES = {
    "natural": "自然风格",
    "vivid": "生动风格",
    "realistic": "写实风格",
    "artistic": "艺术风格",
    "cartoon": "卡通风格",
    "anime": "动漫风格",
    "oil_painting": "油画风格",
    "watercolor": "水彩风格",
    "sketch": "素描风格",
    "digital_art": "数字艺术",
    "photographic": "摄影风格",
    "minimalist": "极简风格",
}

CATALOGUE = Catalogue(
    provider="openai",
    title="OpenAI",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={key: Style(key=key, label=label) for key, label in _STYLES.items()},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形)",
        "1536x1024": "1536x1024 (3:2 横向)",
        "1024x1536": "1024x1536 (2:3 竖向)",
        "auto": "auto (由模型自动选择最佳尺寸)",
    },
    variables=("OPENAI_API_KEY",),
    unknown=ANY,
)
